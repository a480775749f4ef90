//! The kernel's share of memory: how much may wait for each client in its socket.
//!
//! Every connection has [`FLOOR_BYTES`] for itself, and beyond that a lease from one pool for all: few connections
//! get all that the kernel would take by itself, many get little more than the floor. A lease is a fair share as long
//! as that leaves plenty for others, so that the sum is bounded whoever came first; and it is renewed as the
//! connection writes, so that the shares follow the number of those who share.
//!
//! A connection that may hold `bound` bytes writes at most [`write_bytes_max`] at once, because the kernel looks
//! at its limits before a write and not within it; the rest is `SO_SNDBUF`, which counts what is sent and not yet
//! acknowledged, too, and with the kernel's overhead.
//!
//! Uploads lease from the same pool for what comes the other way: see `receive_window`.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use socket2::SockRef;
use tokio::net::TcpStream;

/// What a connection may have in its socket whatever the others have: at 50 ms to the client still 4 Mbit/s.
pub(crate) const FLOOR_BYTES: usize = 32 * 1024;
/// The pool is shared as if there were so many connections more than there are: what comes next finds room.
const CONNECTIONS_MORE: usize = 32;
/// A lease takes at most this fraction of what lies free, so that nobody takes the last of it.
const FREE_FRACTION: usize = 8;
/// Unsent bytes that the kernel takes from us for one connection (`TCP_NOTSENT_LOWAT`), if it may hold so many.
/// Without it a paused client has megabytes in the kernel, and a slow one looks stalled: the kernel says that it
/// can be written to again only when a third of its buffer is empty; with it, when half of this is.
///
/// Measured with hot 1 MiB ranges on 16 loopback connections, two rounds, requests/s: 128 KiB 5,658 and 4,567;
/// 256 KiB 5,629 and 6,744; 512 KiB 6,528 and 6,573; 4 MiB 5,948 and 6,110. Below 256 KiB it costs throughput; above, a
/// steady client of 160 KB/s looks stalled for 3 s.
/// Leases cost nothing there: 276 us of CPU a request with them, 270 without, and 264 with a pool of 8 MiB (means of
/// four rounds in turn on a busy machine).
const NOTSENT_BYTES_MAX: usize = 256 * 1024;
/// The most that is written at once: a client that keeps up takes it as it is sent, of any other the kernel takes what
/// [`NOTSENT_BYTES_MAX`] allows. With hot 1 MiB ranges, 16 connections, in turn with Varnish (`loadtest compare`, medians): 256 KiB
/// 188 us of CPU a request and 0.69 of Varnish's throughput, 512 KiB 144 us and 0.95, 1 MiB 139 us and 0.91.
const WRITE_BYTES_MAX: usize = 1024 * 1024;
/// How much is written between two renewals of a lease: a share that is too large or too small lasts no longer.
const RENEWAL_BYTES: usize = 1024 * 1024;
/// What Linux lets one socket grow to by itself where `net.ipv4.tcp_wmem` cannot be read.
const KERNEL_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The same of `net.core.rmem_max`: what it was for decades.
const RMEM_MAX: usize = 212_992;

/// The pool that leases are taken from.
#[derive(Debug)]
pub(crate) struct SocketMemory {
    capacity: usize,
    leased: AtomicUsize,
    /// Connections that have written, and those that take uploads.
    leases: AtomicUsize,
    /// Where a socket is bounded by the kernel itself, and is left to it.
    kernel_bytes_max: usize,
    /// What the kernel lets a receive buffer be set to, its overhead included.
    pub(super) receive_bytes_max: usize,
}

/// A part of it, given back when dropped.
#[derive(Debug)]
pub(super) struct Holding {
    memory: Arc<SocketMemory>,
    /// What is taken from the pool.
    held: usize,
    /// What the socket may hold from now on; less than `held` until it holds no more.
    granted: usize,
    /// Whether it counts among those who share.
    is_counted: bool,
}

/// What one connection may have on its way to its client, beyond the floor.
#[derive(Debug)]
pub(crate) struct Lease {
    holding: Holding,
    /// What the socket was last told, if anything.
    applied: Option<usize>,
    /// Whether the socket's buffer grows and shrinks as the kernel wants; once it does not, it never will.
    is_kernels: bool,
    until_renewal: usize,
}

// === impl SocketMemory ===

