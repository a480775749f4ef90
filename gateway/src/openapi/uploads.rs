//! Uploads, but for those whose protocols are written elsewhere.

use utoipa::{OpenApi, ToSchema};

use super::problems::{OfBody, OfOne};
use crate::upload::direct::{Begun, Done, NewDocument, Signed, Wanted};
use crate::upload::form::Made;
use crate::upload::http::UploadDocument;

#[derive(OpenApi)]
#[openapi(
    paths(form, upload, begin_direct, sign_direct, look_direct, complete_direct, give_up_direct),
    components(schemas(Form, Made, UploadDocument<'_>, NewDocument, Begun<'_>, Wanted, Signed, Done))
)]
pub(super) struct Uploads;

/// A file, and what is said of it.
#[derive(ToSchema)]
#[schema(as = UploadForm)]
struct Form {
    /// The file.
    #[schema(value_type = String, format = Binary)]
    file: Vec<u8>,
    /// What people will call it; its file's name otherwise.
    title: Option<String>,
    /// `video`, `watermark`, `intro` or `outro`; a video otherwise.
    purpose: Option<String>,
    /// By which profile the video is to be processed: 1 to 64 lower-case letters, digits and dashes. The gateway's own
    /// otherwise.
    profile: Option<String>,
}

/// Uploads a file in one request.
#[utoipa::path(
    post,
    path = "/api/videos",
    tag = "uploads",
    request_body(content = Form, content_type = "multipart/form-data"),
    responses((status = 201, description = "What it became.", body = Made), OfBody)
)]
fn form() {}

/// How far an upload is, by whatever protocol it comes.
#[utoipa::path(
    get,
    path = "/api/uploads/{id}",
    tag = "uploads",
    params(("id" = String, Path, description = "Its name.", format = "uuid")),
    responses(
        (status = 200, description = "The upload.", body = UploadDocument<'_>),
        (status = 410, description = "It has expired or was given up."),
        OfOne
    )
)]
fn upload() {}

/// Begins an upload straight to the bucket.
#[utoipa::path(
    post,
    path = "/api/uploads/direct",
    tag = "uploads",
    request_body = NewDocument,
    responses((status = 201, description = "The upload.", body = Begun<'_>), OfBody)
)]
fn begin_direct() {}

/// Signs requests that put parts into the bucket.
#[utoipa::path(
    post,
    path = "/api/uploads/direct/{id}/parts",
    tag = "uploads",
    params(("id" = String, Path, description = "Its name.", format = "uuid")),
    request_body = Wanted,
    responses((status = 200, description = "The requests.", body = Signed), OfBody)
)]
fn sign_direct() {}

/// The upload, and the parts that the bucket has.
#[utoipa::path(
    get,
    path = "/api/uploads/direct/{id}",
    tag = "uploads",
    params(("id" = String, Path, description = "Its name.", format = "uuid")),
    responses(
        (status = 200, description = "The upload.", body = Begun<'_>),
        (status = 410, description = "It has expired or was given up."),
        (status = 501, description = "The store is no bucket."),
        OfOne
    )
)]
fn look_direct() {}

/// Makes a video of the parts.
#[utoipa::path(
    post,
    path = "/api/uploads/direct/{id}/complete",
    tag = "uploads",
    params(("id" = String, Path, description = "Its name.", format = "uuid")),
    request_body = Done,
    responses((status = 200, description = "The upload.", body = UploadDocument<'_>), OfBody)
)]
fn complete_direct() {}

/// Gives the upload up.
#[utoipa::path(
    delete,
    path = "/api/uploads/direct/{id}",
    tag = "uploads",
    params(("id" = String, Path, description = "Its name.", format = "uuid")),
    responses(
        (status = 204, description = "It is gone."),
        (status = 410, description = "It has expired or was given up before."),
        (status = 501, description = "The store is no bucket."),
        OfOne
    )
)]
fn give_up_direct() {}
