//! What `/metrics` on the admin listener says, in Prometheus' text format.

use std::fmt::Write;

use bytes::Bytes;
use http::Response;
use http::header::{self, HeaderValue};
use seekway_cache::Stats;

use crate::delivery::body::Payload;

/// A metric: its name (with its unit), its kind, what it means, and where it is read.
type Metric = (&'static str, &'static str, &'static str, fn(&Stats) -> u64);

/// Every metric there is; `docs/http-api.md` lists the same.
const METRICS: &[Metric] = &[
    ("seekway_cache_memory_hit_bytes_total", "counter", "Bytes delivered from the memory tier.", |s| {
        s.memory_hit_bytes
    }),
    ("seekway_cache_fill_hit_bytes_total", "counter", "Bytes delivered from running fills.", |s| {
        s.fill_hit_bytes
    }),
    ("seekway_cache_store_bytes_total", "counter", "Bytes that landed from the store.", |s| s.store_bytes),
    ("seekway_cache_fills_started_total", "counter", "Fills started.", |s| s.fills_started),
    ("seekway_cache_fills_joined_total", "counter", "Readers that joined another reader's fill.", |s| {
        s.fills_joined
    }),
    ("seekway_cache_fills_resumed_total", "counter", "Broken bodies that were resumed.", |s| s.fills_resumed),
    ("seekway_cache_fills_failed_total", "counter", "Fills that ended with an error.", |s| s.fills_failed),
    ("seekway_cache_fills_stopped_total", "counter", "Fills stopped because nobody wanted them.", |s| {
        s.fills_stopped
    }),
    ("seekway_cache_metadata_requests_total", "counter", "Metadata requests sent to the store.", |s| {
        s.metadata_requests
    }),
    ("seekway_cache_metadata_stale_total", "counter", "Answers from metadata past its time.", |s| {
        s.metadata_stale
    }),
    ("seekway_cache_fills_running", "gauge", "Fills that run now.", |s| s.fills_running),
    ("seekway_cache_memory_bytes", "gauge", "Bytes in the memory tier, with overhead.", |s| s.memory_bytes),
    ("seekway_budget_in_use_bytes", "gauge", "Bytes held or reserved, the memory tier included.", |s| {
        s.budget_in_use_bytes
    }),
    ("seekway_budget_capacity_bytes", "gauge", "Bytes that may be held.", |s| s.budget_capacity_bytes),
    ("seekway_budget_waiting", "gauge", "Readers that wait for memory.", |s| s.budget_waiting),
];

/// The one that the configuration says.
const MEMORY_LIMIT: (&str, &str) =
    ("seekway_memory_limit_bytes", "The most that the process and its sockets take, by the configuration.");

/// All metrics.
pub(crate) fn render(stats: &Stats, memory_limit: u64) -> Response<Payload> {
    let mut text = String::with_capacity(4096);
    for (name, kind, help, read) in METRICS {
        write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {}\n", read(stats))
            .expect("writing to a string cannot fail");
    }
    let (name, help) = MEMORY_LIMIT;
    write!(text, "# HELP {name} {help}\n# TYPE {name} gauge\n{name} {memory_limit}\n")
        .expect("writing to a string cannot fail");
    let mut response = Response::new(Payload::Small(Bytes::from(text)));
    let media_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    response.headers_mut().insert(header::CONTENT_TYPE, media_type);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_documentation_lists_every_metric_as_it_is() {
        let page = include_str!("../../docs/http-api.md");
        let documented: Vec<_> = page.lines().filter(|line| line.starts_with("| `seekway_")).collect();
        let mut rows: Vec<_> =
            METRICS.iter().map(|(name, kind, help, _)| format!("| `{name}` | {kind} | {help} |")).collect();
        rows.push(format!("| `{}` | gauge | {} |", MEMORY_LIMIT.0, MEMORY_LIMIT.1));
        assert_eq!(documented, rows, "docs/http-api.md and METRICS differ");
    }
}
