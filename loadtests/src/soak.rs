//! Scenarios that promise something under load, and are judged by it.
//!
//! A scenario is one file in `soak/` and its line in [`SCENARIOS`]. It starts what it needs through its [`Stage`],
//! drives it, and returns [`Figures`]; a figure with a limit is a promise. Each runs in two lengths: short and
//! deterministic as a test, long in `make soak`, with the same code.

mod aborts;
mod cold_requests;
mod cut_and_resume;
mod drain;
mod figures;
mod films;
mod idle_connections;
mod late_answers;
mod many_ranges;
mod many_streams;
mod origin_trouble;
mod paused_clients;
mod paused_streams;
mod paused_tls;
mod paused_uploads;
mod redis_faults;
mod replicas;
mod rolling_restart;
mod slow_heads;
mod slow_readers;
mod stage;
mod uploads_memory;

use std::{future::Future, path::PathBuf, pin::Pin, time::Instant};

use serde::Serialize;

pub use self::{
    figures::{Figure, Figures, Outcome, Value},
    stage::{Length, Stage},
};
use crate::{Error, load::crowd};

/// Every scenario, in the order in which `make soak` runs them.
pub const SCENARIOS: &[Scenario] = &[
    paused_clients::SCENARIO,
    paused_streams::SCENARIO,
    paused_tls::SCENARIO,
    slow_readers::SCENARIO,
    idle_connections::SCENARIO,
    many_ranges::SCENARIO,
    cold_requests::SCENARIO,
    aborts::SCENARIO,
    slow_heads::SCENARIO,
    origin_trouble::SCENARIO,
    cut_and_resume::SCENARIO,
    drain::SCENARIO,
    replicas::SCENARIO,
    redis_faults::SCENARIO,
    rolling_restart::SCENARIO,
    late_answers::SCENARIO,
    many_streams::SCENARIO,
    uploads_memory::SCENARIO,
    paused_uploads::SCENARIO,
];

/// One promise and how it is put to the test.
#[derive(Debug, Clone, Copy)]
pub struct Scenario {
    /// What it is called on the command line.
    pub name: &'static str,
    /// What must hold.
    pub promise: &'static str,
    run: for<'a> fn(&'a Stage) -> Running<'a>,
}

/// A scenario under way.
type Running<'a> = Pin<Box<dyn Future<Output = Result<Figures, Error>> + 'a>>;

// === impl Scenario ===

impl Scenario {
    /// The scenario of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        SCENARIOS.iter().find(|scenario| scenario.name == name)
    }

    /// Runs it against the gateway at `binary`. An error says that it could not be judged; a broken promise is
    /// in the outcome.
    ///
    /// To be called on the main thread or a test's: servers end with the thread that started them.
    pub async fn run(&self, binary: impl Into<PathBuf>, length: Length) -> Result<Outcome, Error> {
        let stage = Stage::new(self.name, binary.into(), length);
        let began = Instant::now();
        let figures = (self.run)(&stage).await;
        stage.clear();
        Ok(Outcome::new(self.name, self.promise, length, began.elapsed(), figures?))
    }
}

/// What a run of several scenarios found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    /// In the order in which they ran.
    pub outcomes: Vec<Outcome>,
}

impl Report {
    /// Whether every promise was kept.
    pub fn all_kept(&self) -> bool {
        self.outcomes.iter().all(|outcome| outcome.kept)
    }
}

impl std::fmt::Display for Report {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for outcome in &self.outcomes {
            writeln!(f, "{}  {:<28}{:>8.1} s", outcome.verdict(), outcome.scenario, outcome.seconds)?;
        }
        Ok(())
    }
}
