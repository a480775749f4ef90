//! The account of one connection.

use std::sync::Arc;

use super::Metrics;
use super::labels::Listener;

/// Counts one connection; dropped when it has ended.
#[derive(Debug)]
pub(crate) struct Connected {
    metrics: Arc<Metrics>,
    listener: Listener,
}

// === impl Connected ===

impl Connected {
    /// A connection came in by `listener`.
    pub(crate) fn begin(metrics: Arc<Metrics>, listener: Listener) -> Self {
        metrics.connections_accepted.increment(listener);
        metrics.connections_open.increment(listener);
        Self { metrics, listener }
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.metrics.connections_open.decrement(self.listener);
    }
}
