//! Small JSON bodies, in and out.

use std::time::Duration;

use bytes::Bytes;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Refusal;
use crate::app::RequestBody;
use crate::delivery::body::Payload;

/// An address, a name and a password are far less.
const BYTES_MAX: usize = 16 * 1024;
/// Enough for a slow phone.
const WITHIN: Duration = Duration::from_secs(10);

/// Reads a request's body. Its type is insisted on: no form of another site's page can send it without asking first
/// (Fetch, "CORS-safelisted request-header").
pub(super) async fn read<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: &mut Option<impl RequestBody>,
) -> Result<T, Refusal> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let essence = kind.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Refusal::NoJson);
    }
    let body = body.take().expect("a request is answered once");
    let read = Box::pin(Limited::new(body, BYTES_MAX).collect());
    let bytes = match tokio::time::timeout(WITHIN, read).await {
        Err(_) => return Err(Refusal::TooSlow),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return Err(Refusal::TooLong),
        Ok(Err(_)) => return Err(Refusal::Bad("The body broke off.")),
        Ok(Ok(collected)) => collected.to_bytes(),
    };
    // What serde says of it may repeat the password.
    serde_json::from_slice(&bytes)
        .map_err(|_| Refusal::Bad("The body is not the JSON that is expected here."))
}

/// An answer that nobody keeps.
pub(super) fn answer(status: StatusCode, value: &impl Serialize) -> Response<Payload> {
    let text = serde_json::to_vec(value).expect("strings and numbers are JSON");
    let mut response = Response::new(Payload::Small(Bytes::from(text)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// The same without anything to say.
pub(super) fn done() -> Response<Payload> {
    let mut response = Response::new(Payload::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
