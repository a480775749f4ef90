//! Clients that leave in the middle, by the thousand: every seek of a player does it.

use std::time::{Duration, Instant};

use super::{
    Figures, Scenario, Stage, Value,
    crowd::{self},
    films::Films,
    stage::{Scale, raise_descriptor_limit, whole},
};
use crate::{Error, client::Client, gateway::Gateway, origin::Shape};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "aborts",
    promise: "clients that leave in the middle leave nothing behind: no fill, no memory, no socket",
    run: |stage| Box::pin(run(stage)),
};

const RANGE_BYTES: u64 = 8 << 20;
/// An abandoned fill stops after 250 ms; a retry of an origin request may come in between.
const QUIET_WITHIN: Duration = Duration::from_secs(20);

async fn run(stage: &Stage) -> Result<Figures, Error> {
    let (rounds, clients): (usize, usize) = stage.pick((3, 100), (20, 500));
    raise_descriptor_limit();
    let shape = Shape { first_byte_latency: Duration::from_millis(5), ..Shape::remote() };
    let films = Films::start(shape, rounds * clients, RANGE_BYTES)?;
    let gateway = stage.gateway(films.origin(), &stage.memory_for(2 * clients)).await?;
    let mut scale = Scale::new(&gateway, films.origin())?;

    stage.begin("leaving", rounds * clients);
    for round in 0..rounds {
        let request = |nth| films.request(round * clients + nth);
        let visitors = crowd::gather(|| stage.done(), gateway.address(), clients, request).await?;
        scale.weigh()?;
        drop(visitors);
    }

    let began = Instant::now();
    let left = loop {
        let left = left(&gateway).await?;
        if left.is_nothing() || began.elapsed() > QUIET_WITHIN {
            break left;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    let after = scale.weigh()?;
    let (path, range) = (Films::path(0), films.range(0));
    let (_, body) = Client::connect(gateway.address()).await?.get_range(&path, range).await?;

    let mut figures = Figures::default();
    figures.note("clients that left", Value::Count((rounds * clients) as u64));
    figures.note("until nothing was left", began.elapsed().into());
    figures.none("fills left", left.fills);
    figures.none("readers left waiting for memory", left.waiting);
    figures.none("bytes left in buffers outside of the cache", left.bytes);
    figures.none("bytes left to sockets, and to frames of HTTP/2", left.lent);
    // Two listeners and the connection of the metrics.
    figures.at_most("sockets left, store connections included", Value::Count(after.socket_count), {
        let origin_connections = films.origin().counts().open_connections;
        Value::Count(origin_connections + 4)
    });
    let complete = body.len() as u64 == RANGE_BYTES && films.are_right(0, 0, &body);
    figures.none("requests afterwards that went wrong", u64::from(!complete));
    scale.judge(&mut figures).await?;
    Ok(figures)
}

/// What the gateway says that it still holds for nobody.
struct Left {
    fills: u64,
    waiting: u64,
    bytes: u64,
    lent: u64,
}

impl Left {
    fn is_nothing(&self) -> bool {
        self.fills + self.waiting + self.bytes + self.lent == 0
    }
}

async fn left(gateway: &Gateway) -> Result<Left, Error> {
    let metrics = gateway.metrics().await?;
    let gauge = |name| metrics.get(name).map_or(u64::MAX, whole);
    // The memory tier weighs an overhead for each segment that the budget does not know.
    let bytes = gauge("seekway_budget_in_use_bytes").saturating_sub(gauge("seekway_cache_memory_bytes"));
    Ok(Left {
        fills: gauge("seekway_cache_fills_running"),
        waiting: gauge("seekway_budget_waiting"),
        bytes,
        lent: gauge("seekway_sockets_leased_bytes") + gauge("seekway_http2_gathered_bytes"),
    })
}
