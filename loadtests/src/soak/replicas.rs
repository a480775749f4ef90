//! A fleet in front of one store, with one Redis between: however many replicas are asked for the same cold bytes,
//! the store is asked for them about once.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};

use super::{Figures, Scenario, Stage, Value, stage::BUCKET};
use crate::{
    Error,
    client::Client,
    gateway::Gateway,
    origin::{Origin, Shape},
    pattern,
    redis::Redis,
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "replicas",
    promise: "many replicas that are asked for the same cold bytes ask the store for them about once",
    run: |stage| Box::pin(run(stage)),
};

const SEED: u64 = 11;
/// What a seek reads: one whole segment, so that every GET of the store is for a segment of its own.
const SEGMENT_BYTES: u64 = 64 * 1024;
const SIZE: u64 = 1 << 30;
const FIRST_BYTE: Duration = Duration::from_millis(30);
const CONNECTED_WITHIN: Duration = Duration::from_secs(30);

async fn run(stage: &Stage) -> Result<Figures, Error> {
    let (replicas, seeks) = stage.pick((3, 30), (8, 400));
    let shape = Shape { first_byte_latency: FIRST_BYTE, ..Shape::default() };
    let origin = Origin::start(shape)?;
    origin.put_pattern(BUCKET, "film.mp4", SIZE, SEED);
    let redis = Redis::start()?;
    // An answer that is late on this busy machine would be a miss, and this is not about lateness.
    let settings = [("REDIS_URL", redis.url()), ("CACHE_REDIS_READ_TIMEOUT", "1s".to_owned())];
    let mut gateways = Vec::new();
    for _ in 0..replicas {
        gateways.push(stage.gateway(&origin, &settings).await?);
    }
    connected(&gateways).await?;

    let mut figures = Figures::default();
    figures.note("replicas", Value::Count(gateways.len() as u64));
    let wrong = AtomicU64::new(0);

    // A herd: all replicas are asked for the same segment at the same moment.
    let before = origin.counts().gets;
    stage.begin("herds", seeks);
    let herds = (0..seeks as u64).map(|nth| (3 * nth + 1) * 5 * SEGMENT_BYTES);
    for offset in herds {
        let together = gateways.iter().map(|gateway| seek(gateway, offset, &wrong));
        for read in futures_util::future::join_all(together).await {
            read?;
        }
        stage.done();
    }
    let herd_gets = origin.counts().gets - before;
    figures.note("segments asked for by all at once", Value::Count(seeks as u64));
    figures.at_most("origin GETs per segment", per(herd_gets, seeks), Value::Ratio(1.1));

    // Then each replica is asked for the same segments in an order of its own, and at its own pace.
    let before = origin.counts().gets;
    let offsets: Vec<u64> = (0..seeks as u64).map(|nth| SIZE / 2 + nth * 7 * SEGMENT_BYTES).collect();
    stage.begin("seeks in many orders", seeks * gateways.len());
    let orders = gateways.iter().enumerate().map(|(nth, gateway)| {
        let (offsets, wrong) = (&offsets, &wrong);
        async move {
            for at in 0..offsets.len() {
                let at = (at * (2 * nth + 1) + nth * offsets.len() / 8) % offsets.len();
                seek(gateway, offsets[at], wrong).await?;
                stage.done();
            }
            Ok::<_, Error>(())
        }
    });
    let ended: Vec<Result<(), Error>> = stream::iter(orders).buffer_unordered(replicas).collect().await;
    ended.into_iter().collect::<Result<(), Error>>()?;
    let unique = visited(&offsets, replicas);
    figures.note("segments asked for in many orders", Value::Count(unique as u64));
    let gets = origin.counts().gets - before;
    figures.at_most("origin GETs per segment, in many orders", per(gets, unique), Value::Ratio(1.2));
    figures.none("wrong bytes", wrong.into_inner());
    Ok(figures)
}

/// How many different segments the orders visit between them.
fn visited(offsets: &[u64], replicas: usize) -> usize {
    let len = offsets.len();
    let all =
        (0..replicas).flat_map(|nth| (0..len).map(move |at| (at * (2 * nth + 1) + nth * len / 8) % len));
    all.collect::<std::collections::HashSet<_>>().len()
}

async fn seek(gateway: &Gateway, offset: u64, wrong: &AtomicU64) -> Result<(), Error> {
    let mut client = Client::connect(gateway.address()).await?;
    let (_, body) = client.get_range("/media/film.mp4", offset..offset + SEGMENT_BYTES).await?;
    if body.len() as u64 != SEGMENT_BYTES || pattern::verify(SEED, offset, &body).is_some() {
        wrong.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Waits until all of them use their Redis.
pub(super) async fn connected(gateways: &[Gateway]) -> Result<(), Error> {
    let connecting = async {
        for gateway in gateways {
            while gateway.metrics().await?.get("seekway_redis_up") != Some(1.0) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    };
    let connected = tokio::time::timeout(CONNECTED_WITHIN, connecting).await;
    connected.map_err(|_| Error::Timeout { request: "seekway_redis_up 1".into(), limit: CONNECTED_WITHIN })?
}

#[allow(clippy::cast_precision_loss)] // Some thousands.
fn per(gets: u64, segments: usize) -> Value {
    Value::Ratio(gets as f64 / segments as f64)
}
