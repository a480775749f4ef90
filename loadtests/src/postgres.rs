//! A real PostgreSQL for tests: a cluster of its own in a temporary folder, on a free loopback port, for everybody who
//! can connect. It can be paused, killed and started again with its data, as a fault test needs.
//!
//! Debian keeps its binaries off `PATH`. A server refuses to run as root, so under root it runs as Debian's `postgres`.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, chown},
    path::{Path, PathBuf},
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Signal, geteuid};

use crate::{
    Error,
    child::{self, Attempts, Child, Ending},
};

const NAME: &str = "postgres";
const VERSIONS: &str = "/usr/lib/postgresql";
/// Who runs it where we are root, and who owns every database.
pub(crate) const USER: &str = "postgres";
/// In its data folder.
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const READY_WITHIN: Duration = Duration::from_secs(30);
/// After this a process whose server has been killed has ended, too.
const NOTICED_WITHIN: Duration = Duration::from_millis(200);

/// One running server. Dropping it ends it.
#[derive(Debug)]
pub struct Postgres {
    child: Child,
    binaries: PathBuf,
    address: SocketAddr,
    /// What has the server speak TLS.
    has_tls: bool,
}

// === impl Postgres ===

impl Postgres {
    /// Makes a cluster that a power cut would lose, and starts a server for it.
    ///
    /// # Errors
    /// When PostgreSQL is not installed, or does not come up.
    pub fn start() -> Result<Self, Error> {
        Self::start_with(false)
    }

    /// The same with TLS, as 127.0.0.1, by a certificate that only [`certificate`](Self::certificate) proves.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with_tls() -> Result<Self, Error> {
        Self::start_with(true)
    }

    fn start_with(has_tls: bool) -> Result<Self, Error> {
        let mut attempts = Attempts::default();
        loop {
            let outcome = Self::start_once(has_tls);
            if !attempts.another(&outcome) {
                return outcome;
            }
        }
    }

    /// Makes an empty database, and returns its URL.
    ///
    /// # Errors
    /// When there is one of that name.
    pub fn database(&self, name: &str) -> Result<String, Error> {
        self.client("createdb", &[name])?;
        Ok(format!("postgres://{USER}@{}/{name}", self.address))
    }

    /// The certificate that it shows, if it speaks TLS: a PEM file.
    pub fn certificate(&self) -> PathBuf {
        data(self.child.folder()).join(CERTIFICATE)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Stops it in its tracks, with every connection to it: they stay open, and nothing answers.
    pub fn pause(&self) {
        self.signal_all(Signal::STOP);
    }

    /// Lets a paused server go on.
    pub fn resume(&self) {
        self.signal_all(Signal::CONT);
    }

    /// Ends it at once with every connection to it, as a crash does. Its data stays.
    pub fn kill(&mut self) {
        self.signal_all(Signal::KILL);
        self.child.end().expect("a child of ours can be killed and waited for");
    }

    /// Starts it again on the same port, with its data.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.kill();
        let mut attempts = Attempts::default();
        loop {
            self.child.respawn(&server(&self.binaries, self.address, self.child.folder(), self.has_tls))?;
            let outcome = self.wait_until_ready();
            if !attempts.another(&outcome) {
                return outcome;
            }
            // A connection that was just beginning when the others were killed notices by itself, and holds the port
            // or the shared memory until then.
            thread::sleep(NOTICED_WITHIN);
        }
    }

    fn start_once(has_tls: bool) -> Result<Self, Error> {
        let binaries = binaries()?;
        let folder = child::folder("postgres")?;
        make_cluster(&binaries, folder.path())?;
        if has_tls {
            make_certificate(&data(folder.path()))?;
        }
        let [address] = child::free_addresses()?;
        let command = server(&binaries, address, folder.path(), has_tls);
        let child = Child::spawn(NAME, &command, Ending::Kill, folder)?;
        let mut server = Self { child, binaries, address, has_tls };
        server.wait_until_ready()?;
        Ok(server)
    }

    fn wait_until_ready(&mut self) -> Result<(), Error> {
        let (binaries, address) = (self.binaries.clone(), self.address);
        self.child
            .until_ready_blocking(READY_WITHIN, || client(&binaries, address, "pg_isready", &[]).map(drop))
    }

    fn client(&self, program: &str, arguments: &[&str]) -> Result<Output, Error> {
        client(&self.binaries, self.address, program, arguments)
    }

    /// Sends a signal to the server, and then to the processes that it started.
    fn signal_all(&self, signal: Signal) {
        // Listed while the server still is their parent.
        let connections = children(self.child.pid());
        // What has ended already needs no signal.
        drop(self.child.signal(signal));
        for pid in connections {
            let _ = rustix::process::kill_process(pid, signal);
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        self.resume();
        // "Immediate shutdown": unlike SIGKILL it takes its shared memory with it.
        drop(self.child.signal(Signal::QUIT));
        let asked = Instant::now();
        while matches!(self.child.try_wait(), Ok(None)) && asked.elapsed() < Duration::from_secs(5) {
            thread::sleep(child::POLL);
        }
    }
}

