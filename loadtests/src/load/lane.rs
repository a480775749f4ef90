//! The threads that make the load, and what each of them knows.

use std::{
    cell::{Cell, RefCell},
    fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use futures_util::future::try_join_all;
use tokio::sync::{Barrier, oneshot};

use super::{
    Film, Length, Measurement, Progress, Recorder, Target, Workload, crowd::raise_descriptor_limit,
    recorder::ClientTime,
};
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
    together: Arc<Together>,
    /// When it started, and what it had done until then.
    started: Cell<Option<(Instant, ClientTime)>>,
    pub(super) scratch: RefCell<Vec<u8>>,
}

/// What the lanes of a run share.
#[derive(Debug)]
struct Together {
    tickets: AtomicU64,
    /// The first ticket of the round that all take part in.
    round: AtomicU64,
    everybody: Barrier,
}

/// There is no further round.
const OVER: u64 = u64::MAX;

/// Puts `workload` on `target` until its [`Length`] is over.
///
/// Requests that fail are counted, not returned as errors; an error says that there could be no load at all. Dropping
/// the future ends the run.
pub async fn drive(target: &Arc<Target>, workload: Workload, drive: &Drive) -> Result<Measurement, Error> {
    assert!(!target.films.is_empty(), "nothing to ask for");
    raise_descriptor_limit();
    let lanes = drive.threads.min(workload.connections()).max(1);
    let together = Arc::new(Together {
        tickets: AtomicU64::new(0),
        round: AtomicU64::new(0),
        everybody: Barrier::new(lanes),
    });
    let (mut running, mut wanted) = (Vec::new(), Vec::new());
    for nth in 0..lanes {
        let (target, drive, together) = (target.clone(), drive.clone(), together.clone());
        let lane = move || Lane {
            target,
            nth,
            lanes,
            drive,
            together,
            started: Cell::default(),
            scratch: RefCell::default(),
        };
        let (want, unwanted) = oneshot::channel();
        let (done, ran) = oneshot::channel();
        thread::Builder::new().name(format!("load-{nth}")).spawn(move || {
            // Nobody waits any more when the whole run was dropped.
            let _ = done.send(run(&lane(), &workload, unwanted));
        })?;
        wanted.push(want);
        let gone = |_| Error::from(std::io::Error::other("a thread that made load panicked"));
        running.push(async move { ran.await.map_err(gone)? });
    }
    // The first that cannot go on ends all: the others might wait for it.
    let mut all = Recorder::new();
    let mut took = Duration::ZERO;
    for (recorder, time) in try_join_all(running).await? {
        all.merge(recorder);
        took = took.max(time);
    }
    drop::<Vec<oneshot::Sender<()>>>(wanted);
    Ok(all.measurement(took))
}

fn run(
    lane: &Lane,
    workload: &Workload,
    unwanted: oneshot::Receiver<()>,
) -> Result<(Recorder, Duration), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    lane.scratch.borrow_mut().resize(SCRATCH_BYTES, 0);
    let local = tokio::task::LocalSet::new();
    let mut recorder = local.block_on(&runtime, async {
        tokio::select! {
            ran = workload.run(lane) => ran,
            _ = unwanted => Err(std::io::Error::other("nobody wants this load any more").into()),
        }
    })?;
    let (start, before) = lane.started.get().expect("every workload starts");
    let took = start.elapsed();
    recorder.client = own_time()?.since(before);
    Ok((recorder, took))
}

/// How the calling thread has spent its time.
fn own_time() -> Result<ClientTime, Error> {
    let path = PathBuf::from("/proc/thread-self/schedstat");
    let text = fs::read_to_string(&path).map_err(|source| Error::File { path, source })?;
    let mut nanos = text.split(' ').map(|nanos| Duration::from_nanos(nanos.parse().unwrap_or_default()));
    let (cpu, queued) = (nanos.next().unwrap_or_default(), nanos.next().unwrap_or_default());
    Ok(ClientTime { threads: 1, cpu, queued })
}

// === impl Lane ===

impl Lane {
    /// Waits until every lane is here, and says when that was. Each calls it once, when its connections are open.
    pub(super) async fn start(&self) -> Result<Instant, Error> {
        self.together.everybody.wait().await;
        let start = Instant::now();
        self.started.set(Some((start, own_time()?)));
        Ok(start)
    }

    /// The number of the next request, unless the run that began at `start` is over.
    pub(super) fn ticket(&self, start: Instant) -> Option<u64> {
        self.tickets(start, 1)
    }

    /// Waits until every lane is here, and says which are the numbers of `count` requests that all make together, and
    /// when. All lanes get the same answer.
    pub(super) async fn round(&self, start: Instant, count: u64) -> Option<(u64, Instant)> {
        let Together { everybody, round, .. } = &*self.together;
        if everybody.wait().await.is_leader() {
            round.store(self.tickets(start, count).unwrap_or(OVER), Ordering::Relaxed);
        }
        everybody.wait().await;
        let first = round.load(Ordering::Relaxed);
        (first != OVER).then(|| (first, Instant::now()))
    }

    /// The first of `count` numbers in a row.
    fn tickets(&self, start: Instant, count: u64) -> Option<u64> {
        if self.is_over(start) {
            return None;
        }
        let first = self.together.tickets.fetch_add(count, Ordering::Relaxed);
        (first.saturating_add(count) <= self.drive.length.requests).then_some(first)
    }

    /// Whether the time of the run that began at `start` is over.
    pub(super) fn is_over(&self, start: Instant) -> bool {
        start.elapsed() >= self.drive.length.time
    }

    /// When it is.
    pub(super) fn end(&self, start: Instant) -> Instant {
        start + self.drive.length.time
    }

    /// Whether that one's body, of `film`, is to be compared with what it should be.
    pub(super) fn verifies(&self, ticket: u64, film: &Film) -> bool {
        let every = self.drive.verify_every;
        film.seed.is_some() && every > 0 && ticket.is_multiple_of(every)
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
