//! What an operator can set: every setting is a flag with an environment variable, checked at the start.

mod clients;
mod command_line;
mod values;

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::{Parser, ValueEnum};
use http::HeaderValue;
use seekway_cache::{MetadataPolicy, RedisConfig, RedisUrl, Segmentation};
use seekway_storage::origin::{Hedging, Policy};
use seekway_storage::s3::StaticCredentials;

use crate::delivery::cors::AllowOrigin;
use crate::server::TlsFiles;
use values::{
    HedgeAfter, address, boolean, endpoint, limit, log_filter, name, number, period, segment_bytes, size,
    size_in,
};

pub use clients::ClientSettings;
pub use command_line::Stop;
pub use values::{CacheRule, Fallback};

/// Fewer segments than this in memory or budget and one reader's window would push out another's.
const SEGMENTS_MIN: u64 = 16;

/// Each more is one more wait for a client when all fail.
pub(crate) const FALLBACKS_MAX: usize = 3;

const LISTENERS: &str = "Listeners and connections";
const STORAGE: &str = "Storage";
const CACHE: &str = "Cache and memory";
const DELIVERY: &str = "Delivery";
const LOGS: &str = "Logs";

/// A streaming media gateway: byte ranges of large objects, from memory or from the store.
///
/// Every setting is a flag and an environment variable; the flag wins, and an empty variable counts as unset.
/// Sizes are written 64KiB, 2GiB or in plain bytes, times 500ms, 30s or 1h.
#[derive(Debug, Clone, Parser)]
#[command(name = "gateway", version, max_term_width = 110)]
pub struct Config {
    /// Where clients connect, such as 0.0.0.0:8080 for all interfaces
    #[arg(long, env = "SEEKWAY_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    #[arg(value_parser = address, help_heading = LISTENERS)]
    pub listen: SocketAddr,

    /// Where clients connect with TLS, such as 0.0.0.0:8443; needs the two files below
    #[arg(long, env = "SEEKWAY_TLS_LISTEN", value_name = "ADDRESS")]
    #[arg(value_parser = address, help_heading = LISTENERS)]
    pub tls_listen: Option<SocketAddr>,

    /// PEM file of the certificate and its chain, the server's own first; taken over when it changes
    #[arg(long, env = "SEEKWAY_TLS_CERTIFICATE", value_name = "FILE", help_heading = LISTENERS)]
    tls_certificate: Option<PathBuf>,

    /// PEM file of the certificate's private key; taken over when it changes
    #[arg(long, env = "SEEKWAY_TLS_KEY", value_name = "FILE", help_heading = LISTENERS)]
    tls_key: Option<PathBuf>,

    /// Where metrics and readiness are served; not for the public
    #[arg(long, env = "SEEKWAY_ADMIN_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    #[arg(value_parser = address, help_heading = LISTENERS)]
    pub admin_listen: SocketAddr,

    /// Threads that serve clients, 1 to 1024 [default: one for each core]
    #[arg(long, env = "SEEKWAY_THREADS", value_name = "COUNT", help_heading = LISTENERS)]
    #[arg(value_parser = |text: &str| number(text, 1..=1024usize))]
    pub threads: Option<usize>,

    /// Connections at once; further ones wait to be accepted
    #[arg(long, env = "SEEKWAY_MAX_CONNECTIONS", value_name = "COUNT", default_value = "16384")]
    #[arg(value_parser = |text: &str| number(text, 1..=1_000_000usize), help_heading = LISTENERS)]
    pub max_connections: usize,

    /// Bytes of a request's line and headers together; more is answered with 431
    #[arg(long, env = "SEEKWAY_HEADER_BYTES_MAX", value_name = "SIZE", default_value = "16KiB")]
    #[arg(value_parser = |text: &str| size_in(text, 8 << 10..=1 << 20), help_heading = LISTENERS)]
    header_bytes_max: u64,

    /// Headers of a request; more are answered with 431
    #[arg(long, env = "SEEKWAY_HEADERS_MAX", value_name = "COUNT", default_value = "64")]
    #[arg(value_parser = |text: &str| number(text, 16..=1024usize), help_heading = LISTENERS)]
    pub headers_max: usize,

    /// Time for a request's headers to arrive, from their first byte on
    #[arg(long, env = "SEEKWAY_HEADER_TIMEOUT", value_name = "TIME", default_value = "10s")]
    #[arg(value_parser = limit, help_heading = LISTENERS)]
    pub header_timeout: humantime::Duration,

