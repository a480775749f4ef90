//! What gateways and workers need: a database, a broker and a store, each a process that can be killed, paused and reached
//! by ways that can be cut.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use seekway_catalog::{Catalog, Options};
use seekway_loadtests::moto::Moto;
use seekway_loadtests::postgres::Postgres;
use seekway_loadtests::rabbitmq::RabbitMq;
use seekway_loadtests::redis::Redis;
use seekway_loadtests::seaweed::SeaweedFs;
use seekway_loadtests::way::{Traffic, Way};
use seekway_queue::{Doorbells, Options as QueueOptions, QueueUrl};
use seekway_storage::ObjectStore;
use seekway_storage::s3::{S3Config, S3Store, StaticCredentials};
use tempfile::TempDir;

use crate::amqp::Amqp;

/// How workers hear of jobs, and where jobs are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Backend {
    Sqlite,
    Postgres,
    Redis,
    RabbitMq,
    Sqs,
}

pub(crate) struct Servers {
    pub(crate) folder: TempDir,
    /// `None` with SQLite, which is a file.
    pub(crate) postgres: Option<Postgres>,
    pub(crate) broker: Broker,
    seaweed: SeaweedFs,
    bucket: String,
    database_url: String,
}

pub(crate) enum Broker {
    None,
    Redis(Box<Redis>),
    RabbitMq(Box<RabbitMq>),
    Moto(Box<Moto>),
}

/// One process's ways to the servers.
pub(crate) struct Ways {
    database: Option<Way>,
    broker: Option<Way>,
    store: Way,
}

/// A server that processes reach by a way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    Database,
    Broker,
    Store,
}

const QUEUE: &str = "video-processing";
const DEAD_QUEUE: &str = "video-processing-dlq";

// === impl Backend ===

impl Backend {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Redis => "redis",
            Self::RabbitMq => "rabbitmq",
            Self::Sqs => "sqs",
        }
    }

    pub(crate) fn has_broker(self) -> bool {
        matches!(self, Self::Redis | Self::RabbitMq | Self::Sqs)
    }
}

// === impl Servers ===

impl Servers {
    pub(crate) async fn start(backend: Backend) -> Self {
        let folder = TempDir::new().expect("a folder");
        let postgres = (backend != Backend::Sqlite).then(|| Postgres::start().expect("PostgreSQL starts"));
        let database_url = match &postgres {
            Some(postgres) => postgres.database("seekway").expect("a database"),
            None => format!("sqlite:{}", folder.path().join("seekway.db").display()),
        };
        let broker = match backend {
            Backend::Sqlite | Backend::Postgres => Broker::None,
            Backend::Redis => {
                let options = ["--appendonly", "yes", "--appendfsync", "always"];
                Broker::Redis(Box::new(Redis::start_with(&options).expect("Redis starts")))
            }
            Backend::RabbitMq => Broker::RabbitMq(Box::new(RabbitMq::start().expect("RabbitMQ starts"))),
            Backend::Sqs => Broker::Moto(Box::new(Moto::start().expect("moto starts"))),
        };
        let seaweed = SeaweedFs::start_in_memory().await.expect("SeaweedFS starts");
        let bucket = seaweed.new_bucket().await.expect("a bucket").name().to_owned();
        Self { folder, postgres, broker, seaweed, bucket, database_url }
    }

    /// Ways for one more process.
    pub(crate) async fn ways(&self) -> Ways {
        let to = async |address: SocketAddr| Way::to(address).await.expect("a way");
        let database = match &self.postgres {
            Some(postgres) => Some(to(postgres.address()).await),
            None => None,
        };
        let broker = match self.broker.address() {
            Some(address) => Some(to(address).await),
            None => None,
        };
        Ways { database, broker, store: to(self.seaweed.address()).await }
    }

    /// What has a process use them.
    pub(crate) fn settings(&self, ways: &Ways) -> Vec<(&'static str, String)> {
        let database_url = match (&ways.database, &self.postgres) {
            (Some(way), Some(postgres)) => {
                self.database_url.replace(&postgres.address().to_string(), &way.address().to_string())
            }
            _ => self.database_url.clone(),
        };
        vec![
            ("DATABASE_URL", database_url),
            ("QUEUE_URL", self.broker.url(ways.broker.as_ref().map(Way::address))),
            ("STORAGE_BACKEND", "s3".to_owned()),
            ("S3_BUCKET", self.bucket.clone()),
            ("S3_ENDPOINT", format!("http://{}", ways.store.address())),
            ("S3_FORCE_PATH_STYLE", "true".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("AWS_ACCESS_KEY_ID", self.seaweed.access_key().to_owned()),
            ("AWS_SECRET_ACCESS_KEY", self.seaweed.secret_key().to_owned()),
            ("SEEKWAY_S3_READ_TIMEOUT", "2s".to_owned()),
        ]
    }

    /// The catalog, by no way.
    pub(crate) async fn catalog(&self) -> Catalog {
        let url = self.database_url.parse().expect("a URL");
        Catalog::open(&url, &Options::default()).await.expect("opens")
    }

    /// The store, by no way.
    pub(crate) async fn store(&self) -> Arc<dyn ObjectStore> {
        let credentials = StaticCredentials {
            access_key_id: self.seaweed.access_key().to_owned(),
            secret_access_key: self.seaweed.secret_key().to_owned(),
            session_token: None,
        };
        let config = S3Config {
            endpoint: Some(self.seaweed.endpoint()),
            region: Some("us-east-1".to_owned()),
            force_path_style: true,
            credentials: Some(credentials),
            read_timeout: Duration::from_secs(20),
            ..S3Config::new(&self.bucket)
        };
        Arc::new(S3Store::connect(config).await)
    }

    /// The doorbells, by no way: what it hears workers do not.
    pub(crate) async fn doorbells(&self, catalog: &Catalog) -> Result<Arc<dyn Doorbells>, String> {
        let url: QueueUrl = self.broker.url(self.broker.address()).parse().expect("a URL");
        let options = QueueOptions {
            look_every: Duration::from_secs(1),
            overdue: Duration::from_mins(1),
            aws_keys: Some(("a".to_owned(), "b".to_owned())),
        };
        let doorbells = url.open(catalog, &options);
        doorbells.ensure().await.map_err(|error| error.to_string())?;
        Ok(doorbells)
    }
}

// === impl Broker ===

impl Broker {
    pub(crate) fn is_there(&self) -> bool {
        !matches!(self, Self::None)
    }

    fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::None => None,
            Self::Redis(server) => Some(server.address()),
            Self::RabbitMq(server) => Some(server.address()),
            Self::Moto(server) => Some(server.address()),
        }
    }

    fn url(&self, by: Option<SocketAddr>) -> String {
        match (self, by) {
            (Self::Redis(_), Some(by)) => format!("redis://{by}"),
            (Self::RabbitMq(_), Some(by)) => format!("amqp://guest:guest@{by}"),
            (Self::Moto(server), Some(by)) => {
                format!("sqs:{}", server.queue(QUEUE).replace(&server.address().to_string(), &by.to_string()))
            }
            _ => "sql:".to_owned(),
        }
    }

    pub(crate) fn pause(&self) {
        match self {
            Self::None => {}
            Self::Redis(server) => server.pause(),
            Self::RabbitMq(server) => server.pause(),
            Self::Moto(server) => server.pause(),
        }
    }

    pub(crate) fn resume(&self) {
        match self {
            Self::None => {}
            Self::Redis(server) => server.resume(),
            Self::RabbitMq(server) => server.resume(),
            Self::Moto(server) => server.resume(),
        }
    }

    /// Kills it, and starts it again. Whether it still has what it had.
    pub(crate) fn restart(&mut self) -> bool {
        match self {
            Self::None => {}
            Self::Redis(server) => server.restart().expect("Redis starts again"),
            Self::RabbitMq(server) => server.restart().expect("RabbitMQ starts again"),
            // It keeps nothing on a disk.
            Self::Moto(server) => server.restart().expect("moto starts again"),
        }
        !matches!(self, Self::Moto(_))
    }

    /// Has it forget all that it has, queues and dead letters too.
    pub(crate) fn empty(&mut self) {
        match self {
            Self::None => {}
            Self::Redis(server) => {
                let answer = server.command(&["FLUSHALL"]);
                assert_eq!(answer.expect("serves"), "+OK\r\n");
            }
            Self::RabbitMq(server) => server.restart_empty().expect("RabbitMQ starts again"),
            Self::Moto(server) => server.restart().expect("moto starts again"),
        }
    }

    /// Has something in the queue that is no ring.
    pub(crate) async fn publish_garbage(&self, garbage: &str) {
        match self {
            Self::None => {}
            Self::Redis(server) => {
                let answer = server.command(&["XADD", "seekway:jobs", "*", "what", garbage]);
                assert!(answer.expect("adds").starts_with('$'));
            }
            Self::RabbitMq(server) => {
                Amqp::open(&server.url()).await.publish("video_processing", garbage).await;
            }
            Self::Moto(server) => crate::sqs::publish(&server.queue(QUEUE), garbage).await,
        }
    }

    /// What came to nothing, in its words.
    pub(crate) async fn dead_letters(&self) -> String {
        match self {
            Self::None => String::new(),
            Self::Redis(server) => {
                server.command(&["XRANGE", "seekway:jobs:dead", "-", "+"]).expect("serves")
            }
            Self::RabbitMq(server) => Amqp::open(&server.url()).await.all("video_processing.dlq").await,
            Self::Moto(server) => crate::sqs::all(&server.queue(DEAD_QUEUE)).await,
        }
    }

    /// Deletes the queue with all that is in it; the dead letters stay.
    pub(crate) async fn delete_queue(&self) {
        match self {
            Self::Redis(server) => drop(server.command(&["DEL", "seekway:jobs"]).expect("serves")),
            Self::RabbitMq(server) => Amqp::open(&server.url()).await.delete("video_processing").await,
            Self::None | Self::Moto(_) => {}
        }
    }
}

// === impl Ways ===

impl Ways {
    pub(crate) fn set(&self, place: Place, traffic: Traffic) {
        let way = match place {
            Place::Database => self.database.as_ref(),
            Place::Broker => self.broker.as_ref(),
            Place::Store => Some(&self.store),
        };
        way.inspect(|way| way.set(traffic));
    }

    pub(crate) fn open(&self) {
        for place in [Place::Database, Place::Broker, Place::Store] {
            self.set(place, Traffic::Open);
        }
    }
}
