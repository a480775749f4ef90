//! Uploads: bytes come in by several protocols, and one engine puts them into the store.
//!
//! An upload is a record of the catalog and a multipart upload of the store. [`Uploads::append`] runs a [`writer`] for
//! it, a task of its own that takes bytes as they come and commits them part by part: the catalog knows at any time how
//! many bytes are safe (the offset), and whoever continues, on this replica or another, begins there. A writer that is
//! cut off commits what it has; one that is killed loses at most the part it held. Its right to commit is an epoch, which
//! the next writer takes away, so that nobody waits for a dead connection.
//!
//! In the order in which an upload meets them: `http` (which protocol), `tus`, `form`, `resumable` and `direct`, `names` (its key),
//! `writer` with `parts`, `sniff` and `digest` (its bytes), `completion` (it becomes a video), `sweep` (it does not).
//!
//! **Memory.** A writer holds at most two parts: one that it fills, and one on its way into the store. Both are paid from
//! a budget of uploads' own, before a byte is read from the socket; whoever waits for it holds no buffer, but perhaps a
//! part on its way, which ends by itself. A client that is slow while others wait has its bytes committed and gives its
//! buffer up (`writer`). Buffers are used again, not freed, until no upload has one (`writer/buffer.rs`).

mod completion;
mod digest;
pub(crate) mod direct;
pub(crate) mod form;
pub(crate) mod http;
pub(crate) mod names;
pub(crate) mod parts;
mod refusal;
mod registry;
mod resumable;
mod sniff;
mod sweep;
pub(crate) mod tus;
mod writer;

use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use futures_util::Stream;
use seekway_cache::Budget;
use seekway_catalog::{
    Catalog, Complete, Concat, Finished, NewUpload, Purpose, Upload, UploadId, UploadState, Via,
};
use seekway_storage::ObjectStore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

pub(crate) use refusal::Refusal;
pub(crate) use sniff::{Container, SNIFF_BYTES, sniff};

use crate::caller::Caller;
use crate::config::{UploadSettings, is_profile};
use crate::metrics::{Metrics, UploadMemory};
use crate::respond::Problem;
use digest::Checksum;
use registry::Registry;
use writer::{Spares, Writer};

/// Bytes of a request, as they come; an error is the end of the connection. Dropping it stops reading.
pub(crate) type Body = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>;
pub(crate) type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// Everything uploads share. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Uploads {
    inner: Arc<Inner>,
}

pub(crate) struct Inner {
    catalog: Catalog,
    store: Arc<dyn ObjectStore>,
    limits: UploadSettings,
    /// By which profile videos are processed whose clients name none; none: no video is.
    profile: Option<String>,
    metrics: Arc<Metrics>,
    memory: Budget,
    spares: Spares,
    writers: Registry,
    tasks: TaskTracker,
    /// Cancelled when writers are to commit what they have and end.
    ending: CancellationToken,
}

/// What is known of a file before its bytes come.
#[derive(Clone)]
pub(crate) struct Announced {
    pub(crate) via: Via,
    pub(crate) purpose: Purpose,
    /// By which profile it is to be processed.
    pub(crate) profile: Option<String>,
    /// The client's name for the file.
    pub(crate) name: String,
    /// Empty: the file's name stands for it.
    pub(crate) title: String,
    pub(crate) metadata: String,
    pub(crate) content_type: Option<String>,
    pub(crate) length: Option<u64>,
    pub(crate) concat: Option<Concat>,
    pub(crate) idempotency_key: Option<String>,
}

/// How bytes are to be appended.
#[derive(Default)]
pub(crate) struct Ask {
    /// Where they are to begin; anywhere else is a conflict.
    pub(crate) offset: Option<u64>,
    /// The upload's length, where it is told now.
    pub(crate) length: Option<u64>,
    /// How many bytes the client says that it will send now.
    pub(crate) announced: Option<u64>,
    /// The upload ends where these bytes do.
    pub(crate) is_last: bool,
    /// Nothing is committed unless it holds.
    pub(crate) checksum: Option<Checksum>,
    /// What people call it, where that is known only at the end of the bytes.
    pub(crate) title: Arc<OnceLock<String>>,
}

/// How far an upload came.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Appended {
    pub(crate) offset: u64,
    /// What it became, if it is complete.
    pub(crate) finished: Option<Finished>,
}

// === impl Uploads ===

