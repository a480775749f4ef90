//! Gateways and workers as processes, which whoever looks after them starts again when they end.

use std::fs::{self, File, OpenOptions};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use seekway_loadtests::way::Traffic;
use tokio::time::{Instant, sleep};

use crate::servers::{Place, Servers, Ways};

/// As short as it may be in the hands of a busy machine.
pub(crate) const LEASE: Duration = Duration::from_secs(3);
/// The worker whose scratch folder is a disk of its own.
pub(crate) const ON_A_SMALL_DISK: usize = 1;
/// The worker whose clock is wrong.
const SKEWED: usize = 2;
const WORKERS: usize = 3;
const GATEWAYS: usize = 2;
const SMALL_DISK_MIB: u32 = 24;
/// How soon whoever looks after a process starts it again.
const RESTART_AFTER: Duration = Duration::from_millis(300);
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// One rendition of the source's own size, and nothing beside it: most of a job is not ffmpeg.
const PROFILE: &str = "[tiny]\npreset = \"ultrafast\"\nmp4 = false\nposter = false\nstoryboard = false\n\
                       renditions = [{ short_side = 64, crf = 40, max_kbps = 100 }]\naudio = { keep = false }\n";

pub(crate) struct Fleet {
    pub(crate) workers: Vec<Process>,
    pub(crate) gateways: Vec<Process>,
    /// Where each gateway serves.
    pub(crate) addresses: Vec<SocketAddr>,
    /// By how much the clock of one worker is wrong.
    pub(crate) skew: Option<String>,
}

/// A process that is to run.
pub(crate) struct Process {
    pub(crate) name: String,
    command: Command,
    child: Option<Child>,
    start_at: Instant,
    log: PathBuf,
    /// A worker's.
    scratch: PathBuf,
    /// How it ended by itself, with its last words.
    pub(crate) ended: Vec<(ExitStatus, String)>,
}

/// What a worker is at, as its files say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Moment {
    Idle,
    Fetching,
    Probing,
    Transcoding,
    Packaging,
    Publishing,
}

// === impl Fleet ===

impl Fleet {
    /// Starts them, each with ways of its own: those of the workers, then those of the gateways.
    pub(crate) async fn start(servers: &Servers, skew: Option<String>) -> (Self, Vec<Ways>) {
        let folder = servers.folder.path();
        let profiles = folder.join("profiles.toml");
        fs::write(&profiles, PROFILE).expect("writes");
        let mut ways = Vec::new();
        let (mut workers, mut gateways, mut addresses) = (Vec::new(), Vec::new(), Vec::new());
        for nth in 0..WORKERS {
            let way = servers.ways().await;
            let scratch = folder.join(format!("scratch-{nth}"));
            fs::create_dir(&scratch).expect("makes");
            let mut command = worker(nth, &scratch, skew.as_deref());
            command.envs(servers.settings(&way)).env("SEEKWAY_PROFILES", &profiles);
            // A broker is what has workers look; the database tells them nothing where it is SQLite.
            command.env("SEEKWAY_QUEUE_POLL", if servers.broker.is_there() { "5s" } else { "300ms" });
            workers.push(Process::start(format!("worker {nth}"), command, folder, scratch));
            ways.push(way);
        }
        for nth in 0..GATEWAYS {
            let way = servers.ways().await;
            let address = free_address();
            let mut command = gateway(address);
            command.envs(servers.settings(&way));
            gateways.push(Process::start(format!("gateway {nth}"), command, folder, PathBuf::new()));
            addresses.push(address);
            ways.push(way);
        }
        (Self { workers, gateways, addresses, skew }, ways)
    }

    /// Looks after all of them for a while.
    pub(crate) async fn pause(&mut self, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.look_after();
            sleep(LOOK_EVERY.min(until - Instant::now())).await;
        }
    }

    /// Looks after all of them until that is over.
    pub(crate) async fn during<T>(&mut self, what: impl Future<Output = T>) -> T {
        tokio::pin!(what);
        loop {
            tokio::select! {
                done = &mut what => return done,
                () = sleep(LOOK_EVERY) => self.look_after(),
            }
        }
    }

    pub(crate) fn look_after(&mut self) {
        self.all().for_each(Process::look_after);
    }

    pub(crate) fn all(&mut self) -> impl Iterator<Item = &mut Process> {
        self.workers.iter_mut().chain(&mut self.gateways)
    }
}

