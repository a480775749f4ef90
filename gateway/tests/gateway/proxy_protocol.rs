//! Connections that begin with a PROXY protocol header.

use crate::support::Stand;
use crate::support::wire::{Wire, head};

const PROXY: [u8; 4] = [127, 0, 0, 1];
const STRANGER: [u8; 4] = [127, 0, 0, 9];

fn stand(env: &[(&str, &str)]) -> Stand {
    let on = [("SEEKWAY_PROXY_PROTOCOL", "on"), ("SEEKWAY_TRUSTED_PROXIES", "127.0.0.1")];
    Stand::local(&[&on[..], env].concat())
}

/// A header for TCP over IPv4 that names 192.0.2.`client`, with some TLVs.
fn header(client: u8) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x13".to_vec();
    header.extend([192, 0, 2, client, 10, 0, 0, 1, 0x12, 0x34, 0, 80]);
    header.extend([4, 0, 4, 0, 0, 0, 0]);
    header
}

fn local() -> Vec<u8> {
    b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0".to_vec()
}

/// What a connection from `from` that begins with `begin` and asks for `target` as localhost gets; 0 is the end.
async fn status(stand: &Stand, from: [u8; 4], begin: &[u8], target: &str) -> u16 {
    let mut wire = Wire::connect_from(stand.address(), from).await;
    let request = format!("GET {target} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    drop(wire.try_send([begin, request.as_bytes()].concat()).await);
    let answer = wire.some(12).await;
    String::from_utf8_lossy(&answer)
        .strip_prefix("HTTP/1.1 ")
        .map_or(0, |code| code.parse().expect("a status"))
}

#[tokio::test]
async fn a_trusted_proxy_names_the_client_before_all_else() {
    let stand = stand(&[("SEEKWAY_CLIENT_CONNECTIONS", "2")]);
    let mut held = Vec::new();
    // Two for each client, in pieces of all sizes.
    for nth in 0..10_u8 {
        let mut wire = Wire::connect_from(stand.address(), PROXY).await;
        let sent = [header(nth / 2), head("GET", "/api/health", &[])].concat();
        let cut = usize::from(nth) * 5;
        wire.send(&sent[..cut]).await;
        tokio::task::yield_now().await;
        wire.send(&sent[cut..]).await;
        assert_eq!(wire.answer("GET").await.status, 200);
        assert_eq!(wire.ask("GET", "/api/health", &[]).await.status, 200, "the header comes once");
        held.push(wire);
    }
    assert_eq!(status(&stand, PROXY, &header(3), "/api/health").await, 0, "a third one of one client");
    for _ in 0..5 {
        assert_eq!(status(&stand, PROXY, &local(), "/api/health").await, 200, "the proxy's own probe");
    }
}

#[tokio::test]
async fn who_owes_a_header_must_send_one() {
    let stand = stand(&[("SEEKWAY_HEADER_TIMEOUT", "300ms"), ("SEEKWAY_IDLE_TIMEOUT", "1h")]);
    let mut too_long = header(1);
    too_long[14..16].copy_from_slice(&[0xff, 0xff]);
    let mut unknown = header(1);
    unknown[13] = 0x77;
    for begin in [b"".to_vec(), b"PROXY TCP4 192.0.2.1 10.0.0.1 1 2\r\n".to_vec(), too_long, unknown] {
        assert_eq!(status(&stand, PROXY, &begin, "/api/health").await, 0, "{begin:?}");
    }
    // In its own time, not in an idle connection's.
    let mut slow = Wire::connect_from(stand.address(), PROXY).await;
    slow.send(&header(1)[..20]).await;
    assert_eq!(slow.until_closed().await, b"");
    assert_eq!(status(&stand, PROXY, &header(1), "/api/health").await, 200);
}

#[tokio::test]
async fn a_stranger_neither_owes_nor_may_send_one() {
    let stand = stand(&[]);
    assert_eq!(status(&stand, STRANGER, b"", "/api/health").await, 200);
    assert_eq!(status(&stand, STRANGER, &header(1), "/api/health").await, 400);
    let mut admin = Wire::connect(stand.admin_address()).await;
    assert_eq!(admin.ask("GET", "/api/health", &[]).await.status, 200, "there it is not used");
}

/// The listing is for this machine only, and that is not where the proxy's client is.
#[tokio::test]
async fn the_client_and_not_the_proxy_is_this_machine() {
    let stand = stand(&[("SEEKWAY_LISTING", "auto")]);
    assert_eq!(status(&stand, PROXY, &header(1), "/api/objects").await, 404);
    assert_eq!(status(&stand, PROXY, &local(), "/api/objects").await, 200);
}
