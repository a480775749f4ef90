//! What has to hold in the end: each job was published once and is all there, and nothing is left.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use seekway_catalog::{Catalog, Filter, Job, JobState, Patch, Video, VideoState, Viewer, Visibility};
use seekway_queue::Doorbells;
use seekway_storage::{ObjectKey, ObjectStore, Page};
use serde_json::Value;
use tokio::time::{Instant, sleep};

use crate::clients::{Uploaded, get, sha256};
use crate::report::Report;

/// Far longer than all that is waited for: a ring that a killed worker had heard is heard again after a minute.
const PATIENCE: Duration = Duration::from_mins(2);
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How it is looked at.
pub(crate) struct Checks {
    pub(crate) catalog: Catalog,
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) doorbells: Arc<dyn Doorbells>,
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) has_broker: bool,
}

// === impl Checks ===

impl Checks {
    /// Waits until no job is open; those that wait for another attempt are hurried, as an operator would.
    pub(crate) async fn all_ended(&self, report: &mut Report) {
        self.until(report, async |report| {
            let waiting = self.catalog.jobs().in_state(JobState::Retry, None, 1000).await;
            for job in waiting.map_err(|error| error.chain())? {
                if job.due_ms > job.now_ms && self.catalog.jobs().hurry(job.id).await.is_ok() {
                    report.hurried += 1;
                }
            }
            let [open @ .., _dead] = self.catalog.jobs().counts().await.map_err(|error| error.chain())?;
            if open == [0; 5] {
                Ok(())
            } else {
                Err(format!("queued, leased, running, waiting, retry: {open:?}"))
            }
        })
        .await;
    }

    /// Waits until such a job is dead.
    pub(crate) async fn is_dead(
        &self,
        uploaded: &Uploaded,
        attempts: u64,
        report: &mut Report,
    ) -> Option<Job> {
        self.until(report, async |_| {
            let jobs = self.catalog.jobs().of_video(uploaded.video).await.map_err(|error| error.chain())?;
            let is_dead = |job: &Job| job.state == JobState::Dead && job.attempt >= attempts;
            jobs.iter().find(|job| is_dead(job)).cloned().ok_or_else(|| format!("{jobs:?}"))
        })
        .await
    }

    /// Whether it was published once, and is right.
    pub(crate) async fn published(&self, uploaded: &Uploaded, report: &mut Report) {
        match self.look_at(uploaded, report).await {
            Ok(()) => report.published += 1,
            Err(problem) => report.problem(format!("video {}: {problem}", uploaded.video)),
        }
    }

    async fn look_at(&self, uploaded: &Uploaded, report: &mut Report) -> Result<(), String> {
        let text = |error: seekway_catalog::Error| error.chain();
        let jobs = self.catalog.jobs().of_video(uploaded.video).await.map_err(text)?;
        let [job] = jobs.as_slice() else { return Err(format!("there are {} jobs", jobs.len())) };
        let video = self.catalog.videos().get(uploaded.video).await.map_err(text)?;
        if (job.state, video.state) != (JobState::Succeeded, VideoState::Ready) {
            return Err(format!("{:?} {:?}", job, video.state));
        }
        if job.worker.is_some() || job.leased_until_ms.is_some() {
            return Err(format!("somebody still has it: {job:?}"));
        }
        if video.published_prefix != Some(job.prefix()) {
            return Err(format!("{:?} is published, not {}", video.published_prefix, job.prefix()));
        }
        let events = self.catalog.videos().events_after(video.id, 0, 1000).await.map_err(text)?;
        let published = events.iter().filter(|event| event.kind == "ready").count();
        if published != 1 {
            return Err(format!("it was published {published} times"));
        }
        report.further_attempts += job.attempt - 1;
        report.interruptions += job.interruptions;
        report.failures += job.failures;
        self.is_whole(&job.prefix(), uploaded).await
    }

    /// Whether all that the receipt names is there, and nothing else, and a gateway serves it.
    async fn is_whole(&self, prefix: &str, uploaded: &Uploaded) -> Result<(), String> {
        let receipt = self.read(&format!("{prefix}receipt.json")).await?;
        let receipt: Value = serde_json::from_slice(&receipt).map_err(|error| error.to_string())?;
        if receipt["inputs"][0]["sha256"].as_str() != Some(&uploaded.sha256) {
            return Err(format!("it was made of something else: {}", receipt["inputs"]));
        }
        let outputs = receipt["outputs"].as_array().ok_or("no outputs")?;
        let mut named = BTreeSet::from([format!("{prefix}receipt.json")]);
        for output in outputs {
            let key = format!("{prefix}{}", output["name"].as_str().ok_or("no name")?);
            let bytes = self.read(&key).await?;
            if output["sha256"].as_str() != Some(&sha256(&bytes)) {
                return Err(format!("{key} is not what was made"));
            }
            named.insert(key);
        }
        let there: BTreeSet<_> = self.keys(prefix).await?.into_iter().collect();
        if there != named {
            return Err(format!("{there:?} are there, and not {named:?}"));
        }
        let patch = Patch { visibility: Some(Visibility::Public), ..Patch::default() };
        self.catalog.videos().patch(uploaded.video, patch).await.map_err(|error| error.chain())?;
        let (status, playlist) = get(self.addresses[0], &format!("/media/{prefix}master.m3u8")).await?;
        if !status.is_success() || !playlist.starts_with(b"#EXTM3U") {
            return Err(format!("a gateway says {status}"));
        }
        Ok(())
    }

