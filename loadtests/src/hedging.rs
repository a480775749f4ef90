//! What a second request does for those whose first is late.
//!
//! An origin answers a small share of requests many times slower than the rest. The same cold seeks are read
//! through two gateways in front of it, one that hedges and one that does not, in turns, so that a busy moment
//! of the machine hits both. Every byte is checked, and every request to the origin is counted.

use std::{ffi::OsString, fmt, path::PathBuf, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::{
    Error,
    cold_seek::{self, Scenario, Seeks, Side},
    gateway::{Gateway, Launch},
    origin::{Origin, Shape, Tail},
    report::{Aim, number},
};

/// What is aimed at, as ratios within one run.
pub mod aims {
    /// The 99th percentile of TTFB with hedging, in parts of that without.
    pub const TTFB_P99_RATIO: f64 = 0.5;
    /// Requests to the origin that hedging adds, in percent.
    pub const EXTRA_REQUESTS_PERCENT: f64 = 5.0;
}

/// Read first and not counted: a gateway hedges only when it knows what is usual.
const WARM_UP_SEEKS: usize = 64;

/// The origin of the aims: 30 ms to the first byte, and ten times that for 3 % of requests.
pub fn shape() -> Shape {
    Shape { tail: Some(Tail { fraction: 0.03, factor: 10.0 }), ..Shape::remote() }
}

/// As many seeks as the 99th percentile needs to rest on more than a few of them.
pub fn scenario() -> Scenario {
    Scenario { object_bytes: 4 << 30, seeks: 2000, ..Scenario::default() }
}

/// Times to the first byte, in milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Quantiles {
    /// The median.
    pub p50_ms: f64,
    /// 99 of 100 were not later.
    pub p99_ms: f64,
    /// The latest.
    pub max_ms: f64,
}

/// The result of [`run`].
#[derive(Debug, Clone, Serialize)]
pub struct HedgingReport {
    /// How much was read.
    pub scenario: Scenario,
    /// From what kind of origin.
    pub origin_shape: Shape,
    /// Without hedging.
    pub off: Quantiles,
    /// With it.
    pub on: Quantiles,
    /// Requests to the origin without hedging.
    pub requests_off: u64,
    /// With it.
    pub requests_on: u64,
    /// What was aimed at, and what came of it.
    pub aims: Vec<Aim>,
}

/// Runs the scenario on an origin of this shape, with gateways that it starts and stops; `environment` is
/// more of their settings.
pub async fn run(
    binary: PathBuf,
    environment: Vec<(OsString, OsString)>,
    shape: Shape,
    scenario: &Scenario,
) -> Result<HedgingReport, Error> {
    let origin = Origin::start(shape)?;
    cold_seek::prepare(&origin, scenario);
    let start = async |hedge_after: &str| {
        let settings = [
            ("SEEKWAY_S3_HEDGE_AFTER", hedge_after),
            // Nothing but the seeks asks the origin.
            ("METADATA_TTL", "1h"),
        ];
        let settings = settings.map(|(name, value)| (name.into(), value.into()));
        let launch = Launch {
            binary: binary.clone(),
            endpoint: origin.endpoint(),
            bucket: cold_seek::BUCKET.to_owned(),
            environment: settings.into_iter().chain(environment.clone()).collect(),
        };
        Gateway::start(&launch).await
    };
    let (off, on) = (start("off").await?, start("p95").await?);
    let offsets = cold_seek::seek_offsets(scenario)?;
    let progress = cold_seek::progress_bar(offsets.len() * 2);
    progress.set_message("seeking");
    let mut sides = [
        (Seeks::connect(Side::Gateway, off.address(), scenario).await?, 0),
        (Seeks::connect(Side::Gateway, on.address(), scenario).await?, 0),
    ];
    let (warm_up, measured) = offsets.split_at(WARM_UP_SEEKS.min(offsets.len() / 2));
    for (seeks, _) in &mut sides {
        seeks.round(warm_up, scenario, &progress).await?;
        seeks.ttfb.reset();
    }
    for (round, offsets) in measured.chunks(measured.len().div_ceil(cold_seek::ROUNDS)).enumerate() {
        for turn in 0..2 {
            // Neither side is always the second.
            let (seeks, requests) = &mut sides[(round + turn) % 2];
            cold_seek::settle(&origin).await;
            origin.reset_counts();
            seeks.round(offsets, scenario, &progress).await?;
            *requests += cold_seek::settle(&origin).await.requests;
        }
    }
    progress.finish_and_clear();
    let [(off, requests_off), (on, requests_on)] = sides;
    let (off, on) = (Quantiles::of(&off.ttfb), Quantiles::of(&on.ttfb));
    Ok(HedgingReport::new(*scenario, shape, (off, requests_off), (on, requests_on)))
}

// === impl Quantiles ===

impl Quantiles {
    fn of(micros: &Histogram<u64>) -> Self {
        let ms = |micros: u64| number(micros) / 1000.0;
        Self {
            p50_ms: ms(micros.value_at_quantile(0.5)),
            p99_ms: ms(micros.value_at_quantile(0.99)),
            max_ms: ms(micros.max()),
        }
    }
}

// === impl HedgingReport ===

impl HedgingReport {
    fn new(
        scenario: Scenario,
        origin_shape: Shape,
        (off, requests_off): (Quantiles, u64),
        (on, requests_on): (Quantiles, u64),
    ) -> Self {
        let extra = 100.0 * (number(requests_on) / number(requests_off) - 1.0);
        let aims = vec![
            Aim::at_most("TTFB p99 with hedging / without", aims::TTFB_P99_RATIO, on.p99_ms / off.p99_ms),
            Aim::at_most("more requests to the origin, %", aims::EXTRA_REQUESTS_PERCENT, extra),
        ];
        Self { scenario, origin_shape, off, on, requests_off, requests_on, aims }
    }

    /// Whether every aim was met.
    pub fn all_met(&self) -> bool {
        self.aims.iter().all(|aim| aim.met)
    }
}

impl fmt::Display for HedgingReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, origin_shape, off, on, .. } = self;
        let latency = origin_shape.first_byte_latency;
        let tail = origin_shape.tail.unwrap_or(Tail { fraction: 0.0, factor: 1.0 });
        writeln!(
            f,
            "hedging: {} cold seeks each way, {} connections; {latency:?} to the origin's first byte, {:?} for {} %\n",
            scenario.seeks,
            scenario.connections,
            Duration::mul_f64(latency, tail.factor),
            tail.fraction * 100.0,
        )?;
        writeln!(f, "{:<24}{:>12}{:>12}{:>12}", "", "off", "on", "ratio")?;
        for (name, off, on) in [
            ("TTFB p50, ms", off.p50_ms, on.p50_ms),
            ("TTFB p99, ms", off.p99_ms, on.p99_ms),
            ("TTFB max, ms", off.max_ms, on.max_ms),
            ("origin requests", number(self.requests_off), number(self.requests_on)),
        ] {
            writeln!(f, "{name:<24}{off:>12.2}{on:>12.2}{:>12.3}", on / off)?;
        }
        writeln!(f)?;
        self.aims.iter().try_for_each(|aim| writeln!(f, "{aim}"))
    }
}
