//! How an upload is cut into the parts of a multipart upload (S3: at most 10,000, each of at least 5 MiB but the last).
//!
//! A part is what a client can lose when its connection breaks, and what we hold in memory, so parts are small while
//! the upload is. Numbers are used up by parts that were cut short, too: each part is as long as if only half of the
//! numbers that are left could be used.

/// S3's own limit.
pub(crate) const NUMBERS_MAX: u64 = 10_000;
/// Not less, so that an upload of many gigabytes does not pay for thousands of requests.
pub(crate) const PART_BYTES: u64 = 8 << 20;
/// S3 takes no longer ones.
const PART_BYTES_MAX: u64 = 5 << 30;
/// Parts are cut at multiples of this.
const STEP_BYTES: u64 = 1 << 20;

/// How long the part with `number` is to be, of an upload that has `offset` bytes in the parts before it.
///
/// Of an upload of unknown length it is expected that it has three times as much to come as it has already, but not
/// more than `limit` in all.
pub(crate) fn part_bytes(number: u64, offset: u64, length: Option<u64>, limit: u64) -> u64 {
    let expected = || offset.saturating_mul(3).min(limit.saturating_sub(offset));
    let to_come = length.map_or_else(expected, |length| length.saturating_sub(offset));
    let numbers = (NUMBERS_MAX.saturating_sub(number) / 2).max(1);
    to_come.div_ceil(numbers).next_multiple_of(STEP_BYTES).clamp(PART_BYTES, PART_BYTES_MAX)
}

/// The longest part that an upload of at most `length` bytes may need.
pub(crate) fn part_bytes_max(length: u64) -> u64 {
    // With a known length the first part is, if none is cut short; the factor is for those that are, and for those whose
    // length becomes known late.
    2 * part_bytes(1, 0, Some(length), length)
}

#[cfg(test)]
mod tests {
    use super::*;

    const GIB: u64 = 1 << 30;
    const TIB: u64 = 1 << 40;

    /// Cuts a whole upload, with every `cut`th part no longer than S3's minimum; says how many parts and the longest.
    fn cut(length: u64, is_known: bool, cut: u64) -> (u64, u64) {
        let (mut number, mut offset, mut longest) = (0, 0, 0);
        while offset < length {
            number += 1;
            let part = part_bytes(number, offset, is_known.then_some(length), 5 * TIB);
            longest = longest.max(part.min(length - offset));
            offset += if number % cut == 0 { 5 << 20 } else { part };
        }
        (number, longest)
    }

    #[test]
    fn the_numbers_suffice_for_every_length() {
        for length in [1, 5 << 20, 8 << 20, GIB, 64 * GIB, 600 * GIB, 5 * TIB] {
            for is_known in [true, false] {
                for interrupted in [u64::MAX, 10, 3, 2] {
                    let (parts, longest) = cut(length, is_known, interrupted);
                    assert!(parts <= NUMBERS_MAX, "{length} {is_known} {interrupted}: {parts} parts");
                    assert!(longest <= 5 * GIB, "{length}: {longest} is longer than S3 takes");
                }
            }
        }
    }

    #[test]
    fn small_uploads_have_small_parts() {
        assert_eq!(part_bytes(1, 0, Some(100), GIB), PART_BYTES);
        assert_eq!(part_bytes(1, 0, None, GIB), PART_BYTES);
        assert_eq!(cut(8 * GIB, true, u64::MAX), (1024, PART_BYTES));
        assert_eq!(cut(8 * GIB, false, u64::MAX), (1024, PART_BYTES));
    }

    #[test]
    fn parts_of_a_known_length_grow_little() {
        for length in [GIB, 64 * GIB, TIB] {
            for interrupted in [u64::MAX, 10, 3] {
                let (_, longest) = cut(length, true, interrupted);
                assert!(longest <= part_bytes_max(length), "{length} {interrupted}: {longest}");
            }
        }
    }
}
