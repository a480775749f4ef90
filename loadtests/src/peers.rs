//! The servers that are compared, each started in the same place with the same means.
//!
//! Every one serves the same films under `/media/` over HTTP/1.1 without TLS, has as many workers as this process may
//! use cores, writes no access log, and keeps connections open. Those that cache may keep the same number of bytes.
//!
//! Those that take uploads have a bucket each, of the same `SeaweedFS`.

mod films;
mod nginx;
mod tus_server;
mod varnish;

use std::{net::SocketAddr, path::Path};

use tempfile::TempDir;

pub use self::films::Films;
use self::{tus_server::TusServer, varnish::Varnish};
use crate::{
    Error, child, footprint,
    gateway::{Gateway, Launch, TUS_PATH},
    load::{Film, Target, Uploads},
    nginx::Nginx,
    origin::Origin,
    processes,
    seaweed::{Bucket, Checked, SeaweedFs},
};

/// The bucket of the films; every peer has it as the first segment of the path.
pub const BUCKET: &str = "media";

/// A kind of server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The shaped origin itself, without anything in front of it.
    Origin,
    /// Seekway in front of the origin.
    SeekwayS3,
    /// Seekway with files on a tmpfs.
    SeekwayLocal,
    /// nginx with the same files, sent by `sendfile`.
    NginxStatic,
    /// nginx in front of the origin: `slice` and `proxy_cache`, on a tmpfs.
    NginxSlice,
    /// Varnish in front of the origin.
    Varnish,
    /// Seekway in front of `SeaweedFS`, taking uploads.
    SeekwayUploads,
    /// `@tus/server` in front of `SeaweedFS`.
    TusServer,
}

/// What peers are started on.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// The gateway's binary.
    pub gateway: &'a Path,
    /// What those in front of an origin have behind them.
    pub origin: &'a Origin,
    /// The files of those that serve files.
    pub films: &'a Films,
    /// What each that caches may keep.
    pub cache_bytes: u64,
    /// Threads or processes that serve clients, in place of one for each core.
    pub workers: Option<usize>,
    /// What those that take uploads have behind them.
    pub seaweed: Option<&'a SeaweedFs>,
}

/// A running server. Dropping it stops it; it also ends with the thread that started it.
#[derive(Debug)]
pub struct Peer {
    kind: Kind,
    server: Server,
    target: Target,
    /// Of what it has behind it.
    origin_port: u16,
    /// Where its uploads end.
    bucket: Option<Bucket>,
}

#[derive(Debug)]
enum Server {
    Origin,
    Gateway(Gateway),
    /// With its cache, if it has one.
    Nginx(Nginx, Option<TempDir>),
    Varnish(Varnish),
    Tus(TusServer),
}

/// What a peer weighs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weight {
    /// Of its processes, and of its cache where that is files on a tmpfs. None for the origin, which is a part of
    /// this process.
    pub memory_bytes: Option<u64>,
    /// Kernel memory of its sockets.
    pub socket_bytes: u64,
}

// === impl Kind ===

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 8] = [
        Self::Origin,
        Self::SeekwayS3,
        Self::SeekwayLocal,
        Self::NginxStatic,
        Self::NginxSlice,
        Self::Varnish,
        Self::SeekwayUploads,
        Self::TusServer,
    ];

    /// What it is called in commands and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::SeekwayS3 => "seekway-s3",
            Self::SeekwayLocal => "seekway-local",
            Self::NginxStatic => "nginx-static",
            Self::NginxSlice => "nginx-slice",
            Self::Varnish => "varnish",
            Self::SeekwayUploads => "seekway-uploads",
            Self::TusServer => "tus-server",
        }
    }

    /// Whether it serves files.
    pub const fn serves_files(self) -> bool {
        matches!(self, Self::SeekwayLocal | Self::NginxStatic)
    }

    /// Whether it takes uploads.
    pub const fn takes_uploads(self) -> bool {
        matches!(self, Self::SeekwayUploads | Self::TusServer)
    }
}

