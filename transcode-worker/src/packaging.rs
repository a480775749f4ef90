//! From the fragmented MP4 files that ffmpeg wrote to what players play.
//!
//! Two steps, both of local files. [`assemble`] makes one file of a track out of the file, or the chunks, that ffmpeg wrote:
//! `ftyp`, `moov` with its duration, one index (`sidx`) of segments that each start with a key frame, and the fragments.
//! [`package`] writes the playlists and manifests that point into such files with byte ranges: HLS (RFC 8216 and
//! draft-pantos-hls-rfc8216bis) and DASH (ISO/IEC 23009-1) play the same bytes, and so does a plain `<video>`.
//!
//! The manifests of ffmpeg itself are not used: they guess the bandwidth, and its index of audio starts 21 ms late.
//!
//! Everything blocks, and nothing is ever held as a whole: headers, one `moof` at a time, and about 100 bytes for each
//! fragment. The files are believed nothing: they come from a program that was fed by strangers. An [`Error`] names the file,
//! the box and where it starts; there is no partial success, and what was written until then is of no use.

mod assemble;
mod boxes;
mod codec;
mod dash;
mod fragment;
mod header;
mod hls;
mod rendition;
mod segment;
mod storyboard;
#[cfg(test)]
mod tests;

use std::{
    io,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

pub use assemble::{assemble, concatenate, frames};
pub use storyboard::{Sheets, storyboard_vtt};

use rendition::Rendition;

/// What ffmpeg wrote of one track.
#[derive(Clone, Debug)]
pub struct Source {
    /// Names the track in files and manifests: letters, digits, `-` and `_`.
    pub id: String,
    /// What the track must be: ffmpeg, asked for the audio of a source that has none, may write video and end well.
    pub kind: Kind,
    /// One file, or the chunks of one track in their order, which must continue each other.
    pub fragments: Vec<PathBuf>,
}

/// What a track carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Pictures.
    Video,
    /// Sound.
    Audio,
}

/// One assembled file, and all that a manifest says about it. Times are in ticks of `timescale`.
#[derive(Clone, Debug)]
pub struct Track {
    /// The source's.
    pub id: String,
    /// The name of the file, which the manifests give as its relative URI.
    pub file: String,
    /// As RFC 6381 names them: `avc1.64001f`, `mp4a.40.2`.
    pub codecs: String,
    /// ISO 639-2/T, where ffmpeg wrote one. May be set to any BCP 47 tag before [`package`].
    pub language: Option<String>,
    /// What is particular to video or audio.
    pub format: Format,
    /// Samples of the container in a second: pictures, or frames of audio. Exact where all but the last have one duration,
    /// else the average to a thousandth.
    pub frame_rate: Ratio,
    /// Ticks in a second.
    pub timescale: u32,
    /// Where `ftyp` and `moov` are.
    pub init: Range<u64>,
    /// Where the `sidx` is. The first segment follows it.
    pub index: Range<u64>,
    /// In order and without gaps, to the end of the file.
    pub segments: Vec<Segment>,
    /// Samples in all.
    pub frames: u64,
    /// When the first sample is shown.
    pub start: u64,
    /// From then to the end of the last sample.
    pub duration: u64,
}

/// What is particular to video or audio.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Format {
    /// Pictures.
    Video {
        /// Coded pixels.
        width: u32,
        /// Coded pixels.
        height: u32,
        /// Width to height of one pixel.
        aspect: (u32, u32),
        /// What the pixels' values mean.
        range: VideoRange,
    },
    /// Sound.
    Audio {
        /// In hertz.
        sample_rate: u32,
        /// Of the sample entry.
        channels: u16,
    },
}

/// The values of VIDEO-RANGE (draft-pantos-hls-rfc8216bis §4.4.6.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum VideoRange {
    /// Everything that does not say otherwise.
    Sdr,
    /// ARIB STD-B67.
    Hlg,
    /// SMPTE ST 2084.
    Pq,
}

/// A ratio in lowest terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ratio {
    /// Above.
    pub numerator: u64,
    /// Below; never zero.
    pub denominator: u64,
}

/// One reference of the index: fragments that can be decoded from the first on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Segment {
    /// In bytes from the start of the file.
    pub offset: u64,
    /// Of all its fragments.
    pub bytes: u64,
    /// When its first sample is shown.
    pub start: u64,
    /// Until the next segment, or until the end of the track.
    pub duration: u64,
    /// Samples in all.
    pub samples: u64,
    /// Of its first fragment: in video, the key frame alone as a whole fragment.
    pub key_frame_bytes: u64,
}

/// How the manifests cut.
#[derive(Clone, Debug)]
pub struct Options {
    /// About how long a segment of a playlist is: a whole number of key frame intervals as near to it as they come.
    pub segment: Duration,
}

