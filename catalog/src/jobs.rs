//! Jobs: what workers are to make of videos, and the one state machine of it.
//!
//! A job is **queued** until a worker claims it. A claim counts the attempt and leases the job for a time by the
//! database's clock; whoever holds the newest attempt number may say what becomes of it, and nobody else ([`Error::Superseded`]).
//! A lease that is not renewed is over: [`expire`](Jobs::expire) makes the job wait for another attempt. So a job may run
//! twice, and only one of the two can publish.
//!
//! How an attempt may end, and what follows, is [`Failure`]'s to say.

mod attempt;
mod backlog;
mod of_videos;
mod outstanding;
mod record;

use crate::database::{Database, Write, args};
use crate::{Error, JobId, State as _, VideoId, outbox, videos};

pub use attempt::{Lease, Published};
pub use backlog::Backlog;
pub use of_videos::JobFilter;
pub(crate) use of_videos::{cancel_of_video, lock_of_video};
pub use outstanding::Outstanding;
pub use record::{Failure, Job, JobState, NewJob};

/// See [`Catalog::jobs`](crate::Catalog::jobs).
#[derive(Debug)]
pub struct Jobs<'c>(pub(crate) &'c Database);

/// What the outbox calls a job that may be claimed.
const READY: &str = "job-ready";
/// What it calls a job that is dead.
const DEAD: &str = "job-dead";
/// What it calls a prefix of the store in which an attempt left things that nobody will publish.
pub(crate) const LEFT: &str = "attempt-left";

// === impl Jobs ===

impl Jobs<'_> {
    /// The topic of the outbox where jobs are told of, by their ids, that may be claimed.
    pub const READY: &'static str = READY;
    /// The topic of the outbox where jobs are told of, by their ids, that are dead.
    pub const DEAD: &'static str = DEAD;
    /// The topic of the outbox where prefixes are told of whose objects are to be deleted.
    pub const LEFT: &'static str = LEFT;

    /// Adds a job, which may be claimed at once.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such video.
    pub async fn add(&self, new: &NewJob) -> Result<JobId, Error> {
        let mut write = self.0.write().await?;
        let id = insert(&mut write, new).await?;
        write.commit().await?;
        Ok(id)
    }

    /// The job as it is.
    pub async fn get(&self, id: JobId) -> Result<Job, Error> {
        let sql = "SELECT *, now_ms() AS now_ms FROM jobs WHERE id = $1";
        Job::from_row(&self.0.row(sql, args![id]).await?)
    }

    /// A video's jobs, newest first.
    pub async fn of_video(&self, video: VideoId) -> Result<Vec<Job>, Error> {
        let sql = "SELECT *, now_ms() AS now_ms FROM jobs WHERE video = $1 ORDER BY id DESC";
        self.0.rows(sql, args![video]).await?.iter().map(Job::from_row).collect()
    }

    /// Jobs in a state, oldest first, at most `limit`. The next page is `after` the last of this one.
    pub async fn in_state(
        &self,
        state: JobState,
        after: Option<JobId>,
        limit: u32,
    ) -> Result<Vec<Job>, Error> {
        let after = after.map(|id| id.to_string()).unwrap_or_default();
        let sql = "SELECT *, now_ms() AS now_ms FROM jobs WHERE state = $1 AND id > $2 ORDER BY id LIMIT $3";
        self.0.rows(sql, args![state, after, i64::from(limit)]).await?.iter().map(Job::from_row).collect()
    }

    /// Gives a job up: at once where nobody is at it, else its worker learns of it with the next renewal of its lease.
    /// The state that it has now. Done again it does nothing.
    ///
    /// # Errors
    /// [`Error::IllegalTransition`] where it has ended in another way.
    pub async fn cancel(&self, id: JobId) -> Result<JobState, Error> {
        let mut write = self.0.write().await?;
        let job = locked(&mut write, id).await?;
        let state = match job.state {
            JobState::Cancelled => return Ok(JobState::Cancelled),
            JobState::Leased | JobState::Running => {
                let sql = "UPDATE jobs SET is_cancelled = 1, updated_ms = now_ms() WHERE id = $1";
                write.rows(sql, args![id]).await?;
                job.state
            }
            state => {
                let next = state.become_(JobState::Cancelled)?;
                write.rows(SET_STATE, args![id, next, 0_i64]).await?;
                videos::give_up(&mut write, job.video, None).await?;
                next
            }
        };
        write.commit().await?;
        Ok(state)
    }

    /// Has a job that waits for another attempt tried at once.
    ///
    /// # Errors
    /// [`Error::Conflict`] where it does not wait.
    pub async fn hurry(&self, id: JobId) -> Result<(), Error> {
        let mut write = self.0.write().await?;
        let sql = "UPDATE jobs SET due_ms = now_ms(), updated_ms = now_ms() WHERE id = $1 AND state = $2 RETURNING id";
        if write.rows(sql, args![id, JobState::Retry]).await?.is_empty() {
            return Err(Error::Conflict("only a job that waits for another attempt can be hurried"));
        }
        outbox::insert(&mut write, READY, &id.to_string()).await?;
        write.commit().await
    }

    /// Has a job that is dead or cancelled tried again, with its counts at zero. Its attempts go on being counted.
    ///
    /// # Errors
    /// [`Error::IllegalTransition`] where it has another state; [`Error::Conflict`] where another job of the video has not
    /// ended.
    pub async fn redrive(&self, id: JobId) -> Result<(), Error> {
        let mut write = self.0.write().await?;
        let job = locked(&mut write, id).await?;
        let next = job.state.become_(JobState::Queued)?;
        // Two of them could each find the video idle.
        videos::locked(&mut write, job.video).await?;
        of_videos::must_be_idle(&mut write, job.video).await?;
        let sql = "UPDATE jobs SET failures = 0, memory_failures = 0, interruptions = 0, is_cancelled = 0, failure = NULL, \
                   problem = NULL, log = NULL WHERE id = $1";
        write.rows(sql, args![id]).await?;
        write.rows(SET_STATE, args![id, next, 0_i64]).await?;
        outbox::insert(&mut write, READY, &id.to_string()).await?;
        write.commit().await
    }
}