impl SocketMemory {
    /// A pool of `capacity` bytes.
    pub(crate) fn new(capacity: usize) -> Arc<Self> {
        let kernel_bytes_max = kernel_bytes_max().unwrap_or(KERNEL_BYTES_MAX);
        Arc::new(Self::bounded(capacity, kernel_bytes_max))
    }

    fn bounded(capacity: usize, kernel_bytes_max: usize) -> Self {
        let receive_bytes_max = 2 * rmem_max().unwrap_or(RMEM_MAX);
        Self {
            capacity,
            leased: AtomicUsize::new(0),
            leases: AtomicUsize::new(0),
            kernel_bytes_max,
            receive_bytes_max,
        }
    }

    /// A lease of nothing yet: the first write renews it.
    pub(crate) fn lease(self: &Arc<Self>) -> Lease {
        Lease { holding: Holding::nothing(self), applied: None, is_kernels: true, until_renewal: 0 }
    }

    /// Bytes that can be leased.
    pub(crate) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Bytes that are leased now.
    pub(crate) fn leased(&self) -> usize {
        self.leased.load(Ordering::Relaxed)
    }

    fn share(&self, leased_by_others: usize) -> usize {
        let fair = self.capacity / (CONNECTIONS_MORE + self.leases.load(Ordering::Relaxed));
        fair.min((self.capacity - leased_by_others) / FREE_FRACTION)
    }

    /// Replaces a holding of `held` by a fair one of `most`, and says how much that is.
    fn exchange(&self, held: usize, most: usize) -> usize {
        let mut leased = self.leased();
        loop {
            let others = leased - held;
            let share = self.share(others).min(most);
            // What is to shrink is given back when it has shrunk.
            let after = others + share.max(held);
            match self.leased.compare_exchange_weak(leased, after, Ordering::Relaxed, Ordering::Relaxed) {
                Ok(_) => return share,
                Err(now) => leased = now,
            }
        }
    }
}

/// The most that the kernel lets a socket's send buffer grow to by itself: the third number of `tcp_wmem`.
fn kernel_bytes_max() -> Option<usize> {
    let limits = std::fs::read_to_string("/proc/sys/net/ipv4/tcp_wmem").ok()?;
    limits.split_whitespace().nth(2)?.parse().ok()
}

/// What `SO_RCVBUF` can be set to; the kernel doubles it (socket(7)).
pub(super) fn rmem_max() -> Option<usize> {
    std::fs::read_to_string("/proc/sys/net/core/rmem_max").ok()?.trim().parse().ok()
}

// === impl Holding ===

impl Holding {
    pub(super) fn nothing(memory: &Arc<SocketMemory>) -> Self {
        Self { memory: memory.clone(), held: 0, granted: 0, is_counted: false }
    }

    pub(super) fn memory(&self) -> &SocketMemory {
        &self.memory
    }

    /// Grants a fair share of at most `most`.
    pub(super) fn renew(&mut self, most: usize) {
        if !std::mem::replace(&mut self.is_counted, true) {
            self.memory.leases.fetch_add(1, Ordering::Relaxed);
        }
        self.granted = self.memory.exchange(self.held, most);
        self.held = self.held.max(self.granted);
    }

