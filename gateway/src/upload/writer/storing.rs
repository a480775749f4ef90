//! From a buffer to the store, and from there to the catalog.

use bytes::Bytes;
use futures_util::future::{BoxFuture, pending};
use futures_util::stream;
use seekway_catalog::{Committed, Remainder};
use seekway_storage::{Attributes, ObjectKey, PartNumber, UploadId as StoreUpload};
use tokio::time::Instant;
use tracing::warn;

use super::super::digest::Running;
use super::super::names;
use super::Writer;
use crate::respond::Problem;

/// A part on its way into the store. Dropped, it stays there unlisted, or comes to nothing.
pub(super) struct Storing(BoxFuture<'static, Result<Committed, seekway_storage::Error>>);

// === impl Storing ===

impl Storing {
    /// The part on its way, once the store has it; never, if there is none. Safe to cancel.
    pub(super) async fn landed(storing: &mut Option<Self>) -> Result<Committed, Problem> {
        let Some(Self(part)) = storing else { return pending().await };
        let stored = part.await;
        *storing = None;
        stored.map_err(Problem::Storage)
    }
}

// === impl Writer ===

impl Writer {
    /// Waits for the part on its way, if there is one, and commits it.
    pub(super) async fn land(&mut self) -> Result<(), Problem> {
        if self.storing.is_some() {
            let stored = Storing::landed(&mut self.storing).await?;
            self.commit(stored).await?;
        }
        Ok(())
    }

    /// Sends the buffer on its way as the next part. The one before it has to arrive first.
    pub(super) async fn store_buffer(&mut self) -> Result<(), Problem> {
        self.land().await?;
        let Some(buffer) = self.buffer.take() else { return Ok(()) };
        let (id, start) = (self.upload.id, self.start);
        let store_upload = if self.is_piece() { None } else { Some(self.store_upload().await?) };
        let number = self.inner.catalog.uploads().reserve_part(id, self.epoch).await?;
        self.upload.next_part = number + 1;
        let hash_state = self.hash.as_ref().map(Running::state);
        let (bytes, permit) = buffer.take();
        let length = bytes.len() as u64;
        let (inner, key) = (self.inner.clone(), self.key.clone());
        self.start += length;
        self.storing = Some(Storing(Box::pin(async move {
            let spare = bytes.clone();
            let begun = Instant::now();
            let etag = if let Some(upload) = store_upload {
                let number = u16::try_from(number).ok().and_then(PartNumber::new);
                let number = number
                    .ok_or_else(|| seekway_storage::Error::Protocol("10,000 parts are used up".to_owned()))?;
                inner.store.put_part(&key, &upload, number, bytes).await?.etag
            } else {
                let name = names::part(&key, number);
                inner.store.put(&name, &Attributes::default(), once(bytes)).await?.etag.to_string()
            };
            inner.metrics.uploads.stored_part(begun.elapsed());
            inner.spares.give(spare);
            drop(permit);
            Ok(Committed { number, start, bytes: length, etag, hash_state })
        })));
        Ok(())
    }

    /// Keeps the buffer's bytes as an object of their own.
    pub(super) async fn store_remainder(&mut self) -> Result<(), Problem> {
        let Some(buffer) = &mut self.buffer else { return Ok(()) };
        let key = names::remainder(&self.key, self.end, self.epoch);
        let bytes = buffer.lend();
        let put = self.inner.store.put(&key, &Attributes::default(), once(bytes.clone())).await;
        buffer.give_back(bytes);
        put.map_err(Problem::Storage)?;
        let remainder = Remainder {
            from_offset: self.safe,
            key: key.as_str().to_owned(),
            bytes: self.end - self.start,
            new_offset: self.end,
            hash_state: self.hash.as_ref().map(Running::state),
        };
        let committed =
            self.inner.catalog.uploads().commit_remainder(self.upload.id, self.epoch, remainder).await;
        let old = match committed {
            Ok(old) => old,
            Err(error) => return Err(self.is_late(key, error).await),
        };
        self.safe = self.end;
        self.upload.remainder_key = Some(key.as_str().to_owned());
        self.forget(old).await;
        Ok(())
    }

    /// The store has the part: it is the client's to forget from here on, unless a checksum is to vouch for it first.
    pub(super) async fn commit(&mut self, part: Committed) -> Result<(), Problem> {
        if self.checksum.is_some() {
            self.held.push(part);
            return Ok(());
        }
        let end = part.start + part.bytes;
        let stored = self.is_piece().then(|| names::part(&self.key, part.number));
        let old = match self.inner.catalog.uploads().commit_part(self.upload.id, self.epoch, part).await {
            Ok(old) => old,
            Err(error) => match stored {
                Some(stored) => return Err(self.is_late(stored, error).await),
                None => return Err(error.into()),
            },
        };
        self.safe = end;
        self.upload.remainder_key = None;
        self.forget(old).await;
        Ok(())
    }

    /// Deletes an object that was stored and may not be committed: another writer has taken over, or the upload has ended,
    /// and nobody else would know of it. One that may have been committed after all stays.
    async fn is_late(&mut self, stored: ObjectKey, error: seekway_catalog::Error) -> Problem {
        use seekway_catalog::Error::{Other, Timeout, Unavailable};
        if !matches!(error, Unavailable(_) | Timeout(_) | Other(_)) {
            self.forget(Some(stored.as_str().to_owned())).await;
        }
        error.into()
    }

    /// Deletes a remainder whose bytes are elsewhere now. If that fails it goes with the others when the upload ends.
    async fn forget(&mut self, remainder: Option<String>) {
        let Some(key) = remainder.and_then(|key| ObjectKey::new(&key).ok()) else { return };
        if let Err(error) = self.inner.store.delete(&key).await {
            warn!(error = error.chain(), %key, "a remainder stays for now");
        }
    }

    /// The store's multipart upload, begun with the first part: only then the type is known.
    async fn store_upload(&mut self) -> Result<StoreUpload, Problem> {
        if let Some(known) = &self.upload.store_upload {
            return Ok(StoreUpload(known.clone()));
        }
        let content_type = self.container().map(|container| container.media_type().to_owned());
        let attributes = Attributes { content_type, ..Attributes::default() };
        let begun =
            self.inner.store.create_multipart(&self.key, &attributes).await.map_err(Problem::Storage)?;
        let noted = self.inner.catalog.uploads().set_store_upload(self.upload.id, self.epoch, &begun.0).await;
        if let Err(error) = noted {
            // Whoever has taken over begins one of its own.
            if let Err(error) = self.inner.store.abort_multipart(&self.key, &begun).await {
                warn!(error = error.chain(), key = %self.key, "a multipart upload stays for now");
            }
            return Err(error.into());
        }
        self.upload.store_upload = Some(begun.0.clone());
        Ok(begun)
    }
}

fn once(bytes: Bytes) -> seekway_storage::ByteStream {
    Box::pin(stream::iter([Ok(bytes)]))
}
