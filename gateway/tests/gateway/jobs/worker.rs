//! The worker that a gateway runs: here a script beside a gateway's binary, which writes down what it is told.

use rustix::process::{Pid, Signal, kill_process};

use super::beside::Beside;
use crate::support::until;

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
