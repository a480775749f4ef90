//! What one replica asks of another. The input is an entry of the list in Redis.

use seekway_cache::Segmentation;
use seekway_cache::redis::requests::{SEGMENTS_MAX, decode, encode};

const NAMESPACE: &str = "aws/films";
const SEGMENT_BYTES: u64 = 65_536;

/// See the module.
pub fn check(data: &[u8]) {
    let cut = Segmentation::new(SEGMENT_BYTES);
    let Some((identity, segments)) = decode(NAMESPACE, cut, data) else { return };
    assert!(segments.start < segments.end && segments.end - segments.start <= SEGMENTS_MAX, "{segments:?}");
    let start = segments.start.checked_mul(SEGMENT_BYTES).expect("it lies within the object");
    assert!(
        start < identity.size() && segments.end <= identity.size().div_ceil(SEGMENT_BYTES),
        "{segments:?}"
    );
    let end = (segments.end * SEGMENT_BYTES).min(identity.size());
    let again = encode(NAMESPACE, cut, &identity, start..end);
    assert_eq!(decode(NAMESPACE, cut, &again), Some((identity, segments)), "asked and read again");
    assert_eq!(decode("aws/other", cut, &again), None, "of another store");
    assert_eq!(decode(NAMESPACE, Segmentation::new(2 * SEGMENT_BYTES), &again), None, "cut otherwise");
}