/// Moves a job that nobody has, to be claimed in so many milliseconds where its state is one of those.
const SET_STATE: &str = "UPDATE jobs SET state = $2, due_ms = now_ms() + $3, worker = NULL, leased_until_ms = NULL, \
                         updated_ms = now_ms() WHERE id = $1";

/// Adds a job, because of what else `write` does.
pub(crate) async fn insert(write: &mut Write, new: &NewJob) -> Result<JobId, Error> {
    let now: u64 = write.row("SELECT now_ms() AS now_ms", args![]).await?.get("now_ms")?;
    let id = JobId::at(now);
    let sql = "INSERT INTO jobs (id, video, profile, rendition, priority, state, due_ms, attempt, failures, \
               memory_failures, interruptions, is_cancelled, created_ms, updated_ms) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, 0, 0, 0, 0, 0, $7, $7)";
    let NewJob { video, profile, rendition, priority } = new;
    let (profile, rendition) = (profile.as_str(), rendition.as_deref());
    let args = args![id, *video, profile, rendition, i64::from(*priority), JobState::Queued, now];
    write.rows(sql, args).await?;
    outbox::insert(write, READY, &id.to_string()).await?;
    Ok(id)
}

/// The job, which nobody else changes until `write` ends.
async fn locked(write: &mut Write, id: JobId) -> Result<Job, Error> {
    let sql = "SELECT *, now_ms() AS now_ms FROM jobs WHERE id = $1 FOR UPDATE";
    Job::from_row(&write.row(sql, args![id]).await?)
}
