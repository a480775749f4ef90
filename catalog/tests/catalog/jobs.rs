//! What jobs promise.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use seekway_catalog::{
    Catalog, Error, Failure, Job, JobFilter, JobId, JobState, Jobs, NewJob, NewVideo, Patch, Phase, Progress,
    Published, VideoId, VideoState, Videos, Visibility,
};
use tokio::time::sleep;

use crate::stand::{Stand, new_video};
use crate::videos::video;

/// Longer than any test.
const LEASE_MS: i64 = 600_000;

/// More urgent than what other promises left behind, so that a claim finds it.
fn urgent(video: VideoId, priority: i32) -> NewJob {
    NewJob { video, profile: "default".to_owned(), rendition: None, priority }
}

async fn job(catalog: &Catalog, key: &str, priority: i32) -> (VideoId, JobId) {
    let video = video(catalog, None, new_video(key, 1)).await;
    (video, catalog.jobs().add(&urgent(video, priority)).await.expect("adds"))
}

/// What was refused before is taken back a moment later, and until then a claim passes over its row: so it looks again.
async fn claim(catalog: &Catalog, id: JobId) -> Job {
    let look = async || catalog.jobs().claim("a worker", LEASE_MS, u64::MAX).await.expect("claims");
    for _ in 0..100 {
        if let Some(job) = look().await {
            assert_eq!(job.id, id);
            return job;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("there is one");
}

fn outputs() -> Published {
    Published { outputs: "{}".to_owned(), duration_ms: 1500 }
}

/// What the outbox has of a topic, which is no longer there then.
async fn told(catalog: &Catalog, topic: &str) -> Vec<String> {
    let rows = catalog.outbox().claim(topic, 1000, LEASE_MS).await.expect("claims");
    for row in &rows {
        catalog.outbox().done(row).await.expect("done");
    }
    rows.into_iter().map(|row| row.payload).collect()
}

pub(crate) async fn a_job_goes_from_queued_to_published(stand: &Stand) {
    let (catalog, jobs) = (&stand.catalog, stand.catalog.jobs());
    told(catalog, Jobs::READY).await;
    let (video, id) = job(catalog, "jobs/whole", 100).await;
    assert_eq!(told(catalog, Jobs::READY).await, [id.to_string()]);
    let claimed = claim(catalog, id).await;
    assert_eq!((claimed.state, claimed.attempt), (JobState::Leased, 1));
    assert!(claimed.leased_until_ms.expect("leased") > claimed.now_ms);
    jobs.start(id, 1).await.expect("starts");
    assert_eq!(catalog.videos().get(video).await.expect("finds").state, VideoState::Processing);
    let progress =
        Progress { phase: Phase::Transcoding, percent: 40, speed_milli: Some(1500), eta_seconds: Some(9) };
    jobs.set_progress(id, 1, progress).await.expect("notes");
    assert_eq!(catalog.videos().get(video).await.expect("finds").progress, Some(progress));
    assert!(!jobs.renew(id, 1, LEASE_MS).await.expect("renews").is_cancelled);
    jobs.succeed(id, 1, &outputs()).await.expect("publishes");
    let done = catalog.videos().get(video).await.expect("finds");
    assert_eq!((done.state, done.progress), (VideoState::Ready, None));
    assert_eq!((done.published_prefix, done.duration_ms), (Some(claimed.prefix()), Some(1500)));
    assert_eq!(jobs.get(id).await.expect("finds").state, JobState::Succeeded);
    assert_eq!(jobs.of_video(video).await.expect("lists").len(), 1);
    let events = catalog.videos().events_after(video, 0, 100).await.expect("lists");
    let kinds: Vec<_> = events.iter().map(|event| event.kind.as_str()).collect();
    assert_eq!(kinds, ["uploaded", "processing", "ready"], "progress is {} no more", Videos::PROGRESS);
    assert!(matches!(jobs.fail(id, 1, Failure::Input, "late", None).await, Err(Error::Superseded)));
}

pub(crate) async fn many_who_claim_get_each_job_once(stand: &Stand) {
    let catalog = &stand.catalog;
    let mut made = HashSet::new();
    for nth in 0..20 {
        made.insert(job(catalog, &format!("jobs/many/{nth}"), 90).await.1);
    }
    let others = [stand.another().await, stand.another().await];
    let workers = (0..8).map(|nth| {
        let catalog = others.get(nth % 3).unwrap_or(catalog);
        let (mut claimed, made) = (Vec::new(), &made);
        async move {
            while claimed.len() < made.len()
                && let Some(job) =
                    catalog.jobs().claim(&format!("worker {nth}"), LEASE_MS, u64::MAX).await.expect("claims")
                && made.contains(&job.id)
            {
                claimed.push(job.id);
            }
            claimed
        }
    });
    let claimed: Vec<_> = join_all(workers).await.into_iter().flatten().collect();
    assert_eq!(claimed.len(), made.len());
    assert_eq!(claimed.into_iter().collect::<HashSet<_>>(), made);
}

pub(crate) async fn what_matters_more_is_claimed_first(stand: &Stand) {
    let catalog = &stand.catalog;
    let (_, later) = job(catalog, "jobs/later", 70).await;
    let (_, soon) = job(catalog, "jobs/soon", 80).await;
    let (_, after) = job(catalog, "jobs/after", 80).await;
    let none = catalog.jobs().claim("a worker with a full disk", LEASE_MS, 0).await;
    assert_eq!(none.expect("looks"), None);
    for expected in [soon, after, later] {
        claim(catalog, expected).await;
    }
}

pub(crate) async fn only_the_newest_attempt_counts(stand: &Stand) {
    let (catalog, jobs) = (&stand.catalog, stand.catalog.jobs());
    let (video, id) = job(catalog, "jobs/zombie", 100).await;
    let first = claim(catalog, id).await;
    jobs.start(id, 1).await.expect("starts");
    told(catalog, Jobs::LEFT).await;
    jobs.release(id, 1).await.expect("gives it back");
    assert_eq!(told(catalog, Jobs::LEFT).await, [first.prefix()]);
    let second = claim(catalog, id).await;
    assert_eq!((second.attempt, second.failures, second.interruptions), (2, 0, 0));
    assert_ne!(first.prefix(), second.prefix());
    for late in [
        jobs.start(id, 1).await,
        jobs.renew(id, 1, LEASE_MS).await.map(drop),
        jobs.succeed(id, 1, &outputs()).await,
        jobs.fail(id, 1, Failure::Input, "x", None).await.map(drop),
        jobs.release(id, 1).await,
        jobs.cancelled(id, 1).await,
    ] {
        assert!(matches!(late, Err(Error::Superseded)), "{late:?}");
    }
    assert!(matches!(jobs.succeed(id, 2, &outputs()).await, Err(Error::IllegalTransition { .. })));
    jobs.start(id, 2).await.expect("the video is being processed already");
    jobs.succeed(id, 2, &outputs()).await.expect("publishes");
    assert_eq!(catalog.videos().get(video).await.expect("finds").published_prefix, Some(second.prefix()));
}

pub(crate) async fn a_lease_that_is_not_renewed_is_over(stand: &Stand) {
    let (catalog, jobs) = (&stand.catalog, stand.catalog.jobs());
    let (_, id) = job(catalog, "jobs/lease", 100).await;
    let short = jobs.claim("a worker", 1, u64::MAX).await.expect("claims").expect("there is one");
    assert_eq!(short.id, id);
    sleep(Duration::from_millis(5)).await;
    // Late, but nobody else has it.
    jobs.renew(id, 1, 1).await.expect("renews");
    sleep(Duration::from_millis(5)).await;
    let other = stand.another().await;
    let here = catalog.jobs();
    let there = other.jobs();
    let (one, two) = tokio::join!(here.expire(100), there.expire(100));
    let expired = [one.expect("looks"), two.expect("looks")].concat();
    assert_eq!(expired.iter().filter(|job| job.id == id).count(), 1, "one of them says so");
    assert!(matches!(jobs.renew(id, 1, LEASE_MS).await, Err(Error::Superseded)));
    let left = jobs.get(id).await.expect("finds");
    assert_eq!((left.state, left.interruptions), (JobState::Retry, 1));
    assert_eq!(left.problem.as_deref(), Some("The worker vanished."));
    assert_eq!(claim(catalog, id).await.attempt, 2);
}

pub(crate) async fn failures_are_tried_again_by_what_they_are(stand: &Stand) {
    let (catalog, jobs) = (&stand.catalog, stand.catalog.jobs());
    // How often each is tried before it is dead, and whether there are pauses.
    for (failure, tries, pauses) in [
        (Failure::Input, 1, false),
        (Failure::Memory, 2, true),
        (Failure::Infrastructure, 6, true),
        (Failure::Interrupted, 10, false),
    ] {
        let (video, id) = job(catalog, &format!("jobs/{}", failure.as_str()), 100).await;
        let mut pause = 0;
        for attempt in 1..=tries {
            let left = jobs.get(id).await.expect("finds");
            assert_eq!(left.due_ms > left.now_ms, pauses && attempt > 1, "{failure:?} {attempt}");
            let waits = (left.due_ms - left.now_ms).max(0);
            assert!(waits >= pause, "ever longer");
            pause = waits / 2;
            if left.due_ms > left.now_ms {
                jobs.hurry(id).await.expect("is due");
            }
            claim(catalog, id).await;
            jobs.start(id, attempt).await.expect("starts");
            let state = jobs.fail(id, attempt, failure, "It went wrong.", Some("the log")).await;
            let expected = if attempt == tries { JobState::Dead } else { JobState::Retry };
            assert_eq!(state.expect("fails"), expected, "{failure:?} {attempt}");
        }
        let dead = jobs.get(id).await.expect("finds");
        assert_eq!((dead.failure, dead.log.as_deref()), (Some(failure), Some("the log")));
        let video = catalog.videos().get(video).await.expect("finds");
        assert_eq!((video.state, video.problem.as_deref()), (VideoState::Failed, Some("It went wrong.")));
    }
}

pub(crate) async fn a_job_can_be_given_up_and_tried_again(stand: &Stand) {
    let (catalog, jobs) = (&stand.catalog, stand.catalog.jobs());
    let (_, id) = job(catalog, "jobs/cancelled", 100).await;
    assert_eq!(jobs.cancel(id).await.expect("cancels"), JobState::Cancelled);
    assert_eq!(jobs.cancel(id).await.expect("does nothing"), JobState::Cancelled);
    jobs.redrive(id).await.expect("is tried again");
    assert!(matches!(jobs.redrive(id).await, Err(Error::IllegalTransition { .. })));
    claim(catalog, id).await;
    jobs.start(id, 1).await.expect("starts");
    assert_eq!(jobs.cancel(id).await.expect("asks"), JobState::Running);
    assert!(jobs.renew(id, 1, LEASE_MS).await.expect("renews").is_cancelled);
    jobs.cancelled(id, 1).await.expect("stops");
    let job = jobs.get(id).await.expect("finds");
    assert_eq!(job.state, JobState::Cancelled);
    assert_eq!(catalog.videos().get(job.video).await.expect("finds").state, VideoState::Uploaded);
    // One that waits for another attempt leaves no video behind that is being processed.
    jobs.redrive(id).await.expect("is tried again");
    claim(catalog, id).await;
    jobs.start(id, 2).await.expect("starts");
    jobs.fail(id, 2, Failure::Infrastructure, "x", None).await.expect("fails");
    assert_eq!(jobs.cancel(id).await.expect("cancels"), JobState::Cancelled);
    assert_eq!(catalog.videos().get(job.video).await.expect("finds").state, VideoState::Uploaded);
    // One that was given up is that, however its attempt ends.
    jobs.redrive(id).await.expect("is tried again");
    claim(catalog, id).await;
    jobs.start(id, 3).await.expect("starts");
    jobs.cancel(id).await.expect("asks");
    let ended = jobs.fail(id, 3, Failure::Infrastructure, "x", None).await;
    assert_eq!(ended.expect("fails"), JobState::Cancelled);
    jobs.redrive(id).await.expect("is tried again");
    claim(catalog, id).await;
    jobs.cancel(id).await.expect("asks");
    jobs.release(id, 4).await.expect("gives it back");
    assert_eq!(jobs.get(id).await.expect("finds").state, JobState::Cancelled);
    // One whose worker vanishes is cancelled all the same.
    jobs.redrive(id).await.expect("is tried again");
    jobs.claim("a worker", 1, u64::MAX).await.expect("claims").expect("there is one");
    jobs.cancel(id).await.expect("asks");
    sleep(Duration::from_millis(5)).await;
    jobs.expire(100).await.expect("looks");
    assert_eq!(jobs.get(id).await.expect("finds").state, JobState::Cancelled);
}

pub(crate) async fn what_was_published_stays_until_there_is_better(stand: &Stand) {
    let (catalog, jobs) = (&stand.catalog, stand.catalog.jobs());
    let (video, first) = job(catalog, "jobs/again", 100).await;
    let before = claim(catalog, first).await;
    jobs.start(first, 1).await.expect("starts");
    jobs.succeed(first, 1, &outputs()).await.expect("publishes");
    let second = jobs.add(&urgent(video, 100)).await.expect("adds");
    claim(catalog, second).await;
    jobs.start(second, 1).await.expect("starts");
    jobs.fail(second, 1, Failure::Input, "It went wrong.", None).await.expect("fails");
    let ready = catalog.videos().get(video).await.expect("finds");
    assert_eq!((ready.state, ready.published_prefix), (VideoState::Ready, Some(before.prefix())));
    jobs.redrive(second).await.expect("is tried again");
    told(catalog, Jobs::LEFT).await;
    let after = claim(catalog, second).await;
    jobs.start(second, 2).await.expect("starts");
    jobs.succeed(second, 2, &outputs()).await.expect("publishes");
    assert_eq!(told(catalog, Jobs::LEFT).await, [before.prefix()]);
    assert_eq!(catalog.videos().get(video).await.expect("finds").published_prefix, Some(after.prefix()));
    // A video that is being deleted is nobody's work.
    let third = jobs.add(&urgent(video, 100)).await.expect("adds");
    claim(catalog, third).await;
    catalog.videos().delete(video).await.expect("deletes");
    assert!(matches!(jobs.start(third, 1).await, Err(Error::NotFound)));
}

pub(crate) async fn a_video_is_processed_by_one_job_at_a_time(stand: &Stand) {
    let (catalog, jobs) = (&stand.catalog, stand.catalog.jobs());
    let new = NewVideo { profile: Some("small".to_owned()), ..new_video("jobs/alone", 1) };
    let video = video(catalog, None, new).await;
    let first = jobs.of_video(video).await.expect("lists").pop().expect("it came with the video");
    assert_eq!((first.state, first.profile.as_str()), (JobState::Queued, "small"));
    assert!(matches!(jobs.process_again(&urgent(video, 100)).await, Err(Error::Conflict(_))));
    jobs.cancel(first.id).await.expect("cancels");
    let second = jobs.process_again(&urgent(video, 100)).await.expect("adds");
    assert!(matches!(jobs.redrive(first.id).await, Err(Error::Conflict(_))), "nor is an old one tried again");
    let place = |state| Jobs::OPEN.iter().position(|open| *open == state).expect("it is open");
    let before = jobs.counts().await.expect("counts");
    let filter = JobFilter { state: Some(JobState::Queued), is_unowned: true };
    let queued = jobs.list(filter, None, 100).await.expect("lists");
    assert_eq!((queued[0].id, queued.len() as u64), (second, before[place(JobState::Queued)]));
    let after = jobs.list(filter, Some(second), 100).await.expect("lists");
    assert_eq!(after, queued[1..]);
    claim(catalog, second).await;
    let now = jobs.counts().await.expect("counts");
    assert_eq!(now[place(JobState::Queued)] + 1, before[place(JobState::Queued)]);
    assert_eq!(now[place(JobState::Leased)], before[place(JobState::Leased)] + 1);
    jobs.cancelled(second, 1).await.expect("stops");
}

pub(crate) async fn what_is_published_is_told_of_with_its_video(stand: &Stand) {
    let (catalog, jobs) = (&stand.catalog, stand.catalog.jobs());
    let (video, id) = job(catalog, "jobs/told", 100).await;
    let mut last = catalog.changes().last().await.expect("counts");
    let mut news = async || {
        let changes = catalog.changes().after(last, 100).await.expect("lists");
        last = changes.last().map_or(last, |change| change.number);
        changes.into_iter().map(|change| change.key).collect::<Vec<_>>()
    };
    let first = claim(catalog, id).await.prefix();
    assert!(jobs.is_in_use(&first).await.expect("looks"), "an attempt is at it");
    jobs.start(id, 1).await.expect("starts");
    jobs.succeed(id, 1, &outputs()).await.expect("publishes");
    assert_eq!(news().await, [first.as_str()]);
    assert_eq!(catalog.videos().access_to_published(video, &first).await.expect("finds").video, video);
    let again = jobs.process_again(&urgent(video, 100)).await.expect("adds");
    let second = claim(catalog, again).await.prefix();
    jobs.start(again, 1).await.expect("starts");
    jobs.succeed(again, 1, &outputs()).await.expect("publishes");
    assert_eq!(news().await, [first.as_str(), &second]);
    assert!(matches!(catalog.videos().access_to_published(video, &first).await, Err(Error::NotFound)));
    let all = format!("processed/{video}/");
    let in_use = [jobs.is_in_use(&first).await, jobs.is_in_use(&second).await, jobs.is_in_use(&all).await];
    assert_eq!(in_use.map(|is| is.expect("looks")), [false, true, true]);
    let patch = Patch { visibility: Some(Visibility::Public), ..Patch::default() };
    catalog.videos().patch(video, patch).await.expect("changes");
    let both = ["jobs/told".to_owned(), second];
    assert_eq!(news().await, both);

    // Its end is that of its jobs, whether somebody is at them or not.
    let (waits, runs) = (jobs.add(&urgent(video, 90)).await, jobs.add(&urgent(video, 100)).await);
    let (waits, runs) = (waits.expect("adds"), runs.expect("adds"));
    claim(catalog, runs).await;
    catalog.videos().delete(video).await.expect("deletes");
    assert_eq!(news().await, both);
    assert_eq!(jobs.get(waits).await.expect("finds").state, JobState::Cancelled);
    assert!(jobs.renew(runs, 1, LEASE_MS).await.expect("renews").is_cancelled);
    assert!(matches!(jobs.process_again(&urgent(video, 0)).await, Err(Error::NotFound)));
    told(catalog, Jobs::LEFT).await;
    catalog.videos().gone(video).await.expect("goes");
    assert_eq!(news().await, both);
    assert_eq!(told(catalog, Jobs::LEFT).await, [all], "the attempt may still put something there");
    assert!(matches!(jobs.renew(runs, 1, LEASE_MS).await, Err(Error::NotFound)));
}

pub(crate) async fn outstanding_work_is_what_jobs_of_its_kind_took(stand: &Stand) {
    let (catalog, jobs) = (&stand.catalog, stand.catalog.jobs());
    let of_kind = async |key: &str| {
        let video = video(catalog, None, new_video(key, 1)).await;
        let new = NewJob { profile: "measured".to_owned(), ..urgent(video, 300) };
        jobs.add(&new).await.expect("adds")
    };
    let before = jobs.outstanding().await.expect("counts");
    let first = of_kind("work/first").await;
    assert_eq!(jobs.outstanding().await.expect("counts").unprobed, before.unprobed + 1);
    // One that makes ten seconds, in some hundredths of one.
    assert_eq!(claim(catalog, first).await.attempt, 1);
    jobs.start(first, 1).await.expect("starts");
    jobs.set_length(first, 1, 10_000).await.expect("notes");
    sleep(Duration::from_millis(50)).await;
    jobs.succeed(first, 1, &outputs()).await.expect("publishes");
    assert!(matches!(jobs.set_length(first, 1, 1).await, Err(Error::Superseded)));
    let done = jobs.outstanding().await.expect("counts");
    assert_eq!(done.unprobed, before.unprobed);

    // Another of twice the length is twice as much work, and not twenty seconds.
    let second = of_kind("work/second").await;
    assert_eq!(claim(catalog, second).await.attempt, 1);
    jobs.start(second, 1).await.expect("starts");
    jobs.set_length(second, 1, 20_000).await.expect("notes");
    let running = jobs.outstanding().await.expect("counts").running_seconds - done.running_seconds;
    jobs.release(second, 1).await.expect("gives back");
    let waiting = jobs.outstanding().await.expect("counts").waiting_seconds - done.waiting_seconds;
    assert!((0.1..20.0).contains(&waiting), "{waiting} s");
    assert!(running > 0.0 && running <= waiting, "{running} of {waiting} s are left");
    jobs.cancel(second).await.expect("gives up");
}
