//! Requests for what no cache has, all at the same time, before an origin that lets each wait: every one of them
//! would have a connection to the origin of its own, with a buffer that no budget pays for.

use std::time::Duration;

use futures_util::future::{join, join_all};
use tokio::io::AsyncReadExt as _;

use super::{
    Figures, Scenario, Stage, Value, crowd,
    films::Films,
    stage::{Scale, raise_descriptor_limit},
};
use crate::{Error, gateway::Gateway, origin::Shape};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "cold-requests",
    promise: "memory stays within its bound, and all are served, while many ask at once for what no cache has",
    run: |stage| Box::pin(run(stage)),
};

const RANGE_BYTES: u64 = 128 << 10;
const ORIGIN_REQUESTS_MAX: u64 = 32;

async fn run(stage: &Stage) -> Result<Figures, Error> {
    let clients: usize = stage.pick(200, 2_000);
    raise_descriptor_limit();
    let shape = Shape { first_byte_latency: Duration::from_millis(50), ..Shape::remote() };
    let films = Films::start(shape, clients, RANGE_BYTES)?;
    let mut settings = stage.memory_for(clients);
    settings.push(("SEEKWAY_S3_REQUESTS_MAX", ORIGIN_REQUESTS_MAX.to_string()));
    // It is memory that is looked at: whoever waits for a turn is served, however slow this machine is.
    settings.push(("SEEKWAY_S3_ANSWER_TIMEOUT", "50s".to_owned()));
    let gateway = stage.gateway(films.origin(), &settings).await?;
    let mut scale = Scale::new(&gateway, films.origin())?;

    stage.begin("asking", clients);
    let reading = async {
        let reads = join_all((0..clients).map(|nth| read(stage, &gateway, &films, nth))).await;
        reads.iter().filter(|read| !matches!(read, Ok(true))).count() as u64
    };
    let weighing = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        scale.weigh()
    };
    let (failed, weighed) = join(reading, weighing).await;
    weighed?;
    scale.weigh()?;

    let mut figures = Figures::default();
    figures.note("requests at once", Value::Count(clients as u64));
    figures.none("of them failed or wrong", failed);
    let (most, allowed) = (films.origin().counts().max_in_flight, ORIGIN_REQUESTS_MAX);
    figures.at_most("requests at the origin at once", Value::Count(most), Value::Count(allowed));
    scale.judge(&mut figures).await?;
    Ok(figures)
}

async fn read(stage: &Stage, gateway: &Gateway, films: &Films, nth: usize) -> Result<bool, Error> {
    let stream = crowd::connect(gateway.address(), nth).await?;
    let mut visitor = crowd::ask(stream, &films.request(nth)).await?;
    let mut bytes = std::mem::take(&mut visitor.body);
    while visitor.status == 206 && (bytes.len() as u64) < RANGE_BYTES {
        if visitor.stream.read_buf(&mut bytes).await? == 0 {
            break;
        }
    }
    stage.done();
    Ok(visitor.status == 206 && bytes.len() as u64 == RANGE_BYTES && films.are_right(nth, 0, &bytes))
}
