//! The end of videos and assets, and of what attempts left behind: what the outbox says is to be deleted, is deleted from
//! the store.
//!
//! An attempt that has ended may still have a request under way at the store, which makes an object after all others were
//! deleted. So its prefix is looked at again after a grace, and is done only when a look that late finds nothing.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use seekway_catalog::{AssetId, Assets, Catalog, Error, Jobs, OutboxRow, Video, VideoId, Videos};
use seekway_storage::{ObjectKey, ObjectStore, Page};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::respond::Problem;

/// Between two looks at the outbox.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Rows that are claimed at a time.
const BATCH: u32 = 50;
/// Whoever claimed a row and died gives it to others after this. Where it takes longer, two delete the same, which does no
/// harm.
const LEASE_MS: i64 = 60_000;
/// The first pause after a failure; each one after it is twice as long, up to the last.
const RETRY_MS: i64 = 1_000;
const RETRY_MS_MAX: i64 = 600_000;
/// Keys, or uploads, that are asked for at once.
const PAGE: usize = 1000;
/// A film has thousands of segments; the store has others to serve.
const AT_ONCE: usize = 8;

/// Deletes what is to be deleted. Every replica does; each row is claimed by one of them.
pub(crate) struct Deletions {
    catalog: Catalog,
    store: Arc<dyn ObjectStore>,
    /// How long after its end an attempt may still have a request under way.
    grace_ms: i64,
}

/// What became of a row.
enum Settled {
    Done,
    /// It is to be looked at again in so many milliseconds.
    Again(i64),
}

// === impl Deletions ===

impl Deletions {
    pub(crate) fn new(catalog: Catalog, store: Arc<dyn ObjectStore>, grace_ms: i64) -> Self {
        Self { catalog, store, grace_ms }
    }

    /// Deletes until `stop`.
    pub(crate) async fn serve(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let mut done = 0;
            for topic in [Videos::DELETED, Assets::DELETED, Jobs::LEFT] {
                match self.catalog.outbox().claim(topic, BATCH, LEASE_MS).await {
                    Ok(rows) => {
                        done += rows.len();
                        for row in rows {
                            self.settle(&row).await;
                        }
                    }
                    Err(error) => warn!(error = error.chain(), "cannot look for what is to be deleted"),
                }
            }
            if done == 0 {
                tokio::select! {
                    () = sleep(LOOK_EVERY) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }

    async fn settle(&self, row: &OutboxRow) {
        let outbox = self.catalog.outbox();
        let told = match self.delete(row).await {
            Ok(Settled::Done) => outbox.done(row).await,
            Ok(Settled::Again(delay_ms)) => outbox.retry(row, delay_ms).await,
            Err(problem) => {
                warn!(
                    topic = row.topic,
                    what = row.payload,
                    ?problem,
                    "cannot be deleted now; it is tried again"
                );
                let doublings = u32::try_from(row.attempts.saturating_sub(1)).unwrap_or(u32::MAX).min(20);
                outbox.retry(row, (RETRY_MS << doublings).min(RETRY_MS_MAX)).await
            }
        };
        if let Err(error) = told {
            // The lease ends by itself, and what is deleted twice is gone all the same.
            warn!(error = error.chain(), "cannot say what was deleted");
        }
    }

    /// Deletes objects first, so that a crash leaves a row that is settled again.
    async fn delete(&self, row: &OutboxRow) -> Result<Settled, Problem> {
        match row.topic.as_str() {
            Videos::DELETED => {
                let Some(id) = VideoId::parse(&row.payload) else { return Ok(Settled::Done) };
                let video = match self.catalog.videos().get(id).await {
                    Err(Error::NotFound) => return Ok(Settled::Done),
                    video => video?,
                };
                delete_below(self.store.as_ref(), &Video::processed(id)).await.map_err(Problem::Storage)?;
                self.delete_object(&video.source.key).await?;
                self.catalog.videos().gone(id).await?;
            }
            Jobs::LEFT => return self.sweep(row).await,
            _ => {
                let Some(id) = AssetId::parse(&row.payload) else { return Ok(Settled::Done) };
                let asset = match self.catalog.assets().get(id).await {
                    Err(Error::NotFound) => return Ok(Settled::Done),
                    asset => asset?,
                };
                self.delete_object(&asset.source.key).await?;
                self.catalog.assets().gone(id).await?;
            }
        }
        Ok(Settled::Done)
    }

    /// Deletes what an attempt left.
    async fn sweep(&self, row: &OutboxRow) -> Result<Settled, Problem> {
        let prefix = &row.payload;
        if self.catalog.jobs().is_in_use(prefix).await? {
            warn!(prefix, "what is published, or being made, was to be deleted; it stays");
            return Ok(Settled::Done);
        }
        let deleted = delete_below(self.store.as_ref(), prefix).await.map_err(Problem::Storage)?;
        let left_ms = self.grace_ms - row.age_ms;
        Ok(match (left_ms > 0, deleted) {
            (true, _) => Settled::Again(left_ms),
            (false, 0) => Settled::Done,
            (false, _) => Settled::Again(self.grace_ms),
        })
    }

    async fn delete_object(&self, key: &str) -> Result<(), Problem> {
        // What is no key names no object.
        let Ok(key) = ObjectKey::new(key) else { return Ok(()) };
        self.store.delete(&key).await.map_err(Problem::Storage)
    }
}

/// Deletes all objects and uploads below a prefix of ours. How many there were.
pub(crate) async fn delete_below(
    store: &dyn ObjectStore,
    prefix: &str,
) -> Result<usize, seekway_storage::Error> {
    let mut deleted = 0;
    let mut after = None;
    loop {
        let page = store.list_multipart(prefix, Page { after, limit: PAGE }).await?;
        for entry in &page.entries {
            store.abort_multipart(&entry.key, &entry.upload).await?;
        }
        deleted += page.entries.len();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let mut after = None;
    loop {
        let page = store.list(prefix, Page { after, limit: PAGE }).await?;
        deleted += page.entries.len();
        let entries = stream::iter(page.entries).map(Ok);
        entries
            .try_for_each_concurrent(AT_ONCE, |entry| async move { store.delete(&entry.key).await })
            .await?;
        after = page.next;
        if after.is_none() {
            return Ok(deleted);
        }
    }
}
