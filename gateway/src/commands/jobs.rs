//! `gateway jobs`: what workers are to make of videos, from the command line.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::time::Duration;

use seekway_catalog::{Catalog, Error, Job, JobFilter, JobId, JobState};

use super::{Failure, config, database, queue};
use crate::config::Config;
use crate::jobs::JobAction;
use crate::videos::timestamp;

pub(super) const EXAMPLES: &str = "\
A video that was uploaded is queued. A worker claims the job (leased), begins (running), and publishes what it made
(succeeded). Where something did not serve, the job waits and is tried again (retry); where that does not help, or the video
is what cannot be processed, it is dead.

  gateway jobs list                    the newest, whatever became of them
  gateway jobs list --state dead       those that nobody tries again
  gateway jobs show ID                 why, with the end of ffmpeg's log
  gateway jobs redrive ID              try it again, once the cause is mended
  gateway jobs redrive --all           try all dead ones again, and what lies in the broker's dead letters
  gateway jobs hurry ID                do not wait for its next attempt
  gateway jobs cancel ID               give it up; its worker stops within seconds

The database is the gateway's: DATABASE_URL, or --database-url behind a `--`.";

/// Nobody waits for doorbells here.
const NEVER: Duration = Duration::from_hours(1);

/// What is to be done with jobs.
#[derive(Debug, clap::Subcommand)]
pub(super) enum JobsCommand {
    /// List jobs, newest first
    List {
        /// Only those that stand there: queued, leased, running, retry, succeeded, dead or cancelled
        #[arg(long, value_name = "STATE", value_parser = state)]
        state: Option<JobState>,

        /// Only those after this one, the last of the page before
        #[arg(long, value_name = "ID", value_parser = id)]
        after: Option<JobId>,

        /// At most so many
        #[arg(long, value_name = "COUNT", default_value = "50", value_parser = clap::value_parser!(u32).range(1..=1000))]
        limit: u32,

        /// Settings of the gateway
        #[arg(last = true, value_name = "SETTINGS")]
        settings: Vec<OsString>,
    },
    /// Show all that is known of a job
    Show(One),
    /// Give a job up: at once where nobody is at it, else as soon as its worker hears of it
    Cancel(One),
    /// Queue a job again that is dead or cancelled, with its counts at zero; its dead letter goes
    #[command(group(clap::ArgGroup::new("which").required(true)))]
    Redrive {
        /// Its name
        #[arg(value_name = "ID", value_parser = id, group = "which")]
        id: Option<JobId>,

        /// All that are dead, and all that lies in the dead letters of the broker of `QUEUE_URL`
        #[arg(long, group = "which")]
        all: bool,

        /// Dead letters that name no job are shown and kept; delete them
        #[arg(long, requires = "all")]
        discard: bool,

        /// Settings of the gateway
        #[arg(last = true, value_name = "SETTINGS")]
        settings: Vec<OsString>,
    },
    /// Try a job now that waits for another attempt
    Hurry(One),
}

/// One job.
#[derive(Debug, clap::Args)]
pub(super) struct One {
    /// Its name
    #[arg(value_name = "ID", value_parser = id)]
    id: JobId,

    /// Settings of the gateway
    #[arg(last = true, value_name = "SETTINGS")]
    settings: Vec<OsString>,
}

// === impl JobsCommand ===

impl JobsCommand {
    /// Does it, and says what came of it.
    pub(super) async fn run(&self) -> Result<String, Failure> {
        let settings = match self {
            Self::List { settings, .. } | Self::Redrive { settings, .. } => settings,
            Self::Show(one) | Self::Cancel(one) | Self::Hurry(one) => &one.settings,
        };
        let config = config(settings.iter().cloned())?;
        let catalog = database(&config).await?;
        let done = self.with(&catalog, &config).await;
        catalog.close().await;
        done
    }

