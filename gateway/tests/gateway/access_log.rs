//! Whose address the access log has.

use seekway_loadtests::gateway::Gateway;
use seekway_loadtests::origin::{Origin, Shape};
use serde_json::Value;

use crate::support::wire::{Wire, head};
use crate::support::{process, until};

const PROXY: [u8; 4] = [127, 0, 0, 9];
const STRANGER: [u8; 4] = [127, 0, 0, 1];
const LOGGED: (&str, &str) = ("SEEKWAY_ACCESS_LOG", "all");
const TRUSTED: (&str, &str) = ("SEEKWAY_TRUSTED_PROXIES", "127.0.0.9,10.0.0.0/8");

/// The `client` of the line for a request to `target`, sent after `begin` and with `headers`.
async fn client(
    gateway: &Gateway,
    from: [u8; 4],
    begin: &[u8],
    target: &str,
    headers: &[(&str, &str)],
) -> String {
    let mut wire = Wire::connect_from(gateway.address(), from).await;
    wire.send([begin, &head("GET", target, headers)].concat()).await;
    assert_eq!(wire.answer("GET").await.status, 200, "{target}");
    until("the request is logged", async || {
        let log = gateway.log_tail();
        let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let line = lines.into_iter().find(|line| line["request_target"] == target)?;
        Some(line["client"].as_str().expect("an address").to_owned())
    })
    .await
}

#[tokio::test]
async fn it_is_the_clients_behind_forwarded_of_a_trusted_proxy_only() {
    let origin = Origin::start(Shape::default()).expect("a free port");
    let gateway = process(&origin, &[LOGGED, TRUSTED]).await;
    for (nth, (name, value, expected)) in [
        ("Forwarded", "for=192.0.2.7;proto=https", "192.0.2.7"),
        ("Forwarded", "for=203.0.113.1, for=\"[2001:db8::7]:80\", for=10.0.0.7", "2001:db8::7"),
        ("X-Forwarded-For", "203.0.113.1, 192.0.2.8, 10.0.0.7", "192.0.2.8"),
        ("Accept", "*/*", "127.0.0.9"),
    ]
    .into_iter()
    .enumerate()
    {
        let target = |who| format!("/?{who}={nth}");
        let told = client(&gateway, PROXY, b"", &target("proxy"), &[(name, value)]).await;
        assert_eq!(told, expected, "{name}: {value}");
        let told = client(&gateway, STRANGER, b"", &target("stranger"), &[(name, value)]).await;
        assert_eq!(told, "127.0.0.1", "a stranger says {name}: {value}");
    }
}

#[tokio::test]
async fn it_is_the_clients_behind_the_proxy_protocol() {
    let origin = Origin::start(Shape::default()).expect("a free port");
    let gateway = process(&origin, &[LOGGED, TRUSTED, ("SEEKWAY_PROXY_PROTOCOL", "on")]).await;
    let signature = b"\r\n\r\n\0\r\nQUIT\n";
    let v4 = [&signature[..], &[0x21, 0x11, 0, 12, 192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x34, 0, 80]].concat();
    let mut v6 = [&signature[..], &[0x21, 0x21, 0, 36, 0x20, 0x01, 0x0d, 0xb8]].concat();
    v6.extend([0; 11]);
    v6.extend([7; 1]);
    v6.extend([0; 20]);
    let local = [&signature[..], &[0x20, 0, 0, 0]].concat();
    let invented: &[_] = &[("Forwarded", "for=203.0.113.1")];
    for (target, from, begin, headers, expected) in [
        ("/?v4", PROXY, &v4[..], &[][..], "192.0.2.7"),
        ("/?v6", PROXY, &v6, &[], "2001:db8::7"),
        ("/?own", PROXY, &local, &[], "127.0.0.9"),
        // Whoever the header names is a client, whose word is nothing.
        ("/?v4-invented", PROXY, &v4, invented, "192.0.2.7"),
        ("/?stranger", STRANGER, b"", invented, "127.0.0.1"),
    ] {
        assert_eq!(client(&gateway, from, begin, target, headers).await, expected, "{target}");
    }
}
