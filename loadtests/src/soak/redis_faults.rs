//! Redis is paused, corrupted, killed and started again in the middle of traffic: Redis down costs nothing but Redis.

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use futures_util::{StreamExt as _, stream};
use hdrhistogram::Histogram;
use tokio::{sync::Mutex, time::sleep};

use super::{Figures, Scenario, Stage, Value, replicas::connected, stage::BUCKET};
use crate::{
    Error,
    client::Client,
    gateway::Gateway,
    origin::{Origin, Shape},
    pattern,
    redis::Redis,
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "redis-faults",
    promise: "Redis paused, corrupted, killed and restarted under load fails no response and delivers no wrong byte",
    run: |stage| Box::pin(run(stage)),
};

const SEED: u64 = 12;
/// Small enough that traffic returns to the same segments, so that they are shared.
const SIZE: u64 = 64 << 20;
const READ_BYTES: u64 = 100_000;
const CLIENTS_PER_GATEWAY: usize = 4;

/// What the clients found.
struct Traffic {
    goes_on: AtomicBool,
    good: AtomicU64,
    failed: AtomicU64,
    wrong: AtomicU64,
    /// Times to the first byte, in microseconds.
    first_bytes: Mutex<Histogram<u64>>,
}

async fn run(stage: &Stage) -> Result<Figures, Error> {
    let (replicas, rounds, calm) = stage.pick((2, 1, 300), (4, 5, 2000));
    let calm = Duration::from_millis(calm);
    let origin = Origin::start(Shape { first_byte_latency: Duration::from_millis(5), ..Shape::default() })?;
    origin.put_pattern(BUCKET, "film.mp4", SIZE, SEED);
    let mut redis = Redis::start()?;
    // Memory for a tenth of the object, so that Redis and the store stay in use.
    let settings = [
        ("REDIS_URL", redis.url()),
        ("CACHE_MEMORY_BYTES", "8MiB".to_owned()),
        ("CACHE_REDIS_READ_TIMEOUT", stage.pick("100ms", "2ms").to_owned()),
    ];
    let mut gateways = Vec::new();
    for _ in 0..replicas {
        gateways.push(stage.gateway(&origin, &settings).await?);
    }
    connected(&gateways).await?;

    let traffic = Traffic {
        goes_on: AtomicBool::new(true),
        good: AtomicU64::new(0),
        failed: AtomicU64::new(0),
        wrong: AtomicU64::new(0),
        first_bytes: Mutex::new(Histogram::new_with_bounds(1, 60_000_000, 3).expect("bounds in order")),
    };
    let clients = gateways.iter().flat_map(|gateway| (0..CLIENTS_PER_GATEWAY).map(move |_| gateway));
    let clients = stream::iter(clients.map(|gateway| play(gateway, &traffic)))
        .buffer_unordered(replicas * CLIENTS_PER_GATEWAY)
        .collect::<()>();
    stage.begin("faults", 4 * rounds);
    let faults = async {
        for _ in 0..rounds {
            sleep(calm).await;
            redis.corrupt_all()?;
            stage.done();
            sleep(calm).await;
            redis.pause();
            sleep(calm).await;
            redis.resume();
            stage.done();
            connected(&gateways).await?;
            redis.kill();
            sleep(calm).await;
            stage.done();
            redis.restart()?;
            connected(&gateways).await?;
            sleep(calm).await;
            stage.done();
        }
        traffic.goes_on.store(false, Ordering::Relaxed);
        Ok::<_, Error>(())
    };
    let ((), faults) = tokio::join!(clients, faults);
    faults?;

    let mut figures = Figures::default();
    let sum = async |name| -> Result<u64, Error> {
        let mut sum = 0.0;
        for gateway in &gateways {
            sum += gateway.metrics().await?.get(name).unwrap_or_default();
        }
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // Counters.
        Ok(sum as u64)
    };
    figures.note("gateways", Value::Count(replicas as u64));
    figures.at_least("good responses", Value::Count(traffic.good.into_inner()), Value::Count(100));
    figures.none("failed responses", traffic.failed.into_inner());
    figures.none("wrong responses", traffic.wrong.into_inner());
    let opened = sum("seekway_redis_breaker_opened_total").await?;
    figures.at_least("circuit breaker opened", Value::Count(opened), Value::Count(2));
    let read = sum("seekway_redis_segments_read_total").await?;
    figures.at_least("segments that Redis gave", Value::Count(read), Value::Count(1));
    let corrupt = sum("seekway_redis_corrupt_total").await?;
    figures.at_least("values found corrupted", Value::Count(corrupt), Value::Count(1));
    figures.note("answers that were late", Value::Count(sum("seekway_redis_timeouts_total").await?));
    let first_bytes = traffic.first_bytes.into_inner();
    for (name, quantile) in [("TTFB p50", 0.5), ("TTFB p99", 0.99), ("TTFB worst", 1.0)] {
        figures.note(name, Value::from(Duration::from_micros(first_bytes.value_at_quantile(quantile))));
    }
    Ok(figures)
}

/// Seeks at random until the traffic ends.
async fn play(gateway: &Gateway, traffic: &Traffic) {
    let mut client = None;
    while traffic.goes_on.load(Ordering::Relaxed) {
        let connected = match client.take() {
            Some(client) => Ok(client),
            None => Client::connect(gateway.address()).await,
        };
        let offset = random_below(SIZE - READ_BYTES);
        let outcome = async {
            let mut connected = connected?;
            let answer = connected.get_range("/media/film.mp4", offset..offset + READ_BYTES).await?;
            Ok::<_, Error>((connected, answer))
        };
        match outcome.await {
            Ok((connected, (answer, body))) if answer.status == http::StatusCode::PARTIAL_CONTENT => {
                client = Some(connected);
                let is_right =
                    body.len() as u64 == READ_BYTES && pattern::verify(SEED, offset, &body).is_none();
                if is_right { &traffic.good } else { &traffic.wrong }.fetch_add(1, Ordering::Relaxed);
                let micros = u64::try_from(answer.ttfb.as_micros()).unwrap_or(u64::MAX);
                traffic.first_bytes.lock().await.saturating_record(micros);
            }
            _ => {
                traffic.failed.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}

/// A number below `end`, different each time.
fn random_below(end: u64) -> u64 {
    use std::hash::{BuildHasher as _, RandomState};
    RandomState::new().hash_one(0) % end
}
