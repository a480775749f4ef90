//! One error for every store: a variant for each thing a caller can do about it.

use std::sync::Arc;
use std::time::Duration;

use crate::key::InvalidKey;

/// A cause that many waiting readers can share.
pub type SharedError = Arc<dyn std::error::Error + Send + Sync>;

/// Why a store did not do what it was asked. Cloneable, because one failed read may fail many readers.
///
/// `Display` may name keys and hosts: it is for logs, never for clients.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// There is no such object. A missing bucket is a mistake in the configuration: [`Error::Other`],
    /// unless the store says no more than 404, as S3 does to HEAD.
    #[error("not found")]
    NotFound,
    /// There is no such multipart upload: it was completed or aborted, or never begun.
    #[error("no such upload")]
    NoSuchUpload,
    /// This store cannot do that at all.
    #[error("not supported by this store: {0}")]
    Unsupported(&'static str),
    /// The store refused our credentials, or this key.
    #[error("forbidden by the store")]
    Forbidden(#[source] SharedError),
    /// The object's bytes are no longer those of the expected version.
    #[error("the object has changed")]
    VersionChanged,
    /// The range starts at or past the end.
    #[error("the range starts past the end of the object")]
    RangeNotSatisfiable {
        /// The object's length, where the store said it.
        size: Option<u64>,
    },
    /// This store cannot have a key like that.
    #[error("key not allowed: {0}")]
    InvalidKey(&'static str),
    /// The store asks us to slow down.
    #[error("the store is throttling")]
    Throttled(#[source] Throttle),
    /// The store cannot be reached, or says that it cannot serve now.
    #[error("the store is unavailable")]
    Unavailable(#[source] SharedError),
    /// The store has no room left for what was to be written.
    #[error("the store is full")]
    Full(#[source] SharedError),
    /// A connect, first-byte or between-bytes limit passed.
    #[error("the store did not answer in time: {0}")]
    Timeout(&'static str),
    /// The body broke off; what came before it is right.
    #[error("the body broke off")]
    Interrupted(#[source] SharedError),
    /// The answer contradicts the question (another range, another length, a 200 to a ranged read).
    #[error("the store broke its protocol: {0}")]
    Protocol(String),
    /// Anything else.
    #[error("the store failed")]
    Other(#[source] SharedError),
}

/// What a throttling store said.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{said}")]
pub struct Throttle {
    said: SharedError,
    retry_after: Option<Duration>,
}

impl Throttle {
    /// `retry_after` is how long it asks not to be asked.
    pub fn new(said: SharedError, retry_after: Option<Duration>) -> Self {
        Self { said, retry_after }
    }

    /// How long the store asks not to be asked, where it says.
    pub fn retry_after(&self) -> Option<Duration> {
        self.retry_after
    }
}

impl From<SharedError> for Throttle {
    fn from(said: SharedError) -> Self {
        Self::new(said, None)
    }
}

impl Error {
    /// The object, or the upload, does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::NotFound | Self::NoSuchUpload)
    }

    /// The same request may succeed a little later.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self,
            Self::Throttled(_)
                | Self::Unavailable(_)
                | Self::Timeout(_)
                | Self::Interrupted(_)
                | Self::Protocol(_)
        )
    }

    /// What is known of the object is outdated: ask for its metadata again.
    pub fn version_changed(&self) -> bool {
        matches!(self, Self::VersionChanged)
    }

    /// The error's text and those of its causes, in one line. Like `Display` for logs, never for clients.
    pub fn chain(&self) -> String {
        chain(self)
    }

    /// Wraps any error for [`Error::Other`] and the other variants with a source.
    pub(crate) fn shared(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> SharedError {
        Arc::from(error.into())
    }
}

/// An error's text and those of its causes.
pub(crate) fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let texts = std::iter::successors(Some(error), |&error| error.source()).map(ToString::to_string);
    texts.collect::<Vec<_>>().join(": ")
}

impl From<InvalidKey> for Error {
    fn from(error: InvalidKey) -> Self {
        Self::InvalidKey(match error {
            InvalidKey::Empty => "it is empty",
            InvalidKey::TooLong => "it is too long",
            InvalidKey::Nul => "it contains NUL",
        })
    }
}
