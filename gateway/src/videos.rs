//! Videos, as the API shows them: `/api/videos` and what is below it.

mod deletion;
mod document;
mod events;
mod followed;
mod listing;
mod playback;

use http::HeaderMap;
use http::{Response, StatusCode};
use seekway_catalog::{Catalog, Error, Patch, Video, VideoId, VideoState, Visibility};

pub(crate) use deletion::{Deletions, delete_below};
pub(crate) use document::{
    PatchDocument, ProgressDocument, StateWord, VideoDocument, VideosDocument, VisibilityWord, timestamp,
};
pub(crate) use events::stream as events;
pub(crate) use followed::Followed;
pub(crate) use listing::list;
pub(crate) use playback::Outputs;

use crate::caller::Caller;
use crate::delivery::body::Payload;
use crate::json;
use crate::respond::Problem;
use crate::upload::{Body, TITLE_CHARS_MAX};

/// One video.
pub(crate) async fn get(
    catalog: &Catalog,
    caller: Caller,
    id: VideoId,
) -> Result<Response<Payload>, Problem> {
    let video = seen(catalog, caller, id).await?;
    Ok(json::response(StatusCode::OK, &VideoDocument::from(video)))
}

/// Changes its title, who may see it, or both.
pub(crate) async fn patch(
    catalog: &Catalog,
    caller: Caller,
    id: VideoId,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response<Payload>, Problem> {
    owned(catalog, caller, id).await?;
    let PatchDocument { title, visibility } = json::read(headers, body).await?;
    if let Some(title) = &title
        && (title.trim().is_empty()
            || title.chars().count() > TITLE_CHARS_MAX
            || title.contains(char::is_control))
    {
        return Err(Problem::BadBody(format!(
            "`title` must have 1 to {TITLE_CHARS_MAX} characters in one line, and not only spaces"
        )));
    }
    let patch = Patch { title, visibility: visibility.map(Into::into) };
    let video = catalog.videos().patch(id, patch).await.map_err(of_video)?;
    Ok(json::response(StatusCode::OK, &VideoDocument::from(video)))
}

/// Deletes it: nobody sees it from now on, and its objects go soon.
pub(crate) async fn delete(
    catalog: &Catalog,
    caller: Caller,
    id: VideoId,
) -> Result<Response<Payload>, Problem> {
    owned(catalog, caller, id).await?;
    catalog.videos().delete(id).await.map_err(of_video)?;
    Ok(json::done())
}

/// The video, if the caller may see it.
async fn seen(catalog: &Catalog, caller: Caller, id: VideoId) -> Result<Video, Problem> {
    let video = catalog.videos().get(id).await.map_err(of_video)?;
    let is_seen = video.visibility != Visibility::Private || caller.owns(video.owner);
    if video.state == VideoState::Deleting || !is_seen {
        return Err(Problem::NoVideo);
    }
    Ok(video)
}

/// The video, if the caller may change it. Who may not even see it is told nothing of it.
pub(crate) async fn owned(catalog: &Catalog, caller: Caller, id: VideoId) -> Result<Video, Problem> {
    let video = seen(catalog, caller, id).await?;
    if caller.owns(video.owner) { Ok(video) } else { Err(Problem::NotYours) }
}

fn of_video(error: Error) -> Problem {
    match error {
        Error::NotFound => Problem::NoVideo,
        error => error.into(),
    }
}
