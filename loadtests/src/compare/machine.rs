//! What a report says of the place where it was made. What cannot be found out is "unknown", and no reason to fail.

use std::{fs, process::Command};

use super::report::Machine;
use crate::child;

const UNKNOWN: &str = "unknown";
const PACKAGES: &str = include_str!("../../peers/tus/package.json");
const NPM_PACKAGES: [&str; 2] = ["@tus/server", "@tus/s3-store"];

impl Machine {
    /// This one.
    pub fn here() -> Self {
        let cpu = line_of("/proc/cpuinfo", "model name");
        let memory = line_of("/proc/meminfo", "MemTotal");
        let kib = memory.as_deref().and_then(|line| line.strip_suffix(" kB")?.parse::<u64>().ok());
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease");
        let versions = [("nginx", "-v"), ("varnishd", "-V"), ("node", "--version"), ("rustc", "--version")];
        let version = |(name, flag): (&'static str, &str)| (name.to_owned(), version(name, flag));
        let packages = NPM_PACKAGES.map(|name| (name.to_owned(), package(name)));
        Self {
            cpu: cpu.unwrap_or_else(|| UNKNOWN.to_owned()),
            cores: std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            memory_bytes: kib.unwrap_or_default() * 1024,
            kernel: kernel.map_or_else(|_| UNKNOWN.to_owned(), |release| release.trim().to_owned()),
            versions: versions.map(version).into_iter().chain(packages).collect(),
        }
    }
}

/// The commit of the work tree, with a `+` behind it when something was changed since.
pub(super) fn commit() -> String {
    let mut git = Command::new("git");
    git.args(["-C", env!("CARGO_MANIFEST_DIR"), "describe", "--always", "--exclude=*", "--dirty=+"]);
    first_line(git)
}

fn version(name: &'static str, flag: &str) -> String {
    let Ok(binary) = child::find_binary(name) else { return "not installed".to_owned() };
    let mut command = Command::new(binary);
    command.arg(flag);
    let line = first_line(command);
    // Node says nothing but a number.
    if line.contains(name) { line } else { format!("{name} {line}") }
}

/// The version of an npm package that `peers/tus` asks for.
fn package(name: &str) -> String {
    let manifest: serde_json::Value = serde_json::from_str(PACKAGES).expect("a manifest");
    format!("{name} {}", manifest["dependencies"][name].as_str().unwrap_or(UNKNOWN))
}

/// Of what it prints, wherever it prints it.
fn first_line(mut command: Command) -> String {
    let Ok(output) = command.output() else { return UNKNOWN.to_owned() };
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    text.lines().next().unwrap_or(UNKNOWN).to_owned()
}

/// What stands behind the colon of the first line that begins like this.
fn line_of(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}
