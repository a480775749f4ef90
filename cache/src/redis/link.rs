//! The link to Redis: connections that are made off the request path, and a circuit breaker.
//!
//! A request never connects: it uses a connection that is there, for a limited time, or does without. One task
//! ([`Link::keep`]) makes the connections, at the start and after the circuit opened. It opens at the first
//! broken connection, or after [`FAILURES_MAX`] answers in a row that came too late or were errors; while it is
//! open nobody waits, and the task's own probe (a new connection that runs a script) closes it again.
//!
//! deadpool-redis makes the connections, for all three topologies alike. They are not checked out for each
//! request: deadpool would PING each time, which is a second round trip within a limit of 2 ms, and a
//! multiplexed connection carries many requests at a time.

use std::fmt;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::Duration;

use deadpool_redis::redis::aio::{ConnectionLike, MultiplexedConnection};
use deadpool_redis::redis::cluster_async::ClusterConnection;
use deadpool_redis::redis::{
    Cmd, ConnectionAddr, ErrorKind, FromRedisValue, Pipeline, RedisError, RedisFuture, ServerErrorKind,
    Value, cmd,
};
use deadpool_redis::sentinel::{SentinelNodeConnectionInfo, SentinelServerType, TlsMode};
use deadpool_redis::{Runtime, Timeouts, cluster, sentinel};
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

use super::url::{RedisUrl, Topology};
use crate::memory;
use crate::stats::Counters;

/// Connections that share the requests: enough that one long answer does not hold up all others.
const LANES: usize = 4;
/// Answers that may be on their way at once, because their bytes are in memory before they land in buffers that
/// the budget has paid for: with 256 KiB each that is 16 MiB.
pub(super) const ANSWERS_MAX: usize = 64;
/// Late or failed answers in a row that open the circuit. At 2 ms each that is what a pause of Redis costs.
const FAILURES_MAX: u32 = 5;
/// Time for a connection, TLS and authentication included, and for its PING.
const CONNECT_LIMIT: Duration = Duration::from_secs(1);
/// Pauses between attempts to connect; each is twice as long as the one before.
const PAUSE_MIN: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// After so long without trouble the pauses start small again.
const STEADY: Duration = Duration::from_secs(10);

/// The way to Redis; see above.
pub(super) struct Link {
    pool: Pool,
    url: RedisUrl,
    /// `None` while the circuit is open. The last lane is for commands that block.
    lanes: RwLock<Option<Arc<[Connection]>>>,
    /// Since when there are lanes, in [`memory::now`]'s milliseconds; 0 while there are none.
    usable_since: AtomicU64,
    next: AtomicUsize,
    places: Semaphore,
    failures: AtomicU32,
    opened: Notify,
    counters: Arc<Counters>,
}

enum Pool {
    Node(deadpool_redis::Pool),
    Sentinel(sentinel::Pool),
    Cluster(cluster::Pool),
}

#[derive(Clone)]
enum Connection {
    Node(MultiplexedConnection),
    Cluster(ClusterConnection),
}

/// Which connection a command takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Lane {
    Shared,
    /// For a command that waits in Redis, and would hold up all others on its connection.
    Blocking,
}

// === impl Link ===

impl Link {
    pub(super) fn new(url: &RedisUrl, counters: Arc<Counters>) -> Result<Self, String> {
        Ok(Self {
            pool: Pool::new(&url.topology).map_err(|error| format!("REDIS_URL {url}: {error}"))?,
            url: url.clone(),
            lanes: RwLock::default(),
            usable_since: AtomicU64::new(0),
            next: AtomicUsize::new(0),
            places: Semaphore::new(ANSWERS_MAX),
            failures: AtomicU32::new(0),
            opened: Notify::new(),
            counters,
        })
    }

    /// Whether requests are sent at all.
    pub(super) fn is_usable(&self) -> bool {
        self.usable_since() > 0
    }

    /// Since when the circuit has been closed, in [`memory::now`]'s milliseconds; 0 while it is open.
    pub(super) fn usable_since(&self) -> u64 {
        self.usable_since.load(Ordering::Relaxed)
    }

