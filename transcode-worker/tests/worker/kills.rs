//! Workers that are killed, stopped, frozen and cut off at any moment: each job is published once, and nothing is left.

use std::time::Duration;

use rustix::process::Signal;
use seekway_catalog::{Failure, JobState, Phase, VideoState};
use seekway_loadtests::postgres::Postgres;
use seekway_loadtests::seaweed::SeaweedFs;
use seekway_loadtests::way::{Traffic, Way};
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use crate::sources::make;
use crate::stand::{Stand, Worker};

/// Takes some seconds, so that there is a middle.
const LONG: &str =
    "-f lavfi -i testsrc2=size=1280x720:rate=30:duration=20 -c:v libx264 -preset ultrafast long.mp4";
const SHORT: &str = "-f lavfi -i testsrc2=size=320x180:rate=25:duration=2 -f lavfi -i sine=duration=2 \
                     -c:v libx264 -preset ultrafast -c:a aac short.mp4";
/// As short as it may be.
const LEASE: (&str, &str) = ("SEEKWAY_WORKER_LEASE", "2s");

/// Waits until the job's worker has come so far.
async fn reaches(stand: &Stand, job: seekway_catalog::JobId, phase: Phase) {
    let until = Instant::now() + Duration::from_mins(1);
    loop {
        let now = stand.catalog.jobs().get(job).await.expect("it is there");
        let progress = stand.video(now.video).await.progress;
        if progress.is_some_and(|progress| progress.phase >= phase) || now.state == JobState::Succeeded {
            return;
        }
        assert!(Instant::now() < until, "{now:?} {progress:?}");
        sleep(Duration::from_millis(5)).await;
    }
}

