//! A catalog, a store, and worker processes, in a temporary folder.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream;
use seekway_catalog::{
    Catalog, Job, JobId, JobState, NewJob, NewVideo, Options, Source, Video, VideoId, Visibility,
};
use seekway_storage::local::LocalStore;
use seekway_storage::{Attributes, ObjectKey, ObjectStore};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

/// What worker processes share.
pub(crate) struct Stand {
    pub(crate) folder: TempDir,
    pub(crate) catalog: Catalog,
    pub(crate) store: Arc<dyn ObjectStore>,
    url: String,
}

/// A worker process. It is killed with its owner.
pub(crate) struct Worker(pub(crate) Child);

/// Longer than any of these jobs takes on a machine that does something else, too.
const PATIENCE: Duration = Duration::from_secs(120);

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
        Self { folder, catalog, store, url }
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
        command.env("DATABASE_URL", &self.url).env("LOCAL_STORAGE_DIR", self.folder.path().join("media"));
        command.env("SEEKWAY_SCRATCH_DIR", self.scratch()).env("SEEKWAY_WORKER_ADMIN_LISTEN", "127.0.0.1:0");
        command.env("SEEKWAY_QUEUE_POLL", "100ms").env("SEEKWAY_SCRATCH_RESERVE", "0");
        command.env("SEEKWAY_LOG", "warn").stdin(Stdio::null());
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
