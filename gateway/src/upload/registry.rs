//! Which uploads are being written in this process: the newest writer of each, so that an older one is told to stop at
//! once. Across replicas the catalog's epochs do that, a little later.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use seekway_catalog::UploadId;
use tokio_util::sync::CancellationToken;

/// The writers.
#[derive(Debug, Clone, Default)]
pub(super) struct Registry(Arc<Mutex<HashMap<UploadId, (u64, CancellationToken)>>>);

/// A writer's place in it, until dropped.
#[derive(Debug)]
pub(super) struct Place {
    registry: Registry,
    upload: UploadId,
    epoch: u64,
    /// Cancelled when a newer writer has come.
    pub(super) superseded: CancellationToken,
}

// === impl Registry ===

impl Registry {
    /// Enters the writer with `epoch`, and tells an older one to stop; if a newer one is there, this one.
    pub(super) fn enter(&self, upload: UploadId, epoch: u64) -> Place {
        let superseded = CancellationToken::new();
        let mut writers = self.writers();
        match writers.get(&upload) {
            Some((newer, _)) if *newer > epoch => superseded.cancel(),
            _ => {
                if let Some((_, older)) = writers.insert(upload, (epoch, superseded.clone())) {
                    older.cancel();
                }
            }
        }
        Place { registry: self.clone(), upload, epoch, superseded }
    }

    /// Tells the writer of an upload to stop, if there is one.
    pub(super) fn stop(&self, upload: UploadId) {
        if let Some((_, writer)) = self.writers().get(&upload) {
            writer.cancel();
        }
    }

    fn writers(&self) -> MutexGuard<'_, HashMap<UploadId, (u64, CancellationToken)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

// === impl Place ===

impl Drop for Place {
    fn drop(&mut self) {
        let mut writers = self.registry.writers();
        if writers.get(&self.upload).is_some_and(|(epoch, _)| *epoch == self.epoch) {
            writers.remove(&self.upload);
        }
    }
}
