//! Jobs, as the API shows them: `/api/videos/{id}/jobs`, `/api/jobs` and what is below that.
//!
//! A job is its video's: whoever may change that may see and change its jobs. The list of all jobs is for admins, and for
//! who works at the machine of a gateway without accounts, of videos that are nobody's.

mod action;
mod document;
mod upkeep;
mod work;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use seekway_catalog::{Catalog, Error, Job, JobFilter, JobId, JobState, NewJob, Role, VideoId};

pub(crate) use action::JobAction;
pub(crate) use document::{JobDocument, JobStateWord, JobsDocument, NewJobDocument};
pub(crate) use upkeep::look_after;
pub(crate) use work::{NewestWork, Work, count, work_answer};

use crate::accounts;
use crate::caller::Caller;
use crate::config::is_profile;
use crate::delivery::body::Payload;
use crate::json;
use crate::respond::Problem;
use crate::routes::{BadQuery, VIDEOS_LIMIT_MAX, limit, parameter};
use crate::upload::Body;
use crate::videos;

/// Without a `limit`: a screenful.
const LIMIT_DEFAULT: usize = 20;
/// A rendition's name is no longer than a profile's.
const RENDITION_BYTES_MAX: usize = 64;

/// `GET /api/videos/{id}/jobs`: newest first. A video has few.
pub(crate) async fn of_video(
    catalog: &Catalog,
    caller: Caller,
    video: VideoId,
) -> Result<Response<Payload>, Problem> {
    videos::owned(catalog, caller, video).await?;
    let jobs = catalog.jobs().of_video(video).await?;
    let jobs = jobs.into_iter().map(JobDocument::in_list).collect();
    Ok(json::response(StatusCode::OK, &JobsDocument { jobs, next: None }))
}

/// `POST /api/videos/{id}/jobs`: has it processed, again or by another profile. `usual` is the profile where none is named.
pub(crate) async fn add(
    catalog: &Catalog,
    caller: Caller,
    video: VideoId,
    usual: Option<&str>,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response<Payload>, Problem> {
    videos::owned(catalog, caller, video).await?;
    let usual = usual.ok_or(Problem::NoTranscoding)?;
    let NewJobDocument { profile, rendition, priority } = json::read(headers, body).await?;
    let profile = profile.unwrap_or_else(|| usual.to_owned());
    if !is_profile(&profile) {
        let why = "`profile` must be 1 to 64 lower-case letters, digits and dashes";
        return Err(Problem::BadBody(why.to_owned()));
    }
    let is_name = |name: &String| {
        (1..=RENDITION_BYTES_MAX).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if rendition.as_ref().is_some_and(|rendition| !is_name(rendition)) {
        return Err(Problem::BadBody("`rendition` must be 1 to 64 visible ASCII characters".to_owned()));
    }
    let new = NewJob { video, profile, rendition, priority };
    let id = catalog.jobs().process_again(&new).await.map_err(of_job)?;
    let job = catalog.jobs().get(id).await.map_err(of_job)?;
    let mut response = json::response(StatusCode::CREATED, &JobDocument::in_list(job));
    let path = HeaderValue::from_str(&format!("/api/jobs/{id}")).expect("a path");
    response.headers_mut().insert(header::LOCATION, path);
    Ok(response)
}

/// `GET /api/jobs?state=&after=&limit=`: newest first.
pub(crate) async fn list(
    catalog: &Catalog,
    caller: Caller,
    query: Option<&str>,
) -> Result<Response<Payload>, Problem> {
    let is_unowned = match caller {
        Caller::Account { role: Role::Admin, .. } => false,
        Caller::Local => true,
        Caller::Account { .. } => return Err(accounts::Refusal::NotAllowed(Role::Admin).into()),
        Caller::Stranger => return Err(accounts::Refusal::LogInFirst.into()),
    };
    let (state, after, limit) = read(query.unwrap_or_default()).map_err(Problem::BadQuery)?;
    // One more than is shown says whether there is a next page.
    let wanted = u32::try_from(limit + 1).expect("a limit is small");
    let mut jobs = catalog.jobs().list(JobFilter { state, is_unowned }, after, wanted).await?;
    let more = jobs.len() > limit;
    jobs.truncate(limit);
    let next = jobs.last().filter(|_| more).map(|job| job.id.to_string());
    let jobs = jobs.into_iter().map(JobDocument::in_list).collect();
    Ok(json::response(StatusCode::OK, &JobsDocument { jobs, next }))
}

/// `GET /api/jobs/{id}`
pub(crate) async fn get(catalog: &Catalog, caller: Caller, id: JobId) -> Result<Response<Payload>, Problem> {
    let (job, video) = owned(catalog, caller, id).await?;
    Ok(json::response(StatusCode::OK, &JobDocument::alone(job, video.progress)))
}

/// `POST /api/jobs/{id}/…`
pub(crate) async fn act(
    catalog: &Catalog,
    caller: Caller,
    id: JobId,
    action: JobAction,
) -> Result<Response<Payload>, Problem> {
    owned(catalog, caller, id).await?;
    action.apply(catalog, id).await.map_err(of_job)?;
    get(catalog, caller, id).await
}

/// The job and its video, if the caller may change that. Who may not is told nothing of it.
async fn owned(
    catalog: &Catalog,
    caller: Caller,
    id: JobId,
) -> Result<(Job, seekway_catalog::Video), Problem> {
    let job = catalog.jobs().get(id).await.map_err(of_job)?;
    match videos::owned(catalog, caller, job.video).await {
        Ok(video) => Ok((job, video)),
        Err(Problem::NoVideo | Problem::NotYours) => Err(Problem::NoJob),
        Err(problem) => Err(problem),
    }
}

fn of_job(error: Error) -> Problem {
    match error {
        Error::NotFound => Problem::NoJob,
        Error::Conflict(why) => Problem::JobConflict(why.to_owned()),
        error @ Error::IllegalTransition { .. } => Problem::JobConflict(error.to_string()),
        error => error.into(),
    }
}

fn read(query: &str) -> Result<(Option<JobState>, Option<JobId>, usize), BadQuery> {
    let state = parameter(query, "state")?.map(|word| JobState::parse(&word).ok_or(BadQuery::JobState));
    let after = parameter(query, "after")?.map(|text| JobId::parse(&text).ok_or(BadQuery::After));
    let limit = limit(query, LIMIT_DEFAULT, VIDEOS_LIMIT_MAX)?.ok_or(BadQuery::VideosLimit)?;
    Ok((state.transpose()?, after.transpose()?, limit))
}
