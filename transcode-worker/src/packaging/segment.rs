//! Segments: the fragments that one reference of the index covers, the groups of them that one line of a playlist does, and
//! their bit rates.

use std::{ops::Range, time::Duration};

use super::{Error, Kind, Options, Rates, Segment, Track, fragment::Fragment};

/// `reference_count` of `sidx` has 16 bits (ISO/IEC 14496-12 §8.16.3).
pub(super) const REFERENCES_MAX: usize = 65_535;
/// `referenced_size` has 31.
const REFERENCE_BYTES_MAX: u64 = (1 << 31) - 1;
/// About how long a segment of audio is: as long as the key frame interval that video is encoded with.
const AUDIO_SECONDS: u64 = 2;

/// A track cut for a playlist.
pub(super) struct Rendition<'a> {
    pub(super) track: &'a Track,
    /// What each line of its playlist covers.
    pub(super) groups: Vec<Group>,
    pub(super) rates: Rates,
    /// In seconds, the same for all renditions (draft-pantos-hls-rfc8216bis §6.2.4).
    pub(super) target: u64,
}

/// Neighbouring segments.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    pub(super) bytes: Range<u64>,
    /// In ticks.
    pub(super) start: u64,
    pub(super) duration: u64,
}

/// The segments of a track whose fragments, in order, are written from byte `offset` on.
///
/// Video: one from each fragment that starts with a sync sample to the next such. Audio: about [`AUDIO_SECONDS`] each.
/// Neighbours are joined where there would be more than an index can have.
pub(super) fn segments(
    fragments: &[Fragment],
    kind: Kind,
    timescale: u32,
    limit: usize,
) -> Result<Vec<Range<usize>>, &'static str> {
    let mut runs: Vec<Range<usize>> = match kind {
        Kind::Video => {
            if !fragments.first().is_some_and(|first| first.sync) {
                return Err("does not start with a key frame");
            }
            let starts: Vec<usize> = (0..fragments.len()).filter(|index| fragments[*index].sync).collect();
            let ends = starts.iter().copied().skip(1).chain([fragments.len()]);
            starts.iter().zip(ends).map(|(start, end)| *start..end).collect()
        }
        Kind::Audio => {
            group(fragments.iter().map(|fragment| fragment.duration), AUDIO_SECONDS * u64::from(timescale))
        }
    };
    while runs.len() > limit {
        runs = runs.chunks(2).map(|pair| pair[0].start..pair[pair.len() - 1].end).collect();
    }
    Ok(runs)
}

/// What the index says of each of `runs`, which are written one after the other from byte `offset` on.
pub(super) fn describe(
    fragments: &[Fragment],
    runs: &[Range<usize>],
    mut offset: u64,
) -> Result<Vec<Segment>, String> {
    let mut described: Vec<Segment> = Vec::with_capacity(runs.len());
    let end = fragments.iter().map(|fragment| fragment.end).max().unwrap_or_default();
    let starts: Vec<u64> = runs
        .iter()
        .map(|run| fragments[run.clone()].iter().map(|fragment| fragment.earliest).min().unwrap_or_default())
        .collect();
    for (index, run) in runs.iter().enumerate() {
        let (run, start) = (&fragments[run.clone()], starts[index]);
        let duration = starts.get(index + 1).unwrap_or(&end).checked_sub(start).filter(|ticks| *ticks > 0);
        let Some(duration) = duration else {
            return Err(format!("has nothing to show between its key frames at ticks {start} and after"));
        };
        let bytes = run.iter().map(|fragment| fragment.first_bytes + fragment.rest_bytes).sum();
        if bytes > REFERENCE_BYTES_MAX || duration > u64::from(u32::MAX) {
            return Err(format!(
                "has a segment of {bytes} bytes and {duration} ticks; an index has room for {REFERENCE_BYTES_MAX} and {}",
                u32::MAX
            ));
        }
        let samples = run.iter().map(|fragment| fragment.samples).sum();
        described.push(Segment {
            offset,
            bytes,
            start,
            duration,
            samples,
            key_frame_bytes: run[0].first_bytes,
        });
        offset += bytes;
    }
    Ok(described)
}

/// `sidx` (ISO/IEC 14496-12 §8.16.3) over segments that follow it at once.
pub(super) fn index(track_id: u32, timescale: u32, start: u64, segments: &[Segment]) -> Vec<u8> {
    let (version, time): (u8, Vec<u8>) = match u32::try_from(start) {
        Ok(start) => (0, [start.to_be_bytes(), [0; 4]].concat()),
        Err(_) => (1, [start.to_be_bytes(), [0; 8]].concat()),
    };
    let fits = "the segments were counted and measured before";
    let bytes = u32::try_from(index_bytes(start, segments.len())).expect(fits);
    let count = u16::try_from(segments.len()).expect(fits);
    let mut out = Vec::with_capacity(bytes as usize);
    out.extend(bytes.to_be_bytes());
    out.extend(*b"sidx");
    out.extend([version, 0, 0, 0]);
    out.extend(track_id.to_be_bytes());
    out.extend(timescale.to_be_bytes());
    out.extend(time);
    out.extend([0, 0]);
    out.extend(count.to_be_bytes());
    for segment in segments {
        out.extend(u32::try_from(segment.bytes).expect(fits).to_be_bytes());
        out.extend(u32::try_from(segment.duration).expect(fits).to_be_bytes());
        // starts_with_SAP, SAP_type 1: it is decoded from its first sample on, which is also shown first.
        out.extend([0x90, 0, 0, 0]);
    }
    out
}

