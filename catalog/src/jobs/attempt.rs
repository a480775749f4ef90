//! One attempt at a job, from its claim to its end. What it says counts as long as its number is the newest.

use crate::database::{Write, args};
use crate::videos::{self, Progress, VideoState};
use crate::{Error, JobId, State as _, outbox};

use super::record::Next;
use super::{DEAD, Failure, Job, JobState, Jobs, LEFT, READY, SET_STATE, locked};

/// What a worker learns when it renews its lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// It is to stop, and say [`cancelled`](Jobs::cancelled).
    pub is_cancelled: bool,
}

/// What an attempt made.
#[derive(Debug, Clone)]
pub struct Published {
    /// What lies below the attempt's prefix, as JSON.
    pub outputs: String,
    /// How long it plays.
    pub duration_ms: u64,
}

// === impl Jobs ===

impl Jobs<'_> {
    /// Claims the job that is to be done first, for `lease_ms`, of those whose video has at most `bytes_max`. No two
    /// callers get the same.
    pub async fn claim(&self, worker: &str, lease_ms: i64, bytes_max: u64) -> Result<Option<Job>, Error> {
        let sql = "UPDATE jobs SET state = $3, attempt = attempt + 1, worker = $1, leased_until_ms = now_ms() + $2, \
                   updated_ms = now_ms() WHERE id = (SELECT id FROM jobs WHERE state IN ('queued', 'retry') \
                   AND due_ms <= now_ms() AND (SELECT size_bytes FROM videos WHERE videos.id = jobs.video) <= $4 \
                   ORDER BY priority DESC, due_ms, id LIMIT 1 FOR UPDATE SKIP LOCKED) \
                   RETURNING *, now_ms() AS now_ms";
        let bytes_max = i64::try_from(bytes_max).unwrap_or(i64::MAX);
        let rows = self.0.change(sql, args![worker, lease_ms, JobState::Leased, bytes_max]).await?;
        rows.first().map(Job::from_row).transpose()
    }

    /// Begins the work: the video is being processed from now on.
    ///
    /// # Errors
    /// [`Error::Superseded`]; [`Error::NotFound`] when the video is being deleted.
    pub async fn start(&self, id: JobId, attempt: u64) -> Result<(), Error> {
        let mut write = self.0.write().await?;
        let job = held(&mut write, id, attempt).await?;
        let next = job.state.become_(JobState::Running)?;
        let sql = "UPDATE jobs SET state = $2, started_ms = now_ms(), updated_ms = now_ms() WHERE id = $1";
        write.rows(sql, args![id, next]).await?;
        let video = videos::locked(&mut write, job.video).await?;
        match video.state {
            VideoState::Deleting => return Err(Error::NotFound),
            VideoState::Processing => {}
            _ => videos::transition(&mut write, &video, VideoState::Processing, None).await?,
        }
        write.commit().await
    }

    /// Keeps the job for another `lease_ms`.
    ///
    /// # Errors
    /// [`Error::Superseded`]: the worker is to stop at once.
    pub async fn renew(&self, id: JobId, attempt: u64, lease_ms: i64) -> Result<Lease, Error> {
        let mut write = self.0.write().await?;
        let job = held(&mut write, id, attempt).await?;
        let sql = "UPDATE jobs SET leased_until_ms = now_ms() + $2 WHERE id = $1";
        write.rows(sql, args![id, lease_ms]).await?;
        write.commit().await?;
        Ok(Lease { is_cancelled: job.is_cancelled })
    }

    /// Says how far the attempt is.
    ///
    /// # Errors
    /// [`Error::Superseded`]; [`Error::Conflict`] before [`start`](Self::start).
    pub async fn set_progress(&self, id: JobId, attempt: u64, progress: Progress) -> Result<(), Error> {
        let mut write = self.0.write().await?;
        let job = held(&mut write, id, attempt).await?;
        videos::note_progress(&mut write, job.video, progress).await?;
        write.commit().await
    }

    /// Publishes what the attempt made, all at once: from now on the video is that, and what it was before goes.
    ///
    /// # Errors
    /// [`Error::Superseded`]: what it made will be deleted. [`Error::NotFound`] when the video is being deleted.
    pub async fn succeed(&self, id: JobId, attempt: u64, published: &Published) -> Result<(), Error> {
        let mut write = self.0.write().await?;
        let job = held(&mut write, id, attempt).await?;
        let next = job.state.become_(JobState::Succeeded)?;
        write.rows(SET_STATE, args![id, next, 0_i64]).await?;
        write.rows("UPDATE jobs SET worked_ms = now_ms() - started_ms WHERE id = $1", args![id]).await?;
        let before = videos::publish(&mut write, job.video, &job.prefix(), published).await?;
        if let Some(before) = before {
            outbox::insert(&mut write, LEFT, &before).await?;
        }
        write.commit().await
    }

    /// The attempt came to nothing. The state that the job has now; dead, the video has failed, unless something of it was
    /// published before.
    ///
    /// # Errors
    /// [`Error::Superseded`].
    pub async fn fail(
        &self,
        id: JobId,
        attempt: u64,
        failure: Failure,
        problem: &str,
        log: Option<&str>,
    ) -> Result<JobState, Error> {
        let mut write = self.0.write().await?;
        let job = held(&mut write, id, attempt).await?;
        let state = ended(&mut write, &job, failure, problem, log).await?;
        write.commit().await?;
        Ok(state)
    }

    /// Gives the job back without having failed: another worker may have it at once, and nothing is counted.
    ///
    /// # Errors
    /// [`Error::Superseded`].
    pub async fn release(&self, id: JobId, attempt: u64) -> Result<(), Error> {
        let mut write = self.0.write().await?;
        let job = held(&mut write, id, attempt).await?;
        if job.is_cancelled {
            given_up(&mut write, &job).await?;
            return write.commit().await;
        }
        let next = job.state.become_(JobState::Queued)?;
        write.rows(SET_STATE, args![id, next, 0_i64]).await?;
        videos::rests(&mut write, job.video).await?;
        outbox::insert(&mut write, LEFT, &job.prefix()).await?;
        outbox::insert(&mut write, READY, &id.to_string()).await?;
        write.commit().await
    }

    /// The attempt has stopped because the job was given up.
    ///
    /// # Errors
    /// [`Error::Superseded`].
    pub async fn cancelled(&self, id: JobId, attempt: u64) -> Result<(), Error> {
        let mut write = self.0.write().await?;
        let job = held(&mut write, id, attempt).await?;
        given_up(&mut write, &job).await?;
        write.commit().await
    }

    /// Ends attempts whose leases are over, at most `limit`: their workers have vanished. Who they were.
    pub async fn expire(&self, limit: u32) -> Result<Vec<Job>, Error> {
        let mut write = self.0.write().await?;
        let sql = "SELECT *, now_ms() AS now_ms FROM jobs WHERE state IN ('leased', 'running') \
                   AND leased_until_ms <= now_ms() ORDER BY leased_until_ms LIMIT $1 FOR UPDATE SKIP LOCKED";
        let rows = write.rows(sql, args![i64::from(limit)]).await?;
        let jobs: Vec<_> = rows.iter().map(Job::from_row).collect::<Result<_, _>>()?;
        for job in &jobs {
            if job.is_cancelled {
                given_up(&mut write, job).await?;
            } else {
                let problem = "The worker vanished.";
                ended(&mut write, job, Failure::Interrupted, problem, None).await?;
            }
        }
        write.commit().await?;
        Ok(jobs)
    }
}

