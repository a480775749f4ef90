//! A server as a child process: the one place that starts one, waits for it, and ends it.
//!
//! Each has a temporary folder, which is its working folder, holds its log, and goes with it. A server also ends with
//! the thread that started it (`setpriv --pdeathsig`), so that thread should be the main one or a test's.

use std::{
    fs::{self, OpenOptions},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::process::CommandExt as _,
    path::{Path, PathBuf},
    process::{self, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::Error;

/// Between two looks at whether it is ready.
pub(crate) const POLL: Duration = Duration::from_millis(10);
/// One that has been asked to end, and has nothing left to do, ends within this.
const ENDED_WITHIN: Duration = Duration::from_secs(5);
const START_ATTEMPTS: usize = 5;
const LOG: &str = "log";
/// Debian and its like mount a tmpfs there.
const TMPFS: &str = "/dev/shm";

/// How a child is ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// With SIGTERM, and after some seconds with SIGKILL.
    Terminate,
    /// With SIGKILL: it has nothing to lose.
    Kill,
    /// By closing its standard input, also when our process dies. It is not bound to the thread that started it.
    CloseInput,
}

/// A running child. Dropping it ends it.
#[derive(Debug)]
pub(crate) struct Child {
    name: &'static str,
    process: process::Child,
    ending: Ending,
    folder: TempDir,
}

/// How often a server has been started on ports that were free a moment before.
///
/// Another process can take a port between our choice and the server's bind, and then the server ends.
#[derive(Debug, Default)]
pub(crate) struct Attempts(usize);

// === impl Child ===

impl Child {
    /// Starts `command` in `folder`. What it prints goes to the log there.
    pub(crate) fn spawn(
        name: &'static str,
        command: &Command,
        ending: Ending,
        folder: TempDir,
    ) -> Result<Self, Error> {
        let process = spawn(command, ending, folder.path())?;
        Ok(Self { name, process, ending, folder })
    }

    /// Starts another one in the place of one that has ended.
    pub(crate) fn respawn(&mut self, command: &Command) -> Result<(), Error> {
        self.process = spawn(command, self.ending, self.folder.path())?;
        Ok(())
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.id()
    }

    /// Its folder.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The last lines that it wrote.
    pub(crate) fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.folder().join(LOG)).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Waits until `probe` finds it ready.
    pub(crate) async fn until_ready(
        &mut self,
        within: Duration,
        mut probe: impl AsyncFnMut() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let started = Instant::now();
        while let Err(error) = probe().await {
            self.is_still_starting(started, within, &error)?;
            tokio::time::sleep(POLL).await;
        }
        Ok(())
    }

    /// The same on this thread.
    pub(crate) fn until_ready_blocking(
        &mut self,
        within: Duration,
        mut probe: impl FnMut() -> Result<(), Error>,
    ) -> Result<(), Error> {
        let started = Instant::now();
        while let Err(error) = probe() {
            self.is_still_starting(started, within, &error)?;
            thread::sleep(POLL);
        }
        Ok(())
    }

    /// An error when it has ended, or when its time is over.
    fn is_still_starting(
        &mut self,
        started: Instant,
        within: Duration,
        last_error: &Error,
    ) -> Result<(), Error> {
        let name = self.name;
        if let Some(status) = self.process.try_wait()? {
            return Err(Error::ChildEnded { name, status, log: self.log_tail() });
        }
        let waited = started.elapsed();
        if waited > within {
            return Err(Error::NotReady { name, waited, last: last_error.to_string(), log: self.log_tail() });
        }
        Ok(())
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Error> {
        Ok(kill_process(Pid::from_child(&self.process), signal).map_err(std::io::Error::from)?)
    }

    /// How it ended, if it has.
    pub(crate) fn try_wait(&mut self) -> Result<Option<ExitStatus>, Error> {
        Ok(self.process.try_wait()?)
    }

    /// Ends it, and returns when it is gone. It may have ended already.
    pub(crate) fn end(&mut self) -> Result<(), Error> {
        if self.try_wait()?.is_some() {
            return Ok(());
        }
        match self.ending {
            Ending::Terminate => {
                let asked = Instant::now();
                self.signal(Signal::TERM)?;
                while asked.elapsed() < ENDED_WITHIN {
                    if self.try_wait()?.is_some() {
                        return Ok(());
                    }
                    thread::sleep(POLL);
                }
                self.process.kill()?;
            }
            Ending::Kill => self.process.kill()?,
            Ending::CloseInput => drop(self.process.stdin.take()),
        }
        self.process.wait()?;
        Ok(())
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // What cannot be ended cannot be reported here either; it ends with this thread.
        drop(self.end());
    }
}

// === impl Attempts ===

impl Attempts {
    /// Whether a start that came to this may come to something else on other ports.
    pub(crate) fn another<T>(&mut self, outcome: &Result<T, Error>) -> bool {
        self.0 += 1;
        matches!(outcome, Err(Error::ChildEnded { .. })) && self.0 < START_ATTEMPTS
    }
}

/// Addresses that nobody listens on now. They are held together, so they differ.
pub(crate) fn free_addresses<const COUNT: usize>() -> Result<[SocketAddr; COUNT], Error> {
    let mut listeners = Vec::new();
    let mut addresses = [SocketAddr::from((Ipv4Addr::LOCALHOST, 0)); COUNT];
    for address in &mut addresses {
        let listener = TcpListener::bind(*address)?;
        *address = listener.local_addr()?;
        listeners.push(listener);
    }
    Ok(addresses)
}

/// On `PATH`, or where Debian puts what only root needs, which is not on everybody's.
pub(crate) fn find_binary(name: &'static str) -> Result<PathBuf, Error> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let mut binaries = folders.map(|folder| folder.join(name));
    binaries
        .find(|binary| binary.is_file())
        .ok_or(Error::MissingBinary { name, looked_at: "PATH and /usr/sbin".to_owned() })
}

/// A temporary folder whose name says whose it is.
pub(crate) fn folder(name: &str) -> Result<TempDir, Error> {
    Ok(tempfile::Builder::new().prefix(&format!("seekway-{name}-")).tempdir()?)
}

/// The same on a tmpfs, so that nobody is measured by a disk; among the other temporary files where there is none.
pub(crate) fn folder_in_memory(name: &str) -> Result<TempDir, Error> {
    let parent = Path::new(TMPFS);
    if !parent.is_dir() {
        return folder(name);
    }
    let folder = tempfile::Builder::new().prefix(&format!("seekway-{name}-")).tempdir_in(parent);
    folder.map_err(|source| Error::File { path: parent.to_owned(), source })
}

/// Writes a file, such as a server's configuration.
pub(crate) fn write(path: &Path, text: impl AsRef<[u8]>) -> Result<(), Error> {
    fs::write(path, text).map_err(|source| Error::File { path: path.to_owned(), source })
}

fn spawn(command: &Command, ending: Ending, folder: &Path) -> Result<process::Child, Error> {
    let path = folder.join(LOG);
    // Appending, because some servers write the same log by themselves.
    let log = OpenOptions::new().create(true).append(true).open(&path);
    let log = log.map_err(|source| Error::File { path, source })?;
    let with_us = |signal| {
        let mut child = Command::new("setpriv");
        child.args(["--pdeathsig", signal, "--"]).arg(command.get_program()).stdin(Stdio::null());
        child
    };
    let mut child = match ending {
        Ending::Terminate => with_us("TERM"),
        Ending::Kill => with_us("KILL"),
        Ending::CloseInput => {
            let mut child = Command::new(command.get_program());
            child.stdin(Stdio::piped());
            child
        }
    };
    child.args(command.get_args());
    // Nothing of the tester's environment: a REDIS_URL there would make cold reads warm, and an AWS_ACCESS_KEY_ID
    // would become one more administrator.
    child.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", folder);
    for (name, value) in command.get_envs() {
        child.env(name, value.unwrap_or_default());
    }
    // Ctrl-C is for us; we tell the server.
    child.current_dir(folder).process_group(0).stdout(log.try_clone()?).stderr(log);
    Ok(child.spawn()?)
}
