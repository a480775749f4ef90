//! Workers whose encodes are a stand-in that takes a while, with the real catalog and real doorbells: a long video is split, its
//! parts are made, and it is put together.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use seekway_catalog::{
    Catalog, Error, Job, JobId, JobState, NewJob, NewPart, NewVideo, Options, Phase, Progress, Published,
    Source, Visibility,
};
use seekway_queue::{Doorbells, Options as QueueOptions, QueueUrl, Relay};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// How long what ffmpeg would do takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Film {
    /// Chunks of one length.
    pub(crate) parts: usize,
    pub(crate) part: Duration,
    /// Looking into the source, and putting the parts together.
    pub(crate) ends: Duration,
}

/// Processes with workers. Stop it by [`stop`](Self::stop).
pub(crate) struct Fleet {
    processes: Vec<Process>,
    told: Arc<Told>,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

#[derive(Clone)]
struct Process {
    catalog: Catalog,
    doorbells: Arc<dyn Doorbells>,
}

/// What workers say of themselves.
#[derive(Debug, Default)]
struct Told {
    published: Notify,
    /// In microseconds: of all workers together.
    encoding: AtomicU64,
    asking: AtomicU64,
}

/// What came of a film.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ran {
    /// From being added to being published.
    pub(crate) wall: Duration,
    /// What the stand-ins took, of all workers together.
    pub(crate) encoding: Duration,
    /// What asking and telling the catalog took, of all workers together.
    pub(crate) asking: Duration,
}

/// Longer than any stand-in.
const LEASE_MS: i64 = 600_000;

// === impl Fleet ===

impl Fleet {
    /// So many workers in so many processes, which make films like this one of whatever is queued.
    pub(crate) async fn start(url: &str, processes: usize, workers: usize, film: Film) -> Self {
        let (told, stop) = (Arc::new(Told::default()), CancellationToken::new());
        let mut tasks = JoinSet::new();
        let mut all = Vec::new();
        for _ in 0..processes {
            let options = Options { connections_max: 8, answer_within: Duration::from_secs(20) };
            let catalog = Catalog::open(&url.parse().expect("a URL"), &options).await.expect("opens");
            let queue: QueueUrl = "sql:".parse().expect("a URL");
            let options = QueueOptions {
                look_every: Duration::from_millis(200),
                overdue: Duration::from_secs(1),
                aws_keys: None,
            };
            let doorbells = queue.open(&catalog, &options);
            let relay = Relay::new(catalog.clone(), doorbells.clone());
            let ends = stop.clone();
            tasks.spawn(async move { relay.run(ends).await });
            all.push(Process { catalog, doorbells });
        }
        for nth in 0..workers {
            let (process, told, stop) = (all[nth % processes].clone(), told.clone(), stop.clone());
            let name = format!("worker {nth}");
            tasks.spawn(async move {
                while !stop.is_cancelled() {
                    while process.one(&name, film, &told).await {}
                    tokio::select! {
                        ring = process.doorbells.heard() => {
                            process.one(&name, film, &told).await;
                            drop(process.doorbells.answered(ring.expect("the backend serves")).await);
                        }
                        () = stop.cancelled() => {}
                    }
                }
            });
        }
        Self { processes: all, told, stop, tasks }
    }

    /// Adds a job of which the fleet makes the film: split where it has more than one part.
    pub(crate) async fn add(&self, title: &str) -> JobId {
        let catalog = &self.processes[0].catalog;
        let source = Source {
            key: format!("videos/{:016x}", fastrand::u64(..)),
            etag: "\"1\"".to_owned(),
            version: None,
            size: 1,
            sha256: None,
            content_type: None,
            container: None,
        };
        let title = title.to_owned();
        let video = NewVideo { title, visibility: Visibility::Private, profile: None, source };
        let video = catalog.videos().add(None, &video).await.expect("adds").expect("no other has the key");
        // What is done with a short one is told by its profile.
        let profile =
            if catalog.videos().get(video).await.expect("finds").title == "short" { "short" } else { "long" };
        let new = NewJob { video, profile: profile.to_owned(), rendition: None, priority: 0 };
        catalog.jobs().add(&new).await.expect("adds")
    }

    /// Has a film made, and waits for it.
    pub(crate) async fn publish(&self) -> (JobId, Ran) {
        let began = Instant::now();
        let id = self.add("long").await;
        self.until_published(id).await;
        let taken = |micros: &AtomicU64| Duration::from_micros(micros.swap(0, Ordering::Relaxed));
        let Told { encoding, asking, .. } = &*self.told;
        (id, Ran { wall: began.elapsed(), encoding: taken(encoding), asking: taken(asking) })
    }

    /// Waits until that job is published.
    pub(crate) async fn until_published(&self, id: JobId) {
        while self.catalog().jobs().get(id).await.expect("finds").state != JobState::Succeeded {
            self.told.published.notified().await;
        }
    }

    pub(crate) fn catalog(&self) -> &Catalog {
        &self.processes[0].catalog
    }

    pub(crate) async fn stop(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
        for process in &self.processes {
            process.doorbells.close().await;
            process.catalog.close().await;
        }
    }
}

// === impl Process ===

impl Process {
    /// Does one job, if there is one.
    async fn one(&self, name: &str, film: Film, told: &Told) -> bool {
        let began = Instant::now();
        let claimed = self.catalog.jobs().claim(name, LEASE_MS, u64::MAX).await.expect("claims");
        let Some(job) = claimed else { return false };
        let encoded = match self.done(&job, film, told).await {
            // It was given up.
            Err(Error::NotFound | Error::Superseded) => return true,
            encoded => encoded.expect("the database serves"),
        };
        let micros = |time: Duration| u64::try_from(time.as_micros()).expect("it is short");
        told.encoding.fetch_add(micros(encoded), Ordering::Relaxed);
        told.asking.fetch_add(micros(began.elapsed().saturating_sub(encoded)), Ordering::Relaxed);
        true
    }

    /// The work, as the transcode worker does it, and what the stand-in took.
    async fn done(&self, job: &Job, film: Film, told: &Told) -> Result<Duration, Error> {
        let jobs = self.catalog.jobs();
        let (id, attempt) = (job.id, job.attempt);
        jobs.start(id, attempt).await?;
        let takes = if job.parent.is_some() || job.profile == "short" { film.part } else { film.ends };
        let began = Instant::now();
        sleep(takes / 2).await;
        let half = began.elapsed();
        let progress =
            Progress { phase: Phase::Transcoding, percent: 50, speed_milli: None, eta_seconds: None };
        jobs.set_progress(id, attempt, progress).await?;
        let began = Instant::now();
        sleep(takes / 2).await;
        let took = half + began.elapsed();
        let media_ms = u64::try_from(film.part.as_millis()).expect("it is short");
        let part = NewPart { brief: "chunk".to_owned(), media_ms, source_bytes: None };
        if job.parent.is_some() {
            jobs.part_made(id, attempt, "made").await?;
        } else if job.profile == "long" && job.brief.is_none() {
            jobs.split(id, attempt, "join", &vec![part; film.parts]).await?;
        } else {
            jobs.succeed(id, attempt, &Published { outputs: "{}".to_owned(), duration_ms: 1 }).await?;
            // Whoever looks just now is told, too.
            told.published.notify_waiters();
            told.published.notify_one();
        }
        Ok(took)
    }
}
