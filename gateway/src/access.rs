//! Who may see an object: what the catalog says of its key, remembered, and forgotten when it changes.
//!
//! A request for a known key asks no database. Every replica follows the catalog's feed of changes and forgets the keys
//! in it, so that a decision is at most [`FOLLOW_EVERY`] and one query old. While the database is away, what is known
//! stands, because nobody can change it there; a key that is not known is then an error that passes.
//!
//! A key that no video or asset has is served as it is: a bucket's other objects are none of the catalog's. But below
//! the prefixes where uploads lie, what the catalog does not know is not there for anybody.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use seekway_catalog::{AccountId, Catalog, Error, VideoState, Visibility};
use seekway_storage::ObjectKey;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::upload::names::{ASSETS, INCOMING, ORIGINALS};

/// Between two looks at the feed.
const FOLLOW_EVERY: Duration = Duration::from_millis(250);
/// Rows of it that are read at a time.
const BATCH: u32 = 1000;
/// The feed keeps an hour; who has not read it for nearly as long begins anew.
const FEED_KEPT: Duration = Duration::from_mins(50);
/// Keys that are remembered, some 150 bytes each.
const KEYS_MAX: usize = 100_000;

/// Who may see an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Whoever asks.
    Anybody,
    /// Its owner and admins; without an owner, who works at this machine.
    Owner(Option<AccountId>),
    /// It is as if it were not there.
    Nobody,
}

/// See the head of this file.
pub(crate) struct Access {
    catalog: Catalog,
    verdicts: Cache<String, Verdict>,
    /// Counts changes, so that what was read before one is not remembered after it.
    changes: AtomicU64,
}

// === impl Access ===

impl Access {
    pub(crate) fn new(catalog: Catalog) -> Self {
        Self { catalog, verdicts: Cache::new(KEYS_MAX), changes: AtomicU64::new(0) }
    }

    /// Who may see the object with this key.
    ///
    /// # Errors
    /// Only when it is not remembered and the database fails.
    pub(crate) async fn of(&self, key: &ObjectKey) -> Result<Verdict, Error> {
        if let Some(verdict) = self.verdicts.get(key.as_str()) {
            return Ok(verdict);
        }
        let before = self.changes.load(Ordering::Acquire);
        let verdict = self.verdicts.get_or_insert_async(key.as_str(), self.look(key)).await?;
        if self.changes.load(Ordering::Acquire) != before {
            self.verdicts.remove(key.as_str());
        }
        Ok(verdict)
    }

    async fn look(&self, key: &ObjectKey) -> Result<Verdict, Error> {
        let key = key.as_str();
        if key.starts_with(INCOMING) {
            return Ok(Verdict::Nobody);
        }
        match self.catalog.videos().access(key).await {
            Ok(access) if access.state == VideoState::Deleting => return Ok(Verdict::Nobody),
            Ok(access) if access.visibility == Visibility::Private => {
                return Ok(Verdict::Owner(access.owner));
            }
            Ok(_) => return Ok(Verdict::Anybody),
            Err(Error::NotFound) => {}
            Err(error) => return Err(error),
        }
        if key.starts_with(ASSETS) {
            return match self.catalog.assets().owner_of(key).await {
                Ok(owner) => Ok(Verdict::Owner(owner)),
                Err(Error::NotFound) => Ok(Verdict::Nobody),
                Err(error) => Err(error),
            };
        }
        Ok(if key.starts_with(ORIGINALS) { Verdict::Nobody } else { Verdict::Anybody })
    }

    /// Forgets what changes, until `stop`.
    pub(crate) async fn follow(&self, stop: CancellationToken) {
        let mut feed = Feed { last: None, read: Instant::now() };
        let mut is_away = false;
        while !stop.is_cancelled() {
            let outcome = self.step(&mut feed).await;
            if let (Err(error), false) = (&outcome, is_away) {
                warn!(error = error.chain(), "cannot hear of changes; who may see what stays as it was");
            }
            is_away = outcome.is_err();
            tokio::select! {
                () = sleep(FOLLOW_EVERY) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    async fn step(&self, feed: &mut Feed) -> Result<(), Error> {
        let Some(last) = feed.last.filter(|_| feed.read.elapsed() < FEED_KEPT) else {
            feed.last = Some(self.catalog.changes().last().await?);
            feed.read = Instant::now();
            self.changes.fetch_add(1, Ordering::AcqRel);
            self.verdicts.clear();
            return Ok(());
        };
        let changes = self.catalog.changes().after(last, BATCH).await?;
        feed.read = Instant::now();
        if let Some(newest) = changes.last() {
            feed.last = Some(newest.number);
            // Counted first: who reads from now on reads what is new.
            self.changes.fetch_add(1, Ordering::AcqRel);
            for change in &changes {
                self.verdicts.remove(change.key.as_str());
            }
        }
        Ok(())
    }
}

/// How far the feed was read.
struct Feed {
    last: Option<i64>,
    read: Instant,
}
