//! From what is in the files and what the profile wants to what ffmpeg is told: a pure function.
//!
//! Everything happens in **one encode**: cutting, turning, scaling, watermark, intro and outro are one filter graph, decoded
//! once for all renditions, because each encode more costs quality, and each decode more costs time. What is made of the
//! result (a progressive file, a poster, a storyboard) decodes no more than a few frames of a rendition.
//!
//! A long video is encoded in chunks ([`chunk`]), its sound by itself ([`sound`]): each is what the whole encode would make of
//! those frames, with the same settings, so that the parts are joined without being encoded again.
//!
//! Files have fixed names below the attempt's folder, so that no name of a user's is ever an argument.

mod command;
mod cuts;
mod finishing;
mod graph;
mod sizes;

use serde::{Deserialize, Serialize};

use crate::probe::{Probe, Rational, Unusable};
use crate::profile::Profile;

pub use command::{AUDIO, Step, guard};
pub use cuts::{Cut, cuts};
pub use finishing::Sheet;
pub use graph::frame_rate;
pub use sizes::Size;

/// The names of what is put into an attempt's folder, below it.
pub mod names {
    /// What was uploaded.
    pub const SOURCE: &str = "in/source";
    /// What is played before it.
    pub const INTRO: &str = "in/intro";
    /// What is played after it.
    pub const OUTRO: &str = "in/outro";
    /// What is laid over it.
    pub const WATERMARK: &str = "in/watermark";
    /// Where encoders write.
    pub const ENCODED: &str = "encoded";
    /// What will be published.
    pub const OUTPUTS: &str = "out";
}

/// What is in the files.
#[derive(Debug, Clone)]
pub struct Inputs {
    /// What was uploaded.
    pub source: Probe,
    /// What is played before it.
    pub intro: Option<Probe>,
    /// What is played after it.
    pub outro: Option<Probe>,
    /// What kind of image is laid over it.
    pub watermark: Option<ImageKind>,
}

/// What an image is, by its first bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ImageKind {
    Png,
    Jpeg,
}

/// How loud it is, as the first pass of ffmpeg's `loudnorm` says.
#[derive(Debug, Clone, PartialEq, serde::Deserialize)]
#[allow(missing_docs)]
pub struct Loudness {
    pub input_i: String,
    pub input_tp: String,
    pub input_lra: String,
    pub input_thresh: String,
    pub target_offset: String,
}

/// What ffmpeg is told, and what has to come of it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Plan {
    /// Says how loud it is, where that has to be known first.
    pub loudness: Option<Step>,
    /// Makes all renditions.
    pub encode: Step,
    /// What it makes of the picture, the best first; none of what has no picture.
    pub renditions: Vec<Size>,
    /// Whether there is sound.
    pub has_audio: bool,
    /// Of the sound; 0 without one.
    pub audio_kbps: u32,
    /// Frames a second.
    pub frame_rate: Rational,
    /// Frames of each rendition.
    pub frames: u64,
    /// Frames from keyframe to keyframe.
    pub keyframe_frames: u32,
    /// Seconds that it takes.
    pub seconds: f64,
    /// Whether there is one file of the best of them.
    pub has_mp4: bool,
    /// Makes it; where the best was not made again, it is there already.
    pub whole: Option<Step>,
    /// What is made of the renditions.
    pub finishing: Vec<Step>,
    /// What is on the storyboard.
    pub storyboard: Option<Sheet>,
}

// === impl Plan ===

impl Plan {
    /// The names of the files of all tracks, the best rendition's first.
    pub fn files(&self) -> impl Iterator<Item = String> {
        self.renditions.iter().map(Size::file).chain(self.has_audio.then(|| AUDIO.to_owned()))
    }
}

