//! Single ranges over HTTP/2 without TLS, by prior knowledge: many streams at a time on each connection.
//!
//! What is looked at beside the times is fairness: the longest time that any stream, while a request of its was under
//! way, got no byte. Unlike the HTTP/1 client this one copies what it reads, since frames have to be taken apart.

use std::{cell::RefCell, ops::Range, time::Instant};

use bytes::Bytes;
use futures_util::future::{join_all, try_join_all};
use h2::client::{Connection, SendRequest};
use http::{HeaderMap, Request, header};
use serde::{Deserialize, Serialize};
use tokio::{io::BufReader, net::TcpStream};

use super::{
    Film, Lane, Offsets, Recorder,
    http1::{Head, place},
    ranges::PAUSE,
};
use crate::Error;

/// What the server may send ahead on a stream. What came is granted anew at once, so this bounds only what is on its way,
/// and a loopback connection holds 4 MiB at most.
const STREAM_WINDOW_BYTES: u32 = 4 << 20;
/// How much is read at once. Without it a system call brings no more than one frame of 16 KiB, and 10^9 bytes cost this
/// client 0.38 s of processor time in place of 0.32 s.
const READ_BYTES: usize = 256 * 1024;
/// No less than all streams together: they must not wait for each other.
const CONNECTION_WINDOW_BYTES: u32 = (1 << 31) - 1;

/// Ranges of one length, in a closed loop on every stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Streams {
    /// The length of each.
    pub bytes: u64,
    /// Connections. One thread makes the load of each.
    pub connections: usize,
    /// Requests at a time on each of them. The server may allow fewer; then they wait, and that counts.
    pub streams: usize,
    /// Where they lie.
    pub offsets: Offsets,
}

/// Why a stream asks no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Run,
    Connection,
}

/// What the connections of a lane share.
struct Shared<'a> {
    lane: &'a Lane,
    recorder: RefCell<Recorder>,
    start: Instant,
}

// === impl Streams ===

impl Streams {
    pub(super) async fn run(&self, lane: &Lane) -> Result<Recorder, Error> {
        let mut senders = Vec::new();
        for _ in 0..lane.share(self.connections) {
            senders.push(connect(lane).await?);
        }
        let start = lane.start().await?;
        let shared = Shared { lane, recorder: RefCell::new(Recorder::new()), start };
        try_join_all(senders.into_iter().map(|sender| self.keep_asking(sender, &shared))).await?;
        Ok(shared.recorder.into_inner())
    }

    /// Until the run is over, on another connection when one has ended.
    async fn keep_asking(&self, mut sender: SendRequest<Bytes>, shared: &Shared<'_>) -> Result<(), Error> {
        let lane = shared.lane;
        loop {
            let streams = (0..self.streams).map(|_| self.ask_on(sender.clone(), shared));
            if join_all(streams).await.contains(&Ended::Run) {
                return Ok(());
            }
            sender = loop {
                match connect(lane).await {
                    Ok(sender) => break sender,
                    Err(error) => {
                        if lane.ticket(shared.start).is_none() {
                            return Ok(());
                        }
                        shared.recorder.borrow_mut().failed(&error);
                        lane.progress();
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            };
        }
    }

    /// One stream after the other.
    async fn ask_on(&self, mut sender: SendRequest<Bytes>, shared: &Shared<'_>) -> Ended {
        let lane = shared.lane;
        loop {
            let Some(ticket) = lane.ticket(shared.start) else { return Ended::Run };
            let due = Instant::now();
            sender = match sender.ready().await {
                Ok(sender) => sender,
                Err(error) => {
                    shared.recorder.borrow_mut().failed(&error);
                    lane.progress();
                    return Ended::Connection;
                }
            };
            let (film, range) = self.offsets.range(lane, ticket, self.bytes);
            if let Err(error) = get(lane, &mut sender, film, range, (ticket, due), &shared.recorder).await {
                shared.recorder.borrow_mut().failed(&error);
                tokio::time::sleep(PAUSE).await;
            }
            lane.progress();
        }
    }
}

/// Opens a connection, which ends with its last sender.
async fn connect(lane: &Lane) -> Result<SendRequest<Bytes>, Error> {
    let stream = TcpStream::connect(lane.target.address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection): (_, Connection<_, Bytes>) = h2::client::Builder::new()
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .handshake(BufReader::with_capacity(READ_BYTES, stream))
        .await?;
    // What is wrong with it is seen by its requests.
    tokio::task::spawn_local(async move { drop(connection.await) });
    Ok(sender)
}

async fn get(
    lane: &Lane,
    sender: &mut SendRequest<Bytes>,
    film: &Film,
    range: Range<u64>,
    (ticket, due): (u64, Instant),
    recorder: &RefCell<Recorder>,
) -> Result<(), Error> {
    let request = Request::get(format!("http://{}{}", lane.target.host, film.path))
        .header(header::RANGE, format!("bytes={}-{}", range.start, range.end - 1))
        .body(())?;
    let mut last_byte = due;
    let (answer, _) = sender.send_request(request, true)?;
    let (head, mut body) = answer.await?.into_parts();
    self::head(head.status.as_u16(), &head.headers).expect(
        format!("GET {}", film.path).as_bytes(),
        &range,
        film,
    )?;

    let looks = lane.verifies(ticket, film);
    let (mut first_byte, mut wrong) = (None, false);
    let mut at = range.start;
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        recorder.borrow_mut().gap(last_byte);
        last_byte = Instant::now();
        first_byte.get_or_insert(last_byte);
        wrong |= looks && film.first_wrong(at, &piece).is_some();
        at += piece.len() as u64;
    }
    if at != range.end {
        let answer = format!("{} bytes of {range:?}", at - range.start);
        return Err(Error::UnexpectedAnswer { request: format!("GET {}", film.path), answer });
    }
    let bytes = range.end - range.start;
    recorder.borrow_mut().answered(due, first_byte, bytes, looks.then_some(wrong));
    Ok(())
}

fn head(status: u16, headers: &HeaderMap) -> Head {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    Head {
        status,
        length: text(header::CONTENT_LENGTH).parse().unwrap_or_default(),
        place: place(text(header::CONTENT_RANGE)),
        age: text(header::AGE).parse().unwrap_or_default(),
    }
}
