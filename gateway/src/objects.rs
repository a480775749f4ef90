//! The list of objects, for the console: `GET /api/objects`.
//!
//! Where there is a catalog, a page leaves out what its reader may not see, so it may be shorter than `limit`, or empty,
//! and have a next one all the same.

use bytes::Bytes;
use http::Response;
use http::header::{self, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use seekway_storage::{ListEntry, ObjectKey, ObjectStore, Page};
use serde::Serialize;

use crate::access::{Access, Verdict};
use crate::caller::Caller;
use crate::delivery::body::Payload;
use crate::delivery::media_type;
use crate::respond::Problem;
use crate::routes::{self, ObjectsQuery};
use crate::upload::names::INCOMING;

/// What may stand in a path as it is (RFC 3986 §3.3), slashes among it: they separate, as in the key.
pub(crate) const PATH: &AsciiSet =
    &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/');

#[derive(Serialize)]
struct Listing<'a> {
    objects: Vec<Item<'a>>,
    /// `after` of the next page.
    next: Option<&'a str>,
}

#[derive(Serialize)]
struct Item<'a> {
    key: &'a str,
    size: u64,
    last_modified: Option<String>,
    #[serde(rename = "type")]
    media_type: String,
    url: String,
}

/// What a list shows.
pub(crate) enum Shown<'a> {
    /// Every key: there is no catalog.
    All,
    /// All but what is no object yet.
    Objects,
    /// What this caller would be shown at its key, but for unlisted videos of others.
    To(Caller, &'a Access),
}

// === impl Shown ===

impl Shown<'_> {
    async fn has(&self, key: &ObjectKey) -> Result<bool, Problem> {
        Ok(match self {
            Self::All => true,
            Self::Objects => !key.as_str().starts_with(INCOMING),
            Self::To(caller, access) => match access.of(key).await? {
                Verdict::Anybody => true,
                Verdict::Owner(owner) | Verdict::Unlisted(owner) => caller.owns(owner),
                Verdict::Nobody => false,
            },
        })
    }
}

/// Answers `?prefix=&after=&limit=`.
pub(crate) async fn list(
    store: &dyn ObjectStore,
    shown: Shown<'_>,
    query: Option<&str>,
) -> Result<Response<Payload>, Problem> {
    let ObjectsQuery { prefix, after, limit } = routes::objects_query(query).map_err(Problem::BadQuery)?;
    let listing = store.list(&prefix, Page { after, limit }).await.map_err(Problem::Storage)?;
    let mut objects = Vec::new();
    for entry in &listing.entries {
        if shown.has(&entry.key).await? {
            objects.push(item(entry));
        }
    }
    let body = serde_json::to_vec(&Listing { objects, next: listing.next.as_deref() })
        .expect("strings and numbers are JSON");
    let mut response = Response::new(Payload::Small(Bytes::from(body)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

fn item(entry: &ListEntry) -> Item<'_> {
    let key = entry.key.as_str();
    Item {
        key,
        size: entry.size,
        last_modified: entry.last_modified.map(httpdate::fmt_http_date),
        media_type: String::from_utf8_lossy(media_type::for_key(key, None).as_bytes()).into_owned(),
        url: format!("/media/{}", utf8_percent_encode(key, PATH)),
    }
}
