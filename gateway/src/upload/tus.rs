//! tus 1.0 (<https://tus.io/protocols/resumable-upload>) with all of its extensions but trailers: creation, also with
//! bytes and without a length, expiration, checksum, termination, concatenation.
//!
//! A piece of a concatenation is a chain of objects; the final upload is written from them like any other, in order,
//! through the same writer. So its type is looked at, its SHA-256 is computed, and it works on every store. (S3 could copy
//! ranges by itself, but parts of at least 5 MiB need not fall together with pieces, and the bytes would still have to
//! come through here to be hashed.)

mod concat;
mod metadata;

use std::time::{Duration, UNIX_EPOCH};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};
use seekway_catalog::{Concat, Finished, Upload, UploadId, UploadState, Via};

use super::digest::{CHECKSUM_ALGORITHMS, Checksum};
use super::http::path_of;
use super::{Announced, Appended, Ask, Body, Refusal, Uploads};
use crate::caller::Caller;
use crate::delivery::body::Payload;
use crate::respond::Problem;
pub(crate) use metadata::Metadata;

pub(crate) const TUS_RESUMABLE: HeaderName = HeaderName::from_static("tus-resumable");
const TUS_VERSION: HeaderName = HeaderName::from_static("tus-version");
const TUS_EXTENSION: HeaderName = HeaderName::from_static("tus-extension");
const TUS_MAX_SIZE: HeaderName = HeaderName::from_static("tus-max-size");
const TUS_CHECKSUM_ALGORITHM: HeaderName = HeaderName::from_static("tus-checksum-algorithm");
pub(crate) const UPLOAD_OFFSET: HeaderName = HeaderName::from_static("upload-offset");
pub(crate) const UPLOAD_LENGTH: HeaderName = HeaderName::from_static("upload-length");
const UPLOAD_DEFER_LENGTH: HeaderName = HeaderName::from_static("upload-defer-length");
const UPLOAD_METADATA: HeaderName = HeaderName::from_static("upload-metadata");
const UPLOAD_CHECKSUM: HeaderName = HeaderName::from_static("upload-checksum");
const UPLOAD_CONCAT: HeaderName = HeaderName::from_static("upload-concat");
const UPLOAD_EXPIRES: HeaderName = HeaderName::from_static("upload-expires");
const METHOD_OVERRIDE: HeaderName = HeaderName::from_static("x-http-method-override");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

const VERSION: HeaderValue = HeaderValue::from_static("1.0.0");
const EXTENSIONS: HeaderValue = HeaderValue::from_static(
    "creation,creation-with-upload,creation-defer-length,expiration,checksum,termination,concatenation",
);
const OFFSET_OCTET_STREAM: &str = "application/offset+octet-stream";
/// Longer names of requests are nobody's.
const IDEMPOTENCY_KEY_BYTES_MAX: usize = 255;

/// What every answer to a tus client carries, errors too.
pub(crate) fn mark(response: &mut HeaderMap) {
    response.insert(TUS_RESUMABLE, VERSION);
}

/// What the server can do.
pub(crate) fn options(uploads: &Uploads, response: &mut HeaderMap) {
    mark(response);
    response.insert(TUS_VERSION, VERSION);
    response.insert(TUS_EXTENSION, EXTENSIONS);
    response
        .insert(TUS_MAX_SIZE, HeaderValue::from(uploads.limits().bytes_max(seekway_catalog::Purpose::Video)));
    response.insert(TUS_CHECKSUM_ALGORITHM, HeaderValue::from_static(CHECKSUM_ALGORITHMS));
}

