//! A real `RabbitMQ` for tests: a node of its own with an epmd of its own, on free loopback ports, in a temporary folder. It
//! can be paused, killed and started again with or without its data.
//!
//! Debian's wrapper insists on its own user and folders, so the script below it is what runs here.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    time::Duration,
};

use rustix::process::Signal;

use crate::{
    Error,
    child::{self, Attempts, Child, Ending},
};

const NAME: &str = "rabbitmq-server";
const EPMD: &str = "epmd";
const SCRIPT: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
const CONTROL: &str = "/usr/lib/rabbitmq/bin/rabbitmqctl";
const DATA: &str = "data";
const READY_WITHIN: Duration = Duration::from_mins(2);

/// One running broker. Dropping it ends it.
#[derive(Debug)]
pub struct RabbitMq {
    // It ends before the epmd that it is known to.
    child: Child,
    _epmd: Child,
    ports: [SocketAddr; 3],
}

// === impl RabbitMq ===

impl RabbitMq {
    /// Starts an empty broker.
    ///
    /// # Errors
    /// When `RabbitMQ` is not installed, or does not come up.
    pub fn start() -> Result<Self, Error> {
        Self::start_with("")
    }

    /// The same, which shows a certificate on one more port: it, and where that is.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with_tls(certificate: &Path, key: &Path) -> Result<(Self, SocketAddr), Error> {
        let tls = child::free_addresses::<1>()?[0];
        let (certificate, key) = (certificate.display(), key.display());
        let server = Self::start_with(&format!(
            "listeners.ssl.1 = {tls}\nssl_options.cacertfile = {certificate}\nssl_options.certfile = {certificate}\n\
             ssl_options.keyfile = {key}\nssl_options.verify = verify_none\n"
        ))?;
        Ok((server, tls))
    }

    fn start_with(more: &str) -> Result<Self, Error> {
        let mut attempts = Attempts::default();
        loop {
            let outcome = Self::start_once(more);
            if !attempts.another(&outcome) {
                return outcome;
            }
        }
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@{}", self.ports[0])
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.ports[0]
    }

    /// What `rabbitmqctl` answers to these words.
    ///
    /// # Errors
    /// When it does not do it.
    pub fn control(&self, words: &[&str]) -> Result<String, Error> {
        let mut control = Command::new(CONTROL);
        environment(&mut control, self.ports, self.child.folder());
        let output = control.args(words).output()?;
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if output.status.success() {
            return Ok(said);
        }
        Err(std::io::Error::other(format!("{CONTROL} {words:?}: {said}")).into())
    }

    /// Stops it in its tracks: connections stay open, and nothing answers.
    pub fn pause(&self) {
        drop(self.child.signal(Signal::STOP));
    }

    /// Lets a paused broker go on.
    pub fn resume(&self) {
        drop(self.child.signal(Signal::CONT));
    }

    /// Starts it again on the same port, as after a crash, with its data.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.child.end()?;
        self.child.respawn(&command(self.ports, self.child.folder()))?;
        self.wait_until_ready()
    }

    /// The same without its data.
    ///
    /// # Errors
    /// As [`restart`](Self::restart).
    pub fn restart_empty(&mut self) -> Result<(), Error> {
        self.child.end()?;
        fs::remove_dir_all(self.child.folder().join(DATA))?;
        self.restart()
    }

    fn start_once(more: &str) -> Result<Self, Error> {
        if !Path::new(SCRIPT).is_file() {
            return Err(Error::MissingBinary { name: NAME, looked_at: SCRIPT.to_owned() });
        }
        let ports: [SocketAddr; 3] = child::free_addresses()?;
        let mut epmd = Command::new(child::find_binary(EPMD)?);
        epmd.args(["-address", "127.0.0.1", "-port", &ports[2].port().to_string()]);
        let epmd = Child::spawn(EPMD, &epmd, Ending::Kill, child::folder(EPMD)?)?;
        let folder = child::folder("rabbitmq")?;
        let config =
            format!("listeners.tcp.1 = {}\nlog.console = true\nlog.console.level = warning\n", ports[0]);
        child::write(&folder.path().join("rabbitmq.conf"), config + more)?;
        child::write(&folder.path().join("plugins"), "[].")?;
        let command = command(ports, folder.path());
        let child = Child::spawn(NAME, &command, Ending::Kill, folder)?;
        let mut server = Self { child, _epmd: epmd, ports };
        server.wait_until_ready()?;
        Ok(server)
    }

    fn wait_until_ready(&mut self) -> Result<(), Error> {
        let address = self.ports[0];
        self.child.until_ready_blocking(READY_WITHIN, || {
            let mut connection = TcpStream::connect(address)?;
            connection.set_read_timeout(Some(Duration::from_secs(5)))?;
            connection.write_all(b"AMQP\x00\x00\x09\x01")?;
            // It answers with `connection.start`, a frame of a method.
            let mut first = [0];
            Ok(connection.read_exact(&mut first)?)
        })
    }
}

fn command(ports: [SocketAddr; 3], folder: &Path) -> Command {
    let mut command = Command::new(SCRIPT);
    environment(&mut command, ports, folder);
    command
}

/// Which node it is about, and where all of it is.
fn environment(command: &mut Command, ports: [SocketAddr; 3], folder: &Path) {
    let [amqp, distribution, epmd] = ports.map(|address| address.port());
    let place = |name: &str| folder.join(name).into_os_string();
    command
        // With a cookie of its own.
        .env("HOME", folder)
        .env("RABBITMQ_NODENAME", format!("seekway-{amqp}@localhost"))
        .env("RABBITMQ_MNESIA_BASE", place(DATA))
        .env("RABBITMQ_LOG_BASE", place("logs"))
        .env("RABBITMQ_LOGS", "-")
        .env("RABBITMQ_CONFIG_FILE", place("rabbitmq.conf"))
        .env("RABBITMQ_ENABLED_PLUGINS_FILE", place("plugins"))
        .env("RABBITMQ_PID_FILE", place("pid"))
        .env("RABBITMQ_CONF_ENV_FILE", place("none"))
        .env("RABBITMQ_DIST_PORT", distribution.to_string())
        .env("ERL_EPMD_ADDRESS", "127.0.0.1")
        .env("ERL_EPMD_PORT", epmd.to_string())
        .env("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", "-start_epmd false")
        // The script becomes the broker, instead of standing before it.
        .env("RUNNING_UNDER_SYSTEMD", "true");
}
