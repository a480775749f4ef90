//! The keys of what is uploaded.
//!
//! A key is made once, when an upload is created, of the day, of random bits and of what is left of the client's name
//! for its file. The random bits are not the upload's id: that is a secret of its client, and keys are public.

use std::time::SystemTime;

use seekway_storage::ObjectKey;
use time::OffsetDateTime;
use uuid::Uuid;

/// Where everything lies that is no video yet: remainders of uploads, and the pieces of a concatenation. Nothing below
/// it is served.
pub(crate) const INCOMING: &str = "seekway-incoming/";
/// Where originals lie.
pub(crate) const ORIGINALS: &str = "original/";
/// Where workers put what they make of videos, below a video's name and an attempt's.
pub(crate) const PROCESSED: &str = "processed/";
/// Where watermarks, intros and outros lie.
pub(crate) const ASSETS: &str = "assets/";

/// Extensions that stay in a key, since `/media` tells the type by them; any other is dropped.
const EXTENSIONS: &[&str] = &[
    "3g2", "3gp", "asf", "avi", "flv", "jpeg", "jpg", "m2ts", "m4v", "mkv", "mov", "mp4", "mts", "mxf",
    "ogg", "ogv", "png", "ts", "webm", "webp", "wmv",
];
/// Of the name without its extension.
const STEM_BYTES_MAX: usize = 64;

/// `original/YYYY/MM/DD/<uuid>-<name>`, by the day in UTC.
pub(crate) fn original(name: &str, at: SystemTime) -> ObjectKey {
    let day = OffsetDateTime::from(at).date();
    let (year, month, day) = (day.year(), u8::from(day.month()), day.day());
    key(&format!("{ORIGINALS}{year:04}/{month:02}/{day:02}/{}-{}", Uuid::new_v4(), safe(name)))
}

/// `assets/<uuid>-<name>`
pub(crate) fn asset(name: &str) -> ObjectKey {
    key(&format!("{ASSETS}{}-{}", Uuid::new_v4(), safe(name)))
}

/// The key of a piece of a concatenation.
pub(crate) fn piece() -> ObjectKey {
    key(&format!("{INCOMING}pieces/{}", Uuid::new_v4()))
}

/// Where the remainders of the upload lie whose object will have this key.
pub(crate) fn remainders(of: &ObjectKey) -> String {
    let name = of.as_str().rsplit_once('/').map_or(of.as_str(), |(_, name)| name);
    // All our names begin with a UUID.
    format!("{INCOMING}{}/", name.get(..36).unwrap_or(name))
}

/// The remainder that ends at `offset`. The writer's epoch keeps two writers' apart.
pub(crate) fn remainder(of: &ObjectKey, offset: u64, epoch: u64) -> ObjectKey {
    key(&format!("{}{offset:020}-{epoch}", remainders(of)))
}

/// A part of a piece, which is an object of its own.
pub(crate) fn part(of: &ObjectKey, number: u64) -> ObjectKey {
    key(&format!("{}part-{number:05}", remainders(of)))
}

fn key(text: &str) -> ObjectKey {
    ObjectKey::new(text).expect("prefix, UUID and a short name are a key")
}

/// What a file's name becomes: one path segment of letters, digits, `.`, `-` and `_`, with an extension of ours or none.
fn safe(name: &str) -> String {
    let name = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let (stem, extension) = match name.rsplit_once('.') {
        Some((stem, extension)) => (stem, extension.to_ascii_lowercase()),
        None => (name, String::new()),
    };
    let mut plain = String::new();
    for letter in stem.chars() {
        if plain.len() == STEM_BYTES_MAX {
            break;
        }
        if letter.is_ascii_alphanumeric() || letter == '_' {
            plain.push(letter);
        } else if !plain.is_empty() && !plain.ends_with('-') {
            plain.push('-');
        }
    }
    let plain = plain.trim_end_matches('-');
    let plain = if plain.is_empty() { "video" } else { plain };
    if EXTENSIONS.contains(&extension.as_str()) { format!("{plain}.{extension}") } else { plain.to_owned() }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use super::*;

    #[test]
    fn names_lose_what_could_mean_something() {
        let long = "x".repeat(500);
        for (name, expected) in [
            ("clip.mp4", "clip.mp4"),
            ("My Holiday (1).MOV", "My-Holiday-1.mov"),
            ("../../etc/passwd", "passwd"),
            ("..\\..\\boot.ini", "boot"),
            ("/", "video"),
            ("", "video"),
            (".mp4", "video.mp4"),
            ("...", "video"),
            ("日本.mkv", "video.mkv"),
            ("página.html", "p-gina"),
            ("a\r\nSet-Cookie: x.ts", "a-Set-Cookie-x.ts"),
            ("tar.gz.mp4", "tar-gz.mp4"),
            ("%2e%2e%2fx.webm", "2e-2e-2fx.webm"),
            ("-rf.avi", "rf.avi"),
            (&long, &long[..STEM_BYTES_MAX]),
        ] {
            assert_eq!(safe(name), expected, "{name:?}");
        }
    }

    #[test]
    fn keys_have_the_day_and_are_never_the_same() {
        let leap_day = UNIX_EPOCH + Duration::from_secs(1_709_251_199);
        let (one, other) = (original("a.mp4", leap_day), original("a.mp4", leap_day));
        assert!(
            one.as_str().starts_with("original/2024/02/29/") && one.as_str().ends_with("-a.mp4"),
            "{one}"
        );
        assert_ne!(one, other);
        assert!(asset("logo.png").as_str().ends_with("-logo.png"));
    }

    #[test]
    fn remainders_are_named_by_upload_and_offset() {
        let key = original("a.mp4", UNIX_EPOCH);
        let uuid = &key.as_str()["original/1970/01/01/".len()..][..36];
        assert_eq!(remainder(&key, 5, 2).as_str(), format!("seekway-incoming/{uuid}/00000000000000000005-2"));
        let piece = piece();
        assert!(remainders(&piece) != remainders(&key) && !piece.as_str().starts_with(&remainders(&piece)));
    }
}
