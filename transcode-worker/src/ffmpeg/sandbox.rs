//! What stands between a file that somebody uploaded and the machine: limits, an own process, and nothing to reach.
//!
//! `transcode-worker sandbox … -- PROGRAM …` gives up what it does not need and then becomes the program. A process that
//! does this to itself needs no privileges, and nothing of it is left in the worker.
//!
//! - Landlock (Linux 5.13): it reads system libraries and its folder, and writes below its folder only; since 6.7 it
//!   opens no TCP connection. Where the kernel has none of it, ffmpeg's own lists of formats and protocols remain.
//! - A network namespace without a network, where an unprivileged process may make one.
//! - Limits of memory, of processor time and of the size of a file; it ends with whoever started it.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, CompatLevel, Compatible as _, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, path_beneath_rules,
};
use rustix::process::{Resource, Rlimit, Signal, getppid, set_parent_process_death_signal, setrlimit};

use super::Bounds;

/// The program was not run, because the sandbox could not be built.
pub const EXIT_REFUSED: u8 = 125;

/// Gives up what PROGRAM does not need, and becomes it.
#[derive(Debug, clap::Args)]
pub struct Sandbox {
    /// The only folder that it may write to
    #[arg(long)]
    folder: PathBuf,
    /// Bytes of addresses
    #[arg(long)]
    memory_bytes: u64,
    /// Bytes of one file
    #[arg(long)]
    file_bytes: u64,
    /// Seconds of processor time
    #[arg(long)]
    cpu_seconds: u64,
    /// The process with which it ends
    #[arg(long)]
    parent: i32,
    /// The program and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<OsString>,
}

/// What is read by any program that is linked dynamically.
const READABLE: [&str; 7] =
    ["/usr", "/lib", "/lib64", "/bin", "/etc/ld.so.cache", "/etc/alternatives", "/nix/store"];
/// What programs open without asking.
const DEVICES: [&str; 3] = ["/dev/null", "/dev/zero", "/dev/urandom"];
/// The newest of which this knows all: files, and TCP.
const KNOWN: ABI = ABI::V5;

/// The arguments that stand before the program's.
pub(super) fn arguments(folder: &Path, bounds: &Bounds) -> Vec<OsString> {
    let number = |number: u64| OsString::from(number.to_string());
    vec![
        "sandbox".into(),
        "--folder".into(),
        folder.into(),
        "--memory-bytes".into(),
        number(bounds.memory_bytes),
        "--file-bytes".into(),
        number(bounds.folder_bytes),
        "--cpu-seconds".into(),
        number(bounds.wall.as_secs().max(1).saturating_mul(processors())),
        "--parent".into(),
        number(std::process::id().into()),
        "--".into(),
    ]
}

/// All of which it may use until its time is over.
fn processors() -> u64 {
    std::thread::available_parallelism().map_or(1, |count| count.get() as u64)
}

// === impl Sandbox ===

impl Sandbox {
    /// Becomes the program, or says why not.
    pub fn enter(self) -> ExitCode {
        let refused = match self.give_up() {
            Ok(()) => {
                let (program, args) = self.command.split_first().expect("clap wants a program");
                format!("{}: {}", program.display(), Command::new(program).args(args).exec())
            }
            Err(error) => format!("the sandbox cannot be built: {error}"),
        };
        eprintln!("{refused}");
        ExitCode::from(EXIT_REFUSED)
    }

    fn give_up(&self) -> io::Result<()> {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // It may have ended before that was asked for.
        if getppid().map(|parent| parent.as_raw_nonzero().get()) != Some(self.parent) {
            return Err(io::Error::other("whoever started it has ended"));
        }
        for (resource, most) in [
            (Resource::As, self.memory_bytes),
            (Resource::Fsize, self.file_bytes),
            (Resource::Cpu, self.cpu_seconds),
            (Resource::Core, 0),
            (Resource::Nofile, 256),
        ] {
            setrlimit(resource, Rlimit { current: Some(most), maximum: Some(most) })?;
        }
        leave_the_network();
        self.leave_the_files().map_err(io::Error::other)
    }

    fn leave_the_files(&self) -> Result<(), RulesetError> {
        Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(KNOWN))?
            .handle_access(AccessNet::from_all(KNOWN))?
            .create()?
            .add_rules(path_beneath_rules(READABLE, AccessFs::from_read(KNOWN)))?
            .add_rules(path_beneath_rules(DEVICES, AccessFs::from_file(KNOWN)))?
            .add_rules(path_beneath_rules([&self.folder], AccessFs::from_all(KNOWN)))?
            .restrict_self()
            .map(drop)
    }
}

/// Into a network namespace of its own, where that may be done: containers often forbid it.
#[allow(unsafe_code)]
fn leave_the_network() {
    use rustix::thread::{UnshareFlags, unshare_unsafe};
    // SAFETY: what is not safe about it is to stop sharing descriptors with other threads; these flags do not, and there
    // is one thread.
    let _ = unsafe { unshare_unsafe(UnshareFlags::NEWUSER | UnshareFlags::NEWNET) };
}
