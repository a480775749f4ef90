//! Clients that begin uploads, send as much as the gateway lets them, and stop, over HTTP/1 and HTTP/2: far more of them
//! than there is memory for parts, so most have sent what nobody reads. Then they leave.

use std::{
    convert::Infallible,
    future::pending,
    io::ErrorKind,
    net::SocketAddr,
    pin::Pin,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use http::{Method, Request, header::HeaderName};
use http_body::Frame;
use http_body_util::StreamBody;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{io::Interest, net::TcpStream, task::JoinSet, time::sleep};

use super::{
    Figures, Scenario, Stage, Value,
    stage::{Scale, raise_descriptor_limit, whole},
};
use crate::{
    Error,
    client::Client,
    gateway::{Gateway, Launch, TUS_PATH},
    load::Content,
    seaweed::SeaweedFs,
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "paused-uploads",
    promise: "memory stays within its bound while clients upload who send much and stop, and nothing of them is left",
    run: |stage| Box::pin(run(stage)),
};

const MIB: usize = 1 << 20;
/// What each client says it will send, and what it has at hand.
const LENGTH: usize = 64 * MIB;
const AT_HAND: usize = 4 * MIB;
/// A client that could send nothing for so long has sent all that it may for now.
const STUCK: Duration = Duration::from_millis(300);
/// Clients at a time that try to send.
const SENDERS: usize = 50;
const WEIGH_EVERY: Duration = Duration::from_millis(20);
const QUIET_WITHIN: Duration = Duration::from_secs(30);
const OFFSETS: &str = "application/offset+octet-stream";

/// A client that has sent what it may.
struct Stuck {
    sent: u64,
    /// Keeps its upload open, and never ends by itself.
    open: Pin<Box<dyn Future<Output = ()> + Send>>,
}

async fn run(stage: &Stage) -> Result<Figures, Error> {
    let (clients, held_for): (usize, u32) = stage.pick((40, 1), (1000, 15));
    raise_descriptor_limit();
    let seaweed = SeaweedFs::start().await?;
    let bucket = seaweed.new_bucket().await?;
    let mut settings = stage.memory_for(clients + SENDERS);
    settings.push(("SEEKWAY_UPLOAD_MEMORY_BYTES", "32MiB".to_owned()));
    settings.push(("SEEKWAY_UPLOAD_BYTES_MAX", "2GiB".to_owned()));
    // They are all nobody's, and so one account's.
    settings.push(("SEEKWAY_UPLOADS_MAX", (clients + 1).to_string()));
    settings.push(("SEEKWAY_S3_REQUESTS_MAX", "16".to_owned()));
    let launch = Launch::with_uploads(&stage.binary(), &seaweed, &bucket, &settings);
    let gateway = Gateway::start(&launch).await?;
    let mut scale = Scale::in_front_of(&gateway, seaweed.address())?;
    let bytes = Bytes::from(Content::new().bytes(1, 1, AT_HAND));

    stage.begin("sending", clients);
    let (mut stuck, mut sent) = (JoinSet::new(), 0);
    let mut sending = stream::iter(0..clients)
        .map(|nth| {
            let (address, bytes) = (gateway.address(), bytes.clone());
            async move {
                let path = create(address, LENGTH).await?;
                if nth % 2 == 0 {
                    over_http1(address, &path, &bytes).await
                } else {
                    over_http2(address, &path, bytes).await
                }
            }
        })
        .buffer_unordered(SENDERS);
    while let Some(client) = sending.next().await {
        let client: Stuck = client?;
        sent += client.sent;
        stuck.spawn(client.open);
        scale.weigh()?;
        stage.done();
    }
    drop(sending);
    let until = Instant::now() + held_for * Duration::from_secs(1);
    while Instant::now() < until {
        scale.weigh()?;
        sleep(WEIGH_EVERY).await;
    }
    drop(stuck);

    let began = Instant::now();
    let left = loop {
        let left = left(&gateway).await?;
        if left == 0 || began.elapsed() > QUIET_WITHIN {
            break left;
        }
        sleep(WEIGH_EVERY).await;
    };
    let mut figures = Figures::default();
    figures.note("clients", Value::Count(clients as u64));
    figures.note("sent by those of HTTP/1, before they were stuck", Value::Bytes(sent));
    figures.note("until nothing was left", began.elapsed().into());
    figures.none("bytes and writers left of them", left);
    figures.none("uploads afterwards that went wrong", u64::from(!uploads(gateway.address(), &bytes).await?));
    scale.judge(&mut figures).await?;
    Ok(figures)
}

fn header(name: &'static str, value: &dyn ToString) -> (HeaderName, String) {
    (HeaderName::from_static(name), value.to_string())
}

/// Where an upload of this length is, that was created just now.
async fn create(address: SocketAddr, length: usize) -> Result<String, Error> {
    let headers = [header("tus-resumable", &"1.0.0"), header("upload-length", &length)];
    let (answer, body) =
        Client::connect(address).await?.request(Method::POST, TUS_PATH, &headers, Bytes::new()).await?;
    if answer.status != 201 {
        let answer = format!("{} {}", answer.status, String::from_utf8_lossy(&body));
        return Err(Error::UnexpectedAnswer { request: format!("POST {TUS_PATH}"), answer });
    }
    Ok(answer.header("location").to_owned())
}

async fn over_http1(address: SocketAddr, path: &str, bytes: &[u8]) -> Result<Stuck, Error> {
    let stream = TcpStream::connect(address).await?;
    let head = format!(
        "PATCH {path} HTTP/1.1\r\nHost: {address}\r\nTus-Resumable: 1.0.0\r\nContent-Type: {OFFSETS}\r\n\
         Upload-Offset: 0\r\nContent-Length: {LENGTH}\r\n\r\n"
    );
    let all = [head.as_bytes(), bytes].concat();
    let mut sent = 0;
    while sent < all.len() {
        if tokio::time::timeout(STUCK, stream.ready(Interest::WRITABLE)).await.is_err() {
            break;
        }
        match stream.try_write(&all[sent..]) {
            Ok(count) => sent += count,
            Err(error) if error.kind() == ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
    }
    let open = async move {
        let _stream = stream;
        pending::<()>().await;
    };
    Ok(Stuck { sent: sent as u64, open: Box::pin(open) })
}

async fn over_http2(address: SocketAddr, path: &str, bytes: Bytes) -> Result<Stuck, Error> {
    let stream = TcpStream::connect(address).await?;
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await?;
    let request = Request::patch(format!("http://{address}{path}"))
        .header("tus-resumable", "1.0.0")
        .header("content-type", OFFSETS)
        .header("upload-offset", "0")
        .header("content-length", LENGTH);
    // Small frames are what costs most to keep.
    let frames: Vec<_> = (0..bytes.len() / 256).map(|nth| bytes.slice(nth * 256..(nth + 1) * 256)).collect();
    let frames = stream::iter(frames).map(|piece| Ok::<_, Infallible>(Frame::data(piece)));
    let body = StreamBody::new(Box::pin(frames.chain(stream::pending())));
    let request = request.body(body)?;
    let open = async move {
        let answered = sender.send_request(request);
        let _ = tokio::join!(connection, answered);
    };
    Ok(Stuck { sent: 0, open: Box::pin(open) })
}

/// Bytes that the gateway still has for uploads and sockets, and requests that it still reads.
async fn left(gateway: &Gateway) -> Result<u64, Error> {
    let metrics = gateway.metrics().await?;
    let gauge = |name| metrics.get(name).map_or(u64::MAX, whole);
    let names = [
        "seekway_upload_memory_in_use_bytes",
        "seekway_upload_memory_spare_bytes",
        "seekway_upload_memory_waiting",
        "seekway_sockets_leased_bytes",
        "seekway_http2_gathered_bytes",
    ];
    Ok(names.into_iter().map(gauge).fold(0, u64::saturating_add))
}

/// Whether a whole upload goes well.
async fn uploads(address: SocketAddr, bytes: &Bytes) -> Result<bool, Error> {
    let path = create(address, bytes.len()).await?;
    let mut client = Client::connect(address).await?;
    let headers =
        [header("tus-resumable", &"1.0.0"), header("upload-offset", &0), header("content-type", &OFFSETS)];
    let (answer, _) = client.request(Method::PATCH, &path, &headers, bytes.clone()).await?;
    Ok(answer.status == 204)
}
