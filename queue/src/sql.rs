//! The backend that needs nothing but the catalog's database: workers look, and are told to look sooner where the
//! database can tell.
//!
//! Who waits longest keeps the time for all who wait. So as many look within the interval as wait, one after the other
//! and never all at once, and whoever stops waiting takes nothing away: when the next look is due is not its own. A hint
//! has everybody who waits look within [`SPREAD`].

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use seekway_catalog::{Catalog, Hints, JobId};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use crate::{Depth, Doorbells, Error, Finding, Ring, Sieve};

/// Looks because of one hint are spread over this, because each claim steps over the rows that others are just claiming.
/// Measured with 64 processes, one hint and 1, 8 or 64 jobs on one PostgreSQL: all at once a claim takes 5 to 10 ms (the
/// median), spread over 50 ms 0.5 to 0.8, and the last of 64 jobs is claimed after 53 ms instead of 15; over 200 ms it is
/// after 201, and nothing else is better.
const SPREAD: Duration = Duration::from_millis(50);

/// Doorbells by looking.
#[derive(Debug)]
pub struct Sql {
    catalog: Catalog,
    look_every: Duration,
    /// How many wait.
    waiting: AtomicUsize,
    turn: Mutex<Turn>,
    closed: CancellationToken,
}

#[derive(Debug)]
struct Turn {
    /// Who only rings needs none.
    hints: Option<Hints>,
    /// When somebody is to look.
    due: Instant,
    /// Looks that are left of the last hint.
    hinted: usize,
}

/// One who waits.
struct Waiting<'w>(&'w AtomicUsize);

// === impl Sql ===

impl Sql {
    /// Each who waits looks about every `look_every`, and sooner after a hint. Whoever waits first has it listen, which on
    /// PostgreSQL takes a connection beside the catalog's: a process has one of these.
    pub fn new(catalog: Catalog, look_every: Duration) -> Self {
        let turn = Turn { hints: None, due: Instant::now() + about(look_every), hinted: 0 };
        Self {
            catalog,
            look_every,
            waiting: AtomicUsize::new(0),
            turn: Mutex::new(turn),
            closed: CancellationToken::new(),
        }
    }

    async fn turn(&self) {
        let waiting = Waiting::new(&self.waiting);
        let mut turn = self.turn.lock().await;
        let Turn { hints, due, hinted } = &mut *turn;
        let hints = hints.get_or_insert_with(|| self.catalog.hints());
        loop {
            tokio::select! {
                biased;
                () = hints.next() => {
                    *hinted = waiting.count();
                    *due = (*due).min(Instant::now() + SPREAD.mul_f64(fastrand::f64() / waiting.count_f64()));
                }
                () = sleep_until(*due) => break,
            }
        }
        // From here on nothing waits, so that a turn is either taken whole or not at all.
        *hinted = hinted.saturating_sub(1);
        let pause = if *hinted > 0 { SPREAD } else { self.look_every };
        *due = Instant::now() + about(pause).div_f64(waiting.count_f64());
    }
}

#[async_trait]
impl Doorbells for Sql {
    /// The catalog's tables are all that there is.
    async fn ensure(&self) -> Result<(), Error> {
        Ok(())
    }

    async fn inspect(&self) -> Result<Vec<Finding>, Error> {
        Ok(Vec::new())
    }

    /// What is ready is in the catalog already: this only has listeners look sooner.
    async fn ring(&self, _jobs: &[JobId]) -> Result<(), Error> {
        Ok(self.catalog.hint().await?)
    }

    async fn heard(&self) -> Result<Ring, Error> {
        tokio::select! {
            biased;
            () = self.closed.cancelled() => Err(Error("the doorbells are closed".to_owned())),
            () = self.turn() => Ok(Ring::of_time()),
        }
    }

    async fn answered(&self, _ring: Ring) -> Result<(), Error> {
        Ok(())
    }

    /// It is where everybody looks who asks for dead jobs.
    async fn bury(&self, _job: JobId, _problem: &str) -> Result<(), Error> {
        Ok(())
    }

    /// The catalog has the jobs that are dead, and nothing else comes to nothing here.
    async fn sift(&self, _sieve: &mut dyn Sieve) -> Result<(), Error> {
        Ok(())
    }

    async fn depth(&self) -> Result<Depth, Error> {
        let backlog = self.catalog.jobs().backlog().await?;
        Ok(Depth {
            waiting: backlog.due,
            oldest: backlog.oldest_ms.map(Duration::from_millis),
            in_flight: Some(backlog.claimed),
            dead: backlog.dead,
        })
    }

    async fn close(&self) {
        self.closed.cancel();
    }
}

// === impl Waiting ===

impl<'w> Waiting<'w> {
    fn new(waiting: &'w AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }

    /// How many wait, this one among them.
    fn count(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    fn count_f64(&self) -> f64 {
        f64::from(u32::try_from(self.count()).unwrap_or(u32::MAX))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Half of it to one and a half.
fn about(pause: Duration) -> Duration {
    pause.mul_f64(0.5 + fastrand::f64())
}