    /// Time that a connection may stay open between requests
    #[arg(long, env = "SEEKWAY_IDLE_TIMEOUT", value_name = "TIME", default_value = "60s")]
    #[arg(value_parser = limit, help_heading = LISTENERS)]
    pub idle_timeout: humantime::Duration,

    /// Time in which a client must take at least 128 KiB of its response (down to 4 KiB where many share the
    /// socket memory), or is cut off; a player that was
    /// paused for longer asks again from where it stopped
    #[arg(long, env = "SEEKWAY_WRITE_STALL_TIMEOUT", value_name = "TIME", default_value = "60s")]
    #[arg(value_parser = limit, help_heading = LISTENERS)]
    pub write_stall_timeout: humantime::Duration,

    /// Time from SIGTERM, when readiness turns to 503, until no more connections are accepted: load balancers must
    /// have asked in between. SIGINT waits for nobody
    #[arg(long, env = "SEEKWAY_DRAIN_DELAY", value_name = "TIME", default_value = "5s")]
    #[arg(value_parser = period, help_heading = LISTENERS)]
    pub drain_delay: humantime::Duration,

    /// Time that running responses get to end after that
    #[arg(long, env = "SEEKWAY_DRAIN_TIMEOUT", value_name = "TIME", default_value = "20s")]
    #[arg(value_parser = limit, help_heading = LISTENERS)]
    pub drain_timeout: humantime::Duration,

    /// Who clients are, and how much each may have.
    #[command(flatten)]
    pub clients: ClientSettings,

    /// Where objects are [default: s3 if a bucket is set, else local]
    #[arg(long, env = "STORAGE_BACKEND", value_name = "KIND", help_heading = STORAGE)]
    storage_backend: Option<StorageBackend>,

    /// The folder of the local store
    #[arg(long, env = "LOCAL_STORAGE_DIR", value_name = "FOLDER", default_value = "./data/media")]
    #[arg(help_heading = STORAGE)]
    pub local_storage_dir: PathBuf,

    /// The bucket. Credentials come from `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and
    /// `AWS_SESSION_TOKEN`, or the AWS SDK's own chain (profile, web identity, container, instance)
    #[arg(long, env = "S3_BUCKET", value_name = "NAME", value_parser = name, help_heading = STORAGE)]
    pub s3_bucket: Option<String>,

    /// An S3 server other than AWS, such as `http://localhost:9000`
    #[arg(long, env = "S3_ENDPOINT", value_name = "URL", value_parser = endpoint, help_heading = STORAGE)]
    pub s3_endpoint: Option<String>,

    /// Ask for `http://host/bucket/key`, not `http://bucket.host/key`, as servers other than AWS mostly want
    #[arg(long, env = "S3_FORCE_PATH_STYLE", value_name = "BOOL", default_value = "false")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = boolean)]
    #[arg(help_heading = STORAGE)]
    pub s3_force_path_style: bool,

    /// The bucket's region, such as eu-central-1 [default: what the AWS SDK finds]
    #[arg(long, env = "AWS_REGION", value_name = "NAME", value_parser = name, help_heading = STORAGE)]
    pub aws_region: Option<String>,

    /// What `AWS_ACCESS_KEY_ID`, `AWS_SECRET_ACCESS_KEY` and `AWS_SESSION_TOKEN` say; without them the SDK
    /// looks further.
    #[arg(skip)]
    pub s3_credentials: Option<StaticCredentials>,

    /// Time for a connection to S3
    #[arg(long, env = "SEEKWAY_S3_CONNECT_TIMEOUT", value_name = "TIME", default_value = "2s")]
    #[arg(value_parser = limit, help_heading = STORAGE)]
    pub s3_connect_timeout: humantime::Duration,

    /// Time for S3's first byte, and between two chunks
    #[arg(long, env = "SEEKWAY_S3_READ_TIMEOUT", value_name = "TIME", default_value = "5s")]
    #[arg(value_parser = limit, help_heading = STORAGE)]
    pub s3_read_timeout: humantime::Duration,

    /// Time for an answer from S3 in all: waiting for a turn, every attempt, every fallback
    #[arg(long, env = "SEEKWAY_S3_ANSWER_TIMEOUT", value_name = "TIME", default_value = "10s")]
    #[arg(value_parser = limit, help_heading = STORAGE)]
    s3_answer_timeout: humantime::Duration,

    /// How often a request to S3 is tried in all, at each fallback too, 1 to 10
    #[arg(long, env = "SEEKWAY_S3_ATTEMPTS", value_name = "COUNT", default_value = "3")]
    #[arg(value_parser = |text: &str| number(text, 1..=10u32), help_heading = STORAGE)]
    pub s3_attempts: u32,

