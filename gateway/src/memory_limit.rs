//! The most memory that the gateway and its sockets take, as a sum of what the configuration allows.
//!
//! `docs/configuration.md` has the same sum for operators, `/metrics` shows it, and the soak scenarios hold the
//! running process to it.

use crate::config::Config;
use crate::server::{RECEIVE_BYTES, SOCKET_FLOOR_BYTES};

/// The process before its first connection: code, runtimes, the S3 client, the cache's own tables.
const BASE: u64 = 32 << 20;
/// What a connection takes of the process besides its read buffer: its task, its timers, hyper's state, the
/// reader. Measured with 10,000 paused clients, see `docs/configuration.md`.
const CONNECTION: u64 = 16 << 10;
/// What the allocator keeps beside the buffers that are in use, as a fraction of them.
const SLACK_FRACTION: u64 = 8;

/// Bytes of resident memory and of clients' sockets in the kernel, together.
pub(crate) fn bytes(config: &Config) -> u64 {
    let cache = config.cache();
    let buffers = cache.memory_bytes as u64 + cache.budget_bytes as u64;
    let receive = 2 * RECEIVE_BYTES as u64; // The kernel doubles it.
    let connection = CONNECTION + config.header_bytes_max() as u64 + receive + SOCKET_FLOOR_BYTES as u64;
    [
        buffers + buffers / SLACK_FRACTION,
        config.socket_memory_bytes() as u64,
        (config.max_connections as u64).saturating_mul(connection),
        BASE,
    ]
    .into_iter()
    .fold(0, u64::saturating_add)
}
