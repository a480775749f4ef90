//! The filter graph: legs of video and audio, one after the other, in one size, rate and layout.

use std::fmt::Write as _;

use crate::probe::{Audio, Probe, Rational, Unusable, Video};
use crate::profile::{Corner, Profile, Watermark};

use super::cuts::Cut;
use super::sizes::{Size, inside};
use super::{Inputs, Loudness, names};

/// One of the videos that are played one after the other.
#[derive(Debug)]
pub(super) struct Leg<'p> {
    pub(super) file: &'static str,
    video: Option<&'p Video>,
    pub(super) audio: Option<&'p Audio>,
    /// Where in the file it begins.
    pub(super) start: f64,
    pub(super) seconds: f64,
    pub(super) frames: u64,
    is_main: bool,
}

/// All that the graph is made of.
pub(super) struct Graph<'p> {
    pub(super) inputs: &'p Inputs,
    pub(super) profile: &'p Profile,
    pub(super) legs: &'p [Leg<'p>],
    pub(super) frame_rate: Rational,
    /// Only these frames of the one leg, of which the first is shown for so many before it.
    pub(super) cut: Option<(Cut, u64)>,
}

/// Rates that cameras and broadcasts have. What is nearly one of them is one of them.
const RATES: [(u32, u32); 9] =
    [(24_000, 1001), (24, 1), (25, 1), (30_000, 1001), (30, 1), (48, 1), (50, 1), (60_000, 1001), (60, 1)];

/// What everything is heard at.
const SAMPLE_RATE: u32 = 48_000;

/// Frames a second of what is made: the source's, at most the profile's.
pub fn frame_rate(source: &Probe, profile: &Profile) -> Rational {
    let most = Rational { num: profile.frame_rate_max, den: 1 };
    let own = source.video.as_ref().map_or(Rational { num: 25, den: 1 }, own_rate);
    let near = RATES.map(|(num, den)| Rational { num, den }).into_iter().min_by(|a, b| {
        let distance = |rate: &Rational| (rate.value() - own.value()).abs();
        distance(a).total_cmp(&distance(b))
    });
    let near = near.filter(|rate| (rate.value() / own.value() - 1.0).abs() < 0.004);
    let rate = near.unwrap_or_else(|| rounded(own));
    if rate.value() > most.value() { most } else { rate }
}

/// The average; or, where frames of a steady rate are missing now and then, that rate.
fn own_rate(video: &Video) -> Rational {
    let average = video.frame_rate.value();
    // Twice the average is what half-frames are counted as.
    let steady = video.base_rate.filter(|base| (1.0..1.95).contains(&(base.value() / average)));
    steady.filter(|_| !video.is_interlaced).unwrap_or(video.frame_rate)
}

/// What has an average only: in tenths of a frame, so that the fraction stays small, and at least one.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn rounded(rate: Rational) -> Rational {
    if rate.value() < 1.0 {
        return Rational { num: 1, den: 1 };
    }
    if rate.den == 1 {
        return rate;
    }
    Rational { num: (rate.value() * 10.0).round().min(1e6) as u32, den: 10 }.reduced()
}

/// The videos in their order.
pub(super) fn legs<'p>(
    inputs: &'p Inputs,
    profile: &Profile,
    rate: Rational,
) -> Result<Vec<Leg<'p>>, Unusable> {
    let start = profile.trim_start.as_secs_f64();
    let total = inputs.source.seconds();
    if total - start < 0.01 {
        return Err(Unusable(format!(
            "trim_start is {start} seconds, and it is only {total:.3} seconds long"
        )));
    }
    let length = profile.trim_length.map_or(f64::INFINITY, |length| length.as_secs_f64());
    let mut legs =
        vec![Leg::new(names::SOURCE, &inputs.source, start, length.min(total - start), rate, true)];
    if inputs.source.video.is_some() {
        if let Some(intro) = &inputs.intro {
            legs.insert(0, clip("intro", names::INTRO, intro, rate)?);
        }
        if let Some(outro) = &inputs.outro {
            legs.push(clip("outro", names::OUTRO, outro, rate)?);
        }
    }
    Ok(legs)
}

fn clip<'p>(what: &str, file: &'static str, probe: &'p Probe, rate: Rational) -> Result<Leg<'p>, Unusable> {
    if probe.video.is_none() {
        return Err(Unusable(format!("the {what} has no video")));
    }
    Ok(Leg::new(file, probe, 0.0, probe.seconds(), rate, false))
}

// === impl Leg ===

