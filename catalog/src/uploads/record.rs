//! What is known of an upload.

use crate::database::Row;
use crate::state::{states, words};
use crate::{AccountId, AssetId, Error, State, UploadId, VideoId};

states! {
    /// Where an upload stands.
    UploadState, "the upload" {
        /// Bytes may be appended.
        Open = "open",
        /// All bytes are here; the store makes an object of them.
        Completing = "completing",
        /// There is an object, and a video or an asset.
        Complete = "complete",
        /// It was terminated, expired or refused: what the store holds of it is to be deleted.
        Aborting = "aborting",
        /// It was refused; kept for a while so that the client learns why.
        Failed = "failed",
    }
    ways {
        Open => Completing | Aborting,
        Completing => Complete | Aborting,
        Aborting => Failed,
    }
}

words! {
    /// How it comes in.
    Via {
        /// tus 1.0.
        Tus = "tus",
        /// The IETF draft "Resumable Uploads for HTTP".
        Resumable = "resumable",
        /// A multipart form in one request.
        Form = "form",
        /// Straight to the bucket, by signed URLs.
        Direct = "direct",
    }
}

words! {
    /// What becomes of it.
    Purpose {
        /// A video.
        Video = "video",
        /// An image over a video.
        Watermark = "watermark",
        /// What is played before a video.
        Intro = "intro",
        /// What is played after a video.
        Outro = "outro",
    }
}

/// What an upload has to do with others (tus, "Concatenation").
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Concat {
    /// It is a piece of another.
    Partial,
    /// It is made of these, in this order.
    Final(Vec<UploadId>),
}

/// What is to be uploaded.
#[derive(Debug, Clone)]
pub struct NewUpload {
    /// Whose it is; on a gateway without accounts nobody's.
    pub account: Option<AccountId>,
    /// How it comes in.
    pub via: Via,
    /// What becomes of it.
    pub purpose: Purpose,
    /// The profile by which its client wants the video processed.
    pub profile: Option<String>,
    /// The key that its object will have. No two uploads have the same.
    pub key: String,
    /// What people call it.
    pub title: String,
    /// What the client said of it, in the client's words.
    pub metadata: String,
    /// The media type that the client declared.
    pub content_type: Option<String>,
    /// Bytes, where the client knows already.
    pub length: Option<u64>,
    /// Whether it is concatenated.
    pub concat: Option<Concat>,
    /// The client's name for this request, to repeat it without harm.
    pub idempotency_key: Option<String>,
    /// What the request asked for: a repeated one asks for the same.
    pub fingerprint: Option<String>,
    /// How long it is kept after its last commit.
    pub lifetime_ms: i64,
}

/// An upload as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upload {
    /// Its name.
    pub id: UploadId,
    /// Whose it is.
    pub account: Option<AccountId>,
    /// How it comes in.
    pub via: Via,
    /// What becomes of it.
    pub purpose: Purpose,
    /// The profile by which its client wants the video processed, where it said so.
    pub profile: Option<String>,
    /// Where it stands.
    pub state: UploadState,
    /// The key that its object has or will have.
    pub key: String,
    /// What people call it.
    pub title: String,
    /// What the client said of it.
    pub metadata: String,
    /// The media type that the client declared.
    pub content_type: Option<String>,
    /// Bytes altogether, when that is known.
    pub length: Option<u64>,
    /// Bytes that are committed.
    pub offset: u64,
    /// The newest writer's number.
    pub epoch: u64,
    /// The number that the next part will have.
    pub next_part: u64,
    /// The store's name for its multipart upload, from the first part on.
    pub store_upload: Option<String>,
    /// Where the bytes after the last part are.
    pub remainder_key: Option<String>,
    /// How many these are.
    pub remainder_bytes: u64,
    /// SHA-256 of the bytes up to the offset, as a state to go on from.
    pub hash_state: Option<Vec<u8>>,
    /// The object's SHA-256 in lower-case hex, when it is complete.
    pub sha256: Option<String>,
    /// What the first bytes say it is.
    pub container: Option<String>,
    /// Whether it is concatenated.
    pub concat: Option<Concat>,
    /// Why it failed.
    pub problem: Option<String>,
    /// The video that it became.
    pub video: Option<VideoId>,
    /// The asset that it became.
    pub asset: Option<AssetId>,
    /// When it was created.
    pub created_ms: i64,
    /// When it last changed.
    pub updated_ms: i64,
    /// When it may be swept.
    pub expires_ms: i64,
    /// When this was read, by the same clock.
    pub now_ms: i64,
    /// Bytes that the account may have altogether.
    pub(crate) quota_bytes: Option<u64>,
}

