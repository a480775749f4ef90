//! The worker that a gateway runs: here a script beside a gateway's binary, which writes down what it is told.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::support::until;
use crate::support::wire::Wire;

/// Writes its process id, its arguments and its environment, and ends when its stdin does.
const GOOD: &str = "#!/bin/sh
echo $$ >> \"$WITNESS/started\"
echo \"$@\" > \"$WITNESS/arguments\"
env > \"$WITNESS/environment.new\"
mv \"$WITNESS/environment.new\" \"$WITNESS/environment\"
cat > /dev/null
echo ended >> \"$WITNESS/ended\"
";
const WRONG_SETTINGS: &str = "#!/bin/sh
echo $$ >> \"$WITNESS/started\"
exit 64
";

/// A gateway in a folder of its own, with the script beside it.
struct Beside {
    folder: TempDir,
    child: Child,
}

// === impl Beside ===

impl Beside {
    fn start(script: &str, arguments: &[&str], env: &[(&str, &str)]) -> Self {
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
        let built = Path::new(env!("CARGO_BIN_EXE_gateway"));
        if fs::hard_link(built, &gateway).is_err() {
            fs::copy(built, &gateway).expect("copied");
        }
        let path = std::env::join_paths(
            std::iter::once(folder.path().to_owned())
                .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap_or_default())),
        );
        let log = fs::File::create(folder.path().join("log")).expect("a file");
        let child = Command::new(&gateway)
            .args(["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--drain-delay=0s"])
            .args(arguments)
            .env_clear()
            .env("PATH", path.expect("paths"))
            .env("WITNESS", folder.path())
            .envs(env.iter().copied())
            .current_dir(folder.path())
            .stdin(Stdio::null())
            .stderr(log)
            .spawn()
            .expect("the gateway runs");
        Self { folder, child }
    }

    fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Waits until so many workers were started, and says which process the last one is.
    async fn nth_worker(&self, nth: usize) -> Pid {
        until("the worker is started", async || {
            let started = self.read("started");
            let pid = started.lines().nth(nth - 1)?.parse().ok()?;
            Pid::from_raw(pid)
        })
        .await
    }

    async fn until_logged(&self, words: &str) {
        until(words, async || self.read("log").contains(words).then_some(())).await;
    }

    async fn metric(&self, line: &str) {
        let serving = until("it serves", async || {
            let log = self.read("log");
            let line = log.lines().find(|line| line.contains("\"serving\""))?;
            serde_json::from_str::<serde_json::Value>(line).ok()
        })
        .await;
        let address = serving["admin_address"].as_str().expect("text").parse().expect("an address");
        until(line, async || {
            let page = Wire::connect(address).await.ask("GET", "/metrics", &[]).await;
            String::from_utf8_lossy(&page.body).lines().any(|other| other == line).then_some(())
        })
        .await;
    }

    async fn ends(&mut self) -> std::process::ExitStatus {
        until("it ends", async || self.child.try_wait().expect("it is ours")).await
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // Only a failed test leaves it running; its worker ends with it.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

#[tokio::test]
async fn a_worker_is_told_all_kept_running_and_ended() {
    let arguments = ["--database-url=sqlite:other.db", "--local-storage-dir=films", "--log=info"];
    let mut beside = Beside::start(GOOD, &arguments, &[("SEEKWAY_PROFILES", "mine.toml")]);
    let first = beside.nth_worker(1).await;
    until("it has written", async || beside.path("environment").exists().then_some(())).await;
    let environment = beside.read("environment");
    for line in [
        "DATABASE_URL=sqlite:other.db",
        "LOCAL_STORAGE_DIR=films",
        "STORAGE_BACKEND=local",
        "SEEKWAY_LOG=info",
        "SEEKWAY_PROFILES=mine.toml",
    ] {
        assert!(environment.lines().any(|other| other == line), "{line} is not in {environment}");
    }
    assert_eq!(beside.read("arguments").trim(), "--stop-with-stdin");
    beside.metric("seekway_worker_running 1").await;
    kill_process(first, Signal::KILL).expect("it runs");
    let second = beside.nth_worker(2).await;
    assert_ne!(first, second);
    beside.metric("seekway_worker_restarts_total 1").await;
    let gateway = Pid::from_child(&beside.child);
    kill_process(gateway, Signal::TERM).expect("it runs");
    assert_eq!(beside.ends().await.code(), Some(0));
    assert!(kill_process(second, Signal::CONT).is_err(), "it has ended, and nobody has to wait for it");
    assert!(beside.read("log").contains("the worker has stopped"), "{}", beside.read("log"));
}

#[tokio::test]
async fn a_worker_ends_with_a_gateway_that_is_killed() {
    let mut beside = Beside::start(GOOD, &[], &[]);
    beside.nth_worker(1).await;
    beside.until_logged("the worker runs").await;
    beside.child.kill().expect("it is ours");
    beside.ends().await;
    until("the worker hears of it", async || beside.path("ended").exists().then_some(())).await;
}

#[tokio::test]
async fn wrong_settings_of_a_worker_are_told_and_not_tried_at_once() {
    let mut beside = Beside::start(WRONG_SETTINGS, &[], &[]);
    beside.until_logged("the worker's settings are wrong").await;
    assert!(beside.read("log").contains("\"again_in\":\"60s\""), "{}", beside.read("log"));
    beside.metric("seekway_worker_running 0").await;
    assert_eq!(beside.read("started").lines().count(), 1);
    kill_process(Pid::from_child(&beside.child), Signal::TERM).expect("it runs");
    assert_eq!(beside.ends().await.code(), Some(0), "nobody waits for the pause");
}

#[tokio::test]
async fn a_worker_that_is_asked_for_must_be_there() {
    for (arguments, code) in [(&["--transcoding=embedded"][..], Some(64)), (&["--transcoding=auto"], None)] {
        let mut beside = Beside::start(GOOD, arguments, &[("PATH", "/nonexistent")]);
        if code.is_some() {
            assert_eq!(beside.ends().await.code(), code);
            let log = beside.read("log");
            assert!(
                log.contains("SEEKWAY_TRANSCODING") && log.contains("ffmpeg is not on the PATH"),
                "{log}"
            );
        } else {
            beside.until_logged("\"serving\"").await;
            let log = beside.read("log");
            assert!(log.contains("ffmpeg is not on the PATH") && beside.read("started").is_empty(), "{log}");
        }
    }
}