/// The job, if this attempt at it is still the one that counts. Nobody else changes it until `write` ends.
pub(super) async fn held(write: &mut Write, id: JobId, attempt: u64) -> Result<Job, Error> {
    let job = locked(write, id).await?;
    let is_held = matches!(job.state, JobState::Leased | JobState::Running);
    if is_held && job.attempt == attempt { Ok(job) } else { Err(Error::Superseded) }
}

/// Nobody wants it any more, however the attempt ended.
async fn given_up(write: &mut Write, job: &Job) -> Result<JobState, Error> {
    let next = job.state.become_(JobState::Cancelled)?;
    write.rows(SET_STATE, args![job.id, next, 0_i64]).await?;
    outbox::insert(write, LEFT, &job.prefix()).await?;
    videos::give_up(write, job.video, None).await?;
    Ok(next)
}

async fn ended(
    write: &mut Write,
    job: &Job,
    failure: Failure,
    problem: &str,
    log: Option<&str>,
) -> Result<JobState, Error> {
    if job.is_cancelled {
        return given_up(write, job).await;
    }
    let (next, delay_ms) = match job.after(failure) {
        Next::Retry(delay_ms) => (JobState::Retry, delay_ms),
        Next::Dead => (JobState::Dead, 0),
    };
    let next = job.state.become_(next)?;
    let count = |of: Failure| i64::from(of == failure);
    let sql = "UPDATE jobs SET failures = failures + $2, memory_failures = memory_failures + $3, \
               interruptions = interruptions + $4, failure = $5, problem = $6, log = COALESCE($7, log) WHERE id = $1";
    let args = args![
        job.id,
        count(Failure::Infrastructure),
        count(Failure::Memory),
        count(Failure::Interrupted),
        failure,
        problem,
        log,
    ];
    write.rows(sql, args).await?;
    write.rows(SET_STATE, args![job.id, next, delay_ms]).await?;
    outbox::insert(write, LEFT, &job.prefix()).await?;
    if next == JobState::Dead {
        videos::give_up(write, job.video, Some(problem)).await?;
        outbox::insert(write, DEAD, &job.id.to_string()).await?;
    } else {
        videos::rests(write, job.video).await?;
        outbox::insert_due(write, READY, &job.id.to_string(), delay_ms).await?;
    }
    Ok(next)
}
