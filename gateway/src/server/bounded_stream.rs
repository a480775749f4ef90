//! A client's TCP stream that holds no more in the kernel than its [`Lease`] allows.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::receive_window::ReceiveWindow;
use super::socket_memory::{Lease, SocketMemory};
use crate::delivery::slices;

/// As many slices as a response hands on at a time, and its head; what is beyond goes with the next write.
const SLICES_MAX: usize = slices::SLICES_MAX + 1;

/// The stream. Vectored writes pass through.
pub(crate) struct BoundedStream {
    stream: TcpStream,
    lease: Lease,
    window: ReceiveWindow,
}

// === impl BoundedStream ===

impl BoundedStream {
    pub(crate) fn new(stream: TcpStream, memory: &Arc<SocketMemory>) -> Self {
        Self { stream, lease: memory.lease(), window: ReceiveWindow::new(memory) }
    }

    /// Says whether what is read next is of an upload's body.
    pub(crate) fn reads_upload(&mut self, is_upload: bool) {
        self.window.before_read(&self.stream, is_upload);
    }

    /// How much it takes in one write, as of the last one.
    pub(crate) fn room(&self) -> usize {
        self.lease.at_once()
    }

    /// Makes the end of the stream a reset that throws away what is unsent. The kernel would otherwise keep it for
    /// a client that takes nothing, for minutes after the connection is ours no more.
    pub(crate) fn reset_when_dropped(&self) {
        // It fails only on a socket that is dead already.
        let _ = SockRef::from(&self.stream).set_linger(Some(Duration::ZERO));
    }

    fn written(&mut self, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if let Poll::Ready(Ok(bytes)) = written {
            self.lease.after_write(bytes);
        }
        written
    }
}

impl AsyncRead for BoundedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        self.window.after_read(buf.filled().len() - before);
        read
    }
}

impl AsyncWrite for BoundedStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let Self { stream, lease, .. } = &mut *self;
        let most = lease.before_write(stream)?;
        let written = Pin::new(stream).poll_write(cx, &buf[..buf.len().min(most)]);
        self.written(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let Self { stream, lease, .. } = &mut *self;
        let mut left = lease.before_write(stream)?;
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let mut count = 0;
        for (slice, buf) in slices.iter_mut().zip(bufs) {
            *slice = IoSlice::new(&buf[..buf.len().min(left)]);
            count += 1;
            left -= slice.len();
            if left == 0 {
                break;
            }
        }
        let written = Pin::new(stream).poll_write_vectored(cx, &slices[..count]);
        self.written(written)
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
