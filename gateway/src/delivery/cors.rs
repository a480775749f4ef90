//! Cross-origin access: players run on other sites than the media (Fetch standard, §3.2 "CORS protocol").

use std::str::FromStr;

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::Uri;

/// What scripts of other sites may do with one kind of resource.
#[derive(Debug)]
pub struct Shared {
    methods: HeaderValue,
    /// Request headers that a page may set.
    request_headers: HeaderValue,
    /// Response headers that a page may read beyond the few that it always may.
    response_headers: HeaderValue,
}

/// Objects.
pub static MEDIA: Shared =
    Shared { methods: ALLOW_METHODS, request_headers: ALLOW_HEADERS, response_headers: EXPOSE_HEADERS };

/// Uploads by tus 1.0 and by resumable uploads of the IETF.
pub static UPLOADS: Shared = Shared {
    methods: HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    request_headers: HeaderValue::from_static(
        "Authorization, Content-Disposition, Content-Type, Idempotency-Key, Tus-Resumable, Upload-Checksum, Upload-Complete, Upload-Concat, \
         Upload-Defer-Length, Upload-Draft-Interop-Version, Upload-Length, Upload-Metadata, Upload-Offset, \
         X-HTTP-Method-Override, X-Request-Id, X-Requested-With",
    ),
    response_headers: HeaderValue::from_static(
        "Content-Location, Location, Tus-Checksum-Algorithm, Tus-Extension, Tus-Max-Size, Tus-Resumable, Tus-Version, \
         Upload-Complete, Upload-Concat, Upload-Defer-Length, Upload-Draft-Interop-Version, Upload-Expires, \
         Upload-Length, Upload-Limit, Upload-Metadata, Upload-Offset, X-Request-Id",
    ),
};

const ALLOW_METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD, OPTIONS");

/// Request headers that a page may set. `Range` needs no preflight only in its simplest form; the `CMCD`
/// four are how players report what they need (CTA-5004).
const ALLOW_HEADERS: HeaderValue = HeaderValue::from_static(
    "Range, If-Range, If-Match, If-None-Match, If-Modified-Since, If-Unmodified-Since, Cache-Control, \
     Content-Type, CMCD-Object, CMCD-Request, CMCD-Session, CMCD-Status",
);

/// Response headers that a page may read beyond the few that it always may.
const EXPOSE_HEADERS: HeaderValue = HeaderValue::from_static(
    "Content-Range, Content-Length, Accept-Ranges, ETag, Last-Modified, Content-Encoding, Age, Cache-Status, \
     Server-Timing, X-Request-Id",
);

/// A day; browsers cap it anyway (Chromium at 2 h, Firefox at a day).
const MAX_AGE: HeaderValue = HeaderValue::from_static("86400");

/// Lets pages see the timing of their media requests (Resource Timing §4.5).
const TIMING_ALLOW_ORIGIN: HeaderName = HeaderName::from_static("timing-allow-origin");

/// Lets pages that isolate themselves embed media from here (Fetch standard, §3.7).
const CROSS_ORIGIN_RESOURCE_POLICY: HeaderName = HeaderName::from_static("cross-origin-resource-policy");

/// Which sites' scripts may read media.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AllowOrigin {
    /// Every site: media here carry no cookies, so there is nothing to leak to the wrong one.
    Any,
    /// These origins only, as browsers write them: `scheme://host[:port]`, lower case.
    Only(Vec<HeaderValue>),
}

/// Why a text is not an [`AllowOrigin`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`*`, or origins separated by commas such as https://player.example,http://localhost:3000")]
pub struct InvalidOrigins;

// === impl AllowOrigin ===

impl AllowOrigin {
    /// Adds what every answer carries, errors included. Call it once per answer.
    pub fn apply(&self, shared: &Shared, request: &HeaderMap, response: &mut HeaderMap) {
        response.insert(CROSS_ORIGIN_RESOURCE_POLICY, HeaderValue::from_static("cross-origin"));
        if let Some(origin) = self.admit(request, response) {
            response.insert(TIMING_ALLOW_ORIGIN, origin);
            response.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, shared.response_headers.clone());
        }
    }

    /// Adds what the answer to `OPTIONS` carries, instead of [`apply`](Self::apply): what may be asked only where
    /// that is the question (Fetch standard, §3.2.2).
    pub fn preflight(&self, shared: &Shared, request: &HeaderMap, response: &mut HeaderMap) {
        let is_asked = request.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        if self.admit(request, response).is_some() && is_asked {
            response.insert(header::ACCESS_CONTROL_ALLOW_METHODS, shared.methods.clone());
            response.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, shared.request_headers.clone());
            response.insert(header::ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        }
    }

    /// Names the origin that may read the answer, if any may.
    fn admit(&self, request: &HeaderMap, response: &mut HeaderMap) -> Option<HeaderValue> {
        let admitted = match self {
            Self::Any => HeaderValue::from_static("*"),
            Self::Only(origins) => {
                // Also where the origin is refused: the same URL has another answer for another origin.
                response.append(header::VARY, HeaderValue::from_static("Origin"));
                let origin = request.get(header::ORIGIN)?;
                origins.iter().find(|allowed| *allowed == origin)?.clone()
            }
        };
        response.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, admitted.clone());
        Some(admitted)
    }
}

impl FromStr for AllowOrigin {
    type Err = InvalidOrigins;

