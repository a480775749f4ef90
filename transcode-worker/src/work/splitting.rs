//! Long videos: whether one is split, and the parts that it is split into.

use std::path::PathBuf;
use std::time::Duration;

use seekway_catalog::{Failure, NewPart, Phase, Video};
use tokio::task::spawn_blocking;

use super::{Bench, Done, PACKAGED_AT, loudness, share};
use crate::brief::{Brief, Chunk, Join, Made};
use crate::fetch::{fetch, fetch_spans};
use crate::outputs::outputs;
use crate::packaging::{self, Kind};
use crate::plan::{AUDIO, Cut, Inputs, Plan, check, chunk, cuts, names, plan, sound};
use crate::problem::Problem;
use crate::profile::Profile;
use crate::publish::publish;

/// When a video is split.
#[derive(Debug, Clone, Copy)]
pub struct Chunking {
    /// When it plays for longer than that.
    pub above: Duration,
    /// How long a part is, about.
    pub length: Duration,
}

/// How far a part is when it has its source, and when it is encoded and checked, in percent.
const FETCHED_AT: f64 = 4.0;
const ENCODED_AT: f64 = 92.0;
const CHECKED_AT: f64 = 97.0;

// === impl Bench ===

impl Bench<'_> {
    /// Whether the video is split if it turns out to be long and steady: where nothing is played around it, so that its frames
    /// are those of the source.
    pub(super) fn may_split(&self, profile: &Profile) -> bool {
        let is_all = self.job.rendition.is_none() && self.job.brief.is_none() && self.note.is_none();
        is_all && profile.intro.is_none() && profile.outro.is_none() && self.tools.chunking.is_some()
    }

    /// The parts of a video that is to be split; `None` where it stays whole.
    pub(super) fn split(&mut self, inputs: &Inputs, profile: &Profile) -> Result<Option<Done>, Problem> {
        let Some((chunking, (cadence, packets))) = self.tools.chunking.zip(self.watched.take()) else {
            return Ok(None);
        };
        let planned = plan(inputs, profile, None, None)?;
        if planned.seconds <= chunking.above.as_secs_f64() {
            return Ok(None);
        }
        let Some(steady) = cadence.steady(&packets, profile.trim_start.as_secs_f64(), planned.frames) else {
            return Ok(None);
        };
        let cuts = cuts(planned.frames, planned.keyframe_frames, planned.frame_rate, chunking.length);
        if cuts.len() < 2 {
            return Ok(None);
        }
        let source = &self.inputs[0];
        let sha256 =
            |what: &str| self.inputs.iter().find(|input| input.what == what).map(|input| &input.sha256);
        let watermark = profile.watermark.as_ref().map(|watermark| watermark.image.clone());
        let watermark = watermark.zip(sha256("watermark").cloned());
        let mut parts = Vec::new();
        if planned.has_audio {
            // First: it has to come by itself, and takes next to nothing beside the picture.
            parts.push(NewPart { brief: Brief::Sound.json(), media_ms: 0, source_bytes: None });
        }
        for cut in cuts {
            let seconds = chunk_seconds(cut.frames, &planned);
            // Only such files keep all else at their ends, and an index.
            let spans = inputs.source.is_mp4().then(|| steady.spans(cut.first..cut.next(), source.bytes));
            let spans = spans.flatten();
            let source_bytes =
                spans.as_ref().map(|spans| spans.iter().map(|span| span.end - span.start).sum());
            let chunk = Chunk {
                cut,
                encode: chunk(inputs, profile, cut, steady.late)?,
                check: check(&planned.renditions, seconds),
                etag: source.etag.clone(),
                spans,
                watermark: watermark.clone(),
            };
            let media_ms = u64::try_from(Duration::from_secs_f64(seconds).as_millis()).unwrap_or(u64::MAX);
            parts.push(NewPart { brief: Brief::Chunk(Box::new(chunk)).json(), media_ms, source_bytes });
        }
        let join = Join { plan: planned, inputs: self.inputs.clone() };
        Ok(Some(Done::Split { brief: Brief::Join(Box::new(join)).json(), parts }))
    }

    /// Makes a chunk.
    pub(super) async fn chunk(&mut self, video: &Video, part: &Chunk) -> Result<Done, Problem> {
        if let Some((image, sha256)) = &part.watermark {
            self.fetch_reference("watermark", image, names::WATERMARK).await?;
            if self.inputs.iter().any(|input| input.sha256 != *sha256) {
                let text = "watermark: it is another one than when the video was split";
                return Err(Problem::infrastructure(text));
            }
        }
        let source = self.path(names::SOURCE);
        let mut outcome = Ok(());
        // Once more with all of it: a file may be laid out as none should be.
        for spans in [Some(part.spans.as_ref()), part.spans.is_some().then_some(None)].into_iter().flatten() {
            self.meter.at(Phase::Fetching, 0.0, None, None);
            let _ = tokio::fs::remove_file(&source).await;
            let (key, meter) = (&video.source.key, self.meter);
            let moved = |bytes, all| meter.at(Phase::Fetching, FETCHED_AT * share(bytes, all), None, None);
            let all = [0..video.source.size];
            let spans = spans.map_or(&all[..], Vec::as_slice);
            fetch_spans(&self.tools.store, key, &part.etag, spans, &source, moved).await?;
            outcome = self.encode_chunk(part).await;
            if !matches!(&outcome, Err(problem) if problem.failure == Failure::Input) {
                break;
            }
        }
        match outcome {
            // The whole may do: it takes what is missing for what was before.
            Err(problem) if problem.failure == Failure::Input => Ok(Done::Unsplit(whole_because(&problem))),
            Err(problem) => Err(problem),
            Ok(()) => self.part_made(&part.encode.outputs).await,
        }
    }

    async fn encode_chunk(&mut self, part: &Chunk) -> Result<(), Problem> {
        self.run(&part.encode, Phase::Transcoding, (FETCHED_AT, ENCODED_AT)).await?;
        let files: Vec<PathBuf> = part.encode.outputs.iter().map(|file| self.path(file)).collect();
        let counted = spawn_blocking(move || {
            files.iter().map(|file| packaging::frames(file, Kind::Video)).collect::<Result<Vec<_>, _>>()
        });
        let counted = counted.await.map_err(std::io::Error::other)??;
        if let Some(frames) = counted.iter().find(|frames| **frames != part.cut.frames) {
            let planned = part.cut.frames;
            let text =
                format!("of frame {} on, {frames} frames could be made, and not {planned}", part.cut.first);
            return Err(Problem::input(text));
        }
        self.run(&part.check, Phase::Transcoding, (ENCODED_AT, CHECKED_AT)).await.map(drop)
    }

    /// Makes the sound.
    pub(super) async fn sound(&mut self, video: &Video, profile: &Profile) -> Result<Done, Problem> {
        self.fetch_source(video).await?;
        let inputs = self.inputs(profile).await?;
        let planned = plan(&inputs, profile, None, None)?;
        let measured = match &planned.loudness {
            Some(measure) => loudness(&self.run(measure, Phase::Probing, (FETCHED_AT, FETCHED_AT)).await?),
            None => None,
        };
        let encode = sound(&inputs, profile, measured.as_ref())?;
        self.run(&encode, Phase::Transcoding, (FETCHED_AT, CHECKED_AT)).await?;
        self.part_made(&encode.outputs).await
    }

    /// Puts what a part made where whoever joins them looks for it.
    async fn part_made(&mut self, files: &[String]) -> Result<Done, Problem> {
        self.meter.at(Phase::Publishing, CHECKED_AT, None, None);
        let folder = self.path(names::ENCODED);
        let files: Vec<String> =
            files.iter().filter_map(|file| Some(file.rsplit_once('/')?.1.to_owned())).collect();
        let outputs = outputs(folder.clone(), files.clone()).await?;
        publish(&self.tools.store, &folder, &self.job.prefix(), &files, &[], |_| {}).await?;
        Ok(Done::Part(Made { outputs, runs: std::mem::take(&mut self.runs) }.json()))
    }

    /// Fetches what the parts have made: of each track the files, in their order.
    pub(super) async fn fetch_parts(&mut self, join: &Join) -> Result<Vec<(String, Vec<PathBuf>)>, Problem> {
        let parts = self.tools.catalog.jobs().parts(self.job.id).await?;
        let mut tracks: Vec<_> = join.plan.files().map(|file| (file, Vec::new())).collect();
        for (nth, part) in parts.iter().enumerate() {
            let made =
                part.made.as_deref().ok_or_else(|| Problem::infrastructure("a part of it is not made"))?;
            let made = Made::parse(made)?;
            for output in &made.outputs {
                let name =
                    if output.name == AUDIO { AUDIO.to_owned() } else { format!("{nth}-{}", output.name) };
                let to = self.path(&format!("{}/{name}", names::ENCODED));
                let key = format!("{}{}", part.prefix(), output.name);
                let fetched = fetch(&self.tools.store, &key, &to, |_, _| {}).await?;
                if fetched.sha256 != output.sha256 {
                    let text = "a part of it is not in the store as it was put there";
                    return Err(Problem::infrastructure(text).because(key));
                }
                if let Some((_, files)) = tracks.iter_mut().find(|(file, _)| *file == output.name) {
                    files.push(to);
                }
            }
            self.runs.extend(made.runs);
            let done = share(nth as u64 + 1, parts.len() as u64);
            self.meter.at(Phase::Packaging, PACKAGED_AT + done, None, None);
        }
        self.inputs.clone_from(&join.inputs);
        Ok(tracks)
    }
}

/// In words for the receipt, which whoever made the video may read.
pub(super) fn whole_because(problem: &Problem) -> String {
    let detail = problem.detail.as_deref().map(|detail| format!(" ({detail})")).unwrap_or_default();
    format!("{}{detail}", problem.text)
}

fn chunk_seconds(frames: u64, plan: &Plan) -> f64 {
    Cut { first: frames, frames: 0 }.start(plan.frame_rate)
}