    /// Reads from a bucket at once, 1 to 4096; further ones wait. Each connection may hold 408 KiB outside of the
    /// memory budget
    #[arg(long, env = "SEEKWAY_S3_REQUESTS_MAX", value_name = "COUNT", default_value = "128")]
    #[arg(value_parser = |text: &str| number(text, 1..=4096usize), help_heading = STORAGE)]
    s3_requests_max: usize,

    /// When a read whose first byte is late is asked again, and the earlier answer used: once so many of the recent
    /// ones had answered, p50 to p99; or off
    #[arg(long, env = "SEEKWAY_S3_HEDGE_AFTER", value_name = "QUANTILE", default_value = "p95")]
    #[arg(help_heading = STORAGE)]
    s3_hedge_after: HedgeAfter,

    /// How many more requests that may cost, in percent, 1 to 50
    #[arg(long, env = "SEEKWAY_S3_HEDGE_PERCENT", value_name = "PERCENT", default_value = "5")]
    #[arg(value_parser = |text: &str| number(text, 1..=50u32), help_heading = STORAGE)]
    s3_hedge_percent: u32,

    /// Up to three buckets to read from while the ones before fail: `s3://BUCKET?region=NAME` on AWS, `https://HOST/BUCKET`
    /// elsewhere. Give it several times, or separate them by commas. Same credentials, same keys, same bytes
    #[arg(long, env = "S3_FALLBACK", value_name = "URL", value_delimiter = ',', help_heading = STORAGE)]
    pub s3_fallback: Vec<Fallback>,

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

    /// How long a read waits for Redis before the store is asked
    #[arg(long, env = "CACHE_REDIS_READ_TIMEOUT", value_name = "TIME", default_value = "2ms")]
    #[arg(value_parser = limit, help_heading = CACHE)]
    cache_redis_read_timeout: humantime::Duration,

    /// Memory of the kernel that clients' sockets share, on top of 32 KiB for each: bytes on their way to clients
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

    /// Which sites' scripts may read media: *, or origins separated by commas
    #[arg(long, env = "SEEKWAY_CORS_ALLOW_ORIGIN", value_name = "ORIGINS", default_value = "*")]
    #[arg(help_heading = DELIVERY)]
    pub cors_allow_origin: AllowOrigin,

    /// Cache-Control of objects that bring none, by the start of their keys: live/=no-cache. Give it several
    /// times, or separate rules by `;`; the longest prefix that fits wins, and an empty one fits all
    #[arg(long, env = "SEEKWAY_CACHE_CONTROL", value_name = "PREFIX=VALUE", value_delimiter = ';')]
    #[arg(help_heading = DELIVERY)]
    cache_control: Vec<CacheRule>,

    /// Whether keys can be listed at /api/objects; auto: only for this machine itself, as localhost or 127.0.0.1
    #[arg(long, env = "SEEKWAY_LISTING", value_name = "WHEN", default_value = "auto", help_heading = DELIVERY)]
    listing: ListingMode,

    /// What is logged to stderr: a level, or a filter such as `info,seekway_cache=debug`
    #[arg(long, env = "SEEKWAY_LOG", value_name = "FILTER", default_value = "info")]
    #[arg(value_parser = log_filter, help_heading = LOGS)]
    pub log: String,

    /// Which requests are logged: errors and slow ones, all, or none
    #[arg(long, env = "SEEKWAY_ACCESS_LOG", value_name = "WHICH", default_value = "errors")]
    #[arg(help_heading = LOGS)]
    pub access_log: AccessLog,
}

/// Where objects are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StorageBackend {
    /// A folder.
    Local,
    /// A bucket.
    S3,
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

/// Who may list keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// Whoever can connect.
    Everybody,
    /// Requests that name this machine as their host, so none that came through a proxy from elsewhere.
    ThisMachine,
    /// Nobody.
    Nobody,
}

/// Whether keys can be listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum ListingMode {
    Auto,
    On,
    Off,
}

// === impl Config ===

impl Config {
    /// The store to use: what is set, else S3 if there is a bucket.
    pub fn storage_backend(&self) -> StorageBackend {
        let guess = if self.s3_bucket.is_some() { StorageBackend::S3 } else { StorageBackend::Local };
        self.storage_backend.unwrap_or(guess)
    }

    /// Where TLS is served, and with which files.
    pub(crate) fn tls(&self) -> Option<(SocketAddr, TlsFiles)> {
        let (certificate, key) = (self.tls_certificate.clone()?, self.tls_key.clone()?);
        Some((self.tls_listen?, TlsFiles { certificate, key }))
    }

