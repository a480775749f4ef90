//! How much a client may send before it is read: little, and more while it uploads.
//!
//! A response under way does not read, so a client may fill its receive buffer, and there are thousands of clients:
//! [`SMALL_BYTES`] are room for a request. But what comes from a client in one round trip is what the buffer takes. So
//! while the body of an upload is read, its connection leases more from the pool that all sockets share
//! (`socket_memory`), and keeps it until it asks for something else, or ends: the next piece may follow, and a window that
//! was announced cannot be taken back. What comes in it and finds a small buffer is dropped, and sent again 200 ms later: with
//! it, uploads in pieces of 8 MiB took twice as long. Then the buffer is small again, and what was leased is given back
//! when the kernel holds no more than that.
//!
//! How large a window can ever become is settled in the handshake, by what the listener's buffer may grow to; of one whose
//! size was set, 64 KiB (RFC 7323 §2.2: a scale of 0). So a listener's buffer is small, but free to grow, and a connection's
//! is fixed when it was accepted, before the kernel has made anything of that freedom: it does so as bytes are read.

use std::io;
use std::sync::Arc;

use socket2::{SockRef, Socket};
use tokio::net::TcpStream;
use tracing::debug;

use super::socket_memory::{Holding, SocketMemory};
use super::socket_options::{received_bytes, set_window_clamp, unlock_buffers};

/// The kernel's receive buffer for a client's requests; the kernel doubles it for its overhead.
pub(crate) const SMALL_BYTES: usize = 16 * 1024;
/// The most that an upload's buffer grows by, the kernel's overhead included. About half of it is under way in a round trip.
///
/// Measured with 20 MiB (32 KiB: with 1 MiB) from 100 ms away, slow start included: 32 KiB 0.18 MB/s, 2 MiB 9.2, 4 MiB 13.5, and what the kernel
/// does by itself, up to 22 MiB, 14.3. 50 MiB into the gateway: 290 s before, 3.2 s now.
const UPLOAD_BYTES_MAX: usize = 4 * 1024 * 1024;
/// How much is read between two renewals of a lease.
const RENEWAL_BYTES: usize = 1024 * 1024;

/// One connection's receive buffer.
#[derive(Debug)]
pub(super) struct ReceiveWindow {
    holding: Holding,
    /// What the socket was last told beyond its small buffer.
    applied: usize,
    until_renewal: usize,
}

/// As much as [`UPLOAD_BYTES_MAX`], or as the kernel takes.
fn upload_bytes_max(memory: &SocketMemory) -> usize {
    UPLOAD_BYTES_MAX.min(memory.receive_bytes_max.saturating_sub(2 * SMALL_BYTES))
}

/// Gives what connects here a small buffer that can be made larger.
pub(super) fn prepare_listener(socket: &Socket) -> io::Result<()> {
    socket.set_recv_buffer_size(SMALL_BYTES)?;
    if let Err(error) = unlock_buffers(socket) {
        debug!(%error, "before Linux 5.14, uploads have windows of 64 KiB at most");
    }
    Ok(())
}

/// Keeps an accepted connection's buffer as small as it is.
pub(super) fn prepare_connection(socket: &Socket) -> io::Result<()> {
    socket.set_recv_buffer_size(SMALL_BYTES)
}

// === impl ReceiveWindow ===

impl ReceiveWindow {
    pub(super) fn new(memory: &Arc<SocketMemory>) -> Self {
        Self { holding: Holding::nothing(memory), applied: 0, until_renewal: 0 }
    }

    /// Makes the buffer what it should be for what is read next. Where the kernel refuses, it stays as it is: that costs
    /// speed, or memory of the pool until the connection ends, and nothing else.
    pub(super) fn before_read(&mut self, socket: &TcpStream, is_upload: bool) {
        if let Err(error) = self.adapt(socket, is_upload) {
            debug!(%error, "a receive buffer stays as it is");
        }
    }

    fn adapt(&mut self, socket: &TcpStream, is_upload: bool) -> io::Result<()> {
        if is_upload && self.until_renewal == 0 {
            self.until_renewal = RENEWAL_BYTES;
            self.holding.renew(upload_bytes_max(self.holding.memory()));
            self.apply(socket)?;
        } else if !is_upload && self.applied > 0 {
            self.until_renewal = 0;
            self.holding.end();
            self.apply(socket)?;
        }
        if self.holding.is_unsettled() && received_bytes(socket)? <= 2 * SMALL_BYTES + self.applied {
            self.holding.settle();
        }
        Ok(())
    }

