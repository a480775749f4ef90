//! Straight into the bucket: the client stores the parts by itself, with requests that are signed here.
//!
//! The bytes never come through here, so their SHA-256 is the worker's to compute. What is checked: each signature is for
//! one part of one length, which the store insists on; at the end the parts that the store has are the whole file, none
//! missing, longer or shorter; then the object's size and its first bytes, before anything becomes a video of it.

use std::time::Duration;

use http::header::{self, HeaderMap, HeaderValue};
use http::{Method, Response, StatusCode};
use seekway_catalog::{Complete, Part, Purpose, Upload, UploadId, UploadState, Via};
use seekway_storage::{Attributes, ObjectKey, PartNumber, UploadId as StoreUpload};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::http::{UploadDocument, path_of};
use super::{Announced, Body, Refusal, Uploads, parts, tus};
use crate::caller::Caller;
use crate::delivery::body::Payload;
use crate::json;
use crate::respond::Problem;
use crate::routes::{Route, allowed_methods};

/// How long a signed request is valid: longer than a part takes on a phone, and a client can ask for another at any time.
const VALID_FOR: Duration = Duration::from_hours(1);
/// Parts that are signed in one request.
const BATCH_MAX: usize = 1000;

/// What is done with an upload, by the end of its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DirectAction {
    /// Nothing behind its id: it is looked at or given up.
    Look,
    /// `/parts`
    Sign,
    /// `/complete`
    Complete,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = DirectUpload)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewDocument {
    name: String,
    length: u64,
    #[serde(default)]
    title: String,
    content_type: Option<String>,
    purpose: Option<String>,
    /// By which profile the video is to be processed.
    profile: Option<String>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = DirectUploadBegun)]
pub(crate) struct Begun<'u> {
    #[serde(flatten)]
    upload: UploadDocument<'u>,
    /// Every part has this length but the last, which has what is left.
    part_bytes: u64,
    parts_count: u64,
    /// What the store has.
    parts: Vec<Stored>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = StoredPart)]
pub(crate) struct Stored {
    number: u16,
    bytes: u64,
    etag: String,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = WantedParts)]
#[serde(deny_unknown_fields)]
pub(crate) struct Wanted {
    numbers: Vec<u16>,
}

#[derive(Serialize, ToSchema)]
#[schema(as = SignedParts)]
pub(crate) struct Signed {
    parts: Vec<SignedPart>,
    /// When these can be used no more.
    valid_for_secs: u64,
}

#[derive(Serialize, ToSchema)]
#[schema(as = SignedPart)]
pub(crate) struct SignedPart {
    number: u16,
    bytes: u64,
    method: &'static str,
    url: String,
    headers: Vec<(String, String)>,
}

#[derive(Default, Deserialize, ToSchema)]
#[schema(as = DirectUploadDone)]
#[serde(deny_unknown_fields)]
pub(crate) struct Done {
    /// What the client has seen; where it is given, the store must have the same.
    #[serde(default)]
    parts: Vec<DonePart>,
}

#[derive(Deserialize, ToSchema)]
#[schema(as = DonePart)]
#[serde(deny_unknown_fields)]
pub(crate) struct DonePart {
    number: u16,
    etag: String,
}

/// The multipart upload behind an upload.
struct Place {
    key: ObjectKey,
    store_upload: StoreUpload,
    length: u64,
    part_bytes: u64,
}