/// A committed part.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its number in the store's multipart upload.
    pub number: u64,
    /// The offset of its first byte.
    pub start: u64,
    /// Its length.
    pub bytes: u64,
    /// The store's tag for its bytes.
    pub etag: String,
}

// === impl Concat ===

impl Concat {
    /// As the database keeps it: `partial`, or `final` and the ids.
    pub(crate) fn to_text(&self) -> String {
        match self {
            Self::Partial => "partial".to_owned(),
            Self::Final(ids) => {
                let words = ["final".to_owned()].into_iter().chain(ids.iter().map(ToString::to_string));
                words.collect::<Vec<_>>().join(" ")
            }
        }
    }

    fn parse(text: &str) -> Option<Self> {
        if text == "partial" {
            return Some(Self::Partial);
        }
        let mut words = text.split(' ');
        (words.next() == Some("final")).then_some(())?;
        words.map(UploadId::parse).collect::<Option<_>>().map(Self::Final)
    }
}

// === impl Upload ===

impl Upload {
    pub(crate) fn from_row(row: &Row) -> Result<Self, Error> {
        let concat = row.get::<Option<String>>("concat")?;
        let concat =
            concat.map(|text| Concat::parse(&text).ok_or_else(|| Error::other("concat is unreadable")));
        Ok(Self {
            id: row.get("id")?,
            account: row.get("account")?,
            via: row.get("via")?,
            purpose: row.get("purpose")?,
            profile: row.get("profile")?,
            state: row.get("state")?,
            key: row.get("object_key")?,
            title: row.get("title")?,
            metadata: row.get("metadata")?,
            content_type: row.get("content_type")?,
            length: row.get("length_bytes")?,
            offset: row.get("offset_bytes")?,
            epoch: row.get("epoch")?,
            next_part: row.get("next_part")?,
            store_upload: row.get("store_upload")?,
            remainder_key: row.get("remainder_key")?,
            remainder_bytes: row.get("remainder_bytes")?,
            hash_state: row.get("hash_state")?,
            sha256: row.get("sha256")?,
            container: row.get("container")?,
            concat: concat.transpose()?,
            problem: row.get("problem")?,
            video: row.get("video")?,
            asset: row.get("asset")?,
            created_ms: row.get("created_ms")?,
            updated_ms: row.get("updated_ms")?,
            expires_ms: row.get("expires_ms")?,
            now_ms: row.get("now_ms")?,
            quota_bytes: row.get("quota_bytes")?,
        })
    }

    /// Whether its time is over.
    pub fn is_expired(&self) -> bool {
        self.expires_ms <= self.now_ms
    }

    /// [`Error::Expired`], or [`Error::IllegalTransition`] where it no longer takes bytes.
    pub(crate) fn must_be_open(&self) -> Result<(), Error> {
        if self.state != UploadState::Open {
            let (what, to) = (UploadState::WHAT, UploadState::Open.name());
            return Err(Error::IllegalTransition { what, from: self.state.name(), to });
        }
        if self.is_expired() { Err(Error::Expired) } else { Ok(()) }
    }

    /// The offset where the last part ends and the remainder begins.
    pub fn parts_end(&self) -> u64 {
        self.offset - self.remainder_bytes
    }
}

// === impl Part ===

impl Part {
    pub(crate) fn from_row(row: &Row) -> Result<Self, Error> {
        Ok(Self {
            number: row.get("number")?,
            start: row.get("start_bytes")?,
            bytes: row.get("size_bytes")?,
            etag: row.get("etag")?,
        })
    }
}
