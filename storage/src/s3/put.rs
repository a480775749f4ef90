//! Writes of unknown length: one request if the body is small, else a multipart upload that holds one part
//! in memory at a time.

use aws_sdk_s3::error::ProvideErrorMetadata;
use bytes::Bytes;
use futures_util::StreamExt;

use super::errors::from_sdk;
use super::get::version;
use super::{S3Store, multipart};
use crate::{Attributes, ByteStream, Error, ObjectKey, PartNumber, UploadId, Version};

/// Times S3's 10,000 parts this makes 78 GiB, the largest object that [`put`] can write.
const PART_BYTES: usize = 8 * 1024 * 1024;

pub(super) async fn put(
    store: &S3Store,
    key: &ObjectKey,
    attributes: &Attributes,
    body: ByteStream,
) -> Result<Version, Error> {
    let mut body = Parts { body, rest: Bytes::new() };
    let first = body.next().await?;
    if first.len() < PART_BYTES {
        return put_whole(store, key, attributes, first).await;
    }
    let upload = multipart::create(store, key, attributes).await?;
    let mut guard = AbortOnDrop { store: store.clone(), key: key.clone(), upload: Some(upload.clone()) };
    let written = put_parts(store, key, &upload, first, body).await;
    if written.is_err()
        && let Err(error) = multipart::abort(store, key, &upload).await
    {
        tracing::warn!(%error, %key, "parts of a failed upload stay in the store");
    }
    guard.upload = None;
    written
}

pub(super) async fn delete(store: &S3Store, key: &ObjectKey) -> Result<(), Error> {
    match store.client.delete_object().bucket(&*store.bucket).key(key.as_str()).send().await {
        Ok(_) => Ok(()),
        Err(error) if error.code() == Some("NoSuchKey") => Ok(()),
        Err(error) => Err(from_sdk(&store.bucket, error)),
    }
}

/// A body cut into pieces of [`PART_BYTES`].
struct Parts {
    body: ByteStream,
    /// What a chunk had beyond the end of the last part.
    rest: Bytes,
}

/// Aborts an upload whose writer went away: parts cost money until somebody does.
struct AbortOnDrop {
    store: S3Store,
    key: ObjectKey,
    /// `None` once the upload is completed or aborted.
    upload: Option<UploadId>,
}

// === impl Parts ===

impl Parts {
    /// The next part; shorter than [`PART_BYTES`] only at the end of the body. Its buffer grows as it is needed
    /// and is never larger than a part.
    async fn next(&mut self) -> Result<Bytes, Error> {
        let mut part = Vec::new();
        while part.len() < PART_BYTES {
            if self.rest.is_empty() {
                let Some(chunk) = self.body.next().await.transpose()? else { break };
                self.rest = chunk;
            }
            let piece = self.rest.split_to(self.rest.len().min(PART_BYTES - part.len()));
            let needed = part.len() + piece.len();
            if needed > part.capacity() {
                let capacity = (2 * part.capacity()).clamp(needed, PART_BYTES);
                part.reserve_exact(capacity - part.len());
            }
            part.extend_from_slice(&piece);
        }
        Ok(part.into())
    }
}

// === impl AbortOnDrop ===

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        let Some(upload) = self.upload.take() else { return };
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (store, key) = (self.store.clone(), self.key.clone());
        // Nobody is left to wait for this task, so the runtime owns it: it ends with its one request, which
        // the timeouts and attempts of the client bound, or with the runtime.
        runtime.spawn(async move {
            if let Err(error) = multipart::abort(&store, &key, &upload).await {
                tracing::warn!(%error, %key, "parts of a cancelled upload stay in the store");
            }
        });
    }
}

async fn put_whole(
    store: &S3Store,
    key: &ObjectKey,
    attributes: &Attributes,
    body: Bytes,
) -> Result<Version, Error> {
    let written = store
        .client
        .put_object()
        .bucket(&*store.bucket)
        .key(key.as_str())
        .set_content_type(attributes.content_type.clone())
        .set_cache_control(attributes.cache_control.clone())
        .set_content_encoding(attributes.content_encoding.clone())
        .set_content_disposition(attributes.content_disposition.clone())
        .set_content_language(attributes.content_language.clone())
        .body(body.into())
        .customize()
        .config_override(store.upload_config.clone())
        .send()
        .await
        .map_err(|error| from_sdk(&store.bucket, error))?;
    version(written.e_tag(), written.version_id())
}

/// Stores `first` and the rest of the body as parts, and publishes them.
async fn put_parts(
    store: &S3Store,
    key: &ObjectKey,
    upload: &UploadId,
    first: Bytes,
    mut body: Parts,
) -> Result<Version, Error> {
    let mut stored = Vec::new();
    let mut part = first;
    for number in 1.. {
        let number = PartNumber::new(number)
            .ok_or_else(|| Error::Other(Error::shared("the body is longer than 10,000 parts")))?;
        stored.push(multipart::put_part(store, key, upload, number, part).await?);
        part = body.next().await?;
        if part.is_empty() {
            break;
        }
    }
    multipart::complete(store, key, upload, &stored).await
}
