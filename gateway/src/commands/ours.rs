//! Which keys are of our own making. Pure.
//!
//! Other programs may write below the same prefixes, and what they write is never ours to delete.

use uuid::{Uuid, Version};

use crate::upload::names::{ASSETS, INCOMING, ORIGINALS};

/// Bytes of a UUID and the dash after it: what begins the last segment of our keys below `original/` and `assets/`.
pub(super) const UUID_AND_DASH: usize = 37;

/// Whether `upload/names.rs` makes such keys.
pub(super) fn is_ours(key: &str) -> bool {
    if let Some(rest) = key.strip_prefix(ORIGINALS) {
        return rest.get(..11).is_some_and(is_day) && rest.get(11..).is_some_and(is_named);
    }
    if let Some(name) = key.strip_prefix(ASSETS) {
        return is_named(name);
    }
    match key.strip_prefix(INCOMING).and_then(|rest| rest.split_once('/')) {
        Some(("pieces", piece)) => is_uuid(piece),
        Some((upload, _)) => is_uuid(upload),
        None => false,
    }
}

/// `YYYY/MM/DD/`
fn is_day(text: &str) -> bool {
    let pattern = b"0000/00/00/";
    text.bytes().zip(pattern).all(|(byte, wanted)| match wanted {
        b'/' => byte == b'/',
        _ => byte.is_ascii_digit(),
    })
}

/// `<uuid>-<name>`
fn is_named(text: &str) -> bool {
    let (Some(uuid), Some(name)) = (text.get(..36), text.get(36..)) else { return false };
    is_uuid(uuid) && name.len() > 1 && name.starts_with('-') && !name.contains('/')
}

/// A random one, in the form that we write.
fn is_uuid(text: &str) -> bool {
    let parsed = Uuid::try_parse(text).ok().filter(|uuid| uuid.get_version() == Some(Version::Random));
    parsed.is_some_and(|uuid| uuid.hyphenated().to_string() == text)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;
    use crate::upload::names;

    #[test]
    fn what_we_make_is_ours() {
        let (original, piece) = (names::original("A film.mp4", SystemTime::now()), names::piece());
        for key in [
            names::asset("logo.png"),
            names::remainder(&original, 5, 2),
            names::remainder(&piece, 5, 2),
            names::part(&piece, 1),
            original,
            piece,
        ] {
            assert!(is_ours(key.as_str()), "{key}");
        }
    }

    #[test]
    fn what_others_make_is_theirs() {
        let uuid = "0b5ef4b1-31a3-4d5e-9bd1-3f2c5a6b7c8d";
        for key in [
            "original/a.mp4".to_owned(),
            "original/2026/11/23/a.mp4".to_owned(),
            format!("original/{uuid}-a.mp4"),
            format!("original/2026/11/{uuid}-a.mp4"),
            format!("original/2026-11-23/{uuid}-a.mp4"),
            format!("original/2026/11/23/{uuid}"),
            format!("original/2026/11/23/{uuid}-"),
            format!("original/2026/11/23/{uuid}-a/b.mp4"),
            format!("original/2026/11/23/x{uuid}-a.mp4"),
            format!("original/2026/11/23/{}-a.mp4", uuid.to_uppercase()),
            // Its version is another.
            "original/2026/11/23/0b5ef4b1-31a3-7d5e-9bd1-3f2c5a6b7c8d-a.mp4".to_owned(),
            "original/2026/11/2é/".to_owned(),
            "assets/logo.png".to_owned(),
            format!("assets/{uuid}.png"),
            format!("assets/of/{uuid}-a.png"),
            "seekway-incoming/x/1".to_owned(),
            format!("seekway-incoming/{uuid}"),
            "seekway-incoming/pieces/x".to_owned(),
            format!("seekway-incoming/pieces/{uuid}/x"),
            format!("films/{uuid}-a.mp4"),
        ] {
            assert!(!is_ours(&key), "{key}");
        }
    }
}
