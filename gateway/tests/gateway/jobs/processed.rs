//! What the real worker makes, in a real browser.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::beside::Beside;
use super::console::ffmpeg;
use crate::support::path_text;
use crate::support::tools::{root, run};

/// Three renditions, quickly made.
const PROFILES: &str = r#"
[default]
preset = "ultrafast"
renditions = [
  { short_side = 360, crf = 26, max_kbps = 800 },
  { short_side = 240, crf = 28, max_kbps = 400 },
  { short_side = 144, crf = 30, max_kbps = 200 },
]
"#;

/// Files, and what ffmpeg is told to make them. The first is several times what players read ahead, at a rate that no count
/// of milliseconds is exact of.
const WHOLE: (&str, &str) = (
    "whole.mp4",
    "-f lavfi -i testsrc2=size=640x360:rate=30000/1001:duration=20 -f lavfi -i sine=frequency=220:sample_rate=48000:duration=20 \
     -c:v libx264 -preset ultrafast -c:a aac",
);
const SILENT: (&str, &str) = ("silent.mp4", "-i whole.mp4 -map 0:v -c copy");
const SOUND: (&str, &str) = ("sound.mp4", "-i whole.mp4 -map 0:a -c copy");
const EARLY: (&str, &str) = ("early.mp4", "-i whole.mp4 -c copy -movflags +faststart");

/// A gateway with a worker that knows the profile.
fn start(folder: TempDir, env: &[(&str, &str)]) -> Beside {
    fs::write(folder.path().join("profiles.toml"), PROFILES).expect("written");
    let env: Vec<_> = env.iter().copied().chain([("SEEKWAY_PROFILES", "profiles.toml")]).collect();
    Beside::with_real_worker(folder, &env)
}

/// Runs a script against the gateway, and then ends that as a service manager does.
async fn look(mut beside: Beside, script: &str, arguments: &[String]) {
    let installed = root().join("tests/browser/node_modules/.package-lock.json").is_file();
    assert!(installed, "tests/browser has no node_modules; run scripts/setup test");
    let home = format!("http://{}/", beside.serving("address").await);
    let script = root().join("tests/browser").join(script);
    let arguments = [&[path_text(&script).to_owned(), home], arguments].concat();
    let looking = tokio::task::spawn_blocking(move || run("node", &arguments));
    let output = looking.await.expect("no panic");
    println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}", output.status);
    kill_process(Pid::from_child(&beside.child), Signal::TERM).expect("it runs");
    assert_eq!(beside.ends().await.code(), Some(0));
}

/// Makes files, and says where they are.
fn make<const N: usize>(folder: &Path, recipes: [(&str, &str); N]) -> [String; N] {
    recipes.map(|(name, arguments)| {
        ffmpeg(folder, &format!("-nostdin -loglevel error {arguments} {name}"));
        path_text(&folder.join(name)).to_owned()
    })
}

#[tokio::test]
async fn players_play_what_the_worker_makes() {
    let folder = TempDir::new().expect("a folder");
    let files = make(folder.path(), [WHOLE, SILENT, SOUND]);
    let beside = start(folder, &[("SEEKWAY_ACCOUNTS", "off")]);
    look(beside, "players.mjs", &files).await;
}

/// On the defaults, as `make run` has them, but for a profile that is quick.
#[tokio::test]
async fn a_stranger_uploads_watches_and_plays() {
    let folder = TempDir::new().expect("a folder");
    let files = make(folder.path(), [WHOLE, SILENT, EARLY]);
    let [good, later, early] = files;
    // The beginning of one that says there what it should have, and of one that says it at its end.
    let bytes = |file: &str| fs::read(file).expect("readable");
    let cut = |file: &str| bytes(file)[..1_000_000].to_vec();
    let text = b"This is no video at all. ".repeat(8000);
    let bad = [
        ("text.mp4", text.clone(), "not of a type that can be uploaded here"),
        ("empty.mp4", Vec::new(), "An empty file is no video"),
        ("cut.mp4", cut(&early), "failed: it was cut off"),
        ("headless.mp4", cut(&good), "failed: "),
        ("pretender.mp4", [&bytes(&good)[..32], &text].concat(), "failed: "),
    ];
    let bad = bad.map(|(name, bytes, words)| {
        let file = folder.path().join(name);
        fs::write(&file, bytes).expect("written");
        format!("{}={words}", path_text(&file))
    });
    let beside = start(folder, &[]);
    look(beside, "stranger.mjs", &[&[good, later][..], &bad].concat()).await;
}
