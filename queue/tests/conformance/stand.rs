//! A backend with its server, for one run of the suite. Another backend is another [`Server`], and another arm in each
//! `match`.

use std::sync::Arc;
use std::time::Duration;

use seekway_catalog::{Catalog, Error, JobId, NewJob, NewVideo, Options, Source, Visibility};
use seekway_loadtests::pgbouncer::Pgbouncer;
use seekway_loadtests::postgres::Postgres;
use seekway_queue::{Doorbells, Ring, Sql};
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

/// What does not come within this never comes.
pub(crate) const HANGS_AFTER: Duration = Duration::from_mins(1);
/// How often is looked where nothing is heard.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A database and a backend.
pub(crate) struct Stand {
    url: String,
    server: Server,
}

/// What it runs on, and is gone with.
enum Server {
    Sqlite(#[expect(dead_code, reason = "the folder goes with it")] TempDir),
    Postgres(Box<Postgres>),
    Pooled { pooler: Pgbouncer, server: Box<Postgres> },
}

/// A process that works with it: what it knows, and what it hears.
#[derive(Clone)]
pub(crate) struct Process {
    pub(crate) catalog: Catalog,
    pub(crate) doorbells: Arc<dyn Doorbells>,
}

// === impl Stand ===

impl Stand {
    pub(crate) fn sqlite() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite:{}", folder.path().join("seekway.db").display());
        Self { url, server: Server::Sqlite(folder) }
    }

    pub(crate) fn postgres() -> Self {
        let server = Postgres::start().expect("PostgreSQL starts");
        Self {
            url: server.database("seekway").expect("a database"),
            server: Server::Postgres(Box::new(server)),
        }
    }

    pub(crate) fn pooled() -> Self {
        let server = Postgres::start().expect("PostgreSQL starts");
        server.database("seekway").expect("a database");
        let pooler = Pgbouncer::start(&server, "seekway").expect("pgbouncer starts");
        Self { url: pooler.url(), server: Server::Pooled { pooler, server: Box::new(server) } }
    }

    /// One more process.
    pub(crate) async fn process(&self) -> Process {
        self.process_that_looks(LOOK_EVERY).await
    }

    /// One that looks as often by itself.
    pub(crate) async fn process_that_looks(&self, every: Duration) -> Process {
        // What is asked of a server that is away fails soon.
        let options = Options { connections_max: 6, answer_within: Duration::from_millis(1500) };
        let mut tries = 0;
        let catalog = loop {
            match Catalog::open(&self.url.parse().expect("a URL"), &options).await {
                Ok(catalog) => break catalog,
                Err(error) => assert!(error.is_retryable() && tries < 10, "{error}"),
            }
            tries += 1;
        };
        Process { doorbells: Arc::new(Sql::new(catalog.clone(), every)), catalog }
    }

    /// Has the backend's server silent while `then` goes on, and begins it anew where it has one.
    pub(crate) async fn away_while(&mut self, then: impl Future<Output = ()>) {
        match &mut self.server {
            Server::Sqlite(_) => then.await,
            Server::Postgres(server) => {
                server.pause();
                then.await;
                server.restart().expect("PostgreSQL starts again");
            }
            Server::Pooled { pooler, server } => {
                pooler.pause();
                then.await;
                server.restart().expect("PostgreSQL starts again");
                pooler.resume();
            }
        }
    }
}

// === impl Process ===

impl Process {
    /// Adds jobs, each for a video of its own, as soon as the database takes them.
    pub(crate) async fn add(&self, count: usize) -> Vec<JobId> {
        let mut jobs = Vec::new();
        let began = Instant::now();
        while jobs.len() < count {
            match self.add_one().await {
                Ok(job) => jobs.push(job),
                Err(error) => assert!(began.elapsed() < HANGS_AFTER, "{error}"),
            }
        }
        jobs
    }

    async fn add_one(&self) -> Result<JobId, Error> {
        let source = Source {
            key: format!("videos/{:016x}", fastrand::u64(..)),
            etag: "\"1\"".to_owned(),
            version: None,
            size: 1,
            sha256: None,
            content_type: None,
            container: None,
        };
        let video =
            NewVideo { title: "A film".to_owned(), visibility: Visibility::Private, profile: None, source };
        let video = self.catalog.videos().add(None, &video).await?.expect("no other has the key");
        let new = NewJob { video, profile: "default".to_owned(), rendition: None, priority: 0 };
        self.catalog.jobs().add(&new).await
    }

    /// Waits for a ring.
    pub(crate) async fn hear(&self) -> Ring {
        let heard = timeout(HANGS_AFTER, self.doorbells.heard()).await;
        heard.expect("something is heard").expect("the backend serves")
    }
}
