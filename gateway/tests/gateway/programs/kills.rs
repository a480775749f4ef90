//! Gateways are killed while they deliver, and started again: no event is lost, and each is the same whenever it is told.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use seekway_catalog::{DeliveryState, EventKind, NewWebhook};
use seekway_loadtests::gateway::{Gateway, Launch};
use tempfile::TempDir;
use tokio::time::sleep;

use super::receiver::{Receiver, Reply};
use super::{add, rename};
use crate::uploads::stand::Uploading;

const EVENTS: usize = 60;
const KILLS: usize = 6;
/// A delivery of a gateway that was killed is claimed again after some ten seconds.
const PATIENCE: Duration = Duration::from_secs(90);

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_no_event() {
    let folder = TempDir::new().expect("a folder");
    let embedded = Uploading::embedded_for_another(&folder).await;
    let served = Uploading::served_for_another().await;
    // On SQLite one gateway has the file; on PostgreSQL two share the work.
    tokio::join!(killed(&embedded, 1, 1), killed(&served, 2, 2));
}

async fn killed(up: &Uploading, gateways: usize, seed: u64) {
    // Fails, is slow beyond the limit, redirects; in the end it always takes what it is told.
    let receiver = Receiver::start(|path, nth| match nth % 5 {
        _ if path == "/good" => Reply::Status(200),
        0 => Reply::Status(500),
        1 => Reply::With(307, "location", "/good"),
        2 if nth < 20 => Reply::Hang,
        _ => Reply::Status(202),
    })
    .await;
    let environment = up.settings().iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let environment = environment.chain([
        ("SEEKWAY_WEBHOOKS_TO_PRIVATE", "true"),
        ("SEEKWAY_WEBHOOK_RETRY_AFTER", "10ms"),
        ("SEEKWAY_WEBHOOK_TIMEOUT", "500ms"),
        ("SEEKWAY_TRANSCODING", "off"),
    ]);
    let launch = Launch {
        binary: env!("CARGO_BIN_EXE_gateway").into(),
        endpoint: String::new(),
        bucket: String::new(),
        environment: environment.map(|(name, value)| (name.into(), value.into())).collect(),
    };
    let mut hooks = Vec::new();
    for path in ["/bad", "/good"] {
        let new = NewWebhook {
            url: receiver.url(path),
            description: String::new(),
            kinds: vec![EventKind::VideoChanged],
            hears_all: false,
            secret: path.as_bytes().repeat(8),
        };
        hooks.push(up.catalog.webhooks().create(None, &new, 10).await.expect("adds").id);
    }
    let id = add(up, None, "v/1").await;
    let mut running = Vec::new();
    for _ in 0..gateways {
        running.push(Gateway::start(&launch).await.unwrap_or_else(|error| panic!("{error}")));
    }
    let mut random = fastrand::Rng::with_seed(seed);
    for nth in 0..EVENTS {
        rename(up, id, nth.to_string()).await;
        if nth % (EVENTS / KILLS) == EVENTS / KILLS / 2 {
            sleep(Duration::from_millis(random.u64(0..300))).await;
            let victim = random.usize(..running.len());
            running[victim].kill_and_restart(&launch).await.unwrap_or_else(|error| panic!("{error}"));
        }
    }
    let all_delivered = async {
        loop {
            let mut delivered = 0;
            for hook in &hooks {
                let log = up.catalog.webhooks().deliveries(None, *hook, None, 1000).await.expect("lists");
                delivered += log.iter().filter(|one| one.state == DeliveryState::Delivered).count();
            }
            if delivered == hooks.len() * EVENTS {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all_delivered).await.expect("every event is delivered in the end");
    for path in ["/bad", "/good"] {
        let told = receiver.told(path);
        let mut bodies = HashMap::new();
        for one in &told {
            let secret = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, path.repeat(8));
            assert!(one.is_signed_with(&format!("whsec_{secret}")), "{one:?}");
            let body = bodies.entry(one.id().to_owned()).or_insert_with(|| one.body.clone());
            assert_eq!(*body, one.body, "the same name is the same event, byte for byte");
        }
        let titles: HashSet<_> = told.iter().map(|one| one.event()["data"]["title"].to_string()).collect();
        assert_eq!((bodies.len(), titles.len()), (EVENTS, EVENTS), "each at least once");
        println!("{path}: {} requests for {EVENTS} events", told.len());
    }
}
