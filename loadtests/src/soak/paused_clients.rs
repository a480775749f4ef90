//! Clients that ask for 8 MiB, read the head of the answer, and stop: players whose users went for coffee, ten
//! thousand times. What waits for them must wait within the bound, and a client that does read is served.

use super::{
    Figures, Scenario, Stage, Value,
    crowd::{self, answered},
    films::Films,
    stage::{Scale, raise_descriptor_limit},
};
use crate::{Error, origin::Shape};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "paused-clients",
    promise: "memory stays within its bound while clients ask for 8 MiB each and read none of it",
    run: |stage| Box::pin(run(stage)),
};

const RANGE_BYTES: u64 = 8 << 20;

async fn run(stage: &Stage) -> Result<Figures, Error> {
    let mut figures = Figures::default();
    for clients in stage.pick(vec![200], vec![1_000, 10_000]) {
        pause(stage, clients, &mut figures).await?;
    }
    Ok(figures)
}

async fn pause(stage: &Stage, clients: usize, figures: &mut Figures) -> Result<(), Error> {
    raise_descriptor_limit();
    let films = Films::start(Shape::default(), clients, RANGE_BYTES)?;
    let gateway = stage.gateway(films.origin(), &stage.memory_for(clients)).await?;
    let mut scale = Scale::new(&gateway, films.origin())?;

    stage.begin("arriving", clients);
    let visitors =
        crowd::gather(|| stage.done(), gateway.address(), clients, |nth| films.request(nth)).await?;
    scale.weigh()?;

    figures.note("clients", Value::Count(clients as u64));
    figures.note("answered with 206", Value::Count(answered(&visitors, 206)));
    figures.note("answered with 503, no memory for 5 s", Value::Count(answered(&visitors, 503)));
    scale.judge(figures).await
}
