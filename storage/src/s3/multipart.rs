//! Multipart uploads, call by call.

use std::time::Duration;

use aws_sdk_s3::presigning::PresigningConfig;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart, MultipartUpload, Part as StoredPart};
use bytes::Bytes;

use super::S3Store;
use super::errors::from_sdk;
use super::get::version;
use super::list::KEYS_MAX;
use crate::{
    Attributes, Error, ObjectKey, Page, Part, PartNumber, Parts, PresignedPart, UploadEntry, UploadId,
    Uploads, Version,
};

/// Between the key and the id of the upload that a page begins behind; neither can have one.
const MARKER_SEPARATOR: char = '\0';

pub(super) async fn create(
    store: &S3Store,
    key: &ObjectKey,
    attributes: &Attributes,
) -> Result<UploadId, Error> {
    let created = store
        .client
        .create_multipart_upload()
        .bucket(&*store.bucket)
        .key(key.as_str())
        .set_content_type(attributes.content_type.clone())
        .set_cache_control(attributes.cache_control.clone())
        .set_content_encoding(attributes.content_encoding.clone())
        .set_content_disposition(attributes.content_disposition.clone())
        .set_content_language(attributes.content_language.clone())
        .send()
        .await
        .map_err(|error| from_sdk(&store.bucket, error))?;
    created.upload_id.map(UploadId).ok_or_else(|| Error::Protocol("an upload without an id".to_owned()))
}

pub(super) async fn put_part(
    store: &S3Store,
    key: &ObjectKey,
    upload: &UploadId,
    number: PartNumber,
    body: Bytes,
) -> Result<Part, Error> {
    let size = u64::try_from(body.len()).expect("usize fits in u64");
    let stored = store
        .client
        .upload_part()
        .bucket(&*store.bucket)
        .key(key.as_str())
        .upload_id(&upload.0)
        .part_number(number.get().into())
        .body(body.into())
        .customize()
        .config_override(store.upload_config.clone())
        .send()
        .await
        .map_err(|error| from_sdk(&store.bucket, error))?;
    let etag = stored.e_tag.ok_or_else(|| Error::Protocol("a part without an ETag".to_owned()))?;
    Ok(Part { number, etag, size })
}

pub(super) async fn complete(
    store: &S3Store,
    key: &ObjectKey,
    upload: &UploadId,
    parts: &[Part],
) -> Result<Version, Error> {
    let parts = parts
        .iter()
        .map(|part| CompletedPart::builder().part_number(part.number.get().into()).e_tag(&part.etag).build());
    let parts = CompletedMultipartUpload::builder().set_parts(Some(parts.collect())).build();
    let completed = store
        .client
        .complete_multipart_upload()
        .bucket(&*store.bucket)
        .key(key.as_str())
        .upload_id(&upload.0)
        .multipart_upload(parts)
        .customize()
        .config_override(store.upload_config.clone())
        .send()
        .await
        .map_err(|error| from_sdk(&store.bucket, error))?;
    version(completed.e_tag(), completed.version_id())
}

pub(super) async fn list_parts(
    store: &S3Store,
    key: &ObjectKey,
    upload: &UploadId,
    after: Option<PartNumber>,
) -> Result<Parts, Error> {
    let listed = store
        .client
        .list_parts()
        .bucket(&*store.bucket)
        .key(key.as_str())
        .upload_id(&upload.0)
        .set_part_number_marker(after.map(|number| number.get().to_string()))
        .send()
        .await
        .map_err(|error| from_sdk(&store.bucket, error))?;
    let parts: Option<Vec<_>> = listed.parts().iter().map(part).collect();
    let parts = parts.ok_or_else(|| Error::Protocol("a part without number, ETag or size".to_owned()))?;
    let next = parts.last().map(|part| part.number).filter(|_| listed.is_truncated == Some(true));
    Ok(Parts { parts, next })
}

fn part(listed: &StoredPart) -> Option<Part> {
    Some(Part {
        number: PartNumber::new(u16::try_from(listed.part_number()?).ok()?)?,
        etag: listed.e_tag()?.to_owned(),
        size: u64::try_from(listed.size()?).ok()?,
    })
}

/// Like a listing of keys, a page may be shorter than its limit and not be the last. Keys are not asked for in their
/// encoded form, as a listing of keys does: SeaweedFS says that it encodes them here, and does not.
pub(super) async fn list(store: &S3Store, prefix: &str, page: Page) -> Result<Uploads, Error> {
    let after = page.after.as_deref().and_then(|after| after.split_once(MARKER_SEPARATOR)).unzip();
    let listed = store
        .client
        .list_multipart_uploads()
        .bucket(&*store.bucket)
        .prefix(prefix)
        .max_uploads(i32::try_from(page.limit.clamp(1, KEYS_MAX)).expect("1000 fits"))
        .set_key_marker(after.0.filter(|key| !key.is_empty()).map(str::to_owned))
        .set_upload_id_marker(after.1.map(str::to_owned))
        .send()
        .await
        .map_err(|error| from_sdk(&store.bucket, error))?;
    let entries = listed.uploads().iter().filter_map(entry).collect();
    // SeaweedFS has no marker for keys: its pages are in the order of ids, and it takes a key for the only one wanted.
    let marker = |id| format!("{}{MARKER_SEPARATOR}{id}", listed.next_key_marker().unwrap_or_default());
    let next = listed.next_upload_id_marker().filter(|_| listed.is_truncated == Some(true)).map(marker);
    Ok(Uploads { entries, next })
}

fn entry(listed: &MultipartUpload) -> Option<UploadEntry> {
    Some(UploadEntry {
        key: ObjectKey::new(listed.key()?).ok()?,
        upload: UploadId(listed.upload_id()?.to_owned()),
        begun: listed.initiated().and_then(|time| (*time).try_into().ok()),
    })
}

/// The length is a signed header, so that the store refuses a part of any other.
pub(super) async fn presign_part(
    store: &S3Store,
    key: &ObjectKey,
    upload: &UploadId,
    number: PartNumber,
    bytes: u64,
    valid_for: Duration,
) -> Result<PresignedPart, Error> {
    let length = i64::try_from(bytes).map_err(|error| Error::Other(Error::shared(error)))?;
    let config =
        PresigningConfig::expires_in(valid_for).map_err(|error| Error::Other(Error::shared(error)))?;
    let signed = store
        .signer
        .upload_part()
        .bucket(&*store.bucket)
        .key(key.as_str())
        .upload_id(&upload.0)
        .part_number(number.get().into())
        .content_length(length)
        .presigned(config)
        .await
        .map_err(|error| from_sdk(&store.bucket, error))?;
    let set_by_clients =
        |name: &str| name.eq_ignore_ascii_case("host") || name.eq_ignore_ascii_case("content-length");
    let headers = signed.headers().filter(|(name, _)| !set_by_clients(name));
    Ok(PresignedPart {
        url: signed.uri().to_owned(),
        headers: headers.map(|(name, value)| (name.to_owned(), value.to_owned())).collect(),
    })
}

pub(super) async fn abort(store: &S3Store, key: &ObjectKey, upload: &UploadId) -> Result<(), Error> {
    let request =
        store.client.abort_multipart_upload().bucket(&*store.bucket).key(key.as_str()).upload_id(&upload.0);
    match request.send().await.map_err(|error| from_sdk(&store.bucket, error)) {
        Ok(_) | Err(Error::NotFound | Error::NoSuchUpload) => Ok(()),
        Err(error) => Err(error),
    }
}