/// Says what ffmpeg is to do. With `loudness` it is used, without it the plan says how to measure it, where it is wanted.
/// `only` keeps one rendition, by its name; the others are then not made.
///
/// # Errors
/// The profile cannot be met with such files.
pub fn plan(
    inputs: &Inputs,
    profile: &Profile,
    loudness: Option<&Loudness>,
    only: Option<&str>,
) -> Result<Plan, Unusable> {
    let frame_rate = graph::frame_rate(&inputs.source, profile);
    let legs = graph::legs(inputs, profile, frame_rate)?;
    let all = all_sizes(inputs, profile);
    let made: Vec<Size> = match only {
        Some(name) => all.iter().filter(|size| size.name() == name).cloned().collect(),
        None => all.clone(),
    };
    if made.is_empty()
        && let Some(name) = only
    {
        let names: Vec<_> = all.iter().map(Size::name).collect();
        return Err(Unusable(format!("there is no rendition {name:?}; there is {}", names.join(", "))));
    }
    let has_audio = profile.audio.keep && legs.iter().any(|leg| leg.audio.is_some());
    if made.is_empty() && !has_audio {
        return Err(Unusable("nothing is left of it without its sound".to_owned()));
    }
    let seconds = legs.iter().map(|leg| leg.seconds).sum();
    let frames = if all.is_empty() { 0 } else { legs.iter().map(|leg| leg.frames).sum() };
    let graph = graph::Graph { inputs, profile, legs: &legs, frame_rate, cut: None };
    let measures = has_audio && only.is_none() && profile.audio.normalise && loudness.is_none();
    let storyboard = (profile.storyboard && !all.is_empty())
        .then(|| finishing::sheet(&all, frames, graph.keyframe_frames(), frame_rate));
    Ok(Plan {
        loudness: measures.then(|| command::loudness(&graph)),
        encode: command::encode(&graph, &made, has_audio && only.is_none(), loudness),
        has_mp4: profile.mp4,
        whole: (profile.mp4 && only.is_none_or(|name| name == all[0].name()))
            .then(|| finishing::whole(&all, has_audio, seconds)),
        finishing: finishing::steps(&all, seconds, storyboard.as_ref(), profile),
        storyboard,
        keyframe_frames: graph.keyframe_frames(),
        renditions: all,
        has_audio,
        audio_kbps: if has_audio { profile.audio.kbps } else { 0 },
        frame_rate,
        frames,
        seconds,
    })
}

/// The encode of so many frames of all renditions, without sound, of a source that has one frame for each of them and
/// nothing around it, save that the first is shown for `late` frames before it, too. Where the source has a frame too few, so
/// has what is made.
///
/// # Errors
/// As [`plan`]'s.
pub fn chunk(inputs: &Inputs, profile: &Profile, cut: Cut, late: u64) -> Result<Step, Unusable> {
    let frame_rate = frame_rate(&inputs.source, profile);
    let mut legs = graph::legs(inputs, profile, frame_rate)?;
    for leg in &mut legs {
        leg.narrow(cut, frame_rate);
    }
    let graph = graph::Graph { inputs, profile, legs: &legs, frame_rate, cut: Some((cut, late)) };
    Ok(command::encode(&graph, &all_sizes(inputs, profile), false, None))
}

/// The encode of the sound by itself.
///
/// # Errors
/// As [`plan`]'s.
pub fn sound(inputs: &Inputs, profile: &Profile, loudness: Option<&Loudness>) -> Result<Step, Unusable> {
    let frame_rate = frame_rate(&inputs.source, profile);
    let legs = graph::legs(inputs, profile, frame_rate)?;
    let graph = graph::Graph { inputs, profile, legs: &legs, frame_rate, cut: None };
    Ok(command::encode(&graph, &[], true, loudness))
}

/// Decodes all of these renditions of a chunk, and fails where one of them cannot be.
pub fn check(sizes: &[Size], seconds: f64) -> Step {
    let files: Vec<_> = sizes.iter().map(|size| format!("{}/{}", names::ENCODED, size.file())).collect();
    command::check(&files, &[], seconds)
}

/// Decodes the keyframes of all joined renditions.
pub fn check_joined(sizes: &[Size], seconds: f64) -> Step {
    let files: Vec<_> = sizes.iter().map(|size| format!("{}/{}", names::OUTPUTS, size.file())).collect();
    command::check(&files, &["-skip_frame", "nokey"], seconds)
}

fn all_sizes(inputs: &Inputs, profile: &Profile) -> Vec<Size> {
    inputs.source.video.as_ref().map(|video| sizes::sizes(video.shown(), profile)).unwrap_or_default()
}

#[cfg(test)]
mod tests;