/// The bytes that [`index`] takes.
pub(super) fn index_bytes(start: u64, segments: usize) -> u64 {
    let times = if start > u64::from(u32::MAX) { 16 } else { 8 };
    (24 + times + 12 * segments) as u64
}

/// Cuts where each part is as near to `target` as its neighbours allow, never inside one of `durations`.
fn group(durations: impl Iterator<Item = u64>, target: u64) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut so_far = 0;
    for (index, duration) in durations.enumerate() {
        match groups.last_mut() {
            // Nearer with it than without.
            Some(last) if (so_far + duration).abs_diff(target) <= target.abs_diff(so_far) => {
                last.end = index + 1;
                so_far += duration;
            }
            _ => {
                groups.push(index..index + 1);
                so_far = duration;
            }
        }
    }
    groups
}

/// The tracks cut for playlists, if they can be offered together.
pub(super) fn renditions<'a>(tracks: &'a [Track], options: &Options) -> Result<Vec<Rendition<'a>>, Error> {
    let refuse = |track: &Track, problem: String| Err(Error::Track { track: track.id.clone(), problem });
    for (index, track) in tracks.iter().enumerate() {
        let named = [&track.id, &track.file].into_iter().chain(&track.language).all(|name| is_name(name));
        if !named || tracks[..index].iter().any(|other| other.id == track.id || other.file == track.file) {
            return refuse(
                track,
                "needs an id and a file of its own, of letters, digits, '-', '_' and '.'".to_owned(),
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
    let cut: Vec<Vec<Group>> = tracks.iter().map(|track| groups(track, options.segment)).collect();
    let longest = tracks
        .iter()
        .zip(&cut)
        .flat_map(|(track, groups)| groups.iter().map(|group| track.micros(group.duration)));
    // §4.4.3.1: every duration, rounded to the nearest second, is at most the target.
    let target = longest.max().map_or(1, |micros| ((micros + 500_000) / 1_000_000).max(1));
    Ok(tracks
        .iter()
        .zip(cut)
        .map(|(track, groups)| Rendition { track, rates: rates(track, &groups, target), groups, target })
        .collect())
}

/// A name that needs no escaping in a URI, in a playlist or in XML.
pub(super) fn is_name(name: &str) -> bool {
    (1..=128).contains(&name.len())
        && !name.starts_with('.')
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// Where the key frames of two renditions differ: a player could not change from one to the other there.
fn misaligned(first: &Track, other: &Track) -> Option<String> {
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

fn groups(track: &Track, target: Duration) -> Vec<Group> {
    let ticks = target.as_nanos() * u128::from(track.timescale) / 1_000_000_000;
    let durations = track.segments.iter().map(|segment| segment.duration);
    group(durations, u64::try_from(ticks).unwrap_or(u64::MAX))
        .into_iter()
        .map(|run| {
            let run = &track.segments[run];
            let (first, last) = (&run[0], &run[run.len() - 1]);
            let duration = last.start + last.duration - first.start;
            Group { bytes: first.offset..last.offset + last.bytes, start: first.start, duration }
        })
        .collect()
}

/// draft-pantos-hls-rfc8216bis §4.1: the peak is that of the densest set of neighbours that lasts 0.5 to 1.5 `target` seconds.
/// A track that is too short for any such set is one set.
fn rates(track: &Track, groups: &[Group], target: u64) -> Rates {
    let rate = |bytes: u64, ticks: u64| {
        let bits = u128::from(bytes) * 8 * u128::from(track.timescale);
        u64::try_from(bits.div_ceil(u128::from(ticks.max(1)))).unwrap_or(u64::MAX)
    };
    let bytes = groups.iter().map(|group| group.bytes.end - group.bytes.start).sum();
    let average = rate(bytes, track.duration);
    let (shortest, longest) =
        (target * u64::from(track.timescale) / 2, target * u64::from(track.timescale) * 3 / 2);
    let mut peak = None;
    for (index, first) in groups.iter().enumerate() {
        for last in &groups[index..] {
            let ticks = last.start + last.duration - first.start;
            if ticks > longest {
                break;
            }
            if ticks >= shortest {
                peak = peak.max(Some(rate(last.bytes.end - first.bytes.start, ticks)));
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
