//! Two gateways behind nginx are restarted one after the other, under load, and no request is lost.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::Duration,
};

use futures_util::future::join_all;
use http::StatusCode;
use tokio::time::{sleep, timeout};

use super::{Figures, Scenario, Stage, Value, stage::BUCKET};
use crate::{
    Error,
    client::Client,
    nginx::Nginx,
    origin::{Origin, Shape},
    pattern,
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "rolling-restart",
    promise: "two gateways behind nginx, restarted in turn under load, lose no request",
    run: |stage| Box::pin(run(stage)),
};

const SIZE: u64 = 4 << 20;
const SEED: u64 = 91;
const CLIENTS: u64 = 4;
const PIECE: u64 = 100_000;
/// Requests between two restarts.
const BETWEEN: u64 = 50;
const PATIENCE: Duration = Duration::from_mins(1);

/// What the clients found.
#[derive(Default)]
struct Traffic {
    is_over: AtomicBool,
    good: AtomicU64,
    lost: AtomicU64,
}

async fn run(stage: &Stage) -> Result<Figures, Error> {
    let rounds = stage.pick(2, 20);
    let origin = Origin::start(Shape::default())?;
    origin.put_pattern(BUCKET, "film.mp4", SIZE, SEED);
    let settings = [("SEEKWAY_DRAIN_DELAY", "200ms".to_owned())];
    let launch = stage.launch(&origin, &settings);
    let mut gateways = [stage.gateway(&origin, &settings).await?, stage.gateway(&origin, &settings).await?];
    let [one, other] = [gateways[0].address(), gateways[1].address()];
    let nginx = Nginx::start(|listen| configuration(listen, one, other)).await?;

    let traffic = Traffic::default();
    let clients = join_all((0..CLIENTS).map(|nth| play(&traffic, nginx.address(), nth)));
    let more = async || {
        let wanted = traffic.good.load(Ordering::Relaxed) + BETWEEN;
        let arriving = async {
            while traffic.good.load(Ordering::Relaxed) < wanted {
                sleep(Duration::from_millis(5)).await;
            }
        };
        let arrived = timeout(PATIENCE, arriving).await;
        arrived.map_err(|_| Error::Timeout { request: "more requests through nginx".into(), limit: PATIENCE })
    };
    let mut bad_exits = 0;
    let restarts = async {
        stage.begin("restarting", 2 * rounds);
        for _ in 0..rounds {
            for gateway in &mut gateways {
                more().await?;
                bad_exits += u64::from(!gateway.restart(&launch, PATIENCE).await?.success());
                stage.done();
            }
        }
        more().await
    };
    let restarts = async {
        let outcome = restarts.await;
        traffic.is_over.store(true, Ordering::Relaxed);
        outcome
    };
    let (_, restarts) = tokio::join!(clients, restarts);
    restarts?;

    let mut figures = Figures::default();
    let good = traffic.good.into_inner();
    figures.note("restarts", Value::Count(2 * rounds as u64));
    figures.at_least("whole answers", Value::Count(good), Value::Count((2 * rounds as u64 + 1) * BETWEEN));
    figures.none("lost, cut or wrong ones", traffic.lost.into_inner());
    figures.none("exit codes other than 0", bad_exits);
    Ok(figures)
}

/// As docs/configuration.md says.
fn configuration(listen: SocketAddr, one: SocketAddr, other: SocketAddr) -> String {
    format!(
        "upstream seekway {{
           server {one} max_fails=0;
           server {other} max_fails=0;
           keepalive 32;
         }}
         server {{
           listen {listen};
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
}

/// Asks for pieces, each of which must come whole, until the traffic is over.
async fn play(traffic: &Traffic, nginx: SocketAddr, nth: u64) {
    let mut client = None;
    let mut offset = nth * 777_777;
    while !traffic.is_over.load(Ordering::Relaxed) {
        offset = (offset + 314_159) % (SIZE - PIECE);
        match piece(client.take(), nginx, offset).await {
            Ok((connected, true)) => {
                client = Some(connected);
                traffic.good.fetch_add(1, Ordering::Relaxed);
            }
            Ok((_, false)) | Err(_) => _ = traffic.lost.fetch_add(1, Ordering::Relaxed),
        }
    }
}

/// One piece, and whether it is right. nginx ends a connection after a thousand requests, and says so before.
async fn piece(client: Option<Client>, nginx: SocketAddr, offset: u64) -> Result<(Client, bool), Error> {
    let mut client = match client {
        Some(client) => client,
        None => Client::connect(nginx).await?,
    };
    let (answer, body) = client.get_range("/media/film.mp4", offset..offset + PIECE).await?;
    let is_right = answer.status == StatusCode::PARTIAL_CONTENT
        && body.len() as u64 == PIECE
        && pattern::verify(SEED, offset, &body).is_none();
    if answer.header(http::header::CONNECTION) == "close" {
        client = Client::connect(nginx).await?;
    }
    Ok((client, is_right))
}
