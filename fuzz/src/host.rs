//! `Host`: what may be one, and where it decides something: whether a request came straight from this machine.

use std::net::IpAddr;

use http::header::{self, HeaderMap, HeaderValue};
use seekway_gateway::framing::is_host;
use seekway_gateway::routes::names_this_machine;

/// See the module.
pub fn check(data: &[u8]) {
    if is_host(data) {
        let is_other = |byte: &u8| !byte.is_ascii_graphic() || b"/@?#\\\"<>".contains(byte);
        assert!(!data.is_empty() && !data.iter().any(is_other), "{data:?} is more than a host");
    }
    let Ok(host) = HeaderValue::from_bytes(data) else { return };
    let mut headers = HeaderMap::from_iter([(header::HOST, host)]);
    if !names_this_machine(&headers) {
        return;
    }
    let text = std::str::from_utf8(data).expect("a name or an address is text");
    assert!(!text.contains(['/', '?', '#', ' ', '\\', '%']), "{text:?} is more than a host");
    // From the right: the port, if what follows the last colon outside of brackets is one.
    let name = text.rsplit_once('@').map_or(text, |(_, host)| host);
    let name = match name.strip_prefix('[') {
        Some(address) => address.split_once(']').expect("a bracket that ends").0,
        None => name.split_once(':').map_or(name, |(name, _)| name),
    };
    let is_loopback = name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    assert!(name == "localhost" || is_loopback, "{text:?} is not this machine");
    headers.insert("x-forwarded-for", HeaderValue::from_static("127.0.0.1"));
    assert!(!names_this_machine(&headers), "a proxy has spoken");
}