/// The newest version that Debian has installed.
fn binaries() -> Result<PathBuf, Error> {
    let versions =
        fs::read_dir(VERSIONS).into_iter().flatten().flatten().map(|entry| entry.path().join("bin"));
    let found = versions.filter(|folder| folder.join(NAME).is_file());
    found
        .max_by_key(|folder| {
            folder
                .parent()
                .and_then(Path::file_name)
                .and_then(|name| name.to_str()?.parse().ok())
                .unwrap_or(0_u32)
        })
        .ok_or_else(|| Error::MissingBinary { name: NAME, looked_at: format!("{VERSIONS}/*/bin") })
}

/// A key that others can read is refused, so both files belong to whoever has the folder.
fn make_certificate(data: &Path) -> Result<(), Error> {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("an address is a name");
    let owner = fs::metadata(data)?;
    for (name, text) in [(CERTIFICATE, made.cert.pem()), (KEY, made.signing_key.serialize_pem())] {
        let path = data.join(name);
        child::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        chown(&path, Some(owner.uid()), Some(owner.gid()))?;
    }
    Ok(())
}

fn make_cluster(binaries: &Path, folder: &Path) -> Result<(), Error> {
    let data = data(folder);
    fs::create_dir(&data)?;
    if geteuid().is_root() {
        // The server has to get through to its data.
        fs::set_permissions(folder, fs::Permissions::from_mode(0o711))?;
        let id = |which| -> Result<u32, Error> {
            let output = run(Command::new("id").args([which, USER]))?;
            let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
            text.parse()
                .map_err(|_| Error::UnexpectedAnswer { request: format!("id {which} {USER}"), answer: text })
        };
        chown(&data, Some(id("-u")?), Some(id("-g")?))?;
    }
    let mut initdb = as_user(&binaries.join("initdb"));
    initdb.args([
        "--auth=trust",
        "--username",
        USER,
        "--encoding=UTF8",
        "--no-locale",
        "--no-sync",
        "--pgdata",
    ]);
    run(initdb.arg(&data).current_dir(folder)).map(drop)
}

fn server(binaries: &Path, address: SocketAddr, folder: &Path, has_tls: bool) -> Command {
    let mut command = as_user(&binaries.join(NAME));
    command.arg("-D").arg(data(folder));
    let settings = [
        format!("listen_addresses={}", address.ip()),
        format!("port={}", address.port()),
        "unix_socket_directories=".to_owned(),
        "max_connections=200".to_owned(),
        // It outlives kill -9, not a power cut.
        "fsync=off".to_owned(),
        "full_page_writes=off".to_owned(),
        format!("ssl={}", if has_tls { "on" } else { "off" }),
        format!("ssl_cert_file={CERTIFICATE}"),
        format!("ssl_key_file={KEY}"),
    ];
    for setting in settings {
        command.args(["-c", &setting]);
    }
    command
}

/// `program` as somebody who is not root. It still ends with us: another user's process forgets that otherwise.
pub(crate) fn as_user(program: &Path) -> Command {
    if !geteuid().is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", USER, "--regid", USER, "--clear-groups", "--pdeathsig", "KILL", "--"])
        .arg(program);
    command
}

fn data(folder: &Path) -> PathBuf {
    folder.join("data")
}

fn client(binaries: &Path, address: SocketAddr, program: &str, arguments: &[&str]) -> Result<Output, Error> {
    let mut command = Command::new(binaries.join(program));
    command.args(["-h", &Ipv4Addr::LOCALHOST.to_string(), "-p", &address.port().to_string(), "-U", USER]);
    run(command.args(arguments))
}

fn run(command: &mut Command) -> Result<Output, Error> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(output);
    }
    let answer = [output.stdout, output.stderr].concat();
    let request = command.get_program().to_string_lossy().into_owned();
    Err(Error::UnexpectedAnswer { request, answer: String::from_utf8_lossy(&answer).into_owned() })
}

/// The processes that `parent` has started.
fn children(parent: u32) -> Vec<rustix::process::Pid> {
    let path = format!("/proc/{parent}/task/{parent}/children");
    let pids = fs::read_to_string(path).unwrap_or_default();
    pids.split_whitespace().filter_map(|pid| rustix::process::Pid::from_raw(pid.parse().ok()?)).collect()
}
