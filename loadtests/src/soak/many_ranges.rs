//! Requests for as many ranges as are allowed, far from each other, whose answers nobody reads: one request that
//! could make the gateway hold 32 windows.

use super::{
    Figures, Scenario, Stage, Value,
    crowd::{self, answered},
    films::Films,
    stage::{Scale, raise_descriptor_limit},
};
use crate::{Error, origin::Shape};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "many-ranges",
    promise: "memory stays within its bound while clients ask for 32 ranges at once and read none of them",
    run: |stage| Box::pin(run(stage)),
};

const RANGE_BYTES: u64 = 64 << 20;
/// The most that the gateway takes in one request.
const RANGES: u64 = 32;

async fn run(stage: &Stage) -> Result<Figures, Error> {
    let clients: usize = stage.pick(100, 1_000);
    raise_descriptor_limit();
    let films = Films::start(Shape::default(), clients, RANGE_BYTES)?;
    let gateway = stage.gateway(films.origin(), &stage.memory_for(clients)).await?;
    let mut scale = Scale::new(&gateway, films.origin())?;

    stage.begin("arriving", clients);
    let visitors = crowd::gather(
        || stage.done(),
        gateway.address(),
        clients,
        |nth| {
            let start = films.range(nth).start;
            let ranges = (0..RANGES).map(|index| {
                let first = start + index * (RANGE_BYTES / RANGES);
                format!("{first}-{}", first + RANGE_BYTES / RANGES / 2)
            });
            let ranges = ranges.collect::<Vec<_>>().join(",");
            crowd::get(&Films::path(nth), &format!("range: bytes={ranges}\r\n"))
        },
    )
    .await?;
    scale.weigh()?;

    let mut figures = Figures::default();
    figures.note("clients", Value::Count(clients as u64));
    figures.note("answered with 206", Value::Count(answered(&visitors, 206)));
    figures.note("answered with 503, no memory for 5 s", Value::Count(answered(&visitors, 503)));
    let other = visitors.iter().filter(|visitor| !matches!(visitor.status, 206 | 503)).count();
    figures.none("answered otherwise", other as u64);
    scale.judge(&mut figures).await?;
    Ok(figures)
}
