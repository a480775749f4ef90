//! Gateways are killed while they tell programs of events, and started again: no webhook loses an event, and each is the
//! same whenever it is told; and a listener that comes again hears each just once, in order.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use seekway_catalog::{DeliveryState, EventKind, Following, NewWebhook, Role, Viewer};
use seekway_loadtests::gateway::{Gateway, Launch};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::sleep;

use super::feed::Heard;
use super::receiver::{Receiver, Reply};
use super::{add, rename};
use crate::support::wire::head;
use crate::uploads::ownership::somebody;
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
    // Each event fails twice, and some are not answered at all, before it is taken.
    let hangs = AtomicUsize::new(0);
    let receiver = Receiver::start(move |path, nth| match nth {
        _ if path == "/good" => Reply::Status(200),
        0 => Reply::Status(500),
        1 => Reply::With(307, "location", "/good"),
        2 if hangs.fetch_add(1, Ordering::Relaxed) < 6 => Reply::Hang,
        _ => Reply::Status(202),
    })
    .await;
    let environment = up.settings().iter().map(|(name, value)| (name.as_str(), value.as_str()));
    let environment = environment.chain([
        ("SEEKWAY_WEBHOOKS_TO_PRIVATE", "true"),
        ("SEEKWAY_WEBHOOK_RETRY_AFTER", "10ms"),
        ("SEEKWAY_WEBHOOK_TIMEOUT", "500ms"),
        ("SEEKWAY_TRANSCODING", "off"),
        ("SEEKWAY_ACCOUNTS", "on"),
    ]);
    let launch = Launch {
        binary: env!("CARGO_BIN_EXE_gateway").into(),
        endpoint: String::new(),
        bucket: String::new(),
        environment: environment.map(|(name, value)| (name.into(), value.into())).collect(),
    };
    let (ann, key) = somebody(up, "ann", Role::Creator).await;
    let mut hooks = Vec::new();
    for path in ["/bad", "/good"] {
        let new = NewWebhook {
            url: receiver.url(path),
            description: String::new(),
            kinds: vec![EventKind::VideoChanged],
            hears_all: false,
            secret: path.as_bytes().repeat(8),
        };
        hooks.push(up.catalog.webhooks().create(Some(ann), &new, 10).await.expect("adds").id);
    }
    let id = add(up, Some(ann), "v/1").await;
    up.catalog.feed().advance(1).await.expect("advances");
    let begin = up.catalog.feed().newest().await.expect("counts");
    let mut running = Vec::new();
    for _ in 0..gateways {
        running.push(Gateway::start(&launch).await.unwrap_or_else(|error| panic!("{error}")));
    }
    let addresses: Vec<_> = running.iter().map(Gateway::address).collect();
    let listening = tokio::spawn(listen(addresses, key, seed, begin));
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
                let log =
                    up.catalog.webhooks().deliveries(Some(ann), *hook, None, 1000).await.expect("lists");
                delivered += log.iter().filter(|one| one.state == DeliveryState::Delivered).count();
            }
            if delivered == hooks.len() * EVENTS {
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(PATIENCE, all_delivered).await.expect("every event is delivered in the end");
    let heard = tokio::time::timeout(PATIENCE, listening).await.expect("it hears all").expect("no panic");
    let following = up.catalog.feed().after(Viewer::Account(ann), Some(begin), 1000).await.expect("lists");
    let Following::Events(all, _) = following else { panic!("nothing is lost") };
    let all: Vec<_> = all.iter().map(|event| event.id.to_string()).collect();
    let heard: Vec<_> = heard.iter().map(|event| event["id"].as_str().expect("text").to_owned()).collect();
    assert_eq!(heard, all, "each once, in order");
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

/// Listens at whichever gateway until it has heard all that happens after a place; comes again when it is cut.
async fn listen(addresses: Vec<SocketAddr>, key: String, seed: u64, begin: i64) -> Vec<Value> {
    let mut random = fastrand::Rng::with_seed(seed);
    let (mut last, mut heard, mut cuts) = (format!("feed-{begin}"), Vec::new(), 0);
    while heard.len() < EVENTS {
        let address = addresses[random.usize(..addresses.len())];
        if listen_once(address, &key, &mut last, &mut heard).await.is_err() {
            cuts += 1;
            sleep(Duration::from_millis(10)).await;
        }
    }
    println!("heard {EVENTS} events over {cuts} cuts and refusals");
    heard
}

async fn listen_once(
    address: SocketAddr,
    key: &str,
    last: &mut String,
    heard: &mut Vec<Value>,
) -> std::io::Result<()> {
    let mut socket = TcpStream::connect(address).await?;
    let headers = [("Accept", "text/event-stream"), ("Authorization", key), ("Last-Event-ID", last.as_str())];
    socket.write_all(head("GET", "/api/events", &headers).as_ref()).await?;
    let (mut text, mut piece) = (String::new(), vec![0; 4096]);
    while heard.len() < EVENTS {
        let read = socket.read(&mut piece).await?;
        if read == 0 {
            return Err(std::io::ErrorKind::UnexpectedEof.into());
        }
        text.push_str(&String::from_utf8_lossy(&piece[..read]));
        while let Some(event) = Heard::take(&mut text) {
            assert_ne!(event.kind, "reset", "nothing is lost: {last}");
            *last = event.id;
            heard.push(event.data);
        }
    }
    Ok(())
}
