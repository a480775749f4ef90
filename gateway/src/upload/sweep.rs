//! What clients have left behind: uploads that have expired, and those that a crash interrupted at their end.

use std::time::Duration;

use seekway_catalog::{Abort, UploadId};
use tokio::time::sleep;
use tracing::{debug, info, warn};

use super::Uploads;
use crate::metrics::Left;
use crate::respond::Problem;

/// How often is looked, or twice in the time after which an upload expires. Each replica looks; the catalog tells each
/// upload to one of them.
const INTERVAL: Duration = Duration::from_secs(30);
/// For so long, whoever completes an upload is left to it.
const COMPLETING_MS_MAX: i64 = 120_000;
/// Uploads that are dealt with at a time.
const BATCH: u32 = 100;

impl Uploads {
    /// Sweeps until [`shutdown`](Self::shutdown).
    pub(crate) async fn serve(&self) {
        // At the start nobody else may be left to complete what this process had begun before a crash.
        let mut older_than_ms = 0;
        let interval = INTERVAL.min(self.inner.limits.expiry() / 2);
        loop {
            let is_more_left = self.sweep(older_than_ms).await.unwrap_or_else(|problem| {
                warn!(?problem, "cannot look for uploads that were left");
                false
            });
            older_than_ms = COMPLETING_MS_MAX;
            let pause = if is_more_left { Duration::ZERO } else { interval };
            tokio::select! {
                () = sleep(pause) => {}
                () = self.inner.ending.cancelled() => return,
            }
        }
    }

    /// One round; whether there may be more to do at once.
    async fn sweep(&self, older_than_ms: i64) -> Result<bool, Problem> {
        let uploads = self.inner.catalog.uploads();
        let swept = |left| self.inner.metrics.uploads.swept(left);
        for id in uploads.stuck_completing(older_than_ms, BATCH).await? {
            info!(%id, "completing an upload again");
            swept(Left::Completing);
            tell(id, self.inner.complete_again(id).await.map(drop));
        }
        for id in uploads.expired(BATCH).await? {
            debug!(%id, "giving up an upload that has expired");
            swept(Left::Expired);
            tell(id, self.inner.give_up(id, Abort::Expired).await);
        }
        let ended = uploads.ended_long_ago(BATCH).await?;
        for id in &ended {
            swept(Left::Ended);
            tell(*id, self.inner.forget(*id).await);
        }
        Ok(ended.len() == BATCH as usize)
    }
}

/// One that cannot be dealt with now is told again later.
fn tell(id: UploadId, done: Result<(), Problem>) {
    if let Err(problem) = done {
        warn!(%id, ?problem, "an upload that was left stays for now");
    }
}
