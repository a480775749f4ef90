//! A film over many workers. How fast it is, is for `benches/scheduler.rs` to say.

use std::collections::HashSet;
use std::time::Duration;

use seekway_catalog::JobState;
use seekway_loadtests::postgres::Postgres;

use crate::fleet::{Film, Fleet};

async fn a_film_is_made_by_all(url: &str) {
    let film = Film { parts: 24, part: Duration::from_millis(20), ends: Duration::from_millis(2) };
    let fleet = Fleet::start(url, 2, 8, film).await;
    let (job, ran) = fleet.publish().await;
    assert!(ran.encoding >= film.part * 24 && ran.wall >= film.part * 3 && !ran.asking.is_zero(), "{ran:?}");
    let parts = fleet.catalog().jobs().parts(job).await.expect("lists");
    assert_eq!(parts.len(), 24);
    assert!(parts.iter().all(|part| (part.state, part.attempt) == (JobState::Succeeded, 1)), "{parts:?}");
    let whole = fleet.catalog().jobs().get(job).await.expect("finds");
    assert_eq!((whole.state, whole.attempt), (JobState::Succeeded, 2));
    // Several at a time, and short ones between.
    let mut jobs = HashSet::new();
    for title in ["long", "short", "long", "short", "short"] {
        jobs.insert(fleet.add(title).await);
    }
    for job in &jobs {
        fleet.until_published(*job).await;
    }
    assert_eq!(fleet.catalog().jobs().backlog().await.expect("counts").due, 0);
    fleet.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite() {
    let folder = tempfile::tempdir().expect("a folder");
    a_film_is_made_by_all(&format!("sqlite:{}", folder.path().join("seekway.db").display())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres() {
    let server = Postgres::start().expect("PostgreSQL starts");
    a_film_is_made_by_all(&server.database("seekway").expect("a database")).await;
}
