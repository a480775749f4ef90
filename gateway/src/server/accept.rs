//! Listeners, and the way of a connection to the runtime that serves it.
//!
//! Listeners that share places share one loop: a place is taken before a connection is accepted, so that above the limit
//! clients wait in the kernel's backlog, and one that each listener took for itself would lie idle at all but one.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::select_all;
use tokio::net::TcpListener;
use tokio::sync::mpsc::{self, error::TrySendError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::unconstrained;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::StartError;
use super::connection::Peer;
use super::receive_window;
use super::tls::Tls;
use crate::metrics::Metrics;

/// Connections handed to a runtime that it has not begun to serve; more than that go to another one.
const HANDOVERS_MAX: usize = 256;
/// Connections that the kernel completes before we accept them.
pub(crate) const BACKLOG_MAX: i32 = 1024;

/// A connection on its way to its runtime.
pub(super) struct Handover {
    pub(super) stream: StdStream,
    pub(super) peer: Peer,
    /// What it is to speak first, on the TLS listener.
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) place: Place,
}

/// A connection's place among the allowed ones and among its runtime's, until dropped.
pub(super) struct Place {
    _permit: OwnedSemaphorePermit,
    connections: Arc<AtomicUsize>,
}

/// Where a runtime takes connections, and how many it has.
pub(super) struct Lane {
    sender: mpsc::Sender<Handover>,
    connections: Arc<AtomicUsize>,
}

/// An accepted connection that no lane has yet.
struct Accepted {
    stream: StdStream,
    peer: Peer,
    tls: Option<Arc<Tls>>,
    permit: OwnedSemaphorePermit,
}

/// A place where clients connect.
pub(super) struct Listener {
    pub(super) socket: StdListener,
    pub(super) tls: Option<Arc<Tls>>,
}

/// Listeners that share places.
struct Doors {
    doors: Vec<(TcpListener, Option<Arc<Tls>>)>,
    /// Whose turn it is when several have somebody waiting.
    next: usize,
}

/// The runtimes have ended.
struct Closed;

/// Binds `address`; an error names the `setting` that it came from.
pub(super) fn bind(setting: &'static str, address: SocketAddr) -> Result<StdListener, StartError> {
    let bound = || -> io::Result<StdListener> {
        let socket =
            socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        receive_window::prepare_listener(&socket)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG_MAX)?;
        Ok(socket.into())
    };
    bound().map_err(|source| StartError::Listen { setting, address, source })
}

