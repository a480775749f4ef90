//! A lean HTTP/1.1 client: heads are parsed, bodies mostly not even copied.
//!
//! What nobody wants to look at is taken with `MSG_TRUNC`, which for TCP means that the kernel throws it away
//! (tcp(7)). Half of the work of reading is that copy, and on a machine that client and server share it would be
//! missing there.

use std::{cell::RefCell, io, net::SocketAddr, ops::Range};

use rustix::net::{RecvFlags, recv};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, Interest},
    net::{TcpSocket, TcpStream},
};

use super::Film;
use crate::Error;

const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 64;
/// RFC 9112 §7.1.
const EMPTY_CHUNKED: &[u8; 5] = b"0\r\n\r\n";

/// One connection, with one request at a time.
#[derive(Debug)]
pub(crate) struct Connection {
    stream: TcpStream,
    /// What arrived with the last head: the head, and the beginning of its body.
    received: Vec<u8>,
    /// The length of that head.
    head_bytes: usize,
    /// The part of `received` that has not been taken.
    at: usize,
    /// Bytes of the body that have not been taken.
    remaining: u64,
    keeps_alive: bool,
    /// How a discarded body is received.
    discards: RecvFlags,
}

/// The head of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    /// The status code.
    pub(crate) status: u16,
    /// Length of the body.
    pub(crate) length: u64,
    /// The first byte and the object's size, from `Content-Range`.
    pub(crate) place: Option<(u64, u64)>,
    /// `Age`, or zero.
    pub(crate) age: u64,
}

// === impl Connection ===

impl Connection {
    /// Opens the connection, with `TCP_NODELAY`.
    pub(crate) async fn connect(address: SocketAddr) -> Result<Self, Error> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self::over(stream))
    }

    /// The same, with so little room for what is not read yet (the kernel doubles it).
    pub(crate) async fn connect_holding(address: SocketAddr, bytes: u32) -> Result<Self, Error> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        socket.set_recv_buffer_size(bytes)?;
        socket.set_nodelay(true)?;
        Ok(Self::over(socket.connect(address).await?))
    }

    /// Speaks over a connection that exists.
    pub(crate) fn over(stream: TcpStream) -> Self {
        Self {
            stream,
            received: Vec::new(),
            head_bytes: 0,
            at: 0,
            remaining: 0,
            keeps_alive: true,
            discards: RecvFlags::TRUNC,
        }
    }

    /// Whether what is [discarded](Self::discard) is copied out of the kernel before.
    pub(crate) fn set_copies(&mut self, copies: bool) {
        self.discards = if copies { RecvFlags::empty() } else { RecvFlags::TRUNC };
    }

    /// Whether the next request may be sent here: the last answer has been taken whole, and the server said nothing
    /// against it.
    pub(crate) fn is_reusable(&self) -> bool {
        self.remaining == 0 && self.keeps_alive
    }

    /// Bytes of the body that have not been taken.
    pub(crate) fn remaining(&self) -> u64 {
        self.remaining
    }

    /// Sends a request head and reads the head of its answer.
    pub(crate) async fn ask(&mut self, request: &[u8]) -> Result<Head, Error> {
        self.send(request).await?;
        self.answer().await
    }

    /// Sends some of a request.
    pub(crate) async fn send(&mut self, bytes: &[u8]) -> Result<(), Error> {
        debug_assert!(self.is_reusable(), "the answer before must have been taken");
        Ok(self.stream.write_all(bytes).await?)
    }

    /// Reads the head of the answer to what was sent.
    pub(crate) async fn answer(&mut self) -> Result<Head, Error> {
        self.received.clear();
        loop {
            self.received.reserve(4096);
            if self.stream.read_buf(&mut self.received).await? == 0 {
                return Err(broken("the connection ended before an answer"));
            }
            if let Some(head) = self.parse()? {
                return Ok(head);
            }
            if self.received.len() > HEAD_BYTES_MAX {
                return Err(broken("the answer's head is too long"));
            }
        }
    }

    /// A header of the last answer; empty when it is absent or not text.
    pub(crate) fn header(&self, name: &str) -> &str {
        // They were parsed before, so they are well-formed.
        let head = str::from_utf8(&self.received[..self.head_bytes]).unwrap_or_default();
        let headers = head.lines().filter_map(|line| line.split_once(':'));
        let mut named = headers.filter(|(other, _)| other.eq_ignore_ascii_case(name));
        named.next().map(|(_, value)| value.trim()).unwrap_or_default()
    }

    /// Takes up to `max` bytes of the body into `buffer`, and says how many there were. Zero only when none are left.
    pub(crate) async fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Error> {
        let len = at_most(self.remaining, buffer.len());
        if len == 0 {
            return Ok(0);
        }
        let early = &self.received[self.at..];
        let taken = if early.is_empty() {
            self.stream.read(&mut buffer[..len]).await?
        } else {
            let len = len.min(early.len());
            buffer[..len].copy_from_slice(&early[..len]);
            self.at += len;
            len
        };
        self.took(taken)
    }

    /// Takes at most `max` bytes of the body, and no more than `scratch` has room for, without looking at them. Zero
    /// only when none are left. Scratch is borrowed for no longer than a system call, so connections can share one.
    pub(crate) async fn discard(&mut self, scratch: &RefCell<Vec<u8>>, max: usize) -> Result<usize, Error> {
        let len = at_most(self.remaining, scratch.borrow().len().min(max));
        if len == 0 {
            return Ok(0);
        }
        let early = self.received.len() - self.at;
        let taken = if early > 0 {
            let len = len.min(early);
            self.at += len;
            len
        } else {
            let (stream, flags) = (&self.stream, self.discards | RecvFlags::DONTWAIT);
            let throw_away = || {
                let scratch = &mut scratch.borrow_mut()[..len];
                let (_, taken) = recv(stream, scratch, flags)?;
                Ok(taken)
            };
            stream.async_io(Interest::READABLE, throw_away).await?
        };
        self.took(taken)
    }

    fn took(&mut self, taken: usize) -> Result<usize, Error> {
        if taken == 0 {
            return Err(broken("the body ended before its announced length"));
        }
        self.remaining -= taken as u64;
        Ok(taken)
    }

    fn parse(&mut self) -> Result<Option<Head>, Error> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut response = httparse::Response::new(&mut headers);
        let parsed =
            response.parse(&self.received).map_err(|error| broken(&format!("malformed head: {error}")))?;
        let httparse::Status::Complete(end) = parsed else { return Ok(None) };
        let mut head = Head { status: response.code.unwrap_or_default(), length: 0, place: None, age: 0 };
        let (mut keeps_alive, mut is_chunked) = (true, false);
        for header in &*response.headers {
            let value = str::from_utf8(header.value).unwrap_or_default().trim();
            if header.name.eq_ignore_ascii_case("content-length") {
                head.length = value.parse().map_err(|_| broken("malformed Content-Length"))?;
            } else if header.name.eq_ignore_ascii_case("content-range") {
                head.place = place(value);
            } else if header.name.eq_ignore_ascii_case("age") {
                head.age = value.parse().unwrap_or_default();
            } else if header.name.eq_ignore_ascii_case("connection") {
                keeps_alive = !value.eq_ignore_ascii_case("close");
            } else if header.name.eq_ignore_ascii_case("transfer-encoding") {
                is_chunked = true;
            }
        }
        self.head_bytes = end;
        self.at = end;
        if is_chunked {
            // Nobody asks for a body that comes so, but Node sends an empty one.
            match self.received[end..].first_chunk() {
                Some(EMPTY_CHUNKED) => self.at += EMPTY_CHUNKED.len(),
                Some(_) => return Err(broken("a body without Content-Length")),
                None => return Ok(None),
            }
        }
        (self.remaining, self.keeps_alive) = (head.length, keeps_alive);
        Ok(Some(head))
    }
}

