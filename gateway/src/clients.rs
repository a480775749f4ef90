//! Who a client is, and how much it may have.
//!
//! [`proxy_protocol`] and [`forwarded`] find the address behind trusted proxies; `limits` and `pacing` count
//! by it. Pure parsers first: what they read comes from strangers.

pub mod forwarded;
pub mod limits;
pub mod pacing;
pub mod proxy_protocol;

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// The addresses whose word about other addresses is believed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TrustedProxies(Vec<IpNet>);

// === impl TrustedProxies ===

impl TrustedProxies {
    /// Whether `address` is one of them. An IPv4 address written as IPv6 is the IPv4 address.
    pub fn contains(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.0.iter().any(|net| net.contains(&address))
    }

    /// Whether nobody is trusted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromStr for TrustedProxies {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let net = |text: &str| {
            let address = || text.parse::<IpAddr>().ok().map(|address| IpNet::from(address.to_canonical()));
            text.parse::<IpNet>().ok().or_else(address)
        };
        let nets = text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(net);
        let nets: Option<Vec<_>> = nets.collect();
        nets.map(Self).ok_or_else(|| {
            "IP addresses and networks separated by commas, such as 10.0.0.0/8,192.0.2.7,fd00::/8".to_owned()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trust_is_by_address_and_network() {
        let trusted: TrustedProxies =
            "10.0.0.0/8, 192.0.2.7,fd00::/8,::ffff:198.51.100.1".parse().expect("nets");
        for (address, expected) in [
            ("10.255.0.1", true),
            ("11.0.0.1", false),
            ("192.0.2.7", true),
            ("192.0.2.8", false),
            ("::ffff:10.1.2.3", true),
            ("fd12::1", true),
            ("fe80::1", false),
            ("198.51.100.1", true),
        ] {
            assert_eq!(trusted.contains(address.parse().expect("an address")), expected, "{address}");
        }
        assert!("".parse::<TrustedProxies>().expect("nobody").is_empty());
        for wrong in ["proxy.example", "10.0.0.0/33", "10.0.0.1:80", "*"] {
            assert!(wrong.parse::<TrustedProxies>().is_err(), "{wrong}");
        }
    }
}
