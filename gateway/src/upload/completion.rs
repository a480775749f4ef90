//! How uploads end: all parts become an object and the object a video, or all that there is of them is deleted.
//!
//! The catalog goes first: `completing` says which parts there are before the store is asked, and the video is written
//! after it has answered. A crash between the two is mended by doing all of it again ([`Inner::complete_again`]), for which
//! a multipart upload that the store knows no more is no failure if the object is there.

use futures_util::TryStreamExt;
use seekway_catalog::{
    Abort, AssetKind, Complete, Completing, Concat, Finished, Made, NewAsset, NewVideo, Purpose, Source,
    Upload, UploadId, Via, Visibility,
};
use seekway_storage::{ObjectKey, Page, Part, PartNumber, UploadId as StoreUpload, Version};
use tracing::{info, warn};

use super::digest::Running;
use super::sniff::{Container, SNIFF_BYTES, sniff};
use super::{Inner, Refusal, names};
use crate::metrics::UploadEnd;
use crate::respond::Problem;

/// Keys, or uploads, that are asked for at once.
const PAGE: usize = 1000;

impl Inner {
    /// Completes an upload whose bytes are all there.
    pub(super) async fn complete(&self, id: UploadId, who: Complete) -> Result<Finished, Problem> {
        let begun = self.catalog.uploads().begin_completing(id, who).await?;
        let version = self.version(&begun).await?;
        self.make(begun.upload, version).await
    }

    /// Completes an upload that somebody had begun to complete, and may still be at it.
    pub(super) async fn complete_again(&self, id: UploadId) -> Result<Finished, Problem> {
        // The epoch does not matter in that state.
        let begun = self.catalog.uploads().begin_completing(id, Complete::Writer(0)).await?;
        // Made once more it would be another version than the one that the other tells of.
        let version = match self.made_before(&begun.upload).await.map_err(Problem::Storage)? {
            Some(version) => version,
            None => self.version(&begun).await?,
        };
        self.make(begun.upload, version).await
    }

    /// Makes the object, and says which it is.
    async fn version(&self, begun: &Completing) -> Result<Version, Problem> {
        let Completing { upload, parts } = begun;
        let error = match self.publish(upload, &key_of(upload)?, parts).await {
            Ok(version) => return Ok(version),
            Err(error) => error,
        };
        // It may have been done before, by somebody who could not say so any more.
        let before = self.made_before(upload).await;
        match before {
            Ok(Some(version)) => Ok(version),
            _ if error.is_retryable() || needs_an_operator(&error) => Err(Problem::Storage(error)),
            Ok(None) => {
                let reason = "The store has lost parts of it.".to_owned();
                warn!(key = upload.key, error = error.chain(), "an upload cannot be completed");
                self.refuse(upload.id, reason.clone()).await?;
                Err(Refusal::Failed(reason).into())
            }
            Err(head) => Err(Problem::Storage(head)),
        }
    }

