//! Jobs that are split: any workers make the parts at once, and whoever claims the job then puts them together.
//!
//! A part is **made** for as long as what it made is kept below its prefix in the store: until the whole is published, given up,
//! or made in another way. So a job that died of one part needs only those again that are not made.

use crate::database::{Write, args};
use crate::videos::{self, Phase, Progress};
use crate::{Error, JobId, State as _, VideoId, feed, outbox};

use super::attempt::{given_up, held_with_whole};
use super::{DEAD, FORGET_FAILURES, Failure, Job, JobState, Jobs, LEFT, NewPart, READY, SET_STATE, locked};

// === impl Jobs ===

impl Jobs<'_> {
    /// How much of the whole work is done when the first of its parts begins, and when the last is made, in percent.
    pub const PARTS_PERCENT: (u8, u8) = (6, 88);

    /// Splits the job that the attempt is at: it waits until all of these are made, and then may be claimed again, with `brief`.
    /// The parts take turns with other jobs of their priority as if each of them had been added when those before it have
    /// played, so that a long video leaves room for short ones and is not left behind by them.
    ///
    /// # Errors
    /// [`Error::Superseded`].
    pub async fn split(&self, id: JobId, attempt: u64, brief: &str, parts: &[NewPart]) -> Result<(), Error> {
        let mut write = self.0.write().await?;
        let (job, _) = held_with_whole(&mut write, id, attempt).await?;
        if job.is_cancelled {
            given_up(&mut write, &job).await?;
            return write.commit().await;
        }
        let job = job.whole()?;
        let next = job.state.become_(JobState::Waiting)?;
        // To be put together is its turn before what was added after it.
        let sql = "UPDATE jobs SET brief = $2, turn_ms = COALESCE(turn_ms, due_ms) WHERE id = $1";
        write.rows(sql, args![id, brief]).await?;
        write.rows(SET_STATE, args![id, next, 0_i64]).await?;
        let now: u64 = write.row("SELECT now_ms() AS now_ms", args![]).await?.get("now_ms")?;
        let sql = "INSERT INTO jobs (id, video, profile, priority, state, due_ms, attempt, failures, memory_failures, \
                   interruptions, is_cancelled, created_ms, updated_ms, parent, brief, media_ms, source_bytes, turn_ms) \
                   VALUES ($1, $2, $3, $4, $5, $6, 0, 0, 0, 0, 0, $6, $6, $7, $8, $9, $10, $11)";
        let mut turn = now;
        for part in parts {
            let (new, brief) = (JobId::at(now), part.brief.as_str());
            let (video, profile, queued) = (job.video, job.profile.as_str(), JobState::Queued);
            let (bytes, media) = (part.source_bytes, part.media_ms);
            let args = args![new, video, profile, job.priority, queued, now, id, brief, media, bytes, turn];
            write.rows(sql, args).await?;
            outbox::insert(&mut write, READY, &new.to_string()).await?;
            // Their turns say their order, too.
            turn = turn.saturating_add(media.max(1));
        }
        note_progress(&mut write, id, job.video).await?;
        write.commit().await
    }

    /// The parts of a job, in their order; none of one that was not split.
    pub async fn parts(&self, id: JobId) -> Result<Vec<Job>, Error> {
        let sql = "SELECT *, now_ms() AS now_ms FROM jobs WHERE parent = $1 ORDER BY turn_ms, id";
        self.0.rows(sql, args![id]).await?.iter().map(Job::from_row).collect()
    }

    /// The attempt has made its part: `made`, as JSON, says what lies below its prefix. With the last part the whole may be
    /// claimed again.
    ///
    /// # Errors
    /// [`Error::Superseded`]: what it made will be deleted.
    pub async fn part_made(&self, id: JobId, attempt: u64, made: &str) -> Result<(), Error> {
        let mut write = self.0.write().await?;
        let (job, whole) = held_with_whole(&mut write, id, attempt).await?;
        let whole = whole.ok_or(NO_PART)?;
        let next = job.state.become_(JobState::Succeeded)?;
        write.rows(SET_STATE, args![id, next, 0_i64]).await?;
        write
            .rows(
                "UPDATE jobs SET made = $2, worked_ms = now_ms() - started_ms WHERE id = $1",
                args![id, made],
            )
            .await?;
        note_progress(&mut write, whole.id, whole.video).await?;
        let sql = "SELECT 1 AS open FROM jobs WHERE parent = $1 AND made IS NULL LIMIT 1";
        if whole.state == JobState::Waiting && write.rows(sql, args![whole.id]).await?.is_empty() {
            let next = whole.state.become_(JobState::Queued)?;
            write.rows(SET_STATE, args![whole.id, next, 0_i64]).await?;
            outbox::insert(&mut write, READY, &whole.id.to_string()).await?;
        }
        write.commit().await
    }

    /// The attempt at a part has found that the whole cannot be made of parts: it is to be made at once, with `brief`, and its
    /// parts are no more.
    ///
    /// # Errors
    /// [`Error::Superseded`].
    pub async fn unsplit(&self, id: JobId, attempt: u64, brief: &str) -> Result<(), Error> {
        let mut write = self.0.write().await?;
        let (_, whole) = held_with_whole(&mut write, id, attempt).await?;
        let whole = whole.ok_or(NO_PART)?;
        let next = whole.state.become_(JobState::Queued)?;
        write.rows(SET_STATE, args![whole.id, next, 0_i64]).await?;
        drop_all(&mut write, whole.id, Some(brief)).await?;
        outbox::insert(&mut write, READY, &whole.id.to_string()).await?;
        write.commit().await
    }
}

