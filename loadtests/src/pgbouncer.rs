//! A real pgbouncer for tests: in transaction mode, on a free loopback port, in front of one database.
//!
//! It takes its few connections to the server in turns, so that two transactions of one client are never on the same
//! one for long: what wrongly outlives a transaction is missed at once.

use std::{
    fs,
    net::{SocketAddr, TcpStream},
    os::unix::fs::PermissionsExt as _,
    time::Duration,
};

use rustix::process::Signal;

use crate::{
    Error,
    child::{self, Attempts, Child, Ending},
    postgres::{Postgres, USER, as_user},
};

const NAME: &str = "pgbouncer";
const CONFIG: &str = "pgbouncer.ini";
const READY_WITHIN: Duration = Duration::from_secs(10);

/// One running pooler. Dropping it ends it.
#[derive(Debug)]
pub struct Pgbouncer {
    child: Child,
    address: SocketAddr,
    database: String,
}

// === impl Pgbouncer ===

impl Pgbouncer {
    /// Starts one for a database of `server`.
    ///
    /// # Errors
    /// When pgbouncer is not installed, or does not come up.
    pub fn start(server: &Postgres, database: &str) -> Result<Self, Error> {
        let mut attempts = Attempts::default();
        loop {
            let outcome = Self::start_once(server, database);
            if !attempts.another(&outcome) {
                return outcome;
            }
        }
    }

    /// The database behind it, for whoever keeps to transactions.
    pub fn url(&self) -> String {
        format!("postgres://{USER}@{}/{}?pool_mode=transaction", self.address, self.database)
    }

    /// Stops it in its tracks: connections stay open, and nothing answers.
    pub fn pause(&self) {
        drop(self.child.signal(Signal::STOP));
    }

    /// Lets a paused one go on.
    pub fn resume(&self) {
        drop(self.child.signal(Signal::CONT));
    }

    /// The last lines of its log.
    pub fn log_tail(&self) -> String {
        self.child.log_tail()
    }

    fn start_once(server: &Postgres, database: &str) -> Result<Self, Error> {
        let folder = child::folder(NAME)?;
        let [address] = child::free_addresses()?;
        let config = folder.path().join(CONFIG);
        child::write(&config, text(server.address(), address, database))?;
        // It refuses to run as root, and whoever it runs as has to read this.
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o711))?;
        let mut command = as_user(&child::find_binary(NAME)?);
        command.arg(&config);
        let mut child = Child::spawn(NAME, &command, Ending::Kill, folder)?;
        child.until_ready_blocking(READY_WITHIN, || Ok(TcpStream::connect(address).map(drop)?))?;
        Ok(Self { child, address, database: database.to_owned() })
    }
}

impl Drop for Pgbouncer {
    fn drop(&mut self) {
        self.resume();
    }
}

/// `server_login_retry` has it ask again soon for a server that was away.
fn text(server: SocketAddr, own: SocketAddr, database: &str) -> String {
    format!(
        "[databases]\n\
         {database} = host={} port={} dbname={database} user={USER}\n\
         [pgbouncer]\n\
         listen_addr = {}\n\
         listen_port = {}\n\
         unix_socket_dir =\n\
         auth_type = any\n\
         pool_mode = transaction\n\
         default_pool_size = 8\n\
         server_round_robin = 1\n\
         server_login_retry = 1\n",
        server.ip(),
        server.port(),
        own.ip(),
        own.port(),
    )
}
