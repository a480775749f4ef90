//! A backend with its server, for one run of the suite. Another backend is another [`Server`], and another arm in each
//! `match`.

use std::sync::Arc;
use std::time::Duration;

use seekway_catalog::{Catalog, Error, JobId, NewJob, NewVideo, Options, Source, Visibility};
use seekway_loadtests::moto::Moto;
use seekway_loadtests::pgbouncer::Pgbouncer;
use seekway_loadtests::postgres::Postgres;
use seekway_loadtests::rabbitmq::RabbitMq;
use seekway_loadtests::redis::Redis;
use seekway_queue::{Doorbells, Options as QueueOptions, QueueUrl, Ring};
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

use crate::amqp::Amqp;

/// What does not come within this never comes.
pub(crate) const HANGS_AFTER: Duration = Duration::from_mins(1);
/// How often is looked where nothing is heard.
pub(crate) const LOOK_EVERY: Duration = Duration::from_millis(200);
/// How often where only rings are to be proved.
pub(crate) const HOUR: Duration = Duration::from_hours(1);
/// An unanswered ring is heard again after this.
pub(crate) const OVERDUE: Duration = Duration::from_secs(1);

const SQL: &str = "sql:";

/// A database and a backend.
pub(crate) struct Stand {
    url: String,
    queue: String,
    overdue: Duration,
    pub(crate) server: Server,
}

/// What it runs on, and is gone with.
pub(crate) enum Server {
    Sqlite(TempDir),
    Postgres(Box<Postgres>),
    Pooled { pooler: Pgbouncer, server: Box<Postgres> },
    Redis { server: Box<Redis>, _catalog: TempDir },
    Moto { server: Box<Moto>, _catalog: TempDir },
    RabbitMq { server: Box<RabbitMq>, _catalog: TempDir },
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
        Self { url, queue: SQL.to_owned(), overdue: OVERDUE, server: Server::Sqlite(folder) }
    }

    pub(crate) fn moto() -> Self {
        let server = Moto::start().expect("moto starts");
        let Self { url, server: Server::Sqlite(catalog), .. } = Self::sqlite() else { unreachable!() };
        let queue = format!("sqs:{}", server.queue("video-processing"));
        Self {
            url,
            queue,
            overdue: OVERDUE,
            server: Server::Moto { server: Box::new(server), _catalog: catalog },
        }
    }

    pub(crate) fn rabbitmq() -> Self {
        let server = RabbitMq::start().expect("RabbitMQ starts");
        let Self { url, server: Server::Sqlite(catalog), .. } = Self::sqlite() else { unreachable!() };
        let queue = server.url();
        Self {
            url,
            queue,
            overdue: OVERDUE,
            server: Server::RabbitMq { server: Box::new(server), _catalog: catalog },
        }
    }

    pub(crate) fn redis() -> Self {
        let server = Redis::start().expect("Redis starts");
        let Self { url, server: Server::Sqlite(catalog), .. } = Self::sqlite() else { unreachable!() };
        let queue = server.url();
        Self {
            url,
            queue,
            overdue: OVERDUE,
            server: Server::Redis { server: Box::new(server), _catalog: catalog },
        }
    }

    pub(crate) fn postgres() -> Self {
        let server = Postgres::start().expect("PostgreSQL starts");
        Self {
            url: server.database("seekway").expect("a database"),
            queue: SQL.to_owned(),
            overdue: OVERDUE,
            server: Server::Postgres(Box::new(server)),
        }
    }

    pub(crate) fn pooled() -> Self {
        let server = Postgres::start().expect("PostgreSQL starts");
        server.database("seekway").expect("a database");
        let pooler = Pgbouncer::start(&server, "seekway").expect("pgbouncer starts");
        Self {
            url: pooler.url(),
            queue: SQL.to_owned(),
            overdue: OVERDUE,
            server: Server::Pooled { pooler, server: Box::new(server) },
        }
    }

    /// One more process.
    pub(crate) async fn process(&self) -> Process {
        // With a broker a ring is what has them look, and nothing else.
        let every = if self.queue == SQL { LOOK_EVERY } else { HOUR };
        self.process_that_looks(every).await
    }

    /// One that looks as often by itself.
    pub(crate) async fn process_that_looks(&self, every: Duration) -> Process {
        let process = self.begin(every).await;
        process.doorbells.ensure().await.expect("makes what is missing");
        process
    }

    /// One that has made nothing yet.
    pub(crate) async fn process_without_ensuring(&self) -> Process {
        self.begin(HOUR).await
    }

    async fn begin(&self, every: Duration) -> Process {
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
        Process { doorbells: self.doorbells(&catalog, every), catalog }
    }

    fn doorbells(&self, catalog: &Catalog, look_every: Duration) -> Arc<dyn Doorbells> {
        let queue: QueueUrl = self.queue.parse().expect("a URL");
        let options = QueueOptions {
            look_every,
            overdue: self.overdue,
            aws_keys: Some(("a".to_owned(), "b".to_owned())),
        };
        queue.open(catalog, &options)
    }

    /// Rings are heard again after another time.
    pub(crate) fn overdue_after(self, overdue: Duration) -> Self {
        Self { overdue, ..self }
    }

    /// Processes are those of another user of the broker from now on.
    pub(crate) fn log_in(&mut self, user: &str) {
        let (scheme, rest) = self.queue.split_once("://").expect("a URL");
        let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
        self.queue = format!("{scheme}://{user}@{place}");
    }

    /// Has something in the queue that is no ring.
    pub(crate) async fn publish_garbage(&self) {
        match &self.server {
            Server::Moto { server, .. } => {
                crate::sqs::publish(&server.queue("video-processing"), "what ever").await;
            }
            Server::RabbitMq { server, .. } => {
                let channel = Amqp::open(&server.url()).await;
                channel.publish("video_processing", "what ever").await;
            }
            Server::Redis { server, .. } => {
                let answer = server.command(&["XADD", "seekway:jobs", "*", "what", "ever"]);
                assert!(answer.expect("adds").starts_with('$'));
            }
            _ => unreachable!("no broker"),
        }
    }

    /// What came to nothing, in the broker's words.
    pub(crate) async fn dead_letters(&self) -> String {
        match &self.server {
            Server::Moto { server, .. } => crate::sqs::all(&server.queue("video-processing-dlq")).await,
            Server::RabbitMq { server, .. } => {
                Amqp::open(&server.url()).await.all("video_processing.dlq").await
            }
            Server::Redis { server, .. } => {
                server.command(&["XRANGE", "seekway:jobs:dead", "-", "+"]).expect("serves")
            }
            _ => unreachable!("no broker"),
        }
    }

    /// Has a broker forget what it has.
    pub(crate) fn lose_everything(&mut self) {
        match &mut self.server {
            Server::Redis { server, .. } => server.restart().expect("Redis starts again"),
            Server::Moto { server, .. } => server.restart().expect("moto starts again"),
            Server::RabbitMq { server, .. } => server.restart_empty().expect("RabbitMQ starts again"),
            _ => unreachable!("no broker"),
        }
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
            Server::Redis { server, .. } => {
                server.pause();
                then.await;
                server.restart().expect("Redis starts again");
            }
            Server::Moto { server, .. } => {
                server.pause();
                then.await;
                server.restart().expect("moto starts again");
            }
            Server::RabbitMq { server, .. } => {
                server.pause();
                then.await;
                server.restart().expect("RabbitMQ starts again");
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
