//! The account of one connection.

use std::sync::Arc;

use super::Metrics;
use super::labels::{Ending, Listener, Protocol};
use crate::server::Ended;

/// Counts one connection; dropped when it has ended.
#[derive(Debug)]
pub(crate) struct Connected {
    metrics: Arc<Metrics>,
    listener: Listener,
}

/// Counts one connection among those that speak HTTP, until dropped.
#[derive(Debug)]
pub(crate) struct Speaking {
    metrics: Arc<Metrics>,
    labels: (Listener, Protocol),
}

// === impl Connected ===

impl Connected {
    /// A connection came in by `listener`.
    pub(crate) fn begin(metrics: Arc<Metrics>, listener: Listener) -> Self {
        metrics.connections_accepted.increment(listener);
        metrics.connections_open.increment(listener);
        Self { metrics, listener }
    }

    /// What became of it.
    pub(crate) fn ended(self, ending: Ending) {
        self.metrics.connections_ended.increment((self.listener, ending));
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.metrics.connections_open.decrement(self.listener);
    }
}

// === impl Speaking ===

impl Speaking {
    /// The handshake is over, and it is known which HTTP it will be.
    pub(crate) fn begin(metrics: Arc<Metrics>, listener: Listener, is_http2: bool) -> Self {
        let labels = (listener, if is_http2 { Protocol::H2 } else { Protocol::H1 });
        metrics.connections_speaking.increment(labels);
        Self { metrics, labels }
    }
}

impl Drop for Speaking {
    fn drop(&mut self) {
        self.metrics.connections_speaking.decrement(self.labels);
    }
}

// === impl Ending ===

impl Ending {
    /// How a connection ended: as we ended it, or well, or in an error of its own.
    pub(crate) fn of(ended: Option<Ended>, is_well: bool) -> Self {
        match ended {
            Some(Ended::Idle) => Self::Idle,
            Some(Ended::Handshake) => Self::HandshakeTimeout,
            Some(Ended::Head) => Self::HeadTimeout,
            Some(Ended::Window | Ended::Stalled) => Self::Stalled,
            Some(Ended::Refused) => Self::Refused,
            Some(Ended::ProxyHeader) => Self::ProxyHeader,
            Some(Ended::HandshakeFailed) => Self::Handshake,
            None if is_well => Self::Closed,
            None => Self::Error,
        }
    }
}
