//! Multipart uploads, call by call.

use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use bytes::Bytes;

use super::S3Store;
use super::errors::from_sdk;
use super::get::version;
use crate::{Attributes, Error, ObjectKey, Part, PartNumber, UploadId, Version};

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

pub(super) async fn abort(store: &S3Store, key: &ObjectKey, upload: &UploadId) -> Result<(), Error> {
    let request =
        store.client.abort_multipart_upload().bucket(&*store.bucket).key(key.as_str()).upload_id(&upload.0);
    match request.send().await.map_err(|error| from_sdk(&store.bucket, error)) {
        Ok(_) | Err(Error::NotFound) => Ok(()),
        Err(error) => Err(error),
    }
}
