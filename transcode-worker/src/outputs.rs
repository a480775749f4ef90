//! What is said of outputs: to the gateway, as JSON in the catalog, and to whoever wants to know it all, in `receipt.json`.

use std::borrow::Cow;
use std::path::PathBuf;
use std::time::Duration;

use seekway_catalog::Job;
use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use crate::fetch::{Fetched, sha256};
use crate::packaging::{Kind, Packaged, Track};
use crate::plan::Plan;

/// What is published, for the gateway.
#[derive(Debug, Serialize)]
pub struct Outputs {
    profile: String,
    files: Files,
    renditions: Vec<Rendition>,
    duration_ms: u64,
    has_audio: bool,
}

/// The names of files below the prefix.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) struct Files {
    pub(crate) hls: String,
    pub(crate) dash: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mp4: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) poster: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) storyboard: Option<String>,
    pub(crate) receipt: String,
}

#[derive(Debug, Serialize)]
struct Rendition {
    name: String,
    width: u32,
    height: u32,
    frame_rate: String,
    codecs: String,
    bandwidth: u64,
    average_bandwidth: u64,
    bytes: u64,
}

/// All that is known of how outputs came to be.
#[derive(Debug, Serialize)]
pub struct Receipt<'r> {
    /// Which job and attempt, and of which video.
    pub job: String,
    /// See `job`.
    pub attempt: u64,
    /// See `job`.
    pub video: String,
    /// The profile's name.
    pub profile: &'r str,
    /// What it was made of.
    pub inputs: Vec<Input>,
    /// Of the programs.
    pub versions: Versions,
    /// What was run.
    pub runs: &'r [Run],
    /// Every file, this one excepted.
    pub outputs: Vec<Output>,
    /// Tracks, and when they begin and end.
    pub tracks: Vec<TrackTimes>,
    /// Frames that each rendition had to have.
    pub planned_frames: u64,
    /// How long it had to be.
    pub planned_seconds: f64,
    /// By how much the sound ends later than the picture, in milliseconds.
    pub drift_ms: Option<f64>,
    /// Why it was not made in parts, where that was tried.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

/// A file that something was made of.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Input {
    pub what: Cow<'static, str>,
    pub bytes: u64,
    pub etag: String,
    pub sha256: String,
}

/// Which programs made it.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct Versions {
    pub seekway: &'static str,
    pub ffmpeg: String,
}

/// One run of ffmpeg.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Run {
    pub name: Cow<'static, str>,
    pub args: Vec<String>,
    pub seconds: f64,
}

/// A file that was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct Output {
    pub name: String,
    pub bytes: u64,
    pub sha256: String,
}

/// When a track plays, in seconds.
#[derive(Debug, Clone, Serialize)]
#[allow(missing_docs)]
pub struct TrackTimes {
    pub id: String,
    pub frames: u64,
    pub start: f64,
    pub duration: f64,
}

/// The profile that made what is published, by what the catalog keeps of it.
pub(crate) fn profile_of(outputs: &str) -> Option<String> {
    let outputs: serde_json::Value = serde_json::from_str(outputs).ok()?;
    outputs["profile"].as_str().map(str::to_owned)
}

// === impl Outputs ===

impl Outputs {
    pub(crate) fn new(
        profile: &str,
        files: Files,
        plan: &Plan,
        tracks: &[Track],
        packaged: &Packaged,
    ) -> Self {
        let audio = tracks.iter().zip(&packaged.rates).find(|(track, _)| track.kind() == Kind::Audio);
        let videos = tracks.iter().zip(&packaged.rates).filter(|(track, _)| track.kind() == Kind::Video);
        let renditions = videos.map(|(track, rates)| {
            let (width, height) = track.format.display().unwrap_or_default();
            // A player hears one while it sees the other.
            let (codecs, beside) = match audio {
                Some((audio, rates)) => (format!("{},{}", track.codecs, audio.codecs), *rates),
                None => (track.codecs.clone(), crate::packaging::Rates { peak: 0, average: 0 }),
            };
            Rendition {
                name: format!("{}p", width.min(height)),
                width,
                height,
                frame_rate: plan.frame_rate.to_string(),
                codecs,
                bandwidth: rates.peak + beside.peak,
                average_bandwidth: rates.average + beside.average,
                bytes: track.segments.last().map_or(0, |last| last.offset + last.bytes),
            }
        });
        Self {
            profile: profile.to_owned(),
            files,
            renditions: renditions.collect(),
            duration_ms: millis(packaged.duration),
            has_audio: audio.is_some(),
        }
    }

    /// As the catalog keeps it.
    pub(crate) fn json(&self) -> String {
        serde_json::to_string(self).expect("it is all text and numbers")
    }

    /// How long it plays.
    pub(crate) fn duration_ms(&self) -> u64 {
        self.duration_ms
    }
}

// === impl Receipt ===

impl<'r> Receipt<'r> {
    pub(crate) fn new(job: &'r Job, plan: &Plan, tracks: &[Track], runs: &'r [Run], ffmpeg: &str) -> Self {
        let seconds = |track: &Track, ticks: u64| {
            #[allow(clippy::cast_precision_loss)]
            let ticks = ticks as f64;
            ticks / f64::from(track.timescale)
        };
        let times: Vec<_> = tracks
            .iter()
            .map(|track| TrackTimes {
                id: track.id.clone(),
                frames: track.frames,
                start: seconds(track, track.start),
                duration: seconds(track, track.duration),
            })
            .collect();
        let end = |kind: Kind| {
            let of_kind = tracks.iter().position(|track| track.kind() == kind)?;
            times.get(of_kind).map(|times| times.start + times.duration)
        };
        let drift = end(Kind::Audio).zip(end(Kind::Video)).map(|(audio, video)| (audio - video) * 1000.0);
        Self {
            job: job.id.to_string(),
            attempt: job.attempt,
            video: job.video.to_string(),
            profile: &job.profile,
            inputs: Vec::new(),
            versions: Versions { seekway: env!("CARGO_PKG_VERSION"), ffmpeg: ffmpeg.to_owned() },
            runs,
            outputs: Vec::new(),
            tracks: times,
            planned_frames: plan.frames,
            planned_seconds: plan.seconds,
            drift_ms: drift,
            note: None,
        }
    }

    /// The text of it, once it has noted what the files of the folder are.
    pub(crate) async fn text(mut self, folder: PathBuf, files: Vec<String>) -> std::io::Result<Vec<u8>> {
        self.outputs = outputs(folder, files).await?;
        Ok(serde_json::to_vec_pretty(&self)?)
    }
}

/// What these files of a folder are.
pub(crate) async fn outputs(folder: PathBuf, files: Vec<String>) -> std::io::Result<Vec<Output>> {
    let outputs = spawn_blocking(move || {
        let outputs = files.into_iter().map(|name| {
            let path = folder.join(&name);
            Ok(Output { bytes: std::fs::metadata(&path)?.len(), sha256: sha256(&path)?, name })
        });
        outputs.collect()
    });
    outputs.await.map_err(std::io::Error::other)?
}

impl Input {
    pub(crate) fn new(what: &'static str, fetched: Fetched) -> Self {
        let Fetched { bytes, etag, sha256 } = fetched;
        Self { what: Cow::Borrowed(what), bytes, etag, sha256 }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