impl Uploads {
    pub(crate) fn new(
        catalog: Catalog,
        store: Arc<dyn ObjectStore>,
        limits: UploadSettings,
        profile: Option<String>,
        metrics: Arc<Metrics>,
    ) -> Self {
        let memory = Budget::new(limits.memory_bytes());
        Self {
            inner: Arc::new(Inner {
                catalog,
                store,
                limits,
                profile,
                metrics,
                memory,
                spares: Spares::default(),
                writers: Registry::default(),
                tasks: TaskTracker::new(),
                ending: CancellationToken::new(),
            }),
        }
    }

    pub(crate) fn limits(&self) -> &UploadSettings {
        &self.inner.limits
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        &self.inner.catalog
    }

    pub(crate) fn store(&self) -> &dyn ObjectStore {
        self.inner.store.as_ref()
    }

    /// How much memory it has, and how much of that is used.
    pub(crate) fn memory(&self) -> UploadMemory {
        UploadMemory::of(&self.inner.memory, self.inner.spares.bytes())
    }

    /// Makes a record, which belongs to whoever asks. The length is checked here, where there is one, and the account's quota.
    pub(crate) async fn create(&self, caller: Caller, new: Announced) -> Result<Upload, Problem> {
        let via = new.via;
        self.counted(via, self.make(caller, new).await)
    }

    /// Counts what failed.
    fn counted<T>(&self, via: Via, done: Result<T, Problem>) -> Result<T, Problem> {
        done.inspect_err(|problem| self.inner.metrics.uploads.failed(via, problem))
    }

    async fn make(&self, caller: Caller, new: Announced) -> Result<Upload, Problem> {
        let is_piece = matches!(new.concat, Some(Concat::Partial));
        let limit = self.inner.limits.bytes_max(new.purpose);
        if let Some(length) = new.length {
            if length > limit {
                return Err(Refusal::TooLarge { limit }.into());
            }
            if length == 0 && !is_piece {
                return Err(Refusal::Empty.into());
            }
        }
        let key = match new.purpose {
            _ if is_piece => names::piece(),
            Purpose::Video => names::original(&new.name, std::time::SystemTime::now()),
            _ => names::asset(&new.name),
        };
        let title = [new.title, new.name]
            .map(|text| as_title(&text))
            .into_iter()
            .find(|text| !text.trim().is_empty());
        let title = title.unwrap_or_else(|| UNTITLED.to_owned());
        if new.profile.as_deref().is_some_and(|profile| !is_profile(profile)) {
            return Err(Refusal::Bad("A profile has 1 to 64 lower-case letters, digits and dashes.").into());
        }
        let is_odd = |text: &String| text.len() > MEDIA_TYPE_BYTES_MAX || text.contains(char::is_control);
        if new.content_type.as_ref().is_some_and(is_odd) {
            return Err(Refusal::Bad("A media type has at most 255 bytes, in one line.").into());
        }
        let fingerprint = new.idempotency_key.as_ref().map(|_| {
            // Without a profile it is what it was when there were none.
            let profile = new.profile.iter().map(|profile| format!(" {profile}"));
            format!(
                "{} {} {:?} {title:?} {:?} {:?} {:?}{}",
                new.via.as_str(),
                new.purpose.as_str(),
                new.length,
                new.metadata,
                new.content_type,
                new.concat,
                profile.collect::<String>(),
            )
        });
        let record = NewUpload {
            account: caller.account(),
            via: new.via,
            purpose: new.purpose,
            profile: new.profile,
            key: key.as_str().to_owned(),
            title,
            metadata: new.metadata,
            content_type: new.content_type,
            length: new.length,
            concat: new.concat,
            idempotency_key: new.idempotency_key,
            fingerprint,
            lifetime_ms: self.inner.limits.expiry().as_millis().try_into().unwrap_or(i64::MAX),
        };
        let upload = self.inner.catalog.uploads().create(record, self.inner.limits.quota()).await?;
        // Another key is that of an upload which was begun with the same idempotency key.
        if upload.key == key.as_str() {
            self.inner.metrics.uploads.began(upload.via);
        }
        Ok(upload)
    }

    /// The upload, if it is the caller's. One without an account is whoever's who knows its name.
    async fn owned(&self, caller: Caller, id: UploadId) -> Result<Upload, Problem> {
        let upload = self.inner.catalog.uploads().get(id).await?;
        let is_theirs = upload.account.is_none() || caller.owns(upload.account);
        if is_theirs { Ok(upload) } else { Err(Refusal::Unknown.into()) }
    }

