//! What the API is, for programs: an OpenAPI 3.1 document, made from the types that the API speaks in.

#![expect(dead_code, reason = "functions stand for paths; what is told of them is above them")]

use std::sync::LazyLock;

use bytes::Bytes;
use http::Response;
use http::header::{self, HeaderValue};
use utoipa::OpenApi;

use crate::assets::{AssetDocument, AssetsDocument};
use crate::delivery::body::Payload;
use crate::respond::ProblemDocument;
use crate::videos::{PatchDocument, VideoDocument, VideosDocument};

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| {
    let mut api = Api::openapi();
    // Paths are those of this very server.
    api.servers = None;
    Bytes::from(api.to_json().expect("a document has text for keys"))
});

/// The document.
pub(crate) fn document() -> Response<Payload> {
    let mut response = Response::new(Payload::Small(DOCUMENT.clone()));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    response
}

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Seekway",
        description = "Videos of a streaming media gateway. Every error is a problem document (RFC 9457). \
                       Uploads by tus 1.0 are at /api/uploads, bytes at /media."
    ),
    paths(
        list_videos,
        get_video,
        patch_video,
        delete_video,
        video_events,
        list_assets,
        get_asset,
        delete_asset,
        health,
        ready
    ),
    components(schemas(
        AssetDocument,
        AssetsDocument,
        VideoDocument,
        VideosDocument,
        PatchDocument,
        ProblemDocument
    ))
)]
struct Api;

/// A page of the videos that the caller may see, newest first.
#[utoipa::path(
    get,
    path = "/api/videos",
    tag = "videos",
    params(
        ("search" = Option<String>, Query, description = "Words in the title, in this order; case does not matter."),
        ("owner" = Option<String>, Query, description = "Only those of this account; `me` is the caller's."),
        ("visibility" = Option<crate::videos::VisibilityWord>, Query, description = "Only those that these may see."),
        ("state" = Option<crate::videos::StateWord>, Query, description = "Only those that stand there."),
        ("after" = Option<String>, Query, description = "`next` of the page before."),
        ("limit" = Option<usize>, Query, description = "At most so many; 20 without it.", minimum = 1, maximum = 100),
    ),
    responses(
        (status = 200, description = "A page.", body = VideosDocument),
        (status = 400, description = "A parameter is wrong.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "Try again shortly.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
fn list_videos() {}

/// A video.
#[utoipa::path(
    get,
    path = "/api/videos/{id}",
    tag = "videos",
    params(("id" = String, Path, description = "Its name.", format = "uuid")),
    responses(
        (status = 200, description = "The video.", body = VideoDocument),
        (status = 404, description = "There is none, or none that the caller may see.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "Try again shortly.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
fn get_video() {}

/// Changes a video's title, who may see it, or both.
#[utoipa::path(
    patch,
    path = "/api/videos/{id}",
    tag = "videos",
    params(("id" = String, Path, description = "Its name.", format = "uuid")),
    request_body = PatchDocument,
    responses(
        (status = 200, description = "The video as it is now.", body = VideoDocument),
        (status = 400, description = "The body is not what is wanted.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 403, description = "It is somebody else's.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "There is none, or none that the caller may see.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 413, description = "The body is too long.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 415, description = "The body is no JSON.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "Try again shortly.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
fn patch_video() {}

/// Deletes a video: nobody sees it from now on, and its objects go soon.
#[utoipa::path(
    delete,
    path = "/api/videos/{id}",
    tag = "videos",
    params(("id" = String, Path, description = "Its name.", format = "uuid")),
    responses(
        (status = 204, description = "It is gone."),
        (status = 403, description = "It is somebody else's.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "There is none, or none that the caller may see.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "Try again shortly.", body = ProblemDocument, content_type = "application/problem+json"),
    )
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
        (status = 400, description = "Last-Event-ID is no number.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 404, description = "There is none, or none that the caller may see.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "Try again shortly.", body = ProblemDocument, content_type = "application/problem+json"),
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
    responses(
        (status = 200, description = "A page.", body = AssetsDocument),
        (status = 400, description = "A parameter is wrong.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 401, description = "Who asks is not known.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "Try again shortly.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
fn list_assets() {}

/// A watermark, an intro or an outro.
#[utoipa::path(
    get,
    path = "/api/assets/{id}",
    tag = "assets",
    params(("id" = String, Path, description = "Its name.", format = "uuid")),
    responses(
        (status = 200, description = "The asset.", body = AssetDocument),
        (status = 404, description = "The caller has none of that name.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "Try again shortly.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
fn get_asset() {}

/// Deletes an asset; its object goes soon.
#[utoipa::path(
    delete,
    path = "/api/assets/{id}",
    tag = "assets",
    params(("id" = String, Path, description = "Its name.", format = "uuid")),
    responses(
        (status = 204, description = "It is gone."),
        (status = 404, description = "The caller has none of that name.", body = ProblemDocument, content_type = "application/problem+json"),
        (status = 503, description = "Try again shortly.", body = ProblemDocument, content_type = "application/problem+json"),
    )
)]
fn delete_asset() {}

/// The process answers.
#[utoipa::path(get, path = "/api/health", tag = "health", responses((status = 200, description = "It does.")))]
fn health() {}

/// The process wants traffic.
#[utoipa::path(
    get,
    path = "/api/ready",
    tag = "health",
    responses((status = 200, description = "It does."), (status = 503, description = "Not now."))
)]
fn ready() {}
