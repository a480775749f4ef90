//! Many clients at once, on bare sockets: they ask, read the head of the answer, and then do what a scenario
//! wants, mostly nothing.
//!
//! Each comes from an address of its own in 127.0.0.0/8, as strangers do, and takes as little into its receive
//! buffer as the kernel allows, so that what waits, waits at the server.

use std::{
    net::{Ipv4Addr, SocketAddr},
    time::Duration,
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    time::timeout,
};

use super::Stage;
use crate::Error;

/// How many are on their way in at the same time.
///
/// Some meet the one-second retry of a full queue of new connections (1,024); without a crowd, ten thousand who
/// wait 5 s for memory would take minutes.
const ARRIVING_AT_ONCE: usize = 4000;
/// The kernel doubles it, and never goes below 2,304.
const RECEIVE_BUFFER_BYTES: u32 = 4096;
/// For clients whose answers come in frames or records of 16 KiB: a smaller buffer would take them in by and by, at the
/// pace of the kernel's window probes.
const RECORDS_BUFFER_BYTES: u32 = 256 * 1024;
/// No head is longer.
const HEAD_BYTES_MAX: usize = 8192;
/// No answer begins later: the gateway itself gives up after 5 s without memory.
const PATIENCE: Duration = Duration::from_mins(1);

/// A client that asked and has the head of its answer.
#[derive(Debug)]
pub(super) struct Visitor<S = TcpStream> {
    pub(super) stream: S,
    /// The status of the answer.
    pub(super) status: u16,
    /// What came of the body with the head.
    pub(super) body: Vec<u8>,
}

/// Connects as client number `nth`, with the address that belongs to it.
pub(super) async fn connect(to: SocketAddr, nth: usize) -> Result<TcpStream, Error> {
    connect_with(to, nth, RECEIVE_BUFFER_BYTES).await
}

/// The same for TLS or HTTP/2.
pub(super) async fn connect_for_records(to: SocketAddr, nth: usize) -> Result<TcpStream, Error> {
    connect_with(to, nth, RECORDS_BUFFER_BYTES).await
}

async fn connect_with(to: SocketAddr, nth: usize, receive_buffer_bytes: u32) -> Result<TcpStream, Error> {
    let octet = |n: usize| u8::try_from(n % 250 + 1).expect("a remainder of 250 fits");
    let from = Ipv4Addr::new(127, 1 + octet(nth / 62_500), octet(nth / 250), octet(nth));
    let socket = TcpSocket::new_v4()?;
    socket.set_recv_buffer_size(receive_buffer_bytes)?;
    socket.bind(SocketAddr::from((from, 0)))?;
    Ok(socket.connect(to).await?)
}

/// `GET path` with these header lines, each ended by CRLF.
pub(super) fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n")
}

/// Sends `request`, and reads the head of the answer and little more.
pub(super) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
    mut stream: S,
    request: &str,
) -> Result<Visitor<S>, Error> {
    let asking = async {
        stream.write_all(request.as_bytes()).await?;
        // TLS may have kept some of it.
        stream.flush().await?;
        let mut received = Vec::new();
        loop {
            let mut piece = [0; 256];
            let len = stream.read(&mut piece).await?;
            received.extend_from_slice(&piece[..len]);
            if let Some(end) = received.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                let body = received.split_off(end + 4);
                return Ok((status(&received), body));
            }
            if len == 0 || received.len() > HEAD_BYTES_MAX {
                let error = format!("{len} bytes read, and no head in {} bytes", received.len());
                return Err(std::io::Error::new(std::io::ErrorKind::UnexpectedEof, error));
            }
        }
    };
    let answer = timeout(PATIENCE, asking).await;
    let request = || request.lines().next().unwrap_or_default().to_owned();
    let (status, body) = answer.map_err(|_| Error::Timeout { request: request(), limit: PATIENCE })??;
    let Some(status) = status else {
        return Err(Error::UnexpectedAnswer { request: request(), answer: "no status line".to_owned() });
    };
    Ok(Visitor { stream, status, body })
}

/// Lets `count` clients in, some at a time; `request` says what each asks. They are in the order of their numbers.
pub(super) async fn gather(
    stage: &Stage,
    to: SocketAddr,
    count: usize,
    request: impl Fn(usize) -> String,
) -> Result<Vec<Visitor>, Error> {
    arrive(stage, count, async |nth| ask(connect(to, nth).await?, &request(nth)).await).await
}

/// The same for clients that come and ask in another way.
pub(super) async fn arrive<S>(
    stage: &Stage,
    count: usize,
    come: impl AsyncFn(usize) -> Result<Visitor<S>, Error>,
) -> Result<Vec<Visitor<S>>, Error> {
    let come = &come;
    let arriving = stream::iter(0..count).map(async |nth| {
        let visitor = come(nth).await?;
        stage.done();
        Ok::<_, Error>((nth, visitor))
    });
    let mut arrived: Vec<_> = arriving.buffer_unordered(ARRIVING_AT_ONCE).try_collect().await?;
    arrived.sort_unstable_by_key(|(nth, _)| *nth);
    Ok(arrived.into_iter().map(|(_, visitor)| visitor).collect())
}

/// How many were answered with `status`.
pub(super) fn answered<S>(visitors: &[Visitor<S>], status: u16) -> u64 {
    visitors.iter().filter(|visitor| visitor.status == status).count() as u64
}

fn status(head: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(head).ok()?.lines().next()?;
    line.strip_prefix("HTTP/1.1 ")?.split(' ').next()?.parse().ok()
}
