//! Appending: from taking over an upload to committing its bytes.

use crate::database::{Write, args};
use crate::{Error, UploadId};

use super::{Upload, Uploads, locked, locked_for, stored_within};

/// The right to append.
#[derive(Debug, Clone)]
pub struct Append {
    /// The upload as it was taken over.
    pub upload: Upload,
    /// What to show with each commit.
    pub epoch: u64,
}

/// A part that the store has.
#[derive(Debug, Clone)]
pub struct Committed {
    /// The number that [`Uploads::reserve_part`] gave.
    pub number: u64,
    /// The offset of its first byte: where the part before it ends.
    pub start: u64,
    /// Its length, the remainder's bytes included.
    pub bytes: u64,
    /// The store's tag for its bytes.
    pub etag: String,
    /// SHA-256 up to its end, where that is kept.
    pub hash_state: Option<Vec<u8>>,
}

/// Bytes after the last part, in an object of their own.
#[derive(Debug, Clone)]
pub struct Remainder {
    /// The offset as the writer knows it.
    pub from_offset: u64,
    /// Where they are.
    pub key: String,
    /// How many, those of the remainder before included.
    pub bytes: u64,
    /// The offset after them.
    pub new_offset: u64,
    /// SHA-256 up to there, where that is kept.
    pub hash_state: Option<Vec<u8>>,
}

// === impl Uploads ===