const NO_PART: Error = Error::Conflict("it is no part of another job");

// === impl Job ===

impl Job {
    /// # Errors
    /// [`Error::Conflict`] for a part.
    pub(super) fn whole(self) -> Result<Self, Error> {
        match self.parent {
            None => Ok(self),
            Some(_) => Err(Error::Conflict("it is a part of another job, and goes the way of that")),
        }
    }
}

/// The parts of a job are no more, and its brief is another. Who is at one of them learns of it with the next renewal.
pub(super) async fn drop_all(write: &mut Write, whole: JobId, brief: Option<&str>) -> Result<(), Error> {
    let sql = "DELETE FROM jobs WHERE parent = $1 RETURNING *, now_ms() AS now_ms";
    for row in write.rows(sql, args![whole]).await? {
        let part = Job::from_row(&row)?;
        // What attempts before the last left is told of already.
        if part.attempt > 0 {
            outbox::insert(write, LEFT, &part.prefix()).await?;
        }
    }
    write.rows("UPDATE jobs SET brief = $2 WHERE id = $1", args![whole, brief]).await.map(drop)
}

/// What parts made, of all jobs of the video, is of no more use: the whole is published.
pub(super) async fn used_up(write: &mut Write, video: VideoId) -> Result<(), Error> {
    let sql =
        "UPDATE jobs SET made = NULL WHERE video = $1 AND made IS NOT NULL RETURNING *, now_ms() AS now_ms";
    for row in write.rows(sql, args![video]).await? {
        outbox::insert(write, LEFT, &Job::from_row(&row)?.prefix()).await?;
    }
    Ok(())
}

/// Has the parts of a job made that are not. Whether there are such.
pub(super) async fn redrive(write: &mut Write, whole: JobId) -> Result<bool, Error> {
    let sql =
        "SELECT *, now_ms() AS now_ms FROM jobs WHERE parent = $1 AND made IS NULL ORDER BY id FOR UPDATE";
    let rows = write.rows(sql, args![whole]).await?;
    for row in &rows {
        let part = Job::from_row(row)?;
        write.rows(FORGET_FAILURES, args![part.id]).await?;
        // Whoever is still at one, and was to stop, may go on.
        if !matches!(part.state, JobState::Leased | JobState::Running) {
            // Also one that was made: what it made is gone.
            write.rows(SET_STATE, args![part.id, JobState::Queued, 0_i64]).await?;
            outbox::insert(write, READY, &part.id.to_string()).await?;
        }
    }
    Ok(!rows.is_empty())
}

