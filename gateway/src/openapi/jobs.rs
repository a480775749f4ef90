//! `/api/jobs`, and the jobs of a video.

use utoipa::OpenApi;

use super::problems::{OfBody, OfList, OfOne};
use crate::jobs::{JobDocument, JobStateWord, JobsDocument, NewJobDocument, PartsDocument};

#[derive(OpenApi)]
#[openapi(
    paths(jobs_of_video, new_job, list_jobs, get_job, cancel_job, redrive_job, hurry_job),
    components(schemas(JobDocument, PartsDocument, JobsDocument, NewJobDocument, JobStateWord))
)]
pub(super) struct Jobs;

/// What is and was done with a video, newest first; for its owner and admins.
#[utoipa::path(
    get,
    path = "/api/videos/{id}/jobs",
    tag = "jobs",
    params(("id" = String, Path, description = "The video's name.", format = "uuid")),
    responses((status = 200, description = "All of them.", body = JobsDocument), OfOne)
)]
fn jobs_of_video() {}

/// Has a video processed, again or by another profile. What is published of it stays until that is done.
#[utoipa::path(
    post,
    path = "/api/videos/{id}/jobs",
    tag = "jobs",
    params(("id" = String, Path, description = "The video's name.", format = "uuid")),
    request_body = NewJobDocument,
    responses((status = 201, description = "The job.", body = JobDocument), OfBody)
)]
fn new_job() {}

/// A page of all jobs, newest first, for admins.
#[utoipa::path(
    get,
    path = "/api/jobs",
    tag = "jobs",
    params(
        ("state" = Option<JobStateWord>, Query, description = "Only those that stand there."),
        ("after" = Option<String>, Query, description = "`next` of the page before."),
        ("limit" = Option<usize>, Query, description = "At most so many; 20 without it.", minimum = 1, maximum = 100),
    ),
    responses(
        (status = 200, description = "A page.", body = JobsDocument),
        (status = 403, description = "It is for admins."),
        OfList
    )
)]
fn list_jobs() {}

/// A job with all that is known of it, for the owner of its video and admins.
#[utoipa::path(
    get,
    path = "/api/jobs/{id}",
    tag = "jobs",
    params(("id" = String, Path, description = "Its name.", format = "uuid")),
    responses((status = 200, description = "The job.", body = JobDocument), OfOne)
)]
fn get_job() {}

/// Gives a job up: at once where nobody is at it, else as soon as its worker hears of it.
#[utoipa::path(
    post,
    path = "/api/jobs/{id}/cancel",
    tag = "jobs",
    params(("id" = String, Path, description = "Its name.", format = "uuid")),
    responses(
        (status = 200, description = "The job as it is now.", body = JobDocument),
        (status = 409, description = "It has ended."),
        OfOne
    )
)]
fn cancel_job() {}

/// Queues a job again that is dead or cancelled, with its counts at zero.
#[utoipa::path(
    post,
    path = "/api/jobs/{id}/redrive",
    tag = "jobs",
    params(("id" = String, Path, description = "Its name.", format = "uuid")),
    responses(
        (status = 200, description = "The job as it is now.", body = JobDocument),
        (status = 409, description = "It is neither, or another job of its video has not ended."),
        OfOne
    )
)]
fn redrive_job() {}

/// Has a job that waits for another attempt tried now.
#[utoipa::path(
    post,
    path = "/api/jobs/{id}/hurry",
    tag = "jobs",
    params(("id" = String, Path, description = "Its name.", format = "uuid")),
    responses(
        (status = 200, description = "The job as it is now.", body = JobDocument),
        (status = 409, description = "It does not wait."),
        OfOne
    )
)]
fn hurry_job() {}
