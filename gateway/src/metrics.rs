//! What `/metrics` on the admin listener says.
//!
//! A metric is one row of the table below: its name, its labels with all their values, and its meaning. The row
//! makes the number that is counted, the text that Prometheus reads and the line in `docs/metrics.md`, so none
//! of them can be without the others. The name says the rest, by Prometheus' conventions: `_total` is a
//! counter, `_seconds` and `_bytes` are units.
//!
//! Counting is an addition to a number of the thread's own: no look-ups, no locks, no contention
//! (`seekway_cache::Cells`).

mod connection;
#[cfg(test)]
mod documentation;
mod labels;
mod origin;
mod process;
mod request;
mod table;
mod transcoding;
mod uploads;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::Response;
use http::header::{self, HeaderValue};
use seekway_cache::Stats;
use seekway_storage::origin::EndpointState;

use crate::delivery::body::Payload;
use crate::jobs::Work;
use crate::respond::Problem;
use origin::Origin;
use process::Process;
use table::{Counter, Durations, Gauge, Seconds, Table};
use transcoding::Transcoding;

pub(crate) use connection::{Connected, Speaking};
pub(crate) use labels::{Ending, Outcome};
pub(crate) use request::Meter;
pub(crate) use uploads::{Left, Memory as UploadMemory, UploadEnd, Uploads as UploadMetrics, Writing};

use labels::{Handshake, Kind, Limit, Listener, Protocol, Status, Tier};

/// Every number that the gateway counts itself, and the table of all that it shows.
#[derive(Debug)]
pub(crate) struct Metrics {
    requests: Counter<(Kind, Status, Protocol)>,
    requests_running: Gauge<Protocol>,
    responses: Counter<Outcome>,
    refused: Counter<Limit>,
    first_byte: Durations<Tier>,
    duration: Durations<Tier>,
    body_bytes: Counter<Protocol>,
    paced: Seconds,
    connections_accepted: Counter<Listener>,
    accept_errors: Counter<()>,
    connections_open: Gauge<Listener>,
    connections_speaking: Gauge<(Listener, Protocol)>,
    connections_ended: Counter<(Listener, Ending)>,
    handshakes: Counter<Handshake>,
    origin: Origin,
    pub(crate) uploads: UploadMetrics,
    pub(crate) transcoding: Transcoding,
    started: Duration,
    table: Table,
}

/// What connections have of the memory that they share, in bytes.
pub(crate) struct Connections {
    /// The most that the process and its sockets take.
    pub(crate) limit: u64,
    pub(crate) sockets: u64,
    pub(crate) sockets_leased: u64,
    pub(crate) frames: u64,
}

/// What is read for one scrape.
pub(crate) struct Now {
    cache: Stats,
    memory: Connections,
    uploads: UploadMemory,
    jobs: [u64; 5],
    work: Option<Work>,
    rings: Option<[u64; 2]>,
    endpoints: Vec<EndpointState>,
    process: Process,
    started: Duration,
}

// === impl Metrics ===

impl Metrics {
    /// Every metric there is, in the order of the documentation.
    pub(crate) fn new() -> Self {
        let mut table = Table::default();
        let t = &mut table;
        Self {
            requests: t.section("Requests").counter(
                "seekway_requests_total",
                "Requests answered, by what was asked for and with what status.",
            ),
            requests_running: t.gauge("seekway_requests_running", "Requests that have not ended."),
            responses: t.counter(
                "seekway_responses_total",
                "Requests that have ended, by how; `unanswered` clients left before there was a status.",
            ),
            refused: t.counter(
                "seekway_requests_refused_total",
                "Requests refused for a limit: the client's rate, the requests under way, memory, attempts to log in, or passwords to check.",
            ),
            first_byte: t.durations(
                "seekway_first_byte_seconds",
                "From a request's head to its answer's first byte, by where that was; `none` is of no object.",
            ),
            duration: t.durations(
                "seekway_response_seconds",
                "From a request's head to the end of its response, by where the first byte was.",
            ),
            body_bytes: t.counter("seekway_response_body_bytes_total", "Bytes given to connections, without headers."),
            paced: t.seconds(
                "seekway_responses_paced_seconds_total",
                "Time that responses were held back so that a client gets no more than its bytes in a second.",
            ),
            connections_accepted: t
                .section("Connections")
                .counter("seekway_connections_accepted_total", "Connections accepted."),
            accept_errors: t.counter(
                "seekway_accept_errors_total",
                "Connections that could not be accepted: no descriptors were left, most likely.",
            ),
            connections_open: t.gauge("seekway_connections_open", "Connections that have not ended."),
            connections_speaking: t.gauge(
                "seekway_connections_speaking",
                "Connections whose handshake is over, by the HTTP they speak.",
            ),
            connections_ended: t.counter(
                "seekway_connections_ended_total",
                "Connections that have ended, by why; `refused` had a client with as many as it may have, and `proxy_header` a proxy without a good one.",
            ),
            handshakes: t.counter(
                "seekway_tls_handshakes_total",
                "TLS handshakes, by whether they came to a good end; one that failed is also a connection ended.",
            ),
            origin: {
                cache_rows(t);
                redis_rows(t.section("Redis"));
                Origin::new(t.section("Origin"))
            },
            uploads: UploadMetrics::new(t.section("Uploads")),
            transcoding: Transcoding::new(t.section("Transcoding")),
            started: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default(),
            table: {
                process_rows(t.section("Process"));
                table
            },
        }
    }

