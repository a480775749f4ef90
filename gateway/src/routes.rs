//! The gateway's URLs: one enum, one pure function from path to variant.

use std::net::IpAddr;

use http::Method;
use http::header::{self, HeaderMap};
use http::uri::Authority;
use seekway_catalog::{AssetId, JobId, UploadId, VideoId};
use seekway_storage::{InvalidKey, ObjectKey};

use crate::accounts::Action;
use crate::framing::is_host;
use crate::jobs::JobAction;
use crate::upload::direct::DirectAction;

/// What a path names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `/media/{key}`: an object's bytes.
    Media(ObjectKey),
    /// `/api/health`: the process answers.
    Health,
    /// `/api/ready`: the process wants traffic.
    Ready,
    /// `/api/objects`: a page of the store's keys.
    Objects,
    /// `/api/uploads`: where uploads are created.
    Uploads,
    /// `/api/uploads/{id}`: an upload.
    Upload(UploadId),
    /// `/api/uploads/direct`: where uploads straight to the bucket are created.
    DirectUploads,
    /// `/api/uploads/direct/{id}` and below.
    DirectUpload(UploadId, DirectAction),
    /// `/api/videos`: pages of videos.
    Videos,
    /// `/api/videos/{id}`: a video.
    Video(VideoId),
    /// `/api/videos/{id}/events`: what happens to a video.
    VideoEvents(VideoId),
    /// `/api/videos/{id}/jobs`: what is and was done with a video.
    VideoJobs(VideoId),
    /// `/api/jobs`: pages of jobs.
    Jobs,
    /// `/api/jobs/{id}`: a job.
    Job(JobId),
    /// `/api/jobs/{id}/cancel` and others: what is to be done with it.
    JobAction(JobId, JobAction),
    /// `/api/assets`: pages of assets.
    Assets,
    /// `/api/assets/{id}`: an asset.
    Asset(AssetId),
    /// `/api/openapi.json`: what the API is.
    OpenApi,
    /// `/api/auth/…`: accounts.
    Account(Action),
    /// `/api/console`: what the console page can show to whom asks.
    ConsoleState,
    /// `/`: the console page.
    Console,
    /// `/assets/{name}`: a file of the console page. The name is one path segment of letters, digits, `.`,
    /// `-` and `_`.
    ConsoleAsset(Box<str>),
    /// Nothing that there is.
    NotFound,
    /// `/media/` and something that cannot be a key.
    BadKey(BadKey),
}

/// Why the rest of a `/media/` path is no key. The texts are for clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// A `%` without two hexadecimal digits (RFC 3986 §2.1).
    #[error(
        "the path has a `%` that is not followed by two hexadecimal digits; write `%25` for a percent sign"
    )]
    Encoding,
    /// The decoded bytes are not text.
    #[error("the key is not UTF-8 once percent-decoded")]
    NotUtf8,
    /// Text, but not a key.
    #[error(transparent)]
    Invalid(InvalidKey),
}

/// The query of [`Route::Objects`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectsQuery {
    /// Only keys that start with this.
    pub prefix: String,
    /// The `next` of the page before.
    pub after: Option<String>,
    /// At most so many keys, 1 to [`OBJECTS_LIMIT_MAX`].
    pub limit: usize,
}

/// Why a query is refused. The texts are for clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadQuery {
    /// `limit` is not a number in range.
    #[error("`limit` must be a number from 1 to {OBJECTS_LIMIT_MAX}")]
    Limit,
    /// The same of videos.
    #[error("`limit` must be a number from 1 to {VIDEOS_LIMIT_MAX}")]
    VideosLimit,
    /// `owner` names no account.
    #[error("`owner` must be an account's id, or `me` once you are logged in")]
    Owner,
    /// `visibility` is no word of ours.
    #[error("`visibility` must be private, unlisted or public")]
    Visibility,
    /// `state` is no word of ours.
    #[error("`state` must be uploaded, processing, ready, failed or deleting")]
    State,
    /// The same of jobs.
    #[error("`state` must be queued, leased, running, retry, succeeded, dead or cancelled")]
    JobState,
    /// `format` is none of work's.
    #[error("`format` must be emf, or left out")]
    Format,
    /// `after` is no id.
    #[error("`after` must be the `next` of the page before")]
    After,
    /// A parameter does not decode to text.
    #[error("the query is not percent-encoded UTF-8")]
    Encoding,
    /// A parameter has a NUL, which no key and no text in the catalog has.
    #[error("the query has a NUL (`%00`)")]
    Nul,
}

/// As many keys as a store gives in one page.
pub const OBJECTS_LIMIT_MAX: usize = 1000;

/// A page of videos has no more.
pub const VIDEOS_LIMIT_MAX: usize = 100;

/// Without a `limit`: a screenful or two.
const OBJECTS_LIMIT_DEFAULT: usize = 100;