    fn from_str(text: &str) -> Result<Self, InvalidOrigins> {
        if text.trim() == "*" {
            return Ok(Self::Any);
        }
        let origins = text.split(',').map(|origin| parse_origin(origin.trim()).ok_or(InvalidOrigins));
        Ok(Self::Only(origins.collect::<Result<_, _>>()?))
    }
}

/// An origin as a browser sends it (RFC 6454 §6.2), so that equality of bytes is equality of origins.
fn parse_origin(text: &str) -> Option<HeaderValue> {
    let uri: Uri = text.parse().ok()?;
    let (scheme, authority) = (uri.scheme_str()?, uri.authority()?);
    let origin = format!("{scheme}://{authority}").to_ascii_lowercase();
    // Nothing but scheme, host and port: no path, query or user.
    if !origin.eq_ignore_ascii_case(text) || origin.contains('@') || authority.host().is_empty() {
        return None;
    }
    HeaderValue::from_str(&origin).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(origin: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::ORIGIN, HeaderValue::from_str(origin).expect("a header value"));
        headers
    }

    fn cors(allow: &str) -> AllowOrigin {
        allow.parse().expect("valid")
    }

    fn applied(allow: &str, request: &HeaderMap) -> HeaderMap {
        let mut response = HeaderMap::new();
        cors(allow).apply(&MEDIA, request, &mut response);
        response
    }

    #[test]
    fn everybody_may_read_by_default() {
        for request in [HeaderMap::new(), from("https://a.example"), from("null")] {
            let response = applied("*", &request);
            assert_eq!(response["access-control-allow-origin"], "*");
            assert_eq!(response["timing-allow-origin"], "*");
            assert_eq!(response["cross-origin-resource-policy"], "cross-origin");
            assert!(response.get(header::VARY).is_none());
            let exposed = response["access-control-expose-headers"].to_str().expect("ASCII");
            for name in
                ["Content-Range", "Content-Length", "Accept-Ranges", "ETag", "Cache-Status", "X-Request-Id"]
            {
                assert!(exposed.split(", ").any(|exposed| exposed == name), "{name} in {exposed}");
            }
        }
    }

    #[test]
    fn a_listed_origin_is_named_and_another_is_not() {
        let allow = "https://a.example, http://localhost:3000";
        let response = applied(allow, &from("http://localhost:3000"));
        assert_eq!(response["access-control-allow-origin"], "http://localhost:3000");
        assert_eq!(response["timing-allow-origin"], "http://localhost:3000");
        assert_eq!(response[header::VARY], "Origin");
        for refused in [HeaderMap::new(), from("https://b.example"), from("http://a.example"), from("null")] {
            let response = applied(allow, &refused);
            assert_eq!(response[header::VARY], "Origin");
            assert!(response.get(header::ACCESS_CONTROL_ALLOW_ORIGIN).is_none());
            assert!(response.get(header::ACCESS_CONTROL_EXPOSE_HEADERS).is_none());
            assert!(response.get(TIMING_ALLOW_ORIGIN).is_none());
        }
    }

    #[test]
    fn vary_is_added_to_what_is_there() {
        let mut response = HeaderMap::new();
        response.insert(header::VARY, HeaderValue::from_static("Accept"));
        cors("https://a.example").apply(&MEDIA, &HeaderMap::new(), &mut response);
        assert_eq!(response.get_all(header::VARY).iter().collect::<Vec<_>>(), ["Accept", "Origin"]);
    }

    #[test]
    fn a_preflight_says_what_a_page_may_send() {
        let mut request = from("https://a.example");
        let mut plain = HeaderMap::new();
        cors("*").preflight(&MEDIA, &request, &mut plain);
        assert_eq!(
            plain.keys().collect::<Vec<_>>(),
            [header::ACCESS_CONTROL_ALLOW_ORIGIN],
            "not a preflight"
        );

        request.insert(header::ACCESS_CONTROL_REQUEST_METHOD, HeaderValue::from_static("GET"));
        let mut response = HeaderMap::new();
        cors("*").preflight(&MEDIA, &request, &mut response);
        assert_eq!(response["access-control-allow-origin"], "*");
        assert_eq!(response["access-control-allow-methods"], "GET, HEAD, OPTIONS");
        assert_eq!(response["access-control-max-age"], "86400");
        let allowed = response["access-control-allow-headers"].to_str().expect("ASCII");
        assert_eq!(allowed.split(", ").count(), 12);
        assert!(allowed.split(", ").all(|name| HeaderName::from_str(name).is_ok()), "{allowed}");
        let mut refused = HeaderMap::new();
        cors("https://b.example").preflight(&MEDIA, &request, &mut refused);
        assert_eq!(refused.keys().collect::<Vec<_>>(), [header::VARY]);
    }

    #[test]
    fn origins_are_checked() {
        for wrong in [
            "",
            "a.example",
            "https://",
            "https://a.example/",
            "https://a.example/path",
            "https://a?b",
            "https://a.example,",
            "*,https://a.example",
            "null",
            "https://u:p@a.example",
            "https://é.example",
            "https://a.example https://b.example",
            "//a.example",
        ] {
            assert_eq!(wrong.parse::<AllowOrigin>(), Err(InvalidOrigins), "{wrong:?}");
        }
        let upper = "HTTPS://A.Example".parse::<AllowOrigin>().expect("case does not matter");
        assert_eq!(upper, AllowOrigin::Only(vec![HeaderValue::from_static("https://a.example")]));
    }
}
