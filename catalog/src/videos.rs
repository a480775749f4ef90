//! Videos: what people uploaded, who may see it, and what happened to it.

mod listing;
mod processing;
mod progress;
mod record;

use crate::database::{Database, Write, args};
use crate::{AccountId, Error, EventKind, NewJob, State as _, VideoId, changes, feed, jobs, outbox};

pub use listing::{Filter, Viewer};
pub(crate) use processing::{give_up, publish};
pub(crate) use progress::note as note_progress;
pub(crate) use progress::rests;
pub use progress::{Phase, Progress};
pub use record::{Access, Event, NewVideo, Patch, Source, Video, VideoState, Visibility};

/// See [`Catalog::videos`](crate::Catalog::videos).
#[derive(Debug)]
pub struct Videos<'c>(pub(crate) &'c Database);

/// What it calls a video whose objects are to be deleted.
pub(crate) const DELETED: &str = "video-deleted";

// === impl Videos ===

impl Videos<'_> {
    /// The topic of the outbox where videos are told of, by their ids, whose objects are to be deleted.
    pub const DELETED: &'static str = DELETED;

    /// The video as it is.
    pub async fn get(&self, id: VideoId) -> Result<Video, Error> {
        Video::from_row(&self.0.row("SELECT * FROM videos WHERE id = $1", args![id]).await?)
    }

    /// Who may see the object with that key.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it belongs to no video.
    pub async fn access(&self, key: &str) -> Result<Access, Error> {
        let sql = "SELECT id, owner, visibility, state FROM videos WHERE source_key = $1";
        Access::from_row(&self.0.row(sql, args![key]).await?)
    }

    /// Who may see what lies below that prefix.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it is not what the video has published.
    pub async fn access_to_published(&self, id: VideoId, prefix: &str) -> Result<Access, Error> {
        let sql = "SELECT id, owner, visibility, state FROM videos WHERE id = $1 AND published_prefix = $2";
        Access::from_row(&self.0.row(sql, args![id, prefix]).await?)
    }

    /// Adds a video of an object that is there already; `None` when a video has it.
    pub async fn add(&self, owner: Option<AccountId>, new: &NewVideo) -> Result<Option<VideoId>, Error> {
        let mut write = self.0.write().await?;
        // Two who add the same one wait for each other here.
        write.lock("videos").await?;
        let sql = "SELECT id FROM videos WHERE source_key = $1";
        if !write.rows(sql, args![new.source.key.as_str()]).await?.is_empty() {
            return Ok(None);
        }
        let id = insert(&mut write, owner, new).await?;
        write.commit().await?;
        Ok(Some(id))
    }

    /// Changes what people say of it.
    pub async fn patch(&self, id: VideoId, patch: Patch) -> Result<Video, Error> {
        let mut write = self.0.write().await?;
        let before = locked(&mut write, id).await?;
        if before.state == VideoState::Deleting {
            return Err(Error::NotFound);
        }
        let sql = "UPDATE videos SET title = COALESCE($2, title), title_folded = COALESCE($3, title_folded), \
                   visibility = COALESCE($4, visibility), updated_ms = now_ms() WHERE id = $1 RETURNING *";
        let folded = patch.title.as_deref().map(str::to_lowercase);
        let after =
            Video::from_row(&write.row(sql, args![id, patch.title, folded, patch.visibility]).await?)?;
        happened(&mut write, id, "changed", "").await?;
        feed::tell_of_video(&mut write, EventKind::VideoChanged, id).await?;
        if after.visibility != before.visibility {
            tell(&mut write, &after).await?;
        }
        write.commit().await?;
        Ok(after)
    }

    /// Moves it on; what progress there was is over. `problem` is why it failed.
    ///
    /// # Errors
    /// [`Error::IllegalTransition`].
    pub async fn set_state(&self, id: VideoId, next: VideoState, problem: Option<&str>) -> Result<(), Error> {
        let mut write = self.0.write().await?;
        let video = locked(&mut write, id).await?;
        transition(&mut write, &video, next, problem).await?;
        write.commit().await
    }

    /// Notes what is in it: its duration, and what ffprobe said as JSON.
    pub async fn set_probe(&self, id: VideoId, duration_ms: Option<i64>, probe: &str) -> Result<(), Error> {
        let mut write = self.0.write().await?;
        let sql = "UPDATE videos SET duration_ms = $2, probe = $3, updated_ms = now_ms() WHERE id = $1 RETURNING id";
        write.row(sql, args![id, duration_ms, probe]).await?;
        happened(&mut write, id, "probed", "").await?;
        write.commit().await
    }

    /// Begins its end: nobody sees it from now on, its jobs are given up, and the outbox has its objects deleted. Done
    /// again it does nothing.
    pub async fn delete(&self, id: VideoId) -> Result<(), Error> {
        let mut write = self.0.write().await?;
        // Before the video, as attempts do.
        jobs::lock_of_video(&mut write, id).await?;
        let video = locked(&mut write, id).await?;
        if video.state == VideoState::Deleting {
            return Ok(());
        }
        transition(&mut write, &video, VideoState::Deleting, None).await?;
        jobs::cancel_of_video(&mut write, id).await?;
        outbox::insert(&mut write, DELETED, &id.to_string()).await?;
        tell(&mut write, &video).await?;
        write.commit().await
    }

    /// Its objects are gone, and so are the video and its jobs; the outbox has looked for what a late attempt may still put
    /// there. The feed of changes tells it once more: what is remembered of an object may outlive it. Done again it does
    /// nothing.
    pub async fn gone(&self, id: VideoId) -> Result<(), Error> {
        let mut write = self.0.write().await?;
        let had_jobs = jobs::lock_of_video(&mut write, id).await?;
        let video = match locked(&mut write, id).await {
            Err(Error::NotFound) => return Ok(()),
            video => video?,
        };
        if video.state != VideoState::Deleting {
            return Err(Error::Conflict("only a video that is being deleted can be gone"));
        }
        write.rows("DELETE FROM videos WHERE id = $1", args![id]).await?;
        if had_jobs {
            outbox::insert(&mut write, jobs::LEFT, &Video::processed(id)).await?;
        }
        tell(&mut write, &video).await?;
        write.commit().await
    }

    /// The number of what happened to it last; `None` when it is gone.
    pub async fn newest_event(&self, id: VideoId) -> Result<Option<i64>, Error> {
        let sql = "SELECT MAX(number) AS newest FROM video_events WHERE video = $1";
        self.0.row(sql, args![id]).await?.get("newest")
    }

    /// What happened to it after event `number`, in order, at most `limit`; 0 is from the beginning.
    pub async fn events_after(&self, id: VideoId, number: i64, limit: u32) -> Result<Vec<Event>, Error> {
        let sql = "SELECT * FROM video_events WHERE video = $1 AND number > $2 ORDER BY number LIMIT $3";
        let rows = self.0.rows(sql, args![id, number, i64::from(limit)]).await?;
        rows.iter().map(Event::from_row).collect()
    }
}

