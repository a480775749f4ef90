//! Where a webhook may be. Whoever can add one has the gateway send requests from inside of its network, so it sends
//! none to addresses that are not everybody's, and connects to the very address that it has looked at: a name that
//! resolves to another one a moment later changes nothing.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use http::Uri;
use http::uri::Scheme;
use ipnet::{Ipv4Net, Ipv6Net};

use crate::framing::is_host;

const URL_BYTES_MAX: usize = 2048;
/// Below are services that take what they do not understand for commands; these two are the web's.
const LOW_PORTS: [u16; 2] = [80, 443];
const LOW_PORT_MAX: u16 = 1023;

/// Where a request goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) is_secure: bool,
    /// A name, or an address without brackets.
    pub(super) host: String,
    pub(super) port: u16,
    /// The value of `Host`.
    pub(super) authority: String,
    pub(super) path: String,
}

/// Why no request goes there. The texts follow `url`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BadTarget {
    Syntax,
    TooLong,
    UserInfo,
    Fragment,
    Port,
    Private,
}

// === impl Target ===

impl Target {
    /// Reads a URL.
    pub(super) fn parse(url: &str) -> Result<Self, BadTarget> {
        if url.len() > URL_BYTES_MAX {
            return Err(BadTarget::TooLong);
        }
        // `Uri` would drop it.
        if url.contains('#') {
            return Err(BadTarget::Fragment);
        }
        let uri: Uri = url.parse().map_err(|_| BadTarget::Syntax)?;
        let scheme = uri.scheme().filter(|scheme| [Scheme::HTTP, Scheme::HTTPS].contains(scheme));
        let is_secure = *scheme.ok_or(BadTarget::Syntax)? == Scheme::HTTPS;
        let authority = uri.authority().ok_or(BadTarget::Syntax)?;
        if authority.as_str().contains('@') {
            return Err(BadTarget::UserInfo);
        }
        if !is_host(authority.as_str().as_bytes()) {
            return Err(BadTarget::Syntax);
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() || host.contains('%') {
            return Err(BadTarget::Syntax);
        }
        let port = match (authority.port(), is_secure) {
            (Some(port), _) => port.as_u16(),
            (None, true) => 443,
            (None, false) => 80,
        };
        // What `Uri` takes for a host and an empty port.
        if port == 0 || authority.as_str().ends_with(':') {
            return Err(BadTarget::Port);
        }
        if port <= LOW_PORT_MAX && !LOW_PORTS.contains(&port) {
            return Err(BadTarget::Port);
        }
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let (host, authority, path) = (host.to_owned(), authority.to_string(), path.to_owned());
        Ok(Self { is_secure, host, port, authority, path })
    }

    /// Refuses an address that is not everybody's, where the host is one. What a name resolves to is looked at when a
    /// request is sent.
    pub(super) fn check_address(&self, to_private: bool) -> Result<(), BadTarget> {
        let is_private =
            self.host.parse().is_ok_and(|address| !is_public(address)) || self.host == "localhost";
        if is_private && !to_private { Err(BadTarget::Private) } else { Ok(()) }
    }

    /// Those of the host's addresses that may be connected to.
    pub(super) async fn addresses(&self, to_private: bool) -> Result<Vec<SocketAddr>, String> {
        let found = tokio::net::lookup_host((self.host.as_str(), self.port)).await;
        let found: Vec<_> =
            found.map_err(|error| format!("The host cannot be resolved: {error}."))?.collect();
        let allowed: Vec<_> =
            found.iter().copied().filter(|address| to_private || is_public(address.ip())).collect();
        match (allowed.is_empty(), found.is_empty()) {
            (false, _) => Ok(allowed),
            (true, true) => Err("The host has no address.".to_owned()),
            // What it is, would tell what our network looks like.
            (true, false) => Err("The host has no address that everybody can reach.".to_owned()),
        }
    }
}

/// Whether an address is one of the Internet's (IANA's registries of special-purpose addresses, RFC 6890).
pub(super) fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

fn is_public_v4(address: Ipv4Addr) -> bool {
    let special: [(Ipv4Addr, u8); 14] = [
        (Ipv4Addr::UNSPECIFIED, 8),
        (Ipv4Addr::new(10, 0, 0, 0), 8),
        // Between carriers and their customers.
        (Ipv4Addr::new(100, 64, 0, 0), 10),
        (Ipv4Addr::new(127, 0, 0, 0), 8),
        // Where clouds tell machines their credentials, among others.
        (Ipv4Addr::new(169, 254, 0, 0), 16),
        (Ipv4Addr::new(172, 16, 0, 0), 12),
        (Ipv4Addr::new(192, 0, 0, 0), 24),
        (Ipv4Addr::new(192, 0, 2, 0), 24),
        (Ipv4Addr::new(192, 88, 99, 0), 24),
        (Ipv4Addr::new(192, 168, 0, 0), 16),
        (Ipv4Addr::new(198, 18, 0, 0), 15),
        (Ipv4Addr::new(198, 51, 100, 0), 24),
        (Ipv4Addr::new(203, 0, 113, 0), 24),
        // Groups, what is reserved, and broadcasts.
        (Ipv4Addr::new(224, 0, 0, 0), 3),
    ];
    !special.iter().any(|(net, prefix)| Ipv4Net::new_assert(*net, *prefix).contains(&address))
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    // What is given out at all; loopback, mapped, translated, local and group addresses are elsewhere.
    let global = Ipv6Net::new_assert(Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0), 3);
    let special: [(Ipv6Addr, u8); 4] = [
        // Protocols, Teredo among them, which has an IPv4 address in it, as 6to4 has.
        (Ipv6Addr::new(0x2001, 0, 0, 0, 0, 0, 0, 0), 23),
        (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0), 32),
        (Ipv6Addr::new(0x2002, 0, 0, 0, 0, 0, 0, 0), 16),
        (Ipv6Addr::new(0x3fff, 0, 0, 0, 0, 0, 0, 0), 20),
    ];
    global.contains(&address)
        && !special.iter().any(|(net, prefix)| Ipv6Net::new_assert(*net, *prefix).contains(&address))
}