/// `POST /api/uploads`
pub(crate) async fn create(
    uploads: &Uploads,
    caller: Caller,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response<Payload>, Problem> {
    check_version(headers)?;
    let metadata = Metadata::parse(text(headers, &UPLOAD_METADATA)?.unwrap_or_default())?;
    let concat = text(headers, &UPLOAD_CONCAT)?.map(concat::parse).transpose()?;
    let is_final = matches!(concat, Some(Concat::Final(_)));
    let length = match (number(headers, &UPLOAD_LENGTH)?, text(headers, &UPLOAD_DEFER_LENGTH)?) {
        (Some(_), None) if is_final => {
            return Err(Refusal::Bad("A final upload has the length of its pieces.").into());
        }
        (None, None) if is_final => None,
        (Some(length), None) => Some(length),
        (None, Some("1")) => None,
        _ => {
            return Err(
                Refusal::Bad("Send either Upload-Length, a number, or Upload-Defer-Length: 1.").into()
            );
        }
    };
    let has_body = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == OFFSET_OCTET_STREAM);
    let idempotency_key = idempotency_key(headers)?;
    let joined = concat::length(uploads, caller, concat.as_ref()).await;
    if idempotency_key.is_none() {
        joined.clone()?;
    }
    let announced = Announced {
        via: Via::Tus,
        purpose: metadata.purpose()?,
        profile: metadata.profile().map(str::to_owned),
        name: metadata.name().to_owned(),
        title: metadata.title().to_owned(),
        metadata: metadata.raw().to_owned(),
        content_type: metadata.media_type().map(str::to_owned),
        length,
        concat: concat.clone(),
        idempotency_key,
    };
    let mut upload = uploads.create(caller, announced).await?;
    let id = upload.id;
    if upload.state != UploadState::Open {
        // Created before, with the same idempotency key.
        upload = uploads.get(caller, id).await?;
    }
    let is_open = upload.state == UploadState::Open;
    let appended = if let (Some(Concat::Final(pieces)), true) = (concat, is_open) {
        // Of a repeated request that has been done, the pieces are gone; of any other, they must be there.
        if let Err(problem) = joined {
            uploads.terminate(caller, id).await?;
            return Err(problem);
        }
        let body = concat::body(uploads, caller, pieces, upload.offset).await?;
        let ask = Ask { offset: Some(upload.offset), length: joined.ok(), ..Ask::default() };
        Some(uploads.append(id, body, ask).await?)
    } else if has_body && is_open && upload.offset == 0 {
        let ask = Ask {
            announced: number(headers, &header::CONTENT_LENGTH)?,
            checksum: checksum(headers)?,
            ..Ask::default()
        };
        Some(uploads.append(id, body, Ask { offset: Some(0), ..ask }).await?)
    } else {
        let finished = upload.video.map(Finished::Video).or(upload.asset.map(Finished::Asset));
        (has_body || !is_open).then_some(Appended { offset: upload.offset, finished })
    };
    let mut response = answer(StatusCode::CREATED, &upload);
    let location = HeaderValue::from_str(&location(id)).expect("a path");
    response.headers_mut().insert(header::LOCATION, location);
    tell(appended, response.headers_mut());
    Ok(response)
}

