//! What a scenario found out: numbers, and whether they are good enough.

use std::{fmt, time::Duration};

use hdrhistogram::Histogram;
use serde::Serialize;

use crate::{
    cold_seek::Scenario,
    origin::{Counts, Shape},
};

/// The aims of a cold seek. Each is a ratio or a difference within one run, so that it holds on any machine.
pub mod aims {
    /// The gateway's 95th percentile of TTFB may be this much later than the origin's.
    pub const TTFB_P95_ADDED_MS: f64 = 3.0;
    /// Bytes that the origin may send for each byte of a seek.
    pub const ORIGIN_BYTES_PER_BYTE: f64 = 3.0;
    /// The gateway's sequential speed, in multiples of one origin connection's.
    pub const SEQUENTIAL_SPEEDUP: f64 = 3.0;
    /// GETs of the origin for each 4 MiB of a sequential read.
    pub const ORIGIN_GETS_PER_4MIB: f64 = 1.0;
}

/// The result of [`cold_seek::run`](crate::cold_seek::run).
#[derive(Debug, Clone, Serialize)]
pub struct ColdSeekReport {
    /// How much was read.
    pub scenario: Scenario,
    /// From what kind of origin.
    pub origin_shape: Shape,
    /// Processor cores that all of it shared: origin, gateway and client.
    pub cores: usize,
    /// Time to the first byte from the origin.
    pub origin: Latency,
    /// Time to the first byte through the gateway.
    pub gateway: Latency,
    /// Bytes that the origin sent for each byte of a seek through the gateway.
    pub origin_bytes_per_byte: f64,
    /// GETs of the origin for each seek through the gateway.
    pub origin_gets_per_seek: f64,
    /// The sequential read.
    pub sequential: Sequential,
    /// What was aimed at, and what came of it.
    pub aims: Vec<Aim>,
}

/// Percentiles of a time, in milliseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Latency {
    /// The median.
    pub p50_ms: f64,
    /// 95 of 100 were not later.
    pub p95_ms: f64,
    /// The latest.
    pub max_ms: f64,
}

/// One sequential read from the origin and through the gateway.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Sequential {
    /// From the origin on one connection, in 10^6 bytes per second.
    pub origin_mb_per_s: f64,
    /// Through the gateway on one connection, in 10^6 bytes per second.
    pub gateway_mb_per_s: f64,
    /// The second in multiples of the first.
    pub speedup: f64,
    /// GETs of the origin for each 4 MiB.
    pub origin_gets_per_4mib: f64,
    /// Bytes that the origin sent for each byte.
    pub origin_bytes_per_byte: f64,
}

/// One thing that a run is judged by.
#[derive(Debug, Clone, Serialize)]
pub struct Aim {
    /// What is measured.
    pub name: &'static str,
    /// The bound.
    pub aim: f64,
    /// Whether the bound is the most or the least.
    pub bound: Bound,
    /// What was measured.
    pub measured: f64,
    /// Whether that is within the bound.
    pub met: bool,
}

/// The side on which a bound is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Bound {
    /// No more than this.
    AtMost,
    /// No less than this.
    AtLeast,
}

// === impl Latency ===

impl Latency {
    pub(crate) fn of(micros: &Histogram<u64>) -> Self {
        let ms = |micros: u64| number(micros) / 1000.0;
        Self {
            p50_ms: ms(micros.value_at_quantile(0.5)),
            p95_ms: ms(micros.value_at_quantile(0.95)),
            max_ms: ms(micros.max()),
        }
    }
}

// === impl Sequential ===

impl Sequential {
    pub(crate) fn new(bytes: u64, direct: Duration, through: Duration, counts: Counts) -> Self {
        let mb_per_s = |time: Duration| number(bytes) / 1e6 / time.as_secs_f64();
        Self {
            origin_mb_per_s: mb_per_s(direct),
            gateway_mb_per_s: mb_per_s(through),
            speedup: direct.as_secs_f64() / through.as_secs_f64(),
            origin_gets_per_4mib: number(counts.gets) / (number(bytes) / f64::from(4 << 20)),
            origin_bytes_per_byte: number(counts.body_bytes) / number(bytes),
        }
    }

    /// The run in the middle, by speedup. There is at least one.
    pub(crate) fn median(mut runs: Vec<Self>) -> Self {
        runs.sort_by(|one, other| one.speedup.total_cmp(&other.speedup));
        runs[(runs.len() - 1) / 2]
    }
}

// === impl Aim ===

impl Aim {
    pub(crate) fn at_most(name: &'static str, aim: f64, measured: f64) -> Self {
        Self { name, aim, bound: Bound::AtMost, measured, met: measured <= aim }
    }

    fn at_least(name: &'static str, aim: f64, measured: f64) -> Self {
        Self { name, aim, bound: Bound::AtLeast, measured, met: measured >= aim }
    }
}

impl fmt::Display for Aim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bound = match self.bound {
            Bound::AtMost => "at most",
            Bound::AtLeast => "at least",
        };
        let outcome = if self.met { "met" } else { "MISSED" };
        write!(f, "{outcome:<8}{:<36}{:>8.2}   (aim: {bound} {})", self.name, self.measured, self.aim)
    }
}

// === impl ColdSeekReport ===

