//! Listeners, threads and connections.
//!
//! One current-thread runtime per core serves connections (`server/connection.rs`); one more thread accepts them
//! (`server/accept.rs`) and hands each to the runtime with the fewest, so that sixteen keep-alive connections on
//! two cores are eight and eight. (`docs/decisions/0002-threads.md` has the measurement against `SO_REUSEPORT`.)
//!
//! [`Gateway::drain`] makes readiness say 503, stops accepting, lets running responses finish until the
//! deadline, and ends the threads.

mod accept;
mod bounded_stream;
mod checked_heads;
mod chores;
mod connection;
mod gathered;
mod guarded_stream;
mod phase;
mod preface;
mod protocols;
mod receive_window;
mod socket_memory;
mod socket_options;
mod stream_places;
mod tls;
mod transport;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::future::{OptionFuture, join_all};
use seekway_cache::Cache;
use seekway_catalog::Catalog;
use seekway_settings::store::{self, Opened, StoreError};
use seekway_storage::ObjectStore;
use seekway_storage::measured::Observer;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tracing::{info, warn};

use crate::app::{App, Surface};
use crate::config::{Config, Transcoding};
use crate::metrics::Metrics;
use crate::webhooks::{self, Dispatcher};
use crate::worker::{self, Supervisor};
use accept::{Lane, Listener, accept, bind};
use chores::Chores;
use connection::Worker;

pub(crate) use checked_heads::REFUSED_METHOD;
pub(crate) use connection::Peer;
pub(crate) use gathered::WriteBuffers;
pub(crate) use guarded_stream::Ended;
use stream_places::StreamPlaces;
use tls::Tls;

pub(crate) use accept::BACKLOG_MAX;
pub(crate) use phase::{Answering, Phase};
pub(crate) use receive_window::SMALL_BYTES as RECEIVE_BYTES;
pub(crate) use socket_memory::{FLOOR_BYTES as SOCKET_FLOOR_BYTES, SocketMemory};
pub(crate) use stream_places::{STREAMS_PER_CONNECTION, WINDOW_BYTES_MIN};
pub(crate) use tls::BUFFER_BYTES_MAX as TLS_BUFFER_BYTES;
pub use tls::TlsError;
pub(crate) use tls::TlsFiles;

/// The admin listener serves probes and scrapes: a handful of connections.
const ADMIN_CONNECTIONS_MAX: usize = 64;

/// Reads of local files that each serving thread has under way. Each is a chunk that no budget pays for, and one more
/// in hand: [`memory_limit`](crate::memory_limit) counts them.
pub(crate) const BLOCKING_THREADS_MAX: usize = 32;

/// A running gateway.
pub struct Gateway {
    address: SocketAddr,
    tls_address: Option<SocketAddr>,
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
    /// The shared tier's address cannot be used.
    #[error("{0}")]
    Redis(String),
    /// The database could not be opened.
    #[error("--database-url (DATABASE_URL) is \"{url}\": {source}")]
    Database {
        /// What it says, without a password.
        url: String,
        /// What is wrong.
        source: seekway_catalog::Error,
    },
    /// The worker that is asked for cannot be run.
    #[error(
        "--transcoding (SEEKWAY_TRANSCODING) is \"embedded\": {0}; install it, or choose external, off or auto"
    )]
    Worker(String),
    /// There is no certificate to serve with.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The system gave no thread or runtime.
    #[error("cannot start: {0}")]
    System(#[from] io::Error),
}

// === impl StartError ===

impl StartError {
    /// Whether starting again may do better.
    pub fn is_passing(&self) -> bool {
        matches!(self, Self::Database { source, .. } if source.is_retryable())
    }
}

// === impl Gateway ===

