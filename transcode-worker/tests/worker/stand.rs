//! A catalog, a store, and worker processes, in a temporary folder.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use seekway_catalog::{
    Catalog, Job, JobId, JobState, Jobs, NewJob, NewVideo, Options, Source, Video, VideoId, Visibility,
};
use seekway_loadtests::seaweed::SeaweedFs;
use seekway_storage::local::LocalStore;
use seekway_storage::s3::{S3Config, S3Store, StaticCredentials};
use seekway_storage::{Attributes, ObjectKey, ObjectStore, Page};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// What worker processes share.
pub(crate) struct Stand {
    pub(crate) folder: TempDir,
    pub(crate) catalog: Catalog,
    pub(crate) store: Arc<dyn ObjectStore>,
    settings: Vec<(String, String)>,
}

/// A worker process. It is killed with its owner.
pub(crate) struct Worker(pub(crate) Child);

/// Longer than any of these jobs takes on a machine that does something else, too.
const PATIENCE: Duration = Duration::from_mins(1);

// === impl Stand ===

impl Stand {
    /// On SQLite and a folder.
    pub(crate) async fn new() -> Self {
        let folder = TempDir::new().expect("a folder");
        let url = format!("sqlite:{}", folder.path().join("catalog.db").display());
        Self::with(folder, url).await
    }

    /// On another database and a folder.
    pub(crate) async fn with(folder: TempDir, url: String) -> Self {
        let catalog = Catalog::open(&url.parse().expect("a URL"), &Options::default()).await.expect("opens");
        let media = folder.path().join("media");
        std::fs::create_dir(&media).expect("makes");
        let store = Arc::new(LocalStore::open(&media).expect("opens"));
        let settings = vec![
            ("DATABASE_URL".to_owned(), url),
            ("LOCAL_STORAGE_DIR".to_owned(), media.display().to_string()),
        ];
        Self { folder, catalog, store, settings }
    }

    /// On SQLite and a bucket, which workers reach at `endpoint`.
    pub(crate) async fn s3(seaweed: &SeaweedFs, endpoint: &str) -> Self {
        let mut stand = Self::new().await;
        let bucket = seaweed.new_bucket().await.expect("makes").name().to_owned();
        let (id, secret) = (seaweed.access_key().to_owned(), seaweed.secret_key().to_owned());
        for (name, value) in [
            ("S3_BUCKET", bucket.as_str()),
            ("S3_ENDPOINT", endpoint),
            ("S3_FORCE_PATH_STYLE", "true"),
            ("AWS_REGION", "us-east-1"),
            ("AWS_ACCESS_KEY_ID", &id),
            ("AWS_SECRET_ACCESS_KEY", &secret),
            ("SEEKWAY_S3_READ_TIMEOUT", "1s"),
        ] {
            stand.settings.push((name.to_owned(), value.to_owned()));
        }
        stand.store = Arc::new(
            S3Store::connect(S3Config {
                bucket,
                endpoint: Some(seaweed.endpoint()),
                public_endpoint: None,
                region: Some("us-east-1".to_owned()),
                force_path_style: true,
                credentials: Some(StaticCredentials {
                    access_key_id: id,
                    secret_access_key: secret,
                    session_token: None,
                }),
                connect_timeout: Duration::from_secs(2),
                read_timeout: Duration::from_secs(10),
                attempts_max: 3,
                idle_connections_max: 4,
            })
            .await,
        );
        stand
    }

    /// Puts a file into the store, as whatever was uploaded.
    pub(crate) async fn put(&self, key: &str, file: &Path) {
        let bytes = std::fs::read(file).expect("reads");
        let body = Box::pin(stream::iter([Ok(bytes.into())]));
        let key = ObjectKey::new(key).expect("a key");
        self.store.put(&key, &Attributes::default(), body).await.expect("puts");
    }

    /// Adds a video with a job.
    pub(crate) async fn job(&self, file: &Path, profile: &str) -> (VideoId, JobId) {
        static NTH: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let nth = NTH.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        let key = format!("original/{nth}");
        self.put(&key, file).await;
        let new = NewVideo {
            title: file.display().to_string(),
            visibility: Visibility::Private,
            source: Source {
                key,
                etag: "\"x\"".to_owned(),
                version: None,
                size: file.metadata().expect("it is there").len(),
                sha256: None,
                content_type: None,
                container: None,
            },
            profile: None,
        };
        let video = self.catalog.videos().add(None, &new).await.expect("adds").expect("it is new");
        (video, self.again(video, profile, None).await)
    }

    /// Adds another job for a video.
    pub(crate) async fn again(&self, video: VideoId, profile: &str, rendition: Option<&str>) -> JobId {
        let rendition = rendition.map(str::to_owned);
        let new = NewJob { video, profile: profile.to_owned(), rendition, priority: 0 };
        self.catalog.jobs().add(&new).await.expect("adds")
    }

    /// A worker process, with more settings.
    pub(crate) fn worker(&self, settings: &[(&str, &str)]) -> Worker {
        Worker(self.command(settings).spawn().expect("starts"))
    }

