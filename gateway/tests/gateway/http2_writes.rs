//! How answers of HTTP/2 leave: frames are written together, and clients are seen, held and served as by HTTP/1.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use seekway_loadtests::footprint::Footprint;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::{Instant, sleep};

use crate::support::h2::{DATA, END, Frames, HEADERS, PING, PREFACE, frame, get, open_windows};
use crate::support::{Stand, assert_pattern, until};
use crate::tls::{self, Pair};

const SEED: u64 = 83;
const TARGET: &str = "/media/film.mp4";
const KIB: u64 = 1 << 10;
const SIZE: u64 = 2_000_000;
const STALL: Duration = Duration::from_secs(2);
const STREAMS: u32 = 8;

/// Asks for the film on every stream, with nothing but TCP to hold the answers up.
async fn ask<S: AsyncRead + AsyncWrite + Unpin>(frames: &mut Frames<S>) {
    let mut asked = [PREFACE, &open_windows()].concat();
    for nth in 0..STREAMS {
        asked.extend(frame(HEADERS, END, 2 * nth + 1, &get(TARGET)));
    }
    frames.send(&asked).await;
}

/// A client whose own socket takes little.
async fn narrow(address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.set_recv_buffer_size(8 * 1024).expect("a size");
    socket.connect(address).await.expect("the gateway listens")
}

/// Its socket keeps to its lease until then, also if that is next to nothing.
#[tokio::test]
async fn a_client_that_reads_nothing_is_held_to_its_lease_and_ended() {
    // Of 64 MiB the first connection has 1/33, and frames are gathered; with none they are not.
    for (pool, lease) in [("0", 0), ("64MiB", 64 * 1024 * KIB / 33)] {
        let settings = [("SEEKWAY_SOCKET_MEMORY_BYTES", pool), ("SEEKWAY_WRITE_STALL_TIMEOUT", "600ms")];
        let stand = Stand::local(&settings);
        stand.put_pattern("film.mp4", 8 * 1024 * KIB, SEED);
        let mut frames = Frames(narrow(stand.address()).await);
        ask(&mut frames).await;
        let port = stand.address().port();
        let mut most = 0;
        // The listener is a socket, too.
        until("it is ended", async || {
            let now = Footprint::of(std::process::id(), &[port], &[]).expect("ss can be asked");
            most = now.sockets.max(most);
            (most > 0 && now.socket_count == 1).then_some(())
        })
        .await;
        // What it is sent, what it sends, and what the kernel counts for a last segment.
        let bound = 32 * KIB + lease + 32 * KIB;
        assert!((16 * KIB..=bound).contains(&most), "{most} bytes with a pool of {pool}, {bound} at most");
        stand.until_quiet().await;
    }
}

/// It gets every byte, in the clear and by TLS.
async fn read_steadily<S: AsyncRead + AsyncWrite + Unpin>(mut frames: Frames<S>) {
    ask(&mut frames).await;
    let mut bodies = HashMap::<u32, Vec<u8>>::new();
    let whole = u64::from(STREAMS) * SIZE;
    let begun = Instant::now();
    let mut read = 0;
    while read < whole {
        // 320 KB/s for twice as long as a client may take nothing.
        if begun.elapsed() < 2 * STALL {
            sleep(Duration::from_millis(50)).await;
        }
        let Some((stream, piece)) = frames.next_of(DATA).await else { panic!("cut after {read} bytes") };
        read += piece.len() as u64;
        bodies.entry(stream).or_default().extend(piece);
    }
    for (stream, body) in bodies {
        assert_eq!(body.len() as u64, SIZE, "stream {stream}");
        assert_pattern(SEED, 0, &body, "a stream");
    }
    frames.send(&frame(PING, 0, 0, b"12345678")).await;
    assert_eq!(frames.next(PING).await.expect("a PONG"), b"12345678");
}

#[tokio::test]
async fn a_client_that_reads_steadily_gets_every_byte() {
    let pair = Pair::new();
    let stall = format!("{}ms", STALL.as_millis());
    let stand = tls::stand(&pair, &[("SEEKWAY_WRITE_STALL_TIMEOUT", &stall)]);
    stand.put_pattern("film.mp4", SIZE, SEED);
    let plain = Frames(narrow(stand.address()).await);
    let connector = tls::connector(&pair.certificate(), &["h2"]);
    let below = narrow(stand.tls_address()).await;
    let by_tls = connector.connect(tls::name(), below).await.expect("a handshake");
    tokio::join!(read_steadily(plain), read_steadily(Frames(by_tls)));
    stand.until_quiet().await;
}
