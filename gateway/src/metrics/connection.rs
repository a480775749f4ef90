//! The account of one connection.

use std::error::Error;
use std::io;
use std::sync::Arc;

use super::Metrics;
use super::labels::{Ending, Listener, Protocol};
use crate::server::Ended;

type BoxError = Box<dyn Error + Send + Sync>;

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
    /// How a connection ended, by the error that it ended with.
    pub(crate) fn of(served: &Result<(), BoxError>) -> Self {
        let Err(error) = served else { return Self::Closed };
        let mut cause: Option<&(dyn Error + 'static)> = Some(error.as_ref());
        while let Some(error) = cause {
            let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            if let Some(ended) = inner.and_then(|inner| inner.downcast_ref()) {
                return match ended {
                    Ended::Idle => Self::Idle,
                    Ended::Handshake => Self::HandshakeTimeout,
                    Ended::Head => Self::HeadTimeout,
                    Ended::Window | Ended::Stalled => Self::Stalled,
                    Ended::Refused => Self::Refused,
                };
            }
            cause = error.source();
        }
        Self::Error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_endings_are_told_from_others() {
        let ours = || io::Error::new(io::ErrorKind::TimedOut, Ended::Stalled);
        assert_eq!(Ending::of(&Ok(())), Ending::Closed);
        assert_eq!(Ending::of(&Err(ours().into())), Ending::Stalled);
        assert_eq!(Ending::of(&Err(io::Error::other("a reset").into())), Ending::Error);
    }
}
