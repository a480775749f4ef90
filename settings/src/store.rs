//! Opens the object store that the configuration names.

use std::path::PathBuf;
use std::sync::Arc;

use seekway_storage::ObjectStore;
use seekway_storage::local::LocalStore;
use seekway_storage::measured::Observer;
use seekway_storage::origin::Origin;
use seekway_storage::s3::{S3Config, S3Store};

use crate::storage::{FALLBACKS_MAX, StorageBackend, StorageSettings};

/// The name of the endpoint that `--s3-bucket` and `--s3-endpoint` describe, in logs and metrics.
pub const PREFERRED: &str = "preferred";
/// The names of all endpoints, in order of preference: as many as there can be.
pub const ENDPOINTS: [&str; 1 + FALLBACKS_MAX] = [PREFERRED, "fallback-1", "fallback-2", "fallback-3"];

/// Why the store could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The media folder is not one, or may not be used.
    #[error(
        "--local-storage-dir (LOCAL_STORAGE_DIR) is \"{path}\": {source}; a folder that can be read and written"
    )]
    Folder {
        /// What the setting says.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A store that is open.
#[derive(Debug)]
pub enum Opened {
    /// A folder.
    Local(LocalStore),
    /// A bucket, and its fallbacks.
    S3(Origin),
}

/// Opens the store; `observer` is told of every request to S3. Nothing is asked of S3 yet: a program starts, and
/// says so, while its origin is down.
pub async fn open(settings: &StorageSettings, observer: &Arc<dyn Observer>) -> Result<Opened, StoreError> {
    match settings.backend() {
        StorageBackend::Local => {
            let path = &settings.local_storage_dir;
            let store = LocalStore::open(path);
            Ok(Opened::Local(store.map_err(|source| StoreError::Folder { path: path.clone(), source })?))
        }
        StorageBackend::S3 => {
            let mut endpoints: Vec<(&str, Arc<dyn ObjectStore>)> = Vec::new();
            for (name, endpoint) in ENDPOINTS.into_iter().zip(endpoints_of(settings)) {
                endpoints.push((name, Arc::new(S3Store::connect(endpoint).await)));
            }
            Ok(Opened::S3(Origin::new(endpoints, observer, settings.origin())))
        }
    }
}

/// The preferred bucket and its fallbacks.
fn endpoints_of(settings: &StorageSettings) -> Vec<S3Config> {
    let policy = settings.origin();
    let preferred = S3Config {
        bucket: settings.s3_bucket.clone().expect("checked by Config: the S3 store has a bucket"),
        endpoint: settings.s3_endpoint.clone(),
        public_endpoint: settings.s3_public_endpoint.clone(),
        region: settings.aws_region.clone(),
        force_path_style: settings.s3_force_path_style,
        credentials: settings.s3_credentials.clone(),
        connect_timeout: settings.s3_connect_timeout.into(),
        read_timeout: settings.s3_read_timeout.into(),
        attempts_max: policy.attempts_max,
        idle_connections_max: policy.requests_max,
    };
    let fallbacks = settings.s3_fallback.iter().map(|fallback| S3Config {
        bucket: fallback.bucket.clone(),
        endpoint: fallback.endpoint.clone(),
        region: fallback.region.clone().or_else(|| preferred.region.clone()),
        // The bucket is in the URL's path, so that is how it is asked for.
        force_path_style: fallback.endpoint.is_some(),
        ..preferred.clone()
    });
    std::iter::once(preferred.clone()).chain(fallbacks).collect()
}

// === impl Opened ===

impl Opened {
    /// The store itself.
    pub fn store(self) -> Arc<dyn ObjectStore> {
        match self {
            Self::Local(store) => Arc::new(store),
            Self::S3(origin) => Arc::new(origin),
        }
    }
}
