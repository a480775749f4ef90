//! The gateway under test, as a child process in front of an origin.

use std::{
    ffi::OsString,
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Command, ExitStatus},
    time::{Duration, Instant},
};

use http::{Method, StatusCode};
pub use rustix::process::Signal;

use crate::{
    Error,
    child::{self, Attempts, Child, Ending},
    client::Client,
    seaweed::{Bucket, SeaweedFs},
};

/// Where it takes uploads by tus.
pub const TUS_PATH: &str = "/api/uploads";

const NAME: &str = "gateway";
const READY_WITHIN: Duration = Duration::from_secs(30);

/// What to start, and in front of what.
#[derive(Debug, Clone)]
pub struct Launch {
    /// The gateway's binary.
    pub binary: PathBuf,
    /// The S3 endpoint that it reads from.
    pub endpoint: String,
    /// The bucket that it serves under `/media/`.
    pub bucket: String,
    /// More of its settings, as environment variables; these win.
    pub environment: Vec<(OsString, OsString)>,
}

/// A running gateway. Dropping it asks it to end, and after some seconds kills it.
///
/// It also ends with the thread that started it, so that thread should be the main one or a test's.
#[derive(Debug)]
pub struct Gateway {
    child: Child,
    address: SocketAddr,
    admin_address: SocketAddr,
}

/// A reading of Prometheus' text format.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Vec<(String, f64)>);

// === impl Launch ===

impl Launch {
    /// One that takes uploads into `bucket`, with its database beside its log, and with more `settings`.
    pub fn with_uploads(
        binary: &Path,
        seaweed: &SeaweedFs,
        bucket: &Bucket,
        settings: &[(&str, String)],
    ) -> Self {
        let uploads = [
            ("AWS_ACCESS_KEY_ID", seaweed.access_key()),
            ("AWS_SECRET_ACCESS_KEY", seaweed.secret_key()),
            ("DATABASE_URL", "sqlite:seekway.db"),
            ("SEEKWAY_UPLOADS", "on"),
        ];
        let settings = settings.iter().map(|(name, value)| (*name, value.as_str()));
        let environment = uploads.into_iter().chain(settings);
        Self {
            binary: binary.to_owned(),
            endpoint: seaweed.endpoint(),
            bucket: bucket.name().to_owned(),
            environment: environment.map(|(name, value)| (name.into(), value.into())).collect(),
        }
    }
}

// === impl Metrics ===

impl Metrics {
    fn parse(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            Some((series.to_owned(), value.parse().ok()?))
        };
        Self(samples.filter_map(sample).collect())
    }

    /// The sum over all series with this name; `None` when there is none.
    pub fn get(&self, name: &str) -> Option<f64> {
        let mut named = self.0.iter().filter(|(series, _)| series.split('{').next() == Some(name)).peekable();
        named.peek()?;
        Some(named.map(|(_, value)| value).sum())
    }

    /// The series with this name and these labels, as the text has it: `name{label="value"}`.
    pub fn series(&self, series: &str) -> Option<f64> {
        self.0.iter().find(|(other, _)| other == series).map(|(_, value)| *value)
    }
}

// === impl Gateway ===

impl Gateway {
    /// Starts the gateway on free ports and waits until `/api/ready` says so.
    pub async fn start(launch: &Launch) -> Result<Self, Error> {
        if !launch.binary.is_file() {
            let looked_at = format!(
                "{}; build it with `cargo build --release -p seekway-gateway`",
                launch.binary.display()
            );
            return Err(Error::MissingBinary { name: NAME, looked_at });
        }
        let mut attempts = Attempts::default();
        loop {
            let outcome = Self::start_once(launch, child::free_addresses()?).await;
            if !attempts.another(&outcome) {
                return outcome;
            }
        }
    }