    async fn with(&self, catalog: &Catalog, config: &Config) -> Result<String, Failure> {
        let failed = |error| match error {
            Error::NotFound => Failure::Usage("there is no such job".to_owned()),
            Error::Conflict(why) => Failure::Findings(why.to_owned()),
            error @ Error::IllegalTransition { .. } => Failure::Findings(error.to_string()),
            error => Failure::Unavailable(error.chain()),
        };
        let Self::Redrive { id, discard, .. } = self else {
            return self.apply(catalog).await.map_err(failed);
        };
        let doorbells = config.queue.open(catalog, NEVER);
        let done = match id {
            None => queue::redrive_all(catalog, &*doorbells, *discard).await?.told(),
            Some(id) => {
                let mut said = act(JobAction::Redrive, catalog, *id).await.map_err(failed)?;
                if let Err(seekway_queue::Error(why)) = queue::forget_settled(catalog, &*doorbells).await {
                    write!(said, "; its dead letter may still be there: {why}")
                        .expect("a String takes all text");
                }
                Ok(said)
            }
        };
        doorbells.close().await;
        done
    }

    async fn apply(&self, catalog: &Catalog) -> Result<String, Error> {
        let (one, action) = match self {
            Self::Redrive { .. } => unreachable!("it asks the broker, too"),
            Self::List { state, after, limit, .. } => {
                let filter = JobFilter { state: *state, is_unowned: false };
                return Ok(table(&catalog.jobs().list(filter, *after, *limit).await?));
            }
            Self::Show(one) => return Ok(in_words(&catalog.jobs().get(one.id).await?)),
            Self::Cancel(one) => (one, JobAction::Cancel),
            Self::Hurry(one) => (one, JobAction::Hurry),
        };
        act(action, catalog, one.id).await
    }
}

async fn act(action: JobAction, catalog: &Catalog, id: JobId) -> Result<String, Error> {
    action.apply(catalog, id).await?;
    let job = catalog.jobs().get(id).await?;
    let stops = if job.is_cancelled { "; its worker is asked to stop" } else { "" };
    Ok(format!("{} is {}{stops}", job.id, job.state.as_str()))
}

fn table(jobs: &[Job]) -> String {
    let mut text = format!("{:36}  {:9}  {:36}  {:12}  UPDATED", "JOB", "STATE", "VIDEO", "PROFILE");
    for job in jobs {
        let Job { id, video, state, profile, .. } = job;
        let updated = timestamp(job.updated_ms);
        write!(text, "\n{id}  {:9}  {video}  {profile:12}  {updated}", state.as_str())
            .expect("a String takes all text");
    }
    text
}

fn in_words(job: &Job) -> String {
    let mut lines = vec![
        ("job", job.id.to_string()),
        ("video", job.video.to_string()),
        ("profile", job.profile.clone()),
        ("rendition", job.rendition.clone().unwrap_or_else(|| "all".to_owned())),
        ("priority", job.priority.to_string()),
        ("state", job.state.as_str().to_owned()),
        ("attempt", job.attempt.to_string()),
        (
            "failed",
            format!(
                "{} times for want of something, {} of memory; interrupted {} times",
                job.failures, job.memory_failures, job.interruptions
            ),
        ),
        ("added", timestamp(job.created_ms)),
        ("updated", timestamp(job.updated_ms)),
    ];
    if job.state == JobState::Retry {
        lines.push(("due", timestamp(job.due_ms)));
    }
    let known = [
        ("worker", job.worker.clone()),
        ("leased until", job.leased_until_ms.map(timestamp)),
        ("failure", job.failure.map(|failure| failure.as_str().to_owned())),
        ("problem", job.problem.clone()),
        ("log", job.log.as_ref().map(|log| format!("\n{log}"))),
    ];
    lines.extend(known.into_iter().filter_map(|(name, value)| Some((name, value?))));
    let lines: Vec<_> = lines.iter().map(|(name, value)| format!("{name:13} {value}")).collect();
    lines.join("\n")
}

fn id(text: &str) -> Result<JobId, &'static str> {
    JobId::parse(text).ok_or("a job's name, as `gateway jobs list` shows it")
}

fn state(text: &str) -> Result<JobState, &'static str> {
    JobState::parse(text).ok_or("queued, leased, running, retry, succeeded, dead or cancelled")
}
