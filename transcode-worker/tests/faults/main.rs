//! The fault suite: gateways, workers, broker, database and store as processes, which are killed, frozen, cut off and
//! emptied while clients upload. In the end each video was published once, and nothing is left.
//!
//! A seed says which faults come in which order; what they meet is the machine's to say. Short and with a fixed seed as a
//! test; `FAULT_JOBS` has so many jobs at least, every fault at least once, and a seed of its own or of `FAULT_SEED`
//! (`make soak`). `target/faults/` has a report of each run.

#[allow(dead_code, reason = "others need more of it")]
#[path = "../../../queue/tests/conformance/amqp.rs"]
mod amqp;
mod check;
mod clients;
mod fault;
mod fleet;
mod lanes;
mod report;
mod servers;
#[allow(dead_code, reason = "others need more of it")]
#[path = "../../../queue/tests/conformance/sqs.rs"]
mod sqs;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use crate::check::Checks;
use crate::clients::Source;
use crate::fault::{Deck, Fault};
use crate::fleet::Fleet;
use crate::lanes::Shared;
use crate::report::Report;
use crate::servers::{Backend, Servers, Ways};

/// Seeds that differ a little are to deal quite different faults.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;
/// Of the short form.
const SEED: u64 = 7;
const JOBS: usize = 12;
/// What a program ends with whose settings are wrong.
const EXIT_USAGE: i32 = 64;
const LAST_GARBAGE: &str = "garbage-at-the-end";
/// Faults in each lane of the short form.
const FAULTS: usize = 4;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqlite() {
    Box::pin(run(Backend::Sqlite)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres() {
    Box::pin(run(Backend::Postgres)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redis() {
    Box::pin(run(Backend::Redis)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rabbitmq() {
    Box::pin(run(Backend::RabbitMq)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sqs() {
    Box::pin(run(Backend::Sqs)).await;
}

async fn run(backend: Backend) {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name} is a number, not {text:?}")))
    };
    let jobs = number("FAULT_JOBS").map(|jobs| usize::try_from(jobs).expect("some jobs"));
    let seed =
        number("FAULT_SEED").unwrap_or_else(|| if jobs.is_some() { fastrand::u64(..1 << 32) } else { SEED });
    println!("{}: FAULT_SEED={seed}", backend.name());
    let mut report = Report { backend: backend.name().to_owned(), seed, ..Report::default() };
    let mut random =
        fastrand::Rng::with_seed(seed.wrapping_mul(MIX) ^ (backend as u64).wrapping_mul(MIX << 1));

    let mut servers = Servers::start(backend).await;
    let sign = if random.bool() { '+' } else { '-' };
    // With SQLite the database's clock is the process's own, and there is one machine.
    let skew = servers.postgres.is_some().then(|| format!("{sign}{}h", random.u32(1..12)));
    let (mut fleet, ways) = Fleet::start(&servers, skew).await;
    let shared = Shared {
        began: Instant::now(),
        catalog: servers.catalog().await,
        sources: Source::all(servers.folder.path()),
        wanted: jobs.unwrap_or(JOBS),
        uploaded: 0.into(),
        tried: [false.into(), false.into()],
        applied: Mutex::new(Vec::new()),
        garbage: Mutex::new(BTreeMap::new()),
        backend: backend.name(),
    };
    let most = jobs.is_none().then_some(FAULTS);
    let of_processes = Deck::new(Fault::of_processes(), most, random.u64(..));
    let of_servers = Deck::new(Fault::of_servers(backend), most, random.u64(..));
    let addresses = fleet.addresses.clone();
    let ((), (), uploaded) = tokio::join!(
        lanes::of_processes(&mut fleet, of_processes, &shared, random.u64(..)),
        lanes::of_servers(&mut servers, &ways, of_servers, &shared, random.u64(..)),
        clients::upload(&addresses, &shared, random.u64(..)),
    );
    ways.iter().for_each(Ways::open);
    Box::pin(fleet.during(ended(&servers, &shared, &addresses, &uploaded, &mut report))).await;

    report.skew = fleet.skew.clone().unwrap_or_else(|| "0h".to_owned());
    report.seconds = shared.began.elapsed().as_secs();
    report.set_faults(shared.applied.into_inner().expect("no lane panicked"));
    for process in fleet.all() {
        let kind = process.name.split(' ').next().unwrap_or_default().to_owned();
        for (status, words) in &process.ended {
            *report.ended_by_themselves.entry(format!("a {kind} ended by itself: {status}")).or_default() +=
                1;
            let text = format!("{} ended by itself, {status}: {words}", process.name);
            // Its settings are right: whatever was away when it began comes back.
            if status.code() == Some(EXIT_USAGE) { report.problem(text) } else { println!("{text}") }
        }
        if !report.problems.is_empty() {
            println!("=== {}\n{}", process.name, process.log_tail(20));
        }
    }
    let path = report.write();
    println!("{report}  {}", path.display());
    assert!(report.problems.is_empty(), "{report}");
}

/// What has to hold once nothing goes wrong any more.
async fn ended(
    servers: &Servers,
    shared: &Shared,
    addresses: &[std::net::SocketAddr],
    uploaded: &[clients::Uploaded],
    report: &mut Report,
) {
    let doorbells = loop {
        match servers.doorbells(&shared.catalog).await {
            Ok(doorbells) => break doorbells,
            Err(error) => println!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    let checks = Checks {
        catalog: shared.catalog.clone(),
        store: servers.store().await,
        doorbells,
        addresses: addresses.to_vec(),
        has_broker: servers.broker.is_there(),
    };
    report.jobs = uploaded.len();
    checks.all_ended(report).await;
    // One that nobody can process is dead, is told of as dead, and is tried again when somebody says so.
    let broken = clients::one(addresses, &shared.sources[0].broken(), u64::MAX).await;
    let (mut least, mut most) = (Vec::new(), 0);
    {
        let mut garbage = shared.garbage.lock().expect("no lane panicked");
        garbage.insert(LAST_GARBAGE.to_owned(), true);
        most += garbage.len();
        least.extend(garbage.iter().filter(|(_, is_kept)| **is_kept).map(|(text, _)| text.clone()));
    }
    servers.broker.publish_garbage(LAST_GARBAGE).await;
    let letters = async || servers.broker.dead_letters().await;
    if let Some(dead) = checks.is_dead(&broken, 1, report).await {
        least.push(dead.id.to_string());
        checks.dead_letters(letters, &least, most + 1, report).await;
        if !letters().await.contains(dead.problem.as_deref().unwrap_or_default()) && checks.has_broker {
            report.problem("the dead letter of a job does not say why");
        }
        let redriven = gateway(servers, &["jobs", "redrive", &dead.id.to_string()]).await;
        redriven.unwrap_or_else(|wrong| report.problem(wrong));
        checks.is_dead(&broken, dead.attempt + 1, report).await;
        checks.dead_letters(letters, &least, most + 2, report).await;
    }
    let mut known = Vec::new();
    for uploaded in uploaded {
        checks.published(uploaded, report).await;
        known.extend(shared.catalog.videos().get(uploaded.video).await);
    }
    known.extend(shared.catalog.videos().get(broken.video).await);
    let scratch: Vec<_> =
        (0..).map(|nth| servers.folder.path().join(format!("scratch-{nth}"))).take(3).collect();
    checks.nothing_is_left(&known, uploaded.len() + 1, &scratch, report).await;
    let examined = gateway(servers, &["doctor", "--older-than", "0s"]).await;
    examined.unwrap_or_else(|wrong| report.problem(wrong));
    checks.doorbells.close().await;
}

/// A command of the gateway's, which must do well.
async fn gateway(servers: &Servers, arguments: &[&str]) -> Result<(), String> {
    let program = Path::new(env!("CARGO_BIN_EXE_transcode-worker")).with_file_name("gateway");
    let ways = servers.ways().await;
    let mut command = Command::new(program);
    command.args(arguments).env_clear().envs(servers.settings(&ways));
    let output = command.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    Err(format!("gateway {}: {}", arguments.join(" "), String::from_utf8_lossy(&said)))
}
