//! What goes on at the same time until all is uploaded: one lane of faults of our processes, one of faults of what they
//! need, and clients that upload.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::Signal;
use seekway_catalog::{Catalog, JobId};
use seekway_loadtests::way::Traffic;
use seekway_queue::Doorbells;
use tokio::time::{Instant, sleep, timeout};

use crate::clients::Source;
use crate::fault::{Deck, Fault, Whose};
use crate::fleet::{self, Fleet, LEASE, Moment, ON_A_SMALL_DISK};
use crate::report::Applied;
use crate::servers::{Place, Servers, Ways};

/// For how long it is waited that a worker comes to something.
const MOMENT_WITHIN: Duration = Duration::from_secs(10);
const UNKNOWN: &str = "01890a5d-ac96-774b-bcce-b302099a8057";
const BUSY: &str = "HTTP/1.1 503 Slow Down\r\nContent-Type: application/xml\r\nContent-Length: 93\r\nConnection: close\r\n\r\n\
                    <?xml version=\"1.0\"?><Error><Code>SlowDown</Code><Message>Please reduce it.</Message></Error>\n";

/// What the lanes share.
pub(crate) struct Shared {
    pub(crate) began: Instant,
    pub(crate) catalog: Catalog,
    pub(crate) sources: Vec<Source>,
    pub(crate) wanted: usize,
    pub(crate) uploaded: AtomicUsize,
    /// Which lanes have tried all of their faults.
    pub(crate) tried: [AtomicBool; 2],
    pub(crate) applied: Mutex<Vec<Applied>>,
    /// What has to be among the dead letters: garbage since the broker last lost what it had, and what may be.
    pub(crate) garbage: Mutex<BTreeMap<String, bool>>,
    pub(crate) backend: &'static str,
}

// === impl Shared ===

impl Shared {
    /// Whether a lane is to go on.
    fn goes_on(&self, deck: &Deck) -> bool {
        deck.rounds == 0 || self.uploaded.load(Ordering::Relaxed) < self.wanted
    }

    fn applied(&self, fault: Fault, began: Instant, note: String) {
        let at_ms = (began - self.began).as_millis();
        let lasted_ms = began.elapsed().as_millis();
        let applied = Applied { at_ms, lasted_ms, fault: fault.to_string(), note };
        println!("{}: {applied}; {} uploaded", self.backend, self.uploaded.load(Ordering::Relaxed));
        self.applied.lock().expect("no lane panics").push(applied);
    }
}

/// Faults of gateways and workers.
pub(crate) async fn of_processes(fleet: &mut Fleet, mut deck: Deck, shared: &Shared, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let bytes: Vec<u64> = shared.sources.iter().map(|source| source.bytes.len() as u64).collect();
    while shared.goes_on(&deck) {
        fleet.pause(Duration::from_millis(random.u64(100..1500))).await;
        let (fault, began) = (deck.next(), Instant::now());
        let note = match fault {
            Fault::WorkerKilled(moment) => killed_at(fleet, moment, &bytes).await,
            Fault::SomeWorkerKilled => {
                let worker = random.usize(..fleet.workers.len());
                fleet.workers[worker].kill();
                fleet.workers[worker].name.clone()
            }
            Fault::WorkerFrozen => {
                let worker = random.usize(..fleet.workers.len());
                frozen(fleet, worker, LEASE + Duration::from_secs(1)).await
            }
            Fault::GatewayKilled => {
                let gateway = random.usize(..fleet.gateways.len());
                fleet.gateways[gateway].kill();
                fleet.gateways[gateway].name.clone()
            }
            Fault::GatewayFrozen => {
                let gateway = fleet.workers.len() + random.usize(..fleet.gateways.len());
                frozen(fleet, gateway, Duration::from_millis(random.u64(500..4000))).await
            }
            Fault::DiskFull => disk_full(fleet, &bytes).await,
            other => unreachable!("{other} is no fault of processes"),
        };
        shared.applied(fault, began, note);
        shared.tried[0].fetch_or(deck.rounds > 0, Ordering::Relaxed);
    }
}

/// Kills a worker as soon as one is at that. What it was at when it ended.
async fn killed_at(fleet: &mut Fleet, moment: Moment, bytes: &[u64]) -> String {
    let began = Instant::now();
    while began.elapsed() < MOMENT_WITHIN {
        fleet.look_after();
        // The one with a disk of its own takes its files with it.
        let workers = fleet.workers.iter_mut().enumerate().filter(|(nth, _)| *nth != ON_A_SMALL_DISK);
        for (_, worker) in workers {
            if worker.moment(bytes) == moment {
                worker.kill();
                return format!("{} was {:?}", worker.name, worker.moment(bytes));
            }
        }
        sleep(Duration::from_millis(1)).await;
    }
    "none was".to_owned()
}

async fn frozen(fleet: &mut Fleet, nth: usize, time: Duration) -> String {
    let signal = |fleet: &mut Fleet, signal| {
        let process = fleet.all().nth(nth).expect("there are so many");
        process.signal(signal);
        process.name.clone()
    };
    signal(fleet, Signal::STOP);
    fleet.pause(time).await;
    signal(fleet, Signal::CONT)
}