/// Adds a video, with its first event, and its job if it is to have one.
pub(crate) async fn insert(
    write: &mut Write,
    owner: Option<AccountId>,
    new: &NewVideo,
) -> Result<VideoId, Error> {
    let now: u64 = write.row("SELECT now_ms() AS now_ms", args![]).await?.get("now_ms")?;
    let id = VideoId::at(now);
    let sql = "INSERT INTO videos (id, owner, title, title_folded, visibility, state, source_key, source_etag, \
               source_version, size_bytes, sha256, content_type, container, created_ms, updated_ms) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $14)";
    let source = new.source.clone();
    let args = args![
        id,
        owner,
        new.title.as_str(),
        new.title.to_lowercase(),
        new.visibility,
        VideoState::Uploaded,
        source.key,
        source.etag,
        source.version,
        source.size,
        source.sha256,
        source.content_type,
        source.container,
        now,
    ];
    write.rows(sql, args).await?;
    happened(write, id, VideoState::Uploaded.name(), "").await?;
    feed::tell_of_video(write, EventKind::VideoCreated, id).await?;
    if let Some(profile) = &new.profile {
        let job = NewJob { video: id, profile: profile.clone(), rendition: None, priority: 0 };
        jobs::insert(write, &job).await?;
    }
    changes::tell(write, &new.source.key).await?;
    Ok(id)
}

/// The video, which nobody else changes until `write` ends.
pub(crate) async fn locked(write: &mut Write, id: VideoId) -> Result<Video, Error> {
    Video::from_row(&write.row("SELECT * FROM videos WHERE id = $1 FOR UPDATE", args![id]).await?)
}

pub(crate) async fn transition(
    write: &mut Write,
    video: &Video,
    next: VideoState,
    problem: Option<&str>,
) -> Result<(), Error> {
    let next = video.state.become_(next)?;
    let sql = "UPDATE videos SET state = $2, problem = $3, progress_phase = NULL, progress_percent = NULL, \
               progress_speed_milli = NULL, progress_eta_seconds = NULL, updated_ms = now_ms() WHERE id = $1";
    write.rows(sql, args![video.id, next, problem]).await?;
    let number = happened(write, video.id, next.name(), problem.unwrap_or_default()).await?;
    feed::tell_of_video(write, next.into(), video.id).await?;
    progress::forget(write, video.id, number).await
}

/// Tells of the keys that are seen by whoever may see the video. It is the last thing that `write` does.
async fn tell(write: &mut Write, video: &Video) -> Result<(), Error> {
    changes::tell(write, &video.source.key).await?;
    match &video.published_prefix {
        Some(prefix) => changes::tell(write, prefix).await,
        None => Ok(()),
    }
}

/// Adds an event. The video's row is locked or new, so numbers come in order, each once.
async fn happened(write: &mut Write, id: VideoId, kind: &str, payload: &str) -> Result<i64, Error> {
    let sql = "INSERT INTO video_events (video, number, kind, payload, created_ms) \
               SELECT $1, COALESCE(MAX(number), 0) + 1, $2, $3, now_ms() FROM video_events WHERE video = $1 \
               RETURNING number";
    write.row(sql, args![id, kind, payload]).await?.get("number")
}