async fn exit(mut worker: Worker) -> std::process::ExitStatus {
    let until = Instant::now() + Duration::from_mins(1);
    loop {
        if let Some(status) = worker.0.try_wait().expect("a child") {
            return status;
        }
        assert!(Instant::now() < until, "it does not end");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_worker_killed_in_any_phase_costs_time_only() {
    let stand = Stand::new().await;
    let source = make(stand.folder.path(), LONG);
    let mut jobs = Vec::new();
    for phase in [Phase::Fetching, Phase::Probing, Phase::Transcoding, Phase::Packaging, Phase::Publishing] {
        let (_, job) = stand.job(&source, "default").await;
        let worker = stand.worker(&[LEASE]);
        reaches(&stand, job, phase).await;
        // Dropping it kills it.
        drop(worker);
        stand.is_quiet().await;
        jobs.push(job);
        // At the end of a phase it may have been too late.
        let _next = stand.worker(&[LEASE]);
        let ended = stand.ended(job).await;
        assert!(ended.interruptions <= 1 && ended.failures == 0, "{ended:?}");
    }
    stand.is_settled(&jobs).await;
}

#[tokio::test]
async fn a_worker_that_is_asked_to_stop_gives_its_work_back_and_it_counts_as_nothing() {
    let stand = Stand::new().await;
    let source = make(stand.folder.path(), LONG);
    let (_, job) = stand.job(&source, "default").await;
    let worker = stand.worker(&[("SEEKWAY_WORKER_DRAIN", "0s")]);
    reaches(&stand, job, Phase::Transcoding).await;
    worker.signal(Signal::TERM);
    assert_eq!(exit(worker).await.code(), Some(0));
    let back = stand.catalog.jobs().get(job).await.expect("it is there");
    assert_eq!((back.state, back.failures, back.interruptions), (JobState::Queued, 0, 0));
    // With time to end what it does, it ends that, and takes nothing else.
    let (_, other) = stand.job(&source, "default").await;
    let worker = stand.worker(&[("SEEKWAY_WORKER_DRAIN", "60s")]);
    reaches(&stand, job, Phase::Transcoding).await;
    worker.signal(Signal::TERM);
    assert_eq!(exit(worker).await.code(), Some(0));
    assert_eq!(stand.catalog.jobs().get(job).await.expect("it is there").state, JobState::Succeeded);
    assert_eq!(stand.catalog.jobs().get(other).await.expect("it is there").state, JobState::Queued);
    let _worker = stand.worker(&[]);
    stand.is_settled(&[job, other]).await;
}

#[tokio::test]
async fn a_job_that_is_given_up_stops_its_ffmpeg() {
    let stand = Stand::new().await;
    let source = make(stand.folder.path(), LONG);
    let (video, job) = stand.job(&source, "ladder").await;
    let _worker = stand.worker(&[LEASE]);
    reaches(&stand, job, Phase::Transcoding).await;
    assert_eq!(stand.catalog.jobs().cancel(job).await.expect("asks"), JobState::Running);
    assert_eq!(stand.ended(job).await.state, JobState::Cancelled);
    stand.is_quiet().await;
    assert_eq!(stand.video(video).await.state, VideoState::Uploaded);
    assert!(stand.keys().await.is_empty());
    // Deleting the video does the same.
    let (video, job) = stand.job(&source, "ladder").await;
    reaches(&stand, job, Phase::Transcoding).await;
    stand.catalog.videos().delete(video).await.expect("deletes");
    stand.until(job, |job| job.state != JobState::Running).await;
    stand.is_quiet().await;
    assert!(stand.keys().await.is_empty());
}

#[tokio::test]
async fn a_worker_that_was_frozen_comes_back_to_nothing() {
    let stand = Stand::new().await;
    let source = make(stand.folder.path(), LONG);
    let (_, job) = stand.job(&source, "default").await;
    let zombie = stand.worker(&[LEASE]);
    reaches(&stand, job, Phase::Transcoding).await;
    zombie.signal(Signal::STOP);
    let second = stand.worker(&[LEASE]);
    let done = stand.ended(job).await;
    assert_eq!((done.state, done.attempt), (JobState::Succeeded, 2));
    zombie.signal(Signal::CONT);
    sleep(Duration::from_secs(1)).await;
    // It notices, and takes the next job: both work.
    drop(second);
    let short = make(stand.folder.path(), SHORT);
    let (_, next) = stand.job(&short, "default").await;
    stand.is_settled(&[job, next]).await;
}

#[tokio::test]
async fn many_jobs_many_workers_and_doorbells_that_ring_twice() {
    let stand = Stand::new().await;
    let source = make(stand.folder.path(), SHORT);
    let count =
        std::env::var("SEEKWAY_JOBS").map_or(12, |jobs| jobs.parse().expect("SEEKWAY_JOBS is a number"));
    let mut jobs = Vec::new();
    for _ in 0..count {
        let job = stand.job(&source, "default").await.1;
        stand.catalog.outbox().add(seekway_catalog::Jobs::READY, &job.to_string()).await.expect("adds");
        jobs.push(job);
    }
    let mut workers: Vec<_> = (0..3).map(|_| stand.worker(&[LEASE, ("SEEKWAY_WORKER_SLOTS", "2")])).collect();
    // A fixed seed, so that a failure can be seen again.
    let mut random = fastrand::Rng::with_seed(6);
    let mut kills = 0;
    for job in &jobs {
        // One kill for each two jobs, at any moment of what is done then.
        while stand.catalog.jobs().get(*job).await.expect("it is there").state != JobState::Succeeded
            && kills < count / 2
        {
            sleep(Duration::from_millis(random.u64(200..900))).await;
            let nth = random.usize(..workers.len());
            workers[nth] = stand.worker(&[LEASE, ("SEEKWAY_WORKER_SLOTS", "2")]);
            kills += 1;
        }
        stand.ended(*job).await;
    }
    stand.is_settled(&jobs).await;
    println!("{count} jobs, {kills} workers killed: each published once, nothing left");
}

#[tokio::test]
async fn a_database_that_is_away_for_a_while_is_waited_for() {
    let mut postgres = Postgres::start().expect("starts");
    let url = postgres.database("jobs").expect("makes");
    let stand = Stand::with(TempDir::new().expect("a folder"), url).await;
    let source = make(stand.folder.path(), LONG);
    let (_, job) = stand.job(&source, "default").await;
    let _worker = stand.worker(&[("SEEKWAY_WORKER_LEASE", "30s")]);
    reaches(&stand, job, Phase::Transcoding).await;
    postgres.restart().expect("comes back");
    let done = stand.ended(job).await;
    assert_eq!((done.state, done.attempt), (JobState::Succeeded, 1), "{done:?}");
    stand.is_settled(&[job]).await;
}

#[tokio::test]
async fn a_worker_that_cannot_renew_stops_before_its_lease_is_over() {
    let postgres = Postgres::start().expect("starts");
    let url = postgres.database("jobs").expect("makes");
    let stand = Stand::with(TempDir::new().expect("a folder"), url).await;
    let source = make(stand.folder.path(), &LONG.replace("duration=20", "duration=60"));
    let (_, job) = stand.job(&source, "default").await;
    let _worker = stand.worker(&[LEASE]);
    reaches(&stand, job, Phase::Transcoding).await;
    postgres.pause();
    // No program runs although nobody could tell the worker anything.
    stand.is_quiet().await;
    postgres.resume();
    let again = stand.until(job, |job| job.attempt > 1).await;
    assert_eq!((again.interruptions, again.failures), (1, 0));
    stand.is_settled(&[job]).await;
}

#[tokio::test]
async fn a_store_that_fails_for_a_while_is_waited_for() {
    let seaweed = SeaweedFs::start().await.expect("starts");
    let way = Way::to(seaweed.address()).await.expect("a way");
    let stand = Stand::s3(&seaweed, &format!("http://{}", way.address())).await;
    let source = make(stand.folder.path(), SHORT);
    way.set(Traffic::Cut);
    let (_, first) = stand.job(&source, "default").await;
    let _worker = stand.worker(&[]);
    let failed = stand.until(first, |job| job.state == JobState::Retry).await;
    assert_eq!(failed.failure, Some(Failure::Infrastructure), "{failed:?}");
    way.set(Traffic::Open);
    stand.catalog.jobs().hurry(first).await.expect("is due");
    stand.ended(first).await;
    // And while it publishes.
    let (_, job) = stand.job(&make(stand.folder.path(), LONG), "default").await;
    reaches(&stand, job, Phase::Packaging).await;
    way.set(Traffic::Cut);
    sleep(Duration::from_millis(500)).await;
    way.set(Traffic::Open);
    let done = stand.until(job, |job| matches!(job.state, JobState::Succeeded | JobState::Retry)).await;
    if done.state == JobState::Retry {
        stand.catalog.jobs().hurry(job).await.expect("is due");
    }
    stand.ended(job).await;
    stand.is_settled(&[first, job]).await;
}

#[tokio::test]
async fn a_job_for_which_the_disk_has_no_room_is_left_to_others() {
    let stand = Stand::new().await;
    let source = make(stand.folder.path(), SHORT);
    let (_, job) = stand.job(&source, "default").await;
    let full = stand.worker(&[("SEEKWAY_SCRATCH_RESERVE", "1PiB")]);
    sleep(Duration::from_secs(1)).await;
    let waits = stand.catalog.jobs().get(job).await.expect("it is there");
    assert_eq!((waits.state, waits.attempt), (JobState::Queued, 0));
    drop(full);
    let _worker = stand.worker(&[]);
    stand.is_settled(&[job]).await;
}

/// A worker whose scratch folder is a disk of its own, of so many MiB, in a mount namespace of its own.
fn worker_on_a_small_disk(stand: &Stand, mebibytes: u32) -> Worker {
    let worker = stand.command(&[LEASE]);
    std::fs::create_dir_all(stand.scratch()).expect("makes");
    let mut inside = std::process::Command::new("unshare");
    inside.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
    inside.arg("mount -t tmpfs -o size=$1m tmpfs \"$2\" && exec \"$3\"").arg("sh").arg(mebibytes.to_string());
    inside.arg(stand.scratch()).arg(worker.get_program()).env_clear();
    inside.envs(worker.get_envs().filter_map(|(name, value)| Some((name, value?))));
    inside.stdin(std::process::Stdio::piped());
    Worker(inside.spawn().expect("unshare is a part of util-linux"))
}

#[tokio::test]
async fn a_disk_that_is_full_is_not_the_videos_fault() {
    let stand = Stand::new().await;
    // What is planned does not fit.
    let long = make(stand.folder.path(), &LONG.replace("1280x720", "640x360"));
    let (_, planned) = stand.job(&long, "default").await;
    let small = worker_on_a_small_disk(&stand, 20);
    let waits = stand.until(planned, |job| job.state == JobState::Retry).await;
    assert_eq!(waits.failure, Some(Failure::Infrastructure));
    assert!(waits.problem.expect("a reason").starts_with("the worker's disk is full: "));
    drop(small);
    // Somebody else fills it while ffmpeg writes.
    let worker = worker_on_a_small_disk(&stand, 60);
    stand.catalog.jobs().hurry(planned).await.expect("is due");
    stand.until(planned, |job| job.attempt == 2 && job.state == JobState::Running).await;
    reaches(&stand, planned, Phase::Transcoding).await;
    let scratch = stand.scratch();
    let inside =
        format!("/proc/{}/root{}", worker.0.id(), scratch.canonicalize().expect("it is there").display());
    let fill = std::path::Path::new(&inside).join("fill");
    let filled = std::fs::write(&fill, vec![0; 100 << 20]);
    assert_eq!(filled.expect_err("it is full").raw_os_error(), Some(28));
    let waits = stand.until(planned, |job| job.state == JobState::Retry && job.attempt == 2).await;
    assert_eq!(waits.failure, Some(Failure::Infrastructure), "{waits:?}");
    assert!(waits.problem.as_deref().expect("a reason").contains("disk"), "{waits:?}");
    std::fs::remove_file(fill).expect("deletes");
    stand.catalog.jobs().hurry(planned).await.expect("is due");
    assert_eq!(stand.ended(planned).await.state, JobState::Succeeded);
}
