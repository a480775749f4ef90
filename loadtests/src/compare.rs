//! Seekway beside other servers: the same workloads on all of them, in turns, on one machine.
//!
//! Each [`Scenario`] is a value of the [`catalogue`]. Its [`peers`](crate::peers) are asked one after the other, round
//! by round, and what is judged are ratios within a round: on a machine that somebody else uses too, a figure by itself
//! says little.

mod also;
mod catalogue;
mod figures;
mod goals;
mod html;
mod machine;
mod plot;
mod report;
mod rounds;
mod table;
pub mod transcoding;

use std::{
    path::Path,
    time::{Duration, SystemTime},
};

use indicatif::{ProgressBar, ProgressStyle};

pub use self::{
    also::Also,
    catalogue::{Form, Scenario, catalogue},
    goals::{Aim, Beside},
    report::{
        Bound, CrowdRound, Figures, Goal, Machine, Objects, PeerReport, Prepare, Report, Round,
        ScenarioReport,
    },
};
use crate::{
    Error,
    load::{Drive, Length, Progress},
    peers::Kind,
};

/// What a cache may keep unless somebody says otherwise: Seekway's own default.
pub const CACHE_BYTES: u64 = 512 << 20;

/// How everything is run.
#[derive(Debug, Clone, Copy)]
pub struct Plan<'a> {
    /// The gateway's binary.
    pub gateway: &'a Path,
    /// How often each peer meets each scenario, at least once.
    pub rounds: usize,
    /// How long each time, where the scenario does not end by itself.
    pub time: Duration,
    /// What each peer that caches may keep.
    pub cache_bytes: u64,
}

/// Lines over axes that both double from tick to tick, as an SVG document of its own.
pub fn curves(
    title: &str,
    (across, up): (&'static str, &'static str),
    lines: Vec<(String, Vec<(f64, f64)>)>,
) -> String {
    let axis = |label| plot::Axis { label, scale: plot::Scale::Log };
    let lines: Vec<_> = lines.into_iter().map(|(name, points)| plot::Line { name, points }).collect();
    plot::standalone(&[plot::Plot::lines(title, axis(across), axis(up), &lines)], 1)
}

/// Runs the scenarios, each for those of its peers that are among `kinds`. Shows its progress on standard error when
/// that is a terminal, and hands each scenario's report to `done` as soon as there is one.
pub async fn run(
    plan: &Plan<'_>,
    scenarios: &[Scenario],
    kinds: &[Kind],
    mut done: impl FnMut(&ScenarioReport),
) -> Result<Report, Error> {
    assert!(plan.rounds > 0, "nothing to measure: {plan:?}");
    let date = humantime::format_rfc3339_seconds(SystemTime::now()).to_string();
    let peers_of = |scenario: &Scenario| -> Vec<Kind> {
        scenario.peers.iter().copied().filter(|kind| kinds.contains(kind)).collect()
    };
    let steps: usize =
        scenarios.iter().map(|scenario| peers_of(scenario).len() * plan.rounds_of(scenario)).sum();
    let progress = progress_bar(steps as u64);
    let mut reports = Vec::new();
    for scenario in scenarios {
        let peers = peers_of(scenario);
        if peers.is_empty() {
            continue;
        }
        progress.set_message(format!("{}: starting", scenario.name));
        let step = |kind: Kind, round: usize| {
            let (name, round, rounds) = (kind.name(), round + 1, plan.rounds_of(scenario));
            progress.set_message(format!("{}: {name}, round {round} of {rounds}", scenario.name));
            progress.inc(1);
        };
        let report = rounds::run(plan, scenario, &peers, step).await?;
        progress.suspend(|| done(&report));
        reports.push(report);
    }
    progress.finish_and_clear();
    Ok(Report {
        command: std::env::args().collect::<Vec<_>>().join(" "),
        commit: machine::commit(),
        date,
        machine: Machine::here(),
        rounds: plan.rounds,
        cache_bytes: plan.cache_bytes,
        scenarios: reports,
        transcoding: None,
    })
}

// === impl Plan ===

impl Plan<'_> {
    /// How often each peer meets this one.
    fn rounds_of(&self, scenario: &Scenario) -> usize {
        self.rounds.min(scenario.rounds_max)
    }

    /// One peer's turn.
    fn drive(&self, scenario: &Scenario, seed: u64) -> Drive {
        Drive {
            threads: scenario.threads.unwrap_or_else(cores),
            length: Length { time: scenario.time.unwrap_or(self.time), requests: scenario.requests_max },
            seed,
            verify_every: scenario.verify_every,
            progress: Progress::default(),
        }
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, std::num::NonZero::get)
}

fn progress_bar(steps: u64) -> ProgressBar {
    let template = "[{bar:30}] {pos}/{len} {elapsed} {msg}";
    let style = ProgressStyle::with_template(template).expect("the template is valid").progress_chars("=> ");
    // It hides itself when standard error is no terminal.
    ProgressBar::new(steps).with_style(style)
}