    pub(super) fn after_read(&mut self, bytes: usize) {
        self.until_renewal = self.until_renewal.saturating_sub(bytes);
    }

    fn apply(&mut self, socket: &TcpStream) -> io::Result<()> {
        let more = self.holding.granted();
        if more == self.applied {
            return Ok(());
        }
        // The kernel doubles it.
        SockRef::from(socket).set_recv_buffer_size(SMALL_BYTES + more / 2)?;
        if more > self.applied {
            // The kernel keeps to what it was when the connection began, also where there is room for more.
            set_window_clamp(socket, 2 * SMALL_BYTES + more)?;
        }
        self.applied = more;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Duration;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpSocket};
    use tokio::time::timeout;

    use super::super::accept::bind;
    use super::super::socket_options::window_clamp;
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);
    const MIB: usize = 1 << 20;

    /// What a client has for itself of what it sent.
    const CLIENTS_BYTES: usize = 16 * 1024;

    /// An accepted connection, and its client.
    async fn connection() -> (TcpStream, TcpStream) {
        let listener = bind("a test", (Ipv4Addr::LOCALHOST, 0).into()).expect("a free port");
        let listener = TcpListener::from_std(listener).expect("a runtime");
        let client = TcpSocket::new_v4().expect("a socket");
        client.set_send_buffer_size(u32::try_from(CLIENTS_BYTES / 2).expect("small")).expect("a size");
        let address = listener.local_addr().expect("bound");
        let (client, accepted) = tokio::join!(client.connect(address), listener.accept());
        let (accepted, _) = accepted.expect("a client");
        prepare_connection(&SockRef::from(&accepted)).expect("an open socket");
        (accepted, client.expect("it listens"))
    }

    #[tokio::test]
    async fn an_upload_may_be_far_ahead_of_its_reader_and_the_pool_pays_until_it_is_read() {
        let memory = SocketMemory::new(256 * MIB);
        let (mut socket, mut client) = connection().await;
        let mut window = ReceiveWindow::new(&memory);
        window.before_read(&socket, false);
        let mut sent = 0;
        while let Ok(bytes) = client.try_write(&[0; 4096]) {
            sent += bytes;
        }
        assert!((SMALL_BYTES / 2..=2 * SMALL_BYTES + CLIENTS_BYTES).contains(&sent), "{sent}");
        assert_eq!(memory.leased(), 0);

        window.before_read(&socket, true);
        let leased = memory.leased();
        assert_eq!(leased, upload_bytes_max(&memory));
        assert_eq!(
            window_clamp(&socket).expect("an open socket"),
            2 * SMALL_BYTES + leased,
            "in one round trip"
        );
        // Nobody reads.
        let more = vec![0; (leased / 4).min(MIB / 2)];
        timeout(PATIENCE, client.write_all(&more)).await.expect("there is room").expect("an open socket");

        window.before_read(&socket, false);
        assert_eq!(memory.leased(), leased, "the kernel still holds it");
        let mut read = vec![0; sent + more.len()];
        timeout(PATIENCE, socket.read_exact(&mut read)).await.expect("all came").expect("an open socket");
        window.before_read(&socket, false);
        assert_eq!(memory.leased(), 0);
        assert_eq!(SockRef::from(&socket).recv_buffer_size().expect("an open socket"), 2 * SMALL_BYTES);
    }

    #[tokio::test]
    async fn where_the_pool_is_used_up_an_upload_has_what_everybody_has() {
        let memory = SocketMemory::new(0);
        let (socket, _client) = connection().await;
        let mut window = ReceiveWindow::new(&memory);
        window.before_read(&socket, true);
        assert_eq!(SockRef::from(&socket).recv_buffer_size().expect("an open socket"), 2 * SMALL_BYTES);
    }

    #[tokio::test]
    async fn leases_are_renewed_as_bytes_are_read_and_shrink_as_others_come() {
        let memory = SocketMemory::new(64 * MIB);
        let (socket, _client) = connection().await;
        let mut windows: Vec<_> = (0..32).map(|_| ReceiveWindow::new(&memory)).collect();
        for window in &mut windows {
            window.before_read(&socket, true);
        }
        let first = windows[0].applied;
        windows[0].after_read(RENEWAL_BYTES);
        windows[0].before_read(&socket, true);
        assert!(windows[0].applied < first, "{} of {first}", windows[0].applied);
        drop(windows);
        assert_eq!(memory.leased(), 0);
    }
}