/// What is asked of `/api/uploads/{id}`.
pub(crate) async fn resource(
    uploads: &Uploads,
    caller: Caller,
    id: UploadId,
    method: &Method,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response<Payload>, Problem> {
    check_version(headers)?;
    match meant(method, headers)? {
        Method::HEAD => head(uploads, caller, id).await,
        Method::PATCH => append(uploads, caller, id, headers, body).await,
        Method::DELETE => {
            uploads.terminate(caller, id).await?;
            Ok(empty(StatusCode::NO_CONTENT))
        }
        _ => {
            Err(Problem::MethodNotAllowed(crate::routes::allowed_methods(&crate::routes::Route::Upload(id))))
        }
    }
}

async fn head(uploads: &Uploads, caller: Caller, id: UploadId) -> Result<Response<Payload>, Problem> {
    let upload = uploads.get(caller, id).await?;
    let mut response = answer(StatusCode::OK, &upload);
    let headers = response.headers_mut();
    headers.insert(UPLOAD_OFFSET, HeaderValue::from(upload.offset));
    match upload.length {
        Some(length) => headers.insert(UPLOAD_LENGTH, HeaderValue::from(length)),
        None => headers.insert(UPLOAD_DEFER_LENGTH, HeaderValue::from_static("1")),
    };
    if let Some(metadata) = HeaderValue::from_str(&upload.metadata).ok().filter(|raw| !raw.is_empty()) {
        headers.insert(UPLOAD_METADATA, metadata);
    }
    if let Some(concat) = &upload.concat {
        headers.insert(UPLOAD_CONCAT, HeaderValue::from_str(&concat::text(concat)).expect("words and paths"));
    }
    let video = upload.video.map(Finished::Video).or(upload.asset.map(Finished::Asset));
    tell_finished(video, headers);
    Ok(response)
}

async fn append(
    uploads: &Uploads,
    caller: Caller,
    id: UploadId,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response<Payload>, Problem> {
    if headers.get(header::CONTENT_TYPE).is_none_or(|kind| kind != OFFSET_OCTET_STREAM) {
        return Err(Refusal::MediaType("PATCH takes Content-Type: application/offset+octet-stream.").into());
    }
    let Some(offset) = number(headers, &UPLOAD_OFFSET)? else {
        return Err(Refusal::Bad("Send Upload-Offset, a number.").into());
    };
    let ask = Ask {
        offset: Some(offset),
        length: number(headers, &UPLOAD_LENGTH)?,
        announced: number(headers, &header::CONTENT_LENGTH)?,
        checksum: checksum(headers)?,
        ..Ask::default()
    };
    // A client that repeats its last request, because the answer to it was lost, is told what it wants to hear.
    let known = uploads.get_to_append(caller, id).await?;
    if known.state == UploadState::Complete && Some(offset) == known.length {
        let mut response = answer(StatusCode::NO_CONTENT, &known);
        response.headers_mut().insert(UPLOAD_OFFSET, HeaderValue::from(known.offset));
        return Ok(response);
    }
    let appended = uploads.append(id, body, ask).await?;
    let mut response = answer(StatusCode::NO_CONTENT, &known);
    tell(Some(appended), response.headers_mut());
    Ok(response)
}

/// What each answer about an upload says.
fn answer(status: StatusCode, upload: &Upload) -> Response<Payload> {
    let mut response = empty(status);
    if upload.video.is_none() && upload.asset.is_none() {
        let expires = Duration::from_millis(u64::try_from(upload.expires_ms).unwrap_or_default());
        let expires = httpdate::fmt_http_date(UNIX_EPOCH + expires);
        let expires = HeaderValue::from_str(&expires).expect("a date");
        response.headers_mut().insert(UPLOAD_EXPIRES, expires);
    }
    response
}

fn empty(status: StatusCode) -> Response<Payload> {
    let mut response = Response::new(Payload::Empty);
    *response.status_mut() = status;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn tell(appended: Option<Appended>, headers: &mut HeaderMap) {
    let Some(appended) = appended else { return };
    headers.insert(UPLOAD_OFFSET, HeaderValue::from(appended.offset));
    if appended.finished.is_some() {
        headers.remove(UPLOAD_EXPIRES);
    }
    tell_finished(appended.finished, headers);
}

/// What it became (RFC 9110 §8.7).
fn tell_finished(finished: Option<Finished>, headers: &mut HeaderMap) {
    let Some(finished) = finished else { return };
    headers.insert(header::CONTENT_LOCATION, HeaderValue::from_str(&path_of(finished)).expect("a path"));
}

/// Where an upload is. A path alone: what a proxy in front calls us is not ours to know.
pub(crate) fn location(id: UploadId) -> String {
    format!("/api/uploads/{id}")
}

fn check_version(headers: &HeaderMap) -> Result<(), Problem> {
    if headers.get(&TUS_RESUMABLE).is_some_and(|version| version == VERSION) {
        Ok(())
    } else {
        Err(Refusal::Version.into())
    }
}

/// The method that counts: where a client cannot send PATCH, a header names it.
fn meant(method: &Method, headers: &HeaderMap) -> Result<Method, Problem> {
    match text(headers, &METHOD_OVERRIDE)? {
        Some(name) if method == Method::POST => {
            name.parse().map_err(|_| Refusal::Bad("X-HTTP-Method-Override names no method.").into())
        }
        _ => Ok(method.clone()),
    }
}

fn checksum(headers: &HeaderMap) -> Result<Option<Checksum>, Problem> {
    let Some(header) = text(headers, &UPLOAD_CHECKSUM)? else { return Ok(None) };
    let read = Checksum::parse(header);
    let wrong = "Upload-Checksum is sha256, sha1 or md5, a space, and the digest in Base64.";
    read.map(Some).ok_or_else(|| Refusal::Bad(wrong).into())
}

/// The client's name for a request that creates, so that it can repeat it.
pub(crate) fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let key = text(headers, &IDEMPOTENCY_KEY)?.filter(|key| !key.is_empty());
    if key.is_some_and(|key| key.len() > IDEMPOTENCY_KEY_BYTES_MAX) {
        return Err(Refusal::Bad("Idempotency-Key is at most 255 bytes long.").into());
    }
    Ok(key.map(str::to_owned))
}

pub(crate) fn text<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Result<Option<&'h str>, Problem> {
    let mut values = headers.get_all(name).iter();
    let value = values.next().map(HeaderValue::to_str).transpose();
    match (value, values.next()) {
        (Ok(value), None) => Ok(value),
        _ => Err(Refusal::Bad("A header of the upload comes twice, or is not ASCII.").into()),
    }
}

/// A plain number: no sign, no spaces.
pub(crate) fn number(headers: &HeaderMap, name: &HeaderName) -> Result<Option<u64>, Problem> {
    let Some(text) = text(headers, name)? else { return Ok(None) };
    let number = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
    number.map(Some).ok_or_else(|| Refusal::Bad("A length or offset is not a number that fits.").into())
}
