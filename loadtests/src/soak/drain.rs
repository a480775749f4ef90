//! SIGTERM in the middle of traffic: what runs is finished, and the process ends well.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::AsyncReadExt as _;

use super::{
    Figures, Scenario, Stage, Value,
    crowd::{self, Visitor, answered},
    films::Films,
    stage::raise_descriptor_limit,
};
use crate::{Error, gateway::Signal, origin::Shape};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "drain",
    promise: "after SIGTERM under load every running response ends with all its bytes, and the exit code is 0",
    run: |stage| Box::pin(run(stage)),
};

const RANGE_BYTES: u64 = 1 << 20;
const ENDED_WITHIN: Duration = Duration::from_mins(1);

async fn run(stage: &Stage) -> Result<Figures, Error> {
    let clients: usize = stage.pick(50, 1_000);
    raise_descriptor_limit();
    let films = Films::start(Shape::remote(), clients, RANGE_BYTES)?;
    let mut settings = stage.memory_for(clients);
    settings.push(("SEEKWAY_DRAIN_TIMEOUT", "1m".to_owned()));
    let mut gateway = stage.gateway(films.origin(), &settings).await?;

    stage.begin("arriving", clients);
    let visitors =
        crowd::gather(|| stage.done(), gateway.address(), clients, |nth| films.request(nth)).await?;
    let served = answered(&visitors, 206);
    gateway.signal(Signal::TERM)?;
    stage.begin("finishing", clients);
    let reads = join_all(visitors.into_iter().enumerate().map(async |(nth, visitor)| {
        let is_complete = read_to_end(&films, nth, visitor).await;
        stage.done();
        is_complete
    }))
    .await;
    let status = gateway.ended(ENDED_WITHIN).await?;

    let mut figures = Figures::default();
    figures.at_least("responses running at SIGTERM", Value::Count(served), Value::Count(clients as u64));
    figures.none("of them cut or wrong", reads.iter().filter(|is_complete| !**is_complete).count() as u64);
    figures.none("exit codes other than 0", u64::from(!status.success()));
    Ok(figures)
}

async fn read_to_end(films: &Films, nth: usize, mut visitor: Visitor) -> bool {
    let mut bytes = std::mem::take(&mut visitor.body);
    while (bytes.len() as u64) < RANGE_BYTES {
        if !matches!(visitor.stream.read_buf(&mut bytes).await, Ok(1..)) {
            return false;
        }
    }
    bytes.len() as u64 == RANGE_BYTES && films.are_right(nth, 0, &bytes)
}