/// Hands each new connection to a lane, until `stop`; and then those that the kernel has completed already,
/// because closing the listener would reset them.
pub(super) async fn accept(
    listeners: Vec<Listener>,
    lanes: Arc<[Lane]>,
    permits: Arc<Semaphore>,
    stop: CancellationToken,
    metrics: Arc<Metrics>,
) {
    let mut doors = Doors::open(listeners);
    let mut left_in_backlog = BACKLOG_MAX.unsigned_abs() as usize * doors.doors.len();
    while left_in_backlog > 0 {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => {
                left_in_backlog -= 1;
                // Without tokio's own yielding, which would make it look as if nobody was waiting.
                unconstrained(doors.next(&permits)).now_or_never()
            }
            accepted = doors.next(&permits) => Some(accepted),
        };
        match accepted {
            None => return,
            Some(Ok(accepted)) => {
                if hand_over(accepted, &lanes).await.is_err() {
                    return;
                }
            }
            Some(Err(_)) if stop.is_cancelled() => return,
            Some(Err(error)) => {
                // Out of descriptors, most likely; the next accept would fail at once, too.
                warn!(%error, "cannot accept");
                metrics.cannot_accept();
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Gives the connection to the lane with the fewest that takes it: one whose runtime hangs takes no more after
/// [`HANDOVERS_MAX`]. If none does, to the first that does again.
async fn hand_over(accepted: Accepted, lanes: &[Lane]) -> Result<(), Closed> {
    let mut by_load: Vec<&Lane> = lanes.iter().collect();
    by_load.sort_by_cached_key(|lane| lane.connections.load(Ordering::Relaxed));
    for lane in by_load {
        match lane.sender.try_reserve() {
            Ok(slot) => {
                slot.send(accepted.bound_for(lane));
                return Ok(());
            }
            Err(TrySendError::Full(())) => {}
            Err(TrySendError::Closed(())) => return Err(Closed),
        }
    }
    let (slot, nth, _) = select_all(lanes.iter().map(|lane| Box::pin(lane.sender.reserve()))).await;
    slot.map_err(|_| Closed)?.send(accepted.bound_for(&lanes[nth]));
    Ok(())
}

// === impl Doors ===

impl Doors {
    fn open(listeners: Vec<Listener>) -> Self {
        let listen = |socket| TcpListener::from_std(socket).expect("a runtime with I/O runs this");
        Self { doors: listeners.into_iter().map(|door| (listen(door.socket), door.tls)).collect(), next: 0 }
    }

    /// The next connection at any of them, once there is a place for it. Cancel by dropping: none is lost.
    async fn next(&mut self, permits: &Arc<Semaphore>) -> io::Result<Accepted> {
        let permit = permits.clone().acquire_owned().await.expect("the semaphore is never closed");
        let (stream, address, tls) = poll_fn(|cx| {
            for nth in 0..self.doors.len() {
                let nth = (self.next + nth) % self.doors.len();
                let (listener, tls) = &self.doors[nth];
                if let Poll::Ready(accepted) = listener.poll_accept(cx) {
                    self.next = nth + 1;
                    return Poll::Ready(accepted.map(|(stream, address)| (stream, address, tls.clone())));
                }
            }
            Poll::Pending
        })
        .await?;
        Ok(Accepted {
            stream: stream.into_std()?,
            peer: Peer { address, share: Arc::default(), is_tls: tls.is_some() },
            tls,
            permit,
        })
    }
}

// === impl Lane ===

impl Lane {
    /// A lane and the end at which its runtime takes connections.
    pub(super) fn new() -> (Self, mpsc::Receiver<Handover>) {
        let (sender, receiver) = mpsc::channel(HANDOVERS_MAX);
        (Self { sender, connections: Arc::default() }, receiver)
    }
}

// === impl Accepted ===

impl Accepted {
    fn bound_for(self, lane: &Lane) -> Handover {
        lane.connections.fetch_add(1, Ordering::Relaxed);
        let place = Place { _permit: self.permit, connections: lane.connections.clone() };
        Handover { stream: self.stream, peer: self.peer, tls: self.tls, place }
    }
}

// === impl Place ===

impl Drop for Place {
    fn drop(&mut self) {
        self.connections.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Some listeners that share places, and where they are.
    fn doors<const N: usize>() -> (Doors, [SocketAddr; N]) {
        let bind = || bind("a test", ([127, 0, 0, 1], 0).into()).expect("a free port");
        let listeners: Vec<_> = (0..N).map(|_| Listener { socket: bind(), tls: None }).collect();
        let addresses = std::array::from_fn(|nth| listeners[nth].socket.local_addr().expect("bound"));
        (Doors::open(listeners), addresses)
    }

    #[tokio::test]
    async fn the_last_place_is_for_whoever_comes_by_whichever_listener() {
        let (mut doors, addresses) = doors::<2>();
        let permits = Arc::new(Semaphore::new(1));
        for address in [addresses[1], addresses[0], addresses[0], addresses[1]] {
            let client = StdStream::connect(address).expect("it listens");
            let accepted = doors.next(&permits).await.expect("a client");
            assert_eq!(accepted.peer.address, client.local_addr().expect("connected"));
            let _waits = StdStream::connect(addresses[0]).expect("the kernel completes it");
            assert!(doors.next(&permits).now_or_never().is_none(), "there is no place left");
            drop(accepted);
            drop(doors.next(&permits).await.expect("it has waited"));
        }
    }

    #[tokio::test]
    async fn listeners_take_turns() {
        let (mut doors, addresses) = doors::<2>();
        let permits = Arc::new(Semaphore::new(8));
        let clients: Vec<_> = (0..6).map(|nth| StdStream::connect(addresses[nth / 3])).collect();
        let mut of_second = Vec::new();
        for _ in 0..6 {
            let accepted = doors.next(&permits).await.expect("a client");
            of_second.push(accepted.stream.local_addr().expect("connected") == addresses[1]);
        }
        assert!(of_second[..4].iter().filter(|second| **second).count() == 2, "{of_second:?}");
        drop(clients);
    }

    #[tokio::test]
    async fn a_lane_that_hangs_does_not_hold_up_the_others() {
        let (mut doors, [address]) = doors();
        let permits = Arc::new(Semaphore::new(4 * HANDOVERS_MAX));
        let (lanes, mut receivers): (Vec<_>, Vec<_>) = [Lane::new(), Lane::new()].into_iter().unzip();
        // The other one has so many connections that the hanging one is always the first choice.
        lanes[1].connections.store(10 * HANDOVERS_MAX, Ordering::Relaxed);
        let count = HANDOVERS_MAX + 3;
        for _ in 0..count {
            let client = std::net::TcpStream::connect(address).expect("it listens");
            let accepted = doors.next(&permits).await.expect("a client");
            assert!(accepted.peer.address == client.local_addr().expect("connected"));
            assert!(hand_over(accepted, &lanes).await.is_ok());
        }
        assert_eq!(lanes[0].connections.load(Ordering::Relaxed), HANDOVERS_MAX);
        for _ in HANDOVERS_MAX..count {
            drop(receivers[1].try_recv().expect("handed over"));
        }
        assert_eq!(lanes[1].connections.load(Ordering::Relaxed), 10 * HANDOVERS_MAX, "places are given back");
        drop(receivers.remove(0));
        assert_eq!(permits.available_permits(), 4 * HANDOVERS_MAX);
    }
}
