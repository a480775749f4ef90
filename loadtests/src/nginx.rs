//! A real nginx for tests and comparisons: on a free port, in a folder of its own.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::Error;
use crate::gateway::log_tail;

const READY_WITHIN: Duration = Duration::from_secs(10);
/// Another process can take the port between our choice and its bind.
const START_ATTEMPTS: usize = 3;

/// Around what the caller wants: nothing outside of the folder is touched. `user` matters to root alone, whose
/// workers could not write there otherwise.
const CONFIG: &str = "\
daemon off;
user root;
worker_processes 2;
pid nginx.pid;
error_log log warn;
events { worker_connections 4096; }
http {
  access_log off;
  client_body_temp_path body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
";

/// A running nginx. Dropping it stops it; it also ends with the thread that started it.
#[derive(Debug)]
pub struct Nginx {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

// === impl Nginx ===

impl Nginx {
    /// Starts nginx with what `http` says should stand in its `http` block, for a server that is to listen on the
    /// address it is given, and waits until it can be connected to. Relative paths lie in a temporary folder.
    pub async fn start(http: impl Fn(SocketAddr) -> String) -> Result<Self, Error> {
        let mut attempt = 1;
        loop {
            match Self::start_once(&http).await {
                Err(Error::ChildEnded { .. }) if attempt < START_ATTEMPTS => attempt += 1,
                outcome => return outcome,
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The last lines of its error log.
    pub fn log_tail(&self) -> String {
        log_tail(&self.folder.path().join("log"))
    }

    async fn start_once(http: &impl Fn(SocketAddr) -> String) -> Result<Self, Error> {
        let folder = tempfile::Builder::new().prefix("seekway-nginx-").tempdir()?;
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let config = folder.path().join("nginx.conf");
        fs::write(&config, format!("{CONFIG}{}\n}}\n", http(address)))
            .map_err(|source| Error::File { path: config.clone(), source })?;
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "--"])
            .arg(find_nginx()?)
            .args(["-e", "log", "-c", "nginx.conf", "-p"])
            .arg(folder.path())
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()?;
        let mut nginx = Self { child, address, folder };
        nginx.wait_until_it_listens().await?;
        Ok(nginx)
    }

    async fn wait_until_it_listens(&mut self) -> Result<(), Error> {
        let started = Instant::now();
        loop {
            let last = match TcpStream::connect(self.address) {
                Ok(_) => return Ok(()),
                Err(error) => error.to_string(),
            };
            if let Some(status) = self.child.try_wait()? {
                return Err(Error::ChildEnded { name: "nginx", status, log: self.log_tail() });
            }
            let waited = started.elapsed();
            if waited > READY_WITHIN {
                return Err(Error::NotReady { name: "nginx", waited, last, log: self.log_tail() });
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

impl Drop for Nginx {
    fn drop(&mut self) {
        // TERM ends the master and its workers at once. What cannot be stopped ends with this thread.
        if kill_process(Pid::from_child(&self.child), Signal::TERM).is_ok() {
            drop(self.child.wait());
        }
    }
}

/// On `PATH`, or where Debian puts it, which is not on everybody's.
fn find_nginx() -> Result<PathBuf, Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let mut binaries = folders.map(|folder| folder.join("nginx"));
    binaries
        .find(|binary| Path::is_file(binary))
        .ok_or(Error::MissingBinary { name: "nginx", looked_at: "PATH and /usr/sbin".to_owned() })
}
