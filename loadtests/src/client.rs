//! One keep-alive HTTP/1.1 connection that times what it reads.
//!
//! Deliberately less than a real client: no pool, no redirects, no retries, so that a measurement contains
//! one connection's behaviour and nothing else. A dropped [`Client`] closes its connection.

use std::{
    net::SocketAddr,
    ops::Range,
    time::{Duration, Instant},
};

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Method, Request, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::JoinHandle};

use crate::Error;

/// One connection to one server.
#[derive(Debug)]
pub struct Client {
    sender: SendRequest<Full<Bytes>>,
    connection: JoinHandle<()>,
    authority: String,
}

/// What came back, without its body.
#[derive(Debug, Clone)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// From sending the request to holding the first byte of the body (the head, when there is no body).
    pub ttfb: Duration,
    /// From sending the request to the body's end.
    pub total: Duration,
    /// Length of the body that arrived.
    pub bytes: u64,
}

impl Answer {
    /// A header field as text; empty when it is absent or not text.
    pub fn header(&self, name: impl header::AsHeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

// === impl Client ===

impl Client {
    /// Opens the connection, with `TCP_NODELAY`.
    pub async fn connect(address: SocketAddr) -> Result<Self, Error> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Its errors reach the waiting request too, where they are reported.
        let connection = tokio::spawn(async move { drop(connection.await) });
        Ok(Self { sender, connection, authority: address.to_string() })
    }

    /// `GET path` for the half-open `range`, handing each piece of the body to `on_data` as it lands,
    /// together with the piece's offset in the body.
    pub async fn get_range_with(
        &mut self,
        path: &str,
        range: Range<u64>,
        on_data: impl FnMut(u64, &[u8]),
    ) -> Result<Answer, Error> {
        assert!(range.start < range.end, "an empty range cannot be asked for: {range:?}");
        let last = range.end - 1;
        let headers = [(header::RANGE, format!("bytes={}-{last}", range.start))];
        self.send(Method::GET, path, &headers, Bytes::new(), on_data).await
    }

    /// `GET path` for the half-open `range`, with the whole body in memory.
    pub async fn get_range(&mut self, path: &str, range: Range<u64>) -> Result<(Answer, Bytes), Error> {
        let mut body = BytesMut::new();
        let answer = self.get_range_with(path, range, |_, data| body.extend_from_slice(data)).await?;
        Ok((answer, body.freeze()))
    }

    /// Any request with any header fields, with the whole body of the answer in memory.
    pub async fn request(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(header::HeaderName, String)],
        body: impl Into<Bytes>,
    ) -> Result<(Answer, Bytes), Error> {
        let mut received = BytesMut::new();
        let answer =
            self.send(method, path, headers, body.into(), |_, data| received.extend_from_slice(data)).await?;
        Ok((answer, received.freeze()))
    }

    async fn send(
        &mut self,
        method: Method,
        path: &str,
        headers: &[(header::HeaderName, String)],
        body: Bytes,
        mut on_data: impl FnMut(u64, &[u8]),
    ) -> Result<Answer, Error> {
        let mut request = Request::builder().method(method).uri(path).header(header::HOST, &self.authority);
        for (name, value) in headers {
            request = request.header(name, value);
        }
        let request = request.body(Full::new(body))?;

        self.sender.ready().await?;
        let sent = Instant::now();
        let (head, mut body) = self.sender.send_request(request).await?.into_parts();
        let mut ttfb = None;
        let mut bytes = 0;
        while let Some(frame) = body.frame().await {
            if let Some(data) = frame?.data_ref().filter(|data| !data.is_empty()) {
                ttfb.get_or_insert_with(|| sent.elapsed());
                on_data(bytes, data);
                bytes += data.len() as u64;
            }
        }
        let total = sent.elapsed();
        Ok(Answer { status: head.status, headers: head.headers, ttfb: ttfb.unwrap_or(total), total, bytes })
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