// === impl Head ===

impl Head {
    /// Checks that it begins the answer to `request` for `range` of `film`.
    pub(crate) fn expect(&self, request: &[u8], range: &Range<u64>, film: &Film) -> Result<(), Error> {
        let is_right = self.status == 206
            && self.length == range.end - range.start
            && self.place == Some((range.start, film.size));
        if is_right {
            return Ok(());
        }
        let request = String::from_utf8_lossy(request).lines().next().unwrap_or_default().to_owned();
        Err(Error::UnexpectedAnswer { request, answer: format!("{self:?} for {range:?}") })
    }
}

/// `bytes 7-9/100` as 7 and 100.
pub(super) fn place(content_range: &str) -> Option<(u64, u64)> {
    let (range, size) = content_range.strip_prefix("bytes ")?.split_once('/')?;
    Some((range.split_once('-')?.0.parse().ok()?, size.parse().ok()?))
}

fn at_most(remaining: u64, room: usize) -> usize {
    usize::try_from(remaining).map_or(room, |remaining| remaining.min(room))
}

fn broken(why: &str) -> Error {
    io::Error::new(io::ErrorKind::InvalidData, why).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        load::{Film, Target},
        origin::{Origin, Shape},
    };

    #[tokio::test]
    async fn bodies_are_read_or_thrown_away_to_their_last_byte() {
        let origin = Origin::start(Shape::default()).unwrap();
        origin.put_pattern("media", &Film::name(0), 1 << 20, 0);
        let target = Target::of_patterns(origin.address(), "/media/", 1, 1 << 20);
        let mut connection = Connection::connect(target.address).await.unwrap();
        let mut buffer = vec![0; 10_000];
        let scratch = RefCell::new(vec![0; 10_000]);
        for nth in 0..6 {
            let range = nth * 100_001..nth * 100_001 + 65_536;
            let head = connection.ask(&target.request(&target.films[0], &range)).await.unwrap();
            assert_eq!(
                head,
                Head { status: 206, length: 65_536, place: Some((range.start, 1 << 20)), age: 0 }
            );
            let mut at = range.start;
            // Every other body is looked at, and every third one only here and there.
            loop {
                let looks = nth % 2 == 0 && (nth % 3 != 0 || at % 2 == 0);
                let len = if looks {
                    let len = connection.read(&mut buffer).await.unwrap();
                    assert_eq!(target.films[0].first_wrong(at, &buffer[..len]), None);
                    len
                } else {
                    connection.discard(&scratch, usize::MAX).await.unwrap()
                };
                at += len as u64;
                if len == 0 {
                    break;
                }
            }
            assert_eq!(at, range.end);
            assert!(connection.is_reusable());
        }
        assert_eq!(origin.counts().body_bytes, 6 * 65_536);
    }

    #[test]
    fn a_content_range_has_a_beginning_and_a_size() {
        assert_eq!(place("bytes 7-9/100"), Some((7, 100)));
        assert_eq!(place("bytes */100"), None);
        assert_eq!(place("7-9/100"), None);
    }
}
