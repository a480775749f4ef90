//! The console: one page that takes videos, lists them and all other objects, and plays them.

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Response, StatusCode};

use serde::Serialize;

use crate::accounts::Me;
use crate::delivery::body::Payload;

/// Nothing from elsewhere, nothing inline: objects are played by the page, but can never script it. `blob:` is how a page
/// names a `MediaSource` of its own.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
    media-src 'self' blob:; img-src 'self' data:; base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// hls.js (<https://github.com/video-dev/hls.js>, Apache-2.0), all of it: the light one plays no sound that is apart.
const HLS: &str = "hls-1.7.4.min.js";
/// Its name says which version it is.
const FOR_GOOD: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");

/// What the page can show.
#[derive(Serialize)]
#[expect(clippy::struct_excessive_bools, reason = "each shows a part of the page or not")]
pub(crate) struct State {
    /// Whether it may list keys.
    pub(crate) listing: bool,
    /// Whether there are videos.
    pub(crate) videos: bool,
    /// Whether it may upload.
    pub(crate) uploads: bool,
    /// Whether videos are processed.
    pub(crate) transcoding: bool,
    /// Whether whoever looks may have webhooks.
    pub(crate) webhooks: bool,
    /// Whether one can log in.
    pub(crate) accounts: bool,
    /// Who is logged in.
    pub(crate) account: Option<Me>,
}

/// The page itself.
pub(crate) fn page(request: &HeaderMap) -> Response<Payload> {
    file("text/html; charset=utf-8", include_str!("../console/index.html"), request)
}

/// One of the page's files by its name.
pub(crate) fn asset(name: &str, request: &HeaderMap) -> Option<Response<Payload>> {
    let (media_type, text) = match name {
        HLS => {
            let mut response = file(SCRIPT, include_str!("../console/vendor/hls-1.7.4.min.js"), request);
            response.headers_mut().insert(header::CACHE_CONTROL, FOR_GOOD);
            return Some(response);
        }
        "account.js" => (SCRIPT, include_str!("../console/account.js")),
        "console.js" => (SCRIPT, include_str!("../console/console.js")),
        "library.js" => (SCRIPT, include_str!("../console/library.js")),
        "player.js" => (SCRIPT, include_str!("../console/player.js")),
        "tus.js" => (SCRIPT, include_str!("../console/tus.js")),
        "videos.js" => (SCRIPT, include_str!("../console/videos.js")),
        "work.js" => (SCRIPT, include_str!("../console/work.js")),
        "webhooks.js" => (SCRIPT, include_str!("../console/webhooks.js")),
        "words.js" => (SCRIPT, include_str!("../console/words.js")),
        "console.css" => ("text/css; charset=utf-8", include_str!("../console/console.css")),
        _ => return None,
    };
    Some(file(media_type, text, request))
}

/// A file that is part of the binary, so its fingerprint is its tag.
fn file(media_type: &'static str, text: &'static str, request: &HeaderMap) -> Response<Payload> {
    let tag = HeaderValue::from_str(&format!("\"{:x}\"", fingerprint(text))).expect("hexadecimal digits");
    let mut response = Response::new(Payload::Small(Bytes::from_static(text.as_bytes())));
    if request.get(header::IF_NONE_MATCH) == Some(&tag) {
        *response.status_mut() = StatusCode::NOT_MODIFIED;
        *response.body_mut() = Payload::Empty;
    }
    let headers = response.headers_mut();
    headers.insert(header::ETAG, tag);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response
}

/// FNV-1a: tells two versions of a file apart; nobody attacks it, since nobody but us writes the files.
const fn fingerprint(text: &str) -> u64 {
    let (bytes, mut hash, mut i) = (text.as_bytes(), 0xcbf2_9ce4_8422_2325_u64, 0);
    while i < bytes.len() {
        hash = (hash ^ bytes[i] as u64).wrapping_mul(0x0100_0000_01b3);
        i += 1;
    }
    hash
}
