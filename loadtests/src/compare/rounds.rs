//! One scenario: its servers, and its rounds.

use std::{future::pending, sync::Arc, time::Duration};

use tokio::time::{interval, sleep, timeout};

use super::{
    Plan, Scenario,
    report::{PeerReport, Prepare, Round, ScenarioReport},
};
use crate::{
    Error,
    load::{Arrivals, Drive, Length, Measurement, Offsets, Progress, Ranges, Uploads, Workload, drive},
    origin::{Counts, Origin, Shape},
    peers::{Films, Ground, Kind, Peer, Weight},
    seaweed::SeaweedFs,
};

/// Between two looks at what a server weighs.
const WEIGH_EVERY: Duration = Duration::from_millis(250);
/// What a server does for nobody ends within this.
const QUIET_WITHIN: Duration = Duration::from_secs(10);
/// What the origin still sends after this is no request's business any more.
const SETTLED_WITHIN: Duration = Duration::from_secs(3);
/// The films are read before a hot scenario in pieces of this length.
const WARM_UP_BYTES: u64 = 1 << 20;
/// Before a round of uploads each peer has one of this length, at the store's first write into a bucket, too.
const FIRST_UPLOAD_BYTES: u64 = 16 << 20;

/// One peer in one round.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn<'a> {
    pub(super) peer: &'a Peer,
    pub(super) workload: Workload,
    pub(super) drive: &'a Drive,
    pub(super) origin: &'a Origin,
}

/// When a server is weighed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Weigh {
    /// While it is measured.
    Meanwhile,
    /// By the caller: beside ten thousand sockets it takes long enough to be felt.
    Never,
}

/// Runs `scenario` for its peers, in turns; every second round goes through them backwards, so that neither a busy
/// moment nor a place in the order hits always the same one.
pub(super) async fn run(
    plan: &Plan<'_>,
    scenario: &Scenario,
    peers: &[Kind],
    mut step: impl FnMut(Kind, usize),
) -> Result<ScenarioReport, Error> {
    let origin = Origin::start(Shape::default())?;
    let on_tmpfs = peers.iter().any(|kind| kind.serves_files());
    let films = Films::new(&origin, scenario.objects.count, scenario.objects.bytes, on_tmpfs)?;
    let seaweed = match scenario.workload {
        Workload::Uploads(_) => Some(SeaweedFs::start_in_memory().await?),
        _ => None,
    };
    let ground = Ground {
        gateway: plan.gateway,
        origin: &origin,
        films: &films,
        cache_bytes: scenario.cache_bytes.unwrap_or(plan.cache_bytes),
        workers: scenario.threads,
        seaweed: seaweed.as_ref(),
    };
    let mut running: Vec<Option<Peer>> = Vec::new();
    for kind in peers {
        running.push(match scenario.prepare {
            Prepare::Hot => Some(warm(*kind, &ground).await?),
            Prepare::Cold => None,
        });
    }
    origin.set_shape(scenario.origin);
    let workload = paced(plan, scenario, &running).await?;

    let mut rounds: Vec<Vec<Round>> = vec![Vec::new(); peers.len()];
    for round in 0..plan.rounds_of(scenario) {
        let mut order: Vec<usize> = (0..peers.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        for nth in order {
            step(peers[nth], round);
            let fresh = match &running[nth] {
                Some(_) => None,
                None => Some(fresh(peers[nth], &ground, workload).await?),
            };
            let peer = running[nth].as_ref().or(fresh.as_ref()).expect("one of them is there");
            let drive = plan.drive(scenario, round as u64);
            let turn = Turn { peer, workload, drive: &drive, origin: &origin };
            rounds[nth].push(scenario.also.round(&turn).await?);
            if let Some(fresh) = fresh {
                fresh.clear().await?;
            }
        }
    }
    let reports = peers.iter().zip(rounds).map(|(kind, rounds)| PeerReport::new(kind.name(), rounds));
    let reports: Vec<PeerReport> = reports.collect();
    let figures_of = |kind: Kind| {
        let peer = reports.iter().find(|peer| peer.name == kind.name())?;
        Some(peer.rounds.iter().map(|round| round.figures).collect())
    };
    Ok(ScenarioReport {
        name: scenario.name.to_owned(),
        about: scenario.about.to_owned(),
        workload,
        also: scenario.also.clone(),
        cache_bytes: Some(ground.cache_bytes),
        threads: scenario.threads,
        length: plan.drive(scenario, 0).length,
        objects: scenario.objects,
        prepare: scenario.prepare,
        origin: scenario.origin,
        goals: scenario.aims.iter().filter_map(|aim| aim.judge(figures_of)).collect(),
        peers: reports,
    })
}

/// A server that knows nothing of what it will be asked. One that takes uploads has taken one: the first makes room in
/// the bucket.
async fn fresh(kind: Kind, ground: &Ground<'_>, workload: Workload) -> Result<Peer, Error> {
    let peer = Peer::start(kind, ground).await?;
    if let Workload::Uploads(uploads) = workload {
        let bytes = FIRST_UPLOAD_BYTES.min(uploads.bytes);
        let first = Uploads { at_once: 1, bytes, ..uploads };
        // It has another name than those that count.
        all_answered(&peer, Workload::Uploads(first), 1, u64::MAX).await?;
    }
    Ok(peer)
}

/// A server that has been asked for everything once.
async fn warm(kind: Kind, ground: &Ground<'_>) -> Result<Peer, Error> {
    let peer = Peer::start(kind, ground).await?;
    let (count, bytes) = (ground.films.count() as u64, ground.films.bytes());
    let piece = WARM_UP_BYTES.min(bytes);
    let ranges = Ranges {
        bytes: piece,
        connections: 4,
        arrivals: Arrivals::Closed,
        offsets: Offsets::InOrder,
        churn: false,
        copies: false,
    };
    all_answered(&peer, Workload::Ranges(ranges), count * (bytes / piece), 0).await?;
    Ok(peer)
}

/// Something that is asked before anything counts.
async fn all_answered(peer: &Peer, workload: Workload, requests: u64, seed: u64) -> Result<(), Error> {
    let length = Length::requests(requests);
    let drive_ = Drive { threads: 2, length, seed, verify_every: 0, progress: Progress::default() };
    match driven(peer, workload, &drive_).await?.first_failure {
        None => Ok(()),
        Some(answer) => {
            let request = format!("the first requests to {}", peer.kind().name());
            Err(Error::UnexpectedAnswer { request, answer })
        }
    }
}

/// The workload; at its share of what the slowest of the running peers reaches, where the scenario has a pace.
async fn paced(plan: &Plan<'_>, scenario: &Scenario, peers: &[Option<Peer>]) -> Result<Workload, Error> {
    let Some(share) = scenario.pace else { return Ok(scenario.workload) };
    let mut slowest = f64::INFINITY;
    for peer in peers.iter().flatten() {
        let found = driven(peer, scenario.workload, &plan.drive(scenario, u64::MAX)).await?;
        slowest = slowest.min(found.requests_per_second());
    }
    let per_second = (share * slowest).clamp(1.0, 1e9);
    Ok(match scenario.workload {
        Workload::Ranges(ranges) => {
            Workload::Ranges(Ranges { arrivals: Arrivals::Open { per_second }, ..ranges })
        }
        other => other,
    })
}

// === impl Turn ===

impl Turn<'_> {
    /// The workload, and nothing else.
    pub(super) async fn alone(&self) -> Result<Round, Error> {
        self.watched(Weigh::Meanwhile, self.driven()).await
    }

    /// The workload, for [`watched`](Self::watched).
    pub(super) async fn driven(&self) -> Result<Measurement, Error> {
        driven(self.peer, self.workload, self.drive).await
    }

    /// What comes of `load`, and what it costs the server and the origin.
    pub(super) async fn watched(
        &self,
        weigh: Weigh,
        load: impl Future<Output = Result<Measurement, Error>>,
    ) -> Result<Round, Error> {
        let Self { peer, origin, .. } = *self;
        settle(origin).await;
        origin.reset_counts();
        let cpu_before = peer.cpu_seconds()?;
        let mut weight = Weight::default();
        let mut timeline = Vec::new();
        let measurement = {
            let weighing = async {
                if weigh == Weigh::Never {
                    pending::<()>().await;
                }
                loop {
                    weight = weight.peak(peer.weigh()?);
                    sleep(WEIGH_EVERY).await;
                }
            };
            tokio::select! {
                measurement = load => measurement?,
                failed = weighing => return failed,
                () = each_second(origin, &mut timeline) => unreachable!("seconds have no end"),
            }
        };
        // What it read ahead belongs to it, too.
        let counts = settle(origin).await;
        until_quiet(peer).await?;
        let cpu = peer.cpu_seconds()?.zip(cpu_before).map(|(after, before)| after - before);
        let (memory, sockets) = (weight.memory_bytes, weight.socket_bytes);
        Ok(Round { origin_timeline: timeline, ..Round::new(measurement, cpu, memory, sockets, counts) })
    }
}

