//! Opens the object store that the configuration names.

use std::path::PathBuf;
use std::sync::Arc;

use seekway_storage::ObjectStore;
use seekway_storage::local::LocalStore;
use seekway_storage::measured::Observer;
use seekway_storage::origin::Origin;
use seekway_storage::s3::{S3Config, S3Store};

use crate::config::{Config, FALLBACKS_MAX, StorageBackend, StorageSettings};
use crate::metrics::Metrics;

/// The name of the endpoint that `--s3-bucket` and `--s3-endpoint` describe, in logs and metrics.
pub(crate) const PREFERRED: &str = "preferred";
/// The names of all endpoints, in order of preference: as many as there can be.
pub(crate) const ENDPOINTS: [&str; 1 + FALLBACKS_MAX] = [PREFERRED, "fallback-1", "fallback-2", "fallback-3"];

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

/// Opens the store; `metrics` are told of every request to S3. Nothing is asked of S3 yet: a gateway starts, and
/// says so, while its origin is down.
pub(crate) async fn connect(
    config: &Config,
    metrics: &Arc<Metrics>,
) -> Result<Arc<dyn ObjectStore>, StoreError> {
    match config.storage_backend() {
        StorageBackend::Local => {
            let path = &config.storage.local_storage_dir;
            let store =
                LocalStore::open(path).map_err(|source| StoreError::Folder { path: path.clone(), source })?;
            Ok(Arc::new(store))
        }
        StorageBackend::S3 => {
            let mut endpoints: Vec<(&str, Arc<dyn ObjectStore>)> = Vec::new();
            for (name, endpoint) in ENDPOINTS.into_iter().zip(endpoints_of(&config.storage)) {
                endpoints.push((name, Arc::new(S3Store::connect(endpoint).await)));
            }
            let observer: Arc<dyn Observer> = metrics.clone();
            let origin = Origin::new(endpoints, &observer, config.storage.origin());
            metrics.watch(origin.clone());
            Ok(Arc::new(origin))
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
