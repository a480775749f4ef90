//! Many clients at once, on bare sockets: they ask, read the head of the answer, and then do what a scenario
//! wants, mostly nothing. A [`Crowd`] of them is there while others are served.
//!
//! On loopback each comes from an address of its own in 127.0.0.0/8, as strangers do, and takes as little into its
//! receive buffer as the kernel allows, so that what waits, waits at the server.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::{Deserialize, Serialize};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
    task::JoinSet,
    time::{interval, timeout},
};

use super::{Drive, Measurement, Target, Workload, drive};
use crate::{Error, pattern};

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

/// Reads of a client that does read, however slowly.
const PIECE_BYTES: usize = 4096;
/// Where in the films the crowd asks; no other draw has this.
const CROWD_SEED: u64 = 0xC40D;

/// Clients that ask for much and read little.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crowd {
    /// How many.
    pub clients: usize,
    /// What each asks for, somewhere.
    pub bytes: u64,
    /// What each reads of it; with 0 nothing but the head of the answer.
    pub bytes_per_second: u64,
    /// How long it has been there when the others are measured: what its arrival costs is another question.
    pub settled: Duration,
}

/// A crowd that is there. Dropping it sends all of them away.
#[derive(Debug)]
pub struct Gathered {
    /// How many were answered with their range.
    pub served: u64,
    /// How many were refused, by a status or by a connection that failed.
    pub refused: u64,
    paused: Vec<Visitor>,
    reading: JoinSet<()>,
}

/// A workload measured alone, and then beside a crowd.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Beside {
    /// Without the crowd.
    pub alone: Measurement,
    /// With it.
    pub beside: Measurement,
    /// How many of the crowd were answered with their range.
    pub served: u64,
    /// How many were refused.
    pub refused: u64,
}

/// A client that asked and has the head of its answer.
#[derive(Debug)]
pub(crate) struct Visitor<S = TcpStream> {
    pub(crate) stream: S,
    /// The status of the answer.
    pub(crate) status: u16,
    /// What came of the body with the head.
    pub(crate) body: Vec<u8>,
}

// === impl Crowd ===

impl Crowd {
    /// Lets them all in, and returns when each has been answered or refused. Those who read do so on the caller's
    /// runtime. `done` is called for each.
    pub async fn gather(&self, target: &Arc<Target>, done: impl Fn()) -> Result<Gathered, Error> {
        raise_descriptor_limit();
        let come = async |nth| {
            let asking = async { ask(connect(target.address, nth).await?, &self.request(target, nth)).await };
            Ok(asking.await.ok().filter(|visitor| visitor.status == 206))
        };
        let arrived: Vec<Visitor> = arrive(done, self.clients, come).await?.into_iter().flatten().collect();
        let served = arrived.len();
        let mut gathered = Gathered {
            served: served as u64,
            refused: (self.clients - served) as u64,
            paused: arrived,
            reading: JoinSet::new(),
        };
        if self.bytes_per_second > 0 {
            #[expect(clippy::cast_precision_loss, reason = "a pace need not be exact")]
            let every = Duration::from_secs_f64(PIECE_BYTES as f64 / self.bytes_per_second as f64);
            for visitor in gathered.paused.drain(..) {
                gathered.reading.spawn(read_slowly(visitor.stream, every));
            }
        }
        Ok(gathered)
    }

    /// Measures `workload` without the crowd and then beside it.
    pub async fn beside(
        &self,
        target: &Arc<Target>,
        workload: Workload,
        plan: &Drive,
    ) -> Result<Beside, Error> {
        let alone = drive(target, workload, plan).await?;
        let done = || _ = plan.progress.fetch_add(1, Ordering::Relaxed);
        let crowd = self.gather(target, done).await?;
        tokio::time::sleep(self.settled).await;
        let beside = drive(target, workload, plan).await?;
        Ok(Beside { alone, beside, served: crowd.served, refused: crowd.refused })
    }

    fn request(&self, target: &Target, nth: usize) -> String {
        let film = target.film(nth as u64);
        let bytes = self.bytes.min(film.size);
        let start = pattern::draw(CROWD_SEED, nth as u64, film.size - bytes + 1);
        String::from_utf8(target.request(film, &(start..start + bytes))).expect("a request is text")
    }
}

async fn read_slowly(mut stream: TcpStream, every: Duration) {
    let mut piece = [0; PIECE_BYTES];
    let mut turns = interval(every);
    loop {
        turns.tick().await;
        // One whose range is over, or who was sent away, is silent from then on.
        if !matches!(stream.read(&mut piece).await, Ok(1..)) {
            return;
        }
    }
}

/// Lets this process have as many sockets as the system allows it, and says how many that are.
pub(crate) fn raise_descriptor_limit() -> u64 {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    // Refused only where the hard limit is below the soft one, and then the caller learns the soft one.
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}

/// Connects as client number `nth`, with the address that belongs to it.
pub(crate) async fn connect(to: SocketAddr, nth: usize) -> Result<TcpStream, Error> {
    connect_with(to, nth, RECEIVE_BUFFER_BYTES).await
}

