//! Uploads: how far each is, and whose turn it is to write.
//!
//! An upload's **offset** is what the client may forget. Whoever begins to append takes a new **epoch**, and only the
//! newest epoch may commit, so a writer that was cut off long ago cannot come back and commit over its successor. The
//! bytes up to the offset are in **parts** of the store's multipart upload, and in a **remainder**, an object of its
//! own, that is shorter than a part may be.
//!
//! ```text
//! open -> completing -> complete
//!   \-> aborting -> (row gone) | failed
//! ```

mod appending;
mod ending;
mod record;

use crate::accounts::{self, Quota};
use crate::database::{Database, Write, args};
use crate::{AccountId, Error, State as _, UploadId};

pub use appending::{Append, Committed, Remainder};
pub use ending::{Abort, Complete, Completing, Finished, Made};
pub use record::{Concat, NewUpload, Part, Purpose, Upload, UploadState, Via};

/// See [`Catalog::uploads`](crate::Catalog::uploads).
#[derive(Debug)]
pub struct Uploads<'c>(pub(crate) &'c Database);

/// What an account has of what its [`Quota`] counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Bytes of its videos and assets, and what its uploads under way have declared, or where they have not, brought.
    pub bytes: u64,
    /// Uploads under way.
    pub uploads: u64,
}

// === impl Uploads ===

impl Uploads<'_> {
    /// All uploads, in the order of their names, at most `limit`; the next page is `after` the last of this one.
    pub async fn page(&self, after: Option<UploadId>, limit: u32) -> Result<Vec<Upload>, Error> {
        let sql =
            "SELECT *, now_ms() AS now_ms FROM uploads WHERE ($1 IS NULL OR id > $1) ORDER BY id LIMIT $2";
        self.0.rows(sql, args![after, i64::from(limit)]).await?.iter().map(Upload::from_row).collect()
    }

    /// Whether an upload, also one that has ended, is to become or became the object with that key.
    pub async fn have_key(&self, key: &str) -> Result<bool, Error> {
        Ok(!self.0.rows("SELECT 1 AS known FROM uploads WHERE object_key = $1", args![key]).await?.is_empty())
    }

    /// A new upload, or the one that was made with the same idempotency key.
    ///
    /// `allowed` is what the account may have where it has no quota of its own; without an account, all that have
    /// none share it.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the same idempotency key came with another request before; [`Error::Quota`].
    pub async fn create(&self, new: NewUpload, allowed: Quota) -> Result<Upload, Error> {
        let mut write = self.0.write().await?;
        let account = new.account;
        lock_account(&mut write, account).await?;
        if let Some(key) = &new.idempotency_key {
            let sql = "SELECT *, now_ms() AS now_ms FROM uploads \
                       WHERE COALESCE(account, '') = COALESCE($1, '') AND idempotency_key = $2";
            if let Some(row) = write.rows(sql, args![account, key.clone()]).await?.pop() {
                let same = row.get::<Option<String>>("fingerprint")? == new.fingerprint;
                let used = Error::Conflict("the idempotency key was used for another request");
                return if same { Upload::from_row(&row) } else { Err(used) };
            }
        }
        let quota = accounts::quota(&mut write, account, allowed).await?;
        if let Some(limit) = quota.uploads {
            let sql = "SELECT COUNT(*) AS uploads FROM uploads \
                       WHERE COALESCE(account, '') = COALESCE($1, '') AND state IN ('open', 'completing')";
            let wanted = write.row(sql, args![account]).await?.get::<u64>("uploads")? + 1;
            within_quota("uploads under way", wanted, Some(limit))?;
        }
        stored_within(&mut write, account, None, new.length.unwrap_or(0), quota.bytes).await?;
        let id = UploadId::new();
        let sql = "INSERT INTO uploads (id, account, via, purpose, state, object_key, title, metadata, content_type, \
                   length_bytes, offset_bytes, epoch, next_part, remainder_bytes, concat, idempotency_key, \
                   fingerprint, quota_bytes, lifetime_ms, profile, created_ms, updated_ms, expires_ms) \
                   VALUES ($1, $2, $3, $4, 'open', $5, $6, $7, $8, $9, 0, 0, 1, 0, $10, $11, $12, $13, $14, $15, \
                   now_ms(), now_ms(), now_ms() + $14) RETURNING *, now_ms() AS now_ms";
        let args = args![
            id,
            account,
            new.via,
            new.purpose,
            new.key,
            new.title,
            new.metadata,
            new.content_type,
            new.length,
            new.concat.map(|concat| concat.to_text()),
            new.idempotency_key,
            new.fingerprint,
            quota.bytes,
            new.lifetime_ms,
            new.profile,
        ];
        let upload = Upload::from_row(&write.row(sql, args).await?)?;
        write.commit().await?;
        Ok(upload)
    }

    /// The upload as it is, also when it has ended or expired.
    pub async fn get(&self, id: UploadId) -> Result<Upload, Error> {
        let sql = "SELECT *, now_ms() AS now_ms FROM uploads WHERE id = $1";
        Upload::from_row(&self.0.row(sql, args![id]).await?)
    }

    /// An account's uploads, newest first, at most `limit`; `None` is those without an account. The next page is
    /// `after` the last of this one.
    pub async fn of_account(
        &self,
        account: Option<AccountId>,
        after: Option<&Upload>,
        limit: u32,
    ) -> Result<Vec<Upload>, Error> {
        let sql = "SELECT *, now_ms() AS now_ms FROM uploads WHERE COALESCE(account, '') = COALESCE($1, '') \
                   AND ($2 IS NULL OR created_ms < $2 OR (created_ms = $2 AND id < $3)) \
                   ORDER BY created_ms DESC, id DESC LIMIT $4";
        let (created, id) = (after.map(|last| last.created_ms), after.map(|last| last.id.to_string()));
        let rows = self.0.rows(sql, args![account, created, id, i64::from(limit)]).await?;
        rows.iter().map(Upload::from_row).collect()
    }

    /// What an account has; `None` is what is nobody's.
    pub async fn held(&self, account: Option<AccountId>) -> Result<Held, Error> {
        let row = self.0.row(HELD, args![account, None::<String>]).await?;
        Ok(Held { bytes: row.get("bytes")?, uploads: row.get("uploads")? })
    }

    /// The committed parts, in the order of their bytes.
    pub async fn parts(&self, id: UploadId) -> Result<Vec<Part>, Error> {
        let rows = self.0.rows(PARTS, args![id]).await?;
        rows.iter().map(Part::from_row).collect()
    }
}