// === impl BadTarget ===

impl fmt::Display for BadTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Syntax => "must be an absolute URL of http or https in ASCII",
            Self::TooLong => "must have at most 2048 bytes",
            Self::UserInfo => "must have no user name and password: requests are signed",
            Self::Fragment => "must have no fragment (`#`)",
            Self::Port => "must have port 80, 443, or one from 1024 on",
            Self::Private => "must have an address that everybody can reach",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(url: &str, wanted: Result<(bool, &str, u16, &str, &str), BadTarget>) {
        let target = Target::parse(url);
        let told = target.as_ref().map(|target| {
            let Target { is_secure, host, port, authority, path } = target;
            (*is_secure, host.as_str(), *port, authority.as_str(), path.as_str())
        });
        assert_eq!(told.map_err(|bad| *bad), wanted, "{url}");
    }

    #[test]
    fn urls_are_what_they_look_like() {
        check("https://example.org", Ok((true, "example.org", 443, "example.org", "/")));
        check(
            "http://example.org:8080/a?b=c",
            Ok((false, "example.org", 8080, "example.org:8080", "/a?b=c")),
        );
        check("https://[2606:4700::1]/x", Ok((true, "2606:4700::1", 443, "[2606:4700::1]", "/x")));
        for url in
            ["", "/", "example.org", "ftp://example.org", "https://", "https:///x", "https://exämple.org/"]
        {
            check(url, Err(BadTarget::Syntax));
        }
        for url in ["https://a@example.org/", "https://a:b@example.org/", "http://example.org@127.0.0.1/"] {
            check(url, Err(BadTarget::UserInfo));
        }
        check("https://example.org/#x", Err(BadTarget::Fragment));
        for port in ["0", "22", "25", "1023"] {
            check(&format!("http://example.org:{port}/"), Err(BadTarget::Port));
        }
        check(&format!("https://example.org/{}", "x".repeat(2048)), Err(BadTarget::TooLong));
    }

    #[test]
    fn only_the_internets_addresses_are_public() {
        for public in
            ["1.1.1.1", "8.8.8.8", "93.184.216.34", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "2a00::1"]
        {
            assert!(is_public(public.parse().expect("an address")), "{public}");
        }
        let private = [
            "0.0.0.0",
            "0.1.2.3",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.19.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::127.0.0.1",
            "64:ff9b::7f00:1",
            "100::1",
            "2001::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "fc00::1",
            "fd00::1",
            "fe80::1",
            "ff02::1",
            "fec0::1",
        ];
        for private in private {
            assert!(!is_public(private.parse().expect("an address")), "{private}");
        }
    }

    #[test]
    fn addresses_of_machines_nearby_are_refused_by_their_look() {
        for url in [
            "http://127.0.0.1:8080/",
            "http://localhost:8080/",
            "http://[::1]:8080/",
            "http://169.254.169.254/",
        ] {
            let target = Target::parse(url).expect("a URL");
            assert_eq!(target.check_address(false), Err(BadTarget::Private), "{url}");
            assert_eq!(target.check_address(true), Ok(()), "{url}");
        }
    }

    #[tokio::test]
    async fn what_a_name_resolves_to_is_looked_at() {
        // Ways to write 127.0.0.1 that only a resolver knows.
        for host in ["localhost", "127.1", "0x7f.1", "2130706433"] {
            let target = Target::parse(&format!("http://{host}:8080/")).expect("a URL");
            target.addresses(false).await.expect_err("none is public");
            let found = target.addresses(true).await.expect("it resolves");
            assert!(
                found.iter().all(|address| address.ip().is_loopback() && address.port() == 8080),
                "{host}"
            );
        }
    }
}