// === impl Process ===

impl Process {
    fn start(name: String, command: Command, folder: &Path, scratch: PathBuf) -> Self {
        let log = folder.join(format!("{}.log", name.replace(' ', "-")));
        let mut process =
            Self { name, command, child: None, start_at: Instant::now(), log, scratch, ended: Vec::new() };
        process.spawn();
        process
    }

    fn spawn(&mut self) {
        let log = OpenOptions::new().create(true).append(true).open(&self.log).expect("a log");
        let clone = |log: &File| log.try_clone().expect("a log");
        // A worker that is not killed ends with its stdin, and so with the test.
        self.command.stdin(Stdio::piped()).stdout(clone(&log)).stderr(log);
        self.child = Some(self.command.spawn().expect("starts"));
    }

    fn look_after(&mut self) {
        if let Some(child) = &mut self.child
            && let Some(status) = child.try_wait().expect("a child")
        {
            self.ended.push((status, self.log_tail(1)));
            self.child = None;
            self.start_at = Instant::now() + RESTART_AFTER;
        }
        if self.child.is_none() && self.start_at <= Instant::now() {
            self.spawn();
        }
    }

    /// As a power cut does; it is started again a moment later.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("a child");
            child.wait().expect("a child");
            self.start_at = Instant::now() + RESTART_AFTER;
        }
    }

    /// Nothing where it does not run.
    pub(crate) fn signal(&self, signal: Signal) {
        if let Some(child) = &self.child {
            let _ = kill_process(Pid::from_child(child), signal);
        }
    }

    /// What it is at: what its last attempt left, where it does not run.
    pub(crate) fn moment(&self, source_bytes: &[u64]) -> Moment {
        Moment::of(&self.scratch(), source_bytes).unwrap_or(Moment::Idle)
    }

    /// Its scratch folder, where it sees it.
    pub(crate) fn scratch(&self) -> PathBuf {
        match &self.child {
            Some(child) => PathBuf::from(format!("/proc/{}/root{}", child.id(), self.scratch.display())),
            None => self.scratch.clone(),
        }
    }

    /// The last lines of its log.
    pub(crate) fn log_tail(&self, count: usize) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(count)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.signal(Signal::CONT);
        self.kill();
    }
}

// === impl Moment ===

impl Moment {
    pub(crate) const BUSY: [Self; 5] =
        [Self::Fetching, Self::Probing, Self::Transcoding, Self::Packaging, Self::Publishing];

    /// By the files of the attempt that has some; `None` where there is none.
    fn of(scratch: &Path, source_bytes: &[u64]) -> Option<Self> {
        let is_attempt = |entry: &fs::DirEntry| entry.file_name().as_encoded_bytes().starts_with(b"attempt-");
        let folder = fs::read_dir(scratch).ok()?.flatten().find(is_attempt)?.path();
        let has_files =
            |name: &str| fs::read_dir(folder.join(name)).is_ok_and(|mut files| files.next().is_some());
        let fetched = fs::metadata(folder.join("in/source")).map_or(0, |source| source.len());
        Some(match () {
            () if folder.join("out/receipt.json").exists() => Self::Publishing,
            () if has_files("out") => Self::Packaging,
            () if has_files("encoded") => Self::Transcoding,
            () if source_bytes.contains(&fetched) => Self::Probing,
            () => Self::Fetching,
        })
    }
}