/// Fills the disk of a worker that works.
async fn disk_full(fleet: &mut Fleet, bytes: &[u64]) -> String {
    let began = Instant::now();
    while fleet.workers[ON_A_SMALL_DISK].moment(bytes) < Moment::Probing {
        if began.elapsed() > MOMENT_WITHIN {
            return "it had nothing to do".to_owned();
        }
        fleet.look_after();
        sleep(Duration::from_millis(1)).await;
    }
    let fill = fleet.workers[ON_A_SMALL_DISK].scratch().join("fill");
    let filled = std::fs::write(&fill, vec![0; 64 << 20]);
    fleet.pause(Duration::from_secs(3)).await;
    let _ = std::fs::remove_file(&fill);
    match filled {
        Err(error) if error.raw_os_error() == Some(28) => "no space was left".to_owned(),
        other => format!("{other:?}"),
    }
}

/// Faults of servers, and of the ways to them.
pub(crate) async fn of_servers(
    servers: &mut Servers,
    ways: &[Ways],
    mut deck: Deck,
    shared: &Shared,
    seed: u64,
) {
    let mut random = fastrand::Rng::with_seed(seed);
    while shared.goes_on(&deck) {
        sleep(Duration::from_millis(random.u64(300..1500))).await;
        let (fault, began) = (deck.next(), Instant::now());
        let time = Duration::from_millis(random.u64(500..5000));
        let note = of_server(servers, ways, fault, time, shared, &mut random).await;
        shared.applied(fault, began, note);
        shared.tried[1].fetch_or(deck.rounds > 0, Ordering::Relaxed);
    }
}

async fn of_server(
    servers: &mut Servers,
    ways: &[Ways],
    fault: Fault,
    time: Duration,
    shared: &Shared,
    random: &mut fastrand::Rng,
) -> String {
    let lost =
        || shared.garbage.lock().expect("no lane panics").values_mut().for_each(|is_kept| *is_kept = false);
    match fault {
        Fault::DatabaseKilled => {
            let postgres = servers.postgres.as_mut().expect("there is one");
            postgres.kill();
            sleep(time / 4).await;
            postgres.restart().expect("PostgreSQL starts again");
        }
        Fault::DatabasePaused => {
            let postgres = servers.postgres.as_ref().expect("there is one");
            postgres.pause();
            sleep(time).await;
            postgres.resume();
        }
        Fault::BrokerKilled => {
            if !servers.broker.restart() {
                lost();
            }
        }
        Fault::BrokerPaused => {
            servers.broker.pause();
            sleep(time).await;
            servers.broker.resume();
        }
        Fault::BrokerEmptied => {
            servers.broker.empty();
            lost();
        }
        Fault::QueueDeleted => servers.broker.delete_queue().await,
        Fault::Network(place, trouble, whose) => {
            let of = (whose == Whose::OneProcesss).then(|| random.usize(..ways.len()));
            fleet::set(ways, of, place, trouble.traffic());
            sleep(time).await;
            fleet::set(ways, of, place, Traffic::Open);
            return of.map(|of| format!("process {of}")).unwrap_or_default();
        }
        Fault::StoreRefuses => {
            fleet::set(ways, None, Place::Store, Traffic::Answered(BUSY));
            sleep(time / 2).await;
            fleet::set(ways, None, Place::Store, Traffic::Open);
        }
        Fault::Garbage => {
            let garbage = format!("garbage-{:08x}", random.u32(..));
            servers.broker.publish_garbage(&garbage).await;
            shared.garbage.lock().expect("no lane panics").insert(garbage.clone(), true);
            return garbage;
        }
        Fault::RungTwice | Fault::RingsLost | Fault::RingsLate => {
            let bells = match servers.doorbells(&shared.catalog).await {
                Ok(bells) => bells,
                Err(error) => return error,
            };
            let rung = rings(&bells, fault, time, shared).await;
            bells.close().await;
            return rung.unwrap_or_else(|error| error);
        }
        other => unreachable!("{other} is no fault of servers"),
    }
    String::new()
}

/// Does with rings what nobody should.
async fn rings(
    bells: &Arc<dyn Doorbells>,
    fault: Fault,
    time: Duration,
    shared: &Shared,
) -> Result<String, String> {
    let text = |error: seekway_queue::Error| error.to_string();
    if fault == Fault::RungTwice {
        let page = shared.catalog.jobs().list(seekway_catalog::JobFilter::default(), None, 10).await;
        let mut jobs: Vec<JobId> = page.map_err(|error| error.chain())?.iter().map(|job| job.id).collect();
        jobs.extend(JobId::parse(UNKNOWN));
        bells.ring(&jobs).await.map_err(text)?;
        return Ok(format!("{} rings", jobs.len()));
    }
    let mut jobs = Vec::new();
    let until = Instant::now() + time;
    while let Ok(ring) = timeout(until - Instant::now().min(until), bells.heard()).await {
        let ring = ring.map_err(text)?;
        jobs.extend(ring.job);
        bells.answered(ring).await.map_err(text)?;
    }
    if fault == Fault::RingsLate {
        sleep(Duration::from_secs(2)).await;
        bells.ring(&jobs).await.map_err(text)?;
    }
    Ok(format!("{} rings", jobs.len()))
}
