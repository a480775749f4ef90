//! Videos that differ in everything, made by ffmpeg when a test wants them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs ffmpeg on arguments, as a shell would split them, in a folder; the last one is the file it makes.
pub(crate) fn make(folder: &Path, arguments: &str) -> PathBuf {
    let arguments: Vec<&str> = arguments.split_whitespace().collect();
    let file = folder.join(arguments.last().expect("a name"));
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-y"])
        .args(&arguments)
        .current_dir(folder)
        .output()
        .expect("ffmpeg is installed");
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    file
}

/// What ffprobe says, as `key=value` lines.
pub(crate) fn probe(file: &Path, arguments: &str) -> String {
    let output = Command::new("ffprobe")
        .args(["-v", "error", "-of", "default=nw=1"])
        .args(arguments.split_whitespace())
        .arg(file)
        .output()
        .expect("ffprobe is installed");
    assert!(output.status.success(), "{}: {}", file.display(), String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("text")
}

/// One value of those lines.
pub(crate) fn value(lines: &str, key: &str) -> String {
    let found = lines.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
    found.unwrap_or_else(|| panic!("{key} in {lines}")).to_owned()
}

/// How alike two videos are, from 0 to 1, as ffmpeg's `ssim` says of `graph`, whose inputs are `[0]` and `[1]`.
pub(crate) fn ssim(a: &Path, b: &Path, graph: &str) -> f64 {
    let output = Command::new("ffmpeg")
        .args(["-nostdin", "-hide_banner", "-i"])
        .arg(a)
        .arg("-i")
        .arg(b)
        .args(["-filter_complex", graph, "-f", "null", "-"])
        .output()
        .expect("ffmpeg is installed");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{log}");
    let all = log.rsplit_once(" All:").expect(&log).1;
    all.split_whitespace().next().expect("a number").parse().expect(&log)
}
