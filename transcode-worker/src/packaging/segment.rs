//! Segments, which are the fragments that one reference of the index covers, and that index.

use std::ops::Range;

use super::{Kind, Segment, fragment::Fragment};

/// `reference_count` of `sidx` has 16 bits (ISO/IEC 14496-12 §8.16.3).
pub(super) const REFERENCES_MAX: usize = 65_535;
/// `referenced_size` has 31.
const REFERENCE_BYTES_MAX: u64 = (1 << 31) - 1;
/// About how long a segment of audio is: as long as the key frame interval that video is encoded with.
const AUDIO_SECONDS: u64 = 2;

/// Which of a track's fragments make up each segment; at most `limit` of them.
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
pub(super) fn group(durations: impl Iterator<Item = u64>, target: u64) -> Vec<Range<usize>> {
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
