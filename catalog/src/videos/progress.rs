//! How far workers are with a video: the newest of it is in the video's row, and an event tells that it moved.

use crate::database::{Row, Write, args};
use crate::state::words;
use crate::{Error, VideoId};

use super::{VideoState, Videos, happened, locked};

words! {
    /// What a worker does with a video, in this order.
    Phase {
        /// Its original comes from the store.
        Fetching = "fetching",
        /// What is in it is found out.
        Probing = "probing",
        /// Its renditions are made.
        Transcoding = "transcoding",
        /// They are put into the form that plays.
        Packaging = "packaging",
        /// They go into the store.
        Publishing = "publishing",
    }
}

/// How far a worker is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// What it does.
    pub phase: Phase,
    /// How much of the whole work is done, 0 to 100.
    pub percent: u8,
    /// In thousandths of the speed at which the video plays, where that is known.
    pub speed_milli: Option<u32>,
    /// Seconds until it is done, where that can be told.
    pub eta_seconds: Option<u32>,
}

const PROGRESS: &str = "progress";

// === impl Videos ===

impl Videos<'_> {
    /// The kind of an event that says that the video's progress is another.
    pub const PROGRESS: &'static str = PROGRESS;

    /// Notes how far a worker is; more than 100 percent are 100. The number of the event that tells it: those before it
    /// that told the same are gone, since only the newest is of use.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the video is not being processed.
    pub async fn set_progress(&self, id: VideoId, progress: Progress) -> Result<i64, Error> {
        let mut write = self.0.write().await?;
        let number = note(&mut write, id, progress).await?;
        write.commit().await?;
        Ok(number)
    }
}

/// See [`Videos::set_progress`].
pub(crate) async fn note(write: &mut Write, id: VideoId, progress: Progress) -> Result<i64, Error> {
    if locked(write, id).await?.state != VideoState::Processing {
        return Err(Error::Conflict("only a video that is being processed makes progress"));
    }
    let sql = "UPDATE videos SET progress_phase = $2, progress_percent = $3, progress_speed_milli = $4, \
               progress_eta_seconds = $5 WHERE id = $1";
    let Progress { phase, percent, speed_milli, eta_seconds } = progress;
    let percent = i64::from(percent.min(100));
    let (speed, eta) = (speed_milli.map(i64::from), eta_seconds.map(i64::from));
    write.rows(sql, args![id, phase, percent, speed, eta]).await?;
    let number = happened(write, id, PROGRESS, "").await?;
    forget(write, id, number).await?;
    Ok(number)
}

/// Nobody is at it for now, and what was said of it is no longer so.
pub(crate) async fn rests(write: &mut Write, id: VideoId) -> Result<(), Error> {
    let sql = "UPDATE videos SET progress_phase = NULL, progress_percent = NULL, progress_speed_milli = NULL, \
               progress_eta_seconds = NULL WHERE id = $1";
    write.rows(sql, args![id]).await?;
    happened(write, id, PROGRESS, "").await.map(drop)
}

/// Deletes the events before `number` that told of progress. That one has to be there already, so that no number is
/// given twice.
pub(super) async fn forget(write: &mut Write, id: VideoId, number: i64) -> Result<(), Error> {
    let sql = "DELETE FROM video_events WHERE video = $1 AND number < $2 AND kind = $3";
    write.rows(sql, args![id, number, PROGRESS]).await.map(drop)
}

// === impl Progress ===

impl Progress {
    pub(super) fn from_row(row: &Row) -> Result<Option<Self>, Error> {
        fn small<T: TryFrom<i64, Error: std::error::Error + Send + Sync + 'static>>(
            value: i64,
        ) -> Result<T, Error> {
            T::try_from(value).map_err(Error::other)
        }
        let Some(phase) = row.get("progress_phase")? else { return Ok(None) };
        let speed: Option<i64> = row.get("progress_speed_milli")?;
        let eta: Option<i64> = row.get("progress_eta_seconds")?;
        Ok(Some(Self {
            phase,
            percent: small(row.get("progress_percent")?)?,
            speed_milli: speed.map(small).transpose()?,
            eta_seconds: eta.map(small).transpose()?,
        }))
    }
}
