//! Values as they lie in Redis. The first line of the input is a name, the rest what is found under it, and a payload.

use bytes::Bytes;
use seekway_cache::redis::envelope::{open, seal};

/// See the module.
pub fn check(data: &[u8]) {
    let (name, rest) = crate::line(data);
    if let Some(payload) = open(name, &Bytes::copy_from_slice(rest)) {
        assert_eq!(seal(name, &payload), rest, "a payload has one form under a name");
    }
    let value = Bytes::from(seal(name, rest));
    assert_eq!(open(name, &value).as_deref(), Some(rest), "sealed and opened again");

    // Another name, also one that only shifts where the name ends, and another length.
    let (longer, shorter) = ([name, b"0"].concat(), &name[..name.len().saturating_sub(1)]);
    for other in [&longer[..], shorter].into_iter().filter(|other| *other != name) {
        assert_eq!(open(other, &value), None, "opened under {other:?}");
    }
    let place = rest.iter().fold(name.len(), |sum, byte| sum * 31 % 65_521 + usize::from(*byte));
    assert_eq!(open(name, &value.slice(..place % value.len())), None, "cut");
    assert_eq!(open(name, &[&value[..], b"0"].concat().into()), None, "longer");
    let mut harmed = value.to_vec();
    harmed[place % value.len()] ^= 1 << (place % 8);
    assert_eq!(open(name, &harmed.into()), None, "a bit is wrong");
}
