//! A real gateway in front of a store that the test fills and breaks.

pub(crate) mod h2;
pub(crate) mod tools;
pub(crate) mod wire;

use std::collections::HashMap;
use std::ffi::OsString;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use seekway_cache::Stats;
use seekway_gateway::{Config, Configuration, Gateway};
use seekway_loadtests::gateway::{Gateway as Process, Launch};
use seekway_loadtests::origin::{Object, Origin, Shape};
use seekway_loadtests::pattern;
use tempfile::TempDir;

use wire::{Answer, Wire};

/// Names that no answer may show.
pub(crate) const BUCKET: &str = "bucket-of-acme";

/// Whatever a test waits for comes within this, also on a machine that is busy with other things.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// When the objects were last written, unless a test says otherwise: long enough ago that the date is a
/// strong validator (RFC 9110 §8.8.2.2).
pub(crate) const WRITTEN: &str = "Wed, 21 Oct 2015 07:28:00 GMT";

/// A gateway and its store.
pub(crate) struct Stand {
    gateway: Option<Gateway>,
    address: SocketAddr,
    admin_address: SocketAddr,
    /// The store, if it is S3.
    origin: Option<Origin>,
    /// The store, if it is local.
    folder: TempDir,
}

// === impl Stand ===

impl Stand {
    /// In front of a local folder.
    pub(crate) fn local(env: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        let media = media_folder(&folder);
        fs::create_dir(&media).expect("a new folder");
        Self::start(&[("LOCAL_STORAGE_DIR", path_text(&media))], env, None, folder)
    }

    /// In front of an S3 server that can be told to fail. One attempt for each request, so that counts are
    /// exact and failures are quick.
    pub(crate) fn s3(env: &[(&str, &str)]) -> Self {
        Self::s3_shaped(Shape::default(), env)
    }

    /// In front of an S3 server of this shape.
    pub(crate) fn s3_shaped(shape: Shape, env: &[(&str, &str)]) -> Self {
        let origin = Origin::start(shape).expect("a free port");
        origin.create_bucket(BUCKET);
        let endpoint = origin.endpoint();
        let s3 = [
            ("STORAGE_BACKEND", "s3"),
            ("S3_BUCKET", BUCKET),
            ("S3_ENDPOINT", endpoint.as_str()),
            ("S3_FORCE_PATH_STYLE", "true"),
            ("AWS_REGION", "eu-central-1"),
            // The origin ignores signatures.
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("SEEKWAY_S3_ATTEMPTS", "1"),
        ];
        Self::start(&s3, env, Some(origin), TempDir::new().expect("a temporary folder"))
    }

    /// One of each store: what must hold whatever the bytes come from.
    pub(crate) fn both(env: &[(&str, &str)]) -> [Self; 2] {
        [Self::local(env), Self::s3(env)]
    }

