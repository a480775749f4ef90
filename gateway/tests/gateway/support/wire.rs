//! HTTP/1.1 as bytes on a socket: what a test sends is exactly what it wrote, and what it sees is exactly
//! what came, also where a client library would correct or hide it.

use std::fmt::Write as _;
use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::time::timeout;

use super::PATIENCE;

/// One connection.
pub(crate) struct Wire {
    stream: TcpStream,
    /// Received and not yet looked at.
    buffer: Vec<u8>,
}

/// One answer, or as much of it as came.
#[derive(Debug, Clone)]
pub(crate) struct Answer {
    pub(crate) version: String,
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: Vec<u8>,
    /// What `Content-Length` says.
    pub(crate) announced: Option<u64>,
    /// Whether the body has the announced length.
    pub(crate) complete: bool,
}

// === impl Wire ===

impl Wire {
    pub(crate) async fn connect(address: SocketAddr) -> Self {
        let stream = timeout(PATIENCE, TcpStream::connect(address)).await.expect("accepted in time");
        Self::new(stream.expect("the gateway listens"))
    }

    /// With a receive buffer so small that the sender notices at once when nobody reads.
    pub(crate) async fn connect_narrow(address: SocketAddr) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(8 * 1024).expect("a size");
        Self::new(socket.connect(address).await.expect("the gateway listens"))
    }

    /// From an address of this machine's own.
    pub(crate) async fn connect_from(address: SocketAddr, from: [u8; 4]) -> Self {
        Self::try_connect_from(address, from).await.expect("the gateway listens")
    }

    /// For when it may be reset at once.
    pub(crate) async fn try_connect_from(address: SocketAddr, from: [u8; 4]) -> std::io::Result<Self> {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.bind((from, 0).into()).expect("all of 127.0.0.0/8 is ours");
        let stream = timeout(PATIENCE, socket.connect(address)).await.expect("accepted in time");
        stream.map(Self::new)
    }

    /// Ours.
    pub(crate) fn port(&self) -> u16 {
        self.stream.local_addr().expect("it is connected").port()
    }

    /// Says that nothing more will be sent; answers may still come.
    pub(crate) async fn done_sending(&mut self) {
        self.stream.shutdown().await.expect("it is connected");
    }

    /// Ends the connection without a word.
    pub(crate) fn reset(self) {
        let socket = socket2::SockRef::from(&self.stream);
        socket.set_linger(Some(std::time::Duration::ZERO)).expect("a TCP socket");
    }

    fn new(stream: TcpStream) -> Self {
        // Fails when it was reset already, which the test will see.
        drop(stream.set_nodelay(true));
        Self { stream, buffer: Vec::new() }
    }

    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).await.expect("the gateway takes it");
    }

    /// For when the other side may be gone already.
    pub(crate) async fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> std::io::Result<()> {
        timeout(PATIENCE, self.stream.write_all(bytes.as_ref())).await.expect("taken in time")
    }

    /// Sends a request without a body and reads its answer.
    pub(crate) async fn ask(&mut self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.send(head(method, target, headers)).await;
        self.answer(method).await
    }

    /// The answer to a request with `method`.
    pub(crate) async fn answer(&mut self, method: &str) -> Answer {
        let mut answer = self.answer_head(method).await;
        let wanted = answer.announced.unwrap_or(0);
        while (answer.body.len() as u64) < wanted {
            let left = usize::try_from(wanted).expect("small") - answer.body.len();
            let piece = self.some(left).await;
            if piece.is_empty() {
                answer.complete = false;
                break;
            }
            answer.body.extend(piece);
        }
        answer
    }

    /// The head of an answer; its body is yet to be read by [`some`](Self::some). `announced` is 0 where
    /// HTTP has no body (RFC 9112 §6.3).
    pub(crate) async fn answer_head(&mut self, method: &str) -> Answer {
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|window| window == b"\r\n\r\n") {
                break end;
            }
            let before = String::from_utf8_lossy(&self.buffer).into_owned();
            assert!(self.receive().await > 0, "the connection ended before an answer's head: {before:?}");
        };
        let rest = self.buffer.split_off(end + 4);
        let head = String::from_utf8(std::mem::replace(&mut self.buffer, rest)).expect("a head is ASCII");
        let mut answer = Answer::parse(&head);
        if method == "HEAD" || answer.status == 304 || answer.status == 204 {
            answer.announced = None;
        }
        answer
    }

    /// At most `max` bytes, at least one; none at the end of the connection.
    pub(crate) async fn some(&mut self, max: usize) -> Vec<u8> {
        if self.buffer.is_empty() {
            self.receive().await;
        }
        let rest = self.buffer.split_off(max.min(self.buffer.len()));
        std::mem::replace(&mut self.buffer, rest)
    }

    /// So many bytes, which must come.
    pub(crate) async fn exactly(&mut self, bytes: usize) -> Vec<u8> {
        while self.buffer.len() < bytes {
            assert!(self.receive().await > 0, "the connection ended after {} of {bytes}", self.buffer.len());
        }
        let rest = self.buffer.split_off(bytes);
        std::mem::replace(&mut self.buffer, rest)
    }

    /// Everything up to the end of the connection, which must come.
    pub(crate) async fn until_closed(&mut self) -> Vec<u8> {
        while self.receive().await > 0 {}
        std::mem::take(&mut self.buffer)
    }

    /// Fails if anything comes, or the connection ends.
    pub(crate) async fn stays_silent(&mut self, for_ms: u64) {
        let waiting = tokio::time::Duration::from_millis(for_ms);
        let came = timeout(waiting, self.stream.read_buf(&mut self.buffer)).await;
        assert!(came.is_err(), "nothing should have come: {came:?} {:?}", self.buffer);
    }

    /// How many bytes more there are; none at the end. A reset is an end, too.
    async fn receive(&mut self) -> usize {
        self.buffer.reserve(64 * 1024);
        let read = timeout(PATIENCE, self.stream.read_buf(&mut self.buffer)).await;
        read.unwrap_or_else(|_| panic!("neither bytes nor an end came: {:?}", self.shown())).unwrap_or(0)
    }

    fn shown(&self) -> String {
        String::from_utf8_lossy(&self.buffer[..self.buffer.len().min(500)]).into_owned()
    }
}

