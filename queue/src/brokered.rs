//! What listeners of all brokers share: rings are received only while somebody waits, and handed to who waits.
//!
//! One task receives for the whole process, so that whoever stops waiting takes no ring away. It asks for as many as wait,
//! and for none while all are at work: a ring that lay here would be missed by idle workers elsewhere. What came too late
//! for those who waited is given back.

use std::fmt::Debug;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use seekway_catalog::JobId;
use tokio::sync::{Mutex, OnceCell, mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};

use crate::{Depth, Doorbells, Error, Finding, Ring, Sieve};

/// After nobody has waited for so long, rings are given back. A worker that looks and finds nothing waits again at once.
const REST_AFTER: Duration = Duration::from_secs(2);
/// Rings that lie here at a time; more are not asked for, and a broker that sends more waits.
const KEPT_MAX: usize = 64;
/// Pauses after a failure; each is twice as long as the one before.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(10);
/// What closing may take; the broker finds out by itself otherwise.
const LEAVE_WITHIN: Duration = Duration::from_secs(5);

/// One broker. Each method makes the connection that it needs, and ends within some seconds while the broker is away.
#[async_trait]
pub(crate) trait Broker: Debug + Send + Sync + 'static {
    /// What logs call it; it has no password.
    fn name(&self) -> String;

    /// See [`Doorbells::ensure`].
    async fn ensure(&self) -> Result<(), Error>;

    /// See [`Doorbells::inspect`].
    async fn inspect(&self) -> Result<Vec<Finding>, Error>;

    /// Publishes, and returns once the broker has them.
    async fn ring(&self, jobs: &[JobId]) -> Result<(), Error>;

    /// Waits for up to so many rings, some seconds at most. Those that name no job it has moved to the dead letters.
    async fn receive(&self, wanted: usize) -> Result<Vec<Ring>, Error>;

    /// Nobody waits here for the time being, and these were received in vain: others may have them.
    async fn rest(&self, unheard: Vec<Ring>) -> Result<(), Error>;

    /// See [`Doorbells::answered`].
    async fn answered(&self, ring: Ring) -> Result<(), Error>;

    /// See [`Doorbells::bury`].
    async fn bury(&self, job: JobId, problem: &str) -> Result<(), Error>;

    /// See [`Doorbells::sift`].
    async fn sift(&self, sieve: &mut dyn Sieve) -> Result<(), Error>;

    /// See [`Doorbells::depth`].
    async fn depth(&self) -> Result<Depth, Error>;

    /// Says good-bye: what was not answered is for others.
    async fn leave(&self) -> Result<(), Error>;
}

/// Doorbells by a broker.
#[derive(Debug)]
pub(crate) struct Brokered<B> {
    broker: Arc<B>,
    inbox: Arc<Inbox>,
    /// Begins with the first who listens: who only rings needs none.
    receives: OnceCell<Mutex<Option<JoinHandle<()>>>>,
    _closes: DropGuard,
}

/// Rings between the broker and who waits.
#[derive(Debug)]
struct Inbox {
    look_every: Duration,
    sender: mpsc::Sender<Ring>,
    rings: Mutex<mpsc::Receiver<Ring>>,
    /// How many lie in `rings`.
    kept: AtomicUsize,
    waiting: watch::Sender<usize>,
    closed: CancellationToken,
}

/// One who waits.
struct Waiting<'i>(&'i Inbox);

// === impl Brokered ===

impl<B: Broker> Brokered<B> {
    /// Who waits is told to look about every `look_every` all the same.
    pub(crate) fn new(broker: B, look_every: Duration) -> Self {
        let (sender, rings) = mpsc::channel(KEPT_MAX);
        let closed = CancellationToken::new();
        let inbox = Inbox {
            look_every,
            sender,
            rings: Mutex::new(rings),
            kept: AtomicUsize::new(0),
            waiting: watch::Sender::new(0),
            closed: closed.clone(),
        };
        Self {
            broker: Arc::new(broker),
            inbox: Arc::new(inbox),
            receives: OnceCell::new(),
            _closes: closed.drop_guard(),
        }
    }
}

#[async_trait]
impl<B: Broker> Doorbells for Brokered<B> {
    async fn ensure(&self) -> Result<(), Error> {
        self.broker.ensure().await
    }

    async fn inspect(&self) -> Result<Vec<Finding>, Error> {
        self.broker.inspect().await
    }

    async fn ring(&self, jobs: &[JobId]) -> Result<(), Error> {
        if jobs.is_empty() { Ok(()) } else { self.broker.ring(jobs).await }
    }

