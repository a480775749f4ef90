//! Commands for ffmpeg.

use std::borrow::Cow;
use std::process::Command;

use ffmpeg_sidecar::command::FfmpegCommand;
use serde::{Deserialize, Serialize};

use super::graph::Graph;
use super::{ImageKind, Loudness, Size, names};

/// One run of ffmpeg.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// What it does, in a word.
    pub name: Cow<'static, str>,
    /// What ffmpeg is told. Names of files are relative to the attempt's folder.
    pub args: Vec<String>,
    /// What has to be there afterwards.
    pub outputs: Vec<String>,
    /// Seconds of video that go through it.
    pub seconds: f64,
    /// The time of the first of them, by which it says how far it is.
    pub start: f64,
}

/// Of an upload nothing is believed: only containers that name no other files (a playlist can name any), read by no
/// protocol but `file`.
const FORMATS: &str =
    "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,mpegts,mpeg,avi,flv,wav,mp3,aac,flac,ogg,mxf,asf";
/// Pixels that ffmpeg decodes at most, whatever its first look at the file said.
const PIXELS_MAX: &str = "70000000";

// === impl Step ===

impl Step {
    pub(super) fn new(
        name: &'static str,
        command: FfmpegCommand,
        outputs: Vec<String>,
        seconds: f64,
    ) -> Self {
        let command: Command = command.into();
        let args = command.get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
        Self { name: Cow::Borrowed(name), args, outputs, seconds, start: 0.0 }
    }
}

/// The arguments that stand before a file that somebody uploaded, for ffmpeg and ffprobe.
pub fn guard() -> [&'static str; 6] {
    ["-protocol_whitelist", "file", "-format_whitelist", FORMATS, "-max_pixels", PIXELS_MAX]
}

/// A command that says how far it is, and asks nothing.
pub(super) fn begun(level: &str) -> FfmpegCommand {
    let mut command = FfmpegCommand::from(Command::new("ffmpeg"));
    command.hide_banner().overwrite().args(["-nostdin", "-loglevel", level, "-nostats"]);
    command.args(["-progress", "pipe:1", "-stats_period", "0.5"]);
    command
}

/// All renditions of one decode.
pub(super) fn encode(graph: &Graph, sizes: &[Size], has_audio: bool, loudness: Option<&Loudness>) -> Step {
    let mut command = begun("level+warning");
    // By itself ffmpeg calls it a success as long as a third of the frames can be decoded.
    command.args(["-max_error_rate", "0.02"]);
    inputs(&mut command, graph);
    let mut filters = String::new();
    graph.video(&mut filters, sizes);
    if has_audio {
        graph.audio(&mut filters, loudness, false);
    }
    command.filter_complex(filters.trim_end_matches(';'));
    let mut outputs = Vec::new();
    for (nth, size) in sizes.iter().enumerate() {
        picture(&mut command, graph, nth, size);
        put_out(&mut command, &mut outputs, &size.file());
    }
    if has_audio {
        let rate = format!("{}k", graph.profile.audio.kbps);
        bare(command.map("[a]").codec_audio("aac").args(["-b:a", &rate, "-ar", "48000", "-ac", "2"]));
        command.format("mp4").args(["-movflags", "+cmaf+delay_moov", "-frag_duration", "2000000"]);
        put_out(&mut command, &mut outputs, AUDIO);
    }
    let start = graph.cut.map_or(0.0, |(cut, _)| cut.start(graph.frame_rate));
    Step { start, ..Step::new("encode", command, outputs, seconds(graph)) }
}

/// Decodes files, each of one track, with `options` before each; what cannot be decoded ends it.
pub(super) fn check(files: &[String], options: &[&str], seconds: f64) -> Step {
    let mut command = begun("level+warning");
    command.args(["-xerror"]);
    for file in files {
        command.args(guard()).args(["-err_detect", "explode"]).args(options.iter().copied());
        command.input(format!("file:{file}"));
    }
    for nth in 0..files.len() {
        command.map(format!("{nth}:0"));
    }
    command.args(["-fps_mode", "passthrough"]).format("null").output("-");
    Step::new("check", command, Vec::new(), seconds)
}

/// How loud it all is.
pub(super) fn loudness(graph: &Graph) -> Step {
    let mut command = begun("level+info");
    inputs(&mut command, graph);
    let mut filters = String::new();
    graph.audio(&mut filters, None, true);
    command.filter_complex(filters.trim_end_matches(';')).map("[a]").format("null").output("-");
    Step::new("loudness", command, Vec::new(), seconds(graph))
}

/// What the file of the sound is called.
pub const AUDIO: &str = "a0.mp4";

fn inputs(command: &mut FfmpegCommand, graph: &Graph) {
    for leg in graph.legs {
        command.args(guard());
        if leg.start > 0.0 {
            command.seek(format!("{:.6}", leg.start));
        }
        // A frame more than is used, so that the last one is there whatever its time is rounded to.
        command.duration(format!("{:.6}", leg.seconds + 1.0 / graph.frame_rate.value()));
        command.input(format!("file:{}", leg.file));
    }
    if graph.watermark().is_some() {
        let kind = match graph.inputs.watermark {
            Some(ImageKind::Jpeg) => "jpeg_pipe",
            _ => "png_pipe",
        };
        command.args(["-protocol_whitelist", "file", "-max_pixels", PIXELS_MAX]);
        command.format(kind).input(format!("file:{}", names::WATERMARK));
    }
}

/// One rendition: keyframes at the same frames in all of them, so that players can change between them there.
fn picture(command: &mut FfmpegCommand, graph: &Graph, nth: usize, size: &Size) {
    let group = graph.keyframe_frames().to_string();
    let (crf, rate, buffer) =
        (size.crf.to_string(), format!("{}k", size.max_kbps), format!("{}k", 2 * size.max_kbps));
    command.map(format!("[v{nth}]")).codec_video("libx264");
    command.args(["-preset", graph.profile.preset.as_str(), "-profile:v", "high", "-bf", "2", "-crf", &crf]);
    command.args(["-maxrate", &rate, "-bufsize", &buffer]);
    command.args(["-g", &group, "-keyint_min", &group, "-sc_threshold", "0", "-fps_mode", "passthrough"]);
    bare(command).format("mp4");
    match graph.cut {
        None => command.args(["-movflags", "+cmaf+frag_keyframe"]),
        // Its fragments have the times that they will have in the whole.
        Some((cut, _)) => command
            .args(["-output_ts_offset", &format!("{:.6}", cut.start(graph.frame_rate))])
            .args(["-movflags", "+cmaf+frag_keyframe+frag_discont"]),
    };
}

/// Without what the source's maker wrote into it: places, names, chapters.
fn bare(command: &mut FfmpegCommand) -> &mut FfmpegCommand {
    command.args(["-map_metadata", "-1", "-map_chapters", "-1"])
}

fn put_out(command: &mut FfmpegCommand, outputs: &mut Vec<String>, file: &str) {
    let path = format!("{}/{file}", names::ENCODED);
    command.output(format!("file:{path}"));
    outputs.push(path);
}

fn seconds(graph: &Graph) -> f64 {
    graph.legs.iter().map(|leg| leg.seconds).sum()
}
