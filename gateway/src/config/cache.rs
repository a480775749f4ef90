//! Settings about what is kept, for how long, and with how much memory.

use seekway_cache::{MetadataPolicy, RedisConfig, RedisUrl, Segmentation};

use super::values::{in_memory, limit, period, segment_bytes, short_limit, size};
use seekway_settings::{Settings, Stop};

/// Fewer segments than this in memory or budget and one reader's window would push out another's.
const SEGMENTS_MIN: u64 = 16;

pub(super) const CACHE: &str = "Cache and memory";

/// What is kept, for how long, and with how much memory.
#[derive(Debug, Clone, clap::Args)]
pub(super) struct CacheSettings {
    /// Memory for segments that may be asked for again; 0 keeps none
    #[arg(long, env = "CACHE_MEMORY_BYTES", value_name = "SIZE", default_value = "512MiB")]
    #[arg(value_parser = size, help_heading = CACHE)]
    cache_memory_bytes: u64,

    /// The unit of caching, a power of two from 4KiB to 16MiB: a seek pays for the way from its segment's start
    #[arg(long, env = "CACHE_SEGMENT_BYTES", value_name = "SIZE", default_value = "64KiB")]
    #[arg(value_parser = segment_bytes, help_heading = CACHE)]
    cache_segment_bytes: u64,

    /// Memory for everything else that is buffered: reads from the store, segments on their way to clients
    #[arg(long, env = "MEMORY_BUDGET_BYTES", value_name = "SIZE", default_value = "256MiB")]
    #[arg(value_parser = size, help_heading = CACHE)]
    memory_budget_bytes: u64,

    /// A Redis that all replicas share: `redis://host:6379`, `redis-sentinel://host:26379,host:26379#name` or
    /// `redis-cluster://host:6379,host:6379`; rediss for TLS, `user:password@` before the hosts. Not used with
    /// the local store [default: none]
    #[arg(long, env = "REDIS_URL", value_name = "URL", hide_env_values = true, help_heading = CACHE)]
    redis_url: Option<RedisUrl>,

    /// How long Redis keeps a segment
    #[arg(long, env = "CACHE_REDIS_TTL", value_name = "TIME", default_value = "1h")]
    #[arg(value_parser = limit, help_heading = CACHE)]
    cache_redis_ttl: humantime::Duration,

    /// How long a read waits for Redis before the store is asked, 1ms to 1s
    #[arg(long, env = "CACHE_REDIS_READ_TIMEOUT", value_name = "TIME", default_value = "2ms")]
    #[arg(value_parser = short_limit, help_heading = CACHE)]
    cache_redis_read_timeout: humantime::Duration,

    /// Memory of the kernel that clients' sockets share, on top of 64 KiB for each: bytes on their way to
    /// clients, and uploads that are on their way here
    #[arg(long, env = "SEEKWAY_SOCKET_MEMORY_BYTES", value_name = "SIZE", default_value = "256MiB")]
    #[arg(value_parser = size, help_heading = CACHE)]
    socket_memory_bytes: u64,

    /// How long an object's size and version are believed without asking the store
    #[arg(long, env = "METADATA_TTL", value_name = "TIME", default_value = "10s")]
    #[arg(value_parser = period, help_heading = CACHE)]
    metadata_ttl: humantime::Duration,

    /// For how much longer they are served at once while the store is asked in the background
    #[arg(long, env = "STALE_WHILE_REVALIDATE", value_name = "TIME", default_value = "30s")]
    #[arg(value_parser = period, help_heading = CACHE)]
    stale_while_revalidate: humantime::Duration,

    /// For how much longer they are served if the store cannot be asked
    #[arg(long, env = "STALE_IF_ERROR", value_name = "TIME", default_value = "1h")]
    #[arg(value_parser = period, help_heading = CACHE)]
    stale_if_error: humantime::Duration,

    /// How long an object that is not there is believed to be missing
    #[arg(long, env = "NEGATIVE_TTL", value_name = "TIME", default_value = "2s")]
    #[arg(value_parser = period, help_heading = CACHE)]
    negative_ttl: humantime::Duration,
}

// === impl CacheSettings ===

impl CacheSettings {
    /// The cache's bounds; replicas with the same `store_name` share what Redis keeps.
    pub(super) fn config(&self, store_name: String) -> seekway_cache::Config {
        seekway_cache::Config {
            memory_bytes: in_memory(self.cache_memory_bytes),
            budget_bytes: in_memory(self.memory_budget_bytes),
            segmentation: Segmentation::new(self.cache_segment_bytes),
            metadata: MetadataPolicy {
                ttl: self.metadata_ttl.into(),
                stale_while_revalidate: self.stale_while_revalidate.into(),
                stale_if_error: self.stale_if_error.into(),
                negative_ttl: self.negative_ttl.into(),
            },
            redis: self.redis_url.clone().map(|url| RedisConfig {
                url,
                namespace: store_name,
                ttl: self.cache_redis_ttl.into(),
                read_limit: self.cache_redis_read_timeout.into(),
            }),
        }
    }

    pub(super) fn socket_memory_bytes(&self) -> usize {
        in_memory(self.socket_memory_bytes)
    }

    /// The cache and the budget have room for some segments.
    pub(super) fn check(&self, settings: &Settings) -> Result<(), Stop> {
        let least = SEGMENTS_MIN * self.cache_segment_bytes;
        let at_least = format!("at least {}, {SEGMENTS_MIN} segments", bytesize::ByteSize(least));
        if self.memory_budget_bytes < least {
            return Err(settings.wrong("memory_budget_bytes", at_least));
        }
        if self.cache_memory_bytes != 0 && self.cache_memory_bytes < least {
            return Err(settings.wrong("cache_memory_bytes", format!("0, or {at_least}")));
        }
        Ok(())
    }
}