    /// Waits until nothing is left of what is not `known`: objects, multipart uploads, rows of the outbox, messages,
    /// folders of attempts. Whether there are `videos` and no others.
    pub(crate) async fn nothing_is_left(
        &self,
        known: &[Video],
        videos: usize,
        scratch: &[std::path::PathBuf],
        report: &mut Report,
    ) {
        let is_known = |key: &String| {
            known.iter().any(|video| {
                let published = video.published_prefix.as_ref();
                *key == video.source.key || published.is_some_and(|prefix| key.starts_with(prefix))
            })
        };
        self.until(report, async |report| {
            let mut keys = self.keys("").await?;
            report.objects = keys.len();
            keys.retain(|key| !is_known(key));
            if !keys.is_empty() {
                return Err(format!("objects of nobody: {keys:?}"));
            }
            let uploads = self.store.list_multipart("", Page { after: None, limit: 1000 }).await;
            let uploads = uploads.map_err(|error| error.chain())?.entries;
            if uploads.is_empty() { Ok(()) } else { Err(format!("multipart uploads: {uploads:?}")) }
        })
        .await;
        self.until(report, async |_| {
            let rows = self.catalog.outbox().count().await.map_err(|error| error.chain())?;
            if rows == 0 { Ok(()) } else { Err(format!("{rows} rows of the outbox are left")) }
        })
        .await;
        self.until(report, async |_| {
            let depth = self.doorbells.depth().await.map_err(|error| error.to_string())?;
            let is_empty = depth.waiting == 0 && depth.in_flight.unwrap_or_default() == 0;
            if is_empty { Ok(()) } else { Err(format!("rings are left: {depth:?}")) }
        })
        .await;
        self.until(report, async |_| {
            let left: Vec<_> = scratch.iter().flat_map(|folder| attempts(folder)).collect();
            if left.is_empty() { Ok(()) } else { Err(format!("folders of attempts are left: {left:?}")) }
        })
        .await;
        let all = self.catalog.videos().list(&Filter::of(Viewer::Admin), None, 100_000).await;
        match all {
            Ok(all) if all.len() == videos => {}
            Ok(all) => report.problem(format!("there are {} videos, not {videos}", all.len())),
            Err(error) => report.problem(error.chain()),
        }
    }

    /// Waits until these are among the dead letters, and there are at most so many.
    pub(crate) async fn dead_letters(
        &self,
        letters: impl AsyncFn() -> String,
        wanted: &[String],
        most: usize,
        report: &mut Report,
    ) {
        if !self.has_broker {
            return;
        }
        self.until(report, async |report| {
            let depth = self.doorbells.depth().await.map_err(|error| error.to_string())?;
            report.dead_letters = depth.dead.ok_or("it does not say how many dead letters there are")?;
            let said = letters().await;
            if !(wanted.len() as u64..=most as u64).contains(&report.dead_letters) {
                let (count, least) = (report.dead_letters, wanted.len());
                return Err(format!("{count} dead letters, not {least} to {most}: {said}"));
            }
            let missing: Vec<_> = wanted.iter().filter(|letter| !said.contains(*letter)).collect();
            if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?} are not in {said}")) }
        })
        .await;
    }

    async fn read(&self, key: &str) -> Result<Vec<u8>, String> {
        let wrong = |error: seekway_storage::Error| format!("{key}: {}", error.chain());
        let name = ObjectKey::new(key).map_err(|error| format!("{key}: {error}"))?;
        let object = self.store.head(&name).await.map_err(wrong)?;
        if object.size == 0 {
            return Ok(Vec::new());
        }
        let got = self.store.get(&name, 0..object.size, Some(&object)).await.map_err(wrong)?;
        let chunks: Vec<_> = got.body.try_collect().await.map_err(wrong)?;
        Ok(chunks.concat())
    }

    async fn keys(&self, prefix: &str) -> Result<Vec<String>, String> {
        let (mut keys, mut after) = (Vec::new(), None);
        loop {
            let page = self.store.list(prefix, Page { after, limit: 1000 }).await;
            let page = page.map_err(|error| error.chain())?;
            keys.extend(page.entries.into_iter().map(|entry| entry.key.as_str().to_owned()));
            after = page.next;
            if after.is_none() {
                return Ok(keys);
            }
        }
    }

    /// Asks until it is so; else what was wrong at last is a problem.
    async fn until<T>(
        &self,
        report: &mut Report,
        mut look: impl AsyncFnMut(&mut Report) -> Result<T, String>,
    ) -> Option<T> {
        let began = Instant::now();
        let mut last = String::new();
        loop {
            match look(report).await {
                Ok(found) => {
                    report.waited(began.elapsed(), &last);
                    return Some(found);
                }
                Err(wrong) if began.elapsed() > PATIENCE => {
                    report.problem(wrong);
                    return None;
                }
                Err(wrong) => last = wrong,
            }
            sleep(LOOK_EVERY).await;
        }
    }
}

/// Folders that attempts have, or had.
fn attempts(scratch: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(scratch).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("attempt-") || name.starts_with("dead-")).collect()
}
