//! Profiles: what is made of a video, as TOML that an operator writes.
//!
//! A file of profiles is a table of them by name. Two are built in, [`Profiles::builtin`]: `default` makes what most
//! need, `ladder` as many renditions as the source has pixels for. A profile of the same name takes a built-in one's place.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// All profiles that a worker knows.
#[derive(Debug, Clone, Deserialize)]
#[serde(transparent)]
pub struct Profiles(BTreeMap<String, Profile>);

/// What is made of a video.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Where the video begins: what is before is cut off, to the frame.
    #[serde(default, deserialize_with = "time")]
    pub trim_start: Duration,
    /// How long it may be; what comes after is cut off. Unset: all of it.
    #[serde(default, deserialize_with = "some_time")]
    pub trim_length: Option<Duration>,
    /// Width to height, such as `16:9`, which it gets by black bars; `9:16` where it is upright. Unset: its own.
    #[serde(default)]
    pub aspect: Option<Ratio>,
    /// Frames a second at most.
    #[serde(default = "frame_rate_max")]
    pub frame_rate_max: u32,
    /// libx264's preset: how much time it takes to need fewer bytes.
    #[serde(default)]
    pub preset: Preset,
    /// Seconds between two keyframes, which are at the same times in all renditions.
    #[serde(default = "keyframe_seconds")]
    pub keyframe_seconds: u32,
    /// What is made, the best first. One is always made; further ones only as the source has pixels for.
    pub renditions: Vec<Rendition>,
    /// An image over it.
    #[serde(default)]
    pub watermark: Option<Watermark>,
    /// What is played before it, of any size, rate and audio.
    #[serde(default)]
    pub intro: Option<Clip>,
    /// What is played after it.
    #[serde(default)]
    pub outro: Option<Clip>,
    /// What becomes of its sound.
    #[serde(default)]
    pub audio: Audio,
    /// Whether there is one MP4 file with everything, which plays while it is downloaded.
    #[serde(default = "yes")]
    pub mp4: bool,
    /// Whether there is a picture of it.
    #[serde(default = "yes")]
    pub poster: bool,
    /// Whether there are small pictures of it, for whoever seeks.
    #[serde(default = "yes")]
    pub storyboard: bool,
}

/// One size of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rendition {
    /// Pixels on the shorter side, even. A smaller source keeps its own size.
    pub short_side: u32,
    /// libx264's constant rate factor, 0 to 51: more is smaller and worse.
    #[serde(default = "crf")]
    pub crf: u32,
    /// Kilobits a second at most, over a buffer of two seconds.
    pub max_kbps: u32,
}

/// An image over a video.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watermark {
    /// The image, PNG or JPEG.
    pub image: Reference,
    /// Where it is.
    #[serde(default)]
    pub corner: Corner,
    /// Its width, in percent of the picture's.
    #[serde(default = "watermark_percent")]
    pub width_percent: u32,
    /// How much of it is seen, in percent.
    #[serde(default = "opacity_percent")]
    pub opacity_percent: u32,
}

/// A video before or after another.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clip {
    /// Which one.
    pub video: Reference,
}

/// What a profile refers to: `asset:ID`, `object:KEY`, or `file:PATH` on the worker.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Reference {
    /// An asset that somebody uploaded.
    Asset(String),
    /// An object in the store.
    Object(String),
    /// A file that the worker has.
    File(String),
}

/// A corner of the picture.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
#[allow(missing_docs)]
pub enum Corner {
    TopLeft,
    #[default]
    TopRight,
    BottomLeft,
    BottomRight,
}

/// What becomes of the sound.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Audio {
    /// Whether it stays.
    pub keep: bool,
    /// Kilobits a second.
    pub kbps: u32,
    /// Whether it is made as loud as broadcasts are (EBU R 128, -16 LUFS), which takes a pass over it before.
    pub normalise: bool,
}

/// libx264's presets that are of use here.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs)]
pub enum Preset {
    Ultrafast,
    Superfast,
    #[default]
    Veryfast,
    Faster,
    Fast,
    Medium,
    Slow,
}

/// Two whole numbers, one to the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Ratio {
    /// The first.
    pub num: u32,
    /// The second, never 0.
    pub den: u32,
}

/// Why profiles cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// The file cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(#[from] std::io::Error),
    /// It is not TOML, or has what no profile has.
    #[error("{0}")]
    Syntax(#[from] toml::de::Error),
    /// A value is out of bounds.
    #[error("profile {profile:?}: {problem}")]
    Value {
        /// In which one.
        profile: String,
        /// What is allowed.
        problem: String,
    },
}

/// Renditions of one profile.
const RENDITIONS_MAX: usize = 8;
const BUILTIN: &str = include_str!("profiles.toml");

// === impl Profiles ===

impl Profiles {
    /// `default` and `ladder`.
    pub fn builtin() -> Self {
        Self::parse(BUILTIN).expect("our own are right; a test reads them")
    }

    /// The built-in ones, and those of a file.
    pub fn load(path: &Path) -> Result<Self, ProfileError> {
        let mut all = Self::builtin();
        all.0.extend(Self::parse(&std::fs::read_to_string(path)?)?.0);
        Ok(all)
    }

    /// Profiles from TOML.
    pub fn parse(text: &str) -> Result<Self, ProfileError> {
        let profiles: Self = toml::from_str(text)?;
        for (name, profile) in &profiles.0 {
            profile.check().map_err(|problem| ProfileError::Value { profile: name.clone(), problem })?;
        }
        Ok(profiles)
    }

