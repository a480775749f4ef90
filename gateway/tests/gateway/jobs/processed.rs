//! What the real worker makes, in a real browser.

use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::beside::Beside;
use super::console::ffmpeg;
use crate::support::path_text;
use crate::support::tools::{root, run};

/// Three renditions, quickly made.
const PROFILES: &str = r#"
[small]
preset = "ultrafast"
renditions = [
  { short_side = 360, crf = 26, max_kbps = 800 },
  { short_side = 240, crf = 28, max_kbps = 400 },
  { short_side = 144, crf = 30, max_kbps = 200 },
]
"#;

/// Longer than players read ahead, at a rate that no count of milliseconds is exact of.
const WHOLE: &str = "-nostdin -loglevel error -f lavfi -i testsrc2=size=640x360:rate=30000/1001:duration=20 \
    -f lavfi -i sine=frequency=220:sample_rate=48000:duration=20 -c:v libx264 -preset ultrafast -c:a aac whole.mp4";
const SILENT: &str = "-nostdin -loglevel error -i whole.mp4 -map 0:v -c copy silent.mp4";

/// A gateway with a worker that knows the profile.
fn start(folder: TempDir, env: &[(&str, &str)]) -> Beside {
    std::fs::write(folder.path().join("profiles.toml"), PROFILES).expect("written");
    let env: Vec<_> = env.iter().copied().chain([("SEEKWAY_PROFILES", "profiles.toml")]).collect();
    Beside::with_real_worker(folder, &env)
}

/// Runs a script against the gateway, and then ends that as a service manager does.
async fn look(mut beside: Beside, script: &str, arguments: &[&str]) {
    let installed = root().join("tests/browser/node_modules/.package-lock.json").is_file();
    assert!(installed, "tests/browser has no node_modules; run scripts/setup test");
    let home = format!("http://{}/", beside.serving("address").await);
    let script = root().join("tests/browser").join(script);
    let arguments = [path_text(&script), home.as_str()].into_iter().chain(arguments.iter().copied());
    let arguments: Vec<_> = arguments.map(str::to_owned).collect();
    let looking = tokio::task::spawn_blocking(move || run("node", &arguments));
    let output = looking.await.expect("no panic");
    println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}", output.status);
    kill_process(Pid::from_child(&beside.child), Signal::TERM).expect("it runs");
    assert_eq!(beside.ends().await.code(), Some(0));
}

fn make(folder: &Path, name: &str, arguments: &str) -> String {
    ffmpeg(folder, arguments);
    path_text(&folder.join(name)).to_owned()
}

#[tokio::test]
async fn players_play_what_the_worker_makes() {
    let folder = TempDir::new().expect("a folder");
    let whole = make(folder.path(), "whole.mp4", WHOLE);
    let silent = make(folder.path(), "silent.mp4", SILENT);
    let beside = start(folder, &[("SEEKWAY_ACCOUNTS", "off")]);
    look(beside, "players.mjs", &["small", &whole, &silent]).await;
}
