//! What is known of a video.

use crate::database::Row;
use crate::state::{states, words};
use crate::{AccountId, Error, VideoId};

use super::Progress;

states! {
    /// Where a video stands.
    VideoState, "the video" {
        /// Its bytes are here, and play as they are.
        Uploaded = "uploaded",
        /// Workers are at it.
        Processing = "processing",
        /// It plays everywhere.
        Ready = "ready",
        /// Workers could make nothing of it.
        Failed = "failed",
        /// Nobody sees it, and its objects are being deleted.
        Deleting = "deleting",
    }
    ways {
        Uploaded => Processing | Ready | Failed | Deleting,
        Processing => Uploaded | Ready | Failed | Deleting,
        Ready => Processing | Deleting,
        Failed => Processing | Deleting,
    }
}

words! {
    /// Who may see it besides its owner and admins.
    Visibility {
        /// Nobody.
        Private = "private",
        /// Whoever knows its address.
        Unlisted = "unlisted",
        /// Everybody.
        Public = "public",
    }
}

/// The object that it was uploaded as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Source {
    /// Its key.
    pub key: String,
    /// Its entity tag.
    pub etag: String,
    /// Its version id, on a store that has such.
    pub version: Option<String>,
    /// Its length in bytes.
    pub size: u64,
    /// Its SHA-256 in lower-case hex, where somebody has computed it.
    pub sha256: Option<String>,
    /// Its media type.
    pub content_type: Option<String>,
    /// What its first bytes say it is.
    pub container: Option<String>,
}

/// A video to be.
#[derive(Debug, Clone)]
pub struct NewVideo {
    /// What people call it.
    pub title: String,
    /// Who may see it.
    pub visibility: Visibility,
    /// What it was uploaded as.
    pub source: Source,
    /// The profile by which workers are to process it at once; none: they are not.
    pub profile: Option<String>,
}

/// A video as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Video {
    /// Its name.
    pub id: VideoId,
    /// Whose it is; on a gateway without accounts nobody's.
    pub owner: Option<AccountId>,
    /// What people call it.
    pub title: String,
    /// Who may see it.
    pub visibility: Visibility,
    /// Where it stands.
    pub state: VideoState,
    /// What it was uploaded as.
    pub source: Source,
    /// How long it plays, when that is known.
    pub duration_ms: Option<i64>,
    /// What ffprobe said, as JSON.
    pub probe: Option<String>,
    /// Why it failed.
    pub problem: Option<String>,
    /// How far workers are, once one of them has said so.
    pub progress: Option<Progress>,
    /// Below which keys lies what was made of it.
    pub published_prefix: Option<String>,
    /// What lies there, as JSON.
    pub published: Option<String>,
    /// When it was added.
    pub created_ms: i64,
    /// When it last changed.
    pub updated_ms: i64,
}

/// What to change. `None` stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Patch {
    /// What people call it.
    pub title: Option<String>,
    /// Who may see it.
    pub visibility: Option<Visibility>,
}

/// Who may see an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    /// The video that it belongs to.
    pub video: VideoId,
    /// Whose that is.
    pub owner: Option<AccountId>,
    /// Who else may see it.
    pub visibility: Visibility,
    /// Where it stands. Nobody sees one that is being deleted.
    pub state: VideoState,
}

/// Something that happened to a video.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Counted for each video from 1.
    pub number: i64,
    /// What it was: the state that it came into, or another word.
    pub kind: String,
    /// More about it.
    pub payload: String,
    /// When.
    pub created_ms: i64,
}

// === impl Source ===

impl Source {
    pub(crate) fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            key: row.get("source_key")?,
            etag: row.get("source_etag")?,
            version: row.get("source_version")?,
            size: row.get("size_bytes")?,
            sha256: row.get("sha256")?,
            content_type: row.get("content_type")?,
            container: row.get("container")?,
        })
    }
}

// === impl Video ===

impl Video {
    /// Below which keys all attempts at making something of it write, and nobody else.
    pub fn processed(id: VideoId) -> String {
        format!("processed/{id}/")
    }

    pub(crate) fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            id: row.get("id")?,
            owner: row.get("owner")?,
            title: row.get("title")?,
            visibility: row.get("visibility")?,
            state: row.get("state")?,
            source: Source::from_row(row)?,
            duration_ms: row.get("duration_ms")?,
            probe: row.get("probe")?,
            problem: row.get("problem")?,
            progress: Progress::from_row(row)?,
            published_prefix: row.get("published_prefix")?,
            published: row.get("published")?,
            created_ms: row.get("created_ms")?,
            updated_ms: row.get("updated_ms")?,
        })
    }
}

// === impl Access ===

impl Access {
    pub(crate) fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            video: row.get("id")?,
            owner: row.get("owner")?,
            visibility: row.get("visibility")?,
            state: row.get("state")?,
        })
    }
}

// === impl Event ===

impl Event {
    pub(crate) fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            number: row.get("number")?,
            kind: row.get("kind")?,
            payload: row.get("payload")?,
            created_ms: row.get("created_ms")?,
        })
    }
}