    /// Threads that serve clients.
    pub fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        self.threads.unwrap_or_else(cores)
    }

    /// Bytes of a request's line and headers.
    pub fn header_bytes_max(&self) -> usize {
        in_memory(self.header_bytes_max)
    }

    /// Connections to S3, of all buckets together.
    pub fn s3_connections_max(&self) -> usize {
        self.s3_requests_max.saturating_mul(1 + self.s3_fallback.len())
    }

    /// Bytes that clients' sockets share in the kernel.
    pub fn socket_memory_bytes(&self) -> usize {
        in_memory(self.socket_memory_bytes)
    }

    /// Who may list keys.
    pub fn listing(&self) -> Listing {
        match self.listing {
            ListingMode::Auto if self.is_private() => Listing::ThisMachine,
            ListingMode::On => Listing::Everybody,
            ListingMode::Auto | ListingMode::Off => Listing::Nobody,
        }
    }

    /// Only this machine can connect.
    fn is_private(&self) -> bool {
        let mut listeners = std::iter::once(self.listen).chain(self.tls_listen);
        listeners.all(|address| address.ip().to_canonical().is_loopback())
    }

    /// `Cache-Control` by key prefix, for objects that bring none.
    pub fn cache_control(&self) -> Vec<(String, HeaderValue)> {
        self.cache_control.iter().map(|rule| (rule.prefix.clone(), rule.value.clone())).collect()
    }

    /// The cache's bounds.
    pub fn cache(&self) -> seekway_cache::Config {
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
                namespace: self.store_name(),
                ttl: self.cache_redis_ttl.into(),
                read_limit: self.cache_redis_read_timeout.into(),
            }),
        }
    }

    /// How S3 is asked.
    pub fn origin(&self) -> Policy {
        let budget = f64::from(self.s3_hedge_percent) / 100.0;
        Policy {
            attempts_max: self.s3_attempts,
            answer_timeout: self.s3_answer_timeout.into(),
            requests_max: self.s3_requests_max,
            hedging: self.s3_hedge_after.quantile().map(|quantile| Hedging { quantile, budget }),
        }
    }

    /// Which store the objects are from, the same on all replicas.
    fn store_name(&self) -> String {
        let endpoint = self.s3_endpoint.as_deref().unwrap_or("aws");
        format!("{endpoint}/{}", self.s3_bucket.as_deref().unwrap_or_default())
    }

    /// What no setting can know alone.
    fn check(&self, settings: &command_line::Settings) -> Result<(), Stop> {
        if self.storage_backend() == StorageBackend::S3 && self.s3_bucket.is_none() {
            return Err(settings.wrong("s3_bucket", "the s3 backend needs the name of a bucket"));
        }
        if self.s3_bucket.is_none() && !self.s3_fallback.is_empty() {
            return Err(settings.wrong("s3_fallback", "a fallback needs an --s3-bucket to fall back from"));
        }
        if self.s3_fallback.len() > FALLBACKS_MAX {
            return Err(settings.wrong("s3_fallback", format!("at most {FALLBACKS_MAX} fallbacks")));
        }
        if self.listen == self.admin_listen && self.listen.port() != 0 {
            return Err(settings.wrong("admin_listen", "another address than --listen has"));
        }
        if self.clients.proxy_protocol && self.clients.trusted_proxies.is_empty() {
            return Err(
                settings.wrong("trusted_proxies", "--proxy-protocol needs the addresses it comes from")
            );
        }
        self.check_tls(settings)?;
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

    /// TLS is all of its settings, or none.
    fn check_tls(&self, settings: &command_line::Settings) -> Result<(), Stop> {
        let all = [
            ("tls_listen", self.tls_listen.is_some(), "an address to serve it on"),
            ("tls_certificate", self.tls_certificate.is_some(), "the PEM file of the certificate"),
            ("tls_key", self.tls_key.is_some(), "the PEM file of the certificate's key"),
        ];
        let is_wanted = all.iter().any(|(_, is_set, _)| *is_set);
        let missing = all.iter().find(|(_, is_set, _)| !is_set);
        if let Some((id, _, what)) = missing.filter(|_| is_wanted) {
            return Err(settings.wrong(id, format!("TLS needs {what}")));
        }
        let taken = [Some(self.listen), Some(self.admin_listen)];
        if taken.contains(&self.tls_listen) && self.tls_listen.is_some_and(|address| address.port() != 0) {
            let why = "another address than --listen and --admin-listen have";
            return Err(settings.wrong("tls_listen", why));
        }
        Ok(())
    }
}

/// A size as memory counts it; more than can be addressed is all that can be.
fn in_memory(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod documentation;
#[cfg(test)]
mod tests;
