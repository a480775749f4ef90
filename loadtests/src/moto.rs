//! A real SQS API for tests: moto's server, on a free loopback port. What it has it has in memory, so that a restart loses it.

use std::{
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use rustix::process::Signal;

use crate::{
    Error,
    child::{self, Attempts, Child, Ending},
};

const NAME: &str = "moto_server";
/// Where scripts/setup puts it.
const PLACE: &str = ".tools/moto/bin";
const READY_WITHIN: Duration = Duration::from_mins(1);
/// The account of whoever asks.
const ACCOUNT: &str = "123456789012";

/// One running server. Dropping it ends it.
#[derive(Debug)]
pub struct Moto {
    child: Child,
    address: SocketAddr,
}

// === impl Moto ===

impl Moto {
    /// Starts an empty one.
    ///
    /// # Errors
    /// When moto is not installed, or does not come up.
    pub fn start() -> Result<Self, Error> {
        let mut attempts = Attempts::default();
        loop {
            let outcome = Self::start_once();
            if !attempts.another(&outcome) {
                return outcome;
            }
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// A queue's URL.
    pub fn queue(&self, name: &str) -> String {
        format!("http://{}/{ACCOUNT}/{name}", self.address)
    }

    /// Stops it in its tracks: connections stay open, and nothing answers.
    pub fn pause(&self) {
        drop(self.child.signal(Signal::STOP));
    }

    /// Lets a paused one go on.
    pub fn resume(&self) {
        drop(self.child.signal(Signal::CONT));
    }

    /// Starts it again on the same port, with nothing.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.child.end()?;
        self.child.respawn(&command(self.address)?)?;
        self.wait_until_ready()
    }

    fn start_once() -> Result<Self, Error> {
        let [address] = child::free_addresses()?;
        let child = Child::spawn(NAME, &command(address)?, Ending::Kill, child::folder("moto")?)?;
        let mut server = Self { child, address };
        server.wait_until_ready()?;
        Ok(server)
    }

    fn wait_until_ready(&mut self) -> Result<(), Error> {
        let address = self.address;
        self.child.until_ready_blocking(READY_WITHIN, || Ok(TcpStream::connect(address).map(drop)?))
    }
}

fn command(address: SocketAddr) -> Result<Command, Error> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let place: PathBuf = root.join(PLACE).join(NAME);
    if !place.is_file() {
        let looked_at = format!("{}; scripts/setup test installs it", place.display());
        return Err(Error::MissingBinary { name: NAME, looked_at });
    }
    let mut command = Command::new(place);
    command.args(["-H", &address.ip().to_string(), "-p", &address.port().to_string()]);
    Ok(command)
}
