//! How much a client may send before it is read: little, and more while it uploads.
//!
//! A response under way does not read, so a client may fill its receive buffer, and there are thousands of clients:
//! [`SMALL_BYTES`] are room for a request. But what comes from a client in one round trip is what the buffer takes. So
//! while the body of an upload is read, its connection leases more from the pool that all sockets share
//! (`socket_memory`). When the body is over the buffer is small again, and what was leased is given back when
//! the kernel holds no more than that.
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

    /// Makes the buffer what it should be for what is read next.
    pub(super) fn before_read(&mut self, socket: &TcpStream, is_upload: bool) -> io::Result<()> {
        if is_upload && self.until_renewal == 0 {
            self.until_renewal = RENEWAL_BYTES;
            self.holding.renew(UPLOAD_BYTES_MAX);
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
        // The kernel doubles it, and takes no more than `net.core.rmem_max`.
        SockRef::from(socket).set_recv_buffer_size(SMALL_BYTES + more / 2)?;
        if more > self.applied {
            // The kernel keeps to what it was when the connection began, also where there is room for more.
            set_window_clamp(socket, 2 * SMALL_BYTES + more)?;
        }
        self.applied = more;
        Ok(())
    }
}