    /// Where it serves.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where its metrics are.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// Its metrics now.
    pub async fn metrics(&self) -> Result<Metrics, Error> {
        let mut client = Client::connect(self.admin_address).await?;
        let (answer, body) = client.request(Method::GET, "/metrics", &[], "").await?;
        if answer.status != StatusCode::OK {
            let answer = answer.status.to_string();
            return Err(Error::UnexpectedAnswer { request: "GET /metrics".to_owned(), answer });
        }
        Ok(Metrics::parse(&String::from_utf8_lossy(&body)))
    }

    /// Sends it a signal, such as `TERM`, which makes it drain.
    pub fn signal(&self, signal: Signal) -> Result<(), Error> {
        self.child.signal(signal)
    }

    /// Waits until it has ended by itself.
    pub async fn ended(&mut self, limit: Duration) -> Result<ExitStatus, Error> {
        let began = Instant::now();
        while began.elapsed() < limit {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(Error::Timeout { request: "the end of the gateway".to_owned(), limit })
    }

    /// Ends it as a service manager does, within `limit`, and starts another one at its addresses. Says how the
    /// old one ended.
    pub async fn restart(&mut self, launch: &Launch, limit: Duration) -> Result<ExitStatus, Error> {
        self.signal(Signal::TERM)?;
        let status = self.ended(limit).await?;
        *self = Self::start_once(launch, [self.address, self.admin_address]).await?;
        Ok(status)
    }

    /// Ends it as a power cut does, and starts another one at its addresses.
    pub async fn kill_and_restart(&mut self, launch: &Launch) -> Result<(), Error> {
        self.signal(Signal::KILL)?;
        self.ended(READY_WITHIN).await?;
        *self = Self::start_once(launch, [self.address, self.admin_address]).await?;
        Ok(())
    }

    async fn start_once(launch: &Launch, addresses: [SocketAddr; 2]) -> Result<Self, Error> {
        let [address, admin_address] = addresses;
        let binary = fs::canonicalize(&launch.binary)
            .map_err(|source| Error::File { path: launch.binary.clone(), source })?;
        let mut command = Command::new(binary);
        command
            .env("SEEKWAY_LISTEN", address.to_string())
            .env("SEEKWAY_ADMIN_LISTEN", admin_address.to_string())
            .env("SEEKWAY_ACCESS_LOG", "off")
            // A database is for those who need one.
            .env("SEEKWAY_UPLOADS", "off")
            .env("SEEKWAY_ACCOUNTS", "off")
            .env("SEEKWAY_TRANSCODING", "off")
            // No load balancer has to look elsewhere first.
            .env("SEEKWAY_DRAIN_DELAY", "0s")
            .env("STORAGE_BACKEND", "s3")
            .env("S3_ENDPOINT", &launch.endpoint)
            .env("S3_BUCKET", &launch.bucket)
            .env("S3_FORCE_PATH_STYLE", "true")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "x")
            .env("AWS_SECRET_ACCESS_KEY", "x")
            .envs(launch.environment.iter().map(|(name, value)| (name, value)));
        // It drains for as long as its readers read, and when this value is dropped, nobody reads any more.
        let mut child = Child::spawn(NAME, &command, Ending::Terminate, child::folder(NAME)?)?;
        child.until_ready(READY_WITHIN, async || ready(address).await).await?;
        Ok(Self { child, address, admin_address })
    }

    /// The last lines that it wrote.
    pub fn log_tail(&self) -> String {
        self.child.log_tail()
    }
}

async fn ready(address: SocketAddr) -> Result<(), Error> {
    let mut client = Client::connect(address).await?;
    match client.request(Method::GET, "/api/ready", &[], "").await?.0.status {
        StatusCode::OK => Ok(()),
        status => {
            let request = "GET /api/ready".to_owned();
            Err(Error::UnexpectedAnswer { request, answer: status.to_string() })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metrics_are_summed_over_their_labels() {
        let text = "# HELP a b\na{x=\"1\"} 2\na{x=\"2\"} 3.5\nab 7\n";
        let metrics = Metrics::parse(text);
        assert_eq!((metrics.get("a"), metrics.get("ab"), metrics.get("b")), (Some(5.5), Some(7.0), None));
        assert_eq!(metrics.series("a{x=\"2\"}"), Some(3.5));
    }
}
