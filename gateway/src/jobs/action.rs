//! What can be done with a job, by the API and by the command line alike.

use seekway_catalog::{Catalog, Error, JobId};

/// What can be done with a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobAction {
    /// It is given up.
    Cancel,
    /// Dead or cancelled, it is queued again, with its counts at zero.
    Redrive,
    /// It is tried again now, and not when its pause is over.
    Hurry,
}

// === impl JobAction ===

impl JobAction {
    /// The one with that name, by which paths and commands call it.
    pub(crate) fn parse(name: &str) -> Option<Self> {
        match name {
            "cancel" => Some(Self::Cancel),
            "redrive" => Some(Self::Redrive),
            "hurry" => Some(Self::Hurry),
            _ => None,
        }
    }

    /// Does it.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::Conflict`] and [`Error::IllegalTransition`] where the job stands elsewhere.
    pub(crate) async fn apply(self, catalog: &Catalog, id: JobId) -> Result<(), Error> {
        match self {
            Self::Cancel => catalog.jobs().cancel(id).await.map(drop),
            Self::Redrive => catalog.jobs().redrive(id).await,
            Self::Hurry => catalog.jobs().hurry(id).await,
        }
    }
}
