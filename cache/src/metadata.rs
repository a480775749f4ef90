//! What is remembered of objects: who they are now, how long that is believed, and who is asking.
//!
//! An answer is fresh for `ttl`. Then, for `stale_while_revalidate`, it is still served at once while one
//! background request asks again; after that a request asks the store first, and gets the old answer when the
//! store fails or takes longer than [`STALE_PATIENCE`], up to `stale_if_error`. While the store is known to fail,
//! the old answer is served at once and the store asked in the background, with pauses. Missing and forbidden
//! objects are remembered for `negative_ttl`.
//!
//! However many ask for an unknown object, one request goes to the store (a *flight*). It is a task of its
//! own, so a client that leaves cancels nothing but its own wait; when all have left, it ends a little later.

use std::any::Any;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Duration;

use moka::Entry;
use moka::ops::compute::Op;
use moka::sync::Cache;
use seekway_storage::{Object, ObjectKey, Version};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};

use crate::error::Error;
use crate::filler::GRACE;
use crate::segment::Identity;

/// Objects remembered at most.
const OBJECTS_MAX: u64 = 100_000;
/// What one costs at most, with its key and the headers that are made for it.
const OBJECT_BYTES: u64 = 2048;

/// What all that is remembered of objects costs at most.
pub const METADATA_BYTES_MAX: u64 = OBJECTS_MAX * OBJECT_BYTES;

/// After the store failed to answer, it is not asked again about this object for so long: a failing store is
/// not helped by one request a client, nor is a client by waiting for it.
const PAUSE_AFTER_ERROR: Duration = Duration::from_secs(1);

/// How long a request waits for the store while there is an old answer to give.
pub(crate) const STALE_PATIENCE: Duration = Duration::from_secs(1);

/// How long metadata is believed, counted from when the store gave it.
#[derive(Debug, Clone, Copy)]
pub struct MetadataPolicy {
    /// Served without asking.
    pub ttl: Duration,
    /// Beyond `ttl`: served at once, while one background request asks again.
    pub stale_while_revalidate: Duration,
    /// Beyond `ttl`: served when the store was asked and failed.
    pub stale_if_error: Duration,
    /// How long a missing object stays missing without asking.
    pub negative_ttl: Duration,
}

/// One version of an object, ready to be read.
#[derive(Debug)]
pub struct OpenObject {
    /// Names the version in cache keys.
    pub identity: Arc<Identity>,
    /// What the store said of it.
    pub object: Object,
    memo: OnceLock<Box<dyn Any + Send + Sync>>,
}

/// How an object's metadata came about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Freshness {
    /// Asked of the store for this request.
    Live,
    /// Remembered, and believed for `ttl` more.
    Fresh {
        /// Since the store gave it.
        age: Duration,
        /// Until it must be asked again.
        ttl: Duration,
    },
    /// Remembered, past its time, and served all the same.
    Stale {
        /// Since the store gave it.
        age: Duration,
        /// Since it should have been asked again.
        past: Duration,
    },
}

/// The register of known objects.
pub(crate) struct Metadata {
    policy: MetadataPolicy,
    known: Cache<ObjectKey, Known>,
    flights: Mutex<HashMap<ObjectKey, Weak<watch::Sender<Option<Answer>>>>>,
}

/// An object, and how current what is known of it is.
pub(crate) type Opened = (Arc<OpenObject>, Freshness);

type Answer = Result<Opened, Error>;
pub(crate) type Landing = watch::Receiver<Option<Answer>>;

#[derive(Clone)]
enum Known {
    Present(Arc<OpenObject>, Learned),
    /// Missing or forbidden, as the store said then.
    Refused(Error, Instant),
    /// The store has another version by now; whoever still says this one is behind.
    Outdated(Version),
}

/// When the store gave an answer, and when it last failed to give a newer one.
#[derive(Clone, Copy)]
struct Learned {
    at: Instant,
    failed: Option<Instant>,
}

/// What is remembered of a key.
pub(crate) enum Lookup {
    /// Serve it.
    Serve(Arc<OpenObject>, Freshness),
    /// Serve it, and ask again in the background.
    Revalidate(Arc<OpenObject>, Freshness),
    /// Ask first, and serve it if the store fails.
    IfError(Arc<OpenObject>, Freshness),
    Refused(Error),
    Unknown,
}

/// A flight that this caller has to fly.
pub(crate) struct Flight {
    key: ObjectKey,
    landed: Arc<watch::Sender<Option<Answer>>>,
}

// === impl OpenObject ===

impl OpenObject {
    pub(crate) fn new(identity: Arc<Identity>, object: Object) -> Self {
        Self { identity, object, memo: OnceLock::new() }
    }

    /// What the cache's user works out once for this version, and has as long as the metadata is remembered.
    ///
    /// # Panics
    ///
    /// If another type was asked for before.
    pub fn memo<T: Any + Send + Sync>(&self, make: impl FnOnce() -> T) -> &T {
        let memo = self.memo.get_or_init(|| Box::new(make()));
        memo.downcast_ref().expect("there is one user, with one type")
    }
}

// === impl Metadata ===

impl Metadata {
    pub(crate) fn new(policy: MetadataPolicy) -> Self {
        Self { policy, known: Cache::new(OBJECTS_MAX), flights: Mutex::default() }
    }

