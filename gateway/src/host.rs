//! Which host a request is for: HTTP/1.1 says it in Host, HTTP/2 in `:authority`.

use http::header::{self, HeaderValue};
use http::{Request, Version};

use crate::framing;

/// RFC 9112 §3.2: an HTTP/1.1 request has one Host, or is refused. RFC 9113 §8.3.1: one of HTTP/2 names its host
/// in `:authority`, or in Host, or in both alike.
pub(crate) fn is_named_once<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let (first, only_one) = (hosts.next(), hosts.next().is_none());
    let is_host = |host: &HeaderValue| framing::is_host(host.as_bytes());
    if request.version() == Version::HTTP_2 && !first.is_none_or(is_host) {
        return false; // In HTTP/1 that has been seen before.
    }
    match (request.version(), request.uri().authority(), first) {
        (Version::HTTP_11, _, host) | (Version::HTTP_2, None, host) => host.is_some() && only_one,
        (Version::HTTP_2, Some(authority), Some(host)) => {
            only_one && authority.as_str().as_bytes().eq_ignore_ascii_case(host.as_bytes())
        }
        _ => true,
    }
}

/// Gives a request the Host that it would have had with a plain path in HTTP/1.1, for all who look there: in HTTP/2
/// it may have none, and RFC 9112 §3.2.2 has an absolute target override it.
pub(crate) fn take_from_target<B>(request: &mut Request<B>) {
    if request.version() == Version::HTTP_2 && request.headers().contains_key(header::HOST) {
        return;
    }
    let host = request.uri().authority().and_then(|name| HeaderValue::from_str(name.as_str()).ok());
    if let Some(host) = host {
        request.headers_mut().insert(header::HOST, host);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_names_one_host() {
        let (h1, h2) = (Version::HTTP_11, Version::HTTP_2);
        for (version, target, hosts, expected) in [
            (h1, "/", &["a.test"][..], true),
            (h1, "/", &[], false),
            (h1, "/", &["a.test", "a.test"], false),
            (Version::HTTP_10, "/", &[], true),
            (h2, "https://a.test/", &[], true),
            (h2, "https://a.test:8443/", &["A.test:8443"], true),
            (h2, "https://a.test/", &["b.test"], false),
            (h2, "https://a.test/", &["a.test", "a.test"], false),
            (h2, "/", &["a.test"], true),
            (h2, "/", &[], false),
            (h2, "/", &["a b"], false),
            (h2, "/", &["u@a.test"], false),
        ] {
            let mut request = Request::builder().version(version).uri(target);
            for host in hosts {
                request = request.header(header::HOST, *host);
            }
            let mut request = request.body(()).expect("a request");
            assert_eq!(is_named_once(&request), expected, "{version:?} {target} {hosts:?}");
            take_from_target(&mut request);
            assert_eq!(is_named_once(&request), expected, "{version:?} {target} {hosts:?}, named");
            assert!(version != h2 || !expected || request.headers().contains_key(header::HOST));
        }
    }
}
