//! How much a client may send before it is read: much while it uploads, and little otherwise.

use std::net::SocketAddr;

use super::stand::{MIB, Uploading, video};
use crate::support::h2::{Frames, PREFACE};
use crate::support::tools::stdout_of;
use crate::support::until;

/// What a request's buffer is, with the kernel's overhead.
const SMALL_BYTES: usize = 32 * 1024;
const SETTINGS: u8 = 4;
const WINDOW_UPDATE: u8 = 8;

#[tokio::test]
async fn a_connection_has_a_large_receive_buffer_while_it_uploads_and_not_before_or_after() {
    let up = Uploading::embedded(&[]).await;
    let bytes = video(90, 4 * MIB);
    let (head, rest) = bytes.split_at(MIB);
    let target = up.create(&[("Upload-Length", &bytes.len().to_string())]).await;
    let gateway = up.stand().address();

    let mut other = up.stand().connect().await;
    let health = other.ask("GET", "/api/health", &[]).await;
    assert_eq!(health.status, 200);

    let mut wire = up.begin_patch(&target, 0, bytes.len()).await;
    wire.send(head).await;
    let port = wire.port();
    let more = MIB.min(rmem_max());
    until("more room for an upload", async || (receive_buffer(gateway, port) > more).then_some(())).await;
    assert_eq!(receive_buffer(gateway, other.port()), SMALL_BYTES, "a neighbour");
    let sent_scale = told(gateway, port, "wscale:");
    let scale = told(gateway, port, &format!("wscale:{sent_scale},"));
    assert!((1 << 16 << scale) > more, "a window of 64 KiB, scaled by 2^{scale}");
    wire.send(rest).await;
    assert_eq!(wire.answer("PATCH").await.status, 204);
    assert!(receive_buffer(gateway, port) > more, "another piece may follow");
    assert_eq!(wire.ask("GET", "/api/health", &[]).await.status, 200);
    until("it is small again", async || (receive_buffer(gateway, port) == SMALL_BYTES).then_some(())).await;
}

#[tokio::test]
async fn http2_opens_windows_beyond_the_smallest_only_where_something_can_be_uploaded() {
    for (uploads, is_large) in [("on", true), ("off", false)] {
        let up = Uploading::embedded(&[("SEEKWAY_UPLOADS", uploads)]).await;
        let mut frames = Frames::connect(up.stand().address()).await;
        frames.send(PREFACE).await;
        let settings = frames.next(SETTINGS).await.expect("it says how it is");
        let of_streams = settings.chunks(6).find(|setting| setting[..2] == [0, 4]);
        let of_streams = of_streams.map_or(65_535, |setting| number(&setting[2..]));
        assert_eq!(of_streams, if is_large { MIB } else { 65_535 }, "uploads {uploads}");
        if is_large {
            let more = frames.next(WINDOW_UPDATE).await.expect("for all streams");
            assert_eq!(65_535 + number(&more), MIB);
        }
    }
}

/// The gateway's buffer for what comes from this port.
fn receive_buffer(gateway: SocketAddr, port: u16) -> usize {
    told(gateway, port, ",rb")
}

/// What the kernel lets buffers be set to, before it doubles that.
fn rmem_max() -> usize {
    let text = std::fs::read_to_string("/proc/sys/net/core/rmem_max").expect("Linux says so");
    text.trim().parse().expect("a number")
}

/// A number that `ss` tells of the gateway's connection with this port.
fn told(gateway: SocketAddr, port: u16, name: &str) -> usize {
    let filter = format!("sport = :{} and dport = :{port}", gateway.port());
    let line = stdout_of("ss", &["-tinmOH", &filter]);
    let rest = line.split_once(name).map(|(_, rest)| rest);
    let number = rest.and_then(|rest| rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok());
    number.unwrap_or_else(|| panic!("no {name} of {filter}: {line:?}"))
}

fn number(bytes: &[u8]) -> usize {
    bytes.iter().fold(0, |number, byte| number << 8 | usize::from(*byte))
}
