//! Opens the object store that the configuration names.

use std::path::PathBuf;
use std::sync::Arc;

use seekway_storage::ObjectStore;
use seekway_storage::local::LocalStore;
use seekway_storage::measured::{Measured, Observer};
use seekway_storage::s3::{S3Config, S3Store};

use crate::config::{Config, StorageBackend};

/// The name of the endpoint that `--s3-bucket` and `--s3-endpoint` describe, in metrics.
pub(crate) const PREFERRED: &str = "preferred";

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
            let store = S3Store::connect(s3(config)).await;
            Ok(Arc::new(Measured::new(Arc::new(store), observer, PREFERRED)))
        }
    }
}

fn s3(config: &Config) -> S3Config {
    S3Config {
        bucket: config.s3_bucket.clone().expect("checked by Config: the S3 store has a bucket"),
        endpoint: config.s3_endpoint.clone(),
        region: config.aws_region.clone(),
        force_path_style: config.s3_force_path_style,
        credentials: config.s3_credentials.clone(),
        connect_timeout: config.s3_connect_timeout.into(),
        read_timeout: config.s3_read_timeout.into(),
        attempts_max: config.s3_attempts,
    }
}
