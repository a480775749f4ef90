//! How much work there is to do, in seconds that one slot of a worker would be at it.
//!
//! What is known of a job's length (it was probed) times what the newest jobs of its kind took for each second of theirs.
//! Before it was probed a job is as much as its bytes say, by what the newest took for each of theirs.

use std::collections::HashMap;

use crate::database::{Row, args};
use crate::{Error, JobId};

use super::{JobState, Jobs};

/// The newest jobs that have succeeded, from which speeds are learned.
const LEARNED_FROM: i64 = 200;
/// More running jobs than that no fleet has.
const RUNNING_MAX: i64 = 10_000;
/// Before anything was learned: a second of a video is a second of work, and has a megabyte.
const SPEED: f64 = 1.0;
const BYTES_PER_SECOND: f64 = 1e6;
/// A running job that takes longer than it was thought to has this part of it left.
const LEFT_AT_LEAST: f64 = 0.05;

/// The work of all jobs that may be claimed now or are claimed.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Outstanding {
    /// Of jobs that wait, in seconds of one slot.
    pub waiting_seconds: f64,
    /// What is left of jobs that a worker has.
    pub running_seconds: f64,
    /// Jobs among them whose length nobody knows yet.
    pub unprobed: u64,
}

/// What jobs of one kind have in common: what is made, and of what part of it.
type Kind = (String, String);

/// What jobs of one kind took.
#[derive(Debug, Clone, Copy, Default)]
struct Taken {
    worked_ms: f64,
    media_ms: f64,
    bytes: f64,
}

/// What the newest jobs took.
#[derive(Debug, Default)]
struct Speeds {
    of_kinds: HashMap<Kind, Taken>,
    of_all: Taken,
}

// === impl Jobs ===

impl Jobs<'_> {
    /// Notes how long what the attempt makes plays.
    ///
    /// # Errors
    /// [`Error::Superseded`].
    pub async fn set_length(&self, id: JobId, attempt: u64, media_ms: u64) -> Result<(), Error> {
        let mut write = self.0.write().await?;
        super::attempt::held(&mut write, id, attempt).await?;
        write.rows("UPDATE jobs SET media_ms = $2 WHERE id = $1", args![id, media_ms]).await?;
        write.commit().await
    }

    /// How much work there is to do.
    pub async fn outstanding(&self) -> Result<Outstanding, Error> {
        let speeds = self.speeds().await?;
        let mut outstanding = Outstanding::default();
        // Bytes of those alone whose length is not known.
        let sql = "SELECT profile, COALESCE(rendition, '') AS rendition, \
                   CAST(COALESCE(SUM(media_ms), 0) AS BIGINT) AS media_ms, \
                   CAST(COALESCE(SUM(CASE WHEN media_ms IS NULL THEN size_bytes END), 0) AS BIGINT) AS bytes, \
                   COUNT(*) - COUNT(media_ms) AS unprobed \
                   FROM jobs JOIN videos ON videos.id = jobs.video \
                   WHERE jobs.state IN ('queued', 'retry') AND due_ms <= now_ms() GROUP BY profile, rendition";
        for row in self.0.rows(sql, args![]).await? {
            let taken = speeds.of(&kind(&row)?);
            outstanding.waiting_seconds += taken.seconds(number(&row, "media_ms")?, number(&row, "bytes")?);
            outstanding.unprobed += row.get::<u64>("unprobed")?;
        }
        let sql = "SELECT profile, COALESCE(rendition, '') AS rendition, COALESCE(media_ms, 0) AS media_ms, \
                   CASE WHEN media_ms IS NULL THEN size_bytes ELSE 0 END AS bytes, \
                   CAST(CASE WHEN media_ms IS NULL THEN 1 ELSE 0 END AS BIGINT) AS unprobed, \
                   CASE WHEN jobs.state = $1 THEN now_ms() - started_ms ELSE 0 END AS worked_ms \
                   FROM jobs JOIN videos ON videos.id = jobs.video \
                   WHERE jobs.state IN ('leased', 'running') LIMIT $2";
        for row in self.0.rows(sql, args![JobState::Running, RUNNING_MAX]).await? {
            let whole = speeds.of(&kind(&row)?).seconds(number(&row, "media_ms")?, number(&row, "bytes")?);
            let done = number(&row, "worked_ms")? / 1e3;
            outstanding.running_seconds += (whole - done).max(whole * LEFT_AT_LEAST);
            outstanding.unprobed += row.get::<u64>("unprobed")?;
        }
        Ok(outstanding)
    }

    async fn speeds(&self) -> Result<Speeds, Error> {
        let sql = "SELECT profile, rendition, CAST(SUM(worked_ms) AS BIGINT) AS worked_ms, \
                   CAST(SUM(media_ms) AS BIGINT) AS media_ms, CAST(SUM(size_bytes) AS BIGINT) AS bytes FROM \
                   (SELECT profile, COALESCE(rendition, '') AS rendition, worked_ms, media_ms, size_bytes FROM jobs \
                   JOIN videos ON videos.id = jobs.video WHERE worked_ms IS NOT NULL AND media_ms > 0 \
                   ORDER BY jobs.updated_ms DESC LIMIT $1) AS newest GROUP BY profile, rendition";
        let mut speeds = Speeds::default();
        for row in self.0.rows(sql, args![LEARNED_FROM]).await? {
            let taken = Taken {
                worked_ms: number(&row, "worked_ms")?,
                media_ms: number(&row, "media_ms")?,
                bytes: number(&row, "bytes")?,
            };
            speeds.of_all.worked_ms += taken.worked_ms;
            speeds.of_all.media_ms += taken.media_ms;
            speeds.of_all.bytes += taken.bytes;
            speeds.of_kinds.insert(kind(&row)?, taken);
        }
        Ok(speeds)
    }
}

// === impl Speeds ===

impl Speeds {
    /// Those of its kind, or of all where there are none.
    fn of(&self, kind: &Kind) -> Taken {
        *self.of_kinds.get(kind).unwrap_or(&self.of_all)
    }
}

// === impl Taken ===

impl Taken {
    /// How long so much takes, where jobs took what these took.
    fn seconds(self, media_ms: f64, bytes: f64) -> f64 {
        let rate = |of: f64, otherwise: f64| if of > 0.0 { self.worked_ms / of } else { otherwise };
        (media_ms * rate(self.media_ms, SPEED) + bytes * rate(self.bytes, 1e3 / BYTES_PER_SECOND)) / 1e3
    }
}

fn kind(row: &Row) -> Result<Kind, Error> {
    Ok((row.get("profile")?, row.get("rendition")?))
}

/// As exact as an estimate needs.
#[allow(clippy::cast_precision_loss)]
fn number(row: &Row, name: &'static str) -> Result<f64, Error> {
    Ok(row.get::<i64>(name)? as f64)
}
