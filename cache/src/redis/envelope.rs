//! How a value lies in Redis: with its own name, length and checksum, so that whatever else comes back under
//! its key is a miss.
//!
//! ```text
//! magic "SkW1" | name length u32 | payload length u32 | xxh3-64 of name and payload | name | payload
//! ```
//! All numbers are little-endian. The name holds everything that decides the bytes (store, key, version, size,
//! segment), so neither a collision of Redis keys nor another configuration can pass for the wanted value. The
//! checksum is for memory and disks that forget; it is no signature, and who can write to Redis is trusted.

use bytes::Bytes;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

const MAGIC: [u8; 4] = *b"SkW1";
const HEADER_BYTES: usize = 4 + 4 + 4 + 8;

/// The value that says `payload` under `name`.
pub fn seal(name: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut value = Vec::with_capacity(HEADER_BYTES + name.len() + payload.len());
    value.extend(MAGIC);
    value.extend(length(name));
    value.extend(length(payload));
    value.extend(checksum(name, payload).to_le_bytes());
    value.extend(name);
    value.extend(payload);
    value
}

/// The payload, if `value` is whole, unharmed and named `name`.
pub fn open(name: &[u8], value: &Bytes) -> Option<Bytes> {
    let (header, rest) = value.split_at_checked(HEADER_BYTES)?;
    let (sealed_name, payload) = rest.split_at_checked(name.len())?;
    let is_whole = header[..4] == MAGIC
        && header[4..8] == length(name)
        && header[8..12] == length(payload)
        && header[12..] == checksum(name, payload).to_le_bytes();
    (is_whole && sealed_name == name).then(|| value.slice_ref(payload))
}

/// A short name for a long one, in Redis keys.
pub(super) fn digest(name: &[u8]) -> String {
    format!("{:032x}", xxh3_128(name))
}

fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).expect("names and segments are at most 16 MiB").to_le_bytes()
}

fn checksum(name: &[u8], payload: &[u8]) -> u64 {
    let mut hasher = Xxh3::new();
    hasher.update(name);
    hasher.update(payload);
    hasher.digest()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_sealed_opens_under_its_name_only() {
        let value = Bytes::from(seal(b"name", b"payload"));
        assert_eq!(open(b"name", &value), Some(Bytes::from_static(b"payload")));
        assert_eq!(open(b"nam", &value), None);
        assert_eq!(open(b"mane", &value), None);
        assert_eq!(open(b"", &seal(b"", b"").into()), Some(Bytes::new()));
    }

    #[test]
    fn any_flipped_bit_and_any_cut_is_noticed() {
        let value = Bytes::from(seal(b"name", b"payload"));
        for bit in 0..value.len() * 8 {
            let mut harmed = value.to_vec();
            harmed[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(open(b"name", &harmed.into()), None, "bit {bit}");
        }
        for len in 0..value.len() {
            assert_eq!(open(b"name", &value.slice(..len)), None, "{len} bytes");
        }
        let longer = [&value[..], b"x"].concat();
        assert_eq!(open(b"name", &longer.into()), None);
    }
}
