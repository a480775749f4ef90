//! What jobs promise that are split.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use seekway_catalog::{
    Catalog, Error, Failure, Job, JobFilter, JobId, JobState, Jobs, NewPart, Phase, Progress, VideoId,
    VideoState,
};
use tokio::time::sleep;

use crate::jobs::{LEASE_MS, claim, job, outputs, told, urgent};
use crate::stand::Stand;

/// So many parts of a minute, after one that takes nothing.
fn minutes(count: usize) -> Vec<NewPart> {
    let part = |nth: usize| NewPart {
        brief: format!("part {nth}"),
        media_ms: if nth == 0 { 0 } else { 60_000 },
        source_bytes: Some(10),
    };
    (0..=count).map(part).collect()
}

/// A job that is split into so many, by its first attempt.
async fn split(catalog: &Catalog, key: &str, count: usize) -> (VideoId, JobId) {
    let (video, id) = job(catalog, key, 100).await;
    claim(catalog, id).await;
    catalog.jobs().start(id, 1).await.expect("starts");
    catalog.jobs().split(id, 1, "join", &minutes(count)).await.expect("splits");
    (video, id)
}

/// Claims the part whose turn it is.
async fn next(catalog: &Catalog, whole: JobId) -> Job {
    for _ in 0..100 {
        if let Some(part) = catalog.jobs().claim("a worker", LEASE_MS, u64::MAX).await.expect("claims") {
            assert_eq!(part.parent, Some(whole), "{part:?}");
            catalog.jobs().start(part.id, part.attempt).await.expect("starts");
            return part;
        }
        sleep(Duration::from_millis(10)).await;
    }
    panic!("there is one");
}

fn states(parts: &[Job]) -> Vec<JobState> {
    parts.iter().map(|part| part.state).collect()
}

pub(crate) async fn a_split_job_waits_for_its_parts_and_is_then_put_together(stand: &Stand) {
    let (catalog, jobs) = (&stand.catalog, stand.catalog.jobs());
    let (video, id) = split(catalog, "parts/whole", 2).await;
    let waits = jobs.get(id).await.expect("finds");
    assert_eq!((waits.state, waits.worker, waits.leased_until_ms), (JobState::Waiting, None, None));
    assert!(matches!(jobs.renew(id, 1, LEASE_MS).await, Err(Error::Superseded)), "nobody is at it");
    assert!(matches!(jobs.process_again(&urgent(video, 100)).await, Err(Error::Conflict(_))));
    let parts = jobs.parts(id).await.expect("lists");
    assert_eq!(
        parts.iter().map(|part| part.brief.as_deref()).collect::<Vec<_>>(),
        [Some("part 0"), Some("part 1"), Some("part 2")]
    );
    let told_of: HashSet<_> = told(catalog, Jobs::READY).await.into_iter().collect();
    assert!(parts.iter().all(|part| told_of.contains(&part.id.to_string())));
    // They are no jobs of the video's own.
    assert_eq!(jobs.of_video(video).await.expect("lists").len(), 1);
    let filter = JobFilter { state: Some(JobState::Queued), is_unowned: false };
    assert!(jobs.list(filter, None, 1000).await.expect("lists").iter().all(|job| job.parent.is_none()));
    for refused in [jobs.cancel(parts[0].id).await.map(drop), jobs.redrive(parts[0].id).await] {
        assert!(matches!(refused, Err(Error::Conflict(_) | Error::IllegalTransition { .. })), "{refused:?}");
    }
    let percent =
        async || catalog.videos().get(video).await.expect("finds").progress.expect("it moves").percent;
    let at = |percent| Progress { phase: Phase::Transcoding, percent, speed_milli: None, eta_seconds: None };
    assert_eq!(percent().await, 6);
    let mut seen = Vec::new();
    for nth in 0..3 {
        let part = next(catalog, id).await;
        assert_eq!(part.brief.as_deref(), Some(format!("part {nth}").as_str()));
        if nth == 1 {
            jobs.set_progress(part.id, 1, at(50)).await.expect("notes");
            assert_eq!(percent().await, 6 + 82 / 4);
            // Begun anew, it does not take the video back.
            jobs.release(part.id, 1).await.expect("gives it back");
            assert_eq!(percent().await, 6 + 82 / 4);
            let again = next(catalog, id).await;
            assert_eq!((again.id, again.attempt), (part.id, 2));
            jobs.set_progress(part.id, 2, at(10)).await.expect("notes");
            assert_eq!(percent().await, 6 + 82 / 4);
        }
        let attempt = if nth == 1 { 2 } else { 1 };
        jobs.part_made(part.id, attempt, "files").await.expect("is made");
        let made = jobs.get(part.id).await.expect("finds");
        assert_eq!((made.state, made.made.as_deref()), (JobState::Succeeded, Some("files")));
        assert!(jobs.is_in_use(&made.prefix()).await.expect("looks"), "it has yet to be put together");
        seen.push(made.prefix());
    }
    assert_eq!(percent().await, 88);
    let whole = claim(catalog, id).await;
    assert_eq!((whole.attempt, whole.brief.as_deref()), (2, Some("join")));
    jobs.start(id, 2).await.expect("starts");
    told(catalog, Jobs::LEFT).await;
    jobs.succeed(id, 2, &outputs()).await.expect("publishes");
    assert_eq!(catalog.videos().get(video).await.expect("finds").published_prefix, Some(whole.prefix()));
    let mut left = told(catalog, Jobs::LEFT).await;
    left.sort();
    seen.sort();
    assert_eq!(left, seen, "what parts made is of no more use");
    assert!(!jobs.is_in_use(&seen[0]).await.expect("looks"));
}

