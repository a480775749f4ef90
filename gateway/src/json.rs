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

/// Why a body cannot be read.
pub(crate) enum Unread {
    /// It is not said to be JSON.
    NotJson,
    /// It is longer than allowed.
    TooLong,
    /// It did not come within [`BODY_WITHIN`].
    TooSlow,
    /// It ended early.
    BrokeOff,
}

/// What the request's body says.
///
/// # Errors
/// As [`body`]; and 400 when it is no document of the wanted kind.
pub(crate) async fn read<T: DeserializeOwned>(headers: &HeaderMap, sent: Body) -> Result<T, Problem> {
    let text = body(headers, sent, BODY_BYTES_MAX).await.map_err(|why| match why {
        Unread::NotJson => Problem::NotJson,
        Unread::TooLong => Problem::BodyTooLarge,
        Unread::TooSlow => Problem::BadBody("it did not come within ten seconds".to_owned()),
        Unread::BrokeOff => Problem::BadBody("it ended early".to_owned()),
    })?;
    serde_json::from_slice(&text).map_err(|error| Problem::BadBody(error.to_string()))
}

/// The bytes of a body of at most `limit` of them. Its type is insisted on: no form of another site's page can send it
/// without asking first (Fetch, "CORS-safelisted request-header").
pub(crate) async fn body(headers: &HeaderMap, mut sent: Body, limit: usize) -> Result<Vec<u8>, Unread> {
    let media_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let essence = media_type.and_then(|text| text.split(';').next()).unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Err(Unread::NotJson);
    }
    let reading = async {
        let mut text = Vec::new();
        while let Some(bytes) = sent.try_next().await.map_err(|_| Unread::BrokeOff)? {
            if text.len() + bytes.len() > limit {
                return Err(Unread::TooLong);
            }
            text.extend_from_slice(&bytes);
        }
        Ok(text)
    };
    tokio::time::timeout(BODY_WITHIN, reading).await.map_err(|_| Unread::TooSlow)?
}
