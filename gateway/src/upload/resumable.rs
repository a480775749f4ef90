//! Resumable uploads of the IETF (`draft-ietf-httpbis-resumable-upload`), on the same records as tus.
//!
//! Clients say which draft they speak in `Upload-Draft-Interop-Version`; 3 to 8 are understood (drafts 01 to 12), which
//! differ in what the last piece is called (`Upload-Incomplete` before 5, `Upload-Complete` since) and in the media type of
//! an appended piece (since 6). There are no 104 answers on the way: hyper sends no 1xx by itself, so a client that is cut
//! off in its first request begins again, unless that was empty, as tus-js-client has it.

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Response, StatusCode};
use seekway_catalog::{Finished, Purpose, Upload, UploadId, UploadState, Via};

use super::http::path_of;
use super::tus::{self, Metadata, UPLOAD_LENGTH, UPLOAD_OFFSET, location, number, text};
use super::{Announced, Ask, Body, Refusal, Uploads};
use crate::caller::Caller;
use crate::delivery::body::Payload;
use crate::respond::Problem;
use crate::routes::{Route, allowed_methods};

const INTEROP_VERSION: HeaderName = HeaderName::from_static("upload-draft-interop-version");
const UPLOAD_COMPLETE: HeaderName = HeaderName::from_static("upload-complete");
const UPLOAD_INCOMPLETE: HeaderName = HeaderName::from_static("upload-incomplete");
const UPLOAD_LIMIT: HeaderName = HeaderName::from_static("upload-limit");
const UPLOAD_METADATA: HeaderName = HeaderName::from_static("upload-metadata");

/// One of these says that the protocol is spoken.
pub(crate) const HEADERS: [HeaderName; 3] = [INTEROP_VERSION, UPLOAD_COMPLETE, UPLOAD_INCOMPLETE];

/// Understood when nothing is said.
const VERSION_NEWEST: u64 = 8;
const VERSION_OLDEST: u64 = 3;
/// Since this one, `Upload-Complete` says what `Upload-Incomplete` denied.
const VERSION_COMPLETE: u64 = 5;
/// Since this one, a piece has a media type of its own.
const VERSION_MEDIA_TYPE: u64 = 6;
const PARTIAL_UPLOAD: &str = "application/partial-upload";

