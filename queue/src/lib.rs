//! Doorbells: how workers hear that there may be a job. The catalog alone knows whether there is.
//!
//! A doorbell may ring twice, late, for nothing, or not at all: whoever hears one asks the catalog, and whoever hears none
//! asks it now and then all the same. So a doorbell is answered as soon as the catalog has been asked, and no broker's
//! timeout can ever be about work that is under way.
//!
//! [`Doorbells`] is the seam. [`Sql`] needs nothing but the catalog's database. Every backend passes the same suite,
//! `tests/conformance/`. [`Relay`] takes what the outbox says is ready and rings for it; every gateway and worker runs one.

mod relay;
mod sql;

use std::fmt::Debug;

use async_trait::async_trait;
use seekway_catalog::JobId;

pub use relay::Relay;
pub use sql::Sql;

/// One ring. Unless it is answered it is heard again: after a while, or once the listener's connection is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ring {
    /// Which job it is about, where that is known: a hint as all of it is.
    pub job: Option<JobId>,
    /// What the backend knows it by, in its own words.
    pub(crate) receipt: String,
}

/// How workers are told that there may be a job. Several listeners share the rings: each is heard by one of them, or by
/// more where that costs nothing.
///
/// A backend reconnects by itself; while it cannot, methods answer with an error soon and callers come back.
#[async_trait]
pub trait Doorbells: Debug + Send + Sync + 'static {
    /// Rings for these jobs, as one batch. Once it has returned, each ring will be heard by somebody, at least once, unless
    /// the backend loses everything it has. After an error some may have been rung for.
    async fn ring(&self, jobs: &[JobId]) -> Result<(), Error>;

    /// Waits for a ring, or for as long as nobody should rely on rings alone: then it is one without a job. Dropping the
    /// future loses none.
    async fn heard(&self) -> Result<Ring, Error>;

    /// The catalog has been asked because of it, so it is not to be heard again. Done again, or too late, it does nothing.
    async fn answered(&self, ring: Ring) -> Result<(), Error>;

    /// Ends what it keeps running, and leaves what was not answered to others. Nothing is heard here any more: who waits is
    /// told so by an error.
    async fn close(&self);
}

/// Why a backend does not serve. The catalog can be asked all the same.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

impl From<seekway_catalog::Error> for Error {
    fn from(error: seekway_catalog::Error) -> Self {
        Self(error.chain())
    }
}
