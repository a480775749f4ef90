//! What every replica does for jobs, also where no worker looks: it ends attempts whose workers have vanished, and counts
//! what is left to do.

use std::sync::Arc;
use std::time::Duration;

use seekway_catalog::{Catalog, Error};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::metrics::Metrics;

/// A fraction of the shortest lease that is of use.
const LOOK_EVERY: Duration = Duration::from_secs(3);
/// Attempts that are ended at a time.
const BATCH: u32 = 100;

/// Looks after jobs until `stop`.
pub(crate) async fn look_after(catalog: Catalog, metrics: Arc<Metrics>, stop: CancellationToken) {
    let mut is_away = false;
    while !stop.is_cancelled() {
        let looked = look(&catalog, &metrics).await;
        if let (Err(error), false) = (&looked, is_away) {
            warn!(error = error.chain(), "cannot look after jobs");
        }
        is_away = looked.is_err();
        tokio::select! {
            () = sleep(LOOK_EVERY) => {}
            () = stop.cancelled() => {}
        }
    }
}

async fn look(catalog: &Catalog, metrics: &Metrics) -> Result<(), Error> {
    for job in catalog.jobs().expire(BATCH).await? {
        info!(id = %job.id, attempt = job.attempt, worker = job.worker, "the worker of a job has vanished");
    }
    metrics.transcoding.set_jobs(catalog.jobs().counts().await?);
    Ok(())
}
