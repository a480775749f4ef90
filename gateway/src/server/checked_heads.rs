//! The transport wrapper that lets hyper see only request heads that have one meaning ([`crate::framing`]).
//!
//! A head that comes in one piece is looked at where it lies and passes without a copy; the beginning of one is
//! held back until the rest has come. In the place of a bad one hyper gets a head of ours, and nothing after
//! it: so its turn comes after all answers before it, and its answer is one like any other, with a problem
//! document, an id and a line in the log.
//!
//! The end of a client's bytes is the end of the client, as nginx has it, too: players hang up all the time, and
//! what is done for them must end with them. Nothing tells a client that waits with its sending side shut from
//! one that has closed the connection, until a byte is sent; and that may be after everything was fetched.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::phase::Phase;
use crate::framing::{Content, HeadLimits, HeadScan};

/// What stands for a bad head. No route has the method, so a client that sends the same gets nothing by it.
pub(crate) const REFUSED_METHOD: &str = "REFUSED";
const REFUSED_HEAD: &[u8] = b"REFUSED / HTTP/1.1\r\nHost: refused\r\nConnection: close\r\n\r\n";

/// A connection that ends with bytes of the client unread is reset by the kernel, and the answer may be lost
/// with it. So they are read and forgotten for a while (RFC 9112 §9.6).
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES_MAX: usize = 1 << 20;

/// Bytes of an incomplete head are read in pieces of this size.
const PIECE_BYTES: usize = 2048;

/// A transport of HTTP/1 whose heads are checked.
pub(super) struct CheckedHeads<S> {
    stream: S,
    limits: HeadLimits,
    phase: Arc<Phase>,
    scan: HeadScan,
    expected: Expected,
    /// The beginning of a head.
    held: BytesMut,
    /// What hyper may read before anything else.
    ready: Bytes,
    lingering: Option<(Pin<Box<Sleep>>, usize)>,
}

/// What comes next from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Head,
    /// So many bytes of a body, at least one.
    Body(u64),
    /// Chunks, and nothing after them: the connection ends with the answer.
    Chunks,
    /// Nothing that matters: there was a bad head.
    Nothing,
}

// === impl CheckedHeads ===

impl<S: AsyncRead + AsyncWrite + Unpin> CheckedHeads<S> {
    pub(super) fn new(stream: S, limits: HeadLimits, phase: Arc<Phase>) -> Self {
        Self {
            stream,
            limits,
            phase,
            scan: HeadScan::default(),
            expected: Expected::Head,
            held: BytesMut::new(),
            ready: Bytes::new(),
            lingering: None,
        }
    }

    /// How many of `bytes` hyper may see now; the rest is the beginning of a head. After a bad head, `expected`
    /// is [`Expected::Nothing`].
    fn check(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        while passed < bytes.len() {
            let rest = &bytes[passed..];
            match self.expected {
                Expected::Body(left) => {
                    let here = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                    passed += here;
                    self.expect_content(left - here as u64);
                }
                Expected::Chunks => return bytes.len(),
                Expected::Nothing => break,
                Expected::Head => match self.scan.scan(rest, self.limits) {
                    Ok(None) => break,
                    Ok(Some((head, content))) => {
                        passed += head;
                        self.scan = HeadScan::default();
                        match content {
                            Content::Length(bytes) => self.expect_content(bytes),
                            Content::Chunked => self.expected = Expected::Chunks,
                        }
                    }
                    Err(bad) => {
                        self.phase.refuse(bad);
                        self.expected = Expected::Nothing;
                    }
                },
            }
        }
        passed
    }

    fn expect_content(&mut self, bytes: u64) {
        self.expected = if bytes == 0 { Expected::Head } else { Expected::Body(bytes) };
    }

    /// The head before this one was the last that hyper gets.
    fn refuse(&mut self, passed: &[u8]) {
        self.held.clear();
        self.ready = [passed, REFUSED_HEAD].concat().into();
    }

