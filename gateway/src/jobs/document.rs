//! What the API says of jobs, and what is said to it.

use seekway_catalog::{Failure, Job, JobState, Progress};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::videos::{ProgressDocument, timestamp};

/// A job.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Job)]
pub(crate) struct JobDocument {
    /// Its name.
    #[schema(format = "uuid")]
    id: String,
    /// The video that it is to be made of.
    #[schema(format = "uuid")]
    video: String,
    /// The profile that says what is made.
    profile: String,
    /// Only this one of the profile's renditions.
    rendition: Option<String>,
    /// The job that it is a part of.
    #[schema(format = "uuid")]
    parent: Option<String>,
    /// What it was split into, where it was. Only of a job by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    parts: Option<PartsDocument>,
    /// Higher ones are done first.
    priority: i64,
    /// Where it stands.
    state: JobStateWord,
    /// Whether whoever runs it has been asked to stop.
    is_cancelled: bool,
    /// How often it was begun.
    #[schema(minimum = 0)]
    attempt: u64,
    /// How attempts ended since it was queued.
    counts: CountsDocument,
    /// Who is at it.
    worker: Option<String>,
    /// Until when its worker has it, unless that says more.
    #[schema(format = "date-time")]
    leased_until: Option<String>,
    /// When it is tried again.
    #[schema(format = "date-time")]
    due: Option<String>,
    /// How far its worker is. Only of a job by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<ProgressDocument>,
    /// How the last attempt failed.
    failure: Option<FailureWord>,
    /// In words.
    problem: Option<String>,
    /// The end of the log of what it ran. Only of a job by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<String>,
    /// When it was added.
    #[schema(format = "date-time")]
    created: String,
    /// When it last changed.
    #[schema(format = "date-time")]
    updated: String,
}

/// The parts of a job: chunks of its picture, and its sound.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JobParts)]
pub(crate) struct PartsDocument {
    /// How many there are.
    #[schema(minimum = 0)]
    count: u64,
    /// How many of them are made.
    #[schema(minimum = 0)]
    made: u64,
    /// How many of them a worker has.
    #[schema(minimum = 0)]
    running: u64,
}

/// How many attempts ended in which way.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = JobCounts)]
pub(crate) struct CountsDocument {
    #[schema(minimum = 0)]
    infrastructure: u64,
    #[schema(minimum = 0)]
    memory: u64,
    #[schema(minimum = 0)]
    interrupted: u64,
}

/// A page of jobs.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Jobs)]
pub(crate) struct JobsDocument {
    /// Newest first.
    pub(super) jobs: Vec<JobDocument>,
    /// `after` of the next page; none on the last one.
    #[schema(format = "uuid")]
    pub(super) next: Option<String>,
}

/// What is to be made of a video.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = NewJob)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewJobDocument {
    /// A profile of the workers; the gateway's own without it.
    #[schema(min_length = 1, max_length = 64, pattern = "^[a-z0-9-]+$")]
    pub(super) profile: Option<String>,
    /// Only this one of its renditions.
    #[schema(min_length = 1, max_length = 64)]
    pub(super) rendition: Option<String>,
    /// Higher ones are done first.
    #[serde(default)]
    pub(super) priority: i32,
}

/// Where a job stands: it is to be done; a worker has it, or is at it; it waits for its parts, or for another attempt; it is done; nobody tries it
/// again by himself; somebody gave it up.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(as = JobState)]
#[serde(rename_all = "lowercase")]
pub(crate) enum JobStateWord {
    Queued,
    Leased,
    Running,
    Waiting,
    Retry,
    Succeeded,
    Dead,
    Cancelled,
}

/// Why an attempt came to nothing: the video cannot be processed; something that it needs did not serve; it took too much
/// memory; its worker vanished.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[schema(as = JobFailure)]
#[serde(rename_all = "lowercase")]
pub(crate) enum FailureWord {
    Input,
    Infrastructure,
    Memory,
    Interrupted,
}

// === impl JobDocument ===

impl JobDocument {
    /// With all that is known. `progress` is its video's.
    pub(crate) fn alone(mut job: Job, parts: &[Job], progress: Option<Progress>) -> Self {
        let log = job.log.take();
        let progress = progress
            .filter(|_| matches!(job.state, JobState::Running | JobState::Waiting))
            .map(ProgressDocument::from);
        Self { progress, log, parts: PartsDocument::of(parts), ..Self::in_list(job) }
    }

    /// Among others.
    pub(crate) fn in_list(job: Job) -> Self {
        Self {
            id: job.id.to_string(),
            video: job.video.to_string(),
            profile: job.profile,
            rendition: job.rendition,
            parent: job.parent.map(|id| id.to_string()),
            parts: None,
            priority: job.priority,
            state: job.state.into(),
            is_cancelled: job.is_cancelled,
            attempt: job.attempt,
            counts: CountsDocument {
                infrastructure: job.failures,
                memory: job.memory_failures,
                interrupted: job.interruptions,
            },
            worker: job.worker,
            leased_until: job.leased_until_ms.map(timestamp),
            due: (job.state == JobState::Retry).then(|| timestamp(job.due_ms)),
            progress: None,
            failure: job.failure.map(FailureWord::from),
            problem: job.problem,
            log: None,
            created: timestamp(job.created_ms),
            updated: timestamp(job.updated_ms),
        }
    }
}

impl PartsDocument {
    fn of(parts: &[Job]) -> Option<Self> {
        let count = |is: fn(JobState) -> bool| parts.iter().filter(|part| is(part.state)).count() as u64;
        (!parts.is_empty()).then(|| Self {
            count: parts.len() as u64,
            made: count(|state| state == JobState::Succeeded),
            running: count(|state| matches!(state, JobState::Leased | JobState::Running)),
        })
    }
}

impl From<JobState> for JobStateWord {
    fn from(state: JobState) -> Self {
        match state {
            JobState::Queued => Self::Queued,
            JobState::Leased => Self::Leased,
            JobState::Running => Self::Running,
            JobState::Waiting => Self::Waiting,
            JobState::Retry => Self::Retry,
            JobState::Succeeded => Self::Succeeded,
            JobState::Dead => Self::Dead,
            JobState::Cancelled => Self::Cancelled,
        }
    }
}

impl From<Failure> for FailureWord {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Input => Self::Input,
            Failure::Infrastructure => Self::Infrastructure,
            Failure::Memory => Self::Memory,
            Failure::Interrupted => Self::Interrupted,
        }
    }
}
