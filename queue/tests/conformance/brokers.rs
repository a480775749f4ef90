//! What only brokers promise, each with nobody who looks by itself.

use std::time::Duration;

use async_trait::async_trait;
use futures_util::future::join_all;
use seekway_catalog::{Failure, JobId, JobState};
use seekway_queue::{DeadLetter, Depth, Error, Relay, Sieve};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::amqp::Amqp;
use crate::stand::{HANGS_AFTER, HOUR, Process, Server, Stand};

const UNKNOWN: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

/// Tries all of it.
pub(crate) async fn promises(mut stand: Stand) {
    what_is_missing_is_found_and_made(&stand).await;
    what_is_heard_is_the_job(&stand).await;
    an_unanswered_ring_comes_back(&stand).await;
    what_is_heard_by_nobody_is_left_to_others(&stand).await;
    garbage_ends_with_the_dead(&stand).await;
    a_dead_job_is_told_of(&stand).await;
    dead_letters_are_kept_or_deleted(&stand).await;
    what_the_broker_loses_is_rung_for_again(&mut stand).await;
}

fn unknown() -> JobId {
    JobId::parse(UNKNOWN).expect("an id")
}

async fn until(process: &Process, what: &str, is_so: impl Fn(Depth) -> bool) {
    let began = Instant::now();
    loop {
        let depth = process.doorbells.depth().await;
        if depth.as_ref().is_ok_and(|depth| is_so(*depth)) {
            return;
        }
        assert!(began.elapsed() < HANGS_AFTER, "{what}: {depth:?}");
        sleep(Duration::from_millis(100)).await;
    }
}

fn is_empty(depth: Depth) -> bool {
    depth.waiting == 0 && depth.in_flight.unwrap_or_default() == 0
}

async fn what_is_missing_is_found_and_made(stand: &Stand) {
    let here = stand.process_without_ensuring().await;
    let findings = here.doorbells.inspect().await.expect("serves");
    assert!(!findings.is_empty(), "nothing was made yet");
    here.doorbells.ensure().await.expect("makes it");
    assert_eq!(here.doorbells.inspect().await.expect("serves"), []);
    here.doorbells.ensure().await.expect("again");
}

async fn what_is_heard_is_the_job(stand: &Stand) {
    let (here, there) = (stand.process().await, stand.process().await);
    here.doorbells.ring(&[unknown(), unknown()]).await.expect("rings");
    until(&here, "both wait", |depth| depth.waiting == 2).await;
    for _ in 0..2 {
        let ring = there.hear().await;
        assert_eq!(ring.job, Some(unknown()));
        there.doorbells.answered(ring).await.expect("answers");
    }
    until(&here, "nothing is left", is_empty).await;
    there.doorbells.close().await;
}

async fn an_unanswered_ring_comes_back(stand: &Stand) {
    let (here, there) = (stand.process().await, stand.process().await);
    here.doorbells.ring(&[unknown()]).await.expect("rings");
    let first = here.hear().await;
    let again = there.hear().await;
    assert_eq!(again.job, first.job);
    there.doorbells.answered(again).await.expect("answers");
    until(&here, "nothing is left", is_empty).await;
}

async fn what_is_heard_by_nobody_is_left_to_others(stand: &Stand) {
    let (here, there) = (stand.process().await, stand.process().await);
    here.doorbells.ring(&[unknown()]).await.expect("rings");
    drop(there.hear().await);
    there.doorbells.close().await;
    let ring = here.hear().await;
    here.doorbells.answered(ring).await.expect("answers");
    until(&here, "nothing is left", is_empty).await;
}

async fn garbage_ends_with_the_dead(stand: &Stand) {
    let here = stand.process().await;
    let dead = here.doorbells.depth().await.expect("serves").dead;
    stand.publish_garbage().await;
    here.doorbells.ring(&[unknown()]).await.expect("rings");
    // What comes after it is heard all the same.
    let ring = here.hear().await;
    assert_eq!(ring.job, Some(unknown()));
    here.doorbells.answered(ring).await.expect("answers");
    until(&here, "it is dead", |depth| is_empty(depth) && depth.dead == dead + 1).await;
}