    pub(crate) fn start(
        store: &[(&str, &str)],
        env: &[(&str, &str)],
        origin: Option<Origin>,
        folder: TempDir,
    ) -> Self {
        let common = [
            ("SEEKWAY_LISTEN", "127.0.0.1:0"),
            ("SEEKWAY_ADMIN_LISTEN", "127.0.0.1:0"),
            ("SEEKWAY_ACCESS_LOG", "off"),
            ("SEEKWAY_THREADS", "2"),
            // The tests' requests name another host than this machine.
            ("SEEKWAY_LISTING", "on"),
            // A database is for those who need one.
            ("SEEKWAY_UPLOADS", "off"),
            ("SEEKWAY_ACCOUNTS", "off"),
            // Nor is a worker that happens to lie beside a test's binary.
            ("SEEKWAY_TRANSCODING", "off"),
            ("CACHE_MEMORY_BYTES", "64MiB"),
            ("MEMORY_BUDGET_BYTES", "64MiB"),
        ];
        // Later ones win.
        let env: HashMap<&str, &str> = common.iter().chain(store).chain(env).copied().collect();
        let config = Config::from_args(["gateway"], |name| env.get(name).map(OsString::from));
        let config = config.unwrap_or_else(|stop| panic!("{stop}"));
        // It blocks on runtimes of its own, which a test's runtime does not allow on its thread.
        let start = std::thread::spawn(move || Gateway::start(&config));
        let gateway = start.join().expect("no panic").unwrap_or_else(|error| panic!("{error}"));
        let (address, admin_address) = (gateway.address(), gateway.admin_address());
        Self { gateway: Some(gateway), address, admin_address, origin, folder }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where TLS is spoken, if the test set it up.
    pub(crate) fn tls_address(&self) -> SocketAddr {
        self.gateway().tls_address().expect("the test set TLS up")
    }

    pub(crate) fn admin_address(&self) -> SocketAddr {
        self.admin_address
    }

    pub(crate) fn gateway(&self) -> &Gateway {
        self.gateway.as_ref().expect("not taken yet")
    }

    /// The gateway alone, for [`Gateway::join`]; the store stays.
    pub(crate) fn take_gateway(&mut self) -> Gateway {
        self.gateway.take().expect("not taken yet")
    }

    /// The S3 server behind the gateway.
    pub(crate) fn origin(&self) -> &Origin {
        self.origin.as_ref().expect("this stand's store is S3")
    }

    /// Ends the S3 server: its connections break, and new ones are refused.
    pub(crate) fn kill_origin(&mut self) {
        drop(self.origin.take().expect("this stand's store is S3"));
    }

    pub(crate) fn is_s3(&self) -> bool {
        self.origin.is_some()
    }

    /// The folder behind the gateway.
    pub(crate) fn media(&self) -> PathBuf {
        media_folder(&self.folder)
    }

    /// Stores `size` bytes of the pattern of `seed`.
    pub(crate) fn put_pattern(&self, key: &str, size: u64, seed: u64) {
        if let Some(origin) = &self.origin {
            origin.put(BUCKET, key, Object::pattern(size, seed).with_last_modified(written()));
            return;
        }
        let mut bytes = vec![0; usize::try_from(size).expect("small")];
        pattern::fill(seed, 0, &mut bytes);
        let path = self.media().join(key);
        fs::create_dir_all(path.parent().expect("inside the folder")).expect("a folder");
        fs::write(&path, bytes).expect("a new file");
        let file = fs::File::options().write(true).open(&path).expect("it is there");
        file.set_modified(written()).expect("it is ours");
    }

    pub(crate) async fn connect(&self) -> Wire {
        Wire::connect(self.address).await
    }

    /// One GET on a connection of its own.
    pub(crate) async fn get(&self, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.ask("GET", target, headers).await
    }

    /// One request on a connection of its own.
    pub(crate) async fn ask(&self, method: &str, target: &str, headers: &[(&str, &str)]) -> Answer {
        self.connect().await.ask(method, target, headers).await
    }

    pub(crate) fn stats(&self) -> Stats {
        self.gateway().cache().stats()
    }

    /// Waits until the cache's figures satisfy `condition`: they change without telling anybody.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&Stats) -> bool) -> Stats {
        until(what, async || Some(self.stats()).filter(&condition)).await
    }

    /// Waits until nothing runs and nothing is held but what the memory tier keeps.
    pub(crate) async fn until_quiet(&self) {
        // The memory tier weighs an overhead for each segment that the budget does not know.
        let quiet = |stats: &Stats| {
            stats.fills_running == 0
                && stats.budget_waiting == 0
                && stats.budget_in_use_bytes <= stats.memory_bytes
        };
        self.until("fills end and their memory returns", quiet).await;
        if let Some(origin) = &self.origin {
            origin.until(|counts| counts.in_flight == 0).await.expect("no request is left at the origin");
        }
    }
}

/// A gateway that is a process of its own, with an environment and a log, in front of `origin`.
pub(crate) async fn process(origin: &Origin, env: &[(&str, &str)]) -> Process {
    let launch = Launch {
        binary: env!("CARGO_BIN_EXE_gateway").into(),
        endpoint: origin.endpoint(),
        bucket: BUCKET.to_owned(),
        environment: env.iter().map(|(name, value)| (name.into(), value.into())).collect(),
    };
    Process::start(&launch).await.unwrap_or_else(|error| panic!("{error}"))
}

fn media_folder(folder: &TempDir) -> PathBuf {
    folder.path().join("media")
}

pub(crate) fn path_text(path: &Path) -> &str {
    path.to_str().expect("temporary folders have plain names")
}

fn written() -> SystemTime {
    httpdate::parse_http_date(WRITTEN).expect("a date")
}

/// Asks again and again until there is an answer, for what nothing signals.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let looking = async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, looking).await.unwrap_or_else(|_| panic!("waited in vain: {what}"))
}

/// Fails unless `body` is what the pattern of `seed` has from `offset` on.
#[track_caller]
pub(crate) fn assert_pattern(seed: u64, offset: u64, body: &[u8], what: &str) {
    if let Some(wrong) = pattern::verify(seed, offset, body) {
        panic!("{what}: wrong byte at {wrong} of the object, {} bytes from {offset}", body.len());
    }
}
