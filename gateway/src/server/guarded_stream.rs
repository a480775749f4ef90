//! The transport wrapper that bounds how long a client may do nothing.
//!
//! Three limits, told apart by the connection's [`Phase`]: an idle connection waits `idle` for its next
//! request, a begun request head must be complete after `header`, and a response must make some progress in
//! every `write_stall`. hyper's own header timeout starts with the idle time, so it cannot tell the first
//! two apart.
//!
//! Vectored writes pass through: without them hyper copies every body into its own buffer.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::bounded_stream::BoundedStream;

/// How long a client may do nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// Between requests.
    pub(crate) idle: Duration,
    /// From the first byte of a request head to its last.
    pub(crate) header: Duration,
    /// Without taking a single byte of a response.
    pub(crate) write_stall: Duration,
}

/// What a connection is doing, shared by its transport and its service.
#[derive(Debug, Default)]
pub(crate) struct Phase {
    state: AtomicU8,
    stalled: AtomicBool,
}

/// Accepted, and nothing has come yet.
const NEW: u8 = 0;
/// Between requests.
const IDLE: u8 = 1;
/// A request head has begun.
const HEAD: u8 = 2;
/// A request is being answered.
const BUSY: u8 = 3;

/// A client's stream that fails with `TimedOut` when its client does nothing for too long.
pub(crate) struct GuardedStream {
    stream: BoundedStream,
    patience: Patience,
    phase: Arc<Phase>,
    /// Since when the current phase waits for the client's bytes.
    waiting_since: Option<(u8, Instant)>,
    stalled_since: Option<Instant>,
    read_alarm: Alarm,
    write_alarm: Alarm,
}

/// A timer that is moved later for free: it goes off early, looks at the deadline, and sets itself again.
#[derive(Default)]
struct Alarm(Option<Pin<Box<Sleep>>>);

// === impl Phase ===

impl Phase {
    /// A request head is complete; until [`finished`](Self::finished) only the response is timed.
    pub(crate) fn begun(&self) {
        self.state.store(BUSY, Ordering::Relaxed);
    }

    /// The response is complete.
    pub(crate) fn finished(&self) {
        self.state.store(IDLE, Ordering::Relaxed);
    }

    /// No request has begun on this connection.
    pub(crate) fn is_new(&self) -> bool {
        self.get() == NEW
    }

    /// The connection was ended because its client took nothing for too long.
    pub(crate) fn is_stalled(&self) -> bool {
        self.stalled.load(Ordering::Relaxed)
    }

    fn get(&self) -> u8 {
        self.state.load(Ordering::Relaxed)
    }
}

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
        Self {
            stream,
            patience,
            phase,
            waiting_since: None,
            stalled_since: None,
            read_alarm: Alarm::default(),
            write_alarm: Alarm::default(),
        }
    }

    fn poll_waiting(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let phase = self.phase.get();
        let (limit, what) = match phase {
            // hyper has taken the whole response, but the client has not: it is the client's turn to read.
            _ if self.stalled_since.is_some() => return Poll::Pending,
            NEW | IDLE => (self.patience.idle, "no request came"),
            HEAD => (self.patience.header, "the request head did not end"),
            _ => {
                self.waiting_since = None;
                return Poll::Pending;
            }
        };
        let since = match self.waiting_since {
            Some((waiting, since)) if waiting == phase => since,
            _ => Instant::now(),
        };
        self.waiting_since = Some((phase, since));
        self.read_alarm.poll(since + limit, cx).map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, what)))
    }

    fn poll_written(
        &mut self,
        written: Poll<io::Result<usize>>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            (self.stalled_since, self.waiting_since) = (None, None);
            return written;
        }
        let since = *self.stalled_since.get_or_insert_with(Instant::now);
        self.write_alarm.poll(since + self.patience.write_stall, cx).map(|()| {
            self.phase.stalled.store(true, Ordering::Relaxed);
            self.stream.reset_when_dropped();
            Err(io::Error::new(io::ErrorKind::TimedOut, "the client stopped reading"))
        })
    }
}

impl AsyncRead for GuardedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        match Pin::new(&mut self.stream).poll_read(cx, buf) {
            Poll::Ready(read) => {
                if buf.filled().len() > before && matches!(self.phase.get(), NEW | IDLE) {
                    self.phase.state.store(HEAD, Ordering::Relaxed);
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