/// Decodes a request's path (without its query).
///
/// The key is percent-decoded exactly once and otherwise taken as it was sent: `+` is a plus, and `//`, `.`
/// and `..` are for the store to judge, since in a bucket they are plain parts of a key.
pub fn decode(path: &str) -> Route {
    if let Some(encoded) = path.strip_prefix("/media/") {
        return decode_key(encoded).map_or_else(Route::BadKey, Route::Media);
    }
    match path {
        "/" => Route::Console,
        "/api/health" => Route::Health,
        "/api/ready" => Route::Ready,
        "/api/objects" => Route::Objects,
        "/api/uploads" | "/api/uploads/" => Route::Uploads,
        "/api/uploads/direct" => Route::DirectUploads,
        "/api/videos" => Route::Videos,
        "/api/jobs" => Route::Jobs,
        "/api/assets" => Route::Assets,
        "/api/openapi.json" => Route::OpenApi,
        "/api/console" => Route::ConsoleState,
        _ => decode_named(path).unwrap_or(Route::NotFound),
    }
}

/// A path with a name at its end.
fn decode_named(path: &str) -> Option<Route> {
    if let Some(id) = path.strip_prefix("/api/uploads/") {
        return match id.strip_prefix("direct/") {
            None => UploadId::parse(id).map(Route::Upload),
            Some(rest) => {
                let (id, action) =
                    rest.split_once('/').map_or((rest, None), |(id, action)| (id, Some(action)));
                let action = match action {
                    None => DirectAction::Look,
                    Some("parts") => DirectAction::Sign,
                    Some("complete") => DirectAction::Complete,
                    Some(_) => return None,
                };
                UploadId::parse(id).map(|id| Route::DirectUpload(id, action))
            }
        };
    }
    if let Some(id) = path.strip_prefix("/api/assets/") {
        return AssetId::parse(id).map(Route::Asset);
    }
    if let Some(rest) = path.strip_prefix("/api/videos/") {
        return match rest.split_once('/') {
            None => VideoId::parse(rest).map(Route::Video),
            Some((id, "events")) => VideoId::parse(id).map(Route::VideoEvents),
            Some((id, "jobs")) => VideoId::parse(id).map(Route::VideoJobs),
            Some(_) => None,
        };
    }
    if let Some(rest) = path.strip_prefix("/api/jobs/") {
        return match rest.split_once('/') {
            None => JobId::parse(rest).map(Route::Job),
            Some((id, action)) => JobId::parse(id)
                .zip(JobAction::parse(action))
                .map(|(id, action)| Route::JobAction(id, action)),
        };
    }
    if let Some(action) = path.strip_prefix("/api/auth/") {
        return Action::decode(action).map(Route::Account);
    }
    path.strip_prefix("/assets/")
        .filter(|name| is_asset_name(name))
        .map(|name| Route::ConsoleAsset(name.into()))
}

/// The methods that a route answers (for `Allow`); empty where there is nothing to ask.
pub fn allowed_methods(route: &Route) -> &'static [Method] {
    static MEDIA: [Method; 3] = [Method::GET, Method::HEAD, Method::OPTIONS];
    static PAGES: [Method; 2] = [Method::GET, Method::HEAD];
    static UPLOADS: [Method; 2] = [Method::POST, Method::OPTIONS];
    // With `X-HTTP-Method-Override`, POST is any of them.
    static UPLOAD: [Method; 6] =
        [Method::GET, Method::HEAD, Method::PATCH, Method::DELETE, Method::POST, Method::OPTIONS];
    static DIRECT: [Method; 4] = [Method::GET, Method::HEAD, Method::DELETE, Method::OPTIONS];
    static VIDEOS: [Method; 3] = [Method::GET, Method::HEAD, Method::POST];
    static VIDEO: [Method; 4] = [Method::GET, Method::HEAD, Method::PATCH, Method::DELETE];
    static ACTION: [Method; 1] = [Method::POST];
    static ASSET: [Method; 3] = [Method::GET, Method::HEAD, Method::DELETE];
    match route {
        Route::Media(_) | Route::BadKey(_) => &MEDIA,
        Route::Asset(_) => &ASSET,
        Route::Video(_) => &VIDEO,
        Route::Uploads
        | Route::DirectUploads
        | Route::DirectUpload(_, DirectAction::Sign | DirectAction::Complete) => &UPLOADS,
        Route::DirectUpload(_, DirectAction::Look) => &DIRECT,
        Route::Videos | Route::VideoJobs(_) => &VIDEOS,
        Route::JobAction(..) => &ACTION,
        Route::Upload(_) => &UPLOAD,
        Route::Account(action) => action.methods(),
        Route::Health
        | Route::Ready
        | Route::Objects
        | Route::VideoEvents(_)
        | Route::Jobs
        | Route::Job(_)
        | Route::Assets
        | Route::OpenApi
        | Route::ConsoleState
        | Route::Console
        | Route::ConsoleAsset(_) => &PAGES,
        Route::NotFound => &[],
    }
}

