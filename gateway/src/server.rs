//! Listeners, threads and connections.
//!
//! One current-thread runtime per core serves connections; one more thread accepts them and hands each to
//! the runtime with the fewest, so that sixteen keep-alive connections on two cores are eight and eight.
//! (`docs/decisions/0002-threads.md` has the measurement against `SO_REUSEPORT`.)
//!
//! [`Gateway::drain`] makes readiness say 503, stops accepting, lets running responses finish until the
//! deadline, and ends the threads.

mod guarded_stream;

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::FutureExt;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use seekway_cache::Cache;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::unconstrained;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{debug, info, warn};

use crate::app::{self, App, Surface};
use crate::config::Config;
use crate::store::{self, StoreError};
use guarded_stream::{GuardedStream, Patience};

pub(crate) use guarded_stream::Phase;

/// Connections handed to a runtime that it has not begun to serve; more than that wait in the kernel.
const HANDOVERS_MAX: usize = 256;
/// Connections that the kernel completes before we accept them.
const BACKLOG_MAX: i32 = 1024;
/// What a connection gets for its first request when it was accepted just before the drain.
const FIRST_REQUEST_GRACE: Duration = Duration::from_secs(1);
/// Unsent bytes that the kernel takes from us for one connection (`TCP_NOTSENT_LOWAT`). Without it a paused
/// client has megabytes in the kernel, and a slow one looks stalled: the kernel says that it can be written to
/// again only when a third of its buffer is empty; with it, when half of this is.
///
/// Measured with hot 1 MiB ranges on 16 loopback connections, two rounds, requests/s: 128 KiB 5,658 and 4,567;
/// 256 KiB 5,629 and 6,744; 512 KiB 6,528 and 6,573; 4 MiB 5,948 and 6,110. Below 256 KiB it costs throughput.
const NOTSENT_BYTES_MAX: u32 = 256 * 1024;
/// The admin listener serves probes and scrapes: a handful of connections.
const ADMIN_CONNECTIONS_MAX: usize = 64;

/// A running gateway.
pub struct Gateway {
    address: SocketAddr,
    admin_address: SocketAddr,
    app: Arc<App>,
    threads: Vec<JoinHandle<()>>,
}

