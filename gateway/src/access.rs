//! Who may see an object: what the catalog says of its key, remembered, and forgotten when it changes.
//!
//! A request for a known key asks no database. Every replica follows the catalog's feed of changes and forgets the keys
//! in it, so that a decision is at most [`FOLLOW_EVERY`] and one query old. While the database is away, what is known
//! stands, because nobody can change it there; a key that is not known is then an error that passes.
//!
//! A key that no video or asset has is served as it is: a bucket's other objects are none of the catalog's. But below
//! the prefixes where uploads lie, what the catalog does not know is not there for anybody; and neither is what was a
//! video's within the last hour, because memory may still have the bytes of an imported one that was deleted.
//!
//! What workers made of a video lies below one prefix, with the video's verdict for all of it: that is what is remembered,
//! and what the feed names. Below other prefixes of [`PROCESSED`] nothing is there for anybody: it is not finished, or it is
//! being deleted.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use seekway_catalog::{AccountId, Catalog, Error, JobId, VideoId, VideoState, Visibility};
use seekway_storage::ObjectKey;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::upload::names::{ASSETS, INCOMING, ORIGINALS, PROCESSED};

/// Between two looks at the feed.
const FOLLOW_EVERY: Duration = Duration::from_millis(250);
/// Rows of it that are read at a time.
const BATCH: u32 = 1000;
/// The feed keeps an hour; who has not read it for nearly as long begins anew.
const FEED_KEPT: Duration = Duration::from_mins(50);
/// Keys that are remembered, some 150 bytes each.
const KEYS_MAX: usize = 100_000;

/// Who may see an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Whoever asks.
    Anybody,
    /// Whoever knows its key; it is listed for those of [`Owner`](Self::Owner).
    Unlisted(Option<AccountId>),
    /// Its owner and admins; without an owner, who works at this machine.
    Owner(Option<AccountId>),
    /// It is as if it were not there.
    Nobody,
}

/// What is remembered of a key.
#[derive(Debug, Clone, Copy)]
struct Decision {
    verdict: Verdict,
    /// It holds until the feed names the key; else it is of this moment.
    stays: bool,
}

/// See the head of this file.
pub(crate) struct Access {
    catalog: Catalog,
    verdicts: Cache<String, Decision>,
    /// Counts changes, so that what was read before one is not remembered after it.
    changes: AtomicU64,
}

// === impl Access ===

impl Access {
    pub(crate) fn new(catalog: Catalog) -> Self {
        Self { catalog, verdicts: Cache::new(KEYS_MAX), changes: AtomicU64::new(0) }
    }

    /// Who may see the object with this key.
    ///
    /// # Errors
    /// Only when it is not remembered and the database fails.
    pub(crate) async fn of(&self, key: &ObjectKey) -> Result<Verdict, Error> {
        let of_attempt = attempt(key.as_str());
        let key = of_attempt.map_or(key.as_str(), |(prefix, _)| prefix);
        if let Some(decision) = self.verdicts.get(key) {
            return Ok(decision.verdict);
        }
        let before = self.changes.load(Ordering::Acquire);
        let video = of_attempt.map(|(_, video)| video);
        let decision = self.verdicts.get_or_insert_async(key, self.look(key, video)).await?;
        if !decision.stays || self.changes.load(Ordering::Acquire) != before {
            self.verdicts.remove(key);
        }
        Ok(decision.verdict)
    }

    /// `key` is a prefix where `video` is there.
    async fn look(&self, key: &str, video: Option<VideoId>) -> Result<Decision, Error> {
        if let Some(video) = video {
            let access = self.catalog.videos().access_to_published(video, key).await;
            return Ok(Decision { verdict: of_video(access)?.unwrap_or(Verdict::Nobody), stays: true });
        }
        if let Some(verdict) = self.of_uploads(key).await? {
            return Ok(Decision { verdict, stays: true });
        }
        let was_a_videos = self.catalog.changes().named_lately(key).await?;
        let verdict = if was_a_videos { Verdict::Nobody } else { Verdict::Anybody };
        Ok(Decision { verdict, stays: !was_a_videos })
    }

