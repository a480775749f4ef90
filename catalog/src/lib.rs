//! What Seekway knows besides bytes: accounts, videos, uploads and what is to be done, in PostgreSQL or SQLite.
//!
//! [`Catalog`] is one database behind one API. Each subject has a file and a handle ([`Catalog::uploads`], …) whose
//! methods are one statement or one short transaction each: a method that failed has changed nothing, one whose
//! future was dropped has changed everything or nothing. Times are the database's, in milliseconds since 1970, so that
//! replicas need not agree on clocks. States and the ways between them are types ([`State`]).
//!
//! Nothing here knows HTTP, object stores or ffmpeg.

mod accounts;
mod api_keys;
mod assets;
mod changes;
mod database;
mod database_url;
mod error;
mod hints;
mod ids;
mod jobs;
mod login_attempts;
mod outbox;
mod schema;
mod sessions;
mod signing_keys;
mod state;
mod uploads;
mod videos;
mod votes;

use std::time::Duration;

use database::Database;

pub use accounts::{Account, AccountPatch, Accounts, Allowed, NewAccount, Quota, Role};
pub use api_keys::{ApiKey, ApiKeys, KeyOwner};
pub use assets::{Asset, AssetKind, AssetState, Assets, NewAsset};
pub use changes::{Change, Changes};
pub use database_url::{DatabaseUrl, InvalidUrl};
pub use error::{Error, SharedError};
pub use hints::Hints;
pub use ids::{AccountId, ApiKeyId, AssetId, JobId, UploadId, VideoId};
pub use jobs::{Backlog, Failure, Job, JobFilter, JobState, Jobs, Lease, NewJob, Outstanding, Published};
pub use login_attempts::LoginAttempts;
pub use outbox::{Outbox, OutboxRow};
pub use sessions::{Session, Sessions};
pub use signing_keys::{NewSigningKey, SigningKey, SigningKeys};
pub use state::State;
pub use uploads::{
    Abort, Append, Committed, Complete, Completing, Concat, Finished, Held, Made, NewUpload, Part, Purpose,
    Remainder, Upload, UploadState, Uploads, Via,
};
pub use videos::{
    Access, Event, Filter, NewVideo, Patch, Phase, Progress, Source, Video, VideoState, Videos, Viewer,
    Visibility,
};
pub use votes::{Tally, Vote, Votes};

/// How the database is asked.
#[derive(Debug, Clone)]
pub struct Options {
    /// Connections at a time. SQLite has this many for reading and one for writing.
    pub connections_max: u32,
    /// How long one statement, or getting a connection for it, may take; after that the error is retryable.
    pub answer_within: Duration,
}

/// One database. Clones share its connections.
#[derive(Debug, Clone)]
pub struct Catalog {
    database: Database,
}

// === impl Options ===

impl Default for Options {
    fn default() -> Self {
        Self { connections_max: 8, answer_within: Duration::from_secs(5) }
    }
}

// === impl Catalog ===

impl Catalog {
    /// Connects, and brings the schema up to date; replicas that start together do so one after the other.
    ///
    /// # Errors
    /// [`Error::is_retryable`] when the database cannot be reached; [`Error::NewerSchema`] when a newer Seekway has
    /// been here.
    pub async fn open(url: &DatabaseUrl, options: &Options) -> Result<Self, Error> {
        let database = Database::connect(url, options).await?;
        schema::migrate(&database, schema::latest()).await?;
        Ok(Self { database })
    }

    /// Closes every connection, after what is under way. On SQLite the write-ahead log is folded into the file.
    pub async fn close(&self) {
        self.database.close().await;
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), Error> {
        self.database.rows("SELECT 1", Vec::new()).await.map(drop)
    }

    /// Whether a video or an asset has the object with that key, also one that is being deleted.
    pub async fn knows_key(&self, key: &str) -> Result<bool, Error> {
        let sql = "SELECT 1 AS known FROM videos WHERE source_key = $1 \
                   UNION ALL SELECT 1 FROM assets WHERE source_key = $1";
        Ok(!self.database.rows(sql, database::args![key]).await?.is_empty())
    }

    /// People and what they may do.
    pub fn accounts(&self) -> Accounts<'_> {
        Accounts(&self.database)
    }

    /// Who is logged in.
    pub fn sessions(&self) -> Sessions<'_> {
        Sessions(&self.database)
    }

    /// Keys of machines.
    pub fn api_keys(&self) -> ApiKeys<'_> {
        ApiKeys(&self.database)
    }

    /// Keys that tokens are signed with.
    pub fn signing_keys(&self) -> SigningKeys<'_> {
        SigningKeys(&self.database)
    }

    /// How often somebody has tried to log in.
    pub fn login_attempts(&self) -> LoginAttempts<'_> {
        LoginAttempts(&self.database)
    }

    /// What people uploaded.
    pub fn videos(&self) -> Videos<'_> {
        Videos(&self.database)
    }

    /// Watermarks, intros and outros.
    pub fn assets(&self) -> Assets<'_> {
        Assets(&self.database)
    }

    /// What is being uploaded.
    pub fn uploads(&self) -> Uploads<'_> {
        Uploads(&self.database)
    }

    /// What workers are to make of videos.
    pub fn jobs(&self) -> Jobs<'_> {
        Jobs(&self.database)
    }

    /// What is to be done outside of the database because of something in it.
    pub fn outbox(&self) -> Outbox<'_> {
        Outbox(&self.database)
    }

    /// What is thought of videos.
    pub fn votes(&self) -> Votes<'_> {
        Votes(&self.database)
    }

    /// What every replica must hear of: who may see what.
    pub fn changes(&self) -> Changes<'_> {
        Changes(&self.database)
    }
}
