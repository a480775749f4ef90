//! `GET /api/videos/{id}/events`: what happens to a video, as server-sent events (WHATWG HTML §9.2).
//!
//! Events are rows of the catalog with numbers, so any replica goes on after the `Last-Event-ID` of another one, and a
//! client that was away misses nothing. The stream ends when its client may no longer see the video, or the gateway
//! drains; a browser then asks again by itself.
//!
//! All who follow a video here share one look at the catalog for its newest event ([`Followed`]). Only when there is
//! one does each of them ask what it is, and whether it may still be told.

use std::collections::VecDeque;

use bytes::Bytes;
use futures_util::stream;
use http::Response;
use http::header::HeaderMap;
use seekway_catalog::{Catalog, Event, Progress, VideoId, Videos};
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::document::{ProgressDocument, timestamp};
use super::followed::{Followed, Newest};
use super::{of_video, seen};
use crate::caller::Caller;
use crate::delivery::body::Payload;
use crate::event_stream::{self, HEARTBEAT_EVERY};
use crate::respond::Problem;

/// Rows of the catalog at a time.
const BATCH: u32 = 100;

/// What is said of an event.
#[derive(Serialize)]
struct EventDocument<'a> {
    kind: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    detail: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<ProgressDocument>,
    at: String,
}

/// One client's place in the events of a video.
struct Follower {
    catalog: Catalog,
    caller: Caller,
    video: VideoId,
    newest: watch::Receiver<Newest>,
    /// The last one that was sent.
    number: i64,
    ready: VecDeque<Event>,
    /// As it was when `ready` was looked up.
    progress: Option<Progress>,
    heard: Instant,
    ending: CancellationToken,
}

/// Streams all events after the one that `Last-Event-ID` names, and then new ones as they happen, until `ending`.
pub(crate) async fn stream(
    catalog: &Catalog,
    followed: &Followed,
    caller: Caller,
    video: VideoId,
    request: &HeaderMap,
    ending: CancellationToken,
) -> Result<Response<Payload>, Problem> {
    seen(catalog, caller, video).await?;
    let number = match event_stream::last_event_id(request)? {
        None => 0,
        Some(text) => text.parse().ok().filter(|number| *number >= 0).ok_or(Problem::BadEventId)?,
    };
    // What has never been is of a database that was lost: its client begins anew.
    let newest = catalog.videos().newest_event(video).await.map_err(of_video)?;
    let number = if newest.is_some_and(|newest| newest < number) { 0 } else { number };
    let place = Follower {
        catalog: catalog.clone(),
        caller,
        video,
        newest: followed.follow(catalog, video),
        number,
        ready: VecDeque::new(),
        progress: None,
        heard: Instant::now(),
        ending,
    };
    let events = stream::unfold(place, |mut place| async { Some((place.next().await?, place)) });
    Ok(event_stream::response(events))
}

// === impl Follower ===

impl Follower {
    /// The text of the next event, or of a heartbeat; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.number = event.number;
                self.heard = Instant::now();
                return Some(text(&event, self.progress));
            }
            // A video that is gone has none.
            let newest = (*self.newest.borrow_and_update())?;
            if newest > self.number {
                // What comes after a failure, its client is told by asking again.
                self.look().await.ok()?;
                if !self.ready.is_empty() {
                    continue;
                }
            }
            tokio::select! {
                changed = self.newest.changed() => changed.ok()?,
                () = sleep_until(self.heard + HEARTBEAT_EVERY) => {
                    self.heard = Instant::now();
                    return Some(Bytes::from_static(b":\n\n"));
                }
                () = self.ending.cancelled() => return None,
            }
        }
    }

    async fn look(&mut self) -> Result<(), Problem> {
        let events = self.catalog.videos().events_after(self.video, self.number, BATCH).await;
        self.ready.extend(events.map_err(of_video)?);
        // One of them may be that it is private now.
        self.progress = seen(&self.catalog, self.caller, self.video).await?.progress;
        Ok(())
    }
}

fn text(event: &Event, progress: Option<Progress>) -> Bytes {
    let document = EventDocument {
        kind: &event.kind,
        detail: &event.payload,
        progress: progress.filter(|_| event.kind == Videos::PROGRESS).map(ProgressDocument::from),
        at: timestamp(event.created_ms),
    };
    let json = serde_json::to_string(&document).expect("documents have text for keys");
    Bytes::from(format!("id: {}\nevent: {}\ndata: {json}\n\n", event.number, event.kind))
}
