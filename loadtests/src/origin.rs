//! The shaped origin: the reading half of S3, as slow and as faulty as a test wants it.
//!
//! It answers path-style `GET` and `HEAD` of objects, with ranges and preconditions, and `ListObjectsV2`. It
//! ignores signatures. Objects are patterns of any size, made while they are sent, or bytes in memory.
//!
//! Every request waits for the [`Shape`]'s latency, every connection's bodies keep the shape's pace, and each
//! [`Fault`] breaks chosen requests in one known way. What arrived is counted and logged.
//!
//! The server runs on a thread and a Tokio runtime of its own, so a test's single-threaded runtime neither
//! slows it nor is slowed by it. It uses real sockets and real time: a test that pauses Tokio's clock cannot
//! use it. Dropping the [`Origin`] closes every connection.

mod alarm;
mod body;
mod connection;
mod control;
mod fault;
mod list;
mod objects;
mod range;
mod respond;
mod shape;
mod traffic;
mod xml;

use std::{
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::Duration,
};

use hyper::{server::conn::http1, service::service_fn};
use tokio::{
    net::TcpListener,
    sync::{oneshot, watch},
    task::JoinSet,
};

use self::{connection::Connection, objects::Buckets, traffic::Traffic};
pub use self::{
    fault::{Fault, Rule},
    objects::{Object, Running},
    shape::{Shape, Tail},
    traffic::{Counts, Logged},
};
use crate::Error;

/// How long [`Origin::until`] waits for what should happen at once.
const UNTIL_MAX: Duration = Duration::from_secs(10);
/// hyper's default is seven times this. A body should be made when the socket takes it and not long before,
/// so that counts of bytes and positions of faults mean what they say.
const CONNECTION_BUFFER_BYTES: usize = 64 * 1024;

/// A running origin.
#[derive(Debug)]
pub struct Origin {
    shared: Arc<Shared>,
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// What the handle, the connections and the requests share.
#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    /// Told of every change of the traffic.
    changes: watch::Sender<()>,
    /// How often hanging requests were released.
    releases: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    shape: Shape,
    buckets: Buckets,
    rules: Vec<Rule>,
    traffic: Traffic,
}

// === impl Origin ===

impl Origin {
    /// Starts an origin without objects on a free port of the loopback interface.
    pub fn start(shape: Shape) -> Result<Self, Error> {
        Self::listen((Ipv4Addr::LOCALHOST, 0).into(), shape)
    }

