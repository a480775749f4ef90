//! The transport wrapper that bounds how long a client may do nothing.
//!
//! Three limits, told apart by the connection's [`Phase`]: an idle connection waits `idle` for its next
//! request, a begun request head or TLS handshake must be complete after `header`, and a response must make
//! some progress in every `write_stall`. hyper's own header timeout starts with the idle time, so it cannot
//! tell the first two apart.
//!
//! It lies right on TCP, below TLS: progress is counted in bytes that have left, not in bytes that TLS took. On
//! HTTP/2 a client can stop taking bytes also by leaving its window shut; then the limit is on the time in which
//! it takes nothing of any response. With that, a client that is gone is noticed without PING.
//!
//! Vectored writes pass through: without them hyper copies every body into its own buffer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::bounded_stream::BoundedStream;
use super::phase::{Awaited, Phase};

/// How long a client may do nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Between requests.
    pub(crate) idle: Duration,
    /// From the first byte of a request head to its last, and for a TLS handshake.
    pub(crate) header: Duration,
    /// Without taking a single byte of a response, or of all of them on HTTP/2.
    pub(crate) write_stall: Duration,
}

/// A client's stream that fails with `TimedOut` when its client does nothing for too long.
pub(crate) struct GuardedStream {
    stream: BoundedStream,
    patience: Patience,
    phase: Arc<Phase>,
    /// Bytes that were read to see what the client speaks, and not meant for us.
    unread: Bytes,
    /// Since when the current phase waits for the client's bytes.
    waiting_since: Option<(Awaited, Instant)>,
    /// What [`Phase::pieces`] said then.
    pieces: usize,
    stalled_since: Option<Instant>,
    read_alarm: Alarm,
    write_alarm: Alarm,
}

/// Why we end a connection that its client would keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Ended {
    /// For longer than [`Patience::idle`].
    #[error("no request came")]
    Idle,
    /// For longer than [`Patience::header`].
    #[error("the TLS handshake did not end")]
    Handshake,
    /// For longer than [`Patience::header`].
    #[error("the request head did not end")]
    Head,
    /// For longer than [`Patience::write_stall`].
    #[error("the client opened no window")]
    Window,
    /// For longer than [`Patience::write_stall`].
    #[error("the client stopped reading")]
    Stalled,
    /// See `admission`.
    #[error("its client has as many connections as it may have")]
    Refused,
    /// A trusted proxy sent none that can be read, in time.
    #[error("there was no good PROXY header")]
    ProxyHeader,
    /// What the client sent was no TLS, or none that we speak.
    #[error("the TLS handshake failed")]
    HandshakeFailed,
}

/// A timer that is moved later for free: it goes off early, looks at the deadline, and sets itself again.
#[derive(Default)]
struct Alarm(Option<Pin<Box<Sleep>>>);

// === impl Alarm ===

impl Alarm {
    fn poll(&mut self, deadline: Instant, cx: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        while sleep.as_mut().poll(cx).is_ready() {
            if sleep.deadline() >= deadline {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(deadline);
        }
        Poll::Pending
    }
}

// === impl GuardedStream ===

impl GuardedStream {
    pub(crate) fn new(stream: BoundedStream, patience: Patience, phase: Arc<Phase>) -> Self {
        phase.makes_room(stream.room());
        Self {
            stream,
            patience,
            phase,
            unread: Bytes::new(),
            waiting_since: None,
            pieces: 0,
            stalled_since: None,
            read_alarm: Alarm::default(),
            write_alarm: Alarm::default(),
        }
    }

    /// Gives bytes back, to be read again before all others.
    pub(crate) fn unread(&mut self, bytes: Bytes) {
        debug_assert!(self.unread.is_empty(), "there is one place for them");
        self.unread = bytes;
    }

    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper has taken the whole response, but the client has not: it is the client's turn to read.
        if self.stalled_since.is_some() {
            return Poll::Pending;
        }
        let awaited = self.phase.await_for(cx.waker());
        let (limit, what) = match awaited {
            Awaited::First | Awaited::Next => (self.patience.idle, Ended::Idle),
            Awaited::Handshake => (self.patience.header, Ended::Handshake),
            Awaited::Head => (self.patience.header, Ended::Head),
            Awaited::Window => (self.patience.write_stall, Ended::Window),
            Awaited::Nothing => {
                self.waiting_since = None;
                return Poll::Pending;
            }
        };
        let pieces = self.phase.pieces();
        let since = match self.waiting_since {
            Some((waiting, since)) if waiting == awaited && pieces == self.pieces => since,
            _ => Instant::now(),
        };
        self.pieces = pieces;
        self.waiting_since = Some((awaited, since));
        self.read_alarm.poll(since + limit, cx).map(|()| Err(self.phase.end(what)))
    }

    fn poll_written<T>(&mut self, written: Poll<io::Result<T>>, cx: &mut Context<'_>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.phase.makes_room(self.stream.room());
            self.stalled_since = None;
            // An answer to a PING is no progress of a response.
            if !matches!(self.waiting_since, Some((Awaited::Window, _))) {
                self.waiting_since = None;
            }
            return written;
        }
        let since = *self.stalled_since.get_or_insert_with(Instant::now);
        let limit = self.patience.write_stall;
        self.write_alarm.poll(since + limit, cx).map(|()| {
            self.stream.reset_when_dropped();
            Err(self.phase.end(Ended::Stalled))
        })
    }
}

impl AsyncRead for GuardedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.unread.is_empty() {
            let count = self.unread.len().min(buf.remaining());
            buf.put_slice(&self.unread[..count]);
            self.unread.advance(count);
            return Poll::Ready(Ok(()));
        }
        let is_upload = self.phase.takes_uploads();
        self.stream.reads_upload(is_upload);
        let before = buf.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Ready(read) => {
                if buf.filled().len() > before && self.phase.bytes_came() {
                    self.waiting_since = None;
                }
                Poll::Ready(read)
            }
            Poll::Pending => self.poll_waiting(cx),
        }
    }
}

impl AsyncWrite for GuardedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.poll_written(written, cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.poll_written(written, cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
