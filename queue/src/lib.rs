//! Doorbells: how workers hear that there may be a job. The catalog alone knows whether there is.
//!
//! A doorbell may ring twice, late, for nothing, or not at all: whoever hears one asks the catalog, and whoever hears none
//! asks it now and then all the same. So a doorbell is answered as soon as the catalog has been asked, and no broker's
//! timeout can ever be about work that is under way.
//!
//! [`Doorbells`] is the seam. [`Sql`] needs nothing but the catalog's database; the others are brokers, which differ in a
//! `Broker` each and have all that listeners share in `brokered`. Every backend passes the same suite, `tests/conformance/`.
//! [`Relay`] takes what the outbox says is ready and rings for it, and again where a ring may be lost; every worker runs one.

mod amqp;
mod brokered;
mod dead_letter;
mod redis;
mod relay;
mod sql;
mod sqs;
mod url;

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use seekway_catalog::JobId;

pub use dead_letter::{DeadLetter, Sieve};
pub use relay::Relay;
pub use sql::Sql;
pub use url::{InvalidUrl, Options, QueueUrl};

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
    /// Makes what is missing in the backend, where that is allowed. Done by itself before the first ring is heard, and again
    /// where the backend has lost what it had.
    ///
    /// # Errors
    /// What is missing, and what makes it.
    async fn ensure(&self) -> Result<(), Error>;

    /// What is missing in the backend or is not as [`ensure`](Self::ensure) would make it. Nothing is changed.
    async fn inspect(&self) -> Result<Vec<Finding>, Error>;

    /// Rings for these jobs, as one batch. Once it has returned, each ring will be heard by somebody, at least once, unless
    /// the backend loses everything it has. After an error some may have been rung for.
    async fn ring(&self, jobs: &[JobId]) -> Result<(), Error>;

    /// Waits for a ring, or for as long as nobody should rely on rings alone: then it is one without a job. Dropping the
    /// future loses none.
    async fn heard(&self) -> Result<Ring, Error>;

    /// The catalog has been asked because of it, so it is not to be heard again. Done again, or too late, it does nothing.
    async fn answered(&self, ring: Ring) -> Result<(), Error>;

    /// Tells whoever looks after the backend that a job is dead, in the backend's place for what came to nothing.
    async fn bury(&self, job: JobId, problem: &str) -> Result<(), Error>;

    /// Goes once through all that came to nothing, and deletes what the sieve has done with. The backend may give a letter
    /// twice, and a crash leaves the last one there.
    async fn sift(&self, sieve: &mut dyn Sieve) -> Result<(), Error>;

    /// How much there is.
    async fn depth(&self) -> Result<Depth, Error>;

    /// Ends what it keeps running, and leaves what was not answered to others. Nothing is heard here any more: who waits is
    /// told so by an error.
    async fn close(&self);
}

/// Something in a backend that is not as it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What it is.
    pub what: String,
    /// The command, or the setting, that mends it.
    pub cure: String,
}

/// How much there is: rings of a broker, jobs of the catalog. `None` is what the backend does not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// What waits to be heard, or claimed.
    pub waiting: u64,
    /// How long the oldest of it has waited.
    pub oldest: Option<Duration>,
    /// What was heard and is not answered, or is being worked on.
    pub in_flight: Option<u64>,
    /// What came to nothing.
    pub dead: u64,
}

/// Why a backend does not serve. The catalog can be asked all the same.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Error(pub String);

// === impl Ring ===

impl Ring {
    /// The one that has somebody look because it is time to.
    pub(crate) fn of_time() -> Self {
        Self { job: None, receipt: String::new() }
    }
}

// === impl Error ===

impl From<seekway_catalog::Error> for Error {
    fn from(error: seekway_catalog::Error) -> Self {
        Self(error.chain())
    }
}
