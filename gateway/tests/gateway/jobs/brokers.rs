//! A gateway beside a broker: what it tells of jobs there, what operators see of it, and what they can do.

use seekway_catalog::{Failure, JobState, Role};
use seekway_loadtests::rabbitmq::RabbitMq;
use seekway_loadtests::redis::Redis;
use serde_json::Value;

use super::{ENV, LEASE_MS, asker, begun};
use crate::commands::{gateway, gateway_with};
use crate::support::tools::certificates;
use crate::support::wire::Wire;
use crate::support::{path_text, until};
use crate::uploads::stand::Uploading;

/// What the admin listener says.
async fn admin(up: &Uploading, target: &str) -> (u16, String) {
    let answer = Wire::connect(up.stand().admin_address()).await.ask("GET", target, &[]).await;
    (answer.status, String::from_utf8(answer.body).expect("text"))
}

async fn metric(up: &Uploading, line: &str) {
    until(line, async || {
        let (_, page) = admin(up, "/metrics").await;
        page.lines().any(|other| other == line).then_some(())
    })
    .await;
}

/// How much there is to do, once a gateway has counted.
async fn work(up: &Uploading, is_so: impl Fn(&Value) -> bool) -> Value {
    until("there is so much to do", async || {
        let (status, body) = admin(up, "/api/work").await;
        let said: Value = serde_json::from_str(&body).expect("JSON");
        (status == 200 && is_so(&said)).then_some(said)
    })
    .await
}

/// From an upload to a dead letter, and back.
async fn all_of_it(url: &str, dead: u64) {
    let env: Vec<_> = ENV.into_iter().chain([("QUEUE_URL", url)]).collect();
    let up = Uploading::embedded(&env).await;
    let ann = asker(&up, "ann", Role::Creator).await;
    ann.upload(1, "filename YS5tcDQ=").await;
    metric(&up, "seekway_queue_up 1").await;
    metric(&up, "seekway_queue_waiting 1").await;
    metric(&up, "seekway_queue_rings_total 1").await;
    let said = work(&up, |said| said["jobs_due"] == 1 && said["queue"]["waiting"] == 1).await;
    assert!(said["work_seconds"].as_f64().expect("a number") > 0.0, "{said}");
    assert_eq!(said["jobs_unprobed"], 1);

    let job = begun(&up).await;
    let died = up.catalog.jobs().fail(job.id, job.attempt, Failure::Input, "Nobody can read it.", None).await;
    assert_eq!(died.expect("fails"), JobState::Dead);
    metric(&up, &format!("seekway_queue_dead {}", dead + 1)).await;
    let (code, said) = gateway(&up, &["jobs", "redrive", "--all"]);
    assert!(code == Some(0) && said.contains("1 dead jobs are tried again"), "{code:?} {said}");
    metric(&up, &format!("seekway_queue_dead {dead}")).await;
    assert_eq!(up.catalog.jobs().get(job.id).await.expect("finds").state, JobState::Queued);

    // One by its name takes its letter with it, too.
    let again = begun(&up).await;
    assert_eq!(again.id, job.id);
    up.catalog.jobs().fail(job.id, again.attempt, Failure::Input, "Still not.", None).await.expect("fails");
    metric(&up, &format!("seekway_queue_dead {}", dead + 1)).await;
    let (code, said) = gateway(&up, &["jobs", "redrive", &job.id.to_string()]);
    assert!(code == Some(0) && said.ends_with("is queued\n"), "{code:?} {said}");
    metric(&up, &format!("seekway_queue_dead {dead}")).await;
    let claimed = up.catalog.jobs().claim("a worker", LEASE_MS, u64::MAX).await.expect("claims");
    assert_eq!(claimed.expect("there is one").id, job.id);
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_told_of_jobs_and_shows_what_became_of_them() {
    let redis = Redis::start().expect("Redis starts");
    all_of_it(&redis.url(), 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rabbitmq_is_told_of_jobs_and_shows_what_became_of_them() {
    let rabbitmq = RabbitMq::start().expect("RabbitMQ starts");
    all_of_it(&rabbitmq.url(), 0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_doctor_says_what_a_broker_misses_and_makes_it() {
    let rabbitmq = RabbitMq::start().expect("RabbitMQ starts");
    let folder = tempfile::TempDir::new().expect("a folder");
    let up = Uploading::embedded_for_another(&folder).await;
    let url = rabbitmq.url();
    let doctor = |more: &[&str]| {
        let mut args = vec!["doctor"];
        args.extend(more);
        args.extend(["--", "--queue-url", &url]);
        gateway(&up, &args)
    };
    let (code, said) = doctor(&[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains(
            "queue: the queue video_processing.dlq is not there; to mend it: rabbitmqadmin declare queue"
        ),
        "{said}"
    );
    assert!(said.contains("2 findings"), "{said}");
    let (code, said) = doctor(&["--fix"]);
    assert!(code == Some(0) && said.contains("2 findings, all mended"), "{code:?} {said}");
    let (code, said) = doctor(&[]);
    assert!(code == Some(0) && said.contains("the queue is as it should be"), "{code:?} {said}");

    // Nobody is there.
    drop(rabbitmq);
    let (code, said) = doctor(&[]);
    assert!(
        code == Some(69) && said.contains("QUEUE_URL") && !said.contains("guest:guest"),
        "{code:?} {said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_is_shown_and_costs_nothing_else() {
    let nobody = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let url = format!("redis://{nobody}");
    let env: Vec<_> = ENV.into_iter().chain([("QUEUE_URL", url.as_str())]).collect();
    let up = Uploading::embedded(&env).await;
    let ann = asker(&up, "ann", Role::Creator).await;
    ann.upload(1, "filename YS5tcDQ=").await;
    metric(&up, "seekway_queue_up 0").await;
    let said = work(&up, |said| said["jobs_due"] == 1).await;
    assert_eq!((&said["queue"]["is_up"], &said["queue"]["waiting"]), (&Value::Bool(false), &Value::Null));
    let (_, page) = admin(&up, "/metrics").await;
    assert!(!page.lines().any(|line| line.starts_with("seekway_queue_waiting ")), "nobody knows it");
    let (status, line) = admin(&up, "/api/work?format=emf").await;
    let line: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!((status, &line["JobsDue"]), (200, &Value::from(1)));
    assert_eq!(line["_aws"]["CloudWatchMetrics"][0]["Namespace"], "Seekway");
    assert_eq!(admin(&up, "/api/work?format=x").await.0, 400);
    begun(&up).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_trusts_whom_the_machine_does_or_is_told_to() {
    let folder = tempfile::TempDir::new().expect("a folder");
    let [authority, certificate, key] = certificates(folder.path());
    let (_rabbitmq, amqps) = RabbitMq::start_with_tls(&certificate, &key).expect("RabbitMQ with TLS");
    let (_redis, rediss) = Redis::start_with_tls(&certificate, &key).expect("redis-server with TLS");
    let up = Uploading::embedded_for_another(&folder).await;
    for url in [format!("amqps://guest:guest@{amqps}"), format!("rediss://{rediss}")] {
        let doctor =
            |others: &[(&str, &str)]| gateway_with(&up, &["doctor", "--", "--queue-url", &url], others);
        let (code, said) = doctor(&[("SSL_CERT_FILE", path_text(&authority))]);
        assert!(code == Some(1) && said.contains("is not there"), "{url}: {code:?} {said}");
        // The machine has not heard of this authority.
        let (code, said) = doctor(&[]);
        assert!(code == Some(69) && said.contains("QUEUE_URL"), "{url}: {code:?} {said}");
    }
}