/// What [`package`] wrote.
#[derive(Clone, Debug)]
pub struct Packaged {
    /// The names of the files in the folder. Publish them after the tracks, in this order: one is named only by later ones.
    pub files: Vec<String>,
    /// Of each track, in their order.
    pub rates: Vec<Rates>,
    /// The longest track's.
    pub duration: Duration,
}

/// The bit rates of one track, headers of the container included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rates {
    /// Bits in a second of the densest set of neighbouring segments that lasts 0.5 to 1.5 target durations
    /// (draft-pantos-hls-rfc8216bis §4.1).
    pub peak: u64,
    /// Bits in a second over all.
    pub average: u64,
}

/// Why there is nothing to play.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Reading or writing failed; another try may not.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is broken, or has something that is not packaged.
    #[error("{}: the box {name} at byte {at} {problem}", path.display())]
    Box {
        /// The file.
        path: PathBuf,
        /// The four letters of the box.
        name: String,
        /// Where the box starts.
        at: u64,
        /// What does not hold of it.
        problem: String,
    },
    /// A chunk does not continue the one before it.
    #[error("{} cannot follow the chunk before it: {problem}", path.display())]
    Joint {
        /// The later chunk.
        path: PathBuf,
        /// What differs.
        problem: String,
    },
    /// There is none.
    #[error("there is no track to package")]
    NoTracks,
    /// A track that cannot be offered, alone or beside the others.
    #[error("track {track:?} {problem}")]
    Track {
        /// Its id.
        track: String,
        /// What does not hold of it.
        problem: String,
    },
}

/// Writes into `folder` what points into the files of `tracks`: for each `ID.m3u8` and, for video, `ID_iframes.m3u8`; and
/// `master.m3u8` and `manifest.mpd` over all.
///
/// Renditions of video must have their key frames at the same times. They, and renditions of audio, are offered in the order
/// of `tracks`, save that HLS names first the one to start with.
pub fn package(tracks: &[Track], options: &Options, folder: &Path) -> Result<Packaged, Error> {
    let renditions = rendition::renditions(tracks, options)?;
    let mut files: Vec<(String, String)> = Vec::new();
    for rendition in &renditions {
        files.push((hls::playlist_name(rendition.track), hls::playlist(rendition)));
        if rendition.track.kind() == Kind::Video {
            files.push((hls::key_frames_name(rendition.track), hls::key_frames(rendition)));
        }
    }
    files.push(("master.m3u8".to_owned(), hls::master(&renditions)));
    files.push(("manifest.mpd".to_owned(), dash::manifest(&renditions)));
    for (name, text) in &files {
        let path = folder.join(name);
        std::fs::write(&path, text).map_err(|source| Error::Io { path, source })?;
    }
    Ok(Packaged {
        files: files.into_iter().map(|(name, _)| name).collect(),
        rates: renditions.iter().map(|rendition| rendition.media.rates).collect(),
        duration: renditions.iter().map(Rendition::end).max().unwrap_or_default(),
    })
}

// === impl Track ===

impl Track {
    /// What it carries.
    pub fn kind(&self) -> Kind {
        match self.format {
            Format::Video { .. } => Kind::Video,
            Format::Audio { .. } => Kind::Audio,
        }
    }

    /// Ticks as microseconds, to the nearest.
    fn micros(&self, ticks: u64) -> u64 {
        let scale = u128::from(self.timescale);
        u64::try_from((u128::from(ticks) * 1_000_000 + scale / 2) / scale).unwrap_or(u64::MAX)
    }
}

// === impl Format ===

impl Format {
    /// The width and height that a picture is to be shown at.
    pub fn display(&self) -> Option<(u32, u32)> {
        let Self::Video { width, height, aspect: (horizontal, vertical), .. } = *self else { return None };
        let stretched = u64::from(width) * u64::from(horizontal);
        let shown = (stretched + u64::from(vertical) / 2) / u64::from(vertical);
        Some((u32::try_from(shown).unwrap_or(u32::MAX), height))
    }
}

// === impl Ratio ===

impl Ratio {
    pub(crate) fn new(numerator: u64, denominator: u64) -> Self {
        let (mut divisor, mut rest) = (numerator, denominator);
        while rest > 0 {
            (divisor, rest) = (rest, divisor % rest);
        }
        let divisor = divisor.max(1);
        Self { numerator: numerator / divisor, denominator: (denominator / divisor).max(1) }
    }

    /// In thousandths, to the nearest.
    fn thousandths(self) -> u64 {
        let exact = u128::from(self.numerator) * 1000 + u128::from(self.denominator) / 2;
        u64::try_from(exact / u128::from(self.denominator)).unwrap_or(u64::MAX)
    }
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        // Two key frame intervals: a switch or a seek costs one request, and an hour is 900 lines.
        Self { segment: Duration::from_secs(4) }
    }
}

// === impl Error ===

impl Error {
    /// Whether another try, with the same files, may end well.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Io { .. })
    }
}
