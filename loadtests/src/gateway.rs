//! The gateway under test, as a child process in front of an origin.

use std::{
    ffi::OsString,
    fs::{self, File},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use http::{Method, StatusCode};
pub use rustix::process::Signal;
use rustix::process::{Pid, kill_process};
use tempfile::TempDir;

use crate::{Error, client::Client};

const READY_WITHIN: Duration = Duration::from_secs(30);
/// The gateway drains for as long as its readers read, and here nobody reads any more.
const STOPPED_WITHIN: Duration = Duration::from_secs(5);
const START_ATTEMPTS: usize = 3;

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
    folder: TempDir,
}

/// A reading of Prometheus' text format.
#[derive(Debug, Clone, Default)]
pub struct Metrics(Vec<(String, f64)>);

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
            return Err(Error::MissingBinary { name: "gateway", looked_at });
        }
        let mut attempt = 1;
        loop {
            match Self::start_once(launch, free_addresses()?).await {
                // Perhaps a port was taken between our choice and its bind.
                Err(Error::ChildEnded { .. }) if attempt < START_ATTEMPTS => attempt += 1,
                outcome => return outcome,
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
        self.child.id()
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
        Ok(kill_process(Pid::from_child(&self.child), signal).map_err(std::io::Error::from)?)
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
        *self = Self::start_once(launch, (self.address, self.admin_address)).await?;
        Ok(status)
    }

    async fn start_once(launch: &Launch, addresses: (SocketAddr, SocketAddr)) -> Result<Self, Error> {
        // It keeps what it must keep in its working folder, so that folder is ours.
        let folder = tempfile::Builder::new().prefix("seekway-gateway-").tempdir()?;
        let log_path = folder.path().join("log");
        let log = File::create(&log_path).map_err(|source| Error::File { path: log_path, source })?;
        let (address, admin) = addresses;
        let binary = fs::canonicalize(&launch.binary)
            .map_err(|source| Error::File { path: launch.binary.clone(), source })?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "--"])
            .arg(binary)
            // Nothing of the tester's environment: a REDIS_URL there would make cold reads warm.
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", folder.path())
            .env("SEEKWAY_LISTEN", address.to_string())
            .env("SEEKWAY_ADMIN_LISTEN", admin.to_string())
            .env("SEEKWAY_ACCESS_LOG", "off")
            // No load balancer has to look elsewhere first.
            .env("SEEKWAY_DRAIN_DELAY", "0s")
            .env("STORAGE_BACKEND", "s3")
            .env("S3_ENDPOINT", &launch.endpoint)
            .env("S3_BUCKET", &launch.bucket)
            .env("S3_FORCE_PATH_STYLE", "true")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "x")
            .env("AWS_SECRET_ACCESS_KEY", "x")
            .envs(launch.environment.iter().map(|(name, value)| (name, value)))
            .current_dir(folder.path())
            // Ctrl-C is for us; we tell the gateway.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()?;
        let mut gateway = Self { child, address, admin_address: admin, folder };
        gateway.wait_until_ready().await?;
        Ok(gateway)
    }

    async fn wait_until_ready(&mut self) -> Result<(), Error> {
        let started = Instant::now();
        loop {
            let last = match ready(self.address).await {
                Ok(StatusCode::OK) => return Ok(()),
                Ok(status) => status.to_string(),
                Err(error) => error.to_string(),
            };
            if let Some(status) = self.child.try_wait()? {
                return Err(Error::ChildEnded { name: "gateway", status, log: self.log_tail() });
            }
            let waited = started.elapsed();
            if waited > READY_WITHIN {
                return Err(Error::NotReady { name: "gateway", waited, last, log: self.log_tail() });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// The last lines that it wrote.
    pub fn log_tail(&self) -> String {
        log_tail(&self.folder.path().join("log"))
    }

    fn stop(&mut self) -> Result<ExitStatus, Error> {
        let asked = Instant::now();
        self.signal(Signal::TERM)?;
        while asked.elapsed() < STOPPED_WITHIN {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            thread::sleep(Duration::from_millis(10));
        }
        self.child.kill()?;
        Ok(self.child.wait()?)
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            // What cannot be stopped cannot be reported here either; it ends with this thread.
            drop(self.stop());
        }
    }
}

/// The last twenty lines of a log, for an error message.
pub(crate) fn log_tail(path: &Path) -> String {
    let log = fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

async fn ready(address: SocketAddr) -> Result<StatusCode, Error> {
    let mut client = Client::connect(address).await?;
    Ok(client.request(Method::GET, "/api/ready", &[], "").await?.0.status)
}

/// Two addresses that nobody listens on now; held together so that they differ.
fn free_addresses() -> Result<(SocketAddr, SocketAddr), Error> {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let (one, other) = (bind()?, bind()?);
    Ok((one.local_addr()?, other.local_addr()?))
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
