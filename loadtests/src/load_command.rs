//! `loadtest load`: a workload on any server.

mod outcome;
mod scenario;

use std::{net::SocketAddr, num::NonZero, path::PathBuf, process::ExitCode, sync::Arc, time::Duration};

use bytesize::ByteSize;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use seekway_loadtests::{
    Error,
    load::{Drive, Progress, Target},
};

use self::{
    outcome::{Gates, Outcome, Report},
    scenario::Scenario,
};

/// How often the progress bar moves.
const BAR_EVERY: Duration = Duration::from_millis(200);

/// Put load on any server that speaks HTTP and serves ranges, and say how it fared.
///
/// Nothing is started: the target is a gateway, an nginx, whatever answers at the address. Exit code 1 says that a gate
/// was missed, 2 that there could be no load.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  loadtest load --target http://127.0.0.1:8080/media/film.mp4 --scenario ranges
        64 KiB anywhere in the film, over 16 connections, for 10 s
  loadtest load --target … --scenario seeks --rate 200 --time 30s --p95-under 50ms
        200 cold seeks a second, whatever the answers take; exit code 1 when they take too long
  loadtest load --target …/a.mp4 --target …/b.mp4 --scenario players --rate 5 --time 2m
        5 viewers a second, who watch, pause, seek and leave
  loadtest load --target … --scenario herd --scenario hot-herd --connections 1000
        many readers of one place at once: nobody was there before, or all were
  loadtest load --target … --scenario streams --streams 100 --bytes 1MiB
        HTTP/2 without TLS: 100 ranges at a time on one connection