impl Gateway {
    /// Opens the store, binds the listeners and starts serving. Returns when clients can connect.
    pub fn start(config: &Config) -> Result<Self, StartError> {
        let listener = bind("--listen (SEEKWAY_LISTEN)", config.listeners.listen)?;
        let admin_listener = bind("--admin-listen (SEEKWAY_ADMIN_LISTEN)", config.listeners.admin_listen)?;
        let (address, admin_address) = (listener.local_addr()?, admin_listener.local_addr()?);
        let mut listeners = vec![Listener { socket: listener, tls: None }];
        let mut tls_address = None;
        if let Some((listen, files)) = config.listeners.tls() {
            let tls = Arc::new(Tls::load(files)?);
            let socket = bind("--tls-listen (SEEKWAY_TLS_LISTEN)", listen)?;
            tls_address = Some(socket.local_addr()?);
            listeners.push(Listener { socket, tls: Some(tls) });
        }

        let (transcoding, why) = config.transcoding(worker::program).map_err(StartError::Worker)?;
        let runtime = runtime()?;
        let app = runtime.block_on(open(config, &transcoding))?;
        info!(who = %transcoding, why, "who processes videos");
        let worker = match transcoding {
            Transcoding::Embedded(program) => Some(Supervisor::new(program, config, app.metrics.clone())),
            Transcoding::External | Transcoding::Off => None,
        };

        let threads_count = config.listeners.threads();
        let streams = StreamPlaces::new(config.listeners.max_connections, config.upload_windows_bytes());
        let mut threads = Vec::with_capacity(threads_count + 1);
        let mut lanes = Vec::with_capacity(threads_count);
        for nth in 0..threads_count {
            let (lane, receiver) = Lane::new();
            lanes.push(lane);
            let worker = Worker::new(app.clone(), Surface::Public, config, streams.clone());
            let runtime = self::runtime()?;
            let serve = move || {
                runtime.block_on(worker.run(receiver));
                // A read that hangs in a dead network file system must not hold up the exit.
                runtime.shutdown_background();
            };
            threads.push(std::thread::Builder::new().name(format!("serve-{nth}")).spawn(serve)?);
        }
        let limits = (config.listeners.max_connections, config.listeners.drain_timeout.into());
        let admin =
            Worker::new(app.clone(), Surface::Admin, config, StreamPlaces::new(ADMIN_CONNECTIONS_MAX, 0));
        let accepting = app.clone();
        // What receivers do to us, handshakes above all, is no other thread's to wait for.
        if let Some(catalog) = app.catalog.clone().filter(|_| config.webhooks.per_account() > 0) {
            let (metrics, grows) = (app.metrics.clone(), app.feed.grows());
            let dispatcher = Dispatcher::new(catalog, metrics, &config.webhooks, grows);
            let runtime = runtime_with(webhooks::LOOKUPS_MAX)?;
            let (stop, end) = (app.draining.clone(), app.drained.clone());
            let tell = move || {
                runtime.block_on(dispatcher.serve(stop, end));
                // A name that is being resolved must not hold up the exit.
                runtime.shutdown_background();
            };
            threads.push(std::thread::Builder::new().name("webhooks".to_owned()).spawn(tell)?);
        }
        let chores = Chores::new(config);
        let accept = move || {
            runtime.block_on(async move {
                let (lane, receiver) = Lane::new();
                let cache = accepting.cache.clone();
                tokio::spawn(async move { cache.serve_redis().await });
                let chores = accepting.catalog.as_ref().map(|catalog| chores.begin(&accepting, catalog));
                let stop = accepting.draining.clone();
                let worker = worker.map(|worker| tokio::spawn(worker.run(stop)));
                if let Some(uploads) = accepting.uploads.clone() {
                    tokio::spawn(async move { uploads.serve().await });
                }
                let admin_done = tokio::spawn(admin.run(receiver));
                let permits = Arc::new(Semaphore::new(ADMIN_CONNECTIONS_MAX));
                let (stop, metrics) = (accepting.drained.clone(), accepting.metrics.clone());
                let doors = vec![Listener { socket: admin_listener, tls: None }];
                let admin_accept = tokio::spawn(accept(doors, Arc::new([lane]), permits, stop, metrics));
                supervise(accepting, listeners, lanes.into(), limits).await;
                let (worker_done, chores_done) = (OptionFuture::from(worker), OptionFuture::from(chores));
                let _ = tokio::join!(admin_accept, admin_done, worker_done, chores_done);
            });
        };
        threads.push(std::thread::Builder::new().name("accept".to_owned()).spawn(accept)?);
        app.ready();
        let tls = tls_address.map(|address| address.to_string());
        info!(%address, tls_address = tls, %admin_address, threads = threads_count, "serving");
        Ok(Self { address, tls_address, admin_address, app, threads })
    }

