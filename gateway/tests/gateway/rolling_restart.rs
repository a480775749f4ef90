//! Two gateways behind nginx are restarted one after the other, under load, and no request is lost.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use http::Method;
use seekway_loadtests::client::Client;
use seekway_loadtests::gateway::{Gateway, Launch};
use seekway_loadtests::nginx::Nginx;
use seekway_loadtests::origin::{Object, Origin, Shape};

use crate::support::{BUCKET, PATIENCE, assert_pattern};

const SIZE: u64 = 4 << 20;
const SEED: u64 = 91;
const CLIENTS: u64 = 4;
const PIECE: u64 = 100_000;

#[tokio::test]
async fn a_rolling_restart_behind_nginx_loses_no_request() {
    let origin = Origin::start(Shape::default()).expect("a free port");
    origin.create_bucket(BUCKET);
    origin.put(BUCKET, "film.mp4", Object::pattern(SIZE, SEED));
    let launch = Launch {
        binary: PathBuf::from(env!("CARGO_BIN_EXE_gateway")),
        endpoint: origin.endpoint(),
        bucket: BUCKET.to_owned(),
        environment: vec![("SEEKWAY_DRAIN_DELAY".into(), "200ms".into())],
    };
    let mut gateways = [
        Gateway::start(&launch).await.expect("one gateway"),
        Gateway::start(&launch).await.expect("another gateway"),
    ];
    let [one, other] = [gateways[0].address(), gateways[1].address()];
    // As docs/configuration.md says.
    let nginx = Nginx::start(|listen| {
        format!(
            "upstream seekway {{
               server {one} max_fails=0;
               server {other} max_fails=0;
               keepalive 32;
             }}
             server {{
               listen {listen};
               # It hangs up on clients after 1000 requests else, which a quick machine gets to.
               keepalive_requests 1000000;
               location / {{
                 proxy_pass http://seekway;
                 proxy_http_version 1.1;
                 proxy_set_header Connection \"\";
                 proxy_set_header Host $host;
                 proxy_next_upstream error timeout http_502 http_503 http_504;
                 proxy_buffering off;
               }}
             }}"
        )
    })
    .await
    .expect("nginx");

    let (stop, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|nth| tokio::spawn(ask_until(stop.clone(), answered.clone(), nginx.address(), nth)))
        .collect();
    let more = async |count| {
        let wanted = answered.load(Ordering::Relaxed) + count;
        let arrive = async {
            while answered.load(Ordering::Relaxed) < wanted
                && !clients.iter().any(tokio::task::JoinHandle::is_finished)
            {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, arrive).await.expect("requests go on");
    };
    for _ in 0..2 {
        for gateway in &mut gateways {
            more(50).await;
            let ended = gateway.restart(&launch, PATIENCE).await.expect("it ends, and comes again");
            assert_eq!(ended.code(), Some(0), "{ended}");
        }
    }
    more(50).await;
    stop.store(true, Ordering::Relaxed);
    for client in clients {
        client.await.unwrap_or_else(|lost| panic!("{lost}; nginx said:\n{}", nginx.log_tail()));
    }
    assert!(answered.load(Ordering::Relaxed) >= 250);
}

/// Asks for pieces, each of which must come whole.
async fn ask_until(stop: Arc<AtomicBool>, answered: Arc<AtomicU64>, nginx: std::net::SocketAddr, nth: u64) {
    let mut client = Client::connect(nginx).await.expect("nginx listens");
    let mut offset = nth * 777_777;
    while !stop.load(Ordering::Relaxed) {
        offset = (offset + 314_159) % (SIZE - PIECE);
        let range = format!("bytes={offset}-{}", offset + PIECE - 1);
        let headers = [(http::header::RANGE, range)];
        let asked = client.request(Method::GET, "/media/film.mp4", &headers, "").await;
        let (answer, body) = asked.unwrap_or_else(|error| panic!("a request at {offset} was lost: {error}"));
        assert_eq!((answer.status.as_u16(), body.len() as u64), (206, PIECE), "at {offset}");
        assert_pattern(SEED, offset, &body, "through nginx");
        answered.fetch_add(1, Ordering::Relaxed);
    }
}