    /// The profile with that name.
    pub fn get(&self, name: &str) -> Option<&Profile> {
        self.0.get(name)
    }

    /// All names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

// === impl Profile ===

impl Profile {
    fn check(&self) -> Result<(), String> {
        let within = |what: &str, value: u32, least: u32, most: u32| {
            if (least..=most).contains(&value) {
                Ok(())
            } else {
                Err(format!("{what} is {value}: a number from {least} to {most}"))
            }
        };
        if self.renditions.is_empty() || self.renditions.len() > RENDITIONS_MAX {
            return Err(format!("renditions: 1 to {RENDITIONS_MAX} of them"));
        }
        for rendition in &self.renditions {
            within("short_side", rendition.short_side, 64, 4320)?;
            within("crf", rendition.crf, 0, 51)?;
            within("max_kbps", rendition.max_kbps, 50, 200_000)?;
            if !rendition.short_side.is_multiple_of(2) {
                return Err(format!("short_side is {}: an even number", rendition.short_side));
            }
        }
        if !self.renditions.is_sorted_by(|a, b| a.short_side > b.short_side) {
            return Err("renditions: the largest first, each size once".to_owned());
        }
        if self.trim_length.is_some_and(|length| length < Duration::from_millis(100)) {
            return Err("trim_length: at least 100ms".to_owned());
        }
        if let Some(watermark) = &self.watermark {
            within("width_percent", watermark.width_percent, 1, 100)?;
            within("opacity_percent", watermark.opacity_percent, 1, 100)?;
        }
        within("frame_rate_max", self.frame_rate_max, 1, 120)?;
        within("keyframe_seconds", self.keyframe_seconds, 1, 10)?;
        within("kbps", self.audio.kbps, 16, 512)
    }
}

// === impl values ===

impl Default for Audio {
    fn default() -> Self {
        Self { keep: true, kbps: 128, normalise: false }
    }
}

impl Preset {
    /// As libx264 calls it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ultrafast => "ultrafast",
            Self::Superfast => "superfast",
            Self::Veryfast => "veryfast",
            Self::Faster => "faster",
            Self::Fast => "fast",
            Self::Medium => "medium",
            Self::Slow => "slow",
        }
    }
}

impl TryFrom<String> for Ratio {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let parsed = text.split_once(':').and_then(|(num, den)| {
            let (num, den) = (num.trim().parse().ok()?, den.trim().parse().ok()?);
            (1..=100).contains(&num).then_some(())?;
            (1..=100).contains(&den).then_some(Self { num, den })
        });
        parsed.ok_or_else(|| format!("{text:?}: a ratio such as 16:9"))
    }
}

impl TryFrom<String> for Reference {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.split_once(':') {
            Some(("asset", id)) if !id.is_empty() => Ok(Self::Asset(id.to_owned())),
            Some(("object", key)) if !key.is_empty() => Ok(Self::Object(key.to_owned())),
            Some(("file", path)) if !path.is_empty() => Ok(Self::File(path.to_owned())),
            _ => Err(format!("{text:?}: asset:ID, object:KEY or file:PATH")),
        }
    }
}

impl From<Reference> for String {
    fn from(reference: Reference) -> Self {
        match reference {
            Reference::Asset(id) => format!("asset:{id}"),
            Reference::Object(key) => format!("object:{key}"),
            Reference::File(path) => format!("file:{path}"),
        }
    }
}

fn time<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_duration(&text)
        .map_err(|_| serde::de::Error::custom(format!("{text:?}: a time such as 500ms, 30s or 1h")))
}

fn some_time<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    time(deserializer).map(Some)
}

fn yes() -> bool {
    true
}
fn frame_rate_max() -> u32 {
    60
}
fn keyframe_seconds() -> u32 {
    2
}
fn crf() -> u32 {
    21
}
fn watermark_percent() -> u32 {
    12
}
fn opacity_percent() -> u32 {
    80
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_ones_are_right() {
        let profiles = Profiles::builtin();
        assert_eq!(profiles.names().collect::<Vec<_>>(), ["default", "ladder"]);
        assert_eq!(profiles.get("ladder").expect("it is there").renditions.len(), 4);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let one = |rest: &str| format!("[x]\nrenditions = [{{ short_side = 720, max_kbps = 3000 }}]\n{rest}");
        assert!(Profiles::parse(&one("")).is_ok());
        for (rest, expected) in [
            ("aspect = \"wide\"", "a ratio such as 16:9"),
            ("trim_length = \"long\"", "a time such as"),
            ("trim_length = \"0s\"", "at least 100ms"),
            ("colour = 1", "unknown field `colour`"),
            ("[x.watermark]\nimage = \"/etc/passwd\"", "asset:ID, object:KEY or file:PATH"),
            ("[x.audio]\nkbps = 1", "kbps is 1: a number from 16 to 512"),
            ("preset = \"placebo\"", "unknown variant `placebo`"),
        ] {
            let problem = Profiles::parse(&one(rest)).expect_err(rest).to_string();
            assert!(problem.contains(expected), "{problem}");
        }
        let twice =
            "[x]\nrenditions = [{ short_side = 360, max_kbps = 1 }, { short_side = 720, max_kbps = 1 }]";
        assert!(Profiles::parse(twice).is_err());
    }
}