async fn a_dead_job_is_told_of(stand: &Stand) {
    let here = stand.process().await;
    let dead = here.doorbells.depth().await.expect("serves").dead;
    let id = here.add(1).await[0];
    let jobs = here.catalog.jobs();
    let job = jobs.claim("a worker", 600_000, u64::MAX).await.expect("claims").expect("there is one");
    let state = jobs.fail(id, job.attempt, Failure::Input, "Nobody can read it.", None).await.expect("fails");
    assert_eq!(state, JobState::Dead);
    let relay = Relay::new(here.catalog.clone(), here.doorbells.clone());
    relay.step().await.expect("relays");
    until(&here, "it is told of", |depth| depth.dead == dead + 1).await;
    assert!(stand.dead_letters().await.contains("Nobody can read it."));
    let ring = here.hear().await;
    here.doorbells.answered(ring).await.expect("answers");
}

/// Deletes what names a job, and notes what it was shown.
#[derive(Default)]
struct Named(Vec<DeadLetter>);

#[async_trait]
impl Sieve for Named {
    async fn is_done(&mut self, letter: &DeadLetter) -> Result<bool, Error> {
        self.0.push(letter.clone());
        Ok(letter.job.is_some())
    }
}

/// Garbage and a dead job are there from before.
async fn dead_letters_are_kept_or_deleted(stand: &Stand) {
    let here = stand.process().await;
    for (round, about_jobs) in [1, 0, 0].into_iter().enumerate() {
        let mut named = Named::default();
        here.doorbells.sift(&mut named).await.expect("sifts");
        let of_jobs = named.0.iter().filter(|letter| letter.job.is_some()).count();
        assert_eq!((named.0.len(), of_jobs), (1 + about_jobs, about_jobs), "round {round}: {:?}", named.0);
        assert!(named.0.iter().any(|letter| letter.text.contains("ever")));
    }
    until(&here, "one is kept", |depth| depth.dead == 1).await;
}