    /// Shows how the endpoints of `origin` are, from now on.
    pub(crate) fn watch(&self, origin: seekway_storage::origin::Origin) {
        self.origin.watch(origin);
    }

    /// A request was answered with `problem`.
    pub(crate) fn problem(&self, problem: &Problem) {
        if let Some(limit) = Limit::of(problem) {
            self.refused.increment(limit);
        }
    }

    /// A TLS handshake has ended.
    pub(crate) fn handshake(&self, is_good: bool) {
        self.handshakes.increment(if is_good { Handshake::Completed } else { Handshake::Failed });
    }

    /// A connection could not be accepted.
    pub(crate) fn cannot_accept(&self) {
        self.accept_errors.increment(());
    }

    /// The page.
    pub(crate) fn page(&self, cache: Stats, memory: Connections, uploads: UploadMemory) -> Response<Payload> {
        let now = Now {
            cache,
            memory,
            uploads,
            jobs: self.transcoding.jobs(),
            work: self.transcoding.work.get(),
            rings: self.transcoding.rings(),
            endpoints: self.origin.endpoints(),
            process: Process::read(),
            started: self.started,
        };
        let mut response = Response::new(Payload::Small(Bytes::from(self.table.render(&now))));
        let media_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
        response.headers_mut().insert(header::CONTENT_TYPE, media_type);
        response
    }
}

/// Segments, fills, metadata, and the memory that pays for them.
fn cache_rows(t: &mut Table) {
    t.section("Cache").read_by(
        "seekway_cache_delivered_bytes_total",
        "Bytes handed to responses, by where they were: memory, Redis, another response's fill, a fill of its own.",
        ("tier", &["memory", "redis", "joined", "filled"]),
        |n, tier| {
            let cache = &n.cache;
            [cache.memory_hit_bytes, cache.redis_hit_bytes, cache.joined_hit_bytes, cache.fill_hit_bytes][tier]
        },
    )
    .read("seekway_cache_store_bytes_total", "Bytes that landed from the store.", |n| n.cache.store_bytes)
    .read("seekway_cache_memory_hits_total", "Segments wanted and found in memory.", |n| n.cache.memory_hits)
    .read("seekway_cache_memory_misses_total", "Segments wanted and not found in memory.", |n| n.cache.memory_misses)
    .read("seekway_cache_memory_inserts_total", "Segments offered to memory; those that are not there were evicted or not admitted.", |n| n.cache.memory_inserts)
    .read("seekway_cache_memory_segments", "Segments in memory.", |n| n.cache.memory_segments)
    .read("seekway_cache_memory_bytes", "Bytes in the memory tier, with overhead.", |n| n.cache.memory_bytes)
    .read("seekway_cache_fills_started_total", "Fills started.", |n| n.cache.fills_started)
    .read("seekway_cache_fills_joined_total", "Readers that joined another reader's fill.", |n| n.cache.fills_joined)
    .read("seekway_cache_fills_resumed_total", "Broken bodies that were resumed.", |n| n.cache.fills_resumed)
    .read("seekway_cache_fills_failed_total", "Fills that ended with an error.", |n| n.cache.fills_failed)
    .read("seekway_cache_fills_stopped_total", "Fills stopped because nobody wanted them.", |n| n.cache.fills_stopped)
    .read("seekway_cache_fills_running", "Fills that run now.", |n| n.cache.fills_running)
    .read_times("seekway_cache_fill_seconds", "How long fills took that brought all their bytes.", |n| &n.cache.fill_times)
    .read("seekway_cache_metadata_requests_total", "Metadata requests sent to the store.", |n| n.cache.metadata_requests)
    .read("seekway_cache_metadata_stale_total", "Answers from metadata past its time.", |n| n.cache.metadata_stale);
    t.section("Memory")
        .read("seekway_budget_capacity_bytes", "Bytes that may be held.", |n| n.cache.budget_capacity_bytes)
        .read(
            "seekway_memory_limit_bytes",
            "The most that the process and its sockets take, by the configuration.",
            |n| n.memory.limit,
        )
        .read("seekway_budget_in_use_bytes", "Bytes held or reserved, the memory tier included.", |n| {
            n.cache.budget_in_use_bytes
        })
        .read("seekway_budget_waiting", "Readers that wait for memory.", |n| n.cache.budget_waiting)
        .read_times(
            "seekway_budget_wait_seconds",
            "How long readers waited for memory, also those that gave up.",
            |n| &n.cache.budget_waits,
        )
        .read("seekway_budget_refused_total", "Responses that waited for memory in vain.", |n| {
            n.cache.budget_refusals
        })
        .read("seekway_sockets_capacity_bytes", "What clients' sockets share of the kernel's memory.", |n| {
            n.memory.sockets
        })
        .read("seekway_sockets_leased_bytes", "What of that connections may use that write or upload.", |n| {
            n.memory.sockets_leased
        })
        .read("seekway_http2_gathered_bytes", "Buffers in which frames of HTTP/2 wait to be written.", |n| {
            n.memory.frames
        });
}

