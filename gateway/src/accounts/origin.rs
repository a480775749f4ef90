//! Whose page has sent a request. Pure.
//!
//! A browser says of each request that writes where its page is from: `Sec-Fetch-Site` (W3C Fetch Metadata), and
//! `Origin` (Fetch, "Origin header"), older ones only the latter. What says nothing is no browser, and nobody can
//! make it send somebody else's cookie. The rule is that of Go's `http.CrossOriginProtection`.

use http::header::{self, HeaderMap, HeaderName};
use http::{HeaderValue, Method};

use super::Refusal;

static SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses what writes and comes from a page that is not ours.
pub(super) fn check(method: &Method, headers: &HeaderMap) -> Result<(), Refusal> {
    if method.is_safe() || is_ours(headers) { Ok(()) } else { Err(Refusal::OtherSite) }
}

fn is_ours(headers: &HeaderMap) -> bool {
    if let Some(site) = headers.get(&SEC_FETCH_SITE) {
        // `same-site` is another host of the domain, which may be somebody else's.
        return site == "same-origin" || site == "none";
    }
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let host = headers.get(header::HOST).map(HeaderValue::as_bytes);
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    // Schemes are not compared: behind a proxy that ends TLS, ours is another than the browser's.
    origin.is_some_and(|(_, origin)| host.is_some_and(|host| origin.as_bytes().eq_ignore_ascii_case(host)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_as(method: &Method, lines: &[(&'static str, &'static str)]) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static("media.example:8080"));
        for (name, value) in lines {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        check(method, &headers).is_ok()
    }

    #[test]
    fn only_pages_of_ours_may_write() {
        let post = |lines: &[_]| check_as(&Method::POST, lines);
        assert!(post(&[]), "no browser");
        assert!(post(&[("sec-fetch-site", "same-origin")]));
        assert!(post(&[("sec-fetch-site", "none")]), "a person");
        assert!(!post(&[("sec-fetch-site", "same-site")]));
        assert!(!post(&[("sec-fetch-site", "cross-site")]));
        assert!(!post(&[("sec-fetch-site", "cross-site"), ("origin", "http://media.example:8080")]));
        assert!(post(&[("origin", "http://media.example:8080")]));
        assert!(post(&[("origin", "https://MEDIA.example:8080")]));
        assert!(!post(&[("origin", "http://media.example")]), "another port");
        assert!(!post(&[("origin", "http://evil.example")]));
        assert!(!post(&[("origin", "null")]), "a sandboxed page");
    }

    #[test]
    fn anybody_may_read() {
        assert!(check_as(&Method::GET, &[("sec-fetch-site", "cross-site")]));
        assert!(!check_as(&Method::DELETE, &[("sec-fetch-site", "cross-site")]));
    }
}
