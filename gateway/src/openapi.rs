//! What the API is, for programs: an OpenAPI 3.1 document, made from the types that the API speaks in.

#![expect(dead_code, reason = "functions stand for paths; what is told of them is above them")]

mod accounts;
mod events;
mod jobs;
mod problems;
mod uploads;
mod videos;

use std::sync::LazyLock;

use bytes::Bytes;
use http::Response;
use http::header::{self, HeaderValue};
use utoipa::OpenApi;

use crate::delivery::body::Payload;
use crate::respond::ProblemDocument;

static DOCUMENT: LazyLock<Bytes> = LazyLock::new(|| {
    let mut api = Api::openapi();
    // Paths are those of this very server.
    api.servers = None;
    for part in [
        videos::Videos::openapi(),
        jobs::Jobs::openapi(),
        events::Events::openapi(),
        uploads::Uploads::openapi(),
        accounts::Accounts::openapi(),
    ] {
        api.merge(part);
    }
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
        description = "Videos of a streaming media gateway, how they come in, and whose they are. Every error is a problem \
                       document (RFC 9457). Bytes are at /media; uploads by tus 1.0 and by the IETF's draft are at \
                       /api/uploads, as those say."
    ),
    paths(health, ready),
    components(schemas(ProblemDocument))
)]
struct Api;

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
