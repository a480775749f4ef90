//! What an operator can set: every setting is a flag with an environment variable, checked at the start.

mod cache;
mod clients;
mod command_line;
mod delivery;
mod listeners;
mod storage;
mod values;

use clap::{Parser, ValueEnum};

use cache::CacheSettings;
use command_line::Settings;
use values::log_filter;

pub use clients::ClientSettings;
pub use command_line::Stop;
pub use delivery::{DeliverySettings, Listing};
pub use listeners::ListenerSettings;
pub(crate) use storage::FALLBACKS_MAX;
pub use storage::{StorageBackend, StorageSettings};
pub use values::Fallback;

const LOGS: &str = "Logs";
/// How much is gathered in the process for clients' sockets, as a fraction of what they share in the kernel.
const WRITE_BUFFERS_FRACTION: usize = 8;

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

    /// What is logged to stderr: a level, or a filter such as `info,seekway_cache=debug`
    #[arg(long, env = "SEEKWAY_LOG", value_name = "FILTER", default_value = "info")]
    #[arg(value_parser = log_filter, help_heading = LOGS)]
    pub log: String,

    /// Which requests are logged: errors and slow ones, all, or none
    #[arg(long, env = "SEEKWAY_ACCESS_LOG", value_name = "WHICH", default_value = "errors")]
    #[arg(help_heading = LOGS)]
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

    /// Who may list keys.
    pub fn listing(&self) -> Listing {
        self.delivery.listing(self.listeners.is_private())
    }

    /// What no setting can know alone.
    fn check(&self, settings: &Settings) -> Result<(), Stop> {
        self.storage.check(settings)?;
        self.listeners.check(settings)?;
        self.clients.check(settings)?;
        self.cache.check(settings)
    }
}

#[cfg(test)]
mod documentation;
#[cfg(test)]
mod tests;