The files that the shaped origin makes (loadtest origin) can be checked byte for byte, through whatever serves
them: --pattern-seed 0 for film-0.mp4.")]
pub(crate) struct Load {
    /// What to ask for. Can be repeated, for several objects of one server.
    #[arg(long = "target", value_name = "URL", required = true)]
    targets: Vec<String>,
    /// What to do. Can be repeated.
    #[arg(long = "scenario", value_name = "NAME", required = true, value_enum)]
    scenarios: Vec<Scenario>,
    #[command(flatten)]
    knobs: Knobs,
    #[command(flatten)]
    gates: Gates,
    /// The targets are files of the shaped origin: the first has this seed, the next one more. Then every 16th body is
    /// checked.
    #[arg(long, value_name = "NUMBER")]
    pattern_seed: Option<u64>,
    /// Says that the server is yours, or that its owner has agreed. Needed beyond loopback addresses.
    #[arg(long)]
    i_own_it: bool,
    /// Write the figures to this file, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// How much of it.
#[derive(Debug, Args)]
struct Knobs {
    /// Connections, or readers of a herd [default: 16; streams: 1; herds: 1000].
    #[arg(long, value_name = "COUNT")]
    connections: Option<NonZero<usize>>,
    /// How much each request asks for.
    #[arg(long, value_name = "BYTES", default_value = "64KiB")]
    bytes: ByteSize,
    /// So many requests, or viewers, a second, at random times, however long the answers take [default: each
    /// connection asks when it has its answer; players: 5; find-rate begins with 10].
    #[arg(long, value_name = "PER_SECOND", value_parser = positive)]
    rate: Option<f64>,
    /// For how long.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = humantime::parse_duration)]
    time: Duration,
    /// No more requests, or viewers, than these [default: what the time allows; herds: ten herds].
    #[arg(long, value_name = "COUNT")]
    requests: Option<NonZero<u64>>,
    /// Threads that make the load.
    #[arg(long, value_name = "COUNT", default_value = "2")]
    threads: NonZero<usize>,
    /// Chooses what is asked for; the same seed asks for the same things.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    /// streams: requests at a time on each connection.
    #[arg(long, value_name = "COUNT", default_value = "100")]
    streams: NonZero<usize>,
    /// crowd: clients who ask for 8 MiB and read little, while others are measured.
    #[arg(long, value_name = "COUNT", default_value = "1000")]
    clients: NonZero<usize>,
    /// crowd: what each of them reads in a second; 0 for nothing.
    #[arg(long, value_name = "BYTES", default_value = "0B")]
    pace: ByteSize,
    /// crowd: how long it has been there when the others are measured.
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
    settled: Duration,
    /// players, find-rate: a second of film.
    #[arg(long, value_name = "BYTES", default_value = "500KB", value_parser = some_bytes)]
    bitrate: ByteSize,
    /// players, find-rate: how much of a film a viewer watches, on the average.
    #[arg(long, value_name = "TIME", default_value = "5m", value_parser = humantime::parse_duration)]
    watched: Duration,
    /// players, find-rate: seconds of film in one of the clock, to have days of viewing in minutes.
    #[arg(long, value_name = "FACTOR", default_value_t = 1.0, value_parser = positive)]
    speed: f64,
}

// === impl Load ===

impl Load {
    pub(crate) async fn run(&self) -> Result<ExitCode, Error> {
        let permit = |address: SocketAddr| self.permit(address);
        let target = Arc::new(Target::probe(&self.targets, self.pattern_seed, permit).await?);
        let plans =
            self.scenarios.iter().map(|scenario| Ok((scenario, scenario.plan(&self.knobs, &target)?)));
        // All of them before the first is run.
        let plans = plans.collect::<Result<Vec<_>, Error>>()?;
        println!("{} on {}", objects(&target), target.address);
        if self.pattern_seed.is_none() {
            println!(
                "bodies are not verified: what they should be is known of a shaped origin's files (--pattern-seed)"
            );
        }
        let mut report = Report { targets: self.targets.clone(), outcomes: Vec::new() };
        for (scenario, plan) in plans {
            let progress = Progress::default();
            let drive = Drive {
                threads: self.knobs.threads.get(),
                length: plan.length,
                seed: self.knobs.seed,
                verify_every: 16,
                progress: progress.clone(),
            };
            let name = scenario.name();
            let found = watched(name, plan.takes(), progress, plan.run(&target, &drive)).await?;
            let outcome = Outcome::new(name, plan.text, found, &self.gates);
            println!("\n{outcome}");
            report.outcomes.push(outcome);
        }
        if let Some(path) = &self.json {
            crate::write_json(path, &report)?;
        }
        Ok(if report.all_met() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn permit(&self, address: SocketAddr) -> Result<(), String> {
        if self.i_own_it || address.ip().is_loopback() {
            return Ok(());
        }
        Err(format!(
            "{} is not this machine, and load on a server whose owner did not agree is an attack; if it is yours, \
             say so with --i-own-it",
            address.ip()
        ))
    }
}

/// Shows how far `running` is, on standard error when that is a terminal.
async fn watched<T>(
    name: &'static str,
    takes: Duration,
    progress: Progress,
    running: impl Future<Output = T>,
) -> T {
    let template = "{prefix:>12} [{bar:40}] {msg} {elapsed}";
    let style = ProgressStyle::with_template(template).expect("the template is valid").progress_chars("=> ");
    let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    let bar = ProgressBar::new(millis(takes)).with_style(style).with_prefix(name);
    let moving = async {
        let mut turns = tokio::time::interval(BAR_EVERY);
        loop {
            turns.tick().await;
            bar.set_position(millis(bar.elapsed()));
            bar.set_message(format!("{} answers", progress.load(std::sync::atomic::Ordering::Relaxed)));
        }
    };
    let done = tokio::select! {
        done = running => done,
        () = moving => unreachable!("it goes on until the other is done"),
    };
    bar.finish_and_clear();
    done
}

fn objects(target: &Target) -> String {
    let bytes = ByteSize(target.films.iter().map(|film| film.size).sum());
    match &*target.films {
        [film] => format!("{} ({bytes})", film.path),
        films => format!("{} objects ({bytes})", films.len()),
    }
}

fn positive(text: &str) -> Result<f64, String> {
    let number: f64 = text.parse().map_err(|error| format!("{error}"))?;
    if number.is_finite() && number > 0.0 { Ok(number) } else { Err("expected a number above 0".to_owned()) }
}

fn some_bytes(text: &str) -> Result<ByteSize, String> {
    let bytes: ByteSize = text.parse()?;
    if bytes.as_u64() > 0 { Ok(bytes) } else { Err("expected at least one byte".to_owned()) }
}
