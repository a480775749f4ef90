//! One attempt at a job, from its claim to whatever the catalog is told of its end.

use std::future::Future;
use std::time::Duration;

use seekway_catalog::{Error, Job, JobState};
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::brief::Brief;
use crate::lease::{Lease, Stop};
use crate::problem::Problem;
use crate::work::{Done, Meter, Tools, work};

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// What it made is published; of a part: it is made.
    Succeeded,
    /// It is to be made in parts, or in none.
    Split,
    /// It came to nothing, and the job has this state now.
    Failed(JobState),
    /// The job was given up.
    Cancelled,
    /// The job was given back.
    Released,
    /// The job is somebody else's, or will be.
    Lost,
}

/// Between two tries to tell the catalog how it ended.
const TELL_AGAIN: Duration = Duration::from_millis(500);

/// Does the job, which was claimed for `lease` when it was `asked` for, unless `drain` comes first.
pub async fn attempt(
    tools: &Tools,
    job: &Job,
    lease: Duration,
    asked: Instant,
    drain: &CancellationToken,
) -> Ended {
    let (meter, progress) = Meter::new();
    let ended = tokio::select! {
        // What ended at the same time as it had to stop has ended.
        biased;
        ended = done(tools, job, &meter) => ended,
        stop = Lease::new(&tools.catalog, job, lease, asked).keep(progress) => stopped(tools, job, stop).await,
        () = drain.cancelled() => released(tools, job).await,
    };
    info!(job = %job.id, video = %job.video, attempt = job.attempt, ?ended, "an attempt ended");
    ended
}

/// The work, and telling how it ended, for as long as somebody keeps the lease.
async fn done(tools: &Tools, job: &Job, meter: &Meter) -> Ended {
    let jobs = tools.catalog.jobs();
    let (id, number) = (job.id, job.attempt);
    let begun = tell(|| async {
        jobs.start(id, number).await?;
        tools.catalog.videos().get(job.video).await
    });
    let video = match begun.await {
        Ok(video) => video,
        Err(Error::NotFound) => return stopped(tools, job, Stop::Cancelled).await,
        Err(_) => return Ended::Lost,
    };
    let problem = match work(tools, job, &video, meter).await {
        Ok(done) => {
            let (told, ended, state) = match &done {
                Done::Published(published) => (
                    tell(|| jobs.succeed(id, number, published)).await,
                    Ended::Succeeded,
                    JobState::Succeeded,
                ),
                Done::Part(made) => {
                    (tell(|| jobs.part_made(id, number, made)).await, Ended::Succeeded, JobState::Succeeded)
                }
                Done::Split { brief, parts } => {
                    (tell(|| jobs.split(id, number, brief, parts)).await, Ended::Split, JobState::Waiting)
                }
                Done::Unsplit(why) => {
                    warn!(job = %id, why, "it cannot be made in parts; all of it will be encoded at once");
                    let brief = Brief::Whole(why.clone()).json();
                    (tell(|| jobs.unsplit(id, number, &brief)).await, Ended::Split, JobState::Queued)
                }
            };
            match told {
                Ok(()) => return ended,
                // The answer to an earlier try may have been lost.
                Err(Error::Superseded) => match jobs.get(id).await {
                    Ok(now) if now.state == state && now.attempt == number => return ended,
                    _ => return Ended::Lost,
                },
                Err(Error::NotFound) => return stopped(tools, job, Stop::Cancelled).await,
                Err(error) => Problem::from(error),
            }
        }
        Err(problem) => problem,
    };
    let Problem { failure, text, detail, log } = &problem;
    warn!(job = %id, attempt = number, ?failure, problem = text, detail, "an attempt failed");
    match tell(|| jobs.fail(id, number, *failure, text, log.as_deref())).await {
        Ok(state) => Ended::Failed(state),
        Err(_) => Ended::Lost,
    }
}

async fn stopped(tools: &Tools, job: &Job, stop: Stop) -> Ended {
    match stop {
        Stop::Cancelled => match tools.catalog.jobs().cancelled(job.id, job.attempt).await {
            Ok(()) => Ended::Cancelled,
            Err(_) => Ended::Lost,
        },
        Stop::Superseded | Stop::Lost => Ended::Lost,
    }
}

/// Who cannot give it back loses it when the lease is over.
async fn released(tools: &Tools, job: &Job) -> Ended {
    match tools.catalog.jobs().release(job.id, job.attempt).await {
        Ok(()) => Ended::Released,
        Err(_) => Ended::Lost,
    }
}

/// Tells the catalog until it has heard.
async fn tell<T, F: Future<Output = Result<T, Error>>>(mut say: impl FnMut() -> F) -> Result<T, Error> {
    loop {
        match say().await {
            Err(error) if error.is_retryable() => sleep(TELL_AGAIN).await,
            outcome => return outcome,
        }
    }
}
