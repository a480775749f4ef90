//! Addresses of a shared tier: any text is one or none, and no password is ever shown. The input is an address, and a
//! password.

use percent_encoding::{NON_ALPHANUMERIC, percent_encode};
use seekway_cache::RedisUrl;

/// See the module.
pub fn check(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(url) = text.parse::<RedisUrl>()
    {
        let shown = url.to_string();
        assert_eq!(format!("{url:?}"), shown);
        assert!(!shown.contains('@'), "{text:?} is shown as {shown:?}");
        let again: RedisUrl = shown.parse().unwrap_or_else(|_| panic!("{text:?} is shown as {shown:?}"));
        assert_eq!(again.to_string(), shown);
    }
    let password = percent_encode(data, NON_ALPHANUMERIC);
    for (before, hosts) in [
        ("redis://", "host:1/2"),
        ("rediss://", "host"),
        ("redis-sentinel://", "a,b:2#main"),
        ("rediss-cluster://", "a:1,b:2"),
    ] {
        let parsed = format!("{before}user:{password}@{hosts}").parse::<RedisUrl>();
        match (parsed, std::str::from_utf8(data)) {
            (Ok(url), _) => assert_eq!(url.to_string(), format!("{before}{hosts}")),
            (Err(_), Err(_)) => {}
            (Err(error), Ok(_)) => panic!("{data:?} can be no password: {error}"),
        }
    }
}
