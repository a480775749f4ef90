//! The object store seam: what a streaming gateway needs of a store, and nothing else.
//!
//! An **object** is a key in the store; its **version** is the identity of its bytes. Every read can be
//! pinned to a version, and a store answers [`Error::VersionChanged`] instead of bytes of another one, so
//! that no caller can splice two versions together. Bodies are streams; nothing here holds a whole object.
//!
//! Two stores implement [`ObjectStore`]: [`local::LocalStore`] (a folder) and [`s3::S3Store`]. Two more are made
//! of others: [`measured::Measured`] tells what one is asked, and [`origin::Origin`] makes the best of one or
//! several that are in trouble. All run the same suite, `tests/conformance/suite.rs`.

mod error;
mod key;
pub mod local;
pub mod measured;
mod object;
pub mod origin;
pub mod s3;

use std::fmt::Debug;
use std::ops::Range;
use std::pin::Pin as StdPin;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;

pub use error::{Error, SharedError, Throttle};
pub use key::{InvalidKey, KEY_BYTES_MAX, ObjectKey};
pub use object::{Attributes, Object, Pin, Version};

/// A body: chunks of any size, in order. Dropping it cancels the transfer.
pub type ByteStream = StdPin<Box<dyn Stream<Item = Result<Bytes, Error>> + Send>>;

/// What every store can do. All methods are safe to cancel by dropping the future; a cancelled write leaves
/// no visible object.
#[async_trait]
pub trait ObjectStore: Debug + Send + Sync + 'static {
    /// The object's metadata as it is now.
    async fn head(&self, key: &ObjectKey) -> Result<Object, Error>;

    /// Bytes of `range` (half-open, not empty), clamped to the object's end.
    ///
    /// With `expected`, bytes of any other version are refused with [`Error::VersionChanged`], at the start
    /// or as a stream item. Without it the answer says which version was found ("discovery").
    ///
    /// A range that starts at or past the end is [`Error::RangeNotSatisfiable`], also for the empty object.
    /// The stream yields exactly `Get::range`'s length or ends with an error; it is never silently short.
    async fn get(&self, key: &ObjectKey, range: Range<u64>, expected: Option<&Object>) -> Result<Get, Error>;

    /// One page of the keys that start with `prefix`, in byte order.
    async fn list(&self, prefix: &str, page: Page) -> Result<Listing, Error>;

    /// Writes an object of unknown length. It becomes visible whole or not at all.
    async fn put(&self, key: &ObjectKey, attributes: &Attributes, body: ByteStream)
    -> Result<Version, Error>;

    /// Begins a multipart upload. Until it is completed nothing is visible at `key`.
    async fn create_multipart(&self, key: &ObjectKey, attributes: &Attributes) -> Result<UploadId, Error>;

    /// Stores one part; a second write of the same number replaces the first. Every part but the last has at
    /// least [`PART_BYTES_MIN`] (S3 checks this when the upload is completed).
    async fn put_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: PartNumber,
        body: Bytes,
    ) -> Result<Part, Error>;

    /// Publishes the listed parts, in the given order, as the object.
    ///
    /// [`Error::NoSuchUpload`] may mean that it has been completed before, and the answer was lost: then the object
    /// is there.
    async fn complete_multipart(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[Part],
    ) -> Result<Version, Error>;

    /// One page of the parts that an upload has, in the order of their numbers.
    async fn list_parts(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        after: Option<PartNumber>,
    ) -> Result<Parts, Error>;

    /// One page of the uploads under way whose keys start with `prefix`, in the store's order. A bucket may
    /// have other programs' uploads too: whoever drops what it finds must know them for its own.
    async fn list_multipart(&self, prefix: &str, page: Page) -> Result<Uploads, Error>;

    /// Lets whoever holds the answer store one part of exactly `bytes` bytes, by itself, until `valid_for` has
    /// passed (at most seven days, S3's limit). Nothing is asked of the store. [`Error::Unsupported`] where clients
    /// cannot reach it.
    async fn presign_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: PartNumber,
        bytes: u64,
        valid_for: Duration,
    ) -> Result<PresignedPart, Error>;

    /// Drops an upload and its parts. Dropping one that does not exist is not an error.
    async fn abort_multipart(&self, key: &ObjectKey, upload: &UploadId) -> Result<(), Error>;

    /// Deletes the object. Deleting one that does not exist is not an error.
    async fn delete(&self, key: &ObjectKey) -> Result<(), Error>;

    /// Whether [`head`](Self::head) costs next to nothing, so that asking for every request beats
    /// remembering: true for a local folder, false across a network.
    fn head_is_cheap(&self) -> bool;

    /// Whether the store asked for fewer requests just now: what nobody waits for yet is better left.
    fn is_throttling(&self) -> bool {
        false
    }
}

