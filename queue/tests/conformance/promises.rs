//! What every backend promises.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use seekway_catalog::{Failure, JobId, Jobs};
use seekway_queue::Relay;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::stand::{HANGS_AFTER, Process, Stand};
use crate::work::{Broken, Workers};

/// Longer than the suite takes.
const LEASE_MS: i64 = 600_000;
/// After this another relay takes over.
const RELAY_LEASE: Duration = Duration::from_secs(1);

/// A relay that runs until it is dropped.
struct Running {
    relay: Arc<Relay>,
    _task: JoinSet<()>,
}

fn run(relay: Relay) -> Running {
    let relay = Arc::new(relay.leasing_for(RELAY_LEASE).sweeping_after(RELAY_LEASE));
    let (running, mut task) = (relay.clone(), JoinSet::new());
    task.spawn(async move { running.run(CancellationToken::new()).await });
    Running { relay, _task: task }
}

fn relay(process: &Process) -> Relay {
    Relay::new(process.catalog.clone(), process.doorbells.clone())
}

async fn until(what: &str, is_so: impl AsyncFn() -> bool) {
    let asked = async {
        while !is_so().await {
            sleep(Duration::from_millis(20)).await;
        }
    };
    assert!(timeout(HANGS_AFTER, asked).await.is_ok(), "{what}");
}

/// Whether the outbox has nothing to ring for, now or later.
async fn nothing_is_left(process: &Process) -> bool {
    let left = process.catalog.outbox().claim(Jobs::READY, 100, 1).await.expect("looks");
    left.is_empty()
}

pub(crate) async fn a_ring_is_heard(stand: &mut Stand) {
    let (here, there) = (stand.process().await, stand.process().await);
    let jobs = here.add(1).await;
    let (heard, rung) = tokio::join!(there.hear(), here.doorbells.ring(&jobs));
    rung.expect("rings");
    assert!(heard.job.is_none_or(|job| job == jobs[0]), "{heard:?}");
    there.doorbells.answered(heard.clone()).await.expect("answers");
    there.doorbells.answered(heard).await.expect("does nothing");
    Workers::start(&[there], 1, LEASE_MS).claim(&jobs).await;
    run(relay(&here)).settled(&here).await;
}

pub(crate) async fn a_ring_while_nobody_listens_is_heard_later(stand: &mut Stand) {
    let here = stand.process().await;
    let jobs = here.add(1).await;
    here.doorbells.ring(&jobs).await.expect("rings");
    here.doorbells.close().await;
    let there = stand.process().await;
    let heard = there.hear().await;
    there.doorbells.answered(heard).await.expect("answers");
    run(relay(&there)).settled(&there).await;
    Workers::start(&[there], 1, LEASE_MS).claim(&jobs).await;
}

pub(crate) async fn an_unanswered_ring_is_heard_again(stand: &mut Stand) {
    let (here, there) = (stand.process().await, stand.process().await);
    let unknown = JobId::parse("01890a5d-ac96-774b-bcce-b302099a8057").expect("an id");
    here.doorbells.ring(&[unknown]).await.expect("rings");
    drop(there.hear().await);
    let again = there.hear().await;
    there.doorbells.answered(again).await.expect("answers");
}

pub(crate) async fn needless_rings_do_no_harm(stand: &mut Stand) {
    let (here, there) = (stand.process().await, stand.process().await);
    let workers = Workers::start(&[here.clone(), there], 3, LEASE_MS);
    let finished = here.add(1).await;
    here.doorbells.ring(&finished).await.expect("rings");
    workers.claim(&finished).await;
    let unknown = JobId::parse("01890a5d-ac96-774b-bcce-b302099a8057").expect("an id");
    here.doorbells.ring(&[]).await.expect("rings for nothing");
    here.doorbells.ring(&[unknown, finished[0], unknown, finished[0]]).await.expect("rings");
    let job = here.add(1).await;
    for _ in 0..3 {
        here.doorbells.ring(&[job[0], job[0]]).await.expect("rings");
    }
    workers.claim(&job).await;
    // Whoever was to claim one of them twice would have done so before this one.
    let last = here.add(1).await;
    here.doorbells.ring(&last).await.expect("rings");
    workers.claim(&last).await;
    let claimed: Vec<_> = workers.claimed().iter().map(|job| job.id).collect();
    assert_eq!(claimed, [finished, job, last].concat());
    run(relay(&here)).settled(&here).await;
}

pub(crate) async fn hearing_may_be_dropped_at_any_moment(stand: &mut Stand) {
    let (here, there) = (stand.process().await, stand.process().await);
    let unknown = JobId::parse("01890a5d-ac96-774b-bcce-b302099a8057").expect("an id");
    for _ in 0..3 {
        here.doorbells.ring(&[unknown]).await.expect("rings");
        let impatient = (1..4).map(|nth| {
            let doorbells = there.doorbells.clone();
            Box::pin(async move {
                loop {
                    if let Ok(heard) = timeout(Duration::from_millis(nth), doorbells.heard()).await {
                        return heard.expect("the backend serves");
                    }
                }
            })
        });
        let heard = timeout(HANGS_AFTER, futures_util::future::select_all(impatient)).await;
        let (ring, _, _) = heard.expect("something is heard");
        there.doorbells.answered(ring).await.expect("answers");
    }
}