/// Writes down what the origin sends in each second from now on.
async fn each_second(origin: &Origin, timeline: &mut Vec<(u64, u64)>) {
    let mut sent = 0;
    let mut seconds = interval(Duration::from_secs(1));
    seconds.tick().await;
    for second in 0.. {
        seconds.tick().await;
        let all = origin.counts().body_bytes;
        timeline.push((second, all - sent));
        sent = all;
    }
}

pub(super) async fn driven(peer: &Peer, workload: Workload, drive_: &Drive) -> Result<Measurement, Error> {
    let target = match workload {
        Workload::Streams(_) => peer.http2_target(),
        _ => peer.target().clone(),
    };
    let mut outcome = drive(&Arc::new(target), workload, drive_).await;
    if let (Ok(found), Workload::Uploads(uploads)) = (&mut outcome, workload) {
        found.put_checked(peer.check(&uploads, drive_.seed).await?);
    }
    if outcome.is_err() {
        eprintln!("the end of the log of {}:\n{}", peer.kind().name(), peer.log_tail());
    }
    outcome
}

/// Waits until the origin has nothing left to send.
async fn settle(origin: &Origin) -> Counts {
    let idle = origin.until(|counts| counts.in_flight == 0);
    match timeout(SETTLED_WITHIN, idle).await {
        Ok(Ok(counts)) => counts,
        Ok(Err(_)) | Err(_) => origin.counts(),
    }
}

/// Waits until the server does nothing for nobody any more.
async fn until_quiet(peer: &Peer) -> Result<(), Error> {
    let quiet = async {
        while !peer.leftovers().await?.is_empty() {
            sleep(Duration::from_millis(10)).await;
        }
        Ok::<_, Error>(())
    };
    if let Ok(outcome) = timeout(QUIET_WITHIN, quiet).await {
        return outcome;
    }
    let request = format!("{} to be done with {:?}", peer.kind().name(), peer.leftovers().await?);
    Err(Error::Timeout { request, limit: QUIET_WITHIN })
}
