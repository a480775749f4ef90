//! What an operator can set: every setting is a flag with an environment variable, checked at the start.

mod accounts;
mod cache;
mod clients;
mod delivery;
mod listeners;
mod transcoding;
mod uploads;
mod values;

use clap::{Parser, ValueEnum};
use seekway_settings::command_line::Environment;
use seekway_settings::{Configuration, LogSettings, QueueSettings, Settings};

use cache::CacheSettings;

pub use accounts::AccountSettings;
pub use clients::ClientSettings;
pub use delivery::{DeliverySettings, Listing};
pub use listeners::ListenerSettings;
pub use seekway_settings::{DatabaseSettings, Stop, StorageBackend, StorageSettings};
pub(crate) use transcoding::is_profile;
pub use transcoding::{Transcoding, TranscodingSettings};
pub use uploads::UploadSettings;

/// How much is gathered in the process for clients' sockets, as a fraction of what they share in the kernel.
const WRITE_BUFFERS_FRACTION: usize = 8;
/// How much uploads by HTTP/2 may have sent before it is read, as a fraction of what their parts may take.
const UPLOAD_WINDOWS_FRACTION: usize = 2;

/// A streaming media gateway: byte ranges of large objects, from memory or from the store.
///
/// Every setting is a flag and an environment variable; the flag wins, and an empty variable counts as unset.
/// Sizes are written 64KiB, 2GiB or in plain bytes, times 500ms, 30s or 1h.
#[derive(Debug, Clone, Parser)]
#[command(name = "gateway", version, max_term_width = 110)]
pub struct Config {
    /// Where clients connect, and how long each may take.
    #[command(flatten)]
    pub listeners: ListenerSettings,

    /// Who clients are, and how much each may have.
    #[command(flatten)]
    pub clients: ClientSettings,

    /// Where objects are, and how they are asked for.
    #[command(flatten)]
    pub storage: StorageSettings,

    /// What is kept, for how long, and with how much memory.
    #[command(flatten)]
    cache: CacheSettings,

    /// What responses say of objects, and to whom.
    #[command(flatten)]
    pub delivery: DeliverySettings,

    /// What may be uploaded, by whom, and how much.
    #[command(flatten)]
    pub uploads: UploadSettings,

    /// What becomes of videos.
    #[command(flatten)]
    pub transcoding: TranscodingSettings,

    /// How workers hear of jobs.
    #[command(flatten)]
    pub queue: QueueSettings,

    /// Where accounts, videos and uploads are kept.
    #[command(flatten)]
    pub database: DatabaseSettings,

    /// Who may have an account, and what proves it.
    #[command(flatten)]
    pub accounts: AccountSettings,

    /// What is logged.
    #[command(flatten)]
    pub logs: LogSettings,

    /// Which requests are logged: errors and slow ones, all, or none
    #[arg(long, env = "SEEKWAY_ACCESS_LOG", value_name = "WHICH", default_value = "errors")]
    #[arg(help_heading = seekway_settings::logs::LOGS)]
    pub access_log: AccessLog,
}

/// Which requests are logged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AccessLog {
    /// Failures and slow ones.
    Errors,
    /// Every one.
    All,
    /// None.
    Off,
}

// === impl Config ===

impl Config {
    /// The store to use.
    pub fn storage_backend(&self) -> StorageBackend {
        self.storage.backend()
    }

    /// Connections to S3, of all buckets together.
    pub fn s3_connections_max(&self) -> usize {
        self.storage.connections_max()
    }

    /// The cache's bounds.
    pub fn cache(&self) -> seekway_cache::Config {
        self.cache.config(self.storage.name())
    }

    /// Bytes that clients' sockets share in the kernel.
    pub fn socket_memory_bytes(&self) -> usize {
        self.cache.socket_memory_bytes()
    }

    /// Bytes beside them that wait in the process to be written together.
    pub fn write_buffers_bytes(&self) -> usize {
        self.socket_memory_bytes() / WRITE_BUFFERS_FRACTION
    }

    /// Bytes that clients of HTTP/2 may send of uploads before they are read, beyond what the protocol gives each.
    pub fn upload_windows_bytes(&self) -> usize {
        if self.takes_uploads() { self.uploads.memory_bytes() / UPLOAD_WINDOWS_FRACTION } else { 0 }
    }

    /// Who may list keys.
    pub fn listing(&self) -> Listing {
        self.delivery.listing(self.listeners.is_private())
    }

    /// Whether somebody may upload: at least whoever has an account for it.
    pub fn takes_uploads(&self) -> bool {
        self.uploads.are_on() && self.has_catalog()
    }

    /// Who may upload without an account.
    pub fn uploads_open_to(&self) -> Listing {
        self.uploads.open_to(self.listeners.is_private())
    }

    /// Who may log in.
    pub fn accounts_open_to(&self) -> Listing {
        self.accounts.open_to(self.listeners.is_private())
    }

    /// Who may sign up.
    pub fn sign_up_open_to(&self) -> Listing {
        self.accounts.sign_up(self.listeners.is_private())
    }

    /// Whether there are accounts, videos and uploads. A replica that only delivers needs them, too, to know who may see
    /// what.
    pub fn has_catalog(&self) -> bool {
        let is_open = |whom| whom != Listing::Nobody;
        self.database.is_chosen() || is_open(self.uploads_open_to()) || is_open(self.accounts_open_to())
    }
}

impl Configuration for Config {
    const PROGRAM: &'static str = "gateway";

    fn check(&mut self, settings: &Settings, env: &Environment) -> Result<(), Stop> {
        self.storage.s3_credentials = settings.credentials(env)?;
        self.storage.check(settings)?;
        self.listeners.check(settings)?;
        self.clients.check(settings)?;
        self.uploads.check(settings)?;
        self.transcoding.check(settings, self.has_catalog())?;
        self.cache.check(settings)
    }
}

#[cfg(test)]
mod documentation;
#[cfg(test)]
mod tests;
