//! Where Redis is: one server, a set of Sentinels, or a Cluster.

use std::fmt;
use std::str::FromStr;

use deadpool_redis::redis::io::tcp::TcpSettings;
use deadpool_redis::redis::{ConnectionInfo, IntoConnectionInfo};

/// The address of a shared tier:
///
/// - `redis://[user:password@]host[:port][/db]` for one server, `rediss://` over TLS;
/// - `redis-sentinel://[user:password@]host[:port],…[/db]#NAME` for the master that Sentinels call `NAME`;
/// - `redis-cluster://[user:password@]host[:port],…` for a Cluster that has these nodes among others.
///
/// `rediss-sentinel` and `rediss-cluster` use TLS. User and password are those of the servers that keep the
/// data. `Debug` and `Display` leave them out.
#[derive(Clone)]
pub struct RedisUrl {
    pub(super) topology: Topology,
    shown: String,
}

#[derive(Clone)]
pub(super) enum Topology {
    Node(ConnectionInfo),
    /// The Sentinels, the master's name, and how to talk to the master itself.
    Sentinel {
        sentinels: Vec<ConnectionInfo>,
        master: String,
        node: ConnectionInfo,
    },
    Cluster(Vec<ConnectionInfo>),
}

/// What such a URL looks like, for whoever got it wrong.
const ALLOWED: &str = "redis://host:6379, redis-sentinel://host:26379,host:26379#name or \
                       redis-cluster://host:6379,host:6379; rediss… for TLS, user:password@ before the hosts, \
                       percent-encoded";

impl FromStr for RedisUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::parse(text).ok_or_else(|| ALLOWED.to_owned())
    }
}

impl RedisUrl {
    fn parse(text: &str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let (user, place) = rest.rsplit_once('@').map_or(("", rest), |(user, place)| (user, place));
        let (base, kind) = scheme.split_once('-').unwrap_or((scheme, ""));
        // Where a user and a password end must be as clear to the client as it is here, or another part is hidden than
        // should be. A query would be the client's to read, who knows wishes that are not ours to grant.
        if !matches!(base, "redis" | "rediss") || user.contains(['/', '?', '#']) || place.contains('?') {
            return None;
        }
        let at = if user.is_empty() { "" } else { "@" };
        let topology = match kind {
            // The client would take these for a part of a name, or for a wish of its own.
            "" if rest.contains([',', '#']) => return None,
            "" => Topology::Node(info(text)?),
            "sentinel" => {
                let (hosts, master) = place.rsplit_once('#').filter(|(_, master)| !master.is_empty())?;
                let (hosts, db) = hosts.split_once('/').unwrap_or((hosts, ""));
                let sentinels = each(hosts, |host| info(&format!("{base}://{}", with_port(host, 26379))))?;
                // The host is a stand-in: which one it is, the Sentinels say.
                let node = info(&format!("{base}://{user}{at}master/{db}"))?;
                Topology::Sentinel { sentinels, master: master.to_owned(), node }
            }
            "cluster" => {
                if place.contains(['/', '#']) {
                    return None; // A Cluster has one database.
                }
                Topology::Cluster(each(place, |host| info(&format!("{base}://{user}{at}{host}")))?)
            }
            _ => return None,
        };
        Some(Self { topology, shown: format!("{scheme}://{place}") })
    }
}

fn info(url: &str) -> Option<ConnectionInfo> {
    let info = url.into_connection_info().ok()?;
    // The commands are small and one at a time would wait for the other's acknowledgement.
    Some(info.set_tcp_settings(TcpSettings::default().set_nodelay(true)))
}

fn each(hosts: &str, parse: impl Fn(&str) -> Option<ConnectionInfo>) -> Option<Vec<ConnectionInfo>> {
    hosts.split(',').map(|host| if host.is_empty() { None } else { parse(host) }).collect()
}

fn with_port(host: &str, port: u16) -> String {
    let after_address = host.rsplit_once(']').map_or(host, |(_, rest)| rest);
    if after_address.contains(':') { host.to_owned() } else { format!("{host}:{port}") }
}

impl fmt::Display for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for RedisUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topology_has_its_form() {
        let topology = |text: &str| text.parse::<RedisUrl>().expect("valid").topology;
        for node in
            ["redis://localhost", "redis://:secret@10.0.0.1:6380/3", "rediss://u:p@cache.example:6379"]
        {
            assert!(matches!(topology(node), Topology::Node(_)), "{node}");
        }
        match topology("redis-sentinel://u:p@a,b:26380,[::1]/2#main") {
            Topology::Sentinel { sentinels, master, node } => {
                let shown: Vec<_> = sentinels.iter().map(|info| info.addr().to_string()).collect();
                assert_eq!(shown, ["a:26379", "b:26380", "::1:26379"]);
                assert_eq!((master.as_str(), node.redis_settings().db()), ("main", 2));
                assert_eq!(node.redis_settings().password(), Some("p"));
            }
            _ => panic!("not Sentinel"),
        }
        match topology("redis-cluster://u:p@a:7000,b:7001") {
            Topology::Cluster(nodes) => {
                assert_eq!(nodes.len(), 2);
                assert!(nodes.iter().all(|node| node.redis_settings().password() == Some("p")));
            }
            _ => panic!("not a cluster"),
        }
    }

    #[test]
    fn what_is_no_address_is_told_what_one_looks_like() {
        for bad in [
            "",
            "localhost:6379",
            "http://localhost",
            "redis-sentinel://a,b",
            "redis-sentinel://a,b#",
            "redis-sentinel://#main",
            "redis-sentinel://a#b@main",
            "redis-cluster://",
            "redis-cluster://a,,b",
            "redis-ring://a",
            "redis://localhost:port",
            "redis://a,b",
            "rediss://a#insecure",
            "redis://a?protocol=resp3",
            "redis-cluster://a?b@c",
            "redis-cluster://a/3",
        ] {
            let error = bad.parse::<RedisUrl>().expect_err(bad);
            assert!(error.contains("redis-sentinel://"), "{bad}: {error}");
        }
    }

    #[test]
    fn passwords_are_not_shown() {
        let url: RedisUrl = "rediss://user:secret@host:1/2".parse().expect("valid");
        assert_eq!(
            (format!("{url}"), format!("{url:?}")),
            ("rediss://host:1/2".into(), "rediss://host:1/2".into())
        );
    }
}
