//! What the readers of one client may have under way together.
//!
//! Each reader may run ahead as if it were alone ([`WINDOW_BYTES_MAX`]), and HTTP/2 gives a client a hundred
//! readers for the price of one connection. So the readers of one [`Share`] divide one window: each may have its
//! part of it, and all together no more than all of it. A reader that comes when others have used it up (a paused
//! film, and somebody seeks in another one) still gets the smallest run, or it would crawl.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::readahead::{RUN_BYTES_MIN, WINDOW_BYTES_MAX};

/// One client's readers. A reader that is given none is alone.
#[derive(Debug, Default)]
pub struct Share {
    readers: AtomicU64,
    ahead_bytes: AtomicU64,
}

/// A reader's part of a share, until dropped.
#[derive(Debug)]
pub(crate) struct Part {
    /// `None` for a reader that is alone, so that it costs nothing.
    share: Option<Arc<Share>>,
    /// Whether it has read at all: one that waits for its turn takes nothing of the others'.
    is_reading: bool,
    /// What this reader has under way.
    ahead_bytes: u64,
}

// === impl Part ===

impl Part {
    pub(crate) fn alone() -> Self {
        Self { share: None, is_reading: false, ahead_bytes: 0 }
    }

    pub(crate) fn of(share: Arc<Share>) -> Self {
        Self { share: Some(share), is_reading: false, ahead_bytes: 0 }
    }

    /// How far this reader may run ahead now: at least the smallest run.
    pub(crate) fn ahead_bytes_max(&mut self) -> u64 {
        let Some(share) = &self.share else { return WINDOW_BYTES_MAX };
        if !self.is_reading {
            self.is_reading = true;
            share.readers.fetch_add(1, Ordering::Relaxed);
        }
        let readers = share.readers.load(Ordering::Relaxed);
        let others = share.ahead_bytes.load(Ordering::Relaxed).saturating_sub(self.ahead_bytes);
        (WINDOW_BYTES_MAX / readers).min(WINDOW_BYTES_MAX.saturating_sub(others)).max(RUN_BYTES_MIN)
    }

    /// The reader has so much under way now.
    pub(crate) fn is_ahead(&mut self, bytes: u64) {
        let before = std::mem::replace(&mut self.ahead_bytes, bytes);
        let Some(share) = self.share.as_ref().filter(|_| bytes != before) else { return };
        if bytes > before {
            share.ahead_bytes.fetch_add(bytes - before, Ordering::Relaxed);
        } else {
            share.ahead_bytes.fetch_sub(before - bytes, Ordering::Relaxed);
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        self.is_ahead(0);
        if let Some(share) = self.share.as_ref().filter(|_| self.is_reading) {
            share.readers.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn readers_divide_one_window() {
        let share = Arc::new(Share::default());
        let mut one = Part::of(share.clone());
        assert_eq!(one.ahead_bytes_max(), WINDOW_BYTES_MAX);
        one.is_ahead(WINDOW_BYTES_MAX);
        assert_eq!(one.ahead_bytes_max(), WINDOW_BYTES_MAX, "its own bytes do not count against it");
        let mut other = Part::of(share.clone());
        assert_eq!(one.ahead_bytes_max(), WINDOW_BYTES_MAX, "the other one has not begun");
        assert_eq!(other.ahead_bytes_max(), RUN_BYTES_MIN, "the first one has taken it all");
        assert_eq!(one.ahead_bytes_max(), WINDOW_BYTES_MAX / 2);
        one.is_ahead(WINDOW_BYTES_MAX / 4);
        assert_eq!(other.ahead_bytes_max(), WINDOW_BYTES_MAX / 2);
        other.is_ahead(WINDOW_BYTES_MAX / 2);
        drop(one);
        assert_eq!(other.ahead_bytes_max(), WINDOW_BYTES_MAX);
        drop(other);
        let left = [&share.readers, &share.ahead_bytes].map(|count| count.load(Ordering::Relaxed));
        assert_eq!(left, [0, 0]);
    }
}
