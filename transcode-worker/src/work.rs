//! The work itself: from a job to what is published of it. It knows no lease; whoever runs it drops it when it has to stop,
//! and then nothing of it goes on.

mod inputs;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use seekway_catalog::{Catalog, Job, Phase, Progress, Published, Video};
use seekway_storage::ObjectStore;
use tokio::sync::watch;
use tokio::task::spawn_blocking;
use tracing::{info, warn};

use crate::ffmpeg::Programs;
use crate::outputs::{Files, Input, Outputs, Receipt, Run};
use crate::packaging::{self, Kind, Packaged, Sheets, Source, Track, storyboard_vtt};
use crate::plan::{AUDIO, Inputs, Loudness, Plan, Sheet, Step, names, plan};
use crate::probe::Limits;
use crate::problem::Problem;
use crate::profile::{Profile, Profiles};
use crate::publish::publish;
use crate::scratch::{Folder, Scratch};

pub use inputs::probe;

/// What all attempts of a worker share.
#[derive(Debug)]
pub struct Tools {
    /// Where jobs and videos are known.
    pub catalog: Catalog,
    /// Where their bytes are.
    pub store: Arc<dyn ObjectStore>,
    /// ffmpeg.
    pub programs: Programs,
    /// What `ffmpeg -version` says first.
    pub ffmpeg_version: String,
    /// What can be made.
    pub profiles: Profiles,
    /// What a file may have.
    pub limits: Limits,
    /// Where attempts keep their files.
    pub scratch: Scratch,
}

/// Says how far an attempt is. What it says is noted when there is time for it.
#[derive(Debug)]
pub struct Meter(watch::Sender<Option<Progress>>);

/// One attempt's files, and what was done to them.
struct Bench<'w> {
    tools: &'w Tools,
    job: &'w Job,
    meter: &'w Meter,
    folder: Folder,
    inputs: Vec<Input>,
    runs: Vec<Run>,
}

/// The name of the file that has all of it.
const WHOLE: &str = "video.mp4";
/// The receipt's name.
const RECEIPT: &str = "receipt.json";
/// How much of the whole is done when a phase begins, in percent, by what they took with videos of some minutes.
const PROBED_AT: f64 = 5.0;
const TRANSCODED_AT: f64 = 6.0;
const PACKAGED_AT: f64 = 88.0;
const PUBLISHED_AT: f64 = 92.0;
/// Frames that may be missing: rates that are rounded, and a picture that begins late.
const FRAMES_MISSING: u64 = 2;

/// Makes what the job's profile wants of its video, and puts it into the store, where nobody sees it yet.
///
/// # Errors
/// Whose fault it was, and whether another attempt may do better.
pub async fn work(tools: &Tools, job: &Job, video: &Video, meter: &Meter) -> Result<Published, Problem> {
    let profile = tools.profiles.get(&job.profile).ok_or_else(|| {
        let names: Vec<_> = tools.profiles.names().collect();
        // Another worker may have it: they are not all replaced at once.
        let text = format!("there is no profile {:?}; there is {}", job.profile, names.join(", "));
        Problem::infrastructure(text)
    })?;
    let folder = tools.scratch.folder()?;
    let mut bench = Bench { tools, job, meter, folder, inputs: Vec::new(), runs: Vec::new() };
    bench.fetch_source(video).await?;
    let inputs = bench.inputs(profile).await?;
    let plan = bench.encode(&inputs, profile).await?;
    if job.rendition.is_some() {
        bench.fetch_published(video, &plan, profile).await?;
    }
    bench.package(plan, profile).await
}

// === impl Meter ===

impl Meter {
    /// One, and where it is read.
    pub fn new() -> (Self, watch::Receiver<Option<Progress>>) {
        let (sender, receiver) = watch::channel(None);
        (Self(sender), receiver)
    }

    fn at(&self, phase: Phase, percent: f64, speed: Option<f64>, eta: Option<f64>) {
        // They are all small, and less exact than that.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let whole = |number: f64| number.clamp(0.0, f64::from(u32::MAX)).round() as u32;
        self.0.send_replace(Some(Progress {
            phase,
            percent: u8::try_from(whole(percent)).unwrap_or(100).min(100),
            speed_milli: speed.map(|speed| whole(speed * 1000.0)),
            eta_seconds: eta.map(whole),
        }));
    }
}

// === impl Bench ===

