//! Connections that have had their answer and stay: browsers' and proxies' keep-alive pools.

use super::{
    Figures, Scenario, Stage, Value,
    crowd::{self, answered},
    films::Films,
    stage::{Scale, raise_descriptor_limit},
};
use crate::{Error, origin::Shape};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "idle-connections",
    promise: "memory stays within its bound while connections that have been served stay open",
    run: |stage| Box::pin(run(stage)),
};

/// Small enough that the client's own kernel takes all of it.
const RANGE_BYTES: u64 = 512;

async fn run(stage: &Stage) -> Result<Figures, Error> {
    let clients: usize = stage.pick(200, 10_000);
    raise_descriptor_limit();
    // The same piece for all: what is weighed is the connections.
    let films = Films::start(Shape::default(), 1, RANGE_BYTES)?;
    let gateway = stage.gateway(films.origin(), &stage.memory_for(clients)).await?;
    let mut scale = Scale::new(&gateway, films.origin())?;

    stage.begin("arriving", clients);
    let visitors = crowd::gather(|| stage.done(), gateway.address(), clients, |_| films.request(0)).await?;
    let footprint = scale.weigh()?;

    let mut figures = Figures::default();
    let (clients, served) = (clients as u64, answered(&visitors, 206));
    figures.at_least("answered with 206", Value::Count(served), Value::Count(clients));
    figures.note("resident for each connection", Value::Bytes(scale.grown().resident / clients));
    figures.note("kernel memory for each", Value::Bytes(footprint.sockets / clients));
    scale.judge(&mut figures).await?;
    Ok(figures)
}