/// Why a gateway did not start. One line each, for a person.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener could not be had.
    #[error("{setting} is \"{address}\": {source}; choose a free address of this machine")]
    Listen {
        /// Which setting names it.
        setting: &'static str,
        /// What it says.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The object store could not be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The system gave no thread or runtime.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

/// What a serving runtime needs.
struct Worker {
    app: Arc<App>,
    surface: Surface,
    patience: Patience,
    http: http1::Builder,
    connections: Arc<AtomicUsize>,
}

/// A connection on its way to its runtime, with its place among the allowed ones.
struct Handover {
    stream: StdStream,
    permit: OwnedSemaphorePermit,
}

/// Where a runtime takes connections, and how many it has.
struct Lane {
    sender: mpsc::Sender<Handover>,
    connections: Arc<AtomicUsize>,
}

// === impl Gateway ===

impl Gateway {
    /// Opens the store, binds the listeners and starts serving. Returns when clients can connect.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        let listener = bind("--listen (SEEKWAY_LISTEN)", config.listen)?;
        let admin_listener = bind("--admin-listen (SEEKWAY_ADMIN_LISTEN)", config.admin_listen)?;
        let (address, admin_address) = (listener.local_addr()?, admin_listener.local_addr()?);

        let runtime = runtime()?;
        let store = runtime.block_on(store::connect(config, Arc::new(())))?;
        let app = Arc::new(App::new(config, Cache::new(store.clone(), config.cache()), store));

        let threads_count = config.threads();
        let mut threads = Vec::with_capacity(threads_count + 1);
        let mut lanes = Vec::with_capacity(threads_count);
        for nth in 0..threads_count {
            let (sender, receiver) = mpsc::channel(HANDOVERS_MAX);
            let worker = Worker::new(app.clone(), Surface::Public, config);
            lanes.push(Lane { sender, connections: worker.connections.clone() });
            let runtime = self::runtime()?;
            let serve = move || {
                runtime.block_on(worker.run(receiver));
                // A read that hangs in a dead network file system must not hold up the exit.
                runtime.shutdown_background();
            };
            threads.push(std::thread::Builder::new().name(format!("serve-{nth}")).spawn(serve)?);
        }
        let limits = (config.max_connections, config.drain_timeout.into());
        let admin = Worker::new(app.clone(), Surface::Admin, config);
        let accepting = app.clone();
        let accept = move || {
            runtime.block_on(async move {
                let (lane, receiver) = admin_lane(&admin);
                let admin_done = tokio::spawn(admin.run(receiver));
                let permits = Arc::new(Semaphore::new(ADMIN_CONNECTIONS_MAX));
                let stop = accepting.drained.clone();
                let admin_accept = tokio::spawn(accept(admin_listener, vec![lane], permits, stop));
                supervise(accepting, listener, lanes, limits).await;
                let _ = tokio::join!(admin_accept, admin_done);
            });
        };
        threads.push(std::thread::Builder::new().name("accept".to_owned()).spawn(accept)?);
        app.ready();
        info!(%address, %admin_address, threads = threads_count, "serving");
        Ok(Self { address, admin_address, app, threads })
    }

    /// Where players connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where metrics and readiness are.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// The cache behind it, for its figures.
    pub fn cache(&self) -> &Cache {
        &self.app.cache
    }

    /// Begins to drain; [`join`](Self::join) waits for the end of it.
    pub fn drain(&self) {
        self.app.drain();
    }

    /// Waits until everything has stopped.
    pub fn join(mut self) {
        for thread in self.threads.drain(..) {
            // A panic was printed where it happened.
            let _ = thread.join();
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.app.drain();
        self.app.drained.cancel();
    }
}

/// Accepts until the drain begins, then sees it through.
async fn supervise(app: Arc<App>, listener: StdListener, lanes: Vec<Lane>, limits: (usize, Duration)) {
    let (connections_max, drain_timeout) = limits;
    let permits = Arc::new(Semaphore::new(connections_max));
    accept(listener, lanes, permits.clone(), app.draining.clone()).await;
    // Every permit back means that every connection has ended.
    let all = u32::try_from(connections_max).unwrap_or(u32::MAX);
    let ended = tokio::select! {
        ended = timeout(drain_timeout, permits.acquire_many(all)) => ended.is_ok(),
        () = app.drained.cancelled() => true,
    };
    if !ended {
        let left = connections_max - permits.available_permits();
        warn!(connections = left, "the drain timeout passed; cutting what is left");
    }
    app.drained.cancel();
    app.cache.shutdown().await;
}

/// Hands each new connection to the lane with the fewest, until `stop`; and then those that the kernel has
/// completed already, because closing the listener would reset them.
async fn accept(listener: StdListener, lanes: Vec<Lane>, permits: Arc<Semaphore>, stop: CancellationToken) {
    let listener = TcpListener::from_std(listener).expect("a runtime with I/O runs this");
    let mut left_in_backlog = BACKLOG_MAX;
    while left_in_backlog > 0 {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => {
                left_in_backlog -= 1;
                // Without tokio's own yielding, which would make it look as if nobody was waiting.
                unconstrained(next(&listener, &permits)).now_or_never()
            }
            accepted = next(&listener, &permits) => Some(accepted),
        };
        match accepted {
            None => return,
            Some(Ok(handover)) => {
                let lane = lanes
                    .iter()
                    .min_by_key(|lane| lane.connections.load(Ordering::Relaxed))
                    .expect("there is at least one lane");
                lane.connections.fetch_add(1, Ordering::Relaxed);
                if lane.sender.send(handover).await.is_err() {
                    return;
                }
            }
            Some(Err(_)) if stop.is_cancelled() => return,
            Some(Err(error)) => {
                // Out of descriptors, most likely; the next accept would fail at once, too.
                warn!(%error, "cannot accept");
                sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// The next connection. Its permit is taken before: above the limit, clients wait in the kernel's backlog.
async fn next(listener: &TcpListener, permits: &Arc<Semaphore>) -> io::Result<Handover> {
    let permit = permits.clone().acquire_owned().await.expect("the semaphore is never closed");
    let (stream, _) = listener.accept().await?;
    Ok(Handover { stream: stream.into_std()?, permit })
}

fn admin_lane(admin: &Worker) -> (Lane, mpsc::Receiver<Handover>) {
    let (sender, receiver) = mpsc::channel(HANDOVERS_MAX);
    (Lane { sender, connections: admin.connections.clone() }, receiver)
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()
}

fn bind(setting: &'static str, address: SocketAddr) -> Result<StdListener, StartError> {
    let bound = || -> io::Result<StdListener> {
        let socket =
            socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(BACKLOG_MAX)?;
        Ok(socket.into())
    };
    bound().map_err(|source| StartError::Listen { setting, address, source })
}

// === impl Worker ===

impl Worker {
    fn new(app: Arc<App>, surface: Surface, config: &Config) -> Self {
        let mut http = http1::Builder::new();
        http.max_headers(config.headers_max)
            .max_header_size(config.header_bytes_max())
            .header_read_timeout(None); // `GuardedStream` tells idle from slow; see there.
        let patience = Patience {
            idle: config.idle_timeout.into(),
            header: config.header_timeout.into(),
            write_stall: config.write_stall_timeout.into(),
        };
        Self { app, surface, patience, http, connections: Arc::default() }
    }

    /// Serves connections until there are no more to come and all have ended, or the drain is over.
    async fn run(self, mut receiver: mpsc::Receiver<Handover>) {
        let tasks = TaskTracker::new();
        let drained = self.app.drained.clone();
        while let Some(Handover { stream, permit }) =
            tokio::select! { handover = receiver.recv() => handover, () = drained.cancelled() => None }
        {
            let app = self.app.clone();
            let connections = self.connections.clone();
            let serving = self.serve(stream, app);
            tasks.spawn(async move {
                serving.await;
                connections.fetch_sub(1, Ordering::Relaxed);
                drop(permit);
            });
        }
        // Also with no connection left: fills and store connections that other threads' responses use live here.
        tasks.close();
        drained.cancelled().await;
    }

    fn serve(&self, stream: StdStream, app: Arc<App>) -> impl Future<Output = ()> + use<> {
        let (http, patience, surface) = (self.http.clone(), self.patience, self.surface);
        async move {
            let stream = match prepared(stream) {
                Ok(stream) => stream,
                Err(error) => return debug!(%error, "a connection ended before it began"),
            };
            let phase = Arc::new(Phase::default());
            let service = TowerToHyperService::new(app::service(app.clone(), phase.clone(), surface));
            let io = TokioIo::new(GuardedStream::new(stream, patience, phase.clone()));
            let mut connection = std::pin::pin!(http.serve_connection(io, service));
            // Probes come on new connections while the public ones drain, and must find out that they do.
            let ending = if surface == Surface::Admin { &app.drained } else { &app.draining };
            let served = tokio::select! {
                served = connection.as_mut() => served,
                () = until_ending(ending, &phase) => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = served {
                debug!(%error, "connection ended");
            }
        }
    }
}

/// A connection as it should be for media: answers leave at once, and little of them waits in the kernel.
fn prepared(stream: StdStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    socket2::SockRef::from(&stream).set_tcp_notsent_lowat(NOTSENT_BYTES_MAX)?;
    TcpStream::from_std(stream)
}

/// Completes when a connection is to end after what it is doing: when `ending` says so, but not before its first
/// request had a moment to arrive. A client that has just connected would otherwise be hung up on.
async fn until_ending(ending: &CancellationToken, phase: &Phase) {
    ending.cancelled().await;
    if phase.is_new() {
        sleep(FIRST_REQUEST_GRACE).await;
    }
}