// === impl Peer ===

impl Peer {
    /// Starts a server and waits until it answers.
    pub async fn start(kind: Kind, ground: &Ground<'_>) -> Result<Self, Error> {
        let Ground { origin, films, cache_bytes, workers, .. } = *ground;
        if kind.takes_uploads() {
            return Self::start_for_uploads(kind, ground).await;
        }
        let server = match kind {
            Kind::Origin => Server::Origin,
            Kind::SeekwayS3 => Server::Gateway(Gateway::start(&seekway(ground, &[])).await?),
            Kind::SeekwayLocal => {
                let folder = films.folder().display().to_string();
                let settings = [("STORAGE_BACKEND", "local"), ("LOCAL_STORAGE_DIR", &folder)];
                Server::Gateway(Gateway::start(&seekway(ground, &settings)).await?)
            }
            Kind::NginxStatic => Server::Nginx(nginx::files(films.folder(), workers).await?, None),
            Kind::NginxSlice => {
                let cache = child::folder_in_memory("nginx-cache")?;
                let nginx = nginx::cache(origin.address(), cache.path(), cache_bytes, workers).await?;
                Server::Nginx(nginx, Some(cache))
            }
            Kind::Varnish => Server::Varnish(Varnish::start(origin.address(), cache_bytes, workers).await?),
            Kind::SeekwayUploads | Kind::TusServer => unreachable!("they were started above"),
        };
        let address = server.address().unwrap_or_else(|| origin.address());
        let target = Target::of_patterns(address, &format!("/{BUCKET}/"), films.count(), films.bytes());
        Ok(Self { kind, server, target, origin_port: origin.address().port(), bucket: None })
    }

    async fn start_for_uploads(kind: Kind, ground: &Ground<'_>) -> Result<Self, Error> {
        let seaweed = ground.seaweed.expect("a scenario of uploads has one");
        let bucket = seaweed.new_bucket().await?;
        let (server, path) = if kind == Kind::TusServer {
            (Server::Tus(TusServer::start(seaweed, &bucket).await?), tus_server::PATH)
        } else {
            let launch = Launch::with_uploads(ground.gateway, seaweed, &bucket, &[]);
            (Server::Gateway(Gateway::start(&launch).await?), TUS_PATH)
        };
        let address = server.address().expect("it is a server of its own");
        let films = vec![Film { path: path.to_owned(), size: 0, seed: None }];
        let target = Target { address, host: address.to_string(), films };
        Ok(Self { kind, server, target, origin_port: seaweed.address().port(), bucket: Some(bucket) })
    }

    /// Which kind it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// What to ask it for.
    pub fn target(&self) -> &Target {
        &self.target
    }

    /// The same for HTTP/2 by prior knowledge.
    pub fn http2_target(&self) -> Target {
        let mut target = self.target.clone();
        if self.kind == Kind::NginxStatic {
            target.address = nginx::http2(target.address);
        }
        target
    }

    /// The most memory that it says it takes by its configuration, with its sockets'; `None` where it says nothing.
    pub async fn memory_limit_bytes(&self) -> Result<Option<f64>, Error> {
        let Server::Gateway(gateway) = &self.server else { return Ok(None) };
        Ok(gateway.metrics().await?.get("seekway_memory_limit_bytes"))
    }

    /// Its processes; none for the origin, which is a part of this one.
    pub fn pids(&self) -> Result<Vec<u32>, Error> {
        match &self.server {
            Server::Origin => Ok(Vec::new()),
            Server::Gateway(gateway) => processes::family(gateway.pid()),
            Server::Nginx(nginx, _) => processes::family(nginx.pid()),
            Server::Varnish(varnish) => processes::family(varnish.pid()),
            Server::Tus(server) => processes::family(server.pid()),
        }
    }

    /// Processor time that it has used, in seconds.
    pub fn cpu_seconds(&self) -> Result<Option<f64>, Error> {
        match self.pids()? {
            pids if pids.is_empty() => Ok(None),
            pids => processes::cpu_seconds(&pids).map(Some),
        }
    }

