//! How one long video spreads over 1 to 64 workers: the real catalog and doorbells, with a stand-in for ffmpeg that only takes
//! time. Run it by `make scheduler`.
//!
//! The stand-in is far shorter than a chunk of a minute takes any machine, so that what the catalog costs shows. Beside the wall
//! time stands what it would be if nothing but the stand-ins took time and each worker always had one.

#[path = "../tests/conformance/fleet.rs"]
mod fleet;

use std::path::Path;
use std::time::Duration;

use fleet::{Film, Fleet, Ran};
use seekway_loadtests::compare::curves;
use seekway_loadtests::postgres::Postgres;
use serde_json::{Value, json};
use tokio::time::Instant;

const WORKERS: [usize; 7] = [1, 2, 4, 8, 16, 32, 64];
/// Each has its own connections to the database.
const PROCESSES_MAX: usize = 8;
const FILM: Film = Film { parts: 256, part: Duration::from_millis(200), ends: Duration::from_millis(100) };
/// Short videos that come while a film is made, and by how many workers.
const SHORTS: usize = 8;
const SHORTS_WORKERS: usize = 4;

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        let server = Postgres::start().expect("PostgreSQL starts");
        let mut found = Vec::new();
        let mut lines = Vec::new();
        for name in ["SQLite", "PostgreSQL"] {
            let url = match name {
                "SQLite" => format!("sqlite:{}", folder.path().join("seekway.db").display()),
                _ => server.database("seekway").expect("a database"),
            };
            let rows = scaled(name, &url).await;
            let points = rows.iter().map(|(workers, _, times)| (real(*workers), *times)).collect();
            lines.push((name.to_owned(), points));
            let waited = between(&url).await;
            println!("  {SHORTS} short videos that came in the middle of it waited {waited:.0?} on average with {SHORTS_WORKERS} workers\n");
            found.push(document(name, &rows, waited));
        }
        lines.push(("one for each".to_owned(), WORKERS.map(|workers| (real(workers), real(workers))).to_vec()));
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../loadtests/results");
        let text = serde_json::to_string_pretty(&found).expect("it is all text and numbers");
        let plot = curves("a film over workers", ("workers", "times as fast as one"), lines);
        std::fs::write(folder.join("scheduler.json"), text + "\n").expect("writes");
        std::fs::write(folder.join("scheduler.svg"), plot).expect("writes");
        println!("kept in loadtests/results/scheduler.json and scheduler.svg");
    });
}

/// A film by each number of workers: and how many times as fast it was as by one.
async fn scaled(name: &str, url: &str) -> Vec<(usize, Ran, f64)> {
    let Film { parts, part, .. } = FILM;
    println!("{name}: a film of {parts} chunks, each of which takes a stand-in {part:?}");
    println!("  workers   wall s  times as fast  of what could be  asking, a chunk  working");
    let mut rows: Vec<(usize, Ran, f64)> = Vec::new();
    for workers in WORKERS {
        let fleet = Fleet::start(url, workers.min(PROCESSES_MAX), workers, FILM).await;
        let (_, ran) = fleet.publish().await;
        fleet.stop().await;
        let one = rows.first().map_or(ran.wall, |(_, one, _)| one.wall);
        let times = one.as_secs_f64() / ran.wall.as_secs_f64();
        println!(
            "  {workers:7} {:8.2} {times:14.1} {:15.0} % {:12.1} ms {:6.0} %",
            ran.wall.as_secs_f64(),
            best(workers) / ran.wall.as_secs_f64() * 100.0,
            asking_ms(&ran),
            ran.encoding.as_secs_f64() / ran.wall.as_secs_f64() / real(workers) * 100.0,
        );
        rows.push((workers, ran, times));
    }
    rows
}

/// Seconds that so many workers would need if only stand-ins took time.
fn best(workers: usize) -> f64 {
    let turns = u32::try_from(FILM.parts.div_ceil(workers)).expect("few");
    (FILM.part * turns + FILM.ends * 2).as_secs_f64()
}

fn asking_ms(ran: &Ran) -> f64 {
    ran.asking.as_secs_f64() * 1000.0 / real(FILM.parts)
}

/// How long short videos wait that come while a film is made.
async fn between(url: &str) -> Duration {
    let fleet = Fleet::start(url, 1, SHORTS_WORKERS, FILM).await;
    let film = fleet.add("long").await;
    let mut waited = Duration::ZERO;
    for _ in 0..SHORTS {
        tokio::time::sleep(FILM.part * 3).await;
        let began = Instant::now();
        let short = fleet.add("short").await;
        fleet.until_published(short).await;
        waited += began.elapsed().saturating_sub(FILM.part);
    }
    fleet.catalog().jobs().cancel(film).await.expect("it is not done yet");
    // Who is at a part learns of it when it ends.
    tokio::time::sleep(FILM.part * 2).await;
    fleet.stop().await;
    waited / u32::try_from(SHORTS).expect("few")
}

fn document(name: &str, rows: &[(usize, Ran, f64)], waited: Duration) -> Value {
    let rows: Vec<_> = rows
        .iter()
        .map(|(workers, ran, times)| {
            json!({
                "workers": workers, "wall_seconds": ran.wall.as_secs_f64(), "times_as_fast": times,
                "best_seconds": best(*workers), "asking_ms_per_chunk": asking_ms(ran),
            })
        })
        .collect();
    json!({
        "database": name, "chunks": FILM.parts, "chunk_ms": FILM.part.as_secs_f64() * 1000.0, "rows": rows,
        "short_waited_ms": waited.as_secs_f64() * 1000.0,
    })
}

fn real(number: usize) -> f64 {
    f64::from(u32::try_from(number).expect("few"))
}
