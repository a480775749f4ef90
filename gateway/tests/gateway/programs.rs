//! How programs are told of events: the feed, and webhooks.

mod feed;
mod kills;
mod receiver;
mod targets;
mod webhooks;

use seekway_catalog::{AccountId, NewVideo, Patch, Source, VideoId, Visibility};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::Stand;
use crate::support::wire::Answer;
use crate::uploads::stand::Uploading;

const JSON: (&str, &str) = ("Content-Type", "application/json");

/// Another gateway with the same store and database.
fn replica(up: &Uploading) -> Stand {
    let env: Vec<_> = up.settings().iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    Stand::start(&env, &[], None, TempDir::new().expect("a folder"))
}

/// A video of which only the catalog knows.
async fn add(up: &Uploading, owner: Option<AccountId>, key: &str) -> VideoId {
    let source = Source {
        key: key.to_owned(),
        etag: "\"1\"".to_owned(),
        version: None,
        size: 1,
        sha256: None,
        content_type: None,
        container: None,
    };
    let new = NewVideo { title: key.to_owned(), visibility: Visibility::Private, source, profile: None };
    up.catalog.videos().add(owner, &new).await.expect("adds").expect("nobody has it")
}

/// Something that happens to a video.
async fn rename(up: &Uploading, id: VideoId, title: String) {
    up.catalog.videos().patch(id, Patch { title: Some(title), ..Patch::default() }).await.expect("changes");
}

/// A request of somebody's with JSON to a gateway.
async fn ask(stand: &Stand, bearer: &str, method: &str, target: &str, body: &Value) -> Answer {
    let mut headers = vec![JSON];
    if !bearer.is_empty() {
        headers.push(("Authorization", bearer));
    }
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let length = body.len().to_string();
    headers.push(("Content-Length", &length));
    let mut wire = stand.connect().await;
    wire.send(crate::support::wire::head(method, target, &headers)).await;
    wire.send(body.into_bytes()).await;
    wire.answer(method).await
}

/// The JSON of an answer that must have this status.
#[track_caller]
fn json_of(answer: &Answer, status: u16) -> Value {
    assert_eq!(answer.status, status, "{}", String::from_utf8_lossy(&answer.body));
    serde_json::from_slice(&answer.body).expect("JSON")
}