    /// Where players connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where players connect with TLS, if they can.
    pub fn tls_address(&self) -> Option<SocketAddr> {
        self.tls_address
    }

    /// Where metrics and readiness are.
    pub fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    /// The cache behind it, for its figures.
    pub fn cache(&self) -> &Cache {
        &self.app.cache
    }

    /// Makes readiness say 503 while everything goes on, so that load balancers look elsewhere.
    pub fn unready(&self) {
        self.app.unready();
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

/// What requests reach, by the configuration.
pub(crate) async fn open(config: &Config, transcoding: &Transcoding) -> Result<Arc<App>, StartError> {
    let metrics = Arc::new(Metrics::new());
    let store = open_store(config, &metrics).await?;
    if config.cache().redis.is_some() && store.head_is_cheap() {
        warn!("REDIS_URL is not used with a local folder, which is nearer than Redis");
    }
    let cache = Cache::new(store.clone(), config.cache()).map_err(StartError::Redis)?;
    let catalog = if config.has_catalog() { Some(database(config).await?) } else { None };
    Ok(Arc::new(App::new(config, cache, store, metrics, catalog, transcoding)))
}

/// The store; `metrics` are told of what it is asked.
pub(crate) async fn open_store(
    config: &Config,
    metrics: &Arc<Metrics>,
) -> Result<Arc<dyn ObjectStore>, StoreError> {
    let observer: Arc<dyn Observer> = metrics.clone();
    let opened = store::open(&config.storage, &observer).await?;
    if let Opened::S3(origin) = &opened {
        metrics.watch(origin.clone());
    }
    Ok(opened.store())
}

async fn database(config: &Config) -> Result<Catalog, StartError> {
    let url = config.database.url();
    let opened = Catalog::open(&url, &seekway_catalog::Options::default()).await;
    opened.map_err(|source| StartError::Database { url: url.to_string(), source })
}

/// Accepts until the drain begins, then sees it through.
async fn supervise(app: Arc<App>, listeners: Vec<Listener>, lanes: Arc<[Lane]>, limits: (usize, Duration)) {
    let (connections_max, drain_timeout) = limits;
    let permits = Arc::new(Semaphore::new(connections_max));
    let certificates: Vec<_> = listeners.iter().filter_map(|listener| listener.tls.clone()).collect();
    tokio::select! {
        () = accept(listeners, lanes, permits.clone(), app.draining.clone(), app.metrics.clone()) => {}
        () = follow_files(&certificates) => {}
    }
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
    if let Some(uploads) = &app.uploads {
        uploads.shutdown().await;
    }
    app.drained.cancel();
    app.cache.shutdown().await;
}

/// Keeps the certificates as their files are. Never ends.
async fn follow_files(certificates: &[Arc<Tls>]) {
    join_all(certificates.iter().map(|tls| tls.follow_files())).await;
    std::future::pending::<()>().await;
}

fn runtime() -> io::Result<tokio::runtime::Runtime> {
    runtime_with(BLOCKING_THREADS_MAX)
}

fn runtime_with(blocking_threads_max: usize) -> io::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(blocking_threads_max)
        .build()
}
