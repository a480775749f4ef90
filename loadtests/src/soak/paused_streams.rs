//! HTTP/2 clients with a hundred requests each, for 8 MiB, who take one byte of every answer: one connection, and as
//! much for the gateway to hold as for a hundred. Another client is served meanwhile.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response, StatusCode, header};
use http_body_util::Empty;
use hyper::{
    body::Incoming,
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{task::JoinSet, time::timeout};

use super::{
    Figures, Scenario, Stage, Value, crowd,
    films::Films,
    stage::{Scale, raise_descriptor_limit},
};
use crate::{Error, client::Client, gateway::Gateway, origin::Shape};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "paused-streams",
    promise: "memory stays within its bound while HTTP/2 clients ask a hundred times each and read nothing",
    run: |stage| Box::pin(run(stage)),
};

const RANGE_BYTES: u64 = 8 << 20;
/// What the one who does read asks for.
const READ_BYTES: u64 = 1 << 20;
const STREAMS: usize = 100;
/// With no window at all the gateway would not even begin to send, and hold less.
const WINDOW_BYTES: u32 = 1;
/// No answer begins later: the gateway itself gives up after 5 s without memory.
const PATIENCE: Duration = Duration::from_mins(1);

/// What keeps one connection's requests open.
struct Open {
    _sender: SendRequest<Empty<Bytes>>,
    answers: Vec<Response<Incoming>>,
    failed: u64,
}

async fn run(stage: &Stage) -> Result<Figures, Error> {
    // A gateway that may have fewer connections gives the last ones fewer streams, and these never end.
    let (clients, connections_max) = stage.pick((3, 512), (20, 1024));
    raise_descriptor_limit();
    let films = Films::start(Shape::default(), clients * STREAMS + 1, RANGE_BYTES)?;
    let gateway = stage.gateway(films.origin(), &stage.memory_for(connections_max)).await?;
    let mut scale = Scale::new(&gateway, films.origin())?;

    stage.begin("asking", clients);
    let mut connections = JoinSet::new();
    let mut opened = Vec::with_capacity(clients);
    for nth in 0..clients {
        let stream = crowd::connect_for_records(gateway.address(), nth).await?;
        let client =
            http2::Builder::new(TokioExecutor::new()).initial_stream_window_size(WINDOW_BYTES).clone();
        let (sender, connection) = client.handshake(TokioIo::new(stream)).await?;
        // What is wrong with it is seen by its requests.
        connections.spawn(async move { drop(connection.await) });
        opened.push(open(stage, &films, nth, sender));
    }
    let opened = join_all(opened).await;
    scale.weigh()?;
    let reader = read(&gateway, &films, clients * STREAMS).await;
    scale.weigh()?;

    let mut figures = Figures::default();
    let answered = |status| {
        let answers = opened.iter().flat_map(|open| &open.answers);
        Value::Count(answers.filter(|answer| answer.status() == status).count() as u64)
    };
    figures.note("requests", Value::Count((clients * STREAMS) as u64));
    figures.note("answered with 206", answered(StatusCode::PARTIAL_CONTENT));
    figures.note("answered with 503, no memory for 5 s", answered(StatusCode::SERVICE_UNAVAILABLE));
    figures.none("not answered", opened.iter().map(|open| open.failed).sum());
    figures.none("another client, not served right", u64::from(!matches!(reader, Ok(true))));
    scale.judge(&mut figures).await?;
    // The gateway would wait for them when it is told to end.
    connections.shutdown().await;
    Ok(figures)
}

async fn open(stage: &Stage, films: &Films, client: usize, sender: SendRequest<Empty<Bytes>>) -> Open {
    let answers = (0..STREAMS).map(|nth| {
        let (nth, mut sender) = (client * STREAMS + nth, sender.clone());
        async move {
            let range = films.range(nth);
            let request = Request::get(format!("http://localhost{}", Films::path(nth)))
                .header(header::RANGE, format!("bytes={}-{}", range.start, range.end - 1))
                .body(Empty::new())?;
            let answer = timeout(PATIENCE, sender.send_request(request)).await;
            let late = |_| Error::Timeout { request: Films::path(nth), limit: PATIENCE };
            Ok::<_, Error>(answer.map_err(late)??)
        }
    });
    let (answers, failures): (Vec<_>, Vec<_>) = join_all(answers).await.into_iter().partition(Result::is_ok);
    stage.done();
    let answers = answers.into_iter().flatten().collect();
    Open { _sender: sender, answers, failed: failures.len() as u64 }
}

/// A client that does read; whether it gets what it asked for.
async fn read(gateway: &Gateway, films: &Films, nth: usize) -> Result<bool, Error> {
    let mut client = Client::connect(gateway.address()).await?;
    let start = films.range(nth).start;
    let (answer, bytes) = client.get_range(&Films::path(nth), start..start + READ_BYTES).await?;
    let is_whole = bytes.len() as u64 == READ_BYTES;
    Ok(answer.status == StatusCode::PARTIAL_CONTENT && is_whole && films.are_right(nth, 0, &bytes))
}
