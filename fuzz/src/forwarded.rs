//! `Forwarded` (RFC 7239) and `X-Forwarded-For`: nobody takes on another's address. Each line of the input is one
//! line of the header.

use std::net::{IpAddr, Ipv4Addr};

use http::header::{HeaderMap, HeaderName, HeaderValue};
use seekway_gateway::clients::TrustedProxies;
use seekway_gateway::clients::forwarded::client_address;

/// See the module.
pub fn check(data: &[u8]) {
    let trusted: TrustedProxies = "10.0.0.0/8,::1".parse().expect("networks");
    for (name, speaks) in [("forwarded", "for="), ("x-forwarded-for", "")] {
        let name = HeaderName::from_static(name);
        let lines = data.split(|&byte| byte == b'\n').filter_map(|line| HeaderValue::from_bytes(line).ok());
        let headers = HeaderMap::from_iter([]);
        let headers = lines.fold(headers, |mut headers: HeaderMap, line| {
            headers.append(&name, line);
            headers
        });
        let asks = |peer: [u8; 4], last: &str| {
            let mut headers = headers.clone();
            if !last.is_empty() {
                let line = HeaderValue::from_str(&format!("{speaks}{last}")).expect("a value");
                headers.append(&name, line);
            }
            client_address(IpAddr::from(peer), &headers, &trusted)
        };
        let is = |address: IpAddr, octets: [u8; 4]| address == IpAddr::V4(Ipv4Addr::from(octets));
        assert!(is(asks([192, 0, 2, 1], ""), [192, 0, 2, 1]), "a stranger's word is nothing");
        // What our proxy has added stands last, and whatever was there before it changes nothing.
        assert!(is(asks([10, 0, 0, 1], "198.51.100.9"), [198, 51, 100, 9]), "{headers:?}");
        assert!(is(asks([10, 0, 0, 1], "unknown"), [10, 0, 0, 1]), "{headers:?}");
        let client = asks([10, 0, 0, 1], "");
        assert_eq!(client, client.to_canonical(), "one address has one name");
    }
}
