//! Against a transport that does what it is told.

use std::future::poll_fn;
use std::task::Waker;

use tokio::io::AsyncWriteExt as _;

use super::*;

const FRAME_BYTES: usize = 16 * 1024;
const ROOM_BYTES: usize = 1 << 20;

/// A transport, and what was written to it.
struct Transport {
    /// It takes no more in one write.
    at_once: usize,
    /// How many writes it takes; then it is broken.
    writes_max: usize,
    /// It can be written to only every second time.
    is_full: bool,
    writes: Vec<Vec<u8>>,
    is_shut: bool,
}

impl Transport {
    fn taking(at_once: usize) -> Self {
        Self { at_once, writes_max: usize::MAX, is_full: false, writes: Vec::new(), is_shut: false }
    }
}

impl AsyncRead for Transport {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Poll::Pending
    }
}

impl AsyncWrite for Transport {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.writes.len() == self.writes_max {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.is_full = !self.is_full && self.at_once < ROOM_BYTES;
        if self.is_full {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let taken = buf[..buf.len().min(self.at_once)].to_vec();
        self.writes.push(taken);
        Poll::Ready(Ok(buf.len().min(self.at_once)))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.is_shut = true;
        Poll::Ready(Ok(()))
    }
}

fn gathered(transport: Transport, room: usize, buffers: &WriteBuffers) -> Gathered<Transport> {
    let phase = Arc::new(Phase::default());
    phase.makes_room(room);
    Gathered::new(transport, phase, buffers.clone())
}

fn free(buffers: &WriteBuffers) -> usize {
    buffers.free.available_permits()
}

/// `count` frames as h2 writes them, each with a flush, and nothing more.
async fn frames(mut gathered: Gathered<Transport>, count: u8) -> io::Result<()> {
    for nth in 0..count {
        gathered.write_all(&[nth; FRAME_BYTES]).await?;
        gathered.flush().await?;
    }
    std::future::pending().await
}

fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(Waker::noop()))
}

fn expected(count: u8) -> Vec<u8> {
    (0..count).flat_map(|nth| [nth; FRAME_BYTES]).collect()
}

#[test]
fn what_a_connection_says_at_a_time_is_one_write() {
    let buffers = WriteBuffers::new(2 * BUFFER_BYTES);
    let gathered = gathered(Transport::taking(ROOM_BYTES), ROOM_BYTES, &buffers);
    let mut flushing = gathered.flushing(frames(gathered.clone(), 7));
    assert!(poll_once(&mut flushing).is_pending());
    assert_eq!(gathered.lock().transport.writes, [expected(7)]);
    assert_eq!(free(&buffers), 2, "nothing waits, and nothing is held");
}

#[tokio::test]
async fn a_transport_that_takes_little_gets_every_byte() {
    const COUNT: u8 = 30;
    let buffers = WriteBuffers::new(BUFFER_BYTES);
    let gathered = gathered(Transport::taking(1000), ROOM_BYTES, &buffers);
    let mut flushing = gathered.flushing(frames(gathered.clone(), COUNT));
    let whole = COUNT as usize * FRAME_BYTES;
    poll_fn(|cx| {
        assert!(Pin::new(&mut flushing).poll(cx).is_pending());
        let written: usize = gathered.lock().transport.writes.iter().map(Vec::len).sum();
        if written < whole { Poll::Pending } else { Poll::Ready(()) }
    })
    .await;
    assert_eq!(gathered.lock().transport.writes.concat(), expected(COUNT));
    assert_eq!(free(&buffers), 1);
}

#[test]
fn who_has_little_room_or_no_buffer_writes_frame_by_frame() {
    let one = WriteBuffers::new(BUFFER_BYTES);
    let little = gathered(Transport::taking(ROOM_BYTES), BUFFER_BYTES - 1, &one);
    let holder = gathered(Transport::taking(1), ROOM_BYTES, &one);
    let late = gathered(Transport::taking(ROOM_BYTES), ROOM_BYTES, &one);
    for (gathered, writes, left) in [(&little, 3, 1), (&holder, 0, 0), (&late, 3, 0)] {
        let mut flushing = gathered.flushing(frames(gathered.clone(), 3));
        assert!(poll_once(&mut flushing).is_pending());
        assert_eq!((gathered.lock().transport.writes.len(), free(&one)), (writes, left));
    }
    drop(holder);
    assert_eq!(free(&one), 1, "an ended connection gives its buffer back");
}

#[test]
fn a_write_that_fails_ends_the_connection() {
    let transport = Transport { writes_max: 1, ..Transport::taking(ROOM_BYTES) };
    let gathered = gathered(transport, ROOM_BYTES, &WriteBuffers::new(BUFFER_BYTES));
    let mut flushing = gathered.flushing(frames(gathered.clone(), 9));
    let Poll::Ready(Err(error)) = poll_once(&mut flushing) else { panic!("it goes on") };
    assert!(error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe));
    assert_eq!(gathered.lock().transport.writes.concat(), expected(9)[..BUFFER_BYTES]);
}

#[tokio::test]
async fn nothing_is_shut_before_all_is_written() {
    let gathered = gathered(Transport::taking(1000), ROOM_BYTES, &WriteBuffers::new(BUFFER_BYTES));
    let mut writer = gathered.clone();
    writer.write_all(&[1; FRAME_BYTES]).await.expect("there is room");
    assert!(gathered.lock().transport.writes.is_empty());
    writer.shutdown().await.expect("it takes all in time");
    let gathering = gathered.lock();
    assert_eq!(gathering.transport.writes.concat(), [1; FRAME_BYTES]);
    assert!(gathering.transport.is_shut && gathering.buffer.is_none());
}
