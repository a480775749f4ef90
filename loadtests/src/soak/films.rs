//! Objects in which every client has a range of its own, so that none can share another's segments.

use std::ops::Range;

use super::{crowd, stage::BUCKET};
use crate::{
    Error,
    origin::{Origin, Shape},
    pattern,
};

const FILMS: usize = 16;
/// Ranges begin where nothing else does.
const ODD_BYTES: u64 = 4321;

/// The origin and the ranges in it.
#[derive(Debug)]
pub(super) struct Films {
    origin: Origin,
    range_bytes: u64,
}

// === impl Films ===

impl Films {
    /// An origin with room for `clients`, who read `range_bytes` each.
    pub(super) fn start(shape: Shape, clients: usize, range_bytes: u64) -> Result<Self, Error> {
        let films = Self { origin: Origin::start(shape)?, range_bytes };
        let size = (clients.div_ceil(FILMS) as u64 + 1) * films.stride();
        for film in 0..FILMS {
            films.origin.put_pattern(BUCKET, &format!("film-{film}.mp4"), size, film as u64);
        }
        Ok(films)
    }

    pub(super) fn origin(&self) -> &Origin {
        &self.origin
    }

    /// Where client number `nth` reads.
    pub(super) fn path(nth: usize) -> String {
        format!("/media/film-{}.mp4", nth % FILMS)
    }

    /// What it reads there.
    pub(super) fn range(&self, nth: usize) -> Range<u64> {
        let start = (nth / FILMS) as u64 * self.stride() + ODD_BYTES;
        start..start + self.range_bytes
    }

    /// The request for it.
    pub(super) fn request(&self, nth: usize) -> String {
        let Range { start, end } = self.range(nth);
        crowd::get(&Self::path(nth), &format!("range: bytes={start}-{}\r\n", end - 1))
    }

    /// Whether `bytes` are what client number `nth` gets from `offset` of its range on.
    pub(super) fn are_right(&self, nth: usize, offset: u64, bytes: &[u8]) -> bool {
        pattern::verify((nth % FILMS) as u64, self.range(nth).start + offset, bytes).is_none()
    }

    fn stride(&self) -> u64 {
        // Read-ahead ends with the range, and with the segment in which it ends.
        2 * self.range_bytes.next_multiple_of(1 << 20)
    }
}