pub(crate) async fn parts_take_turns_with_other_jobs(stand: &Stand) {
    let (catalog, jobs) = (&stand.catalog, stand.catalog.jobs());
    let (_, long) = split(catalog, "parts/long", 3).await;
    // The sound and the first minute were there before the short one.
    sleep(Duration::from_millis(10)).await;
    let (_, short) = job(catalog, "parts/short", 100).await;
    for expected in ["part 0", "part 1"] {
        assert_eq!(next(catalog, long).await.brief.as_deref(), Some(expected));
    }
    claim(catalog, short).await;
    for expected in ["part 2", "part 3"] {
        assert_eq!(next(catalog, long).await.brief.as_deref(), Some(expected));
    }
    // What needs more of the source than there is room for is left to others.
    let (_, other) = split(catalog, "parts/room", 1).await;
    assert_eq!(jobs.claim("a worker with a full disk", LEASE_MS, 9).await.expect("looks"), None);
    assert!(jobs.claim("a worker with some room", LEASE_MS, 10).await.expect("looks").is_some());
    for whole in [long, other] {
        assert_eq!(jobs.cancel(whole).await.expect("is given up"), JobState::Cancelled);
    }
}

pub(crate) async fn a_dead_part_ends_the_whole_and_what_is_made_stays(stand: &Stand) {
    use JobState::{Cancelled, Dead, Queued, Running, Succeeded};
    let (catalog, jobs) = (&stand.catalog, stand.catalog.jobs());
    let (video, id) = split(catalog, "parts/dead", 4).await;
    let (made, hit, beside) = (next(catalog, id).await, next(catalog, id).await, next(catalog, id).await);
    jobs.part_made(made.id, 1, "files").await.expect("is made");
    told(catalog, Jobs::DEAD).await;
    let state = jobs.fail(hit.id, 1, Failure::Input, "It went wrong.", Some("the log")).await;
    assert_eq!(state.expect("fails"), JobState::Dead);
    let dead = jobs.get(id).await.expect("finds");
    assert_eq!(
        (dead.state, dead.failure, dead.log.as_deref()),
        (JobState::Dead, Some(Failure::Input), Some("the log"))
    );
    let failed = catalog.videos().get(video).await.expect("finds");
    assert_eq!((failed.state, failed.problem.as_deref()), (VideoState::Failed, Some("It went wrong.")));
    assert_eq!(told(catalog, Jobs::DEAD).await, [id.to_string()], "the whole, and not its part");
    let now = async || states(&jobs.parts(id).await.expect("lists"));
    assert_eq!(now().await, [Succeeded, Dead, Running, Cancelled, Cancelled]);
    assert!(jobs.renew(beside.id, 1, LEASE_MS).await.expect("renews").is_cancelled);
    assert!(jobs.is_in_use(&made.prefix()).await.expect("looks"));
    // Tried again before it has stopped, it goes on, or is begun again.
    jobs.redrive(id).await.expect("is tried again");
    assert_eq!(jobs.get(id).await.expect("finds").state, JobState::Waiting);
    assert_eq!(now().await, [Succeeded, Queued, Running, Queued, Queued]);
    jobs.cancelled(beside.id, 1).await.expect("it had heard of it");
    assert_eq!(now().await, [Succeeded, Queued, Queued, Queued, Queued]);
    for _ in 0..4 {
        let part = next(catalog, id).await;
        jobs.part_made(part.id, part.attempt, "files").await.expect("is made");
    }
    let attempts: Vec<_> = jobs.parts(id).await.expect("lists").iter().map(|part| part.attempt).collect();
    assert_eq!(attempts, [1, 2, 2, 1, 1], "what was made is not made again");
    // Dead while it is put together, it needs nothing but that again.
    claim(catalog, id).await;
    jobs.start(id, 2).await.expect("starts");
    jobs.fail(id, 2, Failure::Input, "It went wrong.", None).await.expect("fails");
    jobs.redrive(id).await.expect("is tried again");
    assert_eq!(claim(catalog, id).await.attempt, 3);
    jobs.start(id, 3).await.expect("starts");
    jobs.fail(id, 3, Failure::Input, "It went wrong.", None).await.expect("fails");
    // Another job publishes: then its parts are of no more use, and are made again if they are wanted.
    let other = jobs.process_again(&urgent(video, 100)).await.expect("adds");
    claim(catalog, other).await;
    jobs.start(other, 1).await.expect("starts");
    jobs.succeed(other, 1, &outputs()).await.expect("publishes");
    assert!(!jobs.is_in_use(&made.prefix()).await.expect("looks"));
    jobs.redrive(id).await.expect("is tried again");
    assert_eq!(now().await, [Queued; 5]);
    jobs.cancel(id).await.expect("is given up");
}