impl<'p> Leg<'p> {
    /// Its length is a whole number of frames.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    fn new(
        file: &'static str,
        probe: &'p Probe,
        start: f64,
        seconds: f64,
        rate: Rational,
        is_main: bool,
    ) -> Self {
        let (video, audio) = (probe.video.as_ref(), probe.audio.as_ref());
        let frames = (seconds * rate.value()).round().max(1.0) as u64;
        let seconds = if video.is_some() { frames as f64 / rate.value() } else { seconds };
        Self { file, video, audio, start, seconds, frames, is_main }
    }

    /// Only what is needed for these frames: some before them, so that filters that look back see what they would see, and one
    /// after them.
    pub(super) fn narrow(&mut self, cut: Cut, rate: Rational) {
        let before = cut.warm_up();
        self.start += Cut { first: cut.first - before, ..cut }.start(rate);
        self.seconds = Cut { first: before + cut.frames + 1, ..cut }.start(rate);
        self.frames = cut.frames;
    }
}

// === impl Graph ===

impl Graph<'_> {
    /// Frames from keyframe to keyframe.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    pub(super) fn keyframe_frames(&self) -> u32 {
        let frames = self.frame_rate.value() * f64::from(self.profile.keyframe_seconds);
        frames.round().max(1.0) as u32
    }

    /// The number of the image among the inputs: after the videos.
    pub(super) fn watermark(&self) -> Option<(usize, &Watermark)> {
        let watermark = self.profile.watermark.as_ref().filter(|_| self.inputs.watermark.is_some())?;
        Some((self.legs.len(), watermark))
    }

    /// From the videos to `[v0]`, `[v1]`, … in these sizes, the first of which is the largest.
    pub(super) fn video(&self, graph: &mut String, sizes: &[Size]) {
        let Some(largest) = sizes.first() else { return };
        for (nth, leg) in self.legs.iter().enumerate() {
            if let Some(video) = leg.video {
                self.picture(graph, nth, leg, video, largest);
            }
        }
        let whole = self.joined(graph, "c", "v=1:a=0", "whole");
        if let [only] = sizes {
            debug_assert_eq!(only, largest);
            write_to(graph, &format!("[{whole}]null[v0];"));
            return;
        }
        write_to(graph, &format!("[{whole}]split={}", sizes.len()));
        (0..sizes.len()).for_each(|nth| write_to(graph, &format!("[s{nth}]")));
        graph.push(';');
        for (nth, Size { width, height, .. }) in sizes.iter().enumerate() {
            write_to(graph, &format!("[s{nth}]scale={width}:{height}:flags=bicubic,setsar=1[v{nth}];"));
        }
    }

    /// One leg's picture, as large as the frame, as `[c0]`.
    fn picture(&self, graph: &mut String, nth: usize, leg: &Leg, video: &Video, frame: &Size) {
        let Size { width, height, .. } = *frame;
        let (wide, high) = inside(video.shown(), (width, height));
        // Rate first: what is dropped need not be scaled. A late picture is there from the beginning.
        let rate = self.frame_rate;
        let woven = if video.is_interlaced { "bwdif=mode=send_frame," } else { "" };
        write_to(graph, &format!("[{nth}:{}]{woven}", video.index));
        if let Some((cut, _)) = self.cut {
            // Not by the rate, which would put another frame in the place of one that is missing.
            let before = Cut { first: cut.warm_up(), ..cut };
            let half = 0.5 / rate.value();
            let (start, end) = (before.start(rate) - half, before.end(rate) - half);
            write_to(graph, &format!("trim=start={start:.6}:end={end:.6},setpts=N/({rate})/TB,"));
        }
        write_to(graph, &format!("fps={rate}:start_time=0,"));
        if let Some((_, late)) = self.cut.filter(|(cut, late)| cut.first == 0 && *late > 0) {
            write_to(graph, &format!("tpad=start_mode=clone:start={late},"));
        }
        // One that ends before its sound stays; by what the packets say, so that one that breaks off is still noticed.
        let missing = leg.seconds - (video.span.end - leg.start).max(0.0);
        if missing > 0.5 / rate.value() && self.cut.is_none() {
            write_to(graph, &format!("tpad=stop_mode=clone:stop_duration={missing:.3},"));
        }
        write_to(graph, &format!("trim=end_frame={},scale={wide}:{high}:flags=bicubic,", leg.frames));
        if video.is_hdr() {
            // Whoever says the one and not the others means those that belong to it.
            let primaries = if video.has_primaries { "" } else { "setparams=color_primaries=bt2020," };
            let matrix = if video.has_matrix { "" } else { "setparams=colorspace=bt2020nc," };
            write_to(graph, &format!("{primaries}{matrix}{SDR}"));
        }
        if (wide, high) != (width, height) {
            write_to(graph, &format!("pad={width}:{height}:(ow-iw)/2:(oh-ih)/2,"));
        }
        graph.push_str("setsar=1,format=yuv420p");
        if let Some((image, watermark)) = self.watermark().filter(|_| leg.is_main) {
            let across = (width * watermark.width_percent / 100).max(2);
            let seen = f64::from(watermark.opacity_percent) / 100.0;
            let edge = (width.min(height) / 36).max(2);
            let (x, y) = match watermark.corner {
                Corner::TopLeft => (format!("{edge}"), format!("{edge}")),
                Corner::TopRight => (format!("W-w-{edge}"), format!("{edge}")),
                Corner::BottomLeft => (format!("{edge}"), format!("H-h-{edge}")),
                Corner::BottomRight => (format!("W-w-{edge}"), format!("H-h-{edge}")),
            };
            write_to(graph, "[bare];");
            write_to(
                graph,
                &format!("[{image}:0]format=rgba,colorchannelmixer=aa={seen},scale={across}:-1[mark];"),
            );
            write_to(graph, &format!("[bare][mark]overlay=x={x}:y={y}:format=auto,format=yuv420p"));
        }
        write_to(graph, &format!(",settb=AVTB[c{nth}];"));
    }

    /// From the videos to `[a]`: stereo, as long as the picture, with silence where there is nothing to hear.
    pub(super) fn audio(&self, graph: &mut String, loudness: Option<&Loudness>, measures: bool) {
        for (nth, leg) in self.legs.iter().enumerate() {
            let seconds = leg.seconds;
            match leg.audio {
                // What begins late, or has holes, is filled up, or it would play too early.
                Some(audio) => write_to(
                    graph,
                    &format!(
                        "[{nth}:{}]aresample={SAMPLE_RATE}:async=1:first_pts=0,\
                         aformat=sample_fmts=fltp:channel_layouts=stereo,\
                         apad=whole_dur={seconds:.6},atrim=duration={seconds:.6}[h{nth}];",
                        audio.index
                    ),
                ),
                None => write_to(
                    graph,
                    &format!(
                        "anullsrc=r={SAMPLE_RATE}:cl=stereo,atrim=duration={seconds:.6},\
                         aformat=sample_fmts=fltp[h{nth}];"
                    ),
                ),
            }
        }
        let whole = self.joined(graph, "h", "v=0:a=1", "heard");
        write_to(graph, &format!("[{whole}]"));
        match loudness {
            _ if measures => write_to(graph, &format!("{LOUDNORM}:print_format=json")),
            Some(Loudness { input_i, input_tp, input_lra, input_thresh, target_offset }) => write_to(
                graph,
                // Its own output is at 192 kHz where it has to limit.
                &format!(
                    "{LOUDNORM}:measured_I={input_i}:measured_TP={input_tp}:measured_LRA={input_lra}:\
                     measured_thresh={input_thresh}:offset={target_offset}:linear=true,aresample={SAMPLE_RATE}"
                ),
            ),
            None => graph.push_str("anull"),
        }
        if !measures {
            // Where there is no edit list, the 1024 samples that the encoder puts before the first are heard: they take the
            // place of the first ones, or all that follows would be 21 ms late.
            graph.push_str(",atrim=start_sample=1024,asetpts=PTS-STARTPTS");
        }
        graph.push_str("[a];");
    }

    /// The name of all legs, one after the other.
    fn joined(&self, graph: &mut String, leg: &str, what: &str, whole: &str) -> String {
        if let [_] = self.legs {
            return format!("{leg}0");
        }
        (0..self.legs.len()).for_each(|nth| write_to(graph, &format!("[{leg}{nth}]")));
        write_to(graph, &format!("concat=n={}:{what}[{whole}];", self.legs.len()));
        whole.to_owned()
    }
}

/// From HDR to what screens of today show: linear light, into smaller primaries, tones mapped, and back.
const SDR: &str = "zscale=t=linear:npl=203,format=gbrpf32le,zscale=p=bt709,tonemap=tonemap=hable:desat=0,\
                   zscale=t=bt709:m=bt709:r=tv,format=yuv420p,";

/// EBU R 128, at the loudness that streaming services use.
const LOUDNORM: &str = "loudnorm=I=-16:TP=-1.5:LRA=11";

fn write_to(graph: &mut String, text: &str) {
    graph.write_str(text).expect("a String takes all");
}
