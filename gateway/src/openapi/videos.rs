//! `/api/videos` and `/api/assets`.

use utoipa::OpenApi;

use super::problems::{OfBody, OfList, OfOne};
use crate::assets::{AssetDocument, AssetsDocument};
use crate::videos::{PatchDocument, StateWord, VideoDocument, VideosDocument, VisibilityWord};

#[derive(OpenApi)]
#[openapi(
    paths(
        list_videos,
        get_video,
        patch_video,
        delete_video,
        video_events,
        list_assets,
        get_asset,
        delete_asset
    ),
    components(schemas(AssetDocument, AssetsDocument, VideoDocument, VideosDocument, PatchDocument))
)]
pub(super) struct Videos;

/// A page of the videos that the caller may see, newest first.
#[utoipa::path(
    get,
    path = "/api/videos",
    tag = "videos",
    params(
        ("search" = Option<String>, Query, description = "Words in the title, in this order; case does not matter."),
        ("owner" = Option<String>, Query, description = "Only those of this account; `me` is the caller's."),
        ("visibility" = Option<VisibilityWord>, Query, description = "Only those that these may see."),
        ("state" = Option<StateWord>, Query, description = "Only those that stand there."),
        ("after" = Option<String>, Query, description = "`next` of the page before."),
        ("limit" = Option<usize>, Query, description = "At most so many; 20 without it.", minimum = 1, maximum = 100),
    ),
    responses((status = 200, description = "A page.", body = VideosDocument), OfList)
)]
fn list_videos() {}

/// A video.
#[utoipa::path(
    get,
    path = "/api/videos/{id}",
    tag = "videos",
    params(("id" = String, Path, description = "Its name.", format = "uuid")),
    responses((status = 200, description = "The video.", body = VideoDocument), OfOne)
)]
fn get_video() {}

/// Changes a video's title, who may see it, or both.
#[utoipa::path(
    patch,
    path = "/api/videos/{id}",
    tag = "videos",
    params(("id" = String, Path, description = "Its name.", format = "uuid")),
    request_body = PatchDocument,
    responses((status = 200, description = "The video as it is now.", body = VideoDocument), OfBody)
)]
fn patch_video() {}

/// Deletes a video: nobody sees it from now on, and its objects go soon.
#[utoipa::path(
    delete,
    path = "/api/videos/{id}",
    tag = "videos",
    params(("id" = String, Path, description = "Its name.", format = "uuid")),
    responses((status = 204, description = "It is gone."), OfOne)
)]
fn delete_video() {}

/// What happened to a video, and what happens, as server-sent events with numbers.
#[utoipa::path(
    get,
    path = "/api/videos/{id}/events",
    tag = "videos",
    params(
        ("id" = String, Path, description = "Its name.", format = "uuid"),
        ("Last-Event-ID" = Option<i64>, Header, description = "The last event that the caller knows.", minimum = 0),
    ),
    responses(
        (status = 200, description = "Events, until the video is gone.", content_type = "text/event-stream", body = String),
        OfOne
    )
)]
fn video_events() {}

/// A page of the caller's watermarks, intros and outros, newest first.
#[utoipa::path(
    get,
    path = "/api/assets",
    tag = "assets",
    params(
        ("after" = Option<String>, Query, description = "`next` of the page before."),
        ("limit" = Option<usize>, Query, description = "At most so many; 20 without it.", minimum = 1, maximum = 100),
    ),
    responses((status = 200, description = "A page.", body = AssetsDocument), OfList)
)]
fn list_assets() {}

/// A watermark, an intro or an outro.
#[utoipa::path(
    get,
    path = "/api/assets/{id}",
    tag = "assets",
    params(("id" = String, Path, description = "Its name.", format = "uuid")),
    responses((status = 200, description = "The asset.", body = AssetDocument), OfOne)
)]
fn get_asset() {}

/// Deletes an asset; its object goes soon.
#[utoipa::path(
    delete,
    path = "/api/assets/{id}",
    tag = "assets",
    params(("id" = String, Path, description = "Its name.", format = "uuid")),
    responses((status = 204, description = "It is gone."), OfOne)
)]
fn delete_asset() {}