/// S3's smallest part size, except for the last part
/// (<https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html>).
pub const PART_BYTES_MIN: usize = 5 * 1024 * 1024;

/// The answer to a ranged read.
pub struct Get {
    /// The object the bytes belong to, with its total size.
    pub object: Object,
    /// What `body` holds: the range asked for, clamped to the object's end.
    pub range: Range<u64>,
    /// Exactly `range`'s bytes.
    pub body: ByteStream,
}

impl Debug for Get {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Get")
            .field("object", &self.object)
            .field("range", &self.range)
            .finish_non_exhaustive()
    }
}

/// Which part of a listing to return.
#[derive(Debug, Clone)]
pub struct Page {
    /// [`Listing::next`] of the page before; `None` starts at the beginning.
    pub after: Option<String>,
    /// At most this many keys, 1 to 1000 (more is taken as 1000, S3's own limit).
    pub limit: usize,
}

/// One page of a listing.
#[derive(Debug, Clone, Default)]
pub struct Listing {
    /// In byte order of the keys.
    pub entries: Vec<ListEntry>,
    /// Where the next page starts; `None` on the last page. Opaque to callers.
    pub next: Option<String>,
}

/// One object in a listing.
#[derive(Debug, Clone)]
pub struct ListEntry {
    /// The object's key.
    pub key: ObjectKey,
    /// Its length in bytes.
    pub size: u64,
    /// When it was last written, where the store says.
    pub last_modified: Option<SystemTime>,
}

/// A store's name for a multipart upload. Opaque, and meaningful only together with its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UploadId(pub String);

/// A part's number, 1 to 10,000 (S3's limits).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct PartNumber(u16);

impl PartNumber {
    /// `None` outside 1 to 10,000.
    pub fn new(number: u16) -> Option<Self> {
        (1..=10_000).contains(&number).then_some(Self(number))
    }

    /// The number itself.
    pub fn get(self) -> u16 {
        self.0
    }
}

/// One stored part of a multipart upload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its place among the parts.
    pub number: PartNumber,
    /// The store's tag for its bytes, needed to complete the upload.
    pub etag: String,
    /// Its length in bytes.
    pub size: u64,
}

/// One page of an upload's parts.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// In the order of their numbers.
    pub parts: Vec<Part>,
    /// Behind which number the next page starts; `None` on the last page.
    pub next: Option<PartNumber>,
}

/// One page of the multipart uploads that are under way.
#[derive(Debug, Clone, Default)]
pub struct Uploads {
    /// In the store's order.
    pub entries: Vec<UploadEntry>,
    /// Where the next page starts; `None` on the last page. Opaque to callers.
    pub next: Option<String>,
}

/// One multipart upload in a listing.
#[derive(Debug, Clone)]
pub struct UploadEntry {
    /// What it will be.
    pub key: ObjectKey,
    /// Its name.
    pub upload: UploadId,
    /// When it began, where the store says.
    pub begun: Option<SystemTime>,
}

/// A request that stores one part, signed. Whoever has it can make it: it is a secret until it expires.
#[derive(Clone)]
pub struct PresignedPart {
    /// Where to PUT the part's bytes.
    pub url: String,
    /// Headers that the request must have, as signed; `Content-Length` and `Host`, which clients set themselves,
    /// are left out.
    pub headers: Vec<(String, String)>,
}

impl Debug for PresignedPart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PresignedPart").finish_non_exhaustive()
    }
}
