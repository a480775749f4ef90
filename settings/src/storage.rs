//! Settings about where objects are and how they are asked for.

use std::path::PathBuf;

use clap::ValueEnum;
use seekway_storage::origin::{Hedging, Policy};
use seekway_storage::s3::StaticCredentials;

use crate::command_line::{Settings, Stop};
use crate::values::{Fallback, HedgeAfter, boolean, endpoint, limit, name, number};

/// Each more is one more wait for a client when all fail.
pub const FALLBACKS_MAX: usize = 3;

/// The heading of these settings.
pub const STORAGE: &str = "Storage";

/// Where objects are, and how they are asked for.
#[derive(Debug, Clone, clap::Args)]
pub struct StorageSettings {
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

    /// The same server as clients reach it who upload straight to the bucket [default: `S3_ENDPOINT`]
    #[arg(long, env = "S3_PUBLIC_ENDPOINT", value_name = "URL", value_parser = endpoint, help_heading = STORAGE)]
    pub s3_public_endpoint: Option<String>,

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

    /// Reads from a bucket at once, 1 to 4096; further ones wait. Each connection may hold 448 KiB outside of the
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
}

/// Where objects are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum StorageBackend {
    /// A folder.
    Local,
    /// A bucket.
    S3,
}

// === impl StorageSettings ===

impl StorageSettings {
    /// The store to use: what is set, else S3 if there is a bucket.
    pub fn backend(&self) -> StorageBackend {
        let guess = if self.s3_bucket.is_some() { StorageBackend::S3 } else { StorageBackend::Local };
        self.storage_backend.unwrap_or(guess)
    }

    /// Connections to S3, of all buckets together.
    pub fn connections_max(&self) -> usize {
        self.s3_requests_max.saturating_mul(1 + self.s3_fallback.len())
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
    pub fn name(&self) -> String {
        let endpoint = self.s3_endpoint.as_deref().unwrap_or("aws");
        format!("{endpoint}/{}", self.s3_bucket.as_deref().unwrap_or_default())
    }

    /// S3 needs a bucket, and fallbacks something to fall back from.
    pub fn check(&self, settings: &Settings) -> Result<(), Stop> {
        if self.backend() == StorageBackend::S3 && self.s3_bucket.is_none() {
            return Err(settings.wrong("s3_bucket", "the s3 backend needs the name of a bucket"));
        }
        if self.s3_bucket.is_none() && !self.s3_fallback.is_empty() {
            return Err(settings.wrong("s3_fallback", "a fallback needs an --s3-bucket to fall back from"));
        }
        if self.s3_fallback.len() > FALLBACKS_MAX {
            return Err(settings.wrong("s3_fallback", format!("at most {FALLBACKS_MAX} fallbacks")));
        }
        Ok(())
    }
}
