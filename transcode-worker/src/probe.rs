//! What is in a media file: what ffprobe says of it, and what its packets say.
//!
//! The headers of a file promise; only its packets tell whether it was cut off. Both are read before anything is decoded,
//! because a small file can promise pictures of any size.

mod cadence;
pub mod packets;
pub mod streams;

use std::fmt;

use serde::{Deserialize, Serialize};

pub use cadence::{Cadence, Steady};
pub use packets::{Packet, Packets, Span};

/// What is in a media file.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    /// What it is packed in, as ffprobe calls it.
    pub container: String,
    /// Seconds that its headers promise, where they do.
    pub promised_seconds: Option<f64>,
    /// Its best moving picture.
    pub video: Option<Video>,
    /// Its best sound.
    pub audio: Option<Audio>,
}

/// A moving picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Video {
    /// The stream's number in the file.
    pub index: usize,
    /// Its codec, as ffprobe calls it.
    pub codec: String,
    /// Pixels as they are stored, before it is turned.
    pub width: u32,
    /// See `width`.
    pub height: u32,
    /// Degrees by which players turn it: 0, 90, 180 or 270.
    pub rotation: u32,
    /// Width of a pixel to its height.
    pub pixel_aspect: Rational,
    /// Frames a second, on average.
    pub frame_rate: Rational,
    /// The lowest rate that has a frame at each time at which this has one, where it is known.
    pub base_rate: Option<Rational>,
    /// Each frame has the lines of two moments.
    pub is_interlaced: bool,
    /// What its transfer function is called, where it says so.
    pub transfer: Option<String>,
    /// It says which primaries it has.
    pub has_primaries: bool,
    /// It says by which matrix its colours are made.
    pub has_matrix: bool,
    /// Seconds into the file at which it begins, and how long it is, by its packets.
    pub span: Span,
}

/// A sound.
#[derive(Debug, Clone, PartialEq)]
pub struct Audio {
    /// The stream's number in the file.
    pub index: usize,
    /// Its codec, as ffprobe calls it.
    pub codec: String,
    /// Samples a second.
    pub sample_rate: u32,
    /// How many.
    pub channels: u32,
    /// See [`Video::span`].
    pub span: Span,
}

/// A fraction, as media files say rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rational {
    /// Above the line.
    pub num: u32,
    /// Below it, never 0.
    pub den: u32,
}

/// What a file may have. More is refused before it is decoded.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Pixels of a picture.
    pub pixels: u64,
    /// Streams of all kinds.
    pub streams: usize,
    /// Seconds.
    pub seconds: f64,
}

/// Sound that ends so many seconds after the picture ends with it: frames of sound end where they end.
const SOUND_AFTER: f64 = 0.5;

/// Why a file cannot be processed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(pub String);

// === impl Probe ===

impl Probe {
    /// Takes in what the packets say, and finds out whether the file keeps what its headers promise.
    ///
    /// # Errors
    /// It was cut off, or is too long.
    pub fn measured(mut self, packets: &Packets, limits: &Limits) -> Result<Self, Unusable> {
        let spans = |index: usize| packets.span(index);
        if let Some(video) = &mut self.video {
            let none = || Unusable("its video has no frames".to_owned());
            video.span = spans(video.index).ok_or_else(none)?;
            if let Some(rate) = rate_of(&video.span).filter(|_| video.frame_rate.num == 0) {
                video.frame_rate = rate;
            }
        }
        if let Some(audio) = &mut self.audio {
            match spans(audio.index) {
                Some(span) => audio.span = span,
                // Promised, and not there.
                None => self.audio = None,
            }
        }
        // Of any stream, and from the beginning of all time: some headers mean that by their duration.
        let there = packets.end();
        if let Some(promised) = self.promised_seconds
            && there < promised - f64::max(1.0, promised * 0.02)
        {
            let text = format!("it was cut off: {there:.1} of {promised:.1} seconds are there");
            return Err(Unusable(text));
        }
        let seconds = self.seconds();
        if seconds > limits.seconds {
            let text = format!("it takes {seconds:.0} seconds; at most {:.0} are processed", limits.seconds);
            return Err(Unusable(text));
        }
        Ok(self)
    }

    /// Whether it is an MP4 file or one of its family, which keep an index, and all but the media at their ends.
    pub fn is_mp4(&self) -> bool {
        self.container.split(',').any(|name| name == "mp4")
    }

    /// Whether any of its frames can be found without reading what is before it.
    pub fn is_indexed(&self) -> bool {
        self.is_mp4() || self.container.split(',').any(|name| name == "matroska")
    }

    /// Seconds until its picture ends, or its sound, where that goes on for longer than encoders make it.
    pub fn seconds(&self) -> f64 {
        let audio = self.audio.as_ref().map_or(0.0, |audio| audio.span.end);
        match &self.video {
            Some(video) if audio < video.span.end + SOUND_AFTER => video.span.end,
            _ => audio,
        }
    }
}

// === impl Video ===

impl Video {
    /// Width and height in square pixels, as it is seen.
    pub fn shown(&self) -> (u32, u32) {
        let wide =
            u64::from(self.width) * u64::from(self.pixel_aspect.num) / u64::from(self.pixel_aspect.den);
        let wide = u32::try_from(wide.clamp(1, 1 << 20)).unwrap_or(1);
        if matches!(self.rotation, 90 | 270) { (self.height, wide) } else { (wide, self.height) }
    }

    /// Whether it has more brightness than screens of today show, and has to be brought down to theirs.
    pub fn is_hdr(&self) -> bool {
        matches!(self.transfer.as_deref(), Some("smpte2084" | "arib-std-b67"))
    }
}

/// The average rate of what was counted.
fn rate_of(span: &Span) -> Option<Rational> {
    let rate = f64::from(u32::try_from(span.packets).ok()?) / (span.end - span.start);
    let millis = (rate * 1000.0).round();
    // From 0.001 to a million: within u32.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    (1.0..1e9).contains(&millis).then(|| Rational { num: millis as u32, den: 1000 }.reduced())
}

// === impl Rational ===

impl Rational {
    /// The same with the smallest numbers.
    #[must_use]
    pub fn reduced(self) -> Self {
        let (mut a, mut b) = (self.num, self.den);
        while b != 0 {
            (a, b) = (b, a % b);
        }
        Self { num: self.num / a.max(1), den: self.den / a.max(1) }
    }

    /// As a number.
    pub fn value(self) -> f64 {
        f64::from(self.num) / f64::from(self.den)
    }

    /// `a/b` or `a:b`; `None` for what is not, or where the second is 0.
    pub fn parse(text: &str) -> Option<Self> {
        let (num, den) = text.split_once(['/', ':'])?;
        let (num, den) = (num.parse().ok()?, den.parse().ok()?);
        (den != 0).then_some(Self { num, den })
    }
}

impl fmt::Display for Rational {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.den == 1 { write!(f, "{}", self.num) } else { write!(f, "{}/{}", self.num, self.den) }
    }
}
