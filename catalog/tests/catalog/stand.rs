//! A database for one test, and what is put into it.

use std::time::Duration;

use seekway_catalog::{
    Account, AccountId, Catalog, NewAccount, NewUpload, NewVideo, Options, Purpose, Quota, Role, Source,
    Upload, Via, Visibility,
};
use seekway_loadtests::pgbouncer::Pgbouncer;
use seekway_loadtests::postgres::Postgres;
use tempfile::TempDir;

/// An empty database that is open.
pub(crate) struct Stand {
    pub(crate) url: String,
    pub(crate) catalog: Catalog,
    pub(crate) engine: Engine,
}

/// What it is kept by, and gone with.
pub(crate) enum Engine {
    Sqlite(TempDir),
    Postgres(Box<Postgres>),
    /// PostgreSQL behind pgbouncer, in transaction mode.
    Pooled {
        server: Box<Postgres>,
        _pooler: Box<Pgbouncer>,
    },
}

impl Stand {
    pub(crate) async fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        // The folder between is missing.
        let url = format!("sqlite:{}", folder.path().join("data/seekway.db").display());
        Self { catalog: open(&url).await, url, engine: Engine::Sqlite(folder) }
    }

    pub(crate) async fn postgres() -> Self {
        let server = Postgres::start().expect("PostgreSQL starts");
        let url = server.database("seekway").expect("a database");
        Self { catalog: open(&url).await, url, engine: Engine::Postgres(Box::new(server)) }
    }

    pub(crate) async fn pooled() -> Self {
        let server = Postgres::start().expect("PostgreSQL starts");
        server.database("seekway").expect("a database");
        let pooler = Pgbouncer::start(&server, "seekway").expect("pgbouncer starts");
        let url = pooler.url();
        let engine = Engine::Pooled { server: Box::new(server), _pooler: Box::new(pooler) };
        Self { catalog: open(&url).await, url, engine }
    }

    /// Another program with the same database.
    pub(crate) async fn another(&self) -> Catalog {
        open(&self.url).await
    }
}

pub(crate) fn options() -> Options {
    Options { connections_max: 4, answer_within: Duration::from_secs(20) }
}

/// For a database that is to be away.
pub(crate) fn impatient() -> Options {
    Options { connections_max: 4, answer_within: Duration::from_millis(1500) }
}

pub(crate) async fn open(url: &str) -> Catalog {
    Catalog::open(&url.parse().expect("a URL"), &options()).await.expect("opens")
}

pub(crate) async fn account(catalog: &Catalog, name: &str) -> Account {
    let new = NewAccount {
        address: format!("{name}@example.org"),
        name: name.to_owned(),
        password_hash: "$argon2id$".to_owned(),
        role: Role::Creator,
    };
    catalog.accounts().create(new).await.expect("an account")
}

pub(crate) fn new_upload(account: Option<AccountId>, key: &str) -> NewUpload {
    NewUpload {
        account,
        via: Via::Tus,
        purpose: Purpose::Video,
        profile: None,
        key: key.to_owned(),
        title: "A film".to_owned(),
        metadata: "filename YS5tcDQ=".to_owned(),
        content_type: Some("video/mp4".to_owned()),
        length: None,
        concat: None,
        idempotency_key: None,
        fingerprint: None,
        lifetime_ms: 3_600_000,
    }
}

pub(crate) async fn upload(catalog: &Catalog, key: &str, length: Option<u64>) -> Upload {
    let new = NewUpload { length, ..new_upload(None, key) };
    catalog.uploads().create(new, Quota::default()).await.expect("an upload")
}

pub(crate) fn new_video(key: &str, size: u64) -> NewVideo {
    NewVideo {
        title: format!("Film {key}"),
        visibility: Visibility::Private,
        source: Source {
            key: key.to_owned(),
            etag: "\"1\"".to_owned(),
            version: None,
            size,
            sha256: Some("00".repeat(32)),
            content_type: Some("video/mp4".to_owned()),
            container: Some("mp4".to_owned()),
        },
        profile: None,
    }
}
