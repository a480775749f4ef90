//! How uploads end: as an object, or not at all.

use crate::database::{Write, args};
use crate::{AssetId, Error, NewAsset, NewVideo, State as _, UploadId, VideoId, assets, videos};

use super::{PARTS, Part, Upload, UploadState, Uploads, locked, locked_for, transition};

/// Who says that all bytes are here.
#[derive(Debug, Clone)]
pub enum Complete {
    /// The writer with this epoch; its parts are committed.
    Writer(u64),
    /// The client, who sent these to the bucket by itself.
    Direct(Vec<Part>),
}

/// What the store is to make an object of.
#[derive(Debug, Clone)]
pub struct Completing {
    /// The whole record. A remainder may be left in it: the last bytes, which no part has yet.
    pub upload: Upload,
    /// The parts in the order of their bytes.
    pub parts: Vec<Part>,
}

/// What the object is.
#[derive(Debug, Clone)]
pub enum Made {
    /// A video.
    Video(NewVideo),
    /// A watermark, intro or outro.
    Asset(NewAsset),
}

/// What it is called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Finished {
    /// A video.
    Video(VideoId),
    /// An asset.
    Asset(AssetId),
}

/// Why an upload is given up.
#[derive(Debug, Clone)]
pub enum Abort {
    /// The client does not want it any more. Nothing stays of it.
    Terminated,
    /// Nobody has appended for too long. Nothing stays of it.
    Expired,
    /// It cannot be taken. The reason is kept for the client until the upload expires.
    Refused(String),
}

// === impl Uploads ===

