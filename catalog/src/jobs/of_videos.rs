//! Jobs as those see them who deal with videos: which there are, and what lies in the store because of them.

use crate::database::{Write, args};
use crate::{Error, JobId, VideoId, VideoState, videos};

use super::{Job, JobState, Jobs, NewJob, insert};

/// Which jobs to list. `None` asks for any.
#[derive(Debug, Clone, Copy, Default)]
pub struct JobFilter {
    /// Where they stand.
    pub state: Option<JobState>,
    /// Only those of videos that are nobody's.
    pub is_unowned: bool,
}

// === impl Jobs ===

impl Jobs<'_> {
    /// States of jobs that have not ended well; of the others there may be any number.
    pub const OPEN: [JobState; 6] = [
        JobState::Queued,
        JobState::Leased,
        JobState::Running,
        JobState::Waiting,
        JobState::Retry,
        JobState::Dead,
    ];

    /// A page of at most `limit` jobs, newest first, without their parts. The next one is `after` the last of this one.
    pub async fn list(&self, filter: JobFilter, after: Option<JobId>, limit: u32) -> Result<Vec<Job>, Error> {
        let sql = "SELECT *, now_ms() AS now_ms FROM jobs WHERE parent IS NULL AND (state = $1 OR $1 IS NULL) AND (id < $2 OR $2 IS NULL) \
                   AND ($3 = 0 OR EXISTS (SELECT 1 FROM videos WHERE videos.id = jobs.video AND owner IS NULL)) \
                   ORDER BY id DESC LIMIT $4";
        let args = args![filter.state, after, i64::from(filter.is_unowned), i64::from(limit)];
        self.0.rows(sql, args).await?.iter().map(Job::from_row).collect()
    }

    /// How many jobs there are in each of [`OPEN`](Self::OPEN), parts among them, save that what is dead of a dead job is not
    /// counted twice.
    pub async fn counts(&self) -> Result<[u64; 6], Error> {
        let sql = "SELECT state, COUNT(*) AS jobs FROM jobs \
                   WHERE state IN ('queued', 'leased', 'running', 'waiting', 'retry') OR (state = 'dead' AND parent IS NULL) \
                   GROUP BY state";
        let mut counts = [0; 6];
        for row in self.0.rows(sql, args![]).await? {
            let state: JobState = row.get("state")?;
            if let Some(place) = Self::OPEN.iter().position(|open| *open == state) {
                counts[place] = row.get("jobs")?;
            }
        }
        Ok(counts)
    }

    /// Adds a job for a video that nobody is to process already: two that end in turn would each replace what the other
    /// made.
    ///
    /// # Errors
    /// [`Error::Conflict`] where another job of the video has not ended; [`Error::NotFound`] when there is no such video, or
    /// it is being deleted.
    pub async fn process_again(&self, new: &NewJob) -> Result<JobId, Error> {
        let mut write = self.0.write().await?;
        let video = videos::locked(&mut write, new.video).await?;
        if video.state == VideoState::Deleting {
            return Err(Error::NotFound);
        }
        must_be_idle(&mut write, new.video).await?;
        let id = insert(&mut write, new).await?;
        write.commit().await?;
        Ok(id)
    }

    /// Whether something below that prefix is published, or an attempt is at it, or it is a part that has yet to be put together
    /// with others: what lies there is not to be deleted.
    pub async fn is_in_use(&self, prefix: &str) -> Result<bool, Error> {
        let id = prefix.strip_prefix("processed/").and_then(|rest| rest.split('/').next());
        let Some(id) = id.and_then(VideoId::parse) else { return Ok(false) };
        // Attempts first: one that ends meanwhile has published then.
        let sql = "SELECT *, now_ms() AS now_ms FROM jobs WHERE video = $1 AND (state IN ('leased', 'running') OR made IS NOT NULL)";
        for row in self.0.rows(sql, args![id]).await? {
            if Job::from_row(&row)?.prefix().starts_with(prefix) {
                return Ok(true);
            }
        }
        let sql = "SELECT published_prefix FROM videos WHERE id = $1";
        let published: Option<String> = match self.0.rows(sql, args![id]).await?.first() {
            Some(row) => row.get("published_prefix")?,
            None => None,
        };
        Ok(published.is_some_and(|published| published.starts_with(prefix)))
    }
}

/// Fails where a job of the video has not ended.
pub(super) async fn must_be_idle(write: &mut Write, video: VideoId) -> Result<(), Error> {
    let sql = "SELECT 1 AS open FROM jobs WHERE video = $1 \
               AND parent IS NULL AND state IN ('queued', 'leased', 'running', 'waiting', 'retry') LIMIT 1";
    if write.rows(sql, args![video]).await?.is_empty() {
        return Ok(());
    }
    Err(Error::Conflict("another job of the video has not ended; cancel it, or wait for its end"))
}

/// Has all attempts at a video wait until `write` ends. Whether it has jobs at all.
pub(crate) async fn lock_of_video(write: &mut Write, video: VideoId) -> Result<bool, Error> {
    // Whole jobs before their parts, as everybody locks them.
    let sql = "SELECT id FROM jobs WHERE video = $1 ORDER BY parent IS NOT NULL, id FOR UPDATE";
    Ok(!write.rows(sql, args![video]).await?.is_empty())
}

/// Gives all jobs of a video up: at once where nobody is at them.
pub(crate) async fn cancel_of_video(write: &mut Write, video: VideoId) -> Result<(), Error> {
    let sql = "UPDATE jobs SET is_cancelled = 1, updated_ms = now_ms() WHERE video = $1 AND state IN ('leased', 'running')";
    write.rows(sql, args![video]).await?;
    let sql = "UPDATE jobs SET state = $2, updated_ms = now_ms() WHERE video = $1 AND state IN ('queued', 'waiting', 'retry')";
    write.rows(sql, args![video, JobState::Cancelled]).await.map(drop)
}
