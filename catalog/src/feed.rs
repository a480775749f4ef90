//! The feed: what happened to videos, their jobs and webhooks, in one order for everybody who is told of it.
//!
//! What causes an event writes it into an inbox, in the same transaction. Whoever looks after the feed moves it from there
//! into the feed, one at a time, so that numbers become visible in their order: a reader that goes on after the last one it
//! has seen misses nothing. (A sequence alone gives a smaller number to a transaction that ends later; and writers that
//! waited for each other, as those of `changes.rs` do, would have to lock all else before.) The same transaction makes
//! the deliveries of the webhooks that are to be told, so each event is for each of them once.
//!
//! Old events go, oldest first; the newest always stays, so that what is gone can be told from what never was.

use crate::database::{Database, Row, Write, args};
use crate::state::words;
use crate::webhooks::FAN_OUT;
use crate::{AccountId, Error, EventId, JobId, VideoId, VideoState, Viewer, WebhookId};

words! {
    /// What can happen.
    EventKind {
        /// A video was added.
        VideoCreated = "video.created",
        /// Its title, or who may see it, is another.
        VideoChanged = "video.changed",
        /// Workers have begun with it.
        VideoProcessing = "video.processing",
        /// It plays everywhere.
        VideoReady = "video.ready",
        /// Workers could make nothing of it.
        VideoFailed = "video.failed",
        /// Nobody processes it any more; it is what it was uploaded as.
        VideoUploaded = "video.uploaded",
        /// Nobody sees it any more.
        VideoDeleted = "video.deleted",
        /// A job is not tried again by itself.
        JobDead = "job.dead",
        /// Somebody tries a webhook. Only that one is told.
        WebhookTest = "webhook.test",
        /// A webhook failed for too long, or its receiver is gone.
        WebhookDisabled = "webhook.disabled",
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedEvent {
    /// Its place. Numbers grow, and some are left out.
    pub number: i64,
    /// Its name, the same wherever it is told.
    pub id: EventId,
    /// One of [`EventKind`], or of a newer Seekway.
    pub kind: String,
    /// Whose it is; nobody's where there are no accounts.
    pub owner: Option<AccountId>,
    /// The video that it happened to.
    pub video: Option<VideoId>,
    /// The job.
    pub job: Option<JobId>,
    /// The webhook.
    pub webhook: Option<WebhookId>,
    /// What the video was called then.
    pub title: Option<String>,
    /// What was wrong.
    pub problem: Option<String>,
    /// When it happened.
    pub created_ms: i64,
}

/// What follows a place in the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Following {
    /// These, in order, and the place of the last that was looked at: all after it is newer.
    Events(Vec<FeedEvent>, i64),
    /// What came after it is not all there any more, or the place was never reached. Newer is what comes after this one.
    Lost(i64),
}

/// See [`Catalog::feed`](crate::Catalog::feed).
#[derive(Debug)]
pub struct Feed<'c>(pub(crate) &'c Database);

/// Events that go in one transaction.
const TRIM_BATCH: i64 = 1000;

// === impl Feed ===