/// The tier that all replicas share; all zero without one.
fn redis_rows(t: &mut Table) {
    t.read("seekway_redis_up", "1 while Redis is used, 0 while its circuit breaker is open.", |n| {
        n.cache.redis_up
    })
    .read("seekway_redis_breaker_opened_total", "How often the circuit breaker opened.", |n| {
        n.cache.redis_opened
    })
    .read_times(
        "seekway_redis_command_seconds",
        "How long Redis took to answer, of what came in time.",
        |n| &n.cache.redis_times,
    )
    .read("seekway_redis_timeouts_total", "Commands that were not answered in time.", |n| {
        n.cache.redis_timeouts
    })
    .read("seekway_redis_errors_total", "Commands that failed.", |n| n.cache.redis_errors)
    .read("seekway_redis_segments_read_total", "Segments found.", |n| n.cache.redis_segments_read)
    .read("seekway_redis_segments_missed_total", "Looks that found no segment.", |n| n.cache.redis_misses)
    .read("seekway_redis_read_bytes_total", "Bytes of segments found.", |n| n.cache.redis_read_bytes)
    .read("seekway_redis_corrupt_total", "Values that were not what their key says.", |n| {
        n.cache.redis_corrupt
    })
    .read("seekway_redis_records_read_total", "Objects that another replica had asked about.", |n| {
        n.cache.redis_records
    })
    .read("seekway_redis_segments_written_total", "Segments written.", |n| n.cache.redis_writes)
    .read(
        "seekway_redis_writes_dropped_total",
        "Segments not written: too many waited, or Redis was in trouble.",
        |n| n.cache.redis_writes_dropped,
    )
    .read("seekway_redis_write_queue_bytes", "Bytes that wait to be written.", |n| n.cache.redis_queued_bytes)
    .read_by(
        "seekway_redis_replica_requests_total",
        "Requests between replicas for segments that one of them fetches or has.",
        ("direction", &["sent", "received"]),
        |n, direction| [n.cache.redis_asked, n.cache.redis_asked_by_others][direction],
    )
    .read_by(
        "seekway_redis_replica_waits_total",
        "Waits for another replica's segments, by whether they came.",
        ("outcome", &["served", "vain"]),
        |n, outcome| [n.cache.redis_waits_served, n.cache.redis_waits_vain][outcome],
    );
}

/// What Prometheus' own clients tell, and which gateway this is.
fn process_rows(t: &mut Table) {
    t.read_by(
        "seekway_build_info",
        "Always 1: which version this is.",
        ("version", &[env!("CARGO_PKG_VERSION")]),
        |_, _| 1,
    )
    .read_time("process_start_time_seconds", "When the gateway started, since 1970.", |n| n.started)
    .read_time("process_cpu_seconds_total", "Processor time, user and system.", |n| n.process.cpu)
    .read("process_resident_memory_bytes", "Memory in use.", |n| n.process.resident_bytes)
    .read("process_virtual_memory_bytes", "Address space in use.", |n| n.process.virtual_bytes)
    .read("process_threads", "Threads.", |n| n.process.threads)
    .read("process_open_fds", "Descriptors in use: connections and open files.", |n| n.process.open_fds)
    .read("process_max_fds", "Descriptors that may be in use.", |n| n.process.max_fds);
}