/// The same for TLS or HTTP/2.
pub(crate) async fn connect_for_records(to: SocketAddr, nth: usize) -> Result<TcpStream, Error> {
    connect_with(to, nth, RECORDS_BUFFER_BYTES).await
}

async fn connect_with(to: SocketAddr, nth: usize, receive_buffer_bytes: u32) -> Result<TcpStream, Error> {
    let socket = if to.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_recv_buffer_size(receive_buffer_bytes)?;
    if to.ip().is_loopback() && to.is_ipv4() {
        socket.bind((own_address(nth), 0).into())?;
    }
    Ok(socket.connect(to).await?)
}

fn own_address(nth: usize) -> IpAddr {
    let octet = |n: usize| u8::try_from(n % 250 + 1).expect("a remainder of 250 fits");
    Ipv4Addr::new(127, 1 + octet(nth / 62_500), octet(nth / 250), octet(nth)).into()
}

/// `GET path` with these header lines, each ended by CRLF.
pub(crate) fn get(path: &str, headers: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n")
}

/// Sends `request`, and reads the head of the answer and little more.
pub(crate) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(
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

/// Lets `count` clients in, some at a time, and calls `done` for each; `request` says what it asks. They are in the
/// order of their numbers.
pub(crate) async fn gather(
    done: impl Fn(),
    to: SocketAddr,
    count: usize,
    request: impl Fn(usize) -> String,
) -> Result<Vec<Visitor>, Error> {
    arrive(done, count, async |nth| ask(connect(to, nth).await?, &request(nth)).await).await
}

/// The same for clients that come and ask in another way.
pub(crate) async fn arrive<V>(
    done: impl Fn(),
    count: usize,
    come: impl AsyncFn(usize) -> Result<V, Error>,
) -> Result<Vec<V>, Error> {
    let (come, done) = (&come, &done);
    let arriving = stream::iter(0..count).map(async |nth| {
        let visitor = come(nth).await?;
        done();
        Ok::<_, Error>((nth, visitor))
    });
    let mut arrived: Vec<_> = arriving.buffer_unordered(ARRIVING_AT_ONCE).try_collect().await?;
    arrived.sort_unstable_by_key(|(nth, _)| *nth);
    Ok(arrived.into_iter().map(|(_, visitor)| visitor).collect())
}

/// How many were answered with `status`.
pub(crate) fn answered<S>(visitors: &[Visitor<S>], status: u16) -> u64 {
    visitors.iter().filter(|visitor| visitor.status == status).count() as u64
}

fn status(head: &[u8]) -> Option<u16> {
    let line = std::str::from_utf8(head).ok()?.lines().next()?;
    line.strip_prefix("HTTP/1.1 ")?.split(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        load::{Arrivals, Film, Length, Offsets, Progress, Ranges},
        origin::{Origin, Shape},
    };

    #[tokio::test]
    async fn others_are_measured_without_a_crowd_and_beside_it() {
        const SIZE: u64 = 16 << 20;
        let origin = Origin::start(Shape::default()).unwrap();
        origin.put_pattern("media", &Film::name(0), SIZE, 0);
        let target = Arc::new(Target::of_patterns(origin.address(), "/media/", 1, SIZE));
        let ranges = Ranges {
            bytes: 10_000,
            connections: 3,
            arrivals: Arrivals::Closed,
            offsets: Offsets::Anywhere,
            churn: false,
            copies: false,
        };
        let progress = Progress::default();
        let plan = Drive {
            threads: 2,
            length: Length::requests(30),
            seed: 1,
            verify_every: 1,
            progress: progress.clone(),
        };
        for bytes_per_second in [0, 400_000] {
            origin.reset_counts();
            let crowd = Crowd { clients: 40, bytes: 8 << 20, bytes_per_second, settled: Duration::ZERO };
            let found = crowd.beside(&target, Workload::Ranges(ranges), &plan).await.unwrap();
            assert_eq!((found.served, found.refused), (40, 0));
            for measured in [&found.alone, &found.beside] {
                assert_eq!((measured.requests, measured.failed, measured.wrong), (30, 0, 0), "{measured:?}");
            }
            assert_eq!(origin.counts().gets, 30 + 40 + 30);
            // They left, and the origin noticed before their ranges were over.
            origin.until(|counts| counts.in_flight == 0).await.unwrap();
            assert!(origin.counts().body_bytes < 60 * 10_000 + 40 * (8 << 20));
        }
        assert_eq!(progress.load(Ordering::Relaxed), 2 * (30 + 40 + 30));

        origin.put_pattern("media", &Film::name(0), 5, 0);
        let crowd = Crowd { clients: 7, bytes: 8 << 20, bytes_per_second: 0, settled: Duration::ZERO };
        let refused = crowd.gather(&target, || {}).await.unwrap();
        assert_eq!((refused.served, refused.refused), (0, 7), "416 is no range");
    }
}
