//! A plain form: `POST /api/videos` with `file`, and perhaps `title` and `purpose`, as `curl -F` and simple pages send it.
//!
//! It is streamed like any other upload, but nobody can go on with it: where it breaks off, what came is deleted. The upload
//! is complete only when the whole form was read, so a title may also come after the file.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Stream, stream};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use multer::{Constraints, Field, Multipart, SizeLimit, parse_boundary};
use seekway_catalog::{Finished, Patch, Purpose, UploadState, Via};
use serde::Serialize;
use utoipa::ToSchema;

use super::http::path_of;
use super::{Announced, Ask, Body, BodyError, Refusal, Uploads, as_title, tus};
use crate::caller::Caller;
use crate::delivery::body::Payload;
use crate::json;
use crate::respond::Problem;

/// Bytes of any field but the file.
const FIELD_BYTES_MAX: u64 = 4096;

/// What is told of a video, or asset, that has just been made.
#[derive(Serialize, ToSchema)]
#[schema(as = Made)]
pub(crate) struct Made {
    id: String,
    url: String,
}

/// What a form says besides its file.
#[derive(Debug, Default)]
struct Fields {
    title: String,
    purpose: Option<String>,
}

/// Nobody can go on with a form.
const BROKE_OFF: Refusal = Refusal::Bad("The form ended early. Nothing of it is kept: send it again.");

/// `POST /api/videos`
pub(crate) async fn create(
    uploads: &Uploads,
    caller: Caller,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response<Payload>, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let boundary =
        parse_boundary(kind).map_err(|_| Refusal::MediaType("Send multipart/form-data with a file."))?;
    let limits = SizeLimit::new().per_field(FIELD_BYTES_MAX).for_field("file", u64::MAX);
    let constraints = Constraints::new().size_limit(limits);
    let mut form = Multipart::with_constraints(OneByOne { body, is_due: false }, boundary, constraints);
    let mut fields = Fields::default();
    let file = loop {
        let field = form.next_field().await.map_err(|error| of_form(&error))?;
        let field = field.ok_or(Refusal::Bad("The form has no `file`."))?;
        match field.name() {
            Some("file") => break field,
            _ => fields.read(field).await.map_err(|error| of_form(&error))?,
        }
    };
    let purpose = fields.purpose.as_deref().map_or(Some(Purpose::Video), Purpose::parse);
    let announced = Announced {
        via: Via::Form,
        purpose: purpose.ok_or(Refusal::Bad("The purpose is video, watermark, intro or outro."))?,
        name: file.file_name().unwrap_or_default().to_owned(),
        title: fields.title.clone(),
        metadata: String::new(),
        content_type: file.content_type().map(ToString::to_string),
        length: None,
        concat: None,
        idempotency_key: tus::idempotency_key(headers)?,
    };
    let mut upload = uploads.create(caller, announced.clone()).await?;
    if upload.state == UploadState::Aborting || upload.state == UploadState::Open && upload.offset > 0 {
        // Begun before with the same idempotency key, and cut off so hard that it could not be deleted then.
        uploads.terminate(caller, upload.id).await?;
        upload = uploads.create(caller, announced).await?;
    }
    if upload.state != UploadState::Open {
        upload = uploads.get(caller, upload.id).await?;
    }
    if let Some(finished) = upload.video.map(Finished::Video).or(upload.asset.map(Finished::Asset)) {
        return Ok(made(finished));
    }
    let late = Arc::new(Mutex::new(Fields::default()));
    let body = rest_of(form, file, late.clone());
    let ask = Ask { offset: Some(0), is_last: true, ..Ask::default() };
    let appended = uploads.append(upload.id, body, ask).await.map_err(|problem| match problem {
        Problem::Upload(Refusal::Interrupted | Refusal::Stalled) => BROKE_OFF.into(),
        problem => problem,
    })?;
    let finished = appended.finished.expect("it is the last, and no piece");
    let title = as_title(&late.lock().unwrap_or_else(PoisonError::into_inner).title);
    if let (Finished::Video(id), false) = (finished, title.trim().is_empty()) {
        let patch = Patch { title: Some(title), ..Patch::default() };
        uploads.catalog().videos().patch(id, patch).await?;
    }
    Ok(made(finished))
}

fn made(finished: Finished) -> Response<Payload> {
    let path = path_of(finished);
    let id = match finished {
        Finished::Video(id) => id.to_string(),
        Finished::Asset(id) => id.to_string(),
    };
    let mut response = json::response(StatusCode::CREATED, &Made { id, url: path.clone() });
    response.headers_mut().insert(header::LOCATION, HeaderValue::from_str(&path).expect("a path"));
    response
}

/// The file's bytes, and, before their end is told, all fields behind it.
fn rest_of(form: Multipart<'static>, file: Field<'static>, late: Arc<Mutex<Fields>>) -> Body {
    let chunks = stream::try_unfold((form, Some(file)), move |(mut form, mut file)| {
        let late = late.clone();
        async move {
            if let Some(field) = &mut file {
                if let Some(chunk) = field.chunk().await? {
                    return Ok(Some((chunk, (form, file))));
                }
                drop(file);
            }
            let mut fields = Fields::default();
            while let Some(field) = form.next_field().await? {
                fields.read(field).await?;
            }
            *late.lock().unwrap_or_else(PoisonError::into_inner) = fields;
            Ok::<_, BodyError>(None)
        }
    });
    Box::pin(chunks)
}

fn of_form(error: &multer::Error) -> Problem {
    use multer::Error;
    let refusal = match error {
        Error::FieldSizeExceeded { .. } => Refusal::Bad("A field of the form is longer than 4096 bytes."),
        Error::StreamReadFailed(_) | Error::IncompleteStream | Error::IncompleteFieldData { .. } => BROKE_OFF,
        _ => Refusal::Bad("The body is no form, or none that can be read."),
    };
    refusal.into()
}

// === impl Fields ===

impl Fields {
    /// Reads one field; any that we do not know is read, too, and forgotten.
    async fn read(&mut self, field: Field<'static>) -> Result<(), multer::Error> {
        let name = field.name().map(str::to_owned);
        let text = field.text().await?;
        match name.as_deref() {
            Some("title") => self.title = text,
            Some("purpose") if !text.is_empty() => self.purpose = Some(text),
            _ => {}
        }
        Ok(())
    }
}

/// A body for `multer`, which would take all that is at hand into its memory before it looks at any of it: after each chunk
/// this one says that there is nothing yet.
struct OneByOne {
    body: Body,
    is_due: bool,
}

impl Stream for OneByOne {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.is_due) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let chunk = self.body.as_mut().poll_next(cx);
        self.is_due = matches!(chunk, Poll::Ready(Some(Ok(_))));
        chunk
    }
}
