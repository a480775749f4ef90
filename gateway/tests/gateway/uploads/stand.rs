//! A gateway that can be uploaded to, and a look behind it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use futures_util::TryStreamExt;
use seekway_catalog::{Catalog, NewUpload, Options, Purpose, Via, Video, VideoId};
use seekway_gateway::Gateway;
use seekway_loadtests::pattern;
use seekway_loadtests::postgres::Postgres;
use seekway_loadtests::seaweed::SeaweedFs;
use seekway_storage::local::LocalStore;
use seekway_storage::s3::{S3Config, S3Store, StaticCredentials};
use seekway_storage::{ObjectKey, ObjectStore, Page};
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::sync::OnceCell;

use crate::support::wire::{Answer, Wire, head};
use crate::support::{Stand, path_text};

pub(crate) const TUS: (&str, &str) = ("Tus-Resumable", "1.0.0");
pub(crate) const BYTES: (&str, &str) = ("Content-Type", "application/offset+octet-stream");
pub(crate) const MIB: usize = 1 << 20;

/// A gateway with its store and its database, which the test sees, too.
pub(crate) struct Uploading {
    /// `None` where the test starts gateways of its own.
    stand: Option<Stand>,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) catalog: Catalog,
    pub(crate) is_s3: bool,
    settings: Env,
}

/// Settings of a gateway.
type Env = Vec<(String, String)>;

/// Servers that all tests share; each test has a bucket and a database of its own.
struct Servers {
    seaweed: SeaweedFs,
    postgres: Postgres,
    taken: AtomicU32,
}

static SERVERS: OnceCell<Servers> = OnceCell::const_new();

// === impl Uploading ===

impl Uploading {
    /// With SQLite and a local folder.
    pub(crate) async fn embedded(env: &[(&str, &str)]) -> Self {
        let folder = TempDir::new().expect("a folder");
        Self::embedded_for_another(&folder).await.with_gateway(env, folder)
    }

    /// With PostgreSQL and SeaweedFS.
    pub(crate) async fn served(env: &[(&str, &str)]) -> Self {
        Self::served_for_another().await.with_gateway(env, TempDir::new().expect("a folder"))
    }

    /// Store and database in `folder`, for gateways of the test's own.
    pub(crate) async fn embedded_for_another(folder: &TempDir) -> Self {
        let media = folder.path().join("media");
        let url = format!("sqlite:{}", folder.path().join("seekway.db").display());
        let settings = [
            ("STORAGE_BACKEND", "local"),
            ("LOCAL_STORAGE_DIR", path_text(&media)),
            ("DATABASE_URL", &url),
            ("SEEKWAY_UPLOADS", "on"),
        ];
        let store = Arc::new(LocalStore::open(&media).expect("a folder"));
        Self { stand: None, store, catalog: open(&url).await, is_s3: false, settings: owned(&settings) }
    }