    /// The answer to `command`, if it came within `limit`.
    pub(super) async fn query<T: FromRedisValue>(
        &self,
        lane: Lane,
        command: &Cmd,
        limit: Duration,
    ) -> Option<T> {
        let mut connection = self.connection(lane)?;
        // A crowd of our own is no trouble of Redis': who finds no place in time does without, and that is all.
        let _place = match lane {
            Lane::Shared => Some(timeout(limit, self.places.acquire()).await.ok()?.ok()?),
            Lane::Blocking => None,
        };
        let asked = Instant::now();
        match timeout(limit, command.query_async(&mut connection)).await {
            Ok(Ok(answer)) => {
                self.failures.store(0, Ordering::Relaxed);
                if lane == Lane::Shared {
                    self.counters.redis_times.observe(asked.elapsed());
                }
                Some(answer)
            }
            Ok(Err(error)) => {
                self.counters.redis_errors.increment();
                // A timeout of the connection's own is no worse than ours. What the server refuses (it is full, say, or
                // read-only) it answers at once, and other commands may still do.
                let is_lost = !error.is_timeout() && (error.is_io_error() || self.is_elsewhere(&error));
                if is_lost || !matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension) {
                    self.failed(is_lost, &error);
                }
                None
            }
            Err(elapsed) => {
                self.counters.redis_timeouts.increment();
                self.failed(false, &elapsed);
                None
            }
        }
    }

    /// Connects, and again whenever the circuit has opened. Never ends; cancel by dropping.
    pub(super) async fn keep(&self) {
        let (mut pause, mut is_told) = (PAUSE_MIN, false);
        loop {
            match self.connect().await {
                Ok(lanes) => {
                    info!(redis = %self.url, "the shared tier is connected");
                    self.set_lanes(Some(lanes));
                    let since = Instant::now();
                    self.opened.notified().await;
                    is_told = true; // By whoever opened the circuit.
                    if since.elapsed() > STEADY {
                        pause = PAUSE_MIN;
                    }
                }
                Err(error) if is_told => tracing::debug!(redis = %self.url, %error, "still no shared tier"),
                Err(error) => {
                    is_told = true;
                    warn!(redis = %self.url, %error, "no shared tier; going on without, and trying again");
                }
            }
            sleep(pause.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            pause = (pause * 2).min(PAUSE_MAX);
        }
    }

    async fn connect(&self) -> Result<Arc<[Connection]>, String> {
        let mut lanes = Vec::with_capacity(LANES + 1);
        for _ in 0..=LANES {
            let mut connection = self.pool.connect().await?;
            // A script, because without those it is of no use.
            let probe = cmd("EVAL").arg("return 1").arg(1).arg("seekway:probe").to_owned();
            let answer = timeout(CONNECT_LIMIT, probe.query_async::<()>(&mut connection)).await;
            answer.map_err(|_| "no answer in time".to_owned())?.map_err(|error| error.to_string())?;
            lanes.push(connection);
        }
        self.failures.store(0, Ordering::Relaxed);
        Ok(lanes.into())
    }

    /// Whether the server says that it is not the one to ask. After a failover by Sentinels the old master is
    /// read-only; a replica that was named by hand always is.
    fn is_elsewhere(&self, error: &RedisError) -> bool {
        use ServerErrorKind::{BusyLoading, ClusterDown, MasterDown, ReadOnly};
        match error.kind() {
            ErrorKind::Server(BusyLoading | ClusterDown | MasterDown) => true,
            ErrorKind::Server(ReadOnly) => matches!(self.pool, Pool::Sentinel(_)),
            _ => false,
        }
    }

    fn set_lanes(&self, lanes: Option<Arc<[Connection]>>) -> Option<Arc<[Connection]>> {
        let mut current = self.lanes.write().expect("no code panics under this lock");
        let since = if lanes.is_some() { memory::now() } else { 0 };
        self.usable_since.store(since, Ordering::Relaxed);
        std::mem::replace(&mut current, lanes)
    }

    fn lanes(&self) -> Option<Arc<[Connection]>> {
        self.lanes.read().expect("no code panics under this lock").clone()
    }

    fn connection(&self, lane: Lane) -> Option<Connection> {
        let lanes = self.lanes()?;
        let nth = match lane {
            Lane::Shared => self.next.fetch_add(1, Ordering::Relaxed) % LANES,
            Lane::Blocking => LANES,
        };
        Some(lanes[nth].clone())
    }

    fn failed(&self, is_lost: bool, error: &dyn fmt::Display) {
        let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
        if !is_lost && failures < FAILURES_MAX {
            return;
        }
        if self.set_lanes(None).is_some() {
            self.counters.redis_opened.increment();
            warn!(redis = %self.url, %error, failures, "the shared tier is in trouble; going on without");
            self.opened.notify_one();
        }
    }
}

