//! The session's cookie (RFC 6265).
//!
//! `HttpOnly`: no script reads it. `SameSite=Lax`: another site's page cannot send it along with what writes. Over
//! TLS it is `Secure`, and its name begins with `__Host-`, so that no other host, and no plain connection, can set
//! one (draft-ietf-httpbis-rfc6265bis §4.1.3).

use http::HeaderMap;
use http::header::{self, HeaderValue};

const PLAIN: &str = "seekway-session";
const SECURE: &str = "__Host-seekway-session";

/// The token that a request's cookies hold. Over TLS only the one counts that only we can set: a neighbouring host, or
/// whoever sits in the way of a plain connection, may have planted the other.
pub(super) fn session(headers: &HeaderMap, is_secure: bool) -> Option<String> {
    let named = |wanted| {
        let lines = headers.get_all(header::COOKIE).iter().filter_map(|line| line.to_str().ok());
        let mut pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.find(|(name, _)| *name == wanted).map(|(_, value)| value.to_owned())
    };
    named(SECURE).or_else(|| named(PLAIN).filter(|_| !is_secure))
}

/// Has the browser keep a token for `lifetime_secs`.
pub(super) fn keep(token: &str, lifetime_secs: u64, is_secure: bool) -> HeaderValue {
    set(token, lifetime_secs, is_secure)
}

/// Has it forget the token.
pub(super) fn forget(is_secure: bool) -> HeaderValue {
    set("", 0, is_secure)
}

fn set(value: &str, lifetime_secs: u64, is_secure: bool) -> HeaderValue {
    let (name, secure) = if is_secure { (SECURE, "; Secure") } else { (PLAIN, "") };
    let cookie = format!("{name}={value}; Max-Age={lifetime_secs}; Path=/; HttpOnly; SameSite=Lax{secure}");
    HeaderValue::from_str(&cookie).expect("base64 and words are ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[&'static str], expected: Option<&str>) {
        check_over(lines, false, expected);
    }

    fn check_over(lines: &[&'static str], is_secure: bool, expected: Option<&str>) {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::COOKIE, HeaderValue::from_static(line));
        }
        assert_eq!(session(&headers, is_secure).as_deref(), expected, "{lines:?}");
    }

    #[test]
    fn the_session_is_found_among_other_cookies() {
        check(&[], None);
        check(&["a=b; seekway-sessions=no"], None);
        check(&["a=b; seekway-session=t1"], Some("t1"));
        check(&["a=b", "seekway-session=t1;c=d"], Some("t1"));
        // A neighbour on plain HTTP may have set the other one.
        check(&["seekway-session=planted; __Host-seekway-session=t2"], Some("t2"));
        check(&["seekway-session"], None);
    }

    #[test]
    fn over_tls_only_ours_is_believed() {
        check_over(&["seekway-session=planted"], true, None);
        check_over(&["seekway-session=planted; __Host-seekway-session=t2"], true, Some("t2"));
    }

    #[test]
    fn it_is_secure_over_tls() {
        let kept = keep("t", 60, true);
        assert_eq!(kept, "__Host-seekway-session=t; Max-Age=60; Path=/; HttpOnly; SameSite=Lax; Secure");
        assert_eq!(keep("t", 60, false), "seekway-session=t; Max-Age=60; Path=/; HttpOnly; SameSite=Lax");
        assert_eq!(forget(false), "seekway-session=; Max-Age=0; Path=/; HttpOnly; SameSite=Lax");
    }
}
