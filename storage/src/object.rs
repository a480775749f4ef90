//! What a store knows of an object.

use std::any::Any;
use std::fmt;
use std::sync::Arc;
use std::time::SystemTime;

/// An object as a store described it at one moment. Cheap enough to clone per fill, not per segment.
#[derive(Debug, Clone)]
pub struct Object {
    /// The identity of its bytes.
    pub version: Version,
    /// Its length in bytes.
    pub size: u64,
    /// When it was last written, where the store says.
    pub last_modified: Option<SystemTime>,
    /// What its writer said of it.
    pub attributes: Attributes,
    /// What the store holds on to so that later reads get this very version.
    pub pin: Pin,
}

/// The identity of an object's bytes: equal versions of one key have equal bytes.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Version {
    /// A strong entity tag, with its quotes, as on the wire (RFC 9110 §8.8.3).
    pub etag: Arc<str>,
    /// The version id on a versioned bucket.
    pub version_id: Option<Arc<str>>,
}

/// The representation headers that travel with an object, as its writer gave them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `Content-Type`.
    pub content_type: Option<String>,
    /// `Cache-Control`.
    pub cache_control: Option<String>,
    /// `Content-Encoding`: ranges count the encoded bytes (RFC 9110 §8.4).
    pub content_encoding: Option<String>,
    /// `Content-Disposition`.
    pub content_disposition: Option<String>,
    /// `Content-Language`.
    pub content_language: Option<String>,
}

/// A store's own hold on one version: the open descriptor of a local file. Opaque; empty on S3, where
/// `If-Match` does this work.
#[derive(Clone, Default)]
pub struct Pin(Option<Arc<dyn Any + Send + Sync>>);

// === impl Version ===

impl fmt::Debug for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version_id {
            Some(id) => write!(f, "{}@{id}", self.etag),
            None => f.write_str(&self.etag),
        }
    }
}

// === impl Pin ===

impl Pin {
    /// Holds `value` for as long as any clone of the object lives.
    pub(crate) fn new<T: Send + Sync + 'static>(value: Arc<T>) -> Self {
        Self(Some(value))
    }

    /// The held value, if it is this store's kind of pin.
    pub(crate) fn get<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.0.clone()?.downcast().ok()
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Pin(held)" } else { "Pin(none)" })
    }
}
