//! The workloads of the load tests, short, against the real gateway: all that they ask for is answered, every byte that
//! is looked at is right, and nothing stays behind.

use std::{sync::Arc, time::Duration};

use seekway_loadtests::{
    load::{
        Arrivals, Crowd, Drive, Film, Herd, Length, Measurement, Offsets, Place, Players, Progress, Ranges,
        Streams, Target, Workload, drive,
    },
    origin::Shape,
};

use crate::metrics::page_with;
use crate::support::Stand;

const SIZE: u64 = 24 << 20;
const FILMS: usize = 2;

fn stand() -> (Stand, Arc<Target>) {
    let stand =
        Stand::s3_shaped(Shape { first_byte_latency: Duration::from_millis(2), ..Shape::default() }, &[]);
    for film in 0..FILMS {
        stand.put_pattern(&Film::name(film), SIZE, film as u64);
    }
    let target = Target::of_patterns(stand.address(), "/media/", FILMS, SIZE);
    (stand, Arc::new(target))
}

fn plan(requests: u64) -> Drive {
    let length = Length::requests(requests);
    Drive { threads: 2, length, seed: 1, verify_every: 2, progress: Progress::default() }
}

fn ranges() -> Ranges {
    Ranges {
        bytes: 64 * 1024,
        connections: 8,
        arrivals: Arrivals::Closed,
        offsets: Offsets::Anywhere,
        churn: false,
        copies: false,
    }
}

#[track_caller]
fn assert_all_right(found: &Measurement) {
    assert_eq!((found.failed, found.wrong), (0, 0), "{found:?}");
    assert!(found.verified_bytes > 0, "{found:?}");
}

/// Fills and their memory, requests and connections.
async fn nothing_stays_behind(stand: &Stand) {
    stand.until_quiet().await;
    // The page itself is a request of HTTP/1.
    for (protocol, running) in [("h1", 1.0), ("h2", 0.0)] {
        page_with(stand, &format!("seekway_requests_running{{protocol=\"{protocol}\"}}"), running).await;
    }
    page_with(stand, "seekway_connections_open{listener=\"public\"}", 0.0).await;
}

#[tokio::test]
async fn ranges_however_they_are_asked_for() {
    let (stand, target) = stand();
    for ranges in [
        ranges(),
        Ranges { arrivals: Arrivals::Open { per_second: 2000.0 }, ..ranges() },
        Ranges { churn: true, offsets: Offsets::InOrder, ..ranges() },
        Ranges { offsets: Offsets::Apart(1 << 20), ..ranges() },
    ] {
        let found = drive(&target, Workload::Ranges(ranges), &plan(40)).await.unwrap();
        assert_all_right(&found);
        assert_eq!((found.requests, found.bytes), (40, 40 * ranges.bytes));
    }
    nothing_stays_behind(&stand).await;
}

/// Of a place where nobody was, the store is asked once, and of one where all were, never.
#[tokio::test]
async fn herds_share_what_one_of_them_causes() {
    const READERS: usize = 64;
    const HERDS: u64 = 6;
    let (stand, target) = stand();
    for (place, gets) in [(Place::Cold(4 << 20), HERDS), (Place::Hot, 0)] {
        let herd = |requests| {
            let herd = Workload::Herd(Herd { readers: READERS, bytes: 64 * 1024, place });
            let (target, plan) = (target.clone(), plan(requests));
            async move { drive(&target, herd, &plan).await.unwrap() }
        };
        // What warms each connection up is the same in a run without a herd.
        herd(1).await;
        stand.until_quiet().await;
        let before = stand.origin().counts().gets;
        let found = herd(HERDS * READERS as u64).await;
        assert_all_right(&found);
        assert_eq!(found.requests, HERDS * READERS as u64);
        assert_eq!(found.last_ttfb.unwrap().count, HERDS);
        stand.until_quiet().await;
        assert_eq!(stand.origin().counts().gets - before, gets, "{place:?}");
    }
    nothing_stays_behind(&stand).await;
}

#[tokio::test]
async fn streams_many_at_a_time() {
    let (stand, target) = stand();
    for (connections, streams) in [(1, 100), (3, 10)] {
        let streams = Streams { bytes: 200_000, connections, streams, offsets: Offsets::Anywhere };
        let found = drive(&target, Workload::Streams(streams), &plan(300)).await.unwrap();
        assert_all_right(&found);
        assert_eq!((found.requests, found.bytes), (300, 300 * 200_000));
        assert!(found.longest_gap_ms.unwrap() > 0.0);
    }
    let mut films = target.films.clone();
    films[0].path = "/media/none.mp4".to_owned();
    let target = Arc::new(Target { films, ..Target::clone(&target) });
    let streams = Streams { bytes: 10_000, connections: 1, streams: 4, offsets: Offsets::Anywhere };
    let found = drive(&target, Workload::Streams(streams), &plan(60)).await.unwrap();
    assert_eq!((found.requests + found.failed, found.wrong), (60, 0));
    let why = found.first_failure.unwrap();
    assert!(why.contains("GET /media/none.mp4") && why.contains("404"), "{why}");
    nothing_stays_behind(&stand).await;
}

#[tokio::test]
async fn viewers_who_pause_seek_and_leave() {
    let (stand, target) = stand();
    let players = Players {
        per_second: 200.0,
        bytes_per_second: 200_000,
        watched: Duration::from_secs(8),
        acts_every: Duration::from_secs(2),
        paused: Duration::from_secs(1),
        speed: 20.0,
        ..Players::default()
    };
    let found = drive(&target, Workload::Players(players), &plan(80)).await.unwrap();
    assert_all_right(&found);
    let counts = found.sessions.unwrap().counts;
    assert_eq!((counts.begun, counts.ended, counts.broken), (80, 80, 0), "{counts:?}");
    assert_eq!(found.requests, counts.begun + counts.seeks);
    assert!(counts.seeks > 20 && counts.pauses > 10, "{counts:?}");
    nothing_stays_behind(&stand).await;
}

#[tokio::test]
async fn others_beside_a_crowd() {
    let (stand, target) = stand();
    for bytes_per_second in [0, 100_000] {
        let crowd = Crowd { clients: 100, bytes: 8 << 20, bytes_per_second, settled: Duration::ZERO };
        let found = crowd.beside(&target, Workload::Ranges(ranges()), &plan(60)).await.unwrap();
        assert_eq!((found.served, found.refused), (100, 0));
        for measured in [&found.alone, &found.beside] {
            assert_all_right(measured);
            assert_eq!(measured.requests, 60);
        }
        nothing_stays_behind(&stand).await;
    }
}
