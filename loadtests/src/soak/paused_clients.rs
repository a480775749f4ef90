//! Clients that ask for 8 MiB, read the head of the answer, and stop: a player whose user went for coffee, ten
//! thousand times. What waits for them must wait within the bound.

use super::{
    Figures, Scenario, Stage, Value,
    crowd::{self, answered},
    stage::{BUCKET, raise_descriptor_limit, weigh},
};
use crate::{
    Error,
    origin::{Origin, Shape},
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "paused-clients",
    promise: "memory stays within its bound while clients ask for 8 MiB each and read none of it",
    run: |stage| Box::pin(run(stage)),
};

const OBJECTS: usize = 16;
const RANGE_BYTES: u64 = 8 << 20;
/// Between two clients' ranges, so that none can share another's segments.
const STRIDE_BYTES: u64 = 16 << 20;

async fn run(stage: &Stage) -> Result<Figures, Error> {
    let clients: usize = stage.pick(300, 10_000);
    let (cache, budget) = stage.pick(("32MiB", "32MiB"), ("512MiB", "256MiB"));
    raise_descriptor_limit();
    let origin = Origin::start(Shape::default())?;
    for object in 0..OBJECTS {
        let size = (clients.div_ceil(OBJECTS) as u64 + 1) * STRIDE_BYTES;
        origin.put_pattern(BUCKET, &format!("film-{object}.mp4"), size, object as u64);
    }
    let settings = [("CACHE_MEMORY_BYTES", cache), ("MEMORY_BUDGET_BYTES", budget)];
    let gateway = stage.gateway(&origin, &settings).await?;
    let before = weigh(&gateway, &origin).await?;

    stage.begin("arriving", clients);
    let visitors = crowd::gather(stage, gateway.address(), clients, |nth| {
        let start = (nth / OBJECTS) as u64 * STRIDE_BYTES + 4321;
        let range = format!("range: bytes={start}-{}\r\n", start + RANGE_BYTES - 1);
        crowd::get(&format!("/media/film-{}.mp4", nth % OBJECTS), &range)
    })
    .await?;
    let during = weigh(&gateway, &origin).await?;
    let metrics = gateway.metrics().await?;

    let mut figures = Figures::default();
    figures.note("clients", Value::Count(clients as u64));
    figures.note("answered with 206", Value::Count(answered(&visitors, 206)));
    figures.note("answered with 503", Value::Count(answered(&visitors, 503)));
    figures.note("resident before", Value::Bytes(before.resident));
    figures.note("resident", Value::Bytes(during.resident));
    figures.note("sockets", Value::Bytes(during.sockets));
    figures.note(
        "machine's TCP memory, difference",
        Value::Bytes(during.machine_tcp.saturating_sub(before.machine_tcp)),
    );
    let in_use = metrics.get("seekway_budget_in_use_bytes").unwrap_or_default();
    figures.note("budget in use, MiB", Value::Ratio(in_use / f64::from(1 << 20)));
    Ok(figures)
}