    /// Who may see what a video or an asset has, or what lies where they do.
    async fn of_uploads(&self, key: &str) -> Result<Option<Verdict>, Error> {
        if key.starts_with(INCOMING) {
            return Ok(Some(Verdict::Nobody));
        }
        if let Some(verdict) = of_video(self.catalog.videos().access(key).await)? {
            return Ok(Some(verdict));
        }
        if key.starts_with(ASSETS) {
            return match self.catalog.assets().owner_of(key).await {
                Ok(owner) => Ok(Some(Verdict::Owner(owner))),
                Err(Error::NotFound) => Ok(Some(Verdict::Nobody)),
                Err(error) => Err(error),
            };
        }
        let is_ours = key.starts_with(ORIGINALS) || key.starts_with(PROCESSED);
        Ok(is_ours.then_some(Verdict::Nobody))
    }

    /// Forgets what changes, until `stop`.
    pub(crate) async fn follow(&self, stop: CancellationToken) {
        let mut feed = Feed { last: None, read: Instant::now() };
        let mut is_away = false;
        while !stop.is_cancelled() {
            let outcome = self.step(&mut feed).await;
            if let (Err(error), false) = (&outcome, is_away) {
                warn!(error = error.chain(), "cannot hear of changes; who may see what stays as it was");
            }
            is_away = outcome.is_err();
            tokio::select! {
                () = sleep(FOLLOW_EVERY) => {}
                () = stop.cancelled() => {}
            }
        }
    }

    async fn step(&self, feed: &mut Feed) -> Result<(), Error> {
        let Some(last) = feed.last.filter(|_| feed.read.elapsed() < FEED_KEPT) else {
            feed.last = Some(self.catalog.changes().last().await?);
            feed.read = Instant::now();
            self.changes.fetch_add(1, Ordering::AcqRel);
            self.verdicts.clear();
            return Ok(());
        };
        let changes = self.catalog.changes().after(last, BATCH).await?;
        feed.read = Instant::now();
        if let Some(newest) = changes.last() {
            feed.last = Some(newest.number);
            // Counted first: who reads from now on reads what is new.
            self.changes.fetch_add(1, Ordering::AcqRel);
            for change in &changes {
                self.verdicts.remove(change.key.as_str());
            }
        }
        Ok(())
    }
}

/// Who may see what a video has, or nothing where none has it.
fn of_video(access: Result<seekway_catalog::Access, Error>) -> Result<Option<Verdict>, Error> {
    let access = match access {
        Err(Error::NotFound) => return Ok(None),
        access => access?,
    };
    let owner = access.owner;
    Ok(Some(match access.visibility {
        _ if access.state == VideoState::Deleting => Verdict::Nobody,
        Visibility::Private => Verdict::Owner(owner),
        Visibility::Unlisted => Verdict::Unlisted(owner),
        Visibility::Public => Verdict::Anybody,
    }))
}

/// The beginning of a key that names an attempt at a video, `processed/<video>/<job>-<attempt>/`, and the video.
pub(crate) fn attempt(key: &str) -> Option<(&str, VideoId)> {
    let (video, rest) = key.strip_prefix(PROCESSED)?.split_once('/')?;
    let (name, _) = rest.split_once('/')?;
    let (job, nth) = name.rsplit_once('-')?;
    let video = VideoId::parse(video)?;
    JobId::parse(job)?;
    let is_number = !nth.is_empty() && nth.bytes().all(|byte| byte.is_ascii_digit());
    let length = key.len() - rest.len() + name.len() + 1;
    is_number.then(|| (&key[..length], video))
}

/// How far the feed was read.
struct Feed {
    last: Option<i64>,
    read: Instant,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_attempt_is_named_by_the_beginning_of_its_keys() {
        let (video, job) = ("01930000-0000-7000-8000-000000000001", "01930000-0000-7000-8000-000000000002");
        let prefix = format!("processed/{video}/{job}-12/");
        for rest in ["master.m3u8", "720p/1.m4s", ""] {
            let key = format!("{prefix}{rest}");
            assert_eq!(attempt(&key), Some((&*prefix, VideoId::parse(video).expect("an id"))), "{key}");
        }
        for other in [
            format!("processed/{video}/{job}-12"),
            format!("processed/{video}/{job}-/a"),
            format!("processed/{video}/{job}-x/a"),
            format!("processed/{video}/{job}/a"),
            format!("processed/{video}/a/b"),
            format!("processed/x/{job}-1/a"),
            format!("films/{video}/{job}-1/a"),
            "processed/".to_owned(),
        ] {
            assert_eq!(attempt(&other), None, "{other}");
        }
    }
}