    pub(crate) fn command(&self, settings: &[(&str, &str)]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_transcode-worker"));
        command.env_clear().env("PATH", std::env::var_os("PATH").expect("there is one"));
        command.envs(self.settings.iter().map(|(name, value)| (name, value)));
        command.env("SEEKWAY_SCRATCH_DIR", self.scratch()).env("SEEKWAY_WORKER_ADMIN_LISTEN", "127.0.0.1:0");
        command.env("SEEKWAY_QUEUE_POLL", "100ms").env("SEEKWAY_SCRATCH_RESERVE", "0");
        command.env("SEEKWAY_LOG", "warn").env("SEEKWAY_WORKER_STOP_WITH_STDIN", "on");
        // It ends with the test, also one that is killed.
        command.stdin(Stdio::piped());
        command.envs(settings.iter().copied());
        command
    }

    pub(crate) fn scratch(&self) -> PathBuf {
        self.folder.path().join("scratch")
    }

    /// The job, once it is in such a state.
    pub(crate) async fn until(&self, id: JobId, is: impl Fn(&Job) -> bool) -> Job {
        let until = Instant::now() + PATIENCE;
        loop {
            let job = self.catalog.jobs().get(id).await.expect("it is there");
            if is(&job) {
                return job;
            }
            assert!(Instant::now() < until, "{job:?}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// The job, once it has ended.
    pub(crate) async fn ended(&self, id: JobId) -> Job {
        self.until(id, |job| matches!(job.state, JobState::Succeeded | JobState::Dead | JobState::Cancelled))
            .await
    }

    /// The folder of what is published of a video, which must have succeeded.
    pub(crate) async fn published(&self, job: JobId) -> PathBuf {
        let job = self.ended(job).await;
        assert_eq!(job.state, JobState::Succeeded, "{job:?}");
        let video = self.video(job.video).await;
        self.folder.path().join("media").join(video.published_prefix.expect("it is published"))
    }

    /// All keys below `processed/`.
    pub(crate) async fn keys(&self) -> Vec<String> {
        let page = Page { after: None, limit: 1000 };
        let listing = self.store.list("processed/", page).await.expect("lists");
        listing.entries.into_iter().map(|entry| entry.key.as_str().to_owned()).collect()
    }

    /// Checks what has to hold once all is done: each of these jobs was published once, whatever else lies in the store is
    /// told of as left behind, nobody holds a lease, and no program runs and no file lies where they did.
    pub(crate) async fn is_settled(&self, jobs: &[JobId]) {
        let mut published = Vec::new();
        for id in jobs {
            let job = self.ended(*id).await;
            assert_eq!(job.state, JobState::Succeeded, "{job:?}");
            assert_eq!((&job.worker, job.leased_until_ms), (&None, None));
            let video = self.video(job.video).await;
            assert_eq!(video.published_prefix, Some(job.prefix()), "{job:?}");
            let events = self.catalog.videos().events_after(job.video, 0, 1000).await.expect("lists");
            assert_eq!(events.iter().filter(|event| event.kind == "ready").count(), 1);
            published.push(job.prefix());
        }
        let left = self.catalog.outbox().claim(Jobs::LEFT, 1000, 1).await.expect("claims");
        let left: Vec<_> = left.into_iter().map(|row| row.payload).collect();
        for key in self.keys().await {
            let is_known = published.iter().chain(&left).any(|prefix| key.starts_with(prefix));
            assert!(is_known, "{key} is neither published nor told of as left: {left:?}");
        }
        for prefix in &published {
            assert!(!left.contains(prefix), "{prefix} is published, and to be deleted");
        }
        self.is_quiet().await;
        let until = Instant::now() + PATIENCE;
        // The lock stays.
        while std::fs::read_dir(self.scratch()).expect("reads").count() > 1 {
            assert!(Instant::now() < until, "folders of attempts stay");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// Waits until no program works in the scratch folder.
    pub(crate) async fn is_quiet(&self) {
        let until = Instant::now() + PATIENCE;
        while let Some(program) = self.program() {
            assert!(Instant::now() < until, "{program} still runs");
            sleep(Duration::from_millis(50)).await;
        }
    }

    /// A program whose folder is an attempt's.
    fn program(&self) -> Option<String> {
        let scratch = self.scratch().canonicalize().ok()?;
        std::fs::read_dir("/proc").expect("reads").flatten().find_map(|process| {
            let folder = std::fs::read_link(process.path().join("cwd")).ok()?;
            let name = std::fs::read_to_string(process.path().join("comm")).ok()?;
            folder.starts_with(&scratch).then(|| format!("{}{}", name, process.path().display()))
        })
    }

    pub(crate) async fn video(&self, id: VideoId) -> Video {
        self.catalog.videos().get(id).await.expect("it is there")
    }
}

// === impl Worker ===

impl Worker {
    /// Sends a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.0);
        rustix::process::kill_process(pid, signal).expect("it runs");
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