// === impl Pool ===

impl Pool {
    fn new(topology: &Topology) -> Result<Self, String> {
        /// The three kinds of pool are three types with the same builder.
        macro_rules! build {
            ($pool:ty, $manager:expr) => {{
                let manager = $manager.map_err(|error| error.to_string())?;
                let limit = Some(CONNECT_LIMIT);
                <$pool>::builder(manager)
                    .max_size(LANES + 1)
                    .timeouts(Timeouts { wait: limit, create: limit, recycle: limit })
                    .runtime(Runtime::Tokio1)
                    .build()
                    .map_err(|error| error.to_string())?
            }};
        }
        Ok(match topology.clone() {
            Topology::Node(node) => {
                Self::Node(build!(deadpool_redis::Pool, deadpool_redis::Manager::new(node)))
            }
            Topology::Sentinel { sentinels, master, node } => {
                let tls = matches!(node.addr(), ConnectionAddr::TcpTls { .. }).then(TlsMode::default);
                let node = SentinelNodeConnectionInfo {
                    tls_mode: tls,
                    redis_connection_info: Some(node.redis_settings().clone().into()),
                };
                let role = SentinelServerType::Master;
                let manager = sentinel::Manager::new(sentinels, master, Some(node), role);
                Self::Sentinel(build!(sentinel::Pool, manager))
            }
            Topology::Cluster(nodes) => {
                Self::Cluster(build!(cluster::Pool, cluster::Manager::new(nodes, false)))
            }
        })
    }

    /// A new connection, which is ours from then on: after trouble nothing is used again.
    async fn connect(&self) -> Result<Connection, String> {
        Ok(match self {
            Self::Node(pool) => {
                let connection = pool.get().await.map_err(|error| error.to_string())?;
                Connection::Node(deadpool_redis::Connection::take(connection))
            }
            Self::Sentinel(pool) => {
                let connection = pool.get().await.map_err(|error| error.to_string())?;
                Connection::Node(sentinel::Connection::take(connection))
            }
            Self::Cluster(pool) => {
                let connection = pool.get().await.map_err(|error| error.to_string())?;
                Connection::Cluster(cluster::Connection::take(connection))
            }
        })
    }
}

// === impl Connection ===

impl ConnectionLike for Connection {
    fn req_packed_command<'a>(&'a mut self, command: &'a Cmd) -> RedisFuture<'a, Value> {
        match self {
            Self::Node(connection) => connection.req_packed_command(command),
            Self::Cluster(connection) => connection.req_packed_command(command),
        }
    }

    fn req_packed_commands<'a>(
        &'a mut self,
        pipeline: &'a Pipeline,
        offset: usize,
        count: usize,
    ) -> RedisFuture<'a, Vec<Value>> {
        match self {
            Self::Node(connection) => connection.req_packed_commands(pipeline, offset, count),
            Self::Cluster(connection) => connection.req_packed_commands(pipeline, offset, count),
        }
    }

    fn get_db(&self) -> i64 {
        match self {
            Self::Node(connection) => connection.get_db(),
            Self::Cluster(connection) => connection.get_db(),
        }
    }
}
