//! `gateway doctor`: finds what the catalog and the store do not agree on, and mends it if it may.
//!
//! Both ways: videos and assets whose object is gone, and objects, remainders and multipart uploads below the prefixes of
//! uploads that nothing in the catalog has. Whatever is younger than an hour is left alone: somebody may be about to
//! say whose it is. Other prefixes of the bucket are other people's, and nobody looks at them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use seekway_catalog::{Catalog, Filter, Viewer};
use seekway_storage::{Error, ObjectKey, ObjectStore, Page, UploadId};

use crate::upload::names::{ASSETS, INCOMING, ORIGINALS, remainders};

/// Rows, or keys, at a time.
const PAGE: u32 = 500;

/// Something that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Finding {
    /// For people.
    pub(crate) text: String,
    /// Why it could not be mended, if that was tried.
    pub(crate) failed: Option<String>,
}

/// Who looks, and whether they may mend.
pub(crate) struct Doctor {
    pub(crate) catalog: Catalog,
    pub(crate) store: Arc<dyn ObjectStore>,
    /// Whether what is found is mended, too.
    pub(crate) fix: bool,
    /// What is younger is left alone.
    pub(crate) older_than: Duration,
}

// === impl Doctor ===

impl Doctor {
    /// Looks at everything; `told` hears of each finding.
    ///
    /// # Errors
    /// When the database or the store cannot be asked; what was mended until then is.
    pub(crate) async fn run(&self, mut told: impl FnMut(&Finding)) -> Result<Vec<Finding>, String> {
        let mut findings = Vec::new();
        let mut found = |finding: Finding| {
            told(&finding);
            findings.push(finding);
        };
        self.videos_without_objects(&mut found).await?;
        // Read before the store is: what is made in the meantime is young.
        let known = self.keys_of_uploads().await?;
        for prefix in [ORIGINALS, ASSETS, INCOMING] {
            self.objects_of_nobody(prefix, &known, &mut found).await?;
            self.uploads_of_nobody(prefix, &known, &mut found).await?;
        }
        Ok(findings)
    }

    async fn videos_without_objects(&self, found: &mut impl FnMut(Finding)) -> Result<(), String> {
        let (videos, mut after) = (self.catalog.videos(), None);
        loop {
            let page =
                videos.list(&Filter::of(Viewer::Admin), after, PAGE).await.map_err(|error| error.chain())?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id);
            for video in &page {
                let Ok(key) = ObjectKey::new(&video.source.key) else { continue };
                match self.store.head(&key).await {
                    Ok(_) => {}
                    Err(Error::NotFound) => {
                        let text =
                            format!("video {} ({:?}): its object {key} is gone", video.id, video.title);
                        let fix = async { videos.delete(video.id).await.map_err(|error| error.chain()) };
                        found(self.finding(text, fix).await);
                    }
                    Err(error) => return Err(format!("{key} cannot be looked at: {}", error.chain())),
                }
            }
        }
    }

    /// The keys that uploads have, and the prefixes of their remainders.
    async fn keys_of_uploads(&self) -> Result<HashSet<String>, String> {
        let (mut known, mut after) = (HashSet::new(), None);
        loop {
            let page = self.catalog.uploads().page(after, PAGE).await.map_err(|error| error.chain())?;
            let Some(last) = page.last() else { return Ok(known) };
            after = Some(last.id);
            for upload in page {
                if let Ok(key) = ObjectKey::new(&upload.key) {
                    known.insert(remainders(&key));
                }
                known.insert(upload.key);
            }
        }
    }

    async fn objects_of_nobody(
        &self,
        prefix: &str,
        known: &HashSet<String>,
        found: &mut impl FnMut(Finding),
    ) -> Result<(), String> {
        let mut after = None;
        loop {
            let page = self.store.list(prefix, Page { after, limit: PAGE as usize }).await;
            let page = page.map_err(|error| format!("{prefix} cannot be listed: {}", error.chain()))?;
            for entry in &page.entries {
                let key = &entry.key;
                if self.is_young(entry.last_modified) || self.is_known(key, known).await? {
                    continue;
                }
                let text = format!("object {key} ({} bytes): nothing in the catalog has it", entry.size);
                let fix = async { self.store.delete(key).await.map_err(|error| error.chain()) };
                found(self.finding(text, fix).await);
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn uploads_of_nobody(
        &self,
        prefix: &str,
        known: &HashSet<String>,
        found: &mut impl FnMut(Finding),
    ) -> Result<(), String> {
        let mut after = None;
        loop {
            let page = self.store.list_multipart(prefix, Page { after, limit: PAGE as usize }).await;
            let page =
                page.map_err(|error| format!("uploads below {prefix} cannot be listed: {}", error.chain()))?;
            for entry in &page.entries {
                if self.is_young(entry.begun) || known.contains(entry.key.as_str()) {
                    continue;
                }
                let (key, UploadId(name)) = (&entry.key, &entry.upload);
                let text = format!("multipart upload {name} of {key}: nothing in the catalog has it");
                let fix = async {
                    self.store.abort_multipart(key, &entry.upload).await.map_err(|error| error.chain())
                };
                found(self.finding(text, fix).await);
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Whether something in the catalog has the object.
    async fn is_known(&self, key: &ObjectKey, known: &HashSet<String>) -> Result<bool, String> {
        let key = key.as_str();
        let folder = key.rsplit_once('/').map_or("", |(folder, _)| folder);
        if known.contains(key) || known.contains(&format!("{folder}/")) {
            return Ok(true);
        }
        self.catalog.knows_key(key).await.map_err(|error| error.chain())
    }

    fn is_young(&self, since: Option<SystemTime>) -> bool {
        // A clock that was set back makes it young; what has no time is as old as can be.
        since.is_some_and(|since| since.elapsed().map_or(true, |age| age < self.older_than))
    }

    async fn finding(&self, text: String, fix: impl Future<Output = Result<(), String>>) -> Finding {
        let failed = if self.fix { fix.await.err() } else { None };
        Finding { text, failed }
    }
}