/// `POST /api/uploads`
pub(crate) async fn create(
    uploads: &Uploads,
    caller: Caller,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response<Payload>, Problem> {
    let version = version(headers)?;
    let is_last = is_last(version, headers)?.unwrap_or(true);
    let metadata = Metadata::parse(text(headers, &UPLOAD_METADATA)?.unwrap_or_default())?;
    let name = match metadata.name() {
        "" => text(headers, &header::CONTENT_DISPOSITION)?.and_then(file_name).unwrap_or_default(),
        name => name.to_owned(),
    };
    let content_length = number(headers, &header::CONTENT_LENGTH)?;
    let length = match number(headers, &UPLOAD_LENGTH)? {
        None if is_last => content_length,
        length => length,
    };
    let announced = Announced {
        via: Via::Resumable,
        purpose: metadata.purpose()?,
        profile: metadata.profile().map(str::to_owned),
        name,
        title: metadata.title().to_owned(),
        metadata: metadata.raw().to_owned(),
        content_type: text(headers, &header::CONTENT_TYPE)?.map(str::to_owned),
        length,
        concat: None,
        idempotency_key: tus::idempotency_key(headers)?,
    };
    let mut upload = uploads.create(caller, announced).await?;
    if upload.state != UploadState::Open {
        // Created before, with the same idempotency key.
        upload = uploads.get(caller, upload.id).await?;
    }
    let mut finished = became(&upload);
    let mut offset = upload.offset;
    if content_length != Some(0) && upload.state == UploadState::Open && offset == 0 {
        let ask = Ask { offset: Some(0), announced: content_length, is_last, ..Ask::default() };
        let appended = uploads.append(upload.id, body, ask).await?;
        (offset, finished) = (appended.offset, appended.finished);
    }
    let mut response = answer(StatusCode::CREATED, version, uploads, upload.purpose);
    let path = HeaderValue::from_str(&location(upload.id)).expect("a path");
    response.headers_mut().insert(header::LOCATION, path);
    tell(version, offset, finished, finished.is_some(), response.headers_mut());
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
    let version = version(headers)?;
    match *method {
        Method::HEAD => {
            let upload = uploads.get(caller, id).await?;
            let mut response = answer(StatusCode::NO_CONTENT, version, uploads, upload.purpose);
            let headers = response.headers_mut();
            if let Some(length) = upload.length {
                headers.insert(UPLOAD_LENGTH, HeaderValue::from(length));
            }
            tell(version, upload.offset, became(&upload), upload.state == UploadState::Complete, headers);
            Ok(response)
        }
        Method::DELETE => {
            uploads.terminate(caller, id).await?;
            Ok(answer(StatusCode::NO_CONTENT, version, uploads, Purpose::Video))
        }
        Method::PATCH => append(uploads, caller, id, version, headers, body).await,
        _ => Err(Problem::MethodNotAllowed(allowed_methods(&Route::Upload(id)))),
    }
}

async fn append(
    uploads: &Uploads,
    caller: Caller,
    id: UploadId,
    version: u64,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response<Payload>, Problem> {
    let is_partial = headers.get(header::CONTENT_TYPE).is_some_and(|kind| kind == PARTIAL_UPLOAD);
    if version >= VERSION_MEDIA_TYPE && !is_partial {
        return Err(Refusal::MediaType("PATCH takes Content-Type: application/partial-upload.").into());
    }
    let Some(offset) = number(headers, &UPLOAD_OFFSET)? else {
        return Err(Refusal::Bad("Send Upload-Offset, a number.").into());
    };
    let Some(is_last) = is_last(version, headers)? else {
        return Err(
            Refusal::Bad("Send Upload-Complete: ?1 with the last bytes, and ?0 with any other.").into()
        );
    };
    let known = uploads.get_to_append(caller, id).await?;
    // A client that repeats its last request, because the answer to it was lost.
    if known.state == UploadState::Complete && known.length == Some(offset) && is_last {
        let mut response = answer(StatusCode::OK, version, uploads, known.purpose);
        tell(version, offset, became(&known), true, response.headers_mut());
        return Ok(response);
    }
    let announced = number(headers, &header::CONTENT_LENGTH)?;
    // Known now, so that it is known after a cut, too.
    let length = match (number(headers, &UPLOAD_LENGTH)?, announced) {
        (None, Some(announced)) if is_last => offset.checked_add(announced),
        (length, _) => length,
    };
    let ask = Ask { offset: Some(offset), length, announced, is_last, ..Ask::default() };
    let appended = uploads.append(id, body, ask).await?;
    let status = if is_last { StatusCode::OK } else { StatusCode::NO_CONTENT };
    let mut response = answer(status, version, uploads, known.purpose);
    tell(version, appended.offset, appended.finished, is_last, response.headers_mut());
    Ok(response)
}

fn became(upload: &Upload) -> Option<Finished> {
    upload.video.map(Finished::Video).or(upload.asset.map(Finished::Asset))
}

fn answer(status: StatusCode, version: u64, uploads: &Uploads, purpose: Purpose) -> Response<Payload> {
    let mut response = Response::new(Payload::Empty);
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(INTEROP_VERSION, HeaderValue::from(version));
    let limit = format!("max-size={}", uploads.limits().bytes_max(purpose));
    headers.insert(UPLOAD_LIMIT, HeaderValue::from_str(&limit).expect("a word and a number"));
    response
}

fn tell(version: u64, offset: u64, finished: Option<Finished>, is_complete: bool, headers: &mut HeaderMap) {
    headers.insert(UPLOAD_OFFSET, HeaderValue::from(offset));
    let (name, value) = if version < VERSION_COMPLETE {
        (UPLOAD_INCOMPLETE, !is_complete)
    } else {
        (UPLOAD_COMPLETE, is_complete)
    };
    headers.insert(name, HeaderValue::from_static(if value { "?1" } else { "?0" }));
    if let Some(finished) = finished {
        headers.insert(header::CONTENT_LOCATION, HeaderValue::from_str(&path_of(finished)).expect("a path"));
    }
}

fn version(headers: &HeaderMap) -> Result<u64, Problem> {
    let version = number(headers, &INTEROP_VERSION)?.unwrap_or(VERSION_NEWEST);
    if (VERSION_OLDEST..=VERSION_NEWEST).contains(&version) {
        return Ok(version);
    }
    Err(Refusal::Bad("Upload-Draft-Interop-Version is a number from 3 to 8 here.").into())
}

/// Whether the upload ends with these bytes, if that is said.
fn is_last(version: u64, headers: &HeaderMap) -> Result<Option<bool>, Problem> {
    let name = if version < VERSION_COMPLETE { &UPLOAD_INCOMPLETE } else { &UPLOAD_COMPLETE };
    match text(headers, name)? {
        None => Ok(None),
        Some("?1") => Ok(Some(version >= VERSION_COMPLETE)),
        Some("?0") => Ok(Some(version < VERSION_COMPLETE)),
        Some(_) => Err(Refusal::Bad("Upload-Complete is ?0 or ?1.").into()),
    }
}

/// The `filename` of a `Content-Disposition` (RFC 6266 §4.3), quoted or not.
fn file_name(disposition: &str) -> Option<String> {
    let parameters = disposition.split(';').skip(1);
    let value =
        parameters.filter_map(|pair| pair.trim().split_once('=')).find(|(name, _)| *name == "filename")?.1;
    Some(value.trim().trim_matches('"').to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_names_are_read() {
        for (header, name) in [
            ("attachment; filename=\"a b.mp4\"", Some("a b.mp4")),
            ("attachment; filename=a.mp4; size=5", Some("a.mp4")),
            ("attachment", None),
            ("attachment; filename*=UTF-8''a.mp4", None),
        ] {
            assert_eq!(file_name(header).as_deref(), name, "{header}");
        }
    }
}