/// A request's head as text.
pub(crate) fn head(method: &str, target: &str, headers: &[(&str, &str)]) -> Vec<u8> {
    let mut head = format!("{method} {target} HTTP/1.1\r\nHost: gateway.test\r\n");
    for (name, value) in headers {
        write!(head, "{name}: {value}\r\n").expect("a String takes all text");
    }
    head.push_str("\r\n");
    head.into_bytes()
}

// === impl Answer ===

impl Answer {
    /// Strictly what RFC 9112 §4 and §5 allow a server to send.
    fn parse(head: &str) -> Self {
        let mut lines = head.strip_suffix("\r\n\r\n").expect("a whole head").split("\r\n");
        let status_line = lines.next().expect("a status line");
        let (version, rest) = status_line.split_once(' ').expect("a version");
        let (status, _) = rest.split_once(' ').expect("a reason, even if empty");
        let headers = lines.map(|line| {
            let (name, value) = line.split_once(':').unwrap_or_else(|| panic!("{line:?} is no header"));
            assert!(!name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic()), "{line:?}");
            (name.to_ascii_lowercase(), value.trim().to_owned())
        });
        let mut answer = Self {
            version: version.to_owned(),
            status: status.parse().expect("three digits"),
            headers: headers.collect(),
            body: Vec::new(),
            announced: None,
            complete: true,
        };
        assert!(!answer.has("transfer-encoding"), "a length is always known: {head:?}");
        answer.announced = answer.has("content-length").then(|| {
            answer.header("content-length").parse().unwrap_or_else(|_| panic!("no length: {head:?}"))
        });
        answer
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.headers.iter().any(|(other, _)| other == name)
    }

    /// The header's value, empty without one. No header of ours comes twice.
    #[track_caller]
    pub(crate) fn header(&self, name: &str) -> &str {
        let mut values = self.headers.iter().filter(|(other, _)| other == name).map(|(_, value)| value);
        let value = values.next().map_or("", String::as_str);
        assert!(values.next().is_none(), "{name} comes twice: {self:?}");
        value
    }

    /// The body as a problem document (RFC 9457), which says nothing about where the bytes come from.
    #[track_caller]
    pub(crate) fn problem(&self) -> serde_json::Value {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        assert_eq!(self.header("cache-control"), "no-store", "{self:?}");
        let document: serde_json::Value = serde_json::from_slice(&self.body).expect("JSON");
        assert_eq!(document["status"], self.status, "{document}");
        assert_eq!(document["request_id"], self.header("x-request-id"), "{document}");
        document
    }
}
