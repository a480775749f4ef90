//! `gateway doctor`: finds what the catalog and the store do not agree on, and mends it if it may.
//!
//! Both ways: videos and assets whose object is gone, what videos have published that is gone, and objects, remainders and
//! multipart uploads with keys of our own making ([`is_ours`]) that nothing in the catalog has. Whatever is younger than an hour is left alone: somebody may be
//! about to say whose it is. All other keys of the bucket are other people's, and nobody looks at them.
//!
//! Mending deletes, so everything is looked at before the first thing is mended. A database and a store that do not
//! belong together disagree on nearly everything, and then nothing is mended.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use seekway_catalog::{AssetId, Catalog, Filter, NewJob, Video, VideoId, Viewer};
use seekway_storage::{Error, ObjectKey, ObjectStore, Page, UploadId};

use super::Failure;
use super::ours::is_ours;
use crate::access::attempt;
use crate::upload::names::{ASSETS, INCOMING, ORIGINALS, PROCESSED, remainders};
use crate::videos::{Outputs, delete_below};

/// Rows, or keys, at a time.
const PAGE: u32 = 500;
/// So few are mended even if they are all that there is.
const FEW: usize = 3;

/// What may be mended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mend {
    Nothing,
    /// Everything, unless the database and the store seem to be strangers to each other.
    IfTheyBelongTogether,
    Everything,
}

/// Something that is not as it should be.
#[derive(Debug)]
pub(crate) struct Finding {
    /// For people.
    pub(crate) text: String,
    /// Why it could not be mended, if that was tried.
    pub(crate) failed: Option<String>,
    cure: Cure,
}

/// What mends it.
#[derive(Debug)]
enum Cure {
    DeleteVideo(VideoId),
    DeleteAsset(AssetId),
    DeleteObject(ObjectKey),
    /// What an attempt left.
    DeleteBelow(String),
    /// Has it processed again, by this profile.
    Process(VideoId, String),
    AbortUpload(ObjectKey, UploadId),
}

/// Who looks, and whether they may mend.
pub(crate) struct Doctor {
    pub(crate) catalog: Catalog,
    pub(crate) store: Arc<dyn ObjectStore>,
    /// Whether what is found is mended, too.
    pub(crate) mend: Mend,
    /// What is younger is left alone.
    pub(crate) older_than: Duration,
    /// By which profile a video is processed again whose outputs are gone.
    pub(crate) profile: String,
}

/// What was looked at, and what of it is not as it should be.
#[derive(Default)]
struct Examination {
    /// Videos and assets that there are.
    known: usize,
    /// Objects that could be theirs.
    objects: usize,
    findings: Vec<Finding>,
}

// === impl Doctor ===

impl Doctor {
    /// Looks at everything, and then mends; `told` hears of each finding.
    ///
    /// # Errors
    /// When the database or the store cannot be asked, and nothing was mended; when they do not belong together.
    pub(crate) async fn run(&self, mut told: impl FnMut(&Finding)) -> Result<Vec<Finding>, Failure> {
        let (found, uploads) = self.examine().await.map_err(Failure::Unavailable)?;
        if self.mend == Mend::IfTheyBelongTogether
            && let Some(why) = found.strangers(uploads)
        {
            return Err(Failure::Findings(why));
        }
        let mut findings = found.findings;
        for finding in &mut findings {
            if self.mend != Mend::Nothing {
                finding.failed = self.apply(&finding.cure).await.err();
            }
            told(finding);
        }
        Ok(findings)
    }

    /// What there is to find, and how many keys and prefixes uploads have.
    async fn examine(&self) -> Result<(Examination, usize), String> {
        let mut found = Examination::default();
        self.videos_without_objects(&mut found).await?;
        self.assets_without_objects(&mut found).await?;
        self.attempts_of_nobody(&mut found).await?;
        // Read before the store is: what is made in the meantime is young.
        let uploads = self.keys_of_uploads().await?;
        for prefix in [ORIGINALS, ASSETS, INCOMING] {
            self.objects_of_nobody(prefix, &uploads, &mut found).await?;
            self.uploads_of_nobody(prefix, &uploads, &mut found).await?;
        }
        Ok((found, uploads.len()))
    }

