//! The `Content-Type` of an object.
//!
//! The key's extension decides, since buckets are full of `binary/octet-stream` that nobody chose, and players
//! refuse a playlist or a segment under that name. The store is asked only where the extension says nothing.

use http::HeaderValue;

/// What bytes are called that nobody has described (RFC 9110 §8.3).
const UNKNOWN: &str = "application/octet-stream";

/// Longer endings are no extensions; the longest that `mime_guess` knows has 12 letters.
const EXTENSION_BYTES_MAX: usize = 12;

/// A longer stored type is nobody's honest description; it would stand in the head of each part.
const STORED_BYTES_MAX: usize = 100;

/// The media type for `key`, whose store says `stored`. Allocates only when the stored type is used.
pub fn for_key(key: &str, stored: Option<&str>) -> HeaderValue {
    match extension(key).and_then(by_extension) {
        Some(known) => HeaderValue::from_static(known),
        None => stored.and_then(usable).unwrap_or(HeaderValue::from_static(UNKNOWN)),
    }
}

/// What follows the last dot of the last path segment, if something stands before that dot.
fn extension(key: &str) -> Option<&str> {
    let name = key.rsplit_once('/').map_or(key, |(_, name)| name);
    let (stem, extension) = name.rsplit_once('.')?;
    (!stem.is_empty() && (1..=EXTENSION_BYTES_MAX).contains(&extension.len())).then_some(extension)
}

fn by_extension(extension: &str) -> Option<&'static str> {
    let mut lower = [0; EXTENSION_BYTES_MAX];
    let lower = lower.get_mut(..extension.len())?;
    lower.copy_from_slice(extension.as_bytes());
    lower.make_ascii_lowercase();
    streaming_type(lower).or_else(|| mime_guess::from_ext(extension).first_raw())
}

/// The types of streaming, which `mime_guess` lacks or knows by older names.
fn streaming_type(lower: &[u8]) -> Option<&'static str> {
    Some(match lower {
        // RFC 8216 §4; a playlist is UTF-8 by definition, so no charset.
        b"m3u8" => "application/vnd.apple.mpegurl",
        b"m3u" => "audio/mpegurl",
        // ISO/IEC 23009-1 Annex C.
        b"mpd" => "application/dash+xml",
        b"m4s" => "video/iso.segment",
        // RFC 4337; the CMAF names are those of ISO/IEC 23000-19 Annex E.
        b"mp4" | b"m4v" | b"cmfv" => "video/mp4",
        b"m4a" | b"m4b" | b"cmfa" => "audio/mp4",
        b"cmft" | b"cmfm" => "application/mp4",
        // RFC 3555 §4.
        b"ts" | b"m2ts" | b"mts" => "video/mp2t",
        // WebVTT §4 fixes the encoding; without the parameter older players guess Latin-1.
        b"vtt" => "text/vtt; charset=utf-8",
        // W3C TTML Media Type.
        b"ttml" | b"dfxp" => "application/ttml+xml",
        b"ec3" | b"eac3" => "audio/eac3",
        _ => return None,
    })
}

/// A stored type that can be sent: `type/subtype`, perhaps with parameters, in visible ASCII.
fn usable(stored: &str) -> Option<HeaderValue> {
    let stored = stored.trim_ascii();
    let (kind, rest) = stored.split_once('/')?;
    let visible = stored.bytes().all(|byte| matches!(byte, b' '..=b'~'));
    if stored.len() > STORED_BYTES_MAX || kind.is_empty() || rest.is_empty() || kind.contains(' ') || !visible
    {
        return None;
    }
    HeaderValue::from_str(stored).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_extension_decides() {
        for (key, expected) in [
            ("live/master.m3u8", "application/vnd.apple.mpegurl"),
            ("live/manifest.mpd", "application/dash+xml"),
            ("v/1.m4s", "video/iso.segment"),
            ("v/1.cmfv", "video/mp4"),
            ("v/1.cmfa", "audio/mp4"),
            ("v/1.cmft", "application/mp4"),
            ("film.mp4", "video/mp4"),
            ("FILM.MP4", "video/mp4"),
            ("film.M4v", "video/mp4"),
            ("a.m4a", "audio/mp4"),
            ("a.mp3", "audio/mpeg"),
            ("a.aac", "audio/aac"),
            ("a.flac", "audio/flac"),
            ("a.opus", "audio/ogg"),
            ("a.wav", "audio/wav"),
            ("v.ts", "video/mp2t"),
            ("v.webm", "video/webm"),
            ("v.mkv", "video/x-matroska"),
            ("v.mov", "video/quicktime"),
            ("v.ogv", "video/ogg"),
            ("s.vtt", "text/vtt; charset=utf-8"),
            ("s.srt", "application/x-subrip"),
            ("p.jpg", "image/jpeg"),
            ("p.jpeg", "image/jpeg"),
            ("p.png", "image/png"),
            ("p.webp", "image/webp"),
            ("p.avif", "image/avif"),
            ("a.b/film.tar.mp4", "video/mp4"),
            ("日本/動画.mp4", "video/mp4"),
        ] {
            assert_eq!(for_key(key, Some("binary/octet-stream")), expected, "{key}");
            assert_eq!(for_key(key, None), expected, "{key}");
        }
    }

    #[test]
    fn where_it_says_nothing_the_store_does() {
        for key in
            ["film", "a.mp4/film", ".mp4", "a/.mp4", "film.", "film.mp4x9", "film.é", "x.", ".", "a.mp4/"]
        {
            assert_eq!(
                for_key(key, Some("video/mp4; codecs=\"avc1\"")),
                "video/mp4; codecs=\"avc1\"",
                "{key}"
            );
            assert_eq!(for_key(key, None), UNKNOWN, "{key}");
        }
        let long = format!("film.{}", "m".repeat(EXTENSION_BYTES_MAX + 1));
        assert_eq!(for_key(&long, Some("video/mp4")), "video/mp4");
    }

    #[test]
    fn a_stored_type_that_cannot_be_sent_is_not() {
        for stored in [
            "",
            " ",
            "video",
            "/",
            "video/",
            "/mp4",
            "video/mp4\r\nSet-Cookie: a=b",
            "video/é",
            "a b/c",
            "v\0/x",
        ] {
            assert_eq!(for_key("film", Some(stored)), UNKNOWN, "{stored:?}");
        }
        assert_eq!(for_key("film", Some(" video/mp4 ")), "video/mp4");
    }

    /// Every static type must be a header value, or `from_static` would panic on a request.
    #[test]
    fn every_known_type_can_be_sent() {
        let letters = || (b'a'..=b'z').chain(b'0'..=b'9').map(char::from);
        for a in letters() {
            for b in letters() {
                for c in letters() {
                    for_key(&format!("x.{a}{b}{c}"), None);
                }
                for_key(&format!("x.{a}{b}"), None);
            }
        }
        for extension in
            ["m3u8", "m4s", "cmfv", "cmfa", "cmft", "cmfm", "ttml", "dfxp", "eac3", "woff2", "json"]
        {
            assert_ne!(for_key(&format!("x.{extension}"), None), UNKNOWN, "{extension}");
        }
    }
}