    /// The object, if it has been made already.
    async fn made_before(&self, upload: &Upload) -> Result<Option<Version>, seekway_storage::Error> {
        let Ok(key) = key_of(upload) else { return Ok(None) };
        match self.store.head(&key).await {
            Ok(object) => Ok((object.size == upload.offset).then_some(object.version)),
            Err(seekway_storage::Error::NotFound) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Makes a video of an object.
    async fn make(&self, upload: Upload, version: Version) -> Result<Finished, Problem> {
        let (key, size) = (key_of(&upload)?, upload.offset);
        self.clean(&upload, &key).await?;
        let upload = self.sniffed(upload, &key).await?;
        // Before the upload is known to be complete, so that a crash leaves none of them.
        for piece in pieces_of(&upload) {
            match self.end(*piece, Abort::Terminated, UploadEnd::Joined).await {
                Ok(()) | Err(Problem::Upload(Refusal::Unknown)) => {}
                Err(problem) => warn!(?problem, %piece, "a piece stays until it expires"),
            }
        }
        let made = self.made(&upload, &key, version, size);
        let finished = self.catalog.uploads().finish(upload.id, made).await?;
        self.metrics.uploads.ended(upload.via, UploadEnd::Completed);
        if upload.via == Via::Direct {
            self.metrics.uploads.received(upload.via, size);
        }
        info!(%key, size, via = upload.via.as_str(), "uploaded");
        Ok(finished)
    }

    /// Looks at the object's first bytes where they did not come through here.
    async fn sniffed(&self, mut upload: Upload, key: &ObjectKey) -> Result<Upload, Problem> {
        if upload.via != Via::Direct && upload.container.is_some() {
            return Ok(upload);
        }
        let mut first = Vec::new();
        let mut got = self.store.get(key, 0..SNIFF_BYTES as u64, None).await.map_err(Problem::Storage)?;
        while let Some(chunk) = got.body.try_next().await.map_err(Problem::Storage)? {
            first.extend_from_slice(&chunk);
        }
        match self.recognise(&first, upload.purpose) {
            Ok(container) => {
                upload.container = Some(container.name().to_owned());
                Ok(upload)
            }
            Err(refusal) => {
                self.refuse(upload.id, refusal.to_string()).await?;
                Err(refusal.into())
            }
        }
    }

    /// What a file with these first bytes is, if it may be uploaded.
    pub(super) fn recognise(&self, first: &[u8], purpose: Purpose) -> Result<Container, Refusal> {
        let container = sniff(&first[..first.len().min(SNIFF_BYTES)]);
        let taken = container.filter(|container| self.limits.takes(*container, purpose));
        taken.ok_or_else(|| Refusal::Type { allowed: self.limits.types_of(purpose) })
    }

    async fn publish(
        &self,
        upload: &Upload,
        key: &ObjectKey,
        parts: &[seekway_catalog::Part],
    ) -> Result<Version, seekway_storage::Error> {
        let Some(store_upload) = upload.store_upload.clone().map(StoreUpload) else {
            return Err(seekway_storage::Error::NoSuchUpload);
        };
        let part = |part: &seekway_catalog::Part| {
            let number = u16::try_from(part.number).ok().and_then(PartNumber::new)?;
            Some(Part { number, etag: part.etag.clone(), size: part.bytes })
        };
        let parts: Option<Vec<_>> = parts.iter().map(part).collect();
        let parts = parts.ok_or_else(|| seekway_storage::Error::Protocol("a part's number".to_owned()))?;
        self.store.complete_multipart(key, &store_upload, &parts).await
    }

    /// Gives an upload up for a reason that its client is to learn.
    pub(super) async fn refuse(&self, id: UploadId, reason: String) -> Result<(), Problem> {
        self.give_up(id, Abort::Refused(reason)).await
    }

    /// Gives an upload up, and deletes all that there is of it.
    pub(super) async fn give_up(&self, id: UploadId, why: Abort) -> Result<(), Problem> {
        let end = match why {
            Abort::Terminated => UploadEnd::Terminated,
            Abort::Expired => UploadEnd::Expired,
            Abort::Refused(_) => UploadEnd::Refused,
        };
        self.end(id, why, end).await
    }

    async fn end(&self, id: UploadId, why: Abort, end: UploadEnd) -> Result<(), Problem> {
        let begun = self.catalog.uploads().begin_abort(id, why).await?;
        let key = key_of(&begun.upload)?;
        self.clean(&begun.upload, &key).await?;
        // Its object may be there if it was looked at only then.
        self.store.delete(&key).await.map_err(Problem::Storage)?;
        self.catalog.uploads().ended(id).await?;
        self.metrics.uploads.ended(begun.upload.via, end);
        Ok(())
    }

    /// Forgets an upload that has ended. A writer that was killed may have had a remainder on its way that the store
    /// took only after the upload's end, so what there is of it is deleted once more.
    pub(super) async fn forget(&self, id: UploadId) -> Result<(), Problem> {
        let upload = self.catalog.uploads().get(id).await?;
        self.clean(&upload, &key_of(&upload)?).await?;
        Ok(self.catalog.uploads().forget(id).await?)
    }

    /// Deletes what only an upload under way needs, also what a crash kept the catalog from knowing. The random bits in
    /// the key make sure that all of it is this upload's.
    async fn clean(&self, upload: &Upload, key: &ObjectKey) -> Result<(), Problem> {
        if let Some(store_upload) = upload.store_upload.clone().map(StoreUpload) {
            self.store.abort_multipart(key, &store_upload).await.map_err(Problem::Storage)?;
        }
        let mut after = None;
        loop {
            let page = self.store.list_multipart(key.as_str(), Page { after, limit: PAGE }).await;
            let page = page.map_err(Problem::Storage)?;
            for entry in page.entries.iter().filter(|entry| entry.key == *key) {
                self.store.abort_multipart(key, &entry.upload).await.map_err(Problem::Storage)?;
            }
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        loop {
            let page = self.store.list(&names::remainders(key), Page { after: None, limit: PAGE }).await;
            let page = page.map_err(Problem::Storage)?;
            for entry in &page.entries {
                self.store.delete(&entry.key).await.map_err(Problem::Storage)?;
            }
            if page.next.is_none() {
                return Ok(());
            }
        }
    }

    /// What the catalog is told of the object.
    fn made(&self, upload: &Upload, key: &ObjectKey, version: Version, size: u64) -> Made {
        let hash_state = upload.hash_state.as_deref().filter(|_| upload.via != Via::Direct);
        let sha256 = hash_state.and_then(Running::resume).map(Running::finish);
        let container = upload.container.as_deref().and_then(Container::named);
        let source = Source {
            key: key.as_str().to_owned(),
            etag: version.etag.to_string(),
            version: version.version_id.map(|id| id.to_string()),
            size,
            sha256,
            content_type: container.map(|container| container.media_type().to_owned()),
            container: upload.container.clone(),
        };
        let title = upload.title.clone();
        let kind = match upload.purpose {
            Purpose::Video => {
                let profile =
                    self.profile.as_ref().map(|usual| upload.profile.as_ref().unwrap_or(usual).clone());
                return Made::Video(NewVideo { title, visibility: Visibility::Private, source, profile });
            }
            Purpose::Watermark => AssetKind::Watermark,
            Purpose::Intro => AssetKind::Intro,
            Purpose::Outro => AssetKind::Outro,
        };
        Made::Asset(NewAsset { kind, title, source })
    }
}

/// Whether the parts are there, and somebody has to make room or mend permissions first.
fn needs_an_operator(error: &seekway_storage::Error) -> bool {
    matches!(error, seekway_storage::Error::Forbidden(_) | seekway_storage::Error::Full(_))
}

fn pieces_of(upload: &Upload) -> &[UploadId] {
    match &upload.concat {
        Some(Concat::Final(pieces)) => pieces,
        _ => &[],
    }
}

fn key_of(upload: &Upload) -> Result<ObjectKey, Problem> {
    // We have made it ourselves.
    ObjectKey::new(&upload.key).map_err(|_| Refusal::Gone.into())
}
