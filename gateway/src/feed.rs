//! The feed of events, as every replica looks after it and as programs hear it: `GET /api/events`.
//!
//! [`Feed::serve`] gives what has happened its place, several times a second, lets go of what is old, and remembers the
//! newest events. Whoever listens here reads those from memory, so that a thousand listeners ask the database no more often
//! than one does; who has fallen behind them, or comes back from elsewhere, reads pages of the catalog until it has caught
//! up. Nothing is queued for a listener: it takes the next event when it has sent the one before, and one that takes nothing
//! is cut by `--write-stall-timeout` and goes on where it was.

mod document;
mod listener;
mod page;

use std::sync::Arc;
use std::time::{Duration, Instant};

use seekway_catalog::{Catalog, Error, FeedEvent, Following, Viewer};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

pub(crate) use document::{EventDocument, EventsDocument};
pub(crate) use listener::listen;
pub(crate) use page::page;

/// Between two looks at the catalog.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Events that are given their place at a time, and that are remembered at most.
const BATCH: u32 = 256;
/// Between two looks for what is old.
const TRIM_EVERY: Duration = Duration::from_mins(1);

/// What this replica knows of the feed. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Feed(Arc<watch::Sender<Recent>>);

/// The newest events: all that are after one place, up to another.
#[derive(Clone, Default)]
struct Recent {
    after: i64,
    events: Vec<Arc<FeedEvent>>,
    last: i64,
}

// === impl Feed ===

impl Feed {
    pub(crate) fn new() -> Self {
        Self(Arc::new(watch::Sender::new(Recent::default())))
    }

    /// Tells when there is more.
    pub(crate) fn grows(&self) -> Grows {
        Grows(self.0.subscribe())
    }

    /// Looks after it until `stop`. Events are kept for `kept_ms`.
    pub(crate) async fn serve(self, catalog: Catalog, kept_ms: i64, stop: CancellationToken) {
        let (mut is_away, mut trimmed) = (false, None::<Instant>);
        while !stop.is_cancelled() {
            let looked = self.look(&catalog).await;
            if let (Err(error), false) = (&looked, is_away) {
                warn!(error = error.chain(), "cannot look after the feed of events");
            }
            is_away = looked.is_err();
            if trimmed.is_none_or(|at| at.elapsed() >= TRIM_EVERY) {
                trimmed = Some(Instant::now());
                match catalog.feed().trim(kept_ms).await {
                    Ok(gone) => debug!(gone, "old events went"),
                    Err(error) => warn!(error = error.chain(), "old events stay for now"),
                }
            }
            if !matches!(looked, Ok(true)) {
                tokio::select! {
                    () = sleep(LOOK_EVERY) => {}
                    () = stop.cancelled() => {}
                }
            }
        }
    }

    /// One look; whether there may be more at once.
    async fn look(&self, catalog: &Catalog) -> Result<bool, Error> {
        let moved = catalog.feed().advance(BATCH).await?;
        let before = self.0.borrow().last;
        let newest = catalog.feed().newest().await?;
        if newest == before {
            return Ok(false);
        }
        // Before the first look nobody needs what is old.
        let place = if before == 0 { newest } else { before };
        let recent = match catalog.feed().after(Viewer::Admin, Some(place), BATCH).await? {
            Following::Events(events, last) => {
                Recent { after: place, events: events.into_iter().map(Arc::new).collect(), last }
            }
            Following::Lost(newest) => Recent { after: newest, events: Vec::new(), last: newest },
        };
        self.0.send_modify(|known| {
            if known.last == recent.after && known.events.len() + recent.events.len() <= BATCH as usize {
                known.events.extend(recent.events);
                known.last = recent.last;
            } else {
                *known = recent;
            }
        });
        Ok(moved == BATCH as usize || self.0.borrow().last < newest)
    }
}

/// Hears that the feed has grown.
pub(crate) struct Grows(watch::Receiver<Recent>);

// === impl Grows ===

impl Grows {
    /// Waits until it has since the last time. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