/// Whether a path asks how the gateway is; that is never refused, or a full gateway would be restarted.
pub fn is_probe(path: &str) -> bool {
    matches!(path, "/api/health" | "/api/ready")
}

/// Whether a request was meant for this machine itself: its `Host` is a loopback name or address, and no proxy has
/// left its mark.
pub fn names_this_machine(headers: &HeaderMap) -> bool {
    let forwarded = ["forwarded", "x-forwarded-for", "x-forwarded-host", "via"];
    // `Authority` alone takes `%@[::1]x` for a host.
    let host = headers.get(header::HOST).filter(|host| is_host(host.as_bytes()));
    let host = host.and_then(|host| host.to_str().ok()?.parse::<Authority>().ok());
    let is_local = host.is_some_and(|host| {
        let name = host.host().trim_start_matches('[').trim_end_matches(']');
        name == "localhost" || name.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
    });
    is_local && !forwarded.iter().any(|name| headers.contains_key(*name))
}

/// Whether a request that a browser sends for a page comes from a page of ours: without an `Origin`, or with one whose
/// host and port are those that are asked. Another site's page could reach a loopback address, too.
pub fn is_same_site(headers: &HeaderMap) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    origin.zip(host).is_some_and(|((_, origin), host)| origin.eq_ignore_ascii_case(host))
}

/// Whether a media request's query asks for a download: `download=1`.
pub fn wants_download(query: Option<&str>) -> bool {
    query.is_some_and(|query| query.split('&').any(|pair| pair == "download=1"))
}

/// Reads `prefix`, `after` and `limit`. Of a parameter sent twice the first counts; unknown and empty ones
/// are ignored.
pub fn objects_query(query: Option<&str>) -> Result<ObjectsQuery, BadQuery> {
    let query = query.unwrap_or_default();
    let limit = limit(query, OBJECTS_LIMIT_DEFAULT, OBJECTS_LIMIT_MAX)?.ok_or(BadQuery::Limit)?;
    let prefix = parameter(query, "prefix")?.unwrap_or_default();
    Ok(ObjectsQuery { prefix, after: parameter(query, "after")?, limit })
}

/// The parameter `limit`; inner `None` when it is no number from 1 to `max`.
pub(crate) fn limit(query: &str, default: usize, max: usize) -> Result<Option<usize>, BadQuery> {
    Ok(match parameter(query, "limit")? {
        None => Some(default),
        Some(text) if text.bytes().all(|byte| byte.is_ascii_digit()) => {
            text.parse().ok().filter(|limit| (1..=max).contains(limit))
        }
        Some(_) => None,
    })
}

/// A query parameter, decoded as forms are written: unlike in a path, `+` is a space (WHATWG URL §5.1), which
/// is what `URLSearchParams` sends.
pub(crate) fn parameter(query: &str, name: &str) -> Result<Option<String>, BadQuery> {
    let found = query.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name));
    let Some((_, encoded)) = found.filter(|(_, value)| !value.is_empty()) else { return Ok(None) };
    let spaced = encoded.replace('+', " ");
    let bytes = percent_decode(&spaced).ok_or(BadQuery::Encoding)?;
    let text = String::from_utf8(bytes).map_err(|_| BadQuery::Encoding)?;
    if text.contains('\0') { Err(BadQuery::Nul) } else { Ok(Some(text)) }
}

fn decode_key(encoded: &str) -> Result<ObjectKey, BadKey> {
    if !encoded.contains('%') {
        return ObjectKey::new(encoded).map_err(BadKey::Invalid);
    }
    let bytes = percent_decode(encoded).ok_or(BadKey::Encoding)?;
    let key = std::str::from_utf8(&bytes).map_err(|_| BadKey::NotUtf8)?;
    ObjectKey::new(key).map_err(BadKey::Invalid)
}

/// Decodes once; `None` if a `%` starts no escape. Checked here, because `percent_encoding` passes such a `%`
/// through, and `%zz` would be another name of `%25zz`.
fn percent_decode(encoded: &str) -> Option<Vec<u8>> {
    let is_hex = |byte: Option<&u8>| byte.is_some_and(u8::is_ascii_hexdigit);
    let bytes = encoded.as_bytes();
    let starts_escape = |at: usize| is_hex(bytes.get(at + 1)) && is_hex(bytes.get(at + 2));
    let well_formed = bytes.iter().enumerate().all(|(at, byte)| *byte != b'%' || starts_escape(at));
    well_formed.then(|| percent_encoding::percent_decode(bytes).collect())
}

fn is_asset_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    !name.is_empty() && !name.starts_with('.') && name.bytes().all(plain)
}

#[cfg(test)]
mod tests;