pub(crate) async fn what_is_given_up_or_made_whole_has_no_parts(stand: &Stand) {
    let (catalog, jobs) = (&stand.catalog, stand.catalog.jobs());
    let (video, id) = split(catalog, "parts/cancelled", 2).await;
    let (made, runs) = (next(catalog, id).await, next(catalog, id).await);
    jobs.part_made(made.id, 1, "files").await.expect("is made");
    told(catalog, Jobs::LEFT).await;
    assert_eq!(jobs.cancel(id).await.expect("is given up"), JobState::Cancelled);
    assert_eq!(catalog.videos().get(video).await.expect("finds").state, VideoState::Uploaded);
    let mut left = told(catalog, Jobs::LEFT).await;
    left.sort();
    let mut expected = [made.prefix(), runs.prefix()];
    expected.sort();
    assert_eq!(left, expected);
    for late in [
        jobs.part_made(runs.id, 1, "files").await,
        jobs.renew(runs.id, 1, LEASE_MS).await.map(drop),
        jobs.release(runs.id, 1).await,
    ] {
        assert!(matches!(late, Err(Error::NotFound | Error::Superseded)), "{late:?}");
    }
    jobs.redrive(id).await.expect("is tried again");
    let again = claim(catalog, id).await;
    assert_eq!((again.brief, again.attempt), (None, 2), "it begins anew");
    jobs.start(id, 2).await.expect("starts");
    jobs.split(id, 2, "join", &minutes(2)).await.expect("splits");
    // A part finds that it cannot be.
    let (first, second) = (next(catalog, id).await, next(catalog, id).await);
    told(catalog, Jobs::LEFT).await;
    jobs.unsplit(first.id, 1, "whole").await.expect("is made whole");
    assert!(matches!(jobs.unsplit(second.id, 1, "whole").await, Err(Error::NotFound)));
    assert_eq!(told(catalog, Jobs::LEFT).await.len(), 2);
    let whole = claim(catalog, id).await;
    assert_eq!((whole.brief.as_deref(), jobs.parts(id).await.expect("lists").len()), (Some("whole"), 0));
    // One whose workers vanish: its parts are tried again, and its video with them when it goes.
    jobs.start(id, 3).await.expect("starts");
    jobs.split(id, 3, "join", &minutes(1)).await.expect("splits");
    let lost = jobs.claim("a worker", 1, u64::MAX).await.expect("claims").expect("there is one");
    sleep(Duration::from_millis(5)).await;
    let expired = jobs.expire(100).await.expect("looks");
    assert_eq!(expired.iter().filter(|job| job.id == lost.id).count(), 1);
    let back = jobs.get(lost.id).await.expect("finds");
    assert_eq!((back.state, back.interruptions), (JobState::Retry, 1));
    let part = next(catalog, id).await;
    catalog.videos().delete(video).await.expect("deletes");
    assert_eq!(jobs.get(id).await.expect("finds").state, JobState::Cancelled);
    assert!(jobs.renew(part.id, part.attempt, LEASE_MS).await.expect("renews").is_cancelled);
    jobs.cancelled(part.id, part.attempt).await.expect("stops");
    catalog.videos().gone(video).await.expect("goes");
    assert!(matches!(jobs.get(part.id).await, Err(Error::NotFound)));
}

pub(crate) async fn many_who_end_the_last_parts_have_the_whole_claimed_once(stand: &Stand) {
    let catalog = &stand.catalog;
    let others = [stand.another().await, stand.another().await];
    for round in 0..5 {
        let (_, id) = split(catalog, &format!("parts/many/{round}"), 7).await;
        let mut parts = Vec::new();
        for _ in 0..8 {
            parts.push(next(catalog, id).await);
        }
        told(catalog, Jobs::READY).await;
        let ends = parts.iter().enumerate().map(|(nth, part)| {
            let catalog = others.get(nth % 3).unwrap_or(catalog);
            async move { catalog.jobs().part_made(part.id, 1, "files").await.expect("is made") }
        });
        join_all(ends).await;
        assert_eq!(told(catalog, Jobs::READY).await, [id.to_string()]);
        assert_eq!(claim(catalog, id).await.attempt, 2);
    }
}