    /// Starts an origin without objects on `address`; it accepts connections when this returns.
    pub fn listen(address: SocketAddr, shape: Shape) -> Result<Self, Error> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            state: Mutex::new(State { shape, ..State::default() }),
            changes: watch::Sender::new(()),
            releases: watch::Sender::new(0),
        });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
        let listener = {
            let _inside = runtime.enter();
            TcpListener::from_std(listener)?
        };
        let (stop, stopped) = oneshot::channel();
        let serving = serve(listener, Arc::clone(&shared), stopped);
        let thread = std::thread::Builder::new()
            .name("shaped-origin".to_owned())
            .spawn(move || runtime.block_on(serving))?;
        Ok(Self { shared, address, stop: Some(stop), thread: Some(thread) })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What to set as an S3 client's endpoint, with path-style addresses.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Creates a bucket with nothing in it. [`Self::put`] creates its bucket by itself.
    pub fn create_bucket(&self, bucket: &str) {
        self.shared.state().buckets.create(bucket);
    }

    /// Stores an object, or replaces it at once for every request that comes later. Requests under way go on
    /// with the version that they began with. `key` is the key itself, not percent-encoded.
    pub fn put(&self, bucket: &str, key: &str, object: Object) {
        self.replace(bucket, key, object, Running::KeepOld);
    }

    /// Stores `size` bytes of the [`pattern`](crate::pattern) of `seed`.
    pub fn put_pattern(&self, bucket: &str, key: &str, size: u64, seed: u64) {
        self.put(bucket, key, Object::pattern(size, seed));
    }

    /// [`Self::put`], choosing what requests under way go on with.
    pub fn replace(&self, bucket: &str, key: &str, object: Object, running: Running) {
        self.shared.state().buckets.put(bucket, key, object, running);
    }

    /// Deletes an object; false when there was none. Requests under way go on.
    pub fn remove(&self, bucket: &str, key: &str) -> bool {
        self.shared.state().buckets.remove(bucket, key)
    }

    /// The shape as it is now.
    pub fn shape(&self) -> Shape {
        self.shared.state().shape
    }

    /// Another shape for requests that come later, and for the rest of bodies under way.
    pub fn set_shape(&self, shape: Shape) {
        self.shared.state().shape = shape;
    }

    /// Breaks requests that come later.
    pub fn fault(&self, rule: impl Into<Rule>) {
        self.shared.state().rules.push(rule.into());
    }

    /// Breaks no more requests. Those under way keep their faults.
    pub fn clear_faults(&self) {
        self.shared.state().rules.clear();
    }

    /// Lets every request go on that hangs through [`Fault::Hang`] or [`Fault::HangAfter`], and those that have
    /// begun and would.
    pub fn release_hung(&self) {
        self.shared.releases.send_modify(|releases| *releases += 1);
    }

    /// The counters as they are now.
    pub fn counts(&self) -> Counts {
        self.shared.state().traffic.counts()
    }

    /// The requests since the start or the last reset, oldest first; at most the last 100,000.
    pub fn log(&self) -> Vec<Logged> {
        self.shared.state().traffic.log()
    }

    /// Sets the counters to zero, except for what is open now, and empties the log.
    pub fn reset_counts(&self) {
        self.shared.traffic(Traffic::reset);
    }

    /// Waits until the counters satisfy `condition`, and returns them: a test's way to wait for the origin
    /// without sleeping. Fails after 10 s.
    pub async fn until(&self, condition: impl Fn(&Counts) -> bool) -> Result<Counts, Error> {
        let mut changes = self.shared.changes.subscribe();
        let waiting = async {
            loop {
                let counts = self.counts();
                if condition(&counts) {
                    return counts;
                }
                changes.changed().await.expect("the sender lives as long as this origin");
            }
        };
        tokio::time::timeout(UNTIL_MAX, waiting).await.map_err(|_| Error::Timeout {
            request: format!("waiting for the origin, whose counts are {:?},", self.counts()),
            limit: UNTIL_MAX,
        })
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic on that thread was printed there; a second one here would hide the test's own.
            drop(thread.join());
        }
    }
}

// === impl Shared ===

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        // Every change is complete when the lock is let go of, so a panic elsewhere left nothing half done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shape_rate(&self) -> Option<u64> {
        self.state().shape.bytes_per_second_per_connection
    }

    fn traffic(&self, change: impl FnOnce(&mut Traffic)) {
        change(&mut self.state().traffic);
        self.tell_change();
    }

    fn tell_change(&self) {
        self.changes.send_replace(());
    }
}

/// Runs until `stopped`; every connection ends with it.
async fn serve(listener: TcpListener, shared: Arc<Shared>, mut stopped: oneshot::Receiver<()>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = &mut stopped => return,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => {
                // Out of file descriptors, or a client that left at once: the next one may fare better.
                let Ok((stream, _)) = accepted else { tokio::task::yield_now().await; continue };
                let Ok((connection, transport)) = Connection::new(Arc::clone(&shared), stream) else { continue };
                let service = service_fn(move |request| respond::respond(Arc::clone(&connection), request));
                let serving = http1::Builder::new()
                    .header_read_timeout(None)
                    .max_buf_size(CONNECTION_BUFFER_BYTES)
                    .serve_connection(transport, service);
                // A cut connection is an error here and a wish there.
                connections.spawn(async move { drop(serving.await) });
            }
        }
    }
}
