//! What a worker counts, as Prometheus reads it (text format 0.0.4).

use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::attempt::Ended;

/// What a worker counts. All of it begins at 0 with the process.
#[derive(Debug)]
pub struct Metrics {
    slots: u64,
    busy: AtomicU64,
    ended: [AtomicU64; OUTCOMES.len()],
    busy_millis: AtomicU64,
}

/// A slot that is busy until it is dropped.
#[derive(Debug)]
pub struct Busy<'m>(&'m Metrics);

const OUTCOMES: [&str; 6] = ["succeeded", "split", "failed", "cancelled", "released", "lost"];

// === impl Metrics ===

impl Metrics {
    /// For a worker with so many slots.
    pub fn new(slots: usize) -> Self {
        Self {
            slots: slots as u64,
            busy: AtomicU64::new(0),
            ended: Default::default(),
            busy_millis: AtomicU64::new(0),
        }
    }

    /// A slot begins an attempt.
    pub fn busy(&self) -> Busy<'_> {
        self.busy.fetch_add(1, Ordering::Relaxed);
        Busy(self)
    }

    /// An attempt has ended.
    pub fn ended(&self, how: Ended, took: Duration) {
        let outcome = match how {
            Ended::Succeeded => 0,
            Ended::Split => 1,
            Ended::Failed(_) => 2,
            Ended::Cancelled => 3,
            Ended::Released => 4,
            Ended::Lost => 5,
        };
        self.ended[outcome].fetch_add(1, Ordering::Relaxed);
        self.busy_millis.fetch_add(u64::try_from(took.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// All of it, as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut family = |name: &str, kind: &str, help: &str, rows: &[(String, String)]| {
            writeln!(text, "# HELP {name} {help}\n# TYPE {name} {kind}").expect("a String takes all");
            for (labels, value) in rows {
                writeln!(text, "{name}{labels} {value}").expect("a String takes all");
            }
        };
        let one = |value: String| [(String::new(), value)];
        family(
            "seekway_worker_slots",
            "gauge",
            "Jobs that this worker does at a time.",
            &one(self.slots.to_string()),
        );
        family(
            "seekway_worker_busy_slots",
            "gauge",
            "Jobs that it does now.",
            &one(read(&self.busy).to_string()),
        );
        let ended: Vec<_> = OUTCOMES
            .iter()
            .zip(&self.ended)
            .map(|(outcome, count)| (format!("{{outcome=\"{outcome}\"}}"), read(count).to_string()))
            .collect();
        family("seekway_worker_attempts_total", "counter", "Attempts that ended, by how.", &ended);
        let seconds = Duration::from_millis(read(&self.busy_millis)).as_secs_f64();
        family(
            "seekway_worker_attempt_seconds_total",
            "counter",
            "Seconds that attempts took.",
            &one(format!("{seconds:.3}")),
        );
        text
    }
}

impl Drop for Busy<'_> {
    fn drop(&mut self) {
        self.0.busy.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_are_counted_by_how_they_ended() {
        let metrics = Metrics::new(2);
        let busy = metrics.busy();
        assert!(metrics.text().contains("seekway_worker_busy_slots 1\n"));
        metrics.ended(Ended::Released, Duration::from_millis(1500));
        drop(busy);
        let text = metrics.text();
        for line in [
            "seekway_worker_slots 2",
            "seekway_worker_busy_slots 0",
            "seekway_worker_attempts_total{outcome=\"released\"} 1",
            "seekway_worker_attempts_total{outcome=\"succeeded\"} 0",
            "seekway_worker_attempt_seconds_total 1.500",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in {text}");
        }
    }
}
