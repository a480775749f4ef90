//! When requests are due.

use std::time::{Duration, Instant};

use rustix::{
    fd::OwnedFd,
    io,
    time::{
        Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
        timerfd_settime,
    },
};
use serde::{Deserialize, Serialize};
use tokio::io::unix::AsyncFd;

use crate::{Error, pattern};

/// How requests follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrivals {
    /// Closed loop: each connection asks when it has its answer. A slow server is asked less.
    Closed,
    /// Open loop: so many a second on the average, at random times (a Poisson process), however long the answers
    /// take. Latencies count from when a request was due.
    Open {
        /// Over all connections.
        per_second: f64,
    },
}

/// The times of one lane's requests.
#[derive(Debug)]
pub(super) struct Schedule {
    timer: Option<Timer>,
    /// The mean time between two requests of this lane.
    gap: Duration,
    next: Instant,
    seed: u64,
    drawn: u64,
}

/// Tokio's own timer is a millisecond wide, which is longer than most answers take.
#[derive(Debug)]
struct Timer(AsyncFd<OwnedFd>);

// === impl Schedule ===

impl Schedule {
    pub(super) fn new(arrivals: Arrivals, lanes: usize, seed: u64, start: Instant) -> Result<Self, Error> {
        let (timer, gap) = match arrivals {
            Arrivals::Closed => (None, Duration::ZERO),
            #[expect(clippy::cast_precision_loss, reason = "there are few lanes")]
            Arrivals::Open { per_second } => {
                (Some(Timer::new()?), Duration::from_secs_f64(lanes as f64 / per_second))
            }
        };
        Ok(Self { timer, gap, next: start, seed, drawn: 0 })
    }

    /// Waits until the next request is due, and says since when it is.
    pub(super) async fn next(&mut self) -> Result<Instant, Error> {
        let Some(timer) = &self.timer else { return Ok(Instant::now()) };
        let due = self.next;
        timer.until(due).await?;
        self.drawn += 1;
        // The gaps of a Poisson process are exponential.
        let uniform = 1.0 - in_unit_interval(pattern::draw(self.seed, self.drawn, 1 << 53));
        self.next += self.gap.mul_f64(-uniform.ln());
        Ok(due)
    }
}

// === impl Timer ===

impl Timer {
    #[allow(unsafe_code)]
    fn new() -> Result<Self, Error> {
        let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC);
        let timer: OwnedFd = timer.map_err(std::io::Error::from)?;
        // SAFETY: an `OwnedFd` is valid and the same until it is dropped, with the `AsyncFd` that owns it.
        let registered = unsafe { AsyncFd::register(timer) };
        Ok(Self(registered.map_err(std::io::Error::from)?))
    }

    async fn until(&self, due: Instant) -> Result<(), Error> {
        let rest = due.saturating_duration_since(Instant::now());
        if rest.is_zero() {
            return Ok(());
        }
        let value = Timespec {
            tv_sec: i64::try_from(rest.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: rest.subsec_nanos().into(),
        };
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value: value };
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once).map_err(std::io::Error::from)?;
        let mut expirations = [0; 8];
        let mut wait = || io::read(self.0.get_ref(), &mut expirations).map_err(std::io::Error::from);
        self.0.async_io(tokio::io::Interest::READABLE, |_| wait()).await?;
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "53 bits are what a double has")]
pub(super) fn in_unit_interval(draw: u64) -> f64 {
    draw as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_open_loop_keeps_its_times_whatever_happens_meanwhile() {
        let start = Instant::now();
        let mut schedule = Schedule::new(Arrivals::Open { per_second: 10_000.0 }, 2, 7, start).unwrap();
        let mut due = Vec::new();
        for _ in 0..1000 {
            due.push(schedule.next().await.unwrap());
            assert!(*due.last().unwrap() <= Instant::now(), "nothing is due before its time");
        }
        assert!(due.is_sorted());
        // A thousand draws of a mean of 200 us: the standard deviation of their sum is 3 %.
        let mean = (*due.last().unwrap() - start) / 1000;
        assert!((160..240).contains(&mean.as_micros()), "{mean:?}");
        let mut again = Schedule::new(Arrivals::Open { per_second: 10_000.0 }, 2, 7, start).unwrap();
        for time in due {
            assert_eq!(again.next().await.unwrap(), time, "the same seed, the same times");
        }
    }
}