/// `POST /api/uploads/direct`
pub(crate) async fn create(
    uploads: &Uploads,
    caller: Caller,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response<Payload>, Problem> {
    let new: NewDocument = json::read(headers, body).await?;
    let purpose = new.purpose.as_deref().map_or(Some(Purpose::Video), Purpose::parse);
    let announced = Announced {
        via: Via::Direct,
        purpose: purpose.ok_or(Refusal::Bad("The purpose is video, watermark, intro or outro."))?,
        profile: new.profile,
        name: new.name,
        title: new.title,
        metadata: String::new(),
        content_type: new.content_type,
        length: Some(new.length),
        concat: None,
        idempotency_key: tus::idempotency_key(headers)?,
    };
    uploads.must_sign().await?;
    let mut upload = uploads.create(caller, announced).await?;
    if upload.store_upload.is_none() && upload.state == UploadState::Open {
        upload = uploads.begin_direct(upload).await?;
    }
    let mut response = begun(uploads, &upload, StatusCode::CREATED).await?;
    let path = HeaderValue::from_str(&format!("/api/uploads/direct/{}", upload.id)).expect("a path");
    response.headers_mut().insert(header::LOCATION, path);
    Ok(response)
}

/// What is asked of `/api/uploads/direct/{id}` and below.
pub(crate) async fn resource(
    uploads: &Uploads,
    caller: Caller,
    id: UploadId,
    action: DirectAction,
    method: &Method,
    headers: &HeaderMap,
    body: Body,
) -> Result<Response<Payload>, Problem> {
    match (action, method) {
        (DirectAction::Look, &Method::DELETE) => {
            uploads.terminate(caller, id).await?;
            let mut response = Response::new(Payload::Empty);
            *response.status_mut() = StatusCode::NO_CONTENT;
            Ok(response)
        }
        (DirectAction::Look, &Method::GET | &Method::HEAD) => {
            begun(uploads, &uploads.get(caller, id).await?, StatusCode::OK).await
        }
        (DirectAction::Sign, &Method::POST) => {
            let wanted: Wanted = json::read(headers, body).await?;
            let place = Place::of(&uploads.get(caller, id).await?)?;
            sign(uploads, &place, &wanted.numbers).await
        }
        (DirectAction::Complete, &Method::POST) => {
            let done: Done = json::read(headers, body).await?;
            let upload = uploads.get(caller, id).await?;
            let finished = match (upload.video, upload.asset) {
                (Some(video), _) => seekway_catalog::Finished::Video(video),
                (_, Some(asset)) => seekway_catalog::Finished::Asset(asset),
                (None, None) => {
                    let completed = complete(uploads, id, &Place::of(&upload)?, &done.parts).await;
                    uploads.counted(upload.via, completed)?
                }
            };
            let upload = uploads.get(caller, id).await?;
            let mut response = json::response(StatusCode::OK, &UploadDocument::from(&upload));
            let path = HeaderValue::from_str(&path_of(finished)).expect("a path");
            response.headers_mut().insert(header::CONTENT_LOCATION, path);
            Ok(response)
        }
        _ => Err(Problem::MethodNotAllowed(allowed_methods(&Route::DirectUpload(id, action)))),
    }
}

async fn begun(uploads: &Uploads, upload: &Upload, status: StatusCode) -> Result<Response<Payload>, Problem> {
    let parts = match Place::of(upload) {
        Ok(place) => place.stored(uploads).await?,
        Err(_) => Vec::new(),
    };
    let length = upload.length.unwrap_or_default();
    let part_bytes = parts::part_bytes(1, 0, Some(length), length);
    let parts =
        parts.into_iter().map(|part| Stored { number: part.number.get(), bytes: part.size, etag: part.etag });
    let document = Begun {
        upload: UploadDocument::from(upload),
        part_bytes,
        parts_count: length.div_ceil(part_bytes),
        parts: parts.collect(),
    };
    Ok(json::response(status, &document))
}

async fn sign(uploads: &Uploads, place: &Place, numbers: &[u16]) -> Result<Response<Payload>, Problem> {
    if numbers.is_empty() || numbers.len() > BATCH_MAX {
        return Err(Refusal::Bad("Ask for 1 to 1000 parts at a time.").into());
    }
    let mut parts = Vec::with_capacity(numbers.len());
    for number in numbers {
        let bytes =
            place.bytes_of(*number).ok_or(Refusal::Bad("The upload has no part with that number."))?;
        let part = PartNumber::new(*number).expect("it is one of the upload's");
        let signed =
            uploads.store().presign_part(&place.key, &place.store_upload, part, bytes, VALID_FOR).await;
        let signed = signed.map_err(Problem::Storage)?;
        parts.push(SignedPart {
            number: *number,
            bytes,
            method: "PUT",
            url: signed.url,
            headers: signed.headers,
        });
    }
    Ok(json::response(StatusCode::OK, &Signed { parts, valid_for_secs: VALID_FOR.as_secs() }))
}

async fn complete(
    uploads: &Uploads,
    id: UploadId,
    place: &Place,
    seen: &[DonePart],
) -> Result<seekway_catalog::Finished, Problem> {
    let stored = place.stored(uploads).await?;
    let plain = |etag: &str| etag.trim_matches('"').to_owned();
    for part in seen {
        let known = stored.iter().find(|known| known.number.get() == part.number);
        if known.is_none_or(|known| plain(&known.etag) != plain(&part.etag)) {
            return Err(Refusal::Conflict(
                "The store has another part than you have seen. Ask which it has.",
            )
            .into());
        }
    }
    let is_whole = |(nth, part): (u16, &seekway_storage::Part)| {
        part.number.get() == nth && place.bytes_of(nth) == Some(part.size)
    };
    if stored.len() as u64 != place.count() || !(1..).zip(&stored).all(is_whole) {
        return Err(
            Refusal::Conflict("Parts are missing, or have another length. Ask which the store has.").into()
        );
    }
    let parts = stored.into_iter().map(|part| Part {
        number: part.number.get().into(),
        start: (u64::from(part.number.get()) - 1) * place.part_bytes,
        bytes: part.size,
        etag: part.etag,
    });
    uploads.complete(id, Complete::Direct(parts.collect())).await
}

// === impl Place ===

impl Place {
    fn of(upload: &Upload) -> Result<Self, Problem> {
        let (Via::Direct, UploadState::Open) = (upload.via, upload.state) else {
            return Err(if upload.via == Via::Direct { Refusal::Complete } else { Refusal::Unknown }.into());
        };
        let length = upload.length.unwrap_or_default();
        Ok(Self {
            key: ObjectKey::new(&upload.key).map_err(|_| Refusal::Gone)?,
            store_upload: upload.store_upload.clone().map(StoreUpload).ok_or(Refusal::Gone)?,
            length,
            part_bytes: parts::part_bytes(1, 0, Some(length), length),
        })
    }

    fn count(&self) -> u64 {
        self.length.div_ceil(self.part_bytes)
    }

    /// How long a part is, if there is one with this number.
    fn bytes_of(&self, number: u16) -> Option<u64> {
        let start = u64::from(number).checked_sub(1)? * self.part_bytes;
        let left = self.length.checked_sub(start).filter(|left| *left > 0)?;
        Some(left.min(self.part_bytes))
    }

    async fn stored(&self, uploads: &Uploads) -> Result<Vec<seekway_storage::Part>, Problem> {
        let mut parts = Vec::new();
        let mut after = None;
        loop {
            let page = uploads.store().list_parts(&self.key, &self.store_upload, after).await;
            let page = page.map_err(Problem::Storage)?;
            parts.extend(page.parts);
            after = page.next;
            if after.is_none() {
                return Ok(parts);
            }
        }
    }
}

// === impl Uploads ===

impl Uploads {
    /// Refuses where clients cannot reach the store.
    async fn must_sign(&self) -> Result<(), Problem> {
        let (key, upload) = (super::names::piece(), StoreUpload("x".to_owned()));
        let number = PartNumber::new(1).expect("a number");
        match self.store().presign_part(&key, &upload, number, 1, VALID_FOR).await {
            Ok(_) => Ok(()),
            Err(seekway_storage::Error::Unsupported(_)) => Err(Refusal::NotHere.into()),
            Err(error) => Err(Problem::Storage(error)),
        }
    }

    /// Begins the multipart upload.
    async fn begin_direct(&self, upload: Upload) -> Result<Upload, Problem> {
        let key = ObjectKey::new(&upload.key).map_err(|_| Refusal::Gone)?;
        let epoch = self.catalog().uploads().begin_append(upload.id, Some(0)).await?.epoch;
        let begun =
            self.store().create_multipart(&key, &Attributes::default()).await.map_err(Problem::Storage)?;
        self.catalog().uploads().set_store_upload(upload.id, epoch, &begun.0).await?;
        Ok(self.catalog().uploads().get(upload.id).await?)
    }
}
