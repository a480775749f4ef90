//! Waiting to the microsecond.
//!
//! Tokio's timers count in whole milliseconds and round up. A pace of 50 MB/s sends 50 KB in one, as much as
//! a whole seek, so one would measure the rounding. A `timerfd` keeps the kernel's resolution.

use std::{
    io,
    os::fd::OwnedFd,
    time::{Duration, Instant},
};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use tokio::io::unix::AsyncFd;

/// One timer. One task at a time may wait for it.
#[derive(Debug)]
pub(super) struct Alarm(AsyncFd<OwnedFd>);

impl Alarm {
    /// Must be called inside a Tokio runtime.
    #[expect(deprecated, reason = "its successor is unsafe, for types that lie about their descriptor")]
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
        Ok(Self(AsyncFd::new(timerfd_create(TimerfdClockId::Monotonic, flags)?)?))
    }

    /// Returns at `due`, or at once when that has passed.
    pub(super) async fn until(&self, due: Instant) -> io::Result<()> {
        let wait = due.saturating_duration_since(Instant::now());
        if wait.is_zero() {
            return Ok(());
        }
        // Setting the timer also takes back an expiry that a cancelled wait left behind.
        timerfd_settime(self.0.get_ref(), TimerfdTimerFlags::empty(), &once(wait))?;
        loop {
            let mut ready = self.0.readable().await?;
            let read = ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut [0; 8])?));
            if let Ok(read) = read {
                return read.map(drop);
            }
        }
    }
}

fn once(wait: Duration) -> Itimerspec {
    let seconds = i64::try_from(wait.as_secs()).unwrap_or(i64::MAX);
    Itimerspec {
        it_interval: Timespec { tv_sec: 0, tv_nsec: 0 },
        it_value: Timespec { tv_sec: seconds, tv_nsec: i64::from(wait.subsec_nanos()) },
    }
}