    async fn heard(&self) -> Result<Ring, Error> {
        let begin = async || Mutex::new(Some(tokio::spawn(receive(self.broker.clone(), self.inbox.clone()))));
        self.receives.get_or_init(begin).await;
        self.inbox.heard().await
    }

    async fn answered(&self, ring: Ring) -> Result<(), Error> {
        if ring.receipt.is_empty() { Ok(()) } else { self.broker.answered(ring).await }
    }

    async fn bury(&self, job: JobId, problem: &str) -> Result<(), Error> {
        self.broker.bury(job, problem).await
    }

    async fn sift(&self, sieve: &mut dyn Sieve) -> Result<(), Error> {
        self.broker.sift(sieve).await
    }

    async fn depth(&self) -> Result<Depth, Error> {
        self.broker.depth().await
    }

    async fn close(&self) {
        self.inbox.closed.cancel();
        if let Some(receives) = self.receives.get()
            && let Some(task) = receives.lock().await.take()
        {
            drop(task.await);
        }
    }
}

/// Receives until it is closed.
async fn receive<B: Broker>(broker: Arc<B>, inbox: Arc<Inbox>) {
    let receives = async {
        let (mut pause, mut is_away, mut is_there) = (PAUSE_MIN, false, false);
        loop {
            let heard = async {
                if !is_there {
                    broker.ensure().await?;
                    is_there = true;
                }
                next(&*broker, &inbox).await
            };
            match heard.await {
                Ok(()) if is_away => info!(broker = broker.name(), "doorbells are heard again"),
                Ok(()) => {}
                Err(error) => {
                    if !is_away {
                        warn!(broker = broker.name(), %error, "no doorbells are heard; jobs are looked for");
                    }
                    is_away = true;
                    sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
                    pause = (pause * 2).min(PAUSE_MAX);
                    continue;
                }
            }
            (pause, is_away) = (PAUSE_MIN, false);
        }
    };
    inbox.closed.run_until_cancelled(receives).await;
    let leaves = async {
        broker.rest(inbox.take()).await?;
        broker.leave().await
    };
    match timeout(LEAVE_WITHIN, leaves).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => warn!(broker = broker.name(), %error, "left without good-bye"),
        Err(_) => warn!(broker = broker.name(), "left without good-bye: no answer within {LEAVE_WITHIN:?}"),
    }
}

async fn next(broker: &impl Broker, inbox: &Inbox) -> Result<(), Error> {
    let wanted = if let Ok(wanted) = timeout(REST_AFTER, inbox.wanted()).await {
        wanted
    } else {
        broker.rest(inbox.take()).await?;
        inbox.wanted().await
    };
    for ring in broker.receive(wanted.min(KEPT_MAX)).await? {
        inbox.put(ring).await;
    }
    Ok(())
}

// === impl Inbox ===

impl Inbox {
    async fn heard(&self) -> Result<Ring, Error> {
        let _waiting = Waiting::new(self);
        let look = sleep(self.look_every.mul_f64(0.5 + fastrand::f64()));
        tokio::select! {
            biased;
            () = self.closed.cancelled() => Err(Error("the doorbells are closed".to_owned())),
            ring = self.next() => Ok(ring),
            () = look => Ok(Ring::of_time()),
        }
    }

    async fn next(&self) -> Ring {
        let ring = self.rings.lock().await.recv().await.expect("the sender lives as long");
        self.kept.fetch_sub(1, Ordering::Relaxed);
        ring
    }

    async fn put(&self, ring: Ring) {
        self.kept.fetch_add(1, Ordering::Relaxed);
        self.sender.send(ring).await.expect("the receiver lives as long");
    }

    /// What nobody has heard. Where somebody waits they have it.
    fn take(&self) -> Vec<Ring> {
        let Ok(mut rings) = self.rings.try_lock() else { return Vec::new() };
        let taken: Vec<_> = std::iter::from_fn(|| rings.try_recv().ok()).collect();
        self.kept.fetch_sub(taken.len(), Ordering::Relaxed);
        taken
    }

    /// Waits until somebody waits for more than there is; for how many.
    async fn wanted(&self) -> usize {
        let mut waiting = self.waiting.subscribe();
        let is_wanted = |waiting: &usize| *waiting > self.kept.load(Ordering::Relaxed);
        let waiting = *waiting.wait_for(is_wanted).await.expect("the sender is this one's");
        waiting.saturating_sub(self.kept.load(Ordering::Relaxed)).max(1)
    }
}

// === impl Waiting ===

impl<'i> Waiting<'i> {
    fn new(inbox: &'i Inbox) -> Self {
        inbox.waiting.send_modify(|waiting| *waiting += 1);
        Self(inbox)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.waiting.send_modify(|waiting| *waiting -= 1);
    }
}
