//! HTTP/2's frames, written together.
//!
//! h2 hands on each frame by a write of its own and flushes it, so that a frame of 16 KiB would cost a system call and a
//! wakeup of its client. Here frames are gathered in a buffer, which is written when it is full, and when the connection
//! has nothing more to say for now. That no flush of h2's can tell; but it is so whenever its future was polled, and
//! [`Flushing`] is around that.
//!
//! A connection has a buffer only while something waits in it. There is a number of them for all ([`WriteBuffers`]), so
//! that clients who pause cannot hold more, and none is taken by a connection that may write less at once, as all may
//! when there are thousands. Who has none writes frame by frame, without a copy.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connection::BoxError;
use super::phase::Phase;

/// What is written together.
///
/// Measured with 100 streams on one loopback connection, hot, seconds of our processor time for a GB, each line in turn on
/// a busy machine (medians of five or six rounds): frame by frame, 64, 128, 256 and 512 KiB
///
/// - 1 MiB answers: 0.43, 0.53, 0.37, 0.37, -; again 0.47, -, 0.42, 0.43, 0.39
/// - 64 KiB answers: 0.91, -, 0.63, 0.63, 0.58
///
/// Half as much gains nothing, and more makes a stream that begins wait behind more of the others'.
const BUFFER_BYTES: usize = 128 * 1024;

/// The buffers of all connections.
#[derive(Debug, Clone)]
pub(crate) struct WriteBuffers {
    count: usize,
    free: Arc<Semaphore>,
}

/// What a connection speaks HTTP/2 on. Its clones are the same connection.
pub(super) struct Gathered<T>(Arc<Mutex<Gathering<T>>>);

/// A connection of HTTP/2 whose bytes have left for its transport whenever it has nothing to do.
pub(super) struct Flushing<C, T> {
    connection: Pin<Box<C>>,
    gathered: Gathered<T>,
}

struct Gathering<T> {
    transport: T,
    phase: Arc<Phase>,
    buffers: WriteBuffers,
    buffer: Option<Buffer>,
    /// Nothing was written since the transport was flushed.
    is_flushed: bool,
}

/// Bytes on their way to the transport.
struct Buffer {
    bytes: Vec<u8>,
    /// How many of them are written.
    written: usize,
    _permit: OwnedSemaphorePermit,
}

// === impl WriteBuffers ===

impl WriteBuffers {
    /// As many as `capacity` bytes are.
    pub(crate) fn new(capacity: usize) -> Self {
        let count = (capacity / BUFFER_BYTES).min(Semaphore::MAX_PERMITS);
        Self { count, free: Arc::new(Semaphore::new(count)) }
    }

    /// Bytes of those that are in use.
    pub(crate) fn in_use(&self) -> usize {
        (self.count - self.free.available_permits()) * BUFFER_BYTES
    }

    fn take(&self) -> Option<Buffer> {
        let permit = self.free.clone().try_acquire_owned().ok()?;
        Some(Buffer { bytes: Vec::with_capacity(BUFFER_BYTES), written: 0, _permit: permit })
    }
}

// === impl Gathered ===

impl<T: AsyncRead + AsyncWrite + Unpin> Gathered<T> {
    /// `phase` says how much `transport` takes at once.
    pub(super) fn new(transport: T, phase: Arc<Phase>, buffers: WriteBuffers) -> Self {
        let gathering = Gathering { transport, phase, buffers, buffer: None, is_flushed: true };
        Self(Arc::new(Mutex::new(gathering)))
    }

    /// The connection that is served on it.
    pub(super) fn flushing<C>(&self, connection: C) -> Flushing<C, T> {
        Flushing { connection: Box::pin(connection), gathered: Self(self.0.clone()) }
    }

    /// Never waits: all are parts of one task.
    fn lock(&self) -> MutexGuard<'_, Gathering<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Clone for Gathered<T> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncRead for Gathered<T> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.lock().transport).poll_read(cx, buf)
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Gathered<T> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.lock().poll_write(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.lock().poll_write(cx, bufs)
    }

    /// Without it h2 copies small frames once more.
    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Does nothing: [`Flushing`] does.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut gathering = self.lock();
        ready!(gathering.poll_flush(cx))?;
        Pin::new(&mut gathering.transport).poll_shutdown(cx)
    }
}

// === impl Gathering ===

impl<T: AsyncWrite + Unpin> Gathering<T> {
    fn poll_write(&mut self, cx: &mut Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        if self.buffer.as_ref().is_some_and(Buffer::is_full) {
            ready!(self.poll_empty(cx))?;
        }
        self.is_flushed = false;
        if self.buffer.is_none() && self.phase.room() >= BUFFER_BYTES {
            self.buffer = self.buffers.take();
        }
        match &mut self.buffer {
            Some(buffer) => Poll::Ready(Ok(buffer.gather(bufs))),
            None => Pin::new(&mut self.transport).poll_write_vectored(cx, bufs),
        }
    }

    /// Writes what is gathered, and gives the buffer back.
    fn poll_empty(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(buffer) = &mut self.buffer {
            let left = &buffer.bytes[buffer.written..];
            if left.is_empty() {
                self.buffer = None;
                break;
            }
            match ready!(Pin::new(&mut self.transport).poll_write(cx, left))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                count => buffer.written += count,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_empty(cx))?;
        if !self.is_flushed {
            ready!(Pin::new(&mut self.transport).poll_flush(cx))?;
            self.is_flushed = true;
        }
        Poll::Ready(Ok(()))
    }
}

// === impl Buffer ===

impl Buffer {
    fn is_full(&self) -> bool {
        self.bytes.len() == BUFFER_BYTES
    }

    /// Takes as much as there is room for.
    fn gather(&mut self, bufs: &[IoSlice<'_>]) -> usize {
        let before = self.bytes.len();
        for buf in bufs {
            let room = BUFFER_BYTES - self.bytes.len();
            self.bytes.extend_from_slice(&buf[..buf.len().min(room)]);
        }
        self.bytes.len() - before
    }
}

// === impl Flushing ===

impl<C, T> Flushing<C, T> {
    pub(super) fn connection(self: Pin<&mut Self>) -> Pin<&mut C> {
        self.get_mut().connection.as_mut()
    }
}

impl<C, T, E> Future for Flushing<C, T>
where
    C: Future<Output = Result<(), E>>,
    T: AsyncRead + AsyncWrite + Unpin,
    E: Into<BoxError>,
{
    type Output = Result<(), BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // At its end it has shut the transport down, or cannot write any more.
        if let Poll::Ready(served) = self.connection.as_mut().poll(cx) {
            return Poll::Ready(served.map_err(Into::into));
        }
        if let Poll::Ready(Err(error)) = self.gathered.lock().poll_flush(cx) {
            return Poll::Ready(Err(error.into()));
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests;
