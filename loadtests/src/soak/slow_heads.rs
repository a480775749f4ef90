//! Connections that never ask, and requests whose heads come byte by byte, among clients that are well: a
//! slowloris must cost the others nothing.

use std::time::{Duration, Instant};

use futures_util::{TryStreamExt as _, stream::FuturesUnordered};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::{
    Figures, Scenario, Stage, Value, crowd,
    films::Films,
    stage::{Scale, raise_descriptor_limit},
};
use crate::{Error, client::Client, gateway::Gateway, origin::Shape};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "slow-heads",
    promise: "connections that never finish asking are ended in time, and good clients notice nothing of them",
    run: |stage| Box::pin(run(stage)),
};

const RANGE_BYTES: u64 = 256 << 10;
const GOOD_CLIENTS: usize = 8;
/// The gateway's limits in this scenario, and what a busy machine may add.
const LIMIT: Duration = Duration::from_secs(1);
const LATE_BY_AT_MOST: Duration = Duration::from_secs(20);

async fn run(stage: &Stage) -> Result<Figures, Error> {
    let (bad, requests): (usize, usize) = stage.pick((200, 50), (4_000, 2_000));
    raise_descriptor_limit();
    let films = Films::start(Shape::default(), GOOD_CLIENTS, RANGE_BYTES)?;
    let mut settings = stage.memory_for(bad + GOOD_CLIENTS);
    settings.push(("SEEKWAY_IDLE_TIMEOUT", "1s".to_owned()));
    settings.push(("SEEKWAY_HEADER_TIMEOUT", "1s".to_owned()));
    let gateway = stage.gateway(films.origin(), &settings).await?;
    let mut scale = Scale::new(&gateway, films.origin())?;

    stage.begin("asking slowly", bad + GOOD_CLIENTS * requests);
    let slow: FuturesUnordered<_> = (0..bad).map(|nth| never_ask(stage, &gateway, nth)).collect();
    let good: FuturesUnordered<_> =
        (0..GOOD_CLIENTS).map(|nth| ask_well(stage, &gateway, &films, nth, requests)).collect();
    let (slow, good) = (slow.try_collect::<Vec<bool>>(), good.try_collect::<Vec<u64>>());
    let (ended, failed) = futures_util::future::try_join(slow, good).await?;
    scale.weigh()?;

    let mut figures = Figures::default();
    figures.note("connections that never finished asking", Value::Count(bad as u64));
    figures.none("of them not ended in time", ended.iter().filter(|ended| !**ended).count() as u64);
    figures.note("requests of good clients", Value::Count((GOOD_CLIENTS * requests) as u64));
    figures.none("of them failed", failed.iter().sum());
    scale.judge(&mut figures).await?;
    Ok(figures)
}

/// Half of them say nothing; the others send a byte of a head now and then. Says whether the gateway ended it.
async fn never_ask(stage: &Stage, gateway: &Gateway, nth: usize) -> Result<bool, Error> {
    let mut stream = crowd::connect(gateway.address(), nth).await?;
    let (began, head) = (Instant::now(), crowd::get("/media/film-0.mp4", ""));
    let mut bytes = head.bytes().take(head.len() - 1).cycle();
    let mut answer = Vec::new();
    while began.elapsed() < LIMIT + LATE_BY_AT_MOST {
        if nth.is_multiple_of(2) {
            // A write to a connection that has been ended is how such a client finds out.
            if stream.write_all(&[bytes.next().expect("it goes round")]).await.is_err() {
                break;
            }
        }
        let reading = stream.read_buf(&mut answer);
        if let Ok(Ok(0) | Err(_)) = tokio::time::timeout(Duration::from_millis(200), reading).await {
            break;
        }
    }
    stage.done();
    Ok(began.elapsed() < LIMIT + LATE_BY_AT_MOST)
}

/// Sends requests one after the other, and says how many were not answered as they should.
async fn ask_well(
    stage: &Stage,
    gateway: &Gateway,
    films: &Films,
    nth: usize,
    requests: usize,
) -> Result<u64, Error> {
    let mut client = Client::connect(gateway.address()).await?;
    let mut failed = 0;
    for _ in 0..requests {
        let answer = client.get_range(&Films::path(nth), films.range(nth)).await;
        let is_right = |body: &[u8]| body.len() as u64 == RANGE_BYTES && films.are_right(nth, 0, body);
        if !answer.is_ok_and(|(answer, body)| answer.status == 206 && is_right(&body)) {
            failed += 1;
            client = Client::connect(gateway.address()).await?;
        }
        stage.done();
    }
    Ok(failed)
}
