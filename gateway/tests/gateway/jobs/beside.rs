//! A gateway that is a process of its own, with a worker beside it: a script, or the real one.

use std::ffi::OsStr;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use rustix::process::Pid;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::until;
use crate::support::wire::Wire;

const GATEWAY: &str = env!("CARGO_BIN_EXE_gateway");

/// A gateway in a folder of its own.
pub(super) struct Beside {
    folder: TempDir,
    pub(super) child: Child,
}

// === impl Beside ===

impl Beside {
    /// With a script for a worker.
    pub(super) fn start(script: &str, arguments: &[&str], env: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().expect("a folder");
        let program = |name: &str, text: &str| {
            let path = folder.path().join(name);
            fs::write(&path, text).expect("written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("it is ours");
        };
        program("transcode-worker", script);
        // Whether there is one decides, and nothing runs it here.
        program("ffmpeg", "");
        program("ffprobe", "");
        let gateway = folder.path().join("gateway");
        if fs::hard_link(GATEWAY, &gateway).is_err() {
            fs::copy(GATEWAY, &gateway).expect("copied");
        }
        let inherited = std::env::var_os("PATH").unwrap_or_default();
        let path = std::iter::once(folder.path().to_owned()).chain(std::env::split_paths(&inherited));
        let path = std::env::join_paths(path).expect("paths");
        Self::run(&gateway, folder, &path, arguments, env)
    }

    /// With the worker that lies beside the gateway's binary, where cargo puts it.
    pub(super) fn with_real_worker(folder: TempDir, env: &[(&str, &str)]) -> Self {
        let worker = Path::new(GATEWAY).with_file_name("transcode-worker");
        let shown = worker.display();
        assert!(
            worker.is_file(),
            "{shown} is not there; run cargo build --workspace, or cargo test --workspace"
        );
        let own = [
            ("SEEKWAY_TRANSCODING", "embedded"),
            ("SEEKWAY_WORKER_ADMIN_LISTEN", "127.0.0.1:0"),
            ("SEEKWAY_QUEUE_POLL", "100ms"),
            ("SEEKWAY_SCRATCH_RESERVE", "0"),
        ];
        let env: Vec<_> = own.iter().chain(env).copied().collect();
        Self::run(Path::new(GATEWAY), folder, &std::env::var_os("PATH").unwrap_or_default(), &[], &env)
    }

    fn run(gateway: &Path, folder: TempDir, path: &OsStr, arguments: &[&str], env: &[(&str, &str)]) -> Self {
        let log = fs::File::create(folder.path().join("log")).expect("a file");
        let child = Command::new(gateway)
            .args(["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--drain-delay=0s"])
            .args(arguments)
            .env_clear()
            .env("PATH", path)
            .env("WITNESS", folder.path())
            .envs(env.iter().copied())
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the gateway runs");
        Self { folder, child }
    }

    pub(super) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Waits until so many workers were started, and says which process the last one is.
    pub(super) async fn nth_worker(&self, nth: usize) -> Pid {
        until("the worker is started", async || {
            let started = self.read("started");
            let pid = started.lines().nth(nth - 1)?.parse().ok()?;
            Pid::from_raw(pid)
        })
        .await
    }

    pub(super) async fn until_logged(&self, words: &str) {
        until(words, async || self.read("log").contains(words).then_some(())).await;
    }

    /// Where it serves: its `address` or `admin_address`.
    pub(super) async fn serving(&self, name: &str) -> SocketAddr {
        let serving = until("it serves", async || {
            let log = self.read("log");
            let line = log.lines().find(|line| line.contains("\"serving\""))?;
            serde_json::from_str::<Value>(line).ok()
        })
        .await;
        serving[name].as_str().expect("text").parse().expect("an address")
    }

    pub(super) async fn metric(&self, line: &str) {
        let address = self.serving("admin_address").await;
        until(line, async || {
            let page = Wire::connect(address).await.ask("GET", "/metrics", &[]).await;
            String::from_utf8_lossy(&page.body).lines().any(|other| other == line).then_some(())
        })
        .await;
    }

    pub(super) async fn ends(&mut self) -> ExitStatus {
        until("it ends", async || self.child.try_wait().expect("it is ours")).await
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // Only a failed test leaves it running; its worker ends with it.
        drop(self.child.kill());
        drop(self.child.wait());
        if std::thread::panicking() {
            println!("the gateway said:\n{}", self.read("log"));
        }
    }
}