impl Uploads<'_> {
    /// Closes the upload to writers: its bytes are all here. One that is completing already is returned again.
    ///
    /// # Errors
    /// [`Error::OffsetConflict`] when bytes are missing, or its length is not known; [`Error::Superseded`];
    /// [`Error::IllegalTransition`].
    pub async fn begin_completing(&self, id: UploadId, who: Complete) -> Result<Completing, Error> {
        let mut write = self.0.write().await?;
        let mut upload = locked(&mut write, id).await?;
        if upload.state != UploadState::Completing {
            match who {
                Complete::Writer(epoch) => drop(locked_for(&mut write, id, epoch).await?),
                Complete::Direct(parts) => {
                    upload.must_be_open()?;
                    upload.offset = take_parts(&mut write, &upload, &parts).await?;
                }
            }
            if upload.length != Some(upload.offset) {
                return Err(Error::OffsetConflict { committed: upload.offset });
            }
            transition(&mut write, &upload, UploadState::Completing).await?;
        }
        let upload = locked(&mut write, id).await?;
        let rows = write.rows(PARTS, args![id]).await?;
        let parts = rows.iter().map(Part::from_row).collect::<Result<_, _>>()?;
        write.commit().await?;
        Ok(Completing { upload, parts })
    }

    /// Makes the object known: the video or asset, what is to be done because of it, and the end of the upload, all or
    /// nothing. Done again it returns the same.
    pub async fn finish(&self, id: UploadId, made: Made) -> Result<Finished, Error> {
        let mut write = self.0.write().await?;
        let upload = locked(&mut write, id).await?;
        match (upload.video, upload.asset) {
            (Some(video), _) => return Ok(Finished::Video(video)),
            (None, Some(asset)) => return Ok(Finished::Asset(asset)),
            (None, None) => {}
        }
        transition(&mut write, &upload, UploadState::Complete).await?;
        let (finished, source) = match made {
            Made::Video(video) => {
                (Finished::Video(videos::insert(&mut write, upload.account, &video).await?), video.source)
            }
            Made::Asset(asset) => {
                (Finished::Asset(assets::insert(&mut write, upload.account, &asset).await?), asset.source)
            }
        };
        let (video, asset) = match finished {
            Finished::Video(video) => (Some(video), None),
            Finished::Asset(asset) => (None, Some(asset)),
        };
        let sql = "UPDATE uploads SET video = $2, asset = $3, sha256 = $4, expires_ms = now_ms() + lifetime_ms \
                   WHERE id = $1";
        write.rows(sql, args![id, video, asset, source.sha256]).await?;
        write.commit().await?;
        Ok(finished)
    }

    /// Gives the upload up: no writer may commit from now on. Returns what the store may hold of it, also when it is
    /// done again; [`ended`](Self::ended) when that is deleted.
    ///
    /// # Errors
    /// [`Error::IllegalTransition`] where it has ended, or is completing and not refused; [`Error::Conflict`] where
    /// it was to expire and has been appended to.
    pub async fn begin_abort(&self, id: UploadId, why: Abort) -> Result<Completing, Error> {
        let mut write = self.0.write().await?;
        let upload = locked(&mut write, id).await?;
        if upload.state != UploadState::Aborting {
            let problem = match why {
                Abort::Refused(problem) => Some(problem),
                Abort::Terminated | Abort::Expired if upload.state == UploadState::Completing => {
                    let (from, to) = (UploadState::Completing.name(), UploadState::Aborting.name());
                    return Err(Error::IllegalTransition { what: UploadState::WHAT, from, to });
                }
                Abort::Expired if !upload.is_expired() => {
                    return Err(Error::Conflict("the upload goes on"));
                }
                Abort::Terminated | Abort::Expired => None,
            };
            transition(&mut write, &upload, UploadState::Aborting).await?;
            write.rows("UPDATE uploads SET problem = $2 WHERE id = $1", args![id, problem]).await?;
        }
        let upload = locked(&mut write, id).await?;
        let rows = write.rows(PARTS, args![id]).await?;
        let parts = rows.iter().map(Part::from_row).collect::<Result<_, _>>()?;
        write.commit().await?;
        Ok(Completing { upload, parts })
    }

    /// The store holds nothing any more of an upload that was given up. It goes, or stays as failed where it was
    /// refused.
    pub async fn ended(&self, id: UploadId) -> Result<(), Error> {
        let mut write = self.0.write().await?;
        let upload = match locked(&mut write, id).await {
            Err(Error::NotFound) => return Ok(()),
            upload => upload?,
        };
        if upload.state == UploadState::Failed {
            return Ok(());
        }
        if upload.problem.is_some() {
            transition(&mut write, &upload, UploadState::Failed).await?;
            let sql = "UPDATE uploads SET remainder_key = NULL, remainder_bytes = 0, store_upload = NULL, \
                       expires_ms = now_ms() + lifetime_ms WHERE id = $1";
            write.rows(sql, args![id]).await?;
        } else {
            // What has another state is not given up.
            upload.state.become_(UploadState::Failed)?;
            write.rows("DELETE FROM uploads WHERE id = $1", args![id]).await?;
        }
        write.commit().await
    }

    /// Uploads to give up: those that have expired, and those where whoever was deleting them has stopped a minute
    /// ago. At most `limit`; one is not told to two callers within a minute.
    pub async fn expired(&self, limit: u32) -> Result<Vec<UploadId>, Error> {
        // One that nobody has been told of since it expired has waited long enough.
        let sql = "UPDATE uploads SET updated_ms = now_ms() WHERE id IN (SELECT id FROM uploads \
                   WHERE (state = 'aborting' AND updated_ms < now_ms() - $2) \
                   OR (state = 'open' AND expires_ms <= now_ms() \
                     AND (updated_ms < expires_ms OR updated_ms < now_ms() - $2)) \
                   ORDER BY updated_ms LIMIT $1 FOR UPDATE SKIP LOCKED) RETURNING id";
        self.claimed(sql, limit, SWEEP_AGAIN_MS).await
    }

    /// Uploads that have been completing for longer than `older_than_ms`: whoever was at it has stopped. One is not
    /// told to two callers within that time.
    pub async fn stuck_completing(&self, older_than_ms: i64, limit: u32) -> Result<Vec<UploadId>, Error> {
        let sql = "UPDATE uploads SET updated_ms = now_ms() WHERE id IN (SELECT id FROM uploads \
                   WHERE state = 'completing' AND updated_ms < now_ms() - $2 \
                   ORDER BY updated_ms LIMIT $1 FOR UPDATE SKIP LOCKED) RETURNING id";
        self.claimed(sql, limit, older_than_ms).await
    }

    /// Uploads that ended and have expired since, to [`forget`](Self::forget), at most `limit`. One is not told to two
    /// callers within a minute.
    pub async fn ended_long_ago(&self, limit: u32) -> Result<Vec<UploadId>, Error> {
        let sql = "UPDATE uploads SET updated_ms = now_ms() WHERE id IN (SELECT id FROM uploads \
                   WHERE state IN ('complete', 'failed') AND expires_ms <= now_ms() \
                   AND (updated_ms < expires_ms OR updated_ms < now_ms() - $2) \
                   ORDER BY expires_ms LIMIT $1 FOR UPDATE SKIP LOCKED) RETURNING id";
        self.claimed(sql, limit, SWEEP_AGAIN_MS).await
    }

    /// Forgets an upload that has ended, and how; none that is under way.
    pub async fn forget(&self, id: UploadId) -> Result<(), Error> {
        let sql = "DELETE FROM uploads WHERE id = $1 AND state IN ('complete', 'failed') RETURNING id";
        self.0.change(sql, args![id]).await.map(drop)
    }

    async fn claimed(
        &self,
        sql: &'static str,
        limit: u32,
        older_than_ms: i64,
    ) -> Result<Vec<UploadId>, Error> {
        let rows = self.0.change(sql, args![i64::from(limit), older_than_ms]).await?;
        rows.iter().map(|row| row.get("id")).collect()
    }
}

/// Longer than it takes to delete what the store holds of an upload.
const SWEEP_AGAIN_MS: i64 = 60_000;

/// Puts the client's own list in the place of committed parts, and says where it ends.
async fn take_parts(write: &mut Write, upload: &Upload, parts: &[Part]) -> Result<u64, Error> {
    write.rows("DELETE FROM upload_parts WHERE upload = $1", args![upload.id]).await?;
    let mut end = 0_u64;
    for part in parts {
        let sql = "INSERT INTO upload_parts (upload, number, start_bytes, size_bytes, etag, epoch) \
                   VALUES ($1, $2, $3, $4, $5, $6)";
        let args = args![upload.id, part.number, end, part.bytes, part.etag.as_str(), upload.epoch];
        write.rows(sql, args).await?;
        end = end.saturating_add(part.bytes);
    }
    write.rows("UPDATE uploads SET offset_bytes = $2 WHERE id = $1", args![upload.id, end]).await?;
    Ok(end)
}