    pub(crate) fn lookup(&self, key: &ObjectKey) -> Lookup {
        let policy = &self.policy;
        match self.known.get(key) {
            Some(Known::Present(object, learned)) => {
                let age = learned.at.elapsed();
                let stale = Freshness::Stale { age, past: age.saturating_sub(policy.ttl) };
                let paused = learned.failed.is_some_and(|failed| failed.elapsed() < PAUSE_AFTER_ERROR);
                if age >= policy.ttl && age < policy.ttl + policy.stale_if_error && learned.failed.is_some() {
                    if paused { Lookup::Serve(object, stale) } else { Lookup::Revalidate(object, stale) }
                } else if age < policy.ttl {
                    Lookup::Serve(object, Freshness::Fresh { age, ttl: policy.ttl.saturating_sub(age) })
                } else if age < policy.ttl + policy.stale_while_revalidate {
                    Lookup::Revalidate(object, stale)
                } else if age < policy.ttl + policy.stale_if_error {
                    Lookup::IfError(object, stale)
                } else {
                    Lookup::Unknown
                }
            }
            Some(Known::Refused(error, learned)) if learned.elapsed() < policy.negative_ttl => {
                Lookup::Refused(error)
            }
            Some(Known::Refused(..) | Known::Outdated(_)) | None => Lookup::Unknown,
        }
    }

    /// Joins the running flight for `key`, or becomes the one who has to fly it.
    pub(crate) fn board(&self, key: &ObjectKey) -> (Landing, Option<Flight>) {
        let mut flights = self.flights.lock().expect("no code panics under this lock");
        // A flight that ended without landing (its task was dropped) is flown again.
        if let Some(landed) = flights.get(key).and_then(Weak::upgrade) {
            return (landed.subscribe(), None);
        }
        let (landed, landing) = watch::channel(None);
        let landed = Arc::new(landed);
        flights.insert(key.clone(), Arc::downgrade(&landed));
        (landing, Some(Flight { key: key.clone(), landed }))
    }

    /// Whether the store is known to have another version of `key` than this by now.
    pub(crate) fn is_outdated(&self, key: &ObjectKey, version: &Version) -> bool {
        matches!(self.known.get(key), Some(Known::Outdated(outdated)) if outdated == *version)
    }

    /// How long an answer of the store is served without asking again.
    pub(crate) fn ttl(&self) -> Duration {
        self.policy.ttl
    }

    /// Remembers what the store said of `key` this long ago. The same version keeps its identity.
    pub(crate) fn remember(&self, key: &ObjectKey, object: Object, age: Duration) -> Arc<OpenObject> {
        let identity = match self.known.get(key) {
            Some(Known::Present(old, _))
                if old.identity.version == object.version && old.identity.size() == object.size =>
            {
                old.identity.clone()
            }
            _ => Arc::new(Identity::new(key.clone(), object.version.clone(), object.size)),
        };
        let object = Arc::new(OpenObject::new(identity, object));
        let now = Instant::now();
        let at = now.checked_sub(age).unwrap_or(now);
        self.known.insert(key.clone(), Known::Present(object.clone(), Learned { at, failed: None }));
        object
    }

    /// No longer believes in this version, whoever says it; what is known of a newer one stays.
    pub(crate) fn forget(&self, identity: &Identity) {
        self.known.entry_by_ref(&identity.key).and_compute_with(|entry| match entry.map(Entry::into_value) {
            Some(Known::Present(known, _)) if *known.identity == *identity => {
                Op::Put(Known::Outdated(identity.version.clone()))
            }
            _ => Op::Nop,
        });
    }

    /// The store did not answer about `key`: until it does, what is known is served at once.
    pub(crate) fn store_failed(&self, key: &ObjectKey) {
        self.known.entry_by_ref(key).and_compute_with(|entry| match entry.map(Entry::into_value) {
            Some(Known::Present(object, learned)) => {
                Op::Put(Known::Present(object, Learned { failed: Some(Instant::now()), ..learned }))
            }
            _ => Op::Nop,
        });
    }

    /// Gives up a flight that was abandoned. Whoever has boarded since boards the next one.
    pub(crate) fn give_up(&self, flight: &Flight) {
        self.flights.lock().expect("no code panics under this lock").remove(&flight.key);
    }

    /// Ends a flight: everybody who waits for it gets `answer`.
    pub(crate) fn land(&self, flight: &Flight, answer: Answer) {
        match &answer {
            Err(error) if error.is_refusal() => {
                self.known.insert(flight.key.clone(), Known::Refused(error.clone(), Instant::now()));
            }
            Err(error) if error.is_retryable() => self.store_failed(&flight.key),
            _ => {}
        }
        self.give_up(flight);
        flight.landed.send_replace(Some(answer));
    }
}

// === impl Flight ===

impl Flight {
    /// Completes when nobody has waited for it for a while.
    pub(crate) async fn abandoned(&self) {
        loop {
            self.landed.closed().await;
            sleep(GRACE).await;
            if self.landed.is_closed() {
                return;
            }
        }
    }
}

/// Waits for a flight; `None` if it was dropped in the air.
pub(crate) async fn landed(mut landing: Landing) -> Option<Answer> {
    landing.wait_for(Option::is_some).await.ok()?.clone()
}
