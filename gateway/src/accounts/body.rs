//! What is said to accounts in JSON: less than elsewhere, and never repeated in an answer, because it holds passwords.

use http::header::HeaderMap;
use serde::de::DeserializeOwned;

use super::Refusal;
use crate::app::{self, RequestBody};
use crate::json::{self, Unread};

/// An address, a name and a password are far less.
const BYTES_MAX: usize = 16 * 1024;

/// Reads a request's body.
pub(super) async fn read<T: DeserializeOwned>(
    headers: &HeaderMap,
    body: &mut Option<impl RequestBody>,
) -> Result<T, Refusal> {
    let text = json::body(headers, app::taken(body), BYTES_MAX).await.map_err(|why| match why {
        Unread::NotJson => Refusal::NoJson,
        Unread::TooLong => Refusal::TooLong,
        Unread::TooSlow => Refusal::TooSlow,
        Unread::BrokeOff => Refusal::Bad("The body broke off."),
    })?;
    // What serde says of it may repeat the password.
    serde_json::from_slice(&text).map_err(|_| Refusal::Bad("The body is not the JSON that is expected here."))
}
