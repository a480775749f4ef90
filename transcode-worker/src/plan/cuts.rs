//! Where a long video is cut into chunks: in whole groups of frames from keyframe to keyframe, so that the parts have their
//! keyframes where the whole would have them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::probe::Rational;

/// Some neighbouring frames of what is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    /// The number of the first, from 0.
    pub first: u64,
    /// How many.
    pub frames: u64,
}

/// Chunks of one video at most: so many rows can be told of in one transaction.
const CUTS_MAX: u64 = 1000;
/// Frames before a chunk that go through its filters: what weaves two half-frames into one looks back.
const WARM_UP: u64 = 2;

/// So many frames in chunks of about a length, each of whole groups but the last.
pub fn cuts(frames: u64, group: u32, rate: Rational, length: Duration) -> Vec<Cut> {
    let group = u64::from(group.max(1));
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let wanted = (length.as_secs_f64() * rate.value()).round().max(1.0) as u64;
    let groups = ((wanted + group / 2) / group).max(frames.div_ceil(group).div_ceil(CUTS_MAX)).max(1);
    let each = groups * group;
    // A rest that is short is not worth a part of its own.
    let count = ((frames + each / 2) / each).max(1);
    let cut = |nth: u64| {
        let first = nth * each;
        Cut { first, frames: if nth + 1 == count { frames - first } else { each } }
    };
    (0..count).map(cut).collect()
}

// === impl Cut ===

impl Cut {
    /// The number of the frame after the last.
    pub fn next(self) -> u64 {
        self.first + self.frames
    }

    /// When the first frame is shown, in seconds.
    pub fn start(self, rate: Rational) -> f64 {
        seconds(self.first, rate)
    }

    /// When the last frame ends.
    pub(super) fn end(self, rate: Rational) -> f64 {
        seconds(self.next(), rate)
    }

    /// Frames before the first that are decoded and left out.
    pub(super) fn warm_up(self) -> u64 {
        self.first.min(WARM_UP)
    }
}

fn seconds(frames: u64, rate: Rational) -> f64 {
    #[allow(clippy::cast_precision_loss)]
    let frames = frames as f64;
    frames * f64::from(rate.den) / f64::from(rate.num)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_are_whole_groups_and_nothing_is_left_out() {
        let rate = Rational { num: 30_000, den: 1001 };
        for (frames, group, seconds) in [
            (1, 60, 60),
            (59, 60, 1),
            (600, 60, 4),
            (1799, 60, 10),
            (1_294_705, 60, 1),
            (7, 1, 1),
            (90, 60, 60),
        ] {
            let cuts = cuts(frames, group, rate, Duration::from_secs(seconds));
            assert!((1..=1000).contains(&cuts.len()), "{frames}: {}", cuts.len());
            let mut next = 0;
            for cut in &cuts {
                assert!(
                    cut.first == next && cut.frames > 0 && cut.first.is_multiple_of(group.into()),
                    "{cut:?}"
                );
                next = cut.next();
            }
            assert_eq!(next, frames);
        }
        // Neither a chunk much shorter than the others nor one twice as long.
        let four = cuts(599, 60, rate, Duration::from_secs(4));
        let frames: Vec<_> = four.iter().map(|cut| cut.frames).collect();
        assert_eq!(frames, [120, 120, 120, 120, 119]);
        let frames: Vec<_> =
            cuts(530, 60, rate, Duration::from_secs(4)).iter().map(|cut| cut.frames).collect();
        assert_eq!(frames, [120, 120, 120, 170]);
    }
}
