//! A real nginx for tests and comparisons: on a free port, in a folder of its own.

use std::{
    net::{SocketAddr, TcpStream},
    process::Command,
    time::Duration,
};

use crate::{
    Error,
    child::{self, Attempts, Child, Ending},
};

const NAME: &str = "nginx";
const READY_WITHIN: Duration = Duration::from_secs(10);

/// Around what the caller wants: nothing outside of the folder is touched. `user` matters to root alone, whose
/// workers could not write there otherwise.
const CONFIG: &str = "\
daemon off;
user root;
worker_rlimit_nofile 65536;
pid nginx.pid;
error_log log warn;
events { worker_connections 16384; }
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
}

// === impl Nginx ===

impl Nginx {
    /// Starts nginx with what `http` says should stand in its `http` block, for a server that is to listen on the
    /// address it is given, and waits until it can be connected to. Relative paths lie in a temporary folder.
    ///
    /// It has as many workers as cores.
    pub async fn start(http: impl Fn(SocketAddr) -> String) -> Result<Self, Error> {
        Self::start_with(None, http).await
    }

    /// The same with so many workers.
    pub async fn start_with(
        workers: Option<usize>,
        http: impl Fn(SocketAddr) -> String,
    ) -> Result<Self, Error> {
        let mut attempts = Attempts::default();
        loop {
            let outcome = Self::start_once(workers, &http).await;
            if !attempts.another(&outcome) {
                return outcome;
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its first process, whose children are the workers.
    pub fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// The last lines of its error log.
    pub fn log_tail(&self) -> String {
        self.child.log_tail()
    }

    async fn start_once(workers: Option<usize>, http: &impl Fn(SocketAddr) -> String) -> Result<Self, Error> {
        let folder = child::folder(NAME)?;
        let workers = workers.map_or_else(|| "auto".to_owned(), |workers| workers.to_string());
        let [address] = child::free_addresses()?;
        child::write(
            &folder.path().join("nginx.conf"),
            format!("worker_processes {workers};\n{CONFIG}{}\n}}\n", http(address)),
        )?;
        let mut command = Command::new(child::find_binary(NAME)?);
        command.args(["-e", "log", "-c", "nginx.conf", "-p"]).arg(folder.path());
        // TERM ends the master and its workers at once.
        let mut child = Child::spawn(NAME, &command, Ending::Terminate, folder)?;
        child.until_ready(READY_WITHIN, async || Ok(TcpStream::connect(address).map(drop)?)).await?;
        Ok(Self { child, address })
    }
}