fn worker(nth: usize, scratch: &Path, skew: Option<&str>) -> Command {
    let program = env!("CARGO_BIN_EXE_transcode-worker");
    let mut command = if nth == ON_A_SMALL_DISK {
        let mut inside = with_us("unshare");
        inside.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
        inside.arg("mount -t tmpfs -o size=$1m tmpfs \"$2\" && exec \"$3\"").arg("sh");
        inside.arg(SMALL_DISK_MIB.to_string()).arg(scratch).arg(program);
        inside
    } else {
        with_us(program)
    };
    clean(&mut command);
    if let (SKEWED, Some(skew)) = (nth, skew) {
        command.env("LD_PRELOAD", faketime()).env("FAKETIME", skew);
        // No clock of any machine can be set so far that time itself goes another way.
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1").env("DONT_FAKE_MONOTONIC", "1");
    }
    command
        .env("SEEKWAY_SCRATCH_DIR", scratch)
        .env("SEEKWAY_SCRATCH_RESERVE", "0")
        .env("SEEKWAY_WORKER_ADMIN_LISTEN", "127.0.0.1:0")
        .env("SEEKWAY_WORKER_LEASE", format!("{}s", LEASE.as_secs()))
        .env("SEEKWAY_WORKER_STOP_WITH_STDIN", "on")
        .env("SEEKWAY_QUEUE_SWEEP", "2s")
        .env("SEEKWAY_LOG", "info");
    command
}

fn gateway(address: SocketAddr) -> Command {
    let program = Path::new(env!("CARGO_BIN_EXE_transcode-worker")).with_file_name("gateway");
    is_fresh(&program);
    let mut command = with_us(program);
    clean(&mut command);
    command
        .env("SEEKWAY_LISTEN", address.to_string())
        .env("SEEKWAY_ADMIN_LISTEN", "127.0.0.1:0")
        .env("SEEKWAY_ACCESS_LOG", "off")
        .env("SEEKWAY_UPLOADS", "on")
        .env("SEEKWAY_ACCOUNTS", "off")
        .env("SEEKWAY_TRANSCODING", "external")
        .env("SEEKWAY_TRANSCODING_PROFILE", "tiny")
        .env("SEEKWAY_LEFTOVERS_GRACE", "2s")
        .env("SEEKWAY_UPLOAD_EXPIRY", "10s")
        .env("SEEKWAY_QUEUE_SWEEP", "2s")
        .env("SEEKWAY_DRAIN_DELAY", "0s")
        .env("SEEKWAY_LOG", "info");
    command
}

/// Another package's program is built by `cargo build --workspace` and `cargo test --workspace`, and not for this test alone: an
/// old one would be tried, and blamed.
fn is_fresh(program: &Path) {
    let built = fs::metadata(program).and_then(|program| program.modified());
    let built = built.unwrap_or_else(|_| panic!("{} is missing: cargo build --workspace", program.display()));
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut folders: Vec<_> = ["cache", "catalog", "gateway", "queue", "settings", "storage"]
        .map(|package| root.join(package).join("src"))
        .into();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).expect("reads").flatten() {
            let (path, metadata) = (entry.path(), entry.metadata().expect("it is there"));
            if metadata.is_dir() {
                folders.push(path);
            } else {
                let is_older = metadata.modified().expect("a time") > built;
                let program = program.display();
                assert!(!is_older, "{program} is older than {}: cargo build --workspace", path.display());
            }
        }
    }
}

/// It is killed with the thread that starts it, which is the test's.
fn with_us(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "--"]).arg(program);
    command
}

/// Nothing of the tester's environment.
fn clean(command: &mut Command) {
    command.env_clear().env("PATH", std::env::var_os("PATH").expect("there is one"));
}

fn faketime() -> PathBuf {
    let libraries = fs::read_dir("/usr/lib").expect("reads").flatten();
    let mut places = libraries.map(|entry| entry.path().join("faketime/libfaketime.so.1"));
    places.find(|place| place.is_file()).expect("scripts/setup test installs libfaketime")
}

/// One that nobody listens on now.
fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("binds");
    listener.local_addr().expect("bound")
}

/// All ways of all processes, or one process's.
pub(crate) fn set(ways: &[Ways], of: Option<usize>, place: Place, traffic: Traffic) {
    let chosen = ways.iter().enumerate().filter(|(nth, _)| of.is_none_or(|of| of == *nth));
    chosen.for_each(|(_, ways)| ways.set(place, traffic));
}
