//! From the configuration to a worker that works.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use seekway_catalog::{Catalog, Options};
use seekway_settings::store::{self, StoreError};
use seekway_storage::measured::Observer;
use tokio::process::Command;
use tokio_util::sync::CancellationToken;
use tracing::info;

use crate::Config;
use crate::admin::Admin;
use crate::commands::load;
use crate::ffmpeg::{Bounds, Programs};
use crate::metrics::Metrics;
use crate::probe::Limits;
use crate::scratch::Scratch;
use crate::work::Tools;
use crate::worker::{Pace, Worker};

/// Why a worker cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The store could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The database could not be opened.
    #[error("--database-url (DATABASE_URL) is \"{url}\": {source}")]
    Database {
        /// What the setting says, without its password.
        url: String,
        /// What the database said.
        source: seekway_catalog::Error,
    },
    /// A setting does not serve.
    #[error("{0}")]
    Setting(String),
}

// === impl StartError ===

impl StartError {
    /// Whether starting again may do better.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Database { source, .. } if source.is_retryable())
    }
}

/// Begins, and works until `stop`.
///
/// # Errors
/// Before the first job is claimed.
pub async fn run(config: &Config, own: PathBuf, stop: CancellationToken) -> Result<(), StartError> {
    // Its own metrics are of jobs.
    let observer: Arc<dyn Observer> = Arc::new(());
    let store = store::open(&config.storage, &observer).await?.store();
    let url = config.database.url();
    let catalog = Catalog::open(&url, &Options::default()).await;
    let catalog = catalog.map_err(|source| StartError::Database { url: url.to_string(), source })?;
    let doorbells = config.queue.open(&catalog, *config.poll);
    let tools = tools(config, own, catalog.clone(), store).await?;
    let metrics = Arc::new(Metrics::new(config.slots));
    let wrong = |error: io::Error| {
        let address = config.admin_listen;
        StartError::Setting(format!("--admin-listen (SEEKWAY_WORKER_ADMIN_LISTEN) is {address}: {error}"))
    };
    let admin = Admin::bind(config.admin_listen, metrics.clone(), stop.clone()).await.map_err(wrong)?;
    info!(admin = %admin.address().map_err(wrong)?, slots = config.slots, ffmpeg = tools.ffmpeg_version, "works");
    let pace = Pace {
        slots: config.slots,
        lease: *config.lease,
        drain: *config.drain,
        sweep_after: config.queue.sweep_after(),
        reserve_bytes: config.scratch_reserve,
    };
    let admin = tokio::spawn(admin.serve());
    Worker::new(tools, doorbells.clone(), metrics, pace).run(stop).await;
    doorbells.close().await;
    admin.abort();
    catalog.close().await;
    Ok(())
}

async fn tools(
    config: &Config,
    own: PathBuf,
    catalog: Catalog,
    store: Arc<dyn seekway_storage::ObjectStore>,
) -> Result<Tools, StartError> {
    let profiles = load(config.profiles.clone()).map_err(|(text, _)| StartError::Setting(text))?;
    let scratch = Scratch::open(&config.scratch_dir).map_err(|error| {
        let folder = config.scratch_dir.display();
        StartError::Setting(format!("--scratch-dir (SEEKWAY_SCRATCH_DIR) is \"{folder}\": {error}"))
    })?;
    let programs = Programs {
        own,
        ffmpeg: config.ffmpeg.clone(),
        ffprobe: config.ffprobe.clone(),
        bounds: Bounds {
            wall: *config.time_max,
            stall: *config.stall_max,
            memory_bytes: config.memory_bytes(),
            folder_bytes: config.scratch_max,
        },
    };
    let limits = Limits {
        pixels: config.pixels_max,
        streams: config.streams_max,
        seconds: config.seconds_max.as_secs_f64(),
    };
    version(&config.ffprobe, "--ffprobe (SEEKWAY_FFPROBE)").await?;
    let ffmpeg_version = version(&config.ffmpeg, "--ffmpeg (SEEKWAY_FFMPEG)").await?;
    Ok(Tools { catalog, store, programs, ffmpeg_version, profiles, limits, scratch })
}

/// What the program says of itself, which proves that it is there.
async fn version(program: &PathBuf, setting: &str) -> Result<String, StartError> {
    let wrong = |why: String| {
        let text =
            format!("{setting} is \"{}\": {why}; install ffmpeg, or say where it is", program.display());
        StartError::Setting(text)
    };
    let asked = Command::new(program).arg("-version").kill_on_drop(true).output();
    let answer = tokio::time::timeout(Duration::from_secs(20), asked).await;
    let answer = answer.map_err(|_| wrong("it does not answer".to_owned()))?;
    let answer = answer.map_err(|error| wrong(error.to_string()))?;
    let said = String::from_utf8_lossy(&answer.stdout);
    let first = said.lines().next().filter(|line| line.contains("version"));
    first.map(str::to_owned).ok_or_else(|| wrong("it is another program".to_owned()))
}