impl Bench<'_> {
    fn path(&self, file: &str) -> PathBuf {
        self.folder.path().join(file)
    }

    async fn encode(&mut self, inputs: &Inputs, profile: &Profile) -> Result<Plan, Problem> {
        let only = self.job.rendition.as_deref();
        let mut planned = plan(inputs, profile, None, only)?;
        self.has_room(&planned, profile)?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let media_ms = (planned.seconds * 1e3) as u64;
        let noted = self.tools.catalog.jobs().set_length(self.job.id, self.job.attempt, media_ms).await;
        if let Err(error) = noted {
            // It is for estimates alone.
            warn!(job = %self.job.id, error = error.chain(), "the job's length is not noted");
        }
        if let Some(measure) = &planned.loudness {
            let log = self.run(measure, Phase::Probing, (PROBED_AT, TRANSCODED_AT)).await?;
            // A file without a sound has no loudness.
            if let Some(loudness) = loudness(&log) {
                planned = plan(inputs, profile, Some(&loudness), only)?;
            }
        }
        self.run(&planned.encode, Phase::Transcoding, (TRANSCODED_AT, PACKAGED_AT)).await?;
        Ok(planned)
    }

    /// Whether what is planned fits on the disk: tracks as ffmpeg writes them, as they are published, and once more in one
    /// file.
    fn has_room(&self, plan: &Plan, profile: &Profile) -> Result<(), Problem> {
        let video: u32 = plan.renditions.iter().map(|size| size.max_kbps).sum();
        let kbps = f64::from(video + if plan.has_audio { profile.audio.kbps } else { 0 });
        let needed = kbps * 1000.0 / 8.0 * plan.seconds * 3.0;
        let free = self.tools.scratch.free_bytes()?;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let needed = needed as u64;
        if needed > free {
            let (needed, free) = (bytesize::ByteSize(needed), bytesize::ByteSize(free));
            let text = format!("the worker's disk is full: {free} are free, up to {needed} are needed");
            return Err(Problem::infrastructure(text));
        }
        Ok(())
    }

    /// Runs one step. The end of its log.
    async fn run(&mut self, step: &Step, phase: Phase, (from, to): (f64, f64)) -> Result<String, Problem> {
        let meter = self.meter;
        meter.at(phase, from, None, None);
        let run = self.tools.programs.run(step, self.folder.path(), |moved| {
            let left = (step.seconds - moved.seconds).max(0.0);
            let done = if step.seconds > 0.0 { 1.0 - left / step.seconds } else { 1.0 };
            let eta = moved.speed.map(|speed| left / speed);
            meter.at(phase, from + (to - from) * done, moved.speed, eta);
        });
        let finished = run.await?;
        info!(job = %self.job.id, step = step.name, took = ?finished.took, "ffmpeg ended");
        let seconds = finished.took.as_secs_f64();
        self.runs.push(Run { name: step.name, args: step.args.clone(), seconds });
        for output in &step.outputs {
            if !self.path(output).is_file() {
                let text = format!("{} made no {output}", step.name);
                return Err(Problem::input(text).with_log(finished.log));
            }
        }
        Ok(finished.log)
    }

    async fn package(&mut self, plan: Plan, profile: &Profile) -> Result<Published, Problem> {
        if let Some(whole) = &plan.whole {
            self.run(whole, Phase::Packaging, (PACKAGED_AT, PACKAGED_AT)).await?;
        }
        let folder = self.folder.path().to_owned();
        let (plan, tracks, packaged) = spawn_blocking(move || {
            let (tracks, packaged) = tracks(&plan, &folder)?;
            Ok::<_, Problem>((plan, tracks, packaged))
        })
        .await
        .map_err(std::io::Error::other)??;
        complete(&plan, &tracks)?;
        for step in &plan.finishing {
            self.run(step, Phase::Packaging, (PACKAGED_AT, PUBLISHED_AT)).await?;
        }
        let out = self.path(names::OUTPUTS);
        if let Some(sheet) = &plan.storyboard {
            let cues = storyboard_vtt(&sheets(sheet), packaged.duration);
            tokio::fs::write(out.join("storyboard.vtt"), cues).await?;
        }
        let has_picture = !plan.renditions.is_empty();
        let some = |is: bool, name: &str| is.then(|| name.to_owned());
        let files = Files {
            hls: "master.m3u8".to_owned(),
            dash: "manifest.mpd".to_owned(),
            mp4: some(profile.mp4, WHOLE),
            poster: some(profile.poster && has_picture, "poster.jpg"),
            storyboard: some(plan.storyboard.is_some(), "storyboard.vtt"),
            receipt: RECEIPT.to_owned(),
        };
        let media: Vec<String> = tracks
            .iter()
            .map(|track| track.file.clone())
            .chain(files.mp4.clone())
            .chain(files.poster.clone())
            .chain(some(plan.storyboard.is_some(), "storyboard.jpg"))
            .chain(files.storyboard.clone())
            .collect();
        let mut last = packaged.files.clone();
        let mut receipt = Receipt::new(self.job, &plan, &tracks, &self.runs, &self.tools.ffmpeg_version);
        receipt.inputs.clone_from(&self.inputs);
        let all: Vec<String> = media.iter().chain(&last).cloned().collect();
        let text = receipt.text(out.clone(), all).await?;
        tokio::fs::write(out.join(RECEIPT), text).await?;
        last.insert(0, RECEIPT.to_owned());
        self.publish(&media, &last).await?;
        let outputs = Outputs::new(&self.job.profile, files, &plan, &tracks, &packaged);
        Ok(Published { outputs: outputs.json(), duration_ms: outputs.duration_ms() })
    }

    async fn publish(&self, media: &[String], last: &[String]) -> Result<(), Problem> {
        self.meter.at(Phase::Publishing, PUBLISHED_AT, None, None);
        let (folder, prefix) = (self.path(names::OUTPUTS), self.job.prefix());
        let all = media.len() + last.len();
        publish(&self.tools.store, &folder, &prefix, media, last, |done| {
            let done = PUBLISHED_AT + (100.0 - PUBLISHED_AT) * share(done as u64, all as u64);
            self.meter.at(Phase::Publishing, done, None, None);
        })
        .await
    }
}