impl ColdSeekReport {
    pub(crate) fn new(
        scenario: Scenario,
        origin_shape: Shape,
        origin: Latency,
        gateway: Latency,
        seek_traffic: Counts,
        delivered_bytes: u64,
        sequential: Sequential,
    ) -> Self {
        let origin_bytes_per_byte = number(seek_traffic.body_bytes) / number(delivered_bytes);
        let added_ms = gateway.p95_ms - origin.p95_ms;
        let aims = vec![
            Aim::at_most("TTFB p95 over the origin's, ms", aims::TTFB_P95_ADDED_MS, added_ms),
            Aim::at_most("origin bytes per byte", aims::ORIGIN_BYTES_PER_BYTE, origin_bytes_per_byte),
            Aim::at_least("sequential speedup", aims::SEQUENTIAL_SPEEDUP, sequential.speedup),
            Aim::at_most(
                "origin GETs per 4 MiB, sequential",
                aims::ORIGIN_GETS_PER_4MIB,
                sequential.origin_gets_per_4mib,
            ),
        ];
        Self {
            scenario,
            origin_shape,
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            origin,
            gateway,
            origin_bytes_per_byte,
            origin_gets_per_seek: number(seek_traffic.gets) / number(scenario.seeks as u64),
            sequential,
            aims,
        }
    }

    /// Whether every aim was met.
    pub fn all_met(&self) -> bool {
        self.aims.iter().all(|aim| aim.met)
    }
}

impl fmt::Display for ColdSeekReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { scenario, origin_shape, cores, origin, gateway, sequential, .. } = self;
        let pace = origin_shape.bytes_per_second_per_connection;
        writeln!(
            f,
            "cold seeks: {} reads of {} at random offsets of {}, {} connections",
            scenario.seeks,
            bytesize::ByteSize(scenario.seek_bytes),
            bytesize::ByteSize(scenario.object_bytes),
            scenario.connections,
        )?;
        writeln!(
            f,
            "origin: {:?} to the first byte, {} per connection; all on {cores} cores of this machine\n",
            origin_shape.first_byte_latency,
            pace.map_or_else(|| "no limit".to_owned(), |pace| format!("{} MB/s", number(pace) / 1e6)),
        )?;
        writeln!(f, "{:<24}{:>12}{:>12}{:>12}", "", "origin", "gateway", "difference")?;
        for (name, one, other) in [
            ("TTFB p50, ms", origin.p50_ms, gateway.p50_ms),
            ("TTFB p95, ms", origin.p95_ms, gateway.p95_ms),
            ("TTFB max, ms", origin.max_ms, gateway.max_ms),
        ] {
            writeln!(f, "{name:<24}{one:>12.2}{other:>12.2}{:>+12.2}", other - one)?;
        }
        let (bytes, gets) = (self.origin_bytes_per_byte, self.origin_gets_per_seek);
        writeln!(f, "{:<24}{:>12.2}{bytes:>12.2}", "origin bytes per byte", 1.0)?;
        writeln!(f, "{:<24}{:>12.2}{gets:>12.2}", "origin GETs per seek", 1.0)?;
        let (one, other) = (sequential.origin_mb_per_s, sequential.gateway_mb_per_s);
        writeln!(f, "{:<24}{one:>12.1}{other:>12.1}{:>11.2}x\n", "sequential, MB/s", sequential.speedup)?;

        for aim in &self.aims {
            writeln!(f, "{aim}")?;
        }
        let promised_ms = origin_shape.first_byte_latency.as_secs_f64() * 1000.0;
        if origin.p95_ms > promised_ms + aims::TTFB_P95_ADDED_MS {
            writeln!(f, "\nThe origin itself was late: this machine was busy, and the numbers say little.")?;
        }
        Ok(())
    }
}

/// A count as a number to divide by. Exact up to 2^53, which no run reaches.
#[expect(clippy::cast_precision_loss, reason = "counts of a run are far below 2^53")]
pub(crate) fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(added_ms: f64, speedup: f64) -> ColdSeekReport {
        let latency = |p95_ms| Latency { p50_ms: 30.0, p95_ms, max_ms: 40.0 };
        let counts = Counts { body_bytes: 250, gets: 10, ..Counts::default() };
        let direct = Duration::from_secs(3);
        let sequential = Sequential::new(40 << 20, direct, direct.div_f64(speedup), counts);
        ColdSeekReport::new(
            Scenario { seeks: 10, ..Scenario::default() },
            Shape::remote(),
            latency(31.0),
            latency(31.0 + added_ms),
            counts,
            100,
            sequential,
        )
    }

    #[test]
    fn bounds_belong_to_the_aim_and_one_miss_is_a_miss() {
        assert!(report(3.0, 3.0).all_met());
        let missed = |report: &ColdSeekReport| {
            report.aims.iter().filter(|aim| !aim.met).map(|aim| aim.name).collect::<Vec<_>>()
        };
        assert_eq!(missed(&report(3.1, 3.0)), ["TTFB p95 over the origin's, ms"]);
        let slow = report(0.0, 2.9);
        assert_eq!(missed(&slow), ["sequential speedup"]);
        assert!(!slow.all_met());
        assert_eq!((slow.origin_bytes_per_byte, slow.origin_gets_per_seek), (2.5, 1.0));
        let text = slow.to_string();
        assert!(text.contains("MISSED  sequential speedup"), "{text}");
        assert_eq!(text.matches("\nmet ").count(), 3, "{text}");
    }

    #[test]
    fn the_median_run_speaks() {
        let runs = [1.0, 9.0, 4.0, 3.0, 2.0].map(|speedup| report(0.0, speedup).sequential);
        let median = Sequential::median(runs.to_vec());
        assert!((median.speedup - 3.0).abs() < 1e-6, "{median:?}");
        assert!((median.origin_gets_per_4mib - 1.0).abs() < 1e-9, "{median:?}");
    }
}
