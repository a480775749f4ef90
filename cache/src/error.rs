//! Why bytes could not be had.

/// Cloneable, because one failed fill may fail many readers.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// The store said so.
    #[error(transparent)]
    Store(#[from] seekway_storage::Error),
    /// Other responses hold all the memory there is; a later request may find some.
    #[error("no memory was free in time")]
    Busy,
    /// The cache is being shut down.
    #[error("shutting down")]
    ShuttingDown,
}

impl Error {
    /// What is known of the object is outdated: [`open`](crate::Cache::open) it again.
    pub fn version_changed(&self) -> bool {
        matches!(self, Self::Store(error) if error.version_changed())
    }

    /// The object does not exist.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Store(error) if error.is_not_found())
    }

    /// The store knows the key and will not give it: it is missing, or forbidden to us.
    pub(crate) fn is_refusal(&self) -> bool {
        use seekway_storage::Error::{Forbidden, NotFound};
        matches!(self, Self::Store(NotFound | Forbidden(_)))
    }

    /// The same request may succeed a little later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Store(error) => error.is_retryable(),
            Self::Busy | Self::ShuttingDown => true,
        }
    }
}