/// The tracks in the folder of outputs, and what points into them. Blocks.
fn tracks(plan: &Plan, folder: &Path) -> Result<(Vec<Track>, Packaged), Problem> {
    let videos = plan.renditions.iter().map(|size| (size.file(), Kind::Video));
    let audio = plan.has_audio.then(|| (AUDIO.to_owned(), Kind::Audio));
    let mut tracks = Vec::new();
    let out = folder.join(names::OUTPUTS);
    for (file, kind) in videos.chain(audio) {
        let id = file.trim_end_matches(".mp4").to_owned();
        let encoded = folder.join(names::ENCODED).join(&file);
        let source = Source { id, kind, fragments: vec![encoded.clone()] };
        tracks.push(packaging::assemble(&source, &out.join(&file))?);
        // The disk has to hold it once only.
        std::fs::remove_file(encoded)?;
    }
    let packaged = packaging::package(&tracks, &packaging::Options::default(), &out)?;
    Ok((tracks, packaged))
}

/// Whether everything that was planned is there: ffmpeg ends well also where it could not decode all of it.
fn complete(plan: &Plan, tracks: &[Track]) -> Result<(), Problem> {
    for track in tracks {
        match track.kind() {
            Kind::Video if track.frames.abs_diff(plan.frames) > FRAMES_MISSING + plan.frames / 200 => {
                let (made, planned) = (track.frames, plan.frames);
                let text = format!("it is damaged: {made} frames could be made of it, and not {planned}");
                return Err(Problem::input(text));
            }
            Kind::Audio => {
                #[allow(clippy::cast_precision_loss)]
                let seconds = track.duration as f64 / f64::from(track.timescale);
                if (seconds - plan.seconds).abs() > f64::max(0.5, plan.seconds / 100.0) {
                    let planned = plan.seconds;
                    let text =
                        format!("it is damaged: its sound takes {seconds:.1} seconds, and not {planned:.1}");
                    return Err(Problem::input(text));
                }
            }
            Kind::Video => {}
        }
    }
    Ok(())
}

fn sheets(sheet: &Sheet) -> Sheets {
    Sheets {
        files: vec!["storyboard.jpg".to_owned()],
        columns: sheet.columns,
        rows: sheet.rows,
        width: sheet.width,
        height: sheet.height,
        interval: std::time::Duration::from_secs_f64(sheet.interval),
    }
}

/// What loudnorm printed last; `None` where there is no sound in it.
fn loudness(log: &str) -> Option<Loudness> {
    let json = &log[log.rfind('{')?..=log.rfind('}')?];
    let loudness: Loudness = serde_json::from_str(json).ok()?;
    let is_finite = |text: &String| text.parse::<f64>().is_ok_and(f64::is_finite);
    let Loudness { input_i, input_tp, input_lra, input_thresh, target_offset } = &loudness;
    let is_known = [input_i, input_tp, input_lra, input_thresh, target_offset].into_iter().all(is_finite);
    is_known.then_some(loudness)
}

fn share(part: u64, of: u64) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    if of == 0 { 1.0 } else { part as f64 / of as f64 }
}
