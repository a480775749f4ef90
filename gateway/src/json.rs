//! JSON in and out of the API.

use std::time::Duration;

use bytes::Bytes;
use futures_util::TryStreamExt as _;
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::delivery::body::Payload;
use crate::respond::Problem;
use crate::upload::Body;

/// No request of the API says more than this.
const BODY_BYTES_MAX: usize = 64 * 1024;
/// Enough for a slow phone.
const BODY_WITHIN: Duration = Duration::from_secs(10);

/// An answer that no cache keeps.
pub(crate) fn response(status: StatusCode, document: &impl Serialize) -> Response<Payload> {
    let body = serde_json::to_vec(document).expect("documents have text for keys");
    let mut response = Response::new(Payload::Small(Bytes::from(body)));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// An answer without anything to say.
pub(crate) fn done() -> Response<Payload> {
    let mut response = Response::new(Payload::Empty);
    *response.status_mut() = StatusCode::NO_CONTENT;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// What the request's body says.
///
/// # Errors
/// 415 when it is not said to be JSON (a form of another site cannot say so without asking first), 413 when it is longer
/// than any document, 400 when it is none of the wanted kind.
pub(crate) async fn read<T: DeserializeOwned>(headers: &HeaderMap, mut body: Body) -> Result<T, Problem> {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = media_type.and_then(|text| text.split(';').next()).unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Problem::NotJson);
    }
    let reading = async {
        let mut text = Vec::new();
        let interrupted = |_| Problem::BadBody("it ended early".to_owned());
        while let Some(bytes) = body.try_next().await.map_err(interrupted)? {
            if text.len() + bytes.len() > BODY_BYTES_MAX {
                return Err(Problem::BodyTooLarge);
            }
            text.extend_from_slice(&bytes);
        }
        Ok(text)
    };
    let slow = |_| Problem::BadBody("it did not come within ten seconds".to_owned());
    let text = tokio::time::timeout(BODY_WITHIN, reading).await.map_err(slow)??;
    serde_json::from_slice(&text).map_err(|error| Problem::BadBody(error.to_string()))
}
