//! The end of videos and assets: what the outbox says is to be deleted, is deleted from the store.

use std::sync::Arc;
use std::time::Duration;

use seekway_catalog::{AssetId, Assets, Catalog, Error, OutboxRow, VideoId, Videos};
use seekway_storage::{ObjectKey, ObjectStore};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::respond::Problem;

/// Between two looks at the outbox.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Rows that are claimed at a time.
const BATCH: u32 = 50;
/// Whoever claimed a row and died gives it to others after this.
const LEASE_MS: i64 = 60_000;
/// The first pause after a failure; each one after it is twice as long, up to the last.
const RETRY_MS: i64 = 1_000;
const RETRY_MS_MAX: i64 = 600_000;

/// Deletes what is to be deleted. Every replica does; each row is claimed by one of them.
pub(crate) struct Deletions {
    catalog: Catalog,
    store: Arc<dyn ObjectStore>,
}

// === impl Deletions ===

impl Deletions {
    pub(crate) fn new(catalog: Catalog, store: Arc<dyn ObjectStore>) -> Self {
        Self { catalog, store }
    }

    /// Deletes until `stop`.
    pub(crate) async fn serve(&self, stop: CancellationToken) {
        while !stop.is_cancelled() {
            let mut done = 0;
            for topic in [Videos::DELETED, Assets::DELETED] {
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
            Ok(()) => outbox.done(row).await,
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

    /// Deletes the object first, so that a crash leaves a row that is settled again.
    async fn delete(&self, row: &OutboxRow) -> Result<(), Problem> {
        if row.topic == Videos::DELETED {
            let Some(id) = VideoId::parse(&row.payload) else { return Ok(()) };
            let video = match self.catalog.videos().get(id).await {
                Err(Error::NotFound) => return Ok(()),
                video => video?,
            };
            self.delete_object(&video.source.key).await?;
            Ok(self.catalog.videos().gone(id).await?)
        } else {
            let Some(id) = AssetId::parse(&row.payload) else { return Ok(()) };
            let asset = match self.catalog.assets().get(id).await {
                Err(Error::NotFound) => return Ok(()),
                asset => asset?,
            };
            self.delete_object(&asset.source.key).await?;
            Ok(self.catalog.assets().gone(id).await?)
        }
    }

    async fn delete_object(&self, key: &str) -> Result<(), Problem> {
        // What is no key names no object.
        let Ok(key) = ObjectKey::new(key) else { return Ok(()) };
        self.store.delete(&key).await.map_err(Problem::Storage)
    }
}