    /// A bucket and a database, for gateways of the test's own.
    pub(crate) async fn served_for_another() -> Self {
        let servers = SERVERS.get_or_init(Servers::start).await;
        let nth = servers.taken.fetch_add(1, Ordering::Relaxed);
        let (bucket, endpoint) = (format!("uploads-{nth}"), servers.seaweed.endpoint());
        servers.seaweed.create_bucket(&bucket).await.expect("a bucket");
        let url = servers.postgres.database(&format!("uploads_{nth}")).expect("a database");
        let (access_key, secret_key) = (servers.seaweed.access_key(), servers.seaweed.secret_key());
        let settings = [
            ("STORAGE_BACKEND", "s3"),
            ("S3_BUCKET", &bucket),
            ("S3_ENDPOINT", &endpoint),
            ("S3_FORCE_PATH_STYLE", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", access_key),
            ("AWS_SECRET_ACCESS_KEY", secret_key),
            // The machine is busy with other tests.
            ("SEEKWAY_S3_READ_TIMEOUT", "20s"),
            ("DATABASE_URL", &url),
            ("SEEKWAY_UPLOADS", "on"),
        ];
        let config = S3Config {
            endpoint: Some(endpoint.clone()),
            force_path_style: true,
            read_timeout: Duration::from_secs(20),
            credentials: Some(StaticCredentials {
                access_key_id: access_key.into(),
                secret_access_key: secret_key.into(),
                session_token: None,
            }),
            ..S3Config::new(&bucket)
        };
        let store = Arc::new(S3Store::connect(config).await);
        Self { stand: None, store, catalog: open(&url).await, is_s3: true, settings: owned(&settings) }
    }

    fn with_gateway(mut self, env: &[(&str, &str)], folder: TempDir) -> Self {
        self.settings.extend(owned(env));
        let env: Vec<_> = self.settings.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        self.stand = Some(Stand::start(&env, &[], None, folder));
        self
    }

    /// The gateway.
    pub(crate) fn stand(&self) -> &Stand {
        self.stand.as_ref().expect("this test has one")
    }

    /// The gateway itself; store and database stay.
    pub(crate) fn take_gateway(&mut self) -> Gateway {
        self.stand.as_mut().expect("this test has one").take_gateway()
    }

    /// One of each.
    pub(crate) async fn both(env: &[(&str, &str)]) -> [Self; 2] {
        [Self::embedded(env).await, Self::served(env).await]
    }

    /// The settings that say where it has what, for another process.
    pub(crate) fn settings(&self) -> &[(String, String)] {
        &self.settings
    }

    /// What an operator calls the keys below a prefix.
    pub(crate) fn place(&self, prefix: &str) -> String {
        let bucket = self.settings.iter().find(|(name, _)| name == "S3_BUCKET");
        bucket.map_or_else(|| prefix.to_owned(), |(_, bucket)| format!("s3://{bucket}/{prefix}"))
    }

    /// Uploads all of it in one request.
    pub(crate) async fn upload(&self, bytes: &[u8]) -> VideoId {
        let target = self.create(&[("Upload-Length", &bytes.len().to_string())]).await;
        let answer = self.patch(&target, 0, bytes).await;
        assert_eq!(answer.status, 204, "{answer:?}");
        Self::video_of(&answer)
    }

    /// One request on a connection of its own.
    pub(crate) async fn ask(
        &self,
        method: &str,
        target: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut wire = self.stand().connect().await;
        let length = body.len().to_string();
        let headers: Vec<_> = headers.iter().chain(&[("Content-Length", length.as_str())]).copied().collect();
        wire.send(head(method, target, &headers)).await;
        // It may be answered, and closed, before all of it is sent.
        let _ = wire.try_send(body).await;
        wire.answer(method).await
    }

    /// Creates a tus upload, and says where it is.
    pub(crate) async fn create(&self, headers: &[(&str, &str)]) -> String {
        let headers: Vec<_> = headers.iter().chain(&[TUS]).copied().collect();
        let answer = self.ask("POST", "/api/uploads", &headers, b"").await;
        assert_eq!(answer.status, 201, "{answer:?}");
        answer.header("location").to_owned()
    }

    /// Appends to a tus upload.
    pub(crate) async fn patch(&self, target: &str, offset: usize, body: &[u8]) -> Answer {
        let offset = offset.to_string();
        self.ask("PATCH", target, &[TUS, BYTES, ("Upload-Offset", &offset)], body).await
    }

    /// How far a tus upload is.
    pub(crate) async fn offset(&self, target: &str) -> usize {
        let answer = self.ask("HEAD", target, &[TUS], b"").await;
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.header("upload-offset").parse().expect("a number")
    }

    /// Begins a PATCH with so many bytes to come, of which none is sent yet.
    pub(crate) async fn begin_patch(&self, target: &str, offset: usize, length: usize) -> Wire {
        let mut wire = self.stand().connect().await;
        let (offset, length) = (offset.to_string(), length.to_string());
        let headers = [TUS, BYTES, ("Upload-Offset", offset.as_str()), ("Content-Length", length.as_str())];
        wire.send(head("PATCH", target, &headers)).await;
        wire
    }

    /// The video that an answer says an upload became.
    #[track_caller]
    pub(crate) fn video_of(answer: &Answer) -> VideoId {
        let path = answer.header("content-location");
        let id = path.strip_prefix("/api/videos/").and_then(VideoId::parse);
        id.unwrap_or_else(|| panic!("no video: {answer:?}"))
    }

    /// Checks that a video is these bytes, as the catalog says and as the store has them.
    pub(crate) async fn assert_video(&self, id: VideoId, bytes: &[u8]) -> Video {
        let video = self.catalog.videos().get(id).await.expect("it is there");
        assert_eq!(video.source.size, bytes.len() as u64);
        if let Some(sha256) = &video.source.sha256 {
            assert_eq!(*sha256, sha256_of(bytes), "what streamed through");
        }
        assert!(self.object(&video.source.key).await == bytes, "the stored bytes");
        video
    }

    pub(crate) async fn object(&self, key: &str) -> Vec<u8> {
        let key = ObjectKey::new(key).expect("a key");
        let got = self.store.get(&key, 0..u64::MAX, None).await.expect("it is there");
        let chunks: Vec<_> = got.body.try_collect().await.expect("readable");
        chunks.concat()
    }

    /// Every key there is.
    pub(crate) async fn keys(&self) -> Vec<String> {
        let page = self.store.list("", Page { after: None, limit: 1000 }).await.expect("lists");
        assert!(page.next.is_none(), "tests have few objects");
        page.entries.iter().map(|entry| entry.key.to_string()).collect()
    }

    /// Checks that nothing is left of uploads but these objects.
    pub(crate) async fn assert_clean(&self, keys: &[&str]) {
        assert_eq!(self.keys().await, keys);
        let uploads = self.store.list_multipart("", Page { after: None, limit: 1000 }).await.expect("lists");
        assert!(uploads.entries.is_empty(), "{:?}", uploads.entries);
    }
}

// === impl Servers ===

impl Servers {
    async fn start() -> Self {
        // It ends with the thread that started it, so with one that outlives the tests' own.
        let (send, postgres) = std::sync::mpsc::sync_channel(1);
        std::thread::spawn(move || {
            send.send(Postgres::start().expect("PostgreSQL starts")).expect("it is waited for");
            loop {
                std::thread::park();
            }
        });
        let seaweed = SeaweedFs::start().await.expect("SeaweedFS starts");
        let postgres = postgres.recv().expect("PostgreSQL starts");
        Self { seaweed, postgres, taken: AtomicU32::new(0) }
    }
}

fn owned(settings: &[(&str, &str)]) -> Env {
    settings.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

async fn open(url: &str) -> Catalog {
    let options = Options { connections_max: 2, answer_within: Duration::from_secs(20) };
    Catalog::open(&url.parse().expect("a URL"), &options).await.expect("opens")
}

/// What a client says that begins an upload of a video, as the catalog keeps it.
pub(crate) fn new_upload(via: Via, key: &str) -> NewUpload {
    NewUpload {
        account: None,
        via,
        purpose: Purpose::Video,
        profile: None,
        key: key.to_owned(),
        title: "A film".to_owned(),
        metadata: String::new(),
        content_type: None,
        length: None,
        concat: None,
        idempotency_key: None,
        fingerprint: None,
        lifetime_ms: 3_600_000,
    }
}

/// Bytes that begin as an MP4 file does and go on as a pattern.
pub(crate) fn video(seed: u64, length: usize) -> Vec<u8> {
    let mut bytes = vec![0; length];
    pattern::fill(seed, 0, &mut bytes);
    let beginning = b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2";
    let count = beginning.len().min(length);
    bytes[..count].copy_from_slice(&beginning[..count]);
    bytes
}

pub(crate) fn sha256_of(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}
