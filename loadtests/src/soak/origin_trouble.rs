//! An origin that goes away, throttles and slows down in the middle of traffic. No byte may be wrong whatever it
//! does, what is cached must be served as if nothing was, and when it is back, everything must be.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use futures_util::future::{join, try_join_all};
use http::StatusCode;

use super::{Figures, Scenario, Stage, Value, films::Films, stage::Scale};
use crate::{
    Error,
    client::Client,
    gateway::Gateway,
    origin::{Fault, Shape},
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "origin-trouble",
    promise: "no wrong byte whatever the origin does, and no failure of what is cached",
    run: |stage| Box::pin(run(stage)),
};

const RANGE_BYTES: u64 = 512 << 10;
/// Read by everybody before anything goes wrong, and then again and again.
const CACHED: usize = 16;
const CLIENTS: usize = 8;
const AGAIN: &str = "well again";
/// The longest that the gateway passes an endpoint over, and some time to find out.
const RECOVERED_WITHIN: Duration = Duration::from_secs(30);

/// What the origin is, and how it becomes so.
type Trouble = (&'static str, fn(&Films));

async fn run(stage: &Stage) -> Result<Figures, Error> {
    let span = stage.pick(Duration::from_millis(400), Duration::from_secs(5));
    let cold = stage.pick(2_000, 20_000);
    let films = Films::start(Shape::remote(), CACHED + cold, RANGE_BYTES)?;
    let mut settings = stage.memory_for(2 * CLIENTS);
    settings.push(("METADATA_TTL", "100ms".to_owned()));
    settings.push(("STALE_WHILE_REVALIDATE", "100ms".to_owned()));
    let gateway = stage.gateway(films.origin(), &settings).await?;
    let mut scale = Scale::new(&gateway, films.origin())?;
    let mut warm = Client::connect(gateway.address()).await?;
    for nth in 0..CACHED {
        warm.get_range(&Films::path(nth), films.range(nth)).await?;
    }

    let troubles: [Trouble; 5] = [
        ("well", |_| {}),
        ("throttling", |films| films.origin().set_shape(Shape { error_rate: 0.5, ..Shape::remote() })),
        ("breaking off", |films| films.origin().fault(Fault::Truncate(100_000))),
        ("down", |films| films.origin().fault(Fault::Status(StatusCode::SERVICE_UNAVAILABLE))),
        (AGAIN, |_| {}),
    ];
    let next_cold = AtomicUsize::new(CACHED);
    let mut figures = Figures::default();
    stage.begin("troubling", troubles.len());
    for (what, trouble) in troubles {
        films.origin().clear_faults();
        films.origin().set_shape(Shape::remote());
        trouble(&films);
        if what == AGAIN {
            let recovered = recovery(&gateway, &films, &next_cold).await?;
            figures.at_most("until cold reads work again", recovered.into(), RECOVERED_WITHIN.into());
        }
        let is_over = AtomicBool::new(false);
        let readers = (0..CLIENTS).map(|nth| read(&gateway, &films, nth, &next_cold, &is_over));
        let ending = async {
            tokio::time::sleep(span).await;
            is_over.store(true, Ordering::Relaxed);
        };
        let (tallies, ()) = join(try_join_all(readers), ending).await;
        let tally = tallies?.into_iter().fold(Tally::default(), Tally::plus);
        scale.weigh()?;
        stage.done();
        figures.note(format!("origin {what}: cached reads"), Value::Count(tally.cached));
        figures.none("  of them failed", tally.cached_failed);
        figures.note("  cold reads", Value::Count(tally.cold));
        if what.starts_with("well") {
            figures.none("  of them failed", tally.cold_failed);
        } else {
            figures.note("  of them failed", Value::Count(tally.cold_failed));
        }
        figures.none("  wrong bytes", tally.wrong);
    }
    scale.judge(&mut figures).await?;
    Ok(figures)
}

/// How long the origin must be well until a cold read is, too: it is passed over for some time after failures.
async fn recovery(gateway: &Gateway, films: &Films, next_cold: &AtomicUsize) -> Result<Duration, Error> {
    let began = Instant::now();
    while began.elapsed() < RECOVERED_WITHIN {
        let place = next_cold.fetch_add(1, Ordering::Relaxed);
        let mut client = Client::connect(gateway.address()).await?;
        let read = client.get_range(&Films::path(place), films.range(place)).await;
        if read.is_ok_and(|(answer, _)| answer.status == StatusCode::PARTIAL_CONTENT) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    Ok(began.elapsed())
}

/// What the reads of one client came to.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    cached: u64,
    cached_failed: u64,
    cold: u64,
    cold_failed: u64,
    wrong: u64,
}

impl Tally {
    fn plus(self, other: Self) -> Self {
        Self {
            cached: self.cached + other.cached,
            cached_failed: self.cached_failed + other.cached_failed,
            cold: self.cold + other.cold,
            cold_failed: self.cold_failed + other.cold_failed,
            wrong: self.wrong + other.wrong,
        }
    }
}

/// Reads what is cached and what is not in turns, at least one of each, until it is over.
async fn read(
    gateway: &Gateway,
    films: &Films,
    nth: usize,
    next_cold: &AtomicUsize,
    is_over: &AtomicBool,
) -> Result<Tally, Error> {
    let mut client = Client::connect(gateway.address()).await?;
    let mut tally = Tally::default();
    for turn in 0.. {
        let is_cached = turn % 2 == 0;
        let place = if is_cached { (nth + turn) % CACHED } else { next_cold.fetch_add(1, Ordering::Relaxed) };
        let mut is_right = true;
        let check = |offset, bytes: &[u8]| is_right &= films.are_right(place, offset, bytes);
        let answer = client.get_range_with(&Films::path(place), films.range(place), check).await;
        let complete =
            answer.as_ref().is_ok_and(|answer| answer.status == 206 && answer.bytes == RANGE_BYTES);
        // The body of an error is no object's.
        let served = answer.as_ref().map_or(true, |answer| answer.status == 206);
        tally.wrong += u64::from(served && !is_right);
        let (count, failed) = if is_cached {
            (&mut tally.cached, &mut tally.cached_failed)
        } else {
            (&mut tally.cold, &mut tally.cold_failed)
        };
        *count += 1;
        *failed += u64::from(!complete);
        if answer.is_err() {
            client = Client::connect(gateway.address()).await?;
        }
        if !is_cached && is_over.load(Ordering::Relaxed) {
            break;
        }
    }
    Ok(tally)
}
