//! What is known of a job.

use crate::database::Row;
use crate::state::{states, words};
use crate::{Error, JobId, Video, VideoId};

states! {
    /// Where a job stands.
    JobState, "the job" {
        /// It may be claimed.
        Queued = "queued",
        /// A worker has claimed it, and not begun.
        Leased = "leased",
        /// A worker is at it.
        Running = "running",
        /// It was split, and its parts are being made. Then it may be claimed again, to be put together.
        Waiting = "waiting",
        /// An attempt came to nothing. It may be claimed again when it is due.
        Retry = "retry",
        /// What it made is published; of a part: it is made.
        Succeeded = "succeeded",
        /// It is not tried again by itself.
        Dead = "dead",
        /// Somebody gave it up.
        Cancelled = "cancelled",
    }
    ways {
        Queued => Leased | Cancelled,
        Leased => Running | Queued | Retry | Dead | Cancelled,
        Running => Waiting | Succeeded | Queued | Retry | Dead | Cancelled,
        Waiting => Queued | Dead | Cancelled,
        Retry => Leased | Cancelled,
        Dead => Queued | Waiting,
        Cancelled => Queued,
    }
}

words! {
    /// Why an attempt came to nothing, and so whether there is another.
    Failure {
        /// The video is what cannot be processed: never again.
        Input = "input",
        /// Something that it needs did not serve: again, after ever longer pauses.
        Infrastructure = "infrastructure",
        /// It took more memory than there is: once again, perhaps beside less.
        Memory = "memory",
        /// Its worker vanished. That costs nothing, but not for ever: the job may be what ends workers.
        Interrupted = "interrupted",
    }
}

/// A job to be.
#[derive(Debug, Clone)]
pub struct NewJob {
    /// What it is to be made of.
    pub video: VideoId,
    /// The name of the profile that says what is made.
    pub profile: String,
    /// Only this rendition of the profile's.
    pub rendition: Option<String>,
    /// Higher ones are claimed first.
    pub priority: i32,
}

/// A part of a job, to be.
#[derive(Debug, Clone)]
pub struct NewPart {
    /// What exactly is to be made.
    pub brief: String,
    /// How long that plays; what is quickly made counts as nothing.
    pub media_ms: u64,
    /// How much a worker has to fetch for it; without it all of the video.
    pub source_bytes: Option<u64>,
}

/// A job as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// Its name.
    pub id: JobId,
    /// What it is to be made of.
    pub video: VideoId,
    /// The name of the profile that says what is made.
    pub profile: String,
    /// Only this rendition of the profile's.
    pub rendition: Option<String>,
    /// The job that it is a part of.
    pub parent: Option<JobId>,
    /// What exactly is to be made, as workers say it to each other; without it all that the profile makes.
    pub brief: Option<String>,
    /// What a part has made, for as long as that lies in the store.
    pub made: Option<String>,
    /// How long what it makes plays, where that is known.
    pub media_ms: Option<u64>,
    /// Higher ones are claimed first.
    pub priority: i64,
    /// Where it stands.
    pub state: JobState,
    /// From when on it may be claimed.
    pub due_ms: i64,
    /// How often it was claimed: the fencing number of whoever did so last.
    pub attempt: u64,
    /// Attempts that ended as [`Failure::Infrastructure`].
    pub failures: u64,
    /// As [`Failure::Memory`].
    pub memory_failures: u64,
    /// As [`Failure::Interrupted`].
    pub interruptions: u64,
    /// Who has it.
    pub worker: Option<String>,
    /// Until when, by the database's clock.
    pub leased_until_ms: Option<i64>,
    /// Whoever runs it is to stop.
    pub is_cancelled: bool,
    /// How the last attempt failed.
    pub failure: Option<Failure>,
    /// In words.
    pub problem: Option<String>,
    /// The end of the log of what it ran.
    pub log: Option<String>,
    /// When it was added.
    pub created_ms: i64,
    /// When it last changed.
    pub updated_ms: i64,
    /// The database's time when it was read.
    pub now_ms: i64,
}

/// What follows a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Another attempt, after so many milliseconds.
    Retry(i64),
    /// None.
    Dead,
}

/// Attempts that fail for want of something else, in all.
const FAILURES_MAX: u64 = 6;
/// Attempts that run out of memory, in all.
const MEMORY_FAILURES_MAX: u64 = 2;
/// Attempts that somebody interrupts, in all.
const INTERRUPTIONS_MAX: u64 = 10;
/// The first pause; each further one is three times as long, up to a limit.
const PAUSE_MS: i64 = 5_000;
const PAUSE_MS_MAX: i64 = 600_000;

// === impl Job ===

impl Job {
    /// Where the attempt keeps what it makes: nobody else writes there.
    pub fn prefix(&self) -> String {
        format!("{}{}-{}/", Video::processed(self.video), self.id, self.attempt)
    }

    /// What follows when this attempt ends so.
    pub(super) fn after(&self, failure: Failure) -> Next {
        let (before, most) = match failure {
            Failure::Input => return Next::Dead,
            Failure::Infrastructure => (self.failures, FAILURES_MAX),
            Failure::Memory => (self.memory_failures, MEMORY_FAILURES_MAX),
            Failure::Interrupted => (self.interruptions, INTERRUPTIONS_MAX),
        };
        if before + 1 >= most {
            return Next::Dead;
        }
        if failure == Failure::Interrupted {
            return Next::Retry(0);
        }
        let doubled = u32::try_from(before).unwrap_or(u32::MAX);
        let pause = PAUSE_MS.saturating_mul(3_i64.saturating_pow(doubled)).min(PAUSE_MS_MAX);
        // Half of it to all of it, so that jobs that failed together do not come back together.
        Next::Retry(pause / 2 + self.id.spread(self.attempt) % (pause / 2 + 1))
    }

    pub(super) fn from_row(row: &Row) -> Result<Self, Error> {
        let is_cancelled: i64 = row.get("is_cancelled")?;
        Ok(Self {
            id: row.get("id")?,
            video: row.get("video")?,
            profile: row.get("profile")?,
            rendition: row.get("rendition")?,
            parent: row.get("parent")?,
            brief: row.get("brief")?,
            made: row.get("made")?,
            media_ms: row.get("media_ms")?,
            priority: row.get("priority")?,
            state: row.get("state")?,
            due_ms: row.get("due_ms")?,
            attempt: row.get("attempt")?,
            failures: row.get("failures")?,
            memory_failures: row.get("memory_failures")?,
            interruptions: row.get("interruptions")?,
            worker: row.get("worker")?,
            leased_until_ms: row.get("leased_until_ms")?,
            is_cancelled: is_cancelled != 0,
            failure: row.get("failure")?,
            problem: row.get("problem")?,
            log: row.get("log")?,
            created_ms: row.get("created_ms")?,
            updated_ms: row.get("updated_ms")?,
            now_ms: row.get("now_ms")?,
        })
    }
}
