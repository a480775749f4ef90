//! How like its source an encode is, as ffmpeg's `ssim` filter says.

use std::{path::Path, process::Stdio};

use tokio::process::Command;

use super::unexpected;
use crate::{Error, child::find_binary};

/// The structural similarity of two films of one size, frame by frame: 1 is the same.
///
/// # Errors
/// When ffmpeg cannot compare them.
pub(super) async fn ssim(made: &Path, source: &Path) -> Result<f64, Error> {
    let mut command = Command::new(find_binary("ffmpeg")?);
    command.args(["-nostdin", "-hide_banner", "-i"]).arg(made).arg("-i").arg(source);
    command.args(["-filter_complex", "[0:v:0][1:v:0]ssim", "-an", "-f", "null", "-"]);
    let output = command.stdin(Stdio::null()).kill_on_drop(true).output().await?;
    let said = String::from_utf8_lossy(&output.stderr);
    // As `SSIM Y:… U:… V:… All:0.991234 (20.5)`.
    let all = said.rsplit_once(" All:").and_then(|(_, rest)| rest.split_whitespace().next());
    let found = all.filter(|_| output.status.success()).and_then(|all| all.parse().ok());
    found.ok_or_else(|| unexpected("ffmpeg's ssim", &said))
}