async fn what_the_broker_loses_is_rung_for_again(stand: &mut Stand) {
    let here = stand.process().await;
    let job = here.add(1).await[0];
    let relay = Relay::new(here.catalog.clone(), here.doorbells.clone());
    relay.step().await.expect("relays");
    until(&here, "it waits", |depth| depth.waiting == 1).await;
    stand.lose_everything();
    let relay = relay.sweeping_after(Duration::from_millis(500));
    let stop = CancellationToken::new();
    let _stops = stop.clone().drop_guard();
    tokio::spawn(async move { relay.run(stop).await });
    let ring = here.hear().await;
    assert_eq!(ring.job, Some(job));
    here.doorbells.answered(ring).await.expect("answers");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_is_a_broker() {
    promises(Stand::redis()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis_hands_on_what_is_left_and_forgets_who_leaves() {
    let stand = Stand::redis();
    let Server::Redis { server, .. } = &stand.server else { unreachable!() };
    let here = stand.process_that_looks(HOUR).await;
    here.doorbells.ring(&[unknown()]).await.expect("rings");
    drop(here.hear().await);
    assert!(
        server.command(&["XINFO", "CONSUMERS", "seekway:jobs", "workers"]).expect("serves").starts_with("*1")
    );
    here.doorbells.close().await;
    assert!(
        server.command(&["XINFO", "CONSUMERS", "seekway:jobs", "workers"]).expect("serves").starts_with("*0")
    );
    assert!(
        server.command(&["XLEN", "seekway:jobs"]).expect("serves").starts_with(":1"),
        "it is still there"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rabbitmq_is_a_broker() {
    promises(Stand::rabbitmq()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_of_rabbitmq_that_is_deleted_is_made_again() {
    let stand = Stand::rabbitmq();
    let Server::RabbitMq { server, .. } = &stand.server else { unreachable!() };
    let (here, there) = (stand.process().await, stand.process().await);
    let (heard, ()) = tokio::join!(there.hear(), async {
        // Its consumer is cancelled by that.
        Amqp::open(&server.url()).await.delete("video_processing").await;
        until(&here, "it is there again", |depth| depth.waiting == 0).await;
        while here.doorbells.ring(&[unknown()]).await.is_err() {}
    });
    assert_eq!(heard.job, Some(unknown()));
    there.doorbells.answered(heard).await.expect("answers");
}

/// `RabbitMQ` closes the channel of a consumer that takes too long to answer (406), whatever else that one does.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_rabbitmq_closes_is_followed_by_another() {
    let stand = Stand::rabbitmq().overdue_after(HOUR);
    let Server::RabbitMq { server, .. } = &stand.server else { unreachable!() };
    for setting in ["consumer_timeout", "channel_tick_interval"] {
        let eval = format!("application:set_env(rabbit, {setting}, 1000).");
        server.control(&["eval", &eval]).expect("sets it");
    }
    let here = stand.process().await;
    here.doorbells.ring(&[unknown()]).await.expect("rings");
    let first = here.hear().await;
    let again = here.hear().await;
    assert_eq!(again.job, first.job);
    here.doorbells.answered(again).await.expect("answers");
    here.doorbells.answered(first).await.expect("it is no longer its own");
    until(&here, "nothing is left", is_empty).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_of_rabbitmq_that_is_made_in_another_way_is_found() {
    let stand = Stand::rabbitmq();
    let Server::RabbitMq { server, .. } = &stand.server else { unreachable!() };
    Amqp::open(&server.url()).await.declare_plain("video_processing").await;
    let here = stand.process().await;
    let findings = here.doorbells.inspect().await.expect("serves");
    let [finding] = &findings[..] else { panic!("{findings:?}") };
    assert!(finding.what.contains("x-queue-type") || finding.what.contains("inequivalent"), "{finding:?}");
    assert!(finding.cure.contains("rabbitmqadmin declare queue name=video_processing "), "{finding:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_of_sqs_without_a_redrive_policy_is_found() {
    let stand = Stand::moto();
    let Server::Moto { server, .. } = &stand.server else { unreachable!() };
    crate::sqs::make(&server.queue("video-processing")).await;
    let here = stand.process().await;
    let findings = here.doorbells.inspect().await.expect("serves");
    let [finding] = &findings[..] else { panic!("{findings:?}") };
    assert!(finding.what.contains("no redrive policy"), "{finding:?}");
    assert!(finding.cure.contains("set-queue-attributes"), "{finding:?}");
}

/// A message that is received 20 times and never answered, as where each who hears it is killed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_nobody_can_answer_ends_with_the_dead() {
    join_all([Stand::redis(), Stand::rabbitmq(), Stand::moto()].map(async |stand| {
        let here = stand.process().await;
        here.doorbells.ring(&[unknown()]).await.expect("rings");
        let began = Instant::now();
        while here.doorbells.depth().await.expect("serves").dead == 0 {
            assert!(began.elapsed() < HANGS_AFTER * 2, "{:?}", here.doorbells.depth().await);
            drop(timeout(Duration::from_secs(1), here.doorbells.heard()).await);
        }
        until(&here, "nothing else is left", is_empty).await;
        assert!(stand.dead_letters().await.contains(UNKNOWN));
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqs_is_a_broker() {
    promises(Stand::moto()).await;
}

/// The permissions that docs/queues.md gives are enough for all that a worker does once the queues are there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn least_privileges_are_enough() {
    let queues = std::fs::read_to_string("../docs/queues.md").expect("the documentation");
    let mut rabbitmq = Stand::rabbitmq();
    rabbitmq.process().await.doorbells.ensure().await.expect("the administrator makes them");
    let Server::RabbitMq { server, .. } = &rabbitmq.server else { unreachable!() };
    server.control(&["add_user", "seekway", "secret"]).expect("a user");
    // As `rabbitmqctl set_permissions -p VHOST seekway '' '...' '...'` there.
    let line = queues.lines().find(|line| line.starts_with("rabbitmqctl set_permissions")).expect("a line");
    let quoted: Vec<_> = line.split('\'').skip(1).step_by(2).collect();
    let args = [&["set_permissions", "-p", "/", "seekway"], &quoted[..]].concat();
    server.control(&args).expect("its permissions");
    rabbitmq.log_in("seekway:secret");
    promises_of_the_least(&rabbitmq).await;

    let mut redis = Stand::redis();
    redis.process().await.doorbells.ensure().await.expect("the administrator makes it");
    let Server::Redis { server, .. } = &redis.server else { unreachable!() };
    let block = queues.split("redis-cli ACL SETUSER seekway").nth(1).expect("a line").split("```").next();
    let words: Vec<_> = block.expect("its end").split('\'').skip(1).step_by(2).collect();
    let words: Vec<_> =
        words.iter().map(|word| if *word == ">PASSWORD" { ">secret" } else { word }).collect();
    let args = [&["ACL", "SETUSER", "seekway", "on"], &words[..]].concat();
    assert_eq!(server.command(&args).expect("serves").trim(), "+OK");
    redis.log_in("seekway:secret");
    promises_of_the_least(&redis).await;
}

async fn promises_of_the_least(stand: &Stand) {
    assert_eq!(stand.process().await.doorbells.inspect().await.expect("serves"), []);
    what_is_heard_is_the_job(stand).await;
    an_unanswered_ring_comes_back(stand).await;
    what_is_heard_by_nobody_is_left_to_others(stand).await;
    let here = stand.process().await;
    here.doorbells.bury(unknown(), "Nobody can read it.").await.expect("buries");
    until(&here, "it is told of", |depth| depth.dead == 1).await;
}