    /// The upload as it is. One that was left between its last byte and its end is brought to its end first: a client
    /// that asks must not take for done what may still fail.
    pub(crate) async fn get(&self, caller: Caller, id: UploadId) -> Result<Upload, Problem> {
        let mut upload = self.owned(caller, id).await?;
        if upload.state == UploadState::Completing {
            match self.inner.complete_again(id).await {
                // Somebody else has brought it to its end meanwhile.
                Ok(_) | Err(Problem::Upload(Refusal::Complete)) => {}
                Err(problem) => return Err(problem),
            }
            upload = self.inner.catalog.uploads().get(id).await?;
        }
        match upload.state {
            UploadState::Completing => Err(Problem::NotReady),
            UploadState::Aborting => Err(Refusal::Gone.into()),
            UploadState::Failed => Err(Refusal::Failed(upload.problem.unwrap_or_default()).into()),
            UploadState::Open if upload.is_expired() => Err(Refusal::Gone.into()),
            UploadState::Open | UploadState::Complete => Ok(upload),
        }
    }

    /// The same for a request that would append: where the bytes come by another way, there is nothing to append to.
    pub(crate) async fn get_to_append(&self, caller: Caller, id: UploadId) -> Result<Upload, Problem> {
        let upload = self.get(caller, id).await?;
        match (upload.via, &upload.concat, upload.state) {
            (Via::Direct | Via::Form, ..) => Err(Refusal::Unknown.into()),
            // Its bytes are those of its pieces.
            (_, Some(Concat::Final(_)), UploadState::Open) => Err(Refusal::Complete.into()),
            _ => Ok(upload),
        }
    }

    /// Appends what `body` yields, and completes the upload when all of it is there.
    ///
    /// The work is a task of its own: when the client leaves, what came is committed all the same.
    pub(crate) async fn append(&self, id: UploadId, body: Body, ask: Ask) -> Result<Appended, Problem> {
        let inner = self.inner.clone();
        let work = async move {
            let appended = Writer::run(inner.clone(), id, body, ask).await;
            if inner.memory.in_use() == 0 {
                inner.spares.clear();
            }
            appended
        };
        // A task that panicked was printed where it happened.
        self.inner.tasks.spawn(work.in_current_span()).await.unwrap_or(Err(Problem::Panicked))
    }

    /// Gives an upload up, because its client says so.
    pub(crate) async fn terminate(&self, caller: Caller, id: UploadId) -> Result<(), Problem> {
        self.owned(caller, id).await?;
        self.inner.writers.stop(id);
        self.inner.give_up(id, seekway_catalog::Abort::Terminated).await
    }

    /// Completes an upload whose bytes are all in the store.
    pub(crate) async fn complete(&self, id: UploadId, who: Complete) -> Result<Finished, Problem> {
        let inner = self.inner.clone();
        let work = async move { inner.complete(id, who).await };
        self.inner.tasks.spawn(work.in_current_span()).await.unwrap_or(Err(Problem::Panicked))
    }

    /// Has writers commit what they have, and waits for them, and no longer than a moment.
    pub(crate) async fn shutdown(&self) {
        self.inner.ending.cancel();
        self.inner.tasks.close();
        if tokio::time::timeout(SHUTDOWN_PATIENCE, self.inner.tasks.wait()).await.is_err() {
            tracing::warn!(
                uploads = self.inner.tasks.len(),
                "uploads cut; their clients go on from the last commit"
            );
        }
    }
}

/// What a part may take on its way into the store while everything else has ended.
const SHUTDOWN_PATIENCE: Duration = Duration::from_secs(10);
/// What a video is called whose client said nothing of it.
const UNTITLED: &str = "Untitled";
/// In characters; longer titles of uploads are cut.
pub(crate) const TITLE_CHARS_MAX: usize = 300;
/// More than twice what a type and a subtype have at most (RFC 6838 §4.2).
const MEDIA_TYPE_BYTES_MAX: usize = 255;

/// What is kept of a title that came with a file: one line, since PostgreSQL's texts have no NUL, and no more than fits.
pub(crate) fn as_title(text: &str) -> String {
    text.chars().filter(|char| !char.is_control()).take(TITLE_CHARS_MAX).collect()
}