    /// Reads on where a head has begun; `false` at the end.
    fn poll_held(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut room = [0; PIECE_BYTES];
        let mut piece = ReadBuf::new(&mut room);
        ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece))?;
        if piece.filled().is_empty() {
            return Poll::Ready(Ok(false));
        }
        let mut bytes = std::mem::take(&mut self.held);
        bytes.extend_from_slice(piece.filled());
        let passed = self.check(&bytes);
        if self.expected == Expected::Nothing {
            self.refuse(&bytes[..passed]);
        } else {
            self.ready = bytes.split_to(passed).freeze();
            self.held = bytes;
        }
        Poll::Ready(Ok(true))
    }

    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut room = [0; PIECE_BYTES];
        let (until, read_bytes) = self.lingering.get_or_insert_with(|| (Box::pin(sleep(LINGER)), 0));
        while *read_bytes < LINGER_BYTES_MAX && until.as_mut().poll(cx).is_pending() {
            let mut piece = ReadBuf::new(&mut room);
            match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut piece)) {
                Ok(()) if !piece.filled().is_empty() => *read_bytes += piece.filled().len(),
                _ => break,
            }
        }
        Poll::Ready(())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncRead for CheckedHeads<S> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.ready.has_remaining() {
                let bytes = this.ready.split_to(this.ready.len().min(buf.remaining()));
                buf.put_slice(&bytes);
                return Poll::Ready(Ok(()));
            }
            if this.expected == Expected::Nothing {
                // hyper ends the connection with its answer to that head, which asks for it.
                return Poll::Pending;
            }
            if !this.held.is_empty() {
                if ready!(this.poll_held(cx))? {
                    continue;
                }
                // Half a head is no request.
                return Poll::Ready(Ok(()));
            }
            let before = buf.filled().len();
            ready!(Pin::new(&mut this.stream).poll_read(cx, buf))?;
            if buf.filled().len() == before {
                return Poll::Ready(Ok(()));
            }
            let passed = this.check(&buf.filled()[before..]);
            let rest = &buf.filled()[before + passed..];
            if this.expected == Expected::Nothing {
                this.refuse(&[]);
            } else if !rest.is_empty() {
                this.held = BytesMut::from(rest);
            }
            buf.set_filled(before + passed);
            if passed > 0 {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for CheckedHeads<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.lingering.is_none() {
            ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        }
        // Where a head was expected, nothing is left to be read, or a client sends more than it was told to.
        if self.expected != Expected::Head {
            ready!(self.poll_linger(cx));
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const LIMITS: HeadLimits = HeadLimits { bytes_max: 8192, headers_max: 20 };
    const REQUEST: &str = "GET /media/a HTTP/1.1\r\nHost: a\r\n\r\n";

    /// Everything that hyper would see of `sent`, which comes in pieces of these sizes.
    async fn seen(sent: &[u8], pieces: &[usize]) -> String {
        let (client, server) = tokio::io::duplex(1 << 16);
        let phase = Arc::new(Phase::default());
        let mut heads = CheckedHeads::new(server, LIMITS, phase);
        let writing = async {
            let (mut client, mut rest) = (client, sent);
            let mut sizes = pieces.iter().cycle();
            while !rest.is_empty() {
                let (piece, after) = rest.split_at(rest.len().min(*sizes.next().expect("a cycle")));
                client.write_all(piece).await.expect("it is read");
                tokio::task::yield_now().await;
                rest = after;
            }
        };
        let mut bytes = Vec::new();
        let reading = async { while heads.read_buf(&mut bytes).await.expect("no error") > 0 {} };
        // Behind a bad head, there is no end to be read.
        tokio::select! {
            biased;
            () = reading => {}
            () = writing => {}
        }
        String::from_utf8(bytes).expect("text")
    }

    #[tokio::test]
    async fn good_heads_pass_whole_however_they_come() {
        let body =
            format!("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: {}\r\n\r\n{REQUEST}", REQUEST.len());
        let sent = format!("{REQUEST}{REQUEST}\r\n{body}{REQUEST}");
        for pieces in [&[usize::MAX][..], &[1], &[7], &[1, 100, 3]] {
            assert_eq!(seen(sent.as_bytes(), pieces).await, sent, "{pieces:?}");
        }
        let half = &REQUEST[..20];
        assert_eq!(seen(format!("{REQUEST}{half}").as_bytes(), &[5]).await, REQUEST, "half a head is none");
    }

    #[tokio::test]
    async fn a_bad_head_is_replaced_and_nothing_comes_after_it() {
        let refused = std::str::from_utf8(REFUSED_HEAD).expect("text");
        for bad in ["GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n", "\0", "X\r\n\r\n"] {
            let sent = format!("{REQUEST}{bad}{REQUEST}");
            for pieces in [&[usize::MAX][..], &[1], &[9, 2]] {
                let expected = format!("{REQUEST}{refused}");
                assert_eq!(seen(sent.as_bytes(), pieces).await, expected, "{bad:?} {pieces:?}");
            }
        }
    }

    #[tokio::test]
    async fn chunks_are_the_connections_last_request() {
        let chunks = "GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n\0";
        assert_eq!(seen(chunks.as_bytes(), &[usize::MAX]).await, chunks);
    }
}
