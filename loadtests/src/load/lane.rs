//! The threads that make the load, and what each of them knows.

use std::{
    cell::RefCell,
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use tokio::sync::{Barrier, oneshot};

use super::{Film, Length, Measurement, Progress, Recorder, Target, Workload};
use crate::{Error, pattern};

/// How much of a body is taken at once. More saves system calls and costs cache.
const SCRATCH_BYTES: usize = 256 * 1024;

/// How a workload is put on a target.
#[derive(Debug, Clone)]
pub struct Drive {
    /// Threads of this process that make the load.
    pub threads: usize,
    /// What ends it.
    pub length: Length,
    /// Chooses what is asked for; the same seed asks for the same things.
    pub seed: u64,
    /// Every so many bodies are compared with what they should be; none with 0.
    pub verify_every: u64,
    /// Counts the answers while they come.
    pub progress: Progress,
}

/// One thread's share of a run.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) target: Arc<Target>,
    /// Its number among `lanes`.
    pub(super) nth: usize,
    pub(super) lanes: usize,
    drive: Drive,
    tickets: Arc<AtomicU64>,
    everybody: Arc<Barrier>,
    pub(super) scratch: RefCell<Vec<u8>>,
}

/// Puts `workload` on `target` until its [`Length`] is over.
///
/// Requests that fail are counted, not returned as errors; an error says that there could be no load at all. Dropping the
/// future leaves the threads at work until their time is over.
pub async fn drive(target: &Arc<Target>, workload: Workload, drive: &Drive) -> Result<Measurement, Error> {
    assert!(!target.films.is_empty(), "nothing to ask for");
    let lanes = drive.threads.min(workload.connections()).max(1);
    let tickets = Arc::new(AtomicU64::new(0));
    let everybody = Arc::new(Barrier::new(lanes));
    let mut running = Vec::new();
    for nth in 0..lanes {
        let (target, drive, tickets, everybody) =
            (target.clone(), drive.clone(), tickets.clone(), everybody.clone());
        let lane =
            move || Lane { target, nth, lanes, drive, tickets, everybody, scratch: RefCell::default() };
        let (done, ran) = oneshot::channel();
        thread::Builder::new().name(format!("load-{nth}")).spawn(move || {
            // Nobody waits any more when the whole run was dropped.
            let _ = done.send(run(&lane(), &workload));
        })?;
        running.push(ran);
    }
    let mut all = Recorder::new();
    let mut took = Duration::ZERO;
    for ran in running {
        let gone = |_| std::io::Error::other("a thread that made load panicked");
        let (recorder, time) = ran.await.map_err(gone)??;
        all.merge(recorder);
        took = took.max(time);
    }
    Ok(all.measurement(took))
}

fn run(lane: &Lane, workload: &Workload) -> Result<(Recorder, Duration), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    lane.scratch.borrow_mut().resize(SCRATCH_BYTES, 0);
    let local = tokio::task::LocalSet::new();
    let began = Instant::now();
    let mut recorder = local.block_on(&runtime, workload.run(lane))?;
    recorder.client_cpu = own_cpu()?;
    Ok((recorder, began.elapsed()))
}

/// Processor time of the calling thread.
fn own_cpu() -> Result<Duration, Error> {
    let path = PathBuf::from("/proc/thread-self/schedstat");
    let text = fs::read_to_string(&path).map_err(|source| Error::File { path, source })?;
    let nanos = text.split(' ').next().and_then(|nanos| nanos.parse().ok());
    Ok(Duration::from_nanos(nanos.unwrap_or_default()))
}

// === impl Lane ===

impl Lane {
    /// Waits until every lane is here, and says when that was. Each calls it once, when its connections are open.
    pub(super) async fn start(&self) -> Instant {
        self.everybody.wait().await;
        Instant::now()
    }

    /// The number of the next request, unless the run that began at `start` is over.
    pub(super) fn ticket(&self, start: Instant) -> Option<u64> {
        if start.elapsed() >= self.drive.length.time {
            return None;
        }
        let ticket = self.tickets.fetch_add(1, Ordering::Relaxed);
        (ticket < self.drive.length.requests).then_some(ticket)
    }

    /// Whether that one's body is to be compared with what it should be.
    pub(super) fn verifies(&self, ticket: u64) -> bool {
        self.drive.verify_every > 0 && ticket.is_multiple_of(self.drive.verify_every)
    }

    /// This lane's part of `count`.
    pub(super) fn share(&self, count: usize) -> usize {
        count / self.lanes + usize::from(self.nth < count % self.lanes)
    }

    /// A number in `0..bound`, as good as random, for request `ticket`. Each `purpose` draws its own.
    pub(super) fn draw(&self, purpose: u64, ticket: u64, bound: u64) -> u64 {
        pattern::draw(self.drive.seed ^ (purpose << 48), ticket, bound)
    }

    /// A film that any other one could have been.
    pub(super) fn any_film(&self, ticket: u64) -> &Film {
        let nth = self.draw(0, ticket, self.target.films.len() as u64);
        &self.target.films[usize::try_from(nth).expect("an index")]
    }

    pub(super) fn seed(&self) -> u64 {
        self.drive.seed
    }

    /// One more answer has come.
    pub(super) fn progress(&self) {
        self.drive.progress.fetch_add(1, Ordering::Relaxed);
    }
}