    /// Grants nothing any more. What is held is so until it [`settle`](Self::settle)s.
    pub(super) fn end(&mut self) {
        self.granted = 0;
        if std::mem::take(&mut self.is_counted) {
            self.memory.leases.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// The socket holds no more than was granted, so the rest is for others.
    pub(super) fn settle(&mut self) {
        self.memory.leased.fetch_sub(self.held - self.granted, Ordering::Relaxed);
        self.held = self.granted;
    }

    pub(super) fn granted(&self) -> usize {
        self.granted
    }

    /// More is held than granted.
    pub(super) fn is_unsettled(&self) -> bool {
        self.held > self.granted
    }
}

impl Drop for Holding {
    fn drop(&mut self) {
        self.end();
        self.settle();
    }
}

// === impl Lease ===

impl Lease {
    /// What may be written at once now, after a renewal if one is due.
    pub(crate) fn before_write(&mut self, socket: &TcpStream) -> io::Result<usize> {
        if self.until_renewal == 0 {
            self.until_renewal = RENEWAL_BYTES;
            self.holding.renew(self.holding.memory.kernel_bytes_max);
            self.apply(socket)?;
        }
        Ok(self.at_once())
    }

    /// What may be written at once, as of the last renewal; before the first, what that would be now.
    pub(crate) fn at_once(&self) -> usize {
        let Holding { memory, granted, is_counted, .. } = &self.holding;
        let share = || memory.share(memory.leased()).min(memory.kernel_bytes_max);
        write_bytes_max(FLOOR_BYTES + if *is_counted { *granted } else { share() })
    }

    /// `bytes` were taken by the socket, so it holds no more than it may.
    pub(crate) fn after_write(&mut self, bytes: usize) {
        self.until_renewal = self.until_renewal.saturating_sub(bytes);
        self.holding.settle();
    }

    fn apply(&mut self, socket: &TcpStream) -> io::Result<()> {
        let bound = FLOOR_BYTES + self.holding.granted;
        if self.applied.replace(bound) == Some(bound) {
            return Ok(());
        }
        let at_once = write_bytes_max(bound);
        let socket = SockRef::from(socket);
        let unsent = at_once.min(NOTSENT_BYTES_MAX);
        socket.set_tcp_notsent_lowat(u32::try_from(unsent).unwrap_or(u32::MAX))?;
        if self.holding.granted < self.holding.memory.kernel_bytes_max || !self.is_kernels {
            self.is_kernels = false;
            // The kernel doubles it.
            socket.set_send_buffer_size((bound - at_once) / 2)?;
        }
        Ok(())
    }
}

/// What is written at once to a socket that may hold `bound` bytes.
fn write_bytes_max(bound: usize) -> usize {
    (bound / 4).min(WRITE_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1 << 20;

    fn memory(capacity: usize) -> Arc<SocketMemory> {
        Arc::new(SocketMemory::bounded(capacity, 4 * MIB))
    }

    async fn socket() -> (TcpStream, TcpStream) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let client = TcpStream::connect(listener.local_addr().expect("bound")).await.expect("it listens");
        (listener.accept().await.expect("a client").0, client)
    }

    #[tokio::test]
    async fn shares_shrink_as_connections_come_and_their_sum_never_passes_the_pool() {
        let memory = memory(256 * MIB);
        let (socket, _client) = socket().await;
        let mut leases: Vec<Lease> = (0..1000).map(|_| memory.lease()).collect();
        for lease in &mut leases {
            lease.before_write(&socket).expect("an open socket");
            assert!(memory.leased() <= memory.capacity);
        }
        assert_eq!(leases[0].holding.granted, 4 * MIB, "the first has all that the kernel would give it");
        for _ in 0..3 {
            for lease in &mut leases {
                lease.after_write(RENEWAL_BYTES);
                lease.before_write(&socket).expect("an open socket");
                assert!(memory.leased() <= memory.capacity);
            }
        }
        let fair = memory.capacity / (CONNECTIONS_MORE + leases.len());
        for lease in &leases {
            assert_eq!(lease.holding.granted, fair, "{lease:?}");
        }
        drop(leases);
        assert_eq!(memory.leased(), 0);
    }

    #[tokio::test]
    async fn a_share_that_shrinks_is_given_back_once_the_socket_takes_bytes_within_it() {
        let memory = memory(64 * MIB);
        let (socket, _client) = socket().await;
        let mut lease = memory.lease();
        lease.before_write(&socket).expect("an open socket");
        let alone = 64 * MIB / (CONNECTIONS_MORE + 1);
        assert_eq!(memory.leased(), alone);
        lease.after_write(RENEWAL_BYTES);
        let mut other = memory.lease();
        let most = 62 * MIB;
        (other.holding.held, other.holding.granted) = (most, most);
        memory.leased.fetch_add(most, Ordering::Relaxed);
        let at_once = lease.before_write(&socket).expect("an open socket");
        assert!(at_once < NOTSENT_BYTES_MAX && lease.holding.granted < alone, "{lease:?}");
        assert_eq!(memory.leased(), most + alone, "the socket may still hold what it was allowed before");
        lease.after_write(1);
        assert_eq!(memory.leased(), most + lease.holding.granted);
        drop((lease, other));
        assert_eq!(memory.leased(), 0);
    }

    #[tokio::test]
    async fn the_kernel_keeps_to_the_bound() {
        use tokio::io::AsyncWriteExt as _;
        let memory = memory(0);
        let (mut socket, _client) = socket().await;
        let mut lease = memory.lease();
        let bytes = vec![0; lease.before_write(&socket).expect("an open socket")];
        assert_eq!(bytes.len(), FLOOR_BYTES / 4);
        let buffer = SockRef::from(&socket).send_buffer_size().expect("an open socket");
        assert_eq!(buffer + bytes.len(), FLOOR_BYTES);
        socket.write_all(&bytes).await.expect("there is room");
    }
}
