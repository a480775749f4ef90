//! A client of HTTP/2: hyper's, whose bodies can be left unread, and the bare frames, for what no client does.

use std::net::SocketAddr;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{PATIENCE, until};

/// One connection.
pub(crate) struct Http2 {
    sender: SendRequest<Empty<Bytes>>,
    scheme: &'static str,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

// === impl Http2 ===

impl Http2 {
    /// By prior knowledge.
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = timeout(PATIENCE, TcpStream::connect(address)).await.expect("accepted in time");
        Self::on(stream.expect("the gateway listens"), "http").await
    }

    /// On a connection that is open.
    pub(crate) async fn on(
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        scheme: &'static str,
    ) -> Self {
        // Bodies that are left unread do not use up the window that all share.
        let mut builder = Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(64 * 1024).initial_connection_window_size(1 << 30);
        let handshake = builder.handshake(TokioIo::new(stream));
        let (sender, connection) = handshake.await.expect("the gateway speaks HTTP/2");
        // Its errors reach the requests, too.
        tokio::spawn(async move { drop(connection.await) });
        Self { sender, scheme }
    }

    /// Sends a request and gives its answer's head, with the body yet to be read.
    pub(crate) async fn send(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
    ) -> hyper::Result<http::Response<Incoming>> {
        let answer = self.begin(method, target, headers).await?;
        timeout(PATIENCE, answer).await.expect("an answer in time")
    }

    /// Sends a request. Dropping what is returned resets its stream.
    pub(crate) async fn begin(
        &mut self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
    ) -> hyper::Result<impl Future<Output = hyper::Result<http::Response<Incoming>>> + use<>> {
        let uri = format!("{}://gateway.test{target}", self.scheme);
        let mut request = Request::builder().method(method).uri(uri);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.sender.ready().await?;
        Ok(self.sender.send_request(request.body(Empty::new()).expect("a request")))
    }

    pub(crate) async fn ask(&mut self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        let answer = self.send(method, target, headers).await.expect("an answer");
        let (head, body) = answer.into_parts();
        let body = whole(body).await.expect("a whole body");
        Answer { status: head.status, headers: head.headers, body }
    }

    /// Waits for the end of the connection, which must come. Bodies that are not read stay so.
    pub(crate) async fn ended(&self) {
        until("the connection ends", async || self.sender.is_closed().then_some(())).await;
    }
}

/// The rest of a body.
pub(crate) async fn whole(body: Incoming) -> hyper::Result<Bytes> {
    Ok(timeout(PATIENCE, body.collect()).await.expect("bytes or an end")?.to_bytes())
}

/// Reads at least `count` bytes of a body, and leaves the rest.
pub(crate) async fn read_some(body: &mut Incoming, count: usize) -> usize {
    let mut read = 0;
    while read < count {
        let frame = timeout(PATIENCE, body.frame()).await.expect("bytes in time");
        read += frame.expect("more to come").expect("bytes").into_data().expect("no trailers").len();
    }
    read
}

impl Answer {
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("text"))
    }
}

/// The client's preface, and its SETTINGS without any (RFC 9113 §3.4).
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00";

pub(crate) const HEADERS: u8 = 1;
pub(crate) const DATA: u8 = 0;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
/// On HEADERS: the head and the request are complete.
pub(crate) const END: u8 = 0x5;

/// A frame (RFC 9113 §4.1).
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a short frame").to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags]);
    frame.extend(stream.to_be_bytes());
    frame.extend(payload);
    frame
}

/// A head in HPACK: GET, http, this path and `a.test`, as literals where the static table has no value.
pub(crate) fn get(path: &str) -> Vec<u8> {
    get_of("a.test", path)
}

/// The same with another authority.
pub(crate) fn get_of(authority: &str, path: &str) -> Vec<u8> {
    let mut head = vec![0x82, 0x86];
    for (index, value) in [(4, path), (1, authority)] {
        head.extend([index, u8::try_from(value.len()).expect("short")]);
        head.extend(value.as_bytes());
    }
    head
}

/// What follows [`PREFACE`] where nothing but TCP is to hold answers up: windows as large as they can be, for each stream
/// (`SETTINGS_INITIAL_WINDOW_SIZE`) and for all.
pub(crate) fn open_windows() -> Vec<u8> {
    const MOST: u32 = (1 << 31) - 1;
    let each = [&[0, 4], &MOST.to_be_bytes()[..]].concat();
    [frame(4, 0, 0, &each), frame(8, 0, 0, &(MOST - 65_535).to_be_bytes())].concat()
}

/// Frames on a socket, or on TLS on one.
pub(crate) struct Frames<S = TcpStream>(pub(crate) S);

impl Frames {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        Self(TcpStream::connect(address).await.expect("the gateway listens"))
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Frames<S> {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        timeout(PATIENCE, self.0.write_all(bytes)).await.expect("in time").expect("the gateway takes it");
    }

    /// Sends it, unless the gateway has ended the connection; says whether it has not.
    pub(crate) async fn try_send(&mut self, bytes: &[u8]) -> bool {
        timeout(PATIENCE, self.0.write_all(bytes)).await.expect("in time").is_ok()
    }

    /// The next frame of this kind; `None` at the end of the connection.
    pub(crate) async fn next(&mut self, kind: u8) -> Option<Vec<u8>> {
        self.next_of(kind).await.map(|(_, payload)| payload)
    }

    /// The same with its stream.
    pub(crate) async fn next_of(&mut self, kind: u8) -> Option<(u32, Vec<u8>)> {
        timeout(PATIENCE, async {
            loop {
                let mut head = [0; 9];
                self.0.read_exact(&mut head).await.ok()?;
                let length = u32::from_be_bytes([0, head[0], head[1], head[2]]);
                let mut payload = vec![0; usize::try_from(length).expect("short")];
                self.0.read_exact(&mut payload).await.ok()?;
                if head[3] == kind {
                    let stream = [head[5], head[6], head[7], head[8]];
                    return Some((u32::from_be_bytes(stream), payload));
                }
            }
        })
        .await
        .expect("a frame or an end")
    }
}
