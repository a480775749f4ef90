//! Who the client is behind proxies: seen in who shares whose allowance of requests.

use crate::support::Stand;
use crate::support::wire::{Wire, head};

const PROXY: [u8; 4] = [127, 0, 0, 1];
const STRANGER: [u8; 4] = [127, 0, 0, 9];

fn stand(env: &[(&str, &str)]) -> Stand {
    let limits = [("SEEKWAY_CLIENT_REQUESTS_PER_SECOND", "1"), ("SEEKWAY_CLIENT_REQUESTS_BURST", "1")];
    Stand::local(&[&limits[..], &[("SEEKWAY_TRUSTED_PROXIES", "127.0.0.1,10.0.0.0/8")], env].concat())
}

/// Whether twenty requests with these headers, sent at once, are all served: not so if they are one client's.
async fn all_served(stand: &Stand, from: [u8; 4], header: impl Fn(usize) -> (&'static str, String)) -> bool {
    let mut wire = Wire::connect_from(stand.address(), from).await;
    let mut sent = Vec::new();
    for nth in 0..20 {
        let (name, value) = header(nth);
        sent.extend(head("HEAD", "/", &[(name, &value)]));
    }
    wire.send(sent).await;
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(wire.answer("HEAD").await.status);
    }
    assert!(statuses.iter().all(|status| [200, 429].contains(status)), "{statuses:?}");
    statuses.iter().all(|status| *status == 200)
}

#[tokio::test]
async fn a_trusted_proxy_says_who_the_client_is() {
    let stand = stand(&[]);
    assert!(all_served(&stand, PROXY, |nth| ("Forwarded", format!("for=192.0.2.{nth}, for=10.0.0.7"))).await);
    assert!(all_served(&stand, PROXY, |nth| ("Forwarded", format!("for=\"[2001:db8:{nth}::1]:80\""))).await);
    assert!(
        all_served(&stand, PROXY, |nth| ("X-Forwarded-For", format!("198.51.100.{nth}, 10.0.0.7"))).await
    );
    // What stands before the client is its own invention.
    let invented = |nth| ("Forwarded", format!("for=192.0.2.{nth}, for=203.0.113.1"));
    assert!(!all_served(&stand, PROXY, invented).await);
    let invented = |nth| ("X-Forwarded-For", format!("192.0.2.{nth}, 203.0.113.2"));
    assert!(!all_served(&stand, PROXY, invented).await);
    // An IPv6 network is one client.
    let neighbours = |nth| ("Forwarded", format!("for=\"[2001:db8:ffff::{nth}]\""));
    assert!(!all_served(&stand, PROXY, neighbours).await);
}

#[tokio::test]
async fn a_stranger_cannot_say_who_it_is() {
    let stand = stand(&[]);
    for name in ["Forwarded", "X-Forwarded-For"] {
        let own = |nth| {
            (name, if name == "Forwarded" { format!("for=192.0.2.{nth}") } else { format!("192.0.2.{nth}") })
        };
        assert!(!all_served(&stand, STRANGER, own).await, "{name}");
    }
}

/// A proxy's connections are many clients'.
#[tokio::test]
async fn a_trusted_proxys_connections_are_not_counted() {
    let stand = stand(&[("SEEKWAY_CLIENT_CONNECTIONS", "1")]);
    let mut held = Vec::new();
    for nth in 0..5 {
        let mut wire = Wire::connect_from(stand.address(), PROXY).await;
        assert_eq!(wire.ask("GET", "/api/health", &[]).await.status, 200, "connection {nth}");
        held.push(wire);
    }
}