    async fn videos_without_objects(&self, found: &mut Examination) -> Result<(), String> {
        let mut after = None;
        loop {
            let page = self.catalog.videos().list(&Filter::of(Viewer::Admin), after, PAGE).await;
            let page = page.map_err(|error| error.chain())?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id);
            for video in &page {
                let (what, cure) =
                    (format!("video {} ({:?})", video.id, video.title), Cure::DeleteVideo(video.id));
                self.look_for(&video.source.key, what, cure, found).await?;
                self.look_for_outputs(video, found).await?;
            }
        }
    }

    /// Whether players find where to begin.
    async fn look_for_outputs(&self, video: &Video, found: &mut Examination) -> Result<(), String> {
        let Some((prefix, outputs)) = Outputs::of(video) else { return Ok(()) };
        for name in [outputs.files.hls, outputs.files.dash].into_iter().flatten() {
            let Ok(key) = ObjectKey::new(&format!("{prefix}{name}")) else { continue };
            match self.store.head(&key).await {
                Ok(_) => {}
                Err(Error::NotFound) => {
                    let text = format!(
                        "video {} ({:?}): {key}, which it has published, is gone",
                        video.id, video.title
                    );
                    found.add(text, Cure::Process(video.id, self.profile.clone()));
                    return Ok(());
                }
                Err(error) => return Err(format!("{key} cannot be looked at: {}", error.chain())),
            }
        }
        Ok(())
    }

    /// What lies where attempts write, and is neither published nor being made: one finding for each attempt.
    async fn attempts_of_nobody(&self, found: &mut Examination) -> Result<(), String> {
        let mut after = None;
        // Keys come in order, so those of an attempt together.
        let mut looked_at = String::new();
        loop {
            let page = self.store.list(PROCESSED, Page { after, limit: PAGE as usize }).await;
            let page = page.map_err(|error| format!("{PROCESSED} cannot be listed: {}", error.chain()))?;
            for entry in &page.entries {
                let Some((prefix, _)) = attempt(entry.key.as_str()) else { continue };
                if prefix == looked_at || self.is_young(entry.last_modified) {
                    continue;
                }
                prefix.clone_into(&mut looked_at);
                found.objects += 1;
                if !self.is_in_use(prefix).await? {
                    let text = format!("objects below {prefix}: no video has published them");
                    found.add(text, Cure::DeleteBelow(prefix.to_owned()));
                }
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    async fn assets_without_objects(&self, found: &mut Examination) -> Result<(), String> {
        let mut after = None;
        loop {
            let page = self.catalog.assets().page(after, PAGE).await.map_err(|error| error.chain())?;
            let Some(last) = page.last() else { return Ok(()) };
            after = Some(last.id);
            for asset in &page {
                let (what, cure) =
                    (format!("asset {} ({:?})", asset.id, asset.title), Cure::DeleteAsset(asset.id));
                self.look_for(&asset.source.key, what, cure, found).await?;
            }
        }
    }

    async fn look_for(
        &self,
        key: &str,
        what: String,
        cure: Cure,
        found: &mut Examination,
    ) -> Result<(), String> {
        found.known += 1;
        let Ok(key) = ObjectKey::new(key) else { return Ok(()) };
        match self.store.head(&key).await {
            Ok(_) => Ok(()),
            Err(Error::NotFound) => {
                found.add(format!("{what}: its object {key} is gone"), cure);
                Ok(())
            }
            Err(error) => Err(format!("{key} cannot be looked at: {}", error.chain())),
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
        uploads: &HashSet<String>,
        found: &mut Examination,
    ) -> Result<(), String> {
        let mut after = None;
        loop {
            let page = self.store.list(prefix, Page { after, limit: PAGE as usize }).await;
            let page = page.map_err(|error| format!("{prefix} cannot be listed: {}", error.chain()))?;
            for entry in &page.entries {
                let key = &entry.key;
                if !is_ours(key.as_str()) || self.is_young(entry.last_modified) {
                    continue;
                }
                found.objects += usize::from(!is_incoming(key));
                if is_of_upload(key, uploads) || self.has_row(key).await? {
                    continue;
                }
                let text = format!("object {key} ({} bytes): nothing in the catalog has it", entry.size);
                found.add(text, Cure::DeleteObject(key.clone()));
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
        uploads: &HashSet<String>,
        found: &mut Examination,
    ) -> Result<(), String> {
        let mut after = None;
        loop {
            let page = self.store.list_multipart(prefix, Page { after, limit: PAGE as usize }).await;
            let page =
                page.map_err(|error| format!("uploads below {prefix} cannot be listed: {}", error.chain()))?;
            for entry in &page.entries {
                let key = &entry.key;
                if !is_ours(key.as_str()) || self.is_young(entry.begun) || uploads.contains(key.as_str()) {
                    continue;
                }
                let UploadId(name) = &entry.upload;
                let text = format!("multipart upload {name} of {key}: nothing in the catalog has it");
                found.add(text, Cure::AbortUpload(key.clone(), entry.upload.clone()));
            }
            after = page.next;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Whether a video or an asset has the object.
    async fn has_row(&self, key: &ObjectKey) -> Result<bool, String> {
        self.catalog.knows_key(key.as_str()).await.map_err(|error| error.chain())
    }

    async fn is_in_use(&self, prefix: &str) -> Result<bool, String> {
        self.catalog.jobs().is_in_use(prefix).await.map_err(|error| error.chain())
    }

    fn is_young(&self, since: Option<SystemTime>) -> bool {
        // A clock that was set back makes it young; what has no time is as old as can be.
        since.is_some_and(|since| since.elapsed().map_or(true, |age| age < self.older_than))
    }

    async fn apply(&self, cure: &Cure) -> Result<(), String> {
        match cure {
            Cure::DeleteVideo(id) => self.catalog.videos().delete(*id).await.map_err(|error| error.chain()),
            Cure::DeleteAsset(id) => self.catalog.assets().delete(*id).await.map_err(|error| error.chain()),
            // Somebody may have imported it since it was looked at.
            Cure::DeleteObject(key) if self.has_row(key).await? => Ok(()),
            Cure::DeleteObject(key) => self.store.delete(key).await.map_err(|error| error.chain()),
            // An attempt that has begun since writes elsewhere, but one may have been published.
            Cure::DeleteBelow(prefix) if self.is_in_use(prefix).await? => Ok(()),
            Cure::DeleteBelow(prefix) => {
                delete_below(self.store.as_ref(), prefix).await.map(drop).map_err(|error| error.chain())
            }
            Cure::Process(video, profile) => {
                let new = NewJob { video: *video, profile: profile.clone(), rendition: None, priority: 0 };
                match self.catalog.jobs().process_again(&new).await {
                    // It is being mended.
                    Ok(_) | Err(seekway_catalog::Error::Conflict(_)) => Ok(()),
                    Err(error) => Err(error.chain()),
                }
            }
            Cure::AbortUpload(key, upload) => {
                self.store.abort_multipart(key, upload).await.map_err(|error| error.chain())
            }
        }
    }
}

// === impl Examination ===

impl Examination {
    fn add(&mut self, text: String, cure: Cure) {
        self.findings.push(Finding { text, failed: None, cure });
    }

    /// Why the database and the store seem to be strangers to each other, if they do.
    fn strangers(&self, uploads: usize) -> Option<String> {
        let count = |is: fn(&Cure) -> bool| self.findings.iter().filter(|finding| is(&finding.cure)).count();
        let lost = count(|cure| matches!(cure, Cure::DeleteVideo(_) | Cure::DeleteAsset(_)));
        let nobodys = count(|cure| match cure {
            Cure::DeleteObject(key) => !is_incoming(key),
            Cure::DeleteBelow(_) => true,
            _ => false,
        });
        let is_most = |count: usize, of: usize| count > FEW && count > of / 2;
        let why = if self.known == 0 && uploads == 0 && !self.findings.is_empty() {
            let count = self.findings.len();
            format!(
                "the database knows no video, asset or upload, but the store has {count} objects and uploads"
            )
        } else if is_most(lost, self.known) {
            format!("{lost} of {} videos and assets have no object in the store", self.known)
        } else if is_most(nobodys, self.objects) {
            format!("nothing in the database has {nobodys} of {} objects in the store", self.objects)
        } else {
            return None;
        };
        Some(format!(
            "{why}, so nothing was mended: are DATABASE_URL and the store's settings of the same gateway? If all of it \
             is to be deleted, add --force"
        ))
    }
}

fn is_incoming(key: &ObjectKey) -> bool {
    key.as_str().starts_with(INCOMING)
}

/// Whether an upload has it, or it is what has come of one.
fn is_of_upload(key: &ObjectKey, uploads: &HashSet<String>) -> bool {
    let key = key.as_str();
    let folder = key.rsplit_once('/').map_or("", |(folder, _)| folder);
    uploads.contains(key) || uploads.contains(&format!("{folder}/"))
}
