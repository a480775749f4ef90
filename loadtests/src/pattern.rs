//! Bytes that can be made and checked at any offset, without an object of that size existing anywhere.
//!
//! Word `i` (eight bytes, little endian) of the pattern of a seed is output `i` of a `splitmix64` generator
//! started from that seed. Nearby offsets and nearby seeds share nothing, so a body that is shifted, or that
//! mixes two versions of an object, does not pass [`verify`].

const WORD: usize = 8;
/// The increment of `splitmix64`: 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Fills `out` with the bytes that the pattern of `seed` has from `offset` on.
pub fn fill(seed: u64, offset: u64, out: &mut [u8]) {
    let start = mix(seed);
    let mut word = offset / WORD as u64;
    let in_word = usize::try_from(offset % WORD as u64).expect("less than eight");
    // Up to the next word boundary, then whole words, then the rest.
    let head = ((WORD - in_word) % WORD).min(out.len());
    let (head, rest) = out.split_at_mut(head);
    if !head.is_empty() {
        head.copy_from_slice(&word_at(start, word)[in_word..in_word + head.len()]);
        word += 1;
    }
    let mut words = rest.chunks_exact_mut(WORD);
    for chunk in &mut words {
        chunk.copy_from_slice(&word_at(start, word));
        word += 1;
    }
    let tail = words.into_remainder();
    tail.copy_from_slice(&word_at(start, word)[..tail.len()]);
}

/// The object offset of the first byte of `bytes`, which begin at `offset`, that the pattern of `seed` does
/// not have there; `None` when all are right.
#[must_use]
pub fn verify(seed: u64, offset: u64, bytes: &[u8]) -> Option<u64> {
    let mut expected = [0; 4096];
    let mut at = offset;
    for piece in bytes.chunks(expected.len()) {
        let expected = &mut expected[..piece.len()];
        fill(seed, at, expected);
        if expected != piece {
            let equal = expected.iter().zip(piece).take_while(|(one, other)| one == other).count();
            return Some(at + equal as u64);
        }
        at += piece.len() as u64;
    }
    None
}

/// A number in `0..bound` that depends on nothing but its arguments: the draw number `index` of `seed`.
///
/// The bias for bounds that are no power of two is at most `bound / 2^64`.
#[must_use]
pub fn draw(seed: u64, index: u64, bound: u64) -> u64 {
    let word = u64::from_le_bytes(word_at(mix(seed), index));
    let scaled = (u128::from(word) * u128::from(bound)) >> 64;
    u64::try_from(scaled).expect("less than the bound")
}

fn word_at(start: u64, index: u64) -> [u8; WORD] {
    mix(start.wrapping_add(index.wrapping_mul(GOLDEN))).to_le_bytes()
}

/// The output function of `splitmix64` (Steele, Lea and Flood, 2014).
fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(GOLDEN);
    z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(seed: u64, offset: u64, len: usize) -> Vec<u8> {
        let mut out = vec![0; len];
        fill(seed, offset, &mut out);
        out
    }

    #[test]
    fn any_piece_equals_the_same_piece_of_the_whole() {
        let whole = pattern(7, 0, 300);
        for start in 0..40 {
            for len in 0..60 {
                let piece = pattern(7, start as u64, len);
                assert_eq!(piece, whole[start..start + len], "{len} bytes at {start}");
            }
        }
    }

    #[test]
    fn seeds_and_offsets_share_nothing() {
        // Of 4,096 random bytes 16 agree by chance; 64 would be twelve standard deviations away.
        let agreeing = |one: &[u8], other: &[u8]| one.iter().zip(other).filter(|(a, b)| a == b).count();
        let base = pattern(1, 0, 4096);
        for (seed, offset) in [(0, 0), (2, 0), (1, 1), (1, 8), (1, 4096), (1, 1 << 40), (u64::MAX, 0)] {
            let agreeing = agreeing(&base, &pattern(seed, offset, 4096));
            assert!(agreeing < 64, "seed {seed} at {offset}: {agreeing} bytes agree");
        }
    }

    #[test]
    fn verify_points_at_the_first_wrong_byte() {
        let offset = (1 << 33) + 3;
        let mut bytes = pattern(9, offset, 10_000);
        assert_eq!(verify(9, offset, &bytes), None);
        assert_eq!(verify(9, offset, &[]), None);
        assert_eq!(verify(9, offset + 1, &bytes[..100]), Some(offset + 1));
        for wrong in [9_999, 4_096, 4_095, 0] {
            bytes[wrong] ^= 1;
            assert_eq!(verify(9, offset, &bytes), Some(offset + wrong as u64));
        }
    }

    #[test]
    fn draws_stay_below_their_bound_and_reach_all_of_it() {
        let mut seen = [false; 10];
        for index in 0..200 {
            seen[usize::try_from(draw(3, index, 10)).unwrap()] = true;
        }
        assert!(seen.iter().all(|seen| *seen), "{seen:?}");
    }
}