    /// What it weighs now. Blocks, some milliseconds for each gigabyte and for each thousand sockets.
    pub fn weigh(&self) -> Result<Weight, Error> {
        let pids = self.pids()?;
        let asks = if pids.is_empty() { vec![] } else { vec![self.origin_port] };
        let (socket_bytes, _) = footprint::sockets(&[self.target.address.port()], &asks)?;
        let memory_bytes = match (&self.server, pids.as_slice()) {
            (_, []) => None,
            (Server::Nginx(_, Some(cache)), pids) => {
                Some(processes::memory_bytes(pids)? + films::disk_usage(cache.path())?)
            }
            (_, pids) => Some(processes::memory_bytes(pids)?),
        };
        Ok(Weight { memory_bytes, socket_bytes })
    }

    /// Compares what is in the store with what a run of `uploads` with this seed sent.
    pub async fn check(&self, uploads: &Uploads, seed: u64) -> Result<Checked, Error> {
        self.bucket.as_ref().expect("it takes uploads").check(uploads, seed).await
    }

    /// Stops it, and deletes what was uploaded to it.
    pub async fn clear(self) -> Result<(), Error> {
        drop(self.server);
        match self.bucket {
            Some(bucket) => bucket.delete().await,
            None => Ok(()),
        }
    }

    /// What it still does for nobody, where it says so: its gauges that are not zero though they should be.
    pub async fn leftovers(&self) -> Result<Vec<String>, Error> {
        // Not the requests that run: asking is one of them.
        const GAUGES: [&str; 3] =
            ["seekway_cache_fills_running", "seekway_budget_waiting", "seekway_origin_requests_in_flight"];
        let Server::Gateway(gateway) = &self.server else { return Ok(Vec::new()) };
        let metrics = gateway.metrics().await?;
        let left = |name: &&str| metrics.get(name).is_some_and(|value| value != 0.0);
        Ok(GAUGES.into_iter().filter(left).map(str::to_owned).collect())
    }

    /// The last lines that it wrote, for an error message.
    pub fn log_tail(&self) -> String {
        match &self.server {
            Server::Origin => String::new(),
            Server::Gateway(gateway) => gateway.log_tail(),
            Server::Nginx(nginx, _) => nginx.log_tail(),
            Server::Varnish(varnish) => varnish.log_tail(),
            Server::Tus(server) => server.log_tail(),
        }
    }
}

// === impl Server ===

impl Server {
    /// Where it listens; the origin is told elsewhere.
    fn address(&self) -> Option<SocketAddr> {
        match self {
            Self::Origin => None,
            Self::Gateway(gateway) => Some(gateway.address()),
            Self::Nginx(nginx, _) => Some(nginx.address()),
            Self::Varnish(varnish) => Some(varnish.address()),
            Self::Tus(server) => Some(server.address()),
        }
    }
}

fn seekway(ground: &Ground<'_>, settings: &[(&str, &str)]) -> Launch {
    let cache = ground.cache_bytes.to_string();
    let threads = ground.workers.map(|workers| workers.to_string());
    let threads = threads.as_deref().map(|threads| ("SEEKWAY_THREADS", threads));
    let settings = settings.iter().copied().chain([("CACHE_MEMORY_BYTES", cache.as_str())]).chain(threads);
    Launch {
        binary: ground.gateway.to_owned(),
        endpoint: ground.origin.endpoint(),
        bucket: BUCKET.to_owned(),
        environment: settings.map(|(name, value)| (name.into(), value.into())).collect(),
    }
}

// === impl Weight ===

impl Weight {
    /// The greater of each, from one reading or the other.
    #[must_use]
    pub fn peak(self, other: Self) -> Self {
        Self {
            memory_bytes: self.memory_bytes.max(other.memory_bytes),
            socket_bytes: self.socket_bytes.max(other.socket_bytes),
        }
    }
}
