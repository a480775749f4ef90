//! A plain form: `POST /api/videos` with `file`, and perhaps `title`, `purpose` and `profile`, as `curl -F` and simple pages send it.
//!
//! It is streamed like any other upload, but nobody can go on with it: where it breaks off, what came is deleted. The upload
//! is complete only when the whole form was read, so a title may also come after the file; a purpose may not, because
//! it decides what the first bytes may be, nor may a profile, which the record has from its beginning.
//!
//! `multer` keeps what it has read until it finds a boundary, or the end of a field's head, however long that takes. So what
//! a form has besides its file is counted, and bounded.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::{Stream, stream};
use http::header::{self, HeaderMap, HeaderValue};
use http::{Response, StatusCode};
use multer::{Constraints, Field, Multipart, SizeLimit, parse_boundary};
use seekway_catalog::{Finished, Purpose, UploadState, Via};
use serde::Serialize;
use tokio::time::timeout;
use utoipa::ToSchema;

use super::http::path_of;
use super::{Announced, Ask, Body, BodyError, Refusal, Uploads, as_title, tus};
use crate::caller::Caller;
use crate::delivery::body::Payload;
use crate::json;
use crate::respond::Problem;

/// Bytes of any field but the file.
const FIELD_BYTES_MAX: u64 = 4096;
/// Bytes of a form before its file, and behind it: a dozen full fields, and some words of each one's head.
const BESIDES_BYTES_MAX: u64 = 64 * 1024;

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
    profile: Option<String>,
}

const TOO_MUCH_BESIDES: Refusal = Refusal::Bad("Besides its file a form is at most 64 KiB long.");
const LATE: Refusal = Refusal::Bad("Send `purpose` and `profile` before the `file`. Nothing of it is kept.");
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
    let besides = Arc::new(AtomicU64::new(0));
    let body = OneByOne { body, is_due: false, besides: besides.clone() };
    let mut form = Multipart::with_constraints(body, boundary, constraints);
    let begun = timeout(uploads.limits().stall_timeout(), until_file(&mut form)).await;
    let (fields, file) = begun.map_err(|_| BROKE_OFF)??;
    let purpose = fields.purpose.as_deref().map_or(Some(Purpose::Video), Purpose::parse);
    let announced = Announced {
        via: Via::Form,
        purpose: purpose.ok_or(Refusal::Bad("The purpose is video, watermark, intro or outro."))?,
        profile: fields.profile.clone(),
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
    let title = Arc::new(OnceLock::new());
    let body = rest_of(form, file, (upload.purpose, fields.profile), besides, title.clone());
    // It is longer by the rest of the form, but a file that is far too long is refused at once.
    let announced = tus::number(headers, &header::CONTENT_LENGTH)?;
    let announced = announced.map(|bytes| bytes.saturating_sub(BESIDES_BYTES_MAX));
    let ask = Ask { offset: Some(0), announced, is_last: true, title, ..Ask::default() };
    let appended = uploads.append(upload.id, body, ask).await.map_err(|problem| match problem {
        Problem::Upload(Refusal::Interrupted | Refusal::Stalled) => BROKE_OFF.into(),
        problem => problem,
    })?;
    Ok(made(appended.finished.expect("it is the last, and no piece")))
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

/// All fields before the file, and the file.
async fn until_file(form: &mut Multipart<'static>) -> Result<(Fields, Field<'static>), Refusal> {
    let mut fields = Fields::default();
    loop {
        let field = form.next_field().await.map_err(of_form)?;
        let field = field.ok_or(Refusal::Bad("The form has no `file`."))?;
        match field.name() {
            Some("file") => return Ok((fields, field)),
            _ => fields.read(field).await?,
        }
    }
}

/// The file's bytes. Before their end is told, all fields behind it are read, of which the title counts.
fn rest_of(
    form: Multipart<'static>,
    file: Field<'static>,
    (purpose, profile): (Purpose, Option<String>),
    besides: Arc<AtomicU64>,
    title: Arc<OnceLock<String>>,
) -> Body {
    let chunks = stream::try_unfold((form, Some(file)), move |(mut form, mut file)| {
        let (besides, title, profile) = (besides.clone(), title.clone(), profile.clone());
        async move {
            if let Some(field) = &mut file {
                if let Some(chunk) = field.chunk().await.map_err(of_form)? {
                    besides.store(0, Ordering::Relaxed);
                    return Ok(Some((chunk, (form, file))));
                }
                drop(file);
            }
            let mut fields = Fields::default();
            while let Some(field) = form.next_field().await.map_err(of_form)? {
                if field.name() == Some("file") {
                    return Err(Refusal::Bad("A form has one `file`. Nothing of it is kept.").into());
                }
                fields.read(field).await?;
            }
            let is_other = fields.profile.is_some() && fields.profile != profile;
            if is_other || fields.purpose.is_some_and(|late| late != purpose.as_str()) {
                return Err(LATE.into());
            }
            let late = as_title(&fields.title);
            if !late.trim().is_empty() {
                title.set(late).expect("a form ends once");
            }
            Ok::<_, BodyError>(None)
        }
    });
    Box::pin(chunks)
}

fn of_form(error: multer::Error) -> Refusal {
    use multer::Error;
    match error {
        Error::FieldSizeExceeded { .. } => Refusal::Bad("A field of the form is longer than 4096 bytes."),
        // Ours, or the connection's.
        Error::StreamReadFailed(error) => error.downcast::<Refusal>().map_or(BROKE_OFF, |refusal| *refusal),
        Error::IncompleteStream | Error::IncompleteFieldData { .. } => BROKE_OFF,
        _ => Refusal::Bad("The body is no form, or none that can be read."),
    }
}

// === impl Fields ===

impl Fields {
    /// Reads one field; any that we do not know is read, too, and forgotten.
    async fn read(&mut self, field: Field<'static>) -> Result<(), Refusal> {
        let name = field.name().map(str::to_owned);
        let text = field.text().await.map_err(of_form)?;
        match name.as_deref() {
            Some("title") => self.title = text,
            Some("purpose") if !text.is_empty() => self.purpose = Some(text),
            Some("profile") if !text.is_empty() => self.profile = Some(text),
            _ => {}
        }
        Ok(())
    }
}

/// A body for `multer`, which would take all that is at hand into its memory before it looks at any of it: after each chunk
/// this one says that there is nothing yet. It fails where too much came since the file, or its last bytes, were found.
struct OneByOne {
    body: Body,
    is_due: bool,
    besides: Arc<AtomicU64>,
}

impl Stream for OneByOne {
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if std::mem::take(&mut self.is_due) {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if self.besides.load(Ordering::Relaxed) > BESIDES_BYTES_MAX {
            return Poll::Ready(Some(Err(TOO_MUCH_BESIDES.into())));
        }
        let chunk = self.body.as_mut().poll_next(cx);
        if let Poll::Ready(Some(Ok(bytes))) = &chunk {
            self.besides.fetch_add(bytes.len() as u64, Ordering::Relaxed);
            self.is_due = true;
        }
        chunk
    }
}
