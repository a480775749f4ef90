//! Tracks cut for playlists: what a line covers, and the bit rates that follow from it.

use std::{ops::Range, time::Duration};

use super::{Error, Kind, Options, Rates, Track, segment::group};

/// A track as the manifests offer it.
pub(super) struct Rendition<'a> {
    pub(super) track: &'a Track,
    pub(super) media: Playlist,
    /// Its key frames alone: empty for audio.
    pub(super) key_frames: Playlist,
}

/// The lines of a playlist, and what is said over them.
pub(super) struct Playlist {
    pub(super) lines: Vec<Line>,
    /// In seconds.
    pub(super) target: u64,
    pub(super) rates: Rates,
}

/// One line: neighbouring segments, or the key frame of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) bytes: Range<u64>,
    /// In ticks.
    pub(super) start: u64,
    pub(super) duration: u64,
}

/// The tracks cut for playlists, if they can be offered together.
pub(super) fn renditions<'a>(tracks: &'a [Track], options: &Options) -> Result<Vec<Rendition<'a>>, Error> {
    let refuse = |track: &Track, problem: String| Err(Error::Track { track: track.id.clone(), problem });
    for (index, track) in tracks.iter().enumerate() {
        if tracks[..index].iter().any(|other| other.id == track.id || other.file == track.file) {
            return refuse(track, "has the id or the file of another".to_owned());
        }
        if let Some(name) = track.names().find(|name| !is_name(name)) {
            return refuse(
                track,
                format!("has the name {name:?}; letters, digits, '-', '_' and '.' are allowed"),
            );
        }
        if track.segments.is_empty() {
            return refuse(track, "has no segments".to_owned());
        }
    }
    let mut video = tracks.iter().filter(|track| track.kind() == Kind::Video);
    if let Some(first) = video.next() {
        for other in video {
            if let Some(problem) = misaligned(first, other) {
                return refuse(other, problem);
            }
        }
    }
    let cut: Vec<Vec<Line>> = tracks.iter().map(|track| lines(track, options.segment)).collect();
    // The same in all media playlists (draft-pantos-hls-rfc8216bis §6.2.4).
    let target =
        tracks.iter().zip(&cut).map(|(track, lines)| target(track, lines)).max().ok_or(Error::NoTracks)?;
    let rendition = |(track, lines): (&'a Track, Vec<Line>)| {
        let key_frames = key_frames(track);
        let key_target = self::target(track, &key_frames);
        Rendition {
            track,
            media: Playlist { rates: rates(track, &lines, target), lines, target },
            key_frames: Playlist {
                rates: rates(track, &key_frames, key_target),
                lines: key_frames,
                target: key_target,
            },
        }
    };
    Ok(tracks.iter().zip(cut).map(rendition).collect())
}

/// Whether it needs no escaping in a URI, in a playlist or in XML.
pub(super) fn is_name(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Where the segments of two tracks start at different times: a player could not change from one to the other there.
pub(super) fn misaligned(first: &Track, other: &Track) -> Option<String> {
    if first.segments.len() != other.segments.len() {
        let (count, expected) = (other.segments.len(), first.segments.len());
        return Some(format!("has {count} segments where {:?} has {expected}", first.id));
    }
    let time = |ticks: u64, of: &Track| u128::from(ticks) * u128::from(of.timescale);
    let apart = first
        .segments
        .iter()
        .zip(&other.segments)
        .find(|(a, b)| time(a.start, other) != time(b.start, first));
    apart.map(|(a, b)| {
        let (micros, expected) = (other.micros(b.start), first.micros(a.start));
        format!("has a key frame at {micros} µs where {:?} has one at {expected} µs", first.id)
    })
}

/// Segments in groups of about `target`. Tracks whose segments are aligned are cut alike.
fn lines(track: &Track, target: Duration) -> Vec<Line> {
    let ticks = target.as_nanos() * u128::from(track.timescale) / 1_000_000_000;
    let durations = track.segments.iter().map(|segment| segment.duration);
    group(durations, u64::try_from(ticks).unwrap_or(u64::MAX))
        .into_iter()
        .map(|run| {
            let run = &track.segments[run];
            let (first, last) = (&run[0], &run[run.len() - 1]);
            let duration = last.start + last.duration - first.start;
            Line { bytes: first.offset..last.offset + last.bytes, start: first.start, duration }
        })
        .collect()
}

/// The key frame of each segment, shown until the next one.
fn key_frames(track: &Track) -> Vec<Line> {
    let segments = if track.kind() == Kind::Video { track.segments.as_slice() } else { &[] };
    let line = |segment: &super::Segment| Line {
        bytes: segment.offset..segment.offset + segment.key_frame_bytes,
        start: segment.start,
        duration: segment.duration,
    };
    segments.iter().map(line).collect()
}

/// §4.4.3.1: every duration, rounded to the nearest second, is at most the target.
fn target(track: &Track, lines: &[Line]) -> u64 {
    let longest = lines.iter().map(|line| track.micros(line.duration)).max().unwrap_or_default();
    (longest.saturating_add(500_000) / 1_000_000).max(1)
}

/// §4.1: the peak is that of the densest set of neighbours that lasts 0.5 to 1.5 `target` seconds. A track that is too short
/// for any such set is one set.
fn rates(track: &Track, lines: &[Line], target: u64) -> Rates {
    let rate = |bytes: u64, ticks: u64| {
        let bits = u128::from(bytes) * 8 * u128::from(track.timescale);
        u64::try_from(bits.div_ceil(u128::from(ticks.max(1)))).unwrap_or(u64::MAX)
    };
    let bytes = |lines: &[Line]| lines.iter().map(|line| line.bytes.end - line.bytes.start).sum::<u64>();
    let average = rate(bytes(lines), track.duration);
    let target = target.saturating_mul(track.timescale.into());
    let mut peak = None;
    for (first, line) in lines.iter().enumerate() {
        for (last, end) in lines.iter().enumerate().skip(first) {
            let ticks = end.start + end.duration - line.start;
            if ticks > target.saturating_add(target / 2) {
                break;
            }
            if ticks >= target / 2 {
                peak = peak.max(Some(rate(bytes(&lines[first..=last]), ticks)));
            }
        }
    }
    Rates { peak: peak.unwrap_or(average), average }
}

// === impl Rendition ===

impl Rendition<'_> {
    /// When its last sample ends.
    pub(super) fn end(&self) -> Duration {
        Duration::from_micros(self.track.micros(self.track.start + self.track.duration))
    }
}

// === impl Track ===

impl Track {
    /// Everything of it that is written into manifests as it is.
    fn names(&self) -> impl Iterator<Item = &String> {
        [&self.id, &self.file, &self.codecs].into_iter().chain(&self.language)
    }
}
