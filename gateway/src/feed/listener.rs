//! `GET /api/events` as server-sent events (WHATWG HTML §9.2).

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, Response};
use seekway_catalog::{Catalog, FeedEvent, Following, Viewer};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::document::{EventDocument, Place};
use super::{Feed, Recent, page};
use crate::accounts;
use crate::caller::Caller;
use crate::delivery::body::Payload;
use crate::event_stream::{self, HEARTBEAT_EVERY};
use crate::metrics::Metrics;
use crate::respond::Problem;

/// Then the stream ends, and its client comes again and proves anew who it is: it may have lost what it could do.
const STREAM_FOR: Duration = Duration::from_mins(15);
/// How soon it comes again; also the first bytes of a stream, by which it knows that it is heard.
const HELLO: &str = "retry: 1000\n\n";

/// Events that a listener has at a time that are not remembered for all: a page of them is some kilobytes.
const PAGE: u32 = 16;

/// One client's place in the feed.
struct Listener {
    catalog: Catalog,
    viewer: Viewer,
    recent: watch::Receiver<Recent>,
    /// All up to here has been sent, or was for others.
    place: i64,
    ready: VecDeque<Arc<FeedEvent>>,
    /// Where it is when `ready` has been sent.
    then: i64,
    /// What is to be said before anything else.
    first: Option<Bytes>,
    heard: Instant,
    ends: Instant,
    ending: CancellationToken,
    _counted: Counted,
}

/// Counts one listener, until dropped.
struct Counted(Arc<Metrics>);

/// Streams what happens after the event that `Last-Event-ID` or `?after=` names, and then what happens, until `ending`.
/// Without either, what happens from now on.
pub(crate) async fn listen(
    catalog: &Catalog,
    feed: &Feed,
    caller: Caller,
    headers: &HeaderMap,
    query: Option<&str>,
    metrics: Arc<Metrics>,
    ending: CancellationToken,
) -> Result<Response<Payload>, Problem> {
    let viewer = hears(caller)?;
    // A client that comes again sends both, and the header says where it is.
    let place = match event_stream::last_event_id(headers)? {
        Some(text) => Some(Place::parse(text).ok_or(Problem::BadEventId)?),
        None => page::place(query.unwrap_or_default())?,
    };
    let recent = feed.0.subscribe();
    let mut listener = Listener {
        catalog: catalog.clone(),
        viewer,
        recent,
        place: 0,
        ready: VecDeque::new(),
        then: 0,
        first: Some(Bytes::from_static(HELLO.as_bytes())),
        heard: Instant::now(),
        ends: Instant::now() + STREAM_FOR,
        ending,
        _counted: Counted::new(metrics),
    };
    match place {
        None => listener.goes_on_at(catalog.feed().newest().await?),
        // While there still is a status that can say that it fails.
        Some(Place(place)) => {
            listener.goes_on_at(place);
            listener.look().await?;
        }
    }
    let events = stream::unfold(listener, |mut listener| async { Some((listener.next().await?, listener)) });
    Ok(event_stream::response(events))
}

/// Whose events somebody hears: their own; all of them, where they see all.
///
/// # Errors
/// For strangers, who have none.
pub(super) fn hears(caller: Caller) -> Result<Viewer, Problem> {
    match caller {
        Caller::Stranger => Err(accounts::Refusal::LogInFirst.into()),
        Caller::Local | Caller::Account { .. } => Ok(caller.viewer()),
    }
}

// === impl Listener ===

impl Listener {
    fn goes_on_at(&mut self, place: i64) {
        (self.place, self.then) = (place, place);
    }

    /// The text of the next event, or of a heartbeat; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(first) = self.first.take() {
                return Some(first);
            }
            if let Some(event) = self.ready.pop_front() {
                self.place = event.number;
                self.heard = Instant::now();
                return Some(text(&event));
            }
            self.place = self.then;
            if self.recent.borrow_and_update().last > self.place {
                // What comes after a failure, its client is told by asking again.
                self.look().await.ok()?;
                continue;
            }
            if Instant::now() >= self.ends {
                return None;
            }
            tokio::select! {
                changed = self.recent.changed() => changed.ok()?,
                () = sleep_until(self.heard + HEARTBEAT_EVERY) => {
                    self.heard = Instant::now();
                    // An event without data is none, but its id counts: what happened to others' is behind.
                    return Some(Bytes::from(format!(":\nid: {}\n\n", Place(self.place))));
                }
                () = sleep_until(self.ends) => {}
                () = self.ending.cancelled() => return None,
            }
        }
    }

    /// Has what follows ready: from memory, or a page of the catalog.
    async fn look(&mut self) -> Result<(), Problem> {
        let is_remembered = {
            let recent = self.recent.borrow();
            let is_remembered = (recent.after..=recent.last).contains(&self.place) && recent.last > 0;
            if is_remembered {
                let news = recent.events.iter().filter(|event| event.number > self.place);
                self.ready.extend(news.filter(|event| event.is_for(self.viewer)).cloned());
                self.then = recent.last;
            }
            is_remembered
        };
        if is_remembered {
            return Ok(());
        }
        match self.catalog.feed().after(self.viewer, Some(self.place), PAGE).await? {
            Following::Events(events, last) => {
                self.ready.extend(events.into_iter().map(Arc::new));
                self.then = last;
            }
            Following::Lost(newest) => {
                self.first = Some(reset(newest));
                self.goes_on_at(newest);
            }
        }
        Ok(())
    }
}

// === impl Counted ===

impl Counted {
    fn new(metrics: Arc<Metrics>) -> Self {
        metrics.webhooks.listens();
        Self(metrics)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.webhooks.leaves();
    }
}

fn text(event: &FeedEvent) -> Bytes {
    let (place, json) = (Place(event.number), EventDocument::from(event).to_json());
    Bytes::from(format!("id: {place}\nevent: {}\ndata: {json}\n\n", event.kind))
}

/// Some of what its client has not heard is gone. What it looks at now is as new as that place.
fn reset(newest: i64) -> Bytes {
    let detail = "What happened since is not kept any more. Look at everything anew.";
    Bytes::from(format!("{HELLO}id: {}\nevent: reset\ndata: {{\"detail\":\"{detail}\"}}\n\n", Place(newest)))
}