pub(crate) async fn each_job_is_claimed_once_whatever_becomes_of_a_relay(stand: &mut Stand) {
    const COUNT: usize = 40;
    let (here, there) = (stand.process().await, stand.process().await);
    let broken = Broken::hanging(&here);
    let killed = run(Relay::new(here.catalog.clone(), broken.clone()));
    let workers = Workers::start(&[here.clone(), there.clone()], 4, LEASE_MS);
    let mut jobs = here.add(COUNT / 2).await;
    // It has claimed some rows by now, and goes before it has rung.
    timeout(HANGS_AFTER, broken.begun.notified()).await.expect("it rings");
    drop(killed);
    let relays = [run(relay(&here)), run(relay(&there))];
    jobs.extend(there.add(COUNT / 2).await);
    workers.claim(&jobs).await;
    until("each job is rung for", async || {
        relays.iter().map(|running| running.relay.counts().rung()).sum::<u64>() >= COUNT as u64
    })
    .await;
    let mut claimed: Vec<_> = workers.claimed().iter().map(|job| job.id).collect();
    claimed.sort();
    jobs.sort();
    assert_eq!(claimed, jobs, "each once");
    relays[0].settled(&here).await;
}

pub(crate) async fn a_relay_tries_again_until_the_bell_works(stand: &mut Stand) {
    let here = stand.process().await;
    let running = run(Relay::new(here.catalog.clone(), Broken::failing(&here, 2)));
    let jobs = here.add(1).await;
    until("it is rung for", async || running.relay.counts().rung() == 1).await;
    assert_eq!(running.relay.counts().failures(), 2);
    Workers::start(std::slice::from_ref(&here), 1, LEASE_MS).claim(&jobs).await;
    running.settled(&here).await;
}

pub(crate) async fn a_job_that_waits_is_claimed_when_it_is_due(stand: &mut Stand) {
    let (here, there) = (stand.process().await, stand.process().await);
    let job = here.add(1).await[0];
    let running = run(relay(&here));
    until("it is rung for", async || running.relay.counts().rung() == 1).await;
    let jobs = here.catalog.jobs();
    let claimed = jobs.claim("a worker", LEASE_MS, u64::MAX).await.expect("claims").expect("there is one");
    assert_eq!(claimed.id, job);
    jobs.fail(job, claimed.attempt, Failure::Infrastructure, "It was away.", None).await.expect("fails");
    let waits = jobs.get(job).await.expect("finds");
    assert!(waits.due_ms > waits.now_ms, "{waits:?}");
    let workers = Workers::start(&[there], 2, LEASE_MS);
    here.doorbells.ring(&[job]).await.expect("rings too early");
    workers.claim(&[job]).await;
    let again = &workers.claimed()[0];
    assert_eq!(again.attempt, 2);
    assert!(again.now_ms >= waits.due_ms, "by the database's clock: {again:?}");
    until("it is rung for when it is due", async || running.relay.counts().rung() == 2).await;
    running.settled(&here).await;
}

pub(crate) async fn everything_arrives_when_the_server_is_back(stand: &mut Stand) {
    // Claims whose answers are lost are over soon.
    const LOST_AFTER_MS: i64 = 1_000;
    let (here, there) = (stand.process().await, stand.process().await);
    let workers = Workers::start(&[here.clone(), there.clone()], 3, LOST_AFTER_MS);
    let running = [run(relay(&here)), run(relay(&there))];
    let expiring = there.catalog.clone();
    let mut expires = JoinSet::new();
    expires.spawn(async move {
        loop {
            drop(expiring.jobs().expire(100).await);
            sleep(Duration::from_millis(200)).await;
        }
    });
    let mut jobs = here.add(5).await;
    stand
        .away_while(async {
            // It may fail, and does not hang.
            let rung = timeout(HANGS_AFTER, here.doorbells.ring(&jobs)).await;
            drop(rung.expect("it ends"));
        })
        .await;
    jobs.extend(there.add(5).await);
    workers.claim(&jobs).await;
    until("nothing is left to claim", async || {
        matches!(there.catalog.jobs().claim("nobody", 1, u64::MAX).await, Ok(None))
    })
    .await;
    running[0].settled(&there).await;
}

pub(crate) async fn whoever_listens_hears_that_the_bells_are_closed(stand: &mut Stand) {
    let here = stand.process_that_looks(Duration::from_hours(1)).await;
    // On some backends that somebody listens is a reason to look.
    let listening = (0..4).map(|_| {
        let doorbells = here.doorbells.clone();
        tokio::spawn(async move { while doorbells.heard().await.is_ok() {} })
    });
    let listening: Vec<_> = listening.collect();
    here.doorbells.close().await;
    here.doorbells.close().await;
    let ended = timeout(HANGS_AFTER, join_all(listening)).await;
    ended.expect("all end").into_iter().for_each(|task| task.expect("did not panic"));
    here.doorbells.heard().await.expect_err("it stays closed");
}

// === impl Running ===

impl Running {
    /// Waits until nothing is left to ring for.
    async fn settled(&self, process: &Process) {
        until("nothing is left to ring for", async || {
            // A claim here for a moment would hide a row from who looks.
            sleep(RELAY_LEASE / 4).await;
            nothing_is_left(process).await
        })
        .await;
    }
}
