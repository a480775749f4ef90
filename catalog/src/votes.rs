//! Votes: one for each account and video.

use crate::database::{Database, args};
use crate::state::words;
use crate::{AccountId, Error, VideoId};

words! {
    /// What somebody thinks of a video.
    Vote {
        /// Good.
        Up = "up",
        /// Bad.
        Down = "down",
    }
}

/// What all think of a video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Tally {
    /// How many think it good.
    pub up: u64,
    /// How many think it bad.
    pub down: u64,
}

/// See [`Catalog::votes`](crate::Catalog::votes).
#[derive(Debug)]
pub struct Votes<'c>(pub(crate) &'c Database);

// === impl Votes ===

impl Votes<'_> {
    /// An account's vote, in the place of one before.
    ///
    /// # Errors
    /// [`Error::NotFound`] when there is no such video or account.
    pub async fn cast(&self, video: VideoId, account: AccountId, vote: Vote) -> Result<(), Error> {
        let sql = "INSERT INTO votes (video, account, vote, created_ms) VALUES ($1, $2, $3, now_ms()) \
                   ON CONFLICT (video, account) DO UPDATE SET vote = excluded.vote, created_ms = excluded.created_ms";
        self.0.change(sql, args![video, account, vote]).await.map(drop)
    }

    /// Takes an account's vote back. There may be none.
    pub async fn withdraw(&self, video: VideoId, account: AccountId) -> Result<(), Error> {
        let sql = "DELETE FROM votes WHERE video = $1 AND account = $2";
        self.0.change(sql, args![video, account]).await.map(drop)
    }

    /// How many votes a video has.
    pub async fn tally(&self, video: VideoId) -> Result<Tally, Error> {
        let sql = "SELECT CAST(COALESCE(SUM(CASE vote WHEN 'up' THEN 1 ELSE 0 END), 0) AS BIGINT) AS up, \
                   CAST(COALESCE(SUM(CASE vote WHEN 'down' THEN 1 ELSE 0 END), 0) AS BIGINT) AS down \
                   FROM votes WHERE video = $1";
        let row = self.0.row(sql, args![video]).await?;
        Ok(Tally { up: row.get("up")?, down: row.get("down")? })
    }
}