/// What an account has, but for one upload. What is put together from pieces counts from when its length is known, and in
/// their place, so that it needs no room twice.
pub(crate) const HELD: &str = "SELECT CAST(COALESCE(SUM(bytes), 0) AS BIGINT) AS bytes, \
                    CAST(COALESCE(SUM(upload), 0) AS BIGINT) AS uploads FROM ( \
                      SELECT size_bytes AS bytes, 0 AS upload FROM videos WHERE COALESCE(owner, '') = COALESCE($1, '') \
                      UNION ALL SELECT size_bytes, 0 FROM assets WHERE COALESCE(owner, '') = COALESCE($1, '') \
                      UNION ALL SELECT CASE WHEN concat = 'partial' AND EXISTS ( \
                          SELECT 1 FROM uploads AS whole WHERE COALESCE(whole.account, '') = COALESCE($1, '') \
                          AND whole.state IN ('open', 'completing') \
                          AND (whole.length_bytes IS NOT NULL OR whole.id = COALESCE($2, '')) \
                          AND whole.concat LIKE 'final%' || uploads.id || '%') \
                        THEN 0 ELSE COALESCE(length_bytes, offset_bytes) END, 1 FROM uploads \
                        WHERE COALESCE(account, '') = COALESCE($1, '') AND state IN ('open', 'completing') \
                        AND id <> COALESCE($2, '') \
                    ) AS held";

const PARTS: &str = "SELECT * FROM upload_parts WHERE upload = $1 ORDER BY start_bytes, number";

/// The upload, which nobody else changes until `write` ends.
async fn locked(write: &mut Write, id: UploadId) -> Result<Upload, Error> {
    let sql = "SELECT *, now_ms() AS now_ms FROM uploads WHERE id = $1 FOR UPDATE";
    Upload::from_row(&write.row(sql, args![id]).await?)
}

/// The same for a writer: it must be open, and its newest epoch `epoch`.
async fn locked_for(write: &mut Write, id: UploadId, epoch: u64) -> Result<Upload, Error> {
    let upload = locked(write, id).await?;
    upload.must_be_open()?;
    if upload.epoch == epoch { Ok(upload) } else { Err(Error::Superseded) }
}

/// Moves it on, if there is a way.
async fn transition(write: &mut Write, upload: &Upload, next: UploadState) -> Result<(), Error> {
    let next = upload.state.become_(next)?;
    let sql = "UPDATE uploads SET state = $2, updated_ms = now_ms() WHERE id = $1";
    write.rows(sql, args![upload.id, next]).await.map(drop)
}

/// Has the account's other uploads wait: sums over several rows hold until `write` ends.
async fn lock_account(write: &mut Write, account: Option<AccountId>) -> Result<(), Error> {
    write.lock(&format!("uploads of {}", account.map_or_else(String::new, |id| id.to_string()))).await
}

/// Whether an account has room for `wanted` bytes besides what it stores and what its other uploads declared.
async fn stored_within(
    write: &mut Write,
    account: Option<AccountId>,
    except: Option<UploadId>,
    wanted: u64,
    limit: Option<u64>,
) -> Result<(), Error> {
    if limit.is_none() {
        return Ok(());
    }
    lock_account(write, account).await?;
    let held: u64 = write.row(HELD, args![account, except.map(|id| id.to_string())]).await?.get("bytes")?;
    within_quota("bytes stored", held.saturating_add(wanted), limit)
}

fn within_quota(what: &'static str, wanted: u64, limit: Option<u64>) -> Result<(), Error> {
    match limit {
        Some(limit) if wanted > limit => Err(Error::Quota { what, wanted, limit }),
        _ => Ok(()),
    }
}
