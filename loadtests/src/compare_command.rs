//! `loadtest compare`.

use std::{
    num::NonZero,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use bytesize::ByteSize;
use clap::{Args, builder::PossibleValuesParser};
use seekway_loadtests::{
    Error,
    compare::{self, Form, Plan, Report, catalogue, transcoding},
    peers::Kind,
};

/// Put the same workloads on Seekway, nginx, Varnish and a tus server, in turns, and say who needs what for them.
///
/// Every server is started here, on a free port of this machine, with as many workers as there are cores and the same
/// memory for its cache, and stopped afterwards. Those in front of an object store have the shaped origin behind them, or
/// SeaweedFS where they take uploads; the tus server is one process of Node, as its authors start it.
/// Processor time and memory of each are what the kernel says of its processes. Bodies are compared with what they
/// should be, all of them or some, by scenario.
///
/// Read the ratios: they are within a round, so that a busy moment of the machine is in both numbers. What Seekway
/// does not reach is said, too.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  loadtest compare                                  everything; about half an hour
  loadtest compare --scenario hot-64k               what does a hit cost, here and there?
  loadtest compare --scenario cold-seeks --scenario cold-sequential --rounds 3
                                                    is a jump into what nobody has asked for fast?
  loadtest compare --scenario hot-1m --peer seekway-s3 --peer nginx-static --seconds 1 --rounds 2
                                                    a first look
  loadtest compare --json out.json --gate           for CI: exit code 1 when a goal is not met
  loadtest compare --from out.json --html out.html  the same report as a page

CPU is processor time of the server, user and system, with all its processes. `us/req` is that for a request in
microseconds; `origin B/B` are bytes that the origin sent for each byte that was delivered.")]
pub(crate) struct Compare {
    /// The gateway's binary [default: `gateway` next to this one]. Build both with --release.
    #[arg(long, value_name = "PATH")]
    gateway: Option<PathBuf>,
    /// How often each peer meets each scenario; medians count.
    #[arg(long, value_name = "COUNT", default_value = "5")]
    rounds: NonZero<usize>,
    /// How long each time. Scenarios of cold objects end earlier when all was asked for.
    #[arg(long, value_name = "SECONDS", default_value = "4")]
    seconds: NonZero<u32>,
    /// Only this scenario. Can be repeated.
    #[arg(long = "scenario", value_name = "NAME", value_parser = scenario_names())]
    scenarios: Vec<String>,
    /// Only this server. Can be repeated; goals that need another one are left out.
    #[arg(long = "peer", value_name = "NAME", value_parser = peer_names())]
    peers: Vec<String>,
    /// What each server that caches may keep.
    #[arg(long, value_name = "BYTES", default_value_t = ByteSize(compare::CACHE_BYTES))]
    cache: ByteSize,
    /// Write the report to this file, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write it to this file as a page with plots, too.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Write the report, its page and its picture into loadtests/results/ too, as best.json, best.html and best.svg.
    #[arg(long)]
    keep: bool,
    /// Measure nothing: read a report that was written with --json, and print or draw it again.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["rounds", "seconds", "scenarios", "peers", "cache"])]
    from: Option<PathBuf>,
    /// Exit with code 1 when a goal is not met, a request failed or a byte was wrong.
    #[arg(long)]
    gate: bool,
}

/// A minute of film, which takes some minutes a round.
const FILM_SECONDS: u32 = 60;
const TRANSCODING_ROUNDS_MAX: usize = 3;

fn scenario_names() -> PossibleValuesParser {
    let scenarios = catalogue(Form::Full);
    scenarios.iter().map(|scenario| scenario.name).chain([transcoding::NAME]).collect::<Vec<_>>().into()
}

fn peer_names() -> PossibleValuesParser {
    Kind::ALL.map(Kind::name).into()
}

// === impl Compare ===

impl Compare {
    pub(crate) async fn run(&self) -> Result<ExitCode, Error> {
        let results = Path::new(env!("CARGO_MANIFEST_DIR")).join("results");
        if self.keep {
            std::fs::create_dir_all(&results)
                .map_err(|source| Error::File { path: results.clone(), source })?;
        }
        let kept = |name: &str| self.keep.then(|| results.join(name));
        let json: Vec<PathBuf> = self.json.iter().cloned().chain(kept("best.json")).collect();
        let pages: Vec<PathBuf> = self.html.iter().cloned().chain(kept("best.html")).collect();
        // Half an hour of measuring is not to be lost for a file that cannot be written.
        for path in json.iter().chain(&pages).chain(&kept("best.svg")) {
            can_be_written(path)?;
        }
        let report = match &self.from {
            Some(path) => read(path)?,
            None => self.compare().await?,
        };
        print!("{}", report.summary());
        for path in json {
            crate::write_json(&path, &report)?;
            println!("written to {}", path.display());
        }
        let pages = pages.into_iter().map(|path| (path, report.html()));
        for (path, text) in pages.chain(kept("best.svg").map(|path| (path, report.picture()))) {
            std::fs::write(&path, text).map_err(|source| Error::File { path: path.clone(), source })?;
            println!("written to {}", path.display());
        }
        Ok(if self.gate && !report.all_met() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    async fn compare(&self) -> Result<Report, Error> {
        let gateway = crate::gateway_binary(self.gateway.as_ref())?;
        let is_wanted =
            |wanted: &[String], name: &str| wanted.is_empty() || wanted.iter().any(|one| one == name);
        let mut scenarios = catalogue(Form::Full);
        scenarios.retain(|scenario| is_wanted(&self.scenarios, scenario.name));
        let kinds: Vec<Kind> =
            Kind::ALL.into_iter().filter(|kind| is_wanted(&self.peers, kind.name())).collect();
        let plan = Plan {
            gateway: &gateway,
            rounds: self.rounds.get(),
            time: Duration::from_secs(self.seconds.get().into()),
            cache_bytes: self.cache.as_u64(),
        };
        let mut report = compare::run(&plan, &scenarios, &kinds, |scenario| println!("{scenario}")).await?;
        if self.peers.is_empty() && is_wanted(&self.scenarios, transcoding::NAME) {
            let rounds = plan.rounds.min(TRANSCODING_ROUNDS_MAX);
            let step = |round: usize| eprintln!("{}: round {} of {rounds}", transcoding::NAME, round + 1);
            let found = transcoding::run(&gateway, FILM_SECONDS, rounds, step).await?;
            println!("{found}");
            report.transcoding = Some(found);
        }
        Ok(report)
    }
}

/// Leaves what is in the file as it is.
fn can_be_written(path: &Path) -> Result<(), Error> {
    let opened = std::fs::OpenOptions::new().append(true).create(true).open(path);
    opened.map(drop).map_err(|source| Error::File { path: path.to_owned(), source })
}

fn read(path: &Path) -> Result<Report, Error> {
    let text =
        std::fs::read_to_string(path).map_err(|source| Error::File { path: path.to_owned(), source })?;
    let malformed = |error: serde_json::Error| Error::File { path: path.to_owned(), source: error.into() };
    serde_json::from_str(&text).map_err(malformed)
}
