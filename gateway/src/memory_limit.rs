//! The most memory that the gateway and its sockets take, as a sum of what the configuration allows.
//!
//! `docs/configuration.md` has the same sum for operators, `/metrics` shows it, and the soak scenarios hold the
//! running process to it.

use seekway_cache::{METADATA_BYTES_MAX, RedisConfig};

use crate::accounts::PASSWORD_BYTES;
use crate::config::{Config, Listing, StorageBackend};
use crate::server::{
    BACKLOG_MAX, BLOCKING_THREADS_MAX, RECEIVE_BYTES, SOCKET_FLOOR_BYTES, STREAMS_PER_CONNECTION,
    TLS_BUFFER_BYTES, WINDOW_BYTES_MIN,
};

/// The process before its first connection: code, runtimes, the S3 client, the cache's own tables.
const BASE: u64 = 32 << 20;
/// Connections that wait to be accepted, of three listeners, with what their clients may send until then.
const BACKLOG_BYTES: u64 = 3 * BACKLOG_MAX as u64 * (36 << 10);
/// What a connection takes of the process besides its read buffer: its task, its timers, hyper's state, the
/// reader. Measured with 10,000 idle connections: 16.9 KiB, their first read buffers included.
const CONNECTION: u64 = 16 << 10;
/// What a TLS connection has beside the encrypted bytes that its client has not taken: keys, and a record being read.
const TLS_CONNECTION: u64 = 32 << 10;
/// What an open request of HTTP/2 takes besides its segments: its task, its reader, its place in the connection.
const STREAM: u64 = 8 << 10;
/// Beside what the link counts, a command or an answer of Redis has its own buffer while it is written or parsed.
const REDIS_COPIES: u64 = 2;
/// The read buffer of a connection to S3, which grows with what arrives at once and keeps its size: what hyper
/// allows it (8 KiB and a hundred pages, 408 KiB) and the connection's own state.
const S3_CONNECTION: u64 = 448 << 10;
/// What a read of a local file holds: a chunk in hand and the next one being read.
const LOCAL_READ: u64 = 512 << 10;
/// h2 keeps a note of some 256 bytes beside each frame that waits to be read, and takes frames as small as that without
/// counting them: what a window lets in takes up to twice as much.
const WINDOW_COPIES: u64 = 2;
/// What the allocator keeps beside the buffers that are in use, as a fraction of them.
const SLACK_FRACTION: u64 = 8;

/// Bytes of resident memory and of clients' sockets in the kernel, together.
pub(crate) fn bytes(config: &Config) -> u64 {
    let cache = config.cache();
    let buffers = cache.memory_bytes as u64 + cache.budget_bytes as u64;
    let receive = 2 * RECEIVE_BYTES as u64; // The kernel doubles it.
    let tls = if config.listeners.tls().is_some() { TLS_CONNECTION + TLS_BUFFER_BYTES as u64 } else { 0 };
    let streams = STREAMS_PER_CONNECTION as u64 * STREAM;
    let connection = CONNECTION
        + tls
        + streams
        + config.listeners.header_bytes_max() as u64
        + receive
        + WINDOW_COPIES * WINDOW_BYTES_MIN as u64
        + SOCKET_FLOOR_BYTES as u64;
    let store = match config.storage_backend() {
        StorageBackend::Local => (config.listeners.threads() * BLOCKING_THREADS_MAX) as u64 * LOCAL_READ,
        StorageBackend::S3 => config.s3_connections_max() as u64 * S3_CONNECTION,
    };
    let uploads = if config.takes_uploads() { config.uploads.memory_bytes() as u64 } else { 0 };
    let passwords = match config.accounts_open_to() {
        Listing::Nobody => 0,
        _ => PASSWORD_BYTES,
    };
    [
        uploads + uploads / SLACK_FRACTION + WINDOW_COPIES * config.upload_windows_bytes() as u64,
        passwords,
        buffers + buffers / SLACK_FRACTION,
        config.socket_memory_bytes() as u64 + config.write_buffers_bytes() as u64,
        (config.listeners.max_connections as u64).saturating_mul(connection),
        store,
        cache.redis.map_or(0, |_| REDIS_COPIES * RedisConfig::bytes_max(cache.segmentation)),
        METADATA_BYTES_MAX,
        BACKLOG_BYTES,
        BASE,
    ]
    .into_iter()
    .fold(0, u64::saturating_add)
}
