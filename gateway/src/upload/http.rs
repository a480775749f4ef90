//! Which protocol a request speaks. On one URL there are two: tus says so in `Tus-Resumable`, and what is resumable by the
//! IETF's draft has headers of its own.

use http::{HeaderMap, Method, Request, Response, StatusCode};
use seekway_catalog::{Finished, Upload};
use serde::Serialize;
use utoipa::ToSchema;

use super::{Body, Uploads, direct, form, resumable, tus};
use crate::caller::Caller;
use crate::delivery::body::Payload;
use crate::json;
use crate::respond::Problem;
use crate::routes::Route;

/// Answers what is asked of a route of uploads, but for OPTIONS.
pub(crate) async fn answer(
    uploads: &Uploads,
    caller: Caller,
    route: &Route,
    request: &Request<()>,
    body: Body,
) -> Result<Response<Payload>, Problem> {
    let (method, headers) = (request.method(), request.headers());
    match route {
        Route::Videos => form::create(uploads, caller, headers, body).await,
        Route::DirectUploads => direct::create(uploads, caller, headers, body).await,
        Route::DirectUpload(id, action) => {
            direct::resource(uploads, caller, *id, *action, method, headers, body).await
        }
        Route::Upload(id) if method == Method::GET => {
            let upload = uploads.get(caller, *id).await?;
            Ok(json::response(StatusCode::OK, &UploadDocument::from(&upload)))
        }
        Route::Upload(id) if is_resumable(method, headers) => {
            resumable::resource(uploads, caller, *id, method, headers, body).await
        }
        Route::Upload(id) => tus::resource(uploads, caller, *id, method, headers, body).await,
        _ if is_resumable(method, headers) => resumable::create(uploads, caller, headers, body).await,
        _ => tus::create(uploads, caller, headers, body).await,
    }
}

fn is_resumable(method: &Method, headers: &HeaderMap) -> bool {
    let is_tus = headers.contains_key(tus::TUS_RESUMABLE);
    // These two mean the same in both, and a client that says nothing is told more by this one.
    let is_either = *method == Method::HEAD || *method == Method::DELETE;
    !is_tus && (is_either || resumable::HEADERS.iter().any(|name| headers.contains_key(name)))
}

/// What the API says of an upload.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Upload)]
pub(crate) struct UploadDocument<'u> {
    id: String,
    state: &'static str,
    via: &'static str,
    title: &'u str,
    offset: u64,
    length: Option<u64>,
    /// What it became.
    video: Option<String>,
    asset: Option<String>,
    sha256: Option<&'u str>,
}

impl<'u> From<&'u Upload> for UploadDocument<'u> {
    fn from(upload: &'u Upload) -> Self {
        Self {
            id: upload.id.to_string(),
            state: upload.state.as_str(),
            via: upload.via.as_str(),
            title: &upload.title,
            offset: upload.offset,
            length: upload.length,
            video: upload.video.map(|id| id.to_string()),
            asset: upload.asset.map(|id| id.to_string()),
            sha256: upload.sha256.as_deref(),
        }
    }
}

/// Where what an upload became is.
pub(super) fn path_of(finished: Finished) -> String {
    match finished {
        Finished::Video(id) => format!("/api/videos/{id}"),
        Finished::Asset(id) => format!("/api/assets/{id}"),
    }
}
