//! Opens the object store that the configuration names.

use std::path::PathBuf;
use std::sync::Arc;

use seekway_storage::ObjectStore;
use seekway_storage::local::LocalStore;
use seekway_storage::measured::Observer;
use seekway_storage::origin::Origin;
use seekway_storage::s3::{S3Config, S3Store};

use crate::config::{Config, StorageBackend};

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

/// Opens the store; `observer` is told of every request to S3. Nothing is asked of S3 yet: a gateway starts, and
/// says so, while its origin is down.
pub(crate) async fn connect(
    config: &Config,
    observer: Arc<dyn Observer>,
) -> Result<Arc<dyn ObjectStore>, StoreError> {
    match config.storage_backend() {
        StorageBackend::Local => {
            let path = &config.local_storage_dir;
            let store =
                LocalStore::open(path).map_err(|source| StoreError::Folder { path: path.clone(), source })?;
            Ok(Arc::new(store))
        }
        StorageBackend::S3 => {
            let mut endpoints: Vec<(String, Arc<dyn ObjectStore>)> = Vec::new();
            for (index, endpoint) in endpoints_of(config).into_iter().enumerate() {
                let name = if index == 0 { "preferred".to_owned() } else { format!("fallback-{index}") };
                endpoints.push((name, Arc::new(S3Store::connect(endpoint).await)));
            }
            let endpoints = endpoints.iter().map(|(name, store)| (name.as_str(), store.clone()));
            Ok(Arc::new(Origin::new(endpoints, &observer, config.origin())))
        }
    }
}

/// The preferred bucket and its fallbacks.
fn endpoints_of(config: &Config) -> Vec<S3Config> {
    let policy = config.origin();
    let preferred = S3Config {
        bucket: config.s3_bucket.clone().expect("checked by Config: the S3 store has a bucket"),
        endpoint: config.s3_endpoint.clone(),
        region: config.aws_region.clone(),
        force_path_style: config.s3_force_path_style,
        credentials: config.s3_credentials.clone(),
        connect_timeout: config.s3_connect_timeout.into(),
        read_timeout: config.s3_read_timeout.into(),
        attempts_max: policy.attempts_max,
        idle_connections_max: policy.requests_max,
    };
    let fallbacks = config.s3_fallback.iter().map(|fallback| S3Config {
        bucket: fallback.bucket.clone(),
        endpoint: fallback.endpoint.clone(),
        region: fallback.region.clone().or_else(|| preferred.region.clone()),
        // The bucket is in the URL's path, so that is how it is asked for.
        force_path_style: fallback.endpoint.is_some(),
        ..preferred.clone()
    });
    std::iter::once(preferred.clone()).chain(fallbacks).collect()
}