impl Uploads<'_> {
    /// Takes the upload over from whoever was appending.
    ///
    /// # Errors
    /// [`Error::OffsetConflict`] where `offset` is given and is not the committed one; [`Error::IllegalTransition`]
    /// when it takes no more bytes; [`Error::Expired`]; [`Error::NotFound`].
    pub async fn begin_append(&self, id: UploadId, offset: Option<u64>) -> Result<Append, Error> {
        let mut write = self.0.write().await?;
        let upload = locked(&mut write, id).await?;
        upload.must_be_open()?;
        if let Some(offset) = offset {
            at(&upload, offset, upload.offset)?;
        }
        let sql = "UPDATE uploads SET epoch = epoch + 1, updated_ms = now_ms() WHERE id = $1 \
                   RETURNING *, now_ms() AS now_ms";
        let upload = Upload::from_row(&write.row(sql, args![id]).await?)?;
        write.commit().await?;
        Ok(Append { epoch: upload.epoch, upload })
    }

    /// Notes the store's name for its multipart upload, once.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it has one already; [`Error::Superseded`].
    pub async fn set_store_upload(&self, id: UploadId, epoch: u64, store_upload: &str) -> Result<(), Error> {
        let mut write = self.0.write().await?;
        let upload = locked_for(&mut write, id, epoch).await?;
        if upload.store_upload.is_some_and(|known| known != store_upload) {
            return Err(Error::Conflict("the upload has another multipart upload at the store"));
        }
        let sql = "UPDATE uploads SET store_upload = $2, updated_ms = now_ms() WHERE id = $1";
        write.rows(sql, args![id, store_upload]).await?;
        write.commit().await
    }

    /// Notes its length, once.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it is another than before, or less than what is committed; [`Error::Quota`];
    /// [`Error::Superseded`].
    pub async fn set_length(&self, id: UploadId, epoch: u64, length: u64) -> Result<(), Error> {
        let mut write = self.0.write().await?;
        let upload = locked_for(&mut write, id, epoch).await?;
        if upload.length.is_some_and(|known| known != length) {
            return Err(Error::Conflict("the upload has another length"));
        }
        if length < upload.offset {
            return Err(Error::Conflict("more than this length is committed"));
        }
        has_room(&mut write, &upload, length).await?;
        let sql = "UPDATE uploads SET length_bytes = $2, updated_ms = now_ms() WHERE id = $1";
        write.rows(sql, args![id, length]).await?;
        write.commit().await
    }

    /// Whether it may have so many bytes, as things stand. Nothing is kept for it.
    ///
    /// # Errors
    /// [`Error::Conflict`] when they are more than its length; [`Error::Quota`]; [`Error::Superseded`].
    pub async fn may_grow_to(&self, id: UploadId, epoch: u64, bytes: u64) -> Result<(), Error> {
        let mut write = self.0.write().await?;
        let upload = locked_for(&mut write, id, epoch).await?;
        grows_to(&mut write, &upload, bytes).await
    }

    /// Notes what people call it.
    pub async fn set_title(&self, id: UploadId, epoch: u64, title: &str) -> Result<(), Error> {
        let mut write = self.0.write().await?;
        locked_for(&mut write, id, epoch).await?;
        let sql = "UPDATE uploads SET title = $2, updated_ms = now_ms() WHERE id = $1";
        write.rows(sql, args![id, title]).await?;
        write.commit().await
    }

    /// Notes what its first bytes say it is.
    pub async fn set_container(&self, id: UploadId, epoch: u64, container: &str) -> Result<(), Error> {
        let mut write = self.0.write().await?;
        locked_for(&mut write, id, epoch).await?;
        let sql = "UPDATE uploads SET container = $2, updated_ms = now_ms() WHERE id = $1";
        write.rows(sql, args![id, container]).await?;
        write.commit().await
    }

    /// A number for the next part. It is never given again, whether the part is committed or not.
    pub async fn reserve_part(&self, id: UploadId, epoch: u64) -> Result<u64, Error> {
        let mut write = self.0.write().await?;
        let upload = locked_for(&mut write, id, epoch).await?;
        let sql = "UPDATE uploads SET next_part = next_part + 1, updated_ms = now_ms() WHERE id = $1";
        write.rows(sql, args![id]).await?;
        write.commit().await?;
        Ok(upload.next_part)
    }

    /// Commits a part: the offset is its end from now on, and the remainder is part of it.
    ///
    /// Returns the key of the remainder that was, for the caller to delete.
    ///
    /// # Errors
    /// [`Error::OffsetConflict`] when it does not follow the part before it; [`Error::Superseded`]; [`Error::Quota`].
    pub async fn commit_part(
        &self,
        id: UploadId,
        epoch: u64,
        part: Committed,
    ) -> Result<Option<String>, Error> {
        let mut write = self.0.write().await?;
        let upload = locked_for(&mut write, id, epoch).await?;
        at(&upload, part.start, upload.parts_end())?;
        // A part that ends before the remainder does would take back what the client was told.
        let end = part.start.saturating_add(part.bytes);
        if end < upload.offset || part.number >= upload.next_part {
            return Err(Error::Conflict(
                "the part is shorter than what is committed, or its number was not reserved",
            ));
        }
        grows_to(&mut write, &upload, end).await?;
        let sql = "INSERT INTO upload_parts (upload, number, start_bytes, size_bytes, etag, epoch) \
                   VALUES ($1, $2, $3, $4, $5, $6)";
        write.rows(sql, args![id, part.number, part.start, part.bytes, part.etag, epoch]).await?;
        let sql = "UPDATE uploads SET offset_bytes = $2, hash_state = $3, remainder_key = NULL, remainder_bytes = 0, \
                   updated_ms = now_ms(), expires_ms = now_ms() + lifetime_ms WHERE id = $1";
        write.rows(sql, args![id, end, part.hash_state]).await?;
        write.commit().await?;
        Ok(upload.remainder_key)
    }

    /// Commits bytes that are too few for a part.
    ///
    /// Returns the key of the remainder that was, for the caller to delete.
    ///
    /// # Errors
    /// As [`commit_part`](Self::commit_part).
    pub async fn commit_remainder(
        &self,
        id: UploadId,
        epoch: u64,
        remainder: Remainder,
    ) -> Result<Option<String>, Error> {
        let mut write = self.0.write().await?;
        let upload = locked_for(&mut write, id, epoch).await?;
        at(&upload, remainder.from_offset, upload.offset)?;
        let begins = remainder.new_offset.checked_sub(remainder.bytes);
        if begins != Some(upload.parts_end()) || remainder.new_offset < upload.offset {
            return Err(Error::Conflict("the remainder does not begin where the last part ends"));
        }
        grows_to(&mut write, &upload, remainder.new_offset).await?;
        let sql = "UPDATE uploads SET offset_bytes = $2, hash_state = $3, remainder_key = $4, remainder_bytes = $5, \
                   updated_ms = now_ms(), expires_ms = now_ms() + lifetime_ms WHERE id = $1";
        let key = remainder.key.clone();
        let args = args![id, remainder.new_offset, remainder.hash_state, remainder.key, remainder.bytes];
        write.rows(sql, args).await?;
        write.commit().await?;
        Ok(upload.remainder_key.filter(|old| *old != key))
    }
}

fn at(upload: &Upload, offset: u64, expected: u64) -> Result<(), Error> {
    if offset == expected { Ok(()) } else { Err(Error::OffsetConflict { committed: upload.offset }) }
}

/// Whether the upload may have that many bytes: its length, or what its account has room for.
async fn grows_to(write: &mut Write, upload: &Upload, end: u64) -> Result<(), Error> {
    match upload.length {
        Some(length) if end > length => Err(Error::Conflict("these are more bytes than the upload's length")),
        Some(_) => Ok(()),
        None => has_room(write, upload, end).await,
    }
}

async fn has_room(write: &mut Write, upload: &Upload, bytes: u64) -> Result<(), Error> {
    stored_within(write, upload.account, Some(upload.id), bytes, upload.quota_bytes).await
}
