//! One accepted connection, and the requests on it.

use std::{
    io,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
    time::Instant,
};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, sync::watch};

use super::{
    Shared,
    alarm::Alarm,
    body::Pace,
    objects::{Object, Running},
    traffic::{Ticket, Traffic},
};

/// What the bodies on one connection share: its pace.
#[derive(Debug)]
pub(super) struct Connection {
    shared: Arc<Shared>,
    alarm: Alarm,
    pace: Mutex<Pace>,
    flushes: watch::Receiver<u64>,
}

/// A request from its arrival to its body's end. It leaves the counters when it is dropped, so also when its
/// client went away.
#[derive(Debug)]
pub(super) struct InFlight {
    shared: Arc<Shared>,
    ticket: Ticket,
    object: (String, String),
    /// Told when hanging requests are released, since before the request was counted: whoever waits for the
    /// count and then releases must not be too early.
    releases: watch::Receiver<u64>,
}

/// The socket, which tells when everything that was written has left for the kernel.
pub(super) struct Transport {
    stream: TokioIo<TcpStream>,
    flushes: watch::Sender<u64>,
}

// === impl Connection ===

impl Connection {
    pub(super) fn new(shared: Arc<Shared>, stream: TcpStream) -> io::Result<(Arc<Self>, Transport)> {
        stream.set_nodelay(true)?;
        let (flushes, receiver) = watch::channel(0);
        let alarm = Alarm::new()?;
        shared.traffic(Traffic::connection_opened);
        let connection = Self { shared, alarm, pace: Mutex::new(Pace::begin()), flushes: receiver };
        Ok((Arc::new(connection), Transport { stream: TokioIo::new(stream), flushes }))
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(super) async fn sleep_until(&self, due: Instant) -> io::Result<()> {
        self.alarm.until(due).await
    }

    /// A new body begins.
    pub(super) fn begin_pace(&self) {
        *self.pace.lock().unwrap_or_else(PoisonError::into_inner) = Pace::begin();
    }

    /// Returns when the next `bytes` of the current body may leave.
    pub(super) async fn pace(&self, bytes: u64, bytes_per_second: u64) -> io::Result<()> {
        let due = self.pace.lock().unwrap_or_else(PoisonError::into_inner).due(bytes, bytes_per_second);
        self.alarm.until(due).await
    }

    /// Returns after the transport was flushed once more. hyper flushes whenever a body has nothing to give.
    pub(super) async fn flushed(&self) {
        let mut flushes = self.flushes.clone();
        flushes.mark_unchanged();
        // An error means that the connection is gone, and with it the wish to wait.
        drop(flushes.changed().await);
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.traffic(Traffic::connection_closed);
    }
}

// === impl InFlight ===

impl InFlight {
    pub(super) fn new(
        shared: Arc<Shared>,
        ticket: Ticket,
        object: (String, String),
        releases: watch::Receiver<u64>,
    ) -> Self {
        Self { shared, ticket, object, releases }
    }

    pub(super) async fn hang(&mut self) {
        drop(self.releases.changed().await);
    }

    pub(super) fn bucket(&self) -> &str {
        &self.object.0
    }

    pub(super) fn key(&self) -> &str {
        &self.object.1
    }

    pub(super) fn ticket(&self) -> Ticket {
        self.ticket
    }

    pub(super) fn sent(&self, bytes: u64) {
        self.shared.traffic(|traffic| traffic.sent(self.ticket, bytes));
    }

    pub(super) fn replace_object(&self, object: Object, running: Running) {
        let (bucket, key) = &self.object;
        self.shared.state().buckets.put(bucket, key, object, running);
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        self.shared.traffic(Traffic::request_ended);
    }
}

// === impl Transport ===

impl Read for Transport {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl Write for Transport {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let outcome = Pin::new(&mut self.stream).poll_flush(cx);
        // hyper asks the socket to flush only when its own buffer is empty.
        self.flushes.send_modify(|flushes| *flushes = flushes.wrapping_add(1));
        outcome
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