/// A part is dead, and so are the whole and, unless they are made, the other parts.
pub(super) async fn died(
    write: &mut Write,
    part: &Job,
    failure: Failure,
    problem: &str,
    log: Option<&str>,
) -> Result<(), Error> {
    let Some(whole) = part.parent else { return Ok(()) };
    let whole = locked(write, whole).await?;
    if whole.state != JobState::Waiting {
        return Ok(());
    }
    let next = whole.state.become_(JobState::Dead)?;
    let sql = "UPDATE jobs SET failure = $2, problem = $3, log = $4 WHERE id = $1";
    write.rows(sql, args![whole.id, failure, problem, log]).await?;
    write.rows(SET_STATE, args![whole.id, next, 0_i64]).await?;
    let sql = "UPDATE jobs SET is_cancelled = 1, updated_ms = now_ms() WHERE parent = $1 AND state IN ('leased', 'running')";
    write.rows(sql, args![whole.id]).await?;
    let sql = "UPDATE jobs SET state = $2, updated_ms = now_ms() WHERE parent = $1 AND state IN ('queued', 'retry')";
    write.rows(sql, args![whole.id, JobState::Cancelled]).await?;
    videos::give_up(write, whole.video, Some(problem)).await?;
    feed::tell_of_job(write, whole.video, whole.id, problem).await?;
    outbox::insert(write, DEAD, &whole.id.to_string()).await
}

/// Notes how far a part is, and with it the whole.
pub(super) async fn progress(write: &mut Write, part: &Job, whole: JobId, percent: u8) -> Result<(), Error> {
    let sql = "UPDATE jobs SET percent = $2 WHERE id = $1";
    write.rows(sql, args![part.id, i64::from(percent.min(100))]).await?;
    note_progress(write, whole, part.video).await
}

/// Notes how far the parts are together, if that is further than they were: an attempt that begins anew does not take the video
/// back.
async fn note_progress(write: &mut Write, whole: JobId, video: VideoId) -> Result<(), Error> {
    let sql = "SELECT CAST(COALESCE(SUM(media_ms), 0) AS BIGINT) AS media, now_ms() - MIN(created_ms) AS since, \
               CAST(COALESCE(SUM(media_ms * CASE WHEN made IS NOT NULL THEN 100 ELSE COALESCE(percent, 0) END), 0) \
               AS BIGINT) AS percents FROM jobs WHERE parent = $1";
    let row = write.row(sql, args![whole]).await?;
    let (media, percents): (u64, u64) = (row.get("media")?, row.get("percents")?);
    let (since, done): (Option<i64>, u64) = (row.get("since")?, percents / 100);
    let (from, to) = Jobs::PARTS_PERCENT;
    let share = percents.checked_div(media).unwrap_or(0).min(100);
    let percent = from + u8::try_from(u64::from(to - from) * share / 100).unwrap_or(0);
    let is_further = |noted: Option<i64>| noted.is_none_or(|noted| noted < i64::from(percent));
    let noted = write.row("SELECT progress_percent FROM videos WHERE id = $1", args![video]).await?;
    // Only who may have something to say waits for others who say it.
    if !is_further(noted.get("progress_percent")?) {
        return Ok(());
    }
    let now = videos::locked(write, video).await?;
    if now.state != videos::VideoState::Processing
        || !is_further(now.progress.map(|noted| noted.percent.into()))
    {
        return Ok(());
    }
    let since = u64::try_from(since.unwrap_or_default()).unwrap_or_default().max(1);
    let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    let progress = Progress {
        phase: Phase::Transcoding,
        percent,
        speed_milli: Some(small(done.saturating_mul(1000) / since)),
        eta_seconds: (done > 0).then(|| small((media - done.min(media)).saturating_mul(since) / done / 1000)),
    };
    videos::note_progress(write, video, progress).await.map(drop)
}
