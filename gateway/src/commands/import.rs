//! `gateway import`: makes videos of objects that lie in the store already, without moving a byte.
//!
//! What came by uploads is a video already, or is to be none, so it is passed over; but where the database has been lost, an
//! operator names `original/`, and has videos made of what lies there.

use std::sync::Arc;

use futures_util::TryStreamExt as _;
use seekway_catalog::{AccountId, Catalog, NewVideo, Source, Visibility};
use seekway_storage::{ListEntry, ObjectStore, Page};

use super::ours::{UUID_AND_DASH, is_ours};
use crate::upload::names::{ASSETS, INCOMING, ORIGINALS, PROCESSED};
use crate::upload::{SNIFF_BYTES, as_title, sniff};

/// Keys of a page of the store's list.
const PAGE: usize = 1000;

/// What is to be taken in, and as whose.
pub(crate) struct Import {
    pub(crate) catalog: Catalog,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) prefix: String,
    pub(crate) owner: Option<AccountId>,
    pub(crate) visibility: Visibility,
    /// By which profile they are to be processed; none: they are not.
    pub(crate) profile: Option<String>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Imported {
    /// Objects that are videos now.
    pub(crate) added: u64,
    /// Those that were videos before.
    pub(crate) known: u64,
    /// Those whose first bytes are no video's.
    pub(crate) no_videos: u64,
    /// Those that could not be read.
    pub(crate) failed: u64,
}

/// What became of one object.
enum Outcome {
    Added,
    Known,
    NoVideo,
}

// === impl Import ===

impl Import {
    /// Goes through all keys below the prefix; `told` hears of each page, and of what failed. Done again it goes on:
    /// what is a video already stays as it is.
    pub(crate) async fn run(
        &self,
        mut told: impl FnMut(Imported, Option<String>),
    ) -> Result<Imported, String> {
        let (mut imported, mut after) = (Imported::default(), None);
        loop {
            let page = self.store.list(&self.prefix, Page { after, limit: PAGE }).await;
            let page =
                page.map_err(|error| format!("the store's keys cannot be listed: {}", error.chain()))?;
            for entry in &page.entries {
                match self.take(entry).await {
                    Ok(Outcome::Added) => imported.added += 1,
                    Ok(Outcome::Known) => imported.known += 1,
                    Ok(Outcome::NoVideo) => imported.no_videos += 1,
                    Err(why) => {
                        imported.failed += 1;
                        told(imported, Some(format!("{}: {why}", entry.key)));
                    }
                }
            }
            told(imported, None);
            after = page.next;
            if after.is_none() {
                return Ok(imported);
            }
        }
    }

    async fn take(&self, entry: &ListEntry) -> Result<Outcome, String> {
        let key = &entry.key;
        if self.is_passed_over(key.as_str()) || entry.size == 0 {
            return Ok(Outcome::NoVideo);
        }
        let is_known = self.catalog.knows_key(key.as_str()).await.map_err(|error| error.chain())?;
        let uploads = self.catalog.uploads();
        // An upload that is about to make a video of it finds none there.
        if is_known || uploads.have_key(key.as_str()).await.map_err(|error| error.chain())? {
            return Ok(Outcome::Known);
        }
        let got = self.store.get(key, 0..SNIFF_BYTES as u64, None).await.map_err(|error| error.chain())?;
        let object = got.object;
        let first: Vec<_> = got.body.try_collect().await.map_err(|error| error.chain())?;
        let Some(container) = sniff(&first.concat()).filter(|container| !container.is_image()) else {
            return Ok(Outcome::NoVideo);
        };
        let name = key.as_str().rsplit('/').next().unwrap_or_default();
        // What people have called it, where the key is of our own making.
        let name = if is_ours(key.as_str()) { &name[UUID_AND_DASH..] } else { name };
        let title = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        let title = if title.trim().is_empty() { key.as_str() } else { title };
        let video = NewVideo {
            title: as_title(title),
            visibility: self.visibility,
            source: Source {
                key: key.as_str().to_owned(),
                etag: object.version.etag.to_string(),
                version: object.version.version_id.map(|id| id.to_string()),
                size: object.size,
                sha256: None,
                content_type: Some(container.media_type().to_owned()),
                container: Some(container.name().to_owned()),
            },
            profile: self.profile.clone(),
        };
        let added = self.catalog.videos().add(self.owner, &video).await.map_err(|error| error.chain())?;
        Ok(if added.is_some() { Outcome::Added } else { Outcome::Known })
    }

    /// Whether it lies where uploads do, and was not asked for.
    fn is_passed_over(&self, key: &str) -> bool {
        let is_wanted = self.prefix.starts_with(ORIGINALS);
        let is_uploaded = [ORIGINALS, ASSETS, INCOMING].iter().any(|ours| key.starts_with(ours));
        // What was made of videos is none itself.
        key.starts_with(PROCESSED) || is_uploaded && !is_wanted
    }
}