impl Feed<'_> {
    /// Gives what has happened its place, and makes the deliveries of webhooks; at most `limit` events. How many there were.
    pub async fn advance(&self, limit: u32) -> Result<usize, Error> {
        if self.0.rows("SELECT 1 AS waits FROM feed_inbox LIMIT 1", args![]).await?.is_empty() {
            return Ok(0);
        }
        let mut write = self.0.write().await?;
        write.lock("feed").await?;
        let sql = "INSERT INTO feed (id, kind, owner, video, job, webhook, title, problem, created_ms) \
                   SELECT id, kind, owner, video, job, webhook, title, problem, created_ms FROM feed_inbox \
                   ORDER BY number LIMIT $1 RETURNING number";
        let rows = write.rows(sql, args![i64::from(limit)]).await?;
        let numbers = rows.iter().map(|row| row.get("number")).collect::<Result<Vec<i64>, _>>()?;
        let Some(first) = numbers.iter().copied().min() else { return Ok(0) };
        write
            .rows("DELETE FROM feed_inbox WHERE id IN (SELECT id FROM feed WHERE number >= $1)", args![first])
            .await?;
        write.rows(FAN_OUT, args![first]).await?;
        write.commit().await?;
        Ok(numbers.len())
    }

    /// The place of the newest event; 0 before the first.
    pub async fn newest(&self) -> Result<i64, Error> {
        self.0.row("SELECT COALESCE(MAX(number), 0) AS newest FROM feed", args![]).await?.get("newest")
    }

    /// What happened after a place to what is a viewer's own (everything, for admins), at most `limit`. `None` begins with the
    /// oldest that is kept.
    pub async fn after(&self, viewer: Viewer, place: Option<i64>, limit: u32) -> Result<Following, Error> {
        let (hears_all, owner) = match viewer {
            Viewer::Anybody => return Ok(Following::Events(Vec::new(), self.newest().await?)),
            Viewer::Unowned => (0_i64, None),
            Viewer::Account(account) => (0, Some(account)),
            Viewer::Admin => (1, None),
        };
        // Before the events: those that come meanwhile are looked at the next time.
        let newest = self.newest().await?;
        let sql = "SELECT * FROM feed WHERE number > $1 AND number <= $2 \
                   AND ($3 = 1 OR COALESCE(owner, '') = COALESCE($4, '')) ORDER BY number LIMIT $5";
        let args = args![place.unwrap_or_default(), newest, hears_all, owner, i64::from(limit)];
        let rows = self.0.rows(sql, args).await?;
        if let Some(place) = place {
            // After the events: what went meanwhile is missing from them.
            let oldest: Option<i64> =
                self.0.row("SELECT MIN(number) AS oldest FROM feed", args![]).await?.get("oldest")?;
            if place > newest || oldest.is_some_and(|oldest| place + 1 < oldest) {
                return Ok(Following::Lost(newest));
            }
        }
        let events = rows.iter().map(FeedEvent::from_row).collect::<Result<Vec<_>, _>>()?;
        let is_full = events.len() == usize::try_from(limit).unwrap_or(usize::MAX);
        let last = events.last().filter(|_| is_full).map_or(newest, |event| event.number);
        Ok(Following::Events(events, last))
    }

    /// Lets go of what is older than `kept_ms`, with the deliveries of it, except the newest event, and what is still to be
    /// delivered with all after it. How many went.
    pub async fn trim(&self, kept_ms: i64) -> Result<u64, Error> {
        let sql = "DELETE FROM feed WHERE number < COALESCE( \
                   (SELECT MIN(number) FROM feed WHERE created_ms >= now_ms() - $1), (SELECT MAX(number) FROM feed)) \
                   AND number < COALESCE((SELECT MIN(event) FROM webhook_deliveries WHERE state = 'waiting'), \
                     (SELECT MAX(number) FROM feed)) \
                   AND number < (SELECT MIN(number) FROM feed) + $2 RETURNING number";
        let mut gone = 0;
        loop {
            let batch = self.0.change(sql, args![kept_ms, TRIM_BATCH]).await?.len() as u64;
            if batch == 0 {
                return Ok(gone);
            }
            gone += batch;
        }
    }
}

/// Tells of a video, as it is now.
pub(crate) async fn tell_of_video(write: &mut Write, kind: EventKind, video: VideoId) -> Result<(), Error> {
    let sql = "INSERT INTO feed_inbox (id, kind, owner, video, title, problem, created_ms) \
               SELECT $1, $2, owner, id, title, problem, now_ms() FROM videos WHERE id = $3";
    write.rows(sql, args![EventId::new(), kind, video]).await.map(drop)
}

/// Tells of a video's job that is dead because of `problem`.
pub(crate) async fn tell_of_job(
    write: &mut Write,
    video: VideoId,
    job: JobId,
    problem: &str,
) -> Result<(), Error> {
    let sql = "INSERT INTO feed_inbox (id, kind, owner, video, job, title, problem, created_ms) \
               SELECT $1, $2, owner, id, $4, title, $5, now_ms() FROM videos WHERE id = $3";
    write.rows(sql, args![EventId::new(), EventKind::JobDead, video, job, problem]).await.map(drop)
}

/// Tells of a webhook.
pub(crate) async fn tell_of_webhook(
    write: &mut Write,
    kind: EventKind,
    webhook: WebhookId,
    problem: Option<&str>,
) -> Result<EventId, Error> {
    let id = EventId::new();
    let sql = "INSERT INTO feed_inbox (id, kind, owner, webhook, problem, created_ms) \
               SELECT $1, $2, account, id, $4, now_ms() FROM webhooks WHERE id = $3 RETURNING id";
    write.row(sql, args![id, kind, webhook, problem]).await?;
    Ok(id)
}

// === impl EventKind ===

impl From<VideoState> for EventKind {
    fn from(state: VideoState) -> Self {
        match state {
            VideoState::Uploaded => Self::VideoUploaded,
            VideoState::Processing => Self::VideoProcessing,
            VideoState::Ready => Self::VideoReady,
            VideoState::Failed => Self::VideoFailed,
            VideoState::Deleting => Self::VideoDeleted,
        }
    }
}

// === impl FeedEvent ===

impl FeedEvent {
    /// Whether a viewer is told of it.
    pub fn is_for(&self, viewer: Viewer) -> bool {
        match viewer {
            Viewer::Anybody => false,
            Viewer::Unowned => self.owner.is_none(),
            Viewer::Account(account) => self.owner == Some(account),
            Viewer::Admin => true,
        }
    }

    pub(crate) fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            number: row.get("number")?,
            id: row.get("id")?,
            kind: row.get("kind")?,
            owner: row.get("owner")?,
            video: row.get("video")?,
            job: row.get("job")?,
            webhook: row.get("webhook")?,
            title: row.get("title")?,
            problem: row.get("problem")?,
            created_ms: row.get("created_ms")?,
        })
    }
}
