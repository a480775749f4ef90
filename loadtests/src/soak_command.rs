//! `loadtest soak`.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, builder::PossibleValuesParser};
use seekway_loadtests::{
    Error,
    soak::{Length, Report, SCENARIOS},
};

/// Run scenarios that promise something under load, and say whether it was kept.
///
/// Exit code 1 says that a promise was broken.
#[derive(Debug, Args)]
pub(crate) struct Soak {
    /// The gateway's binary [default: `gateway` next to this one]. Build both with --release.
    #[arg(long, value_name = "PATH")]
    gateway: Option<PathBuf>,
    /// Only this scenario. Can be repeated.
    #[arg(long = "scenario", value_name = "NAME", value_parser = names())]
    scenarios: Vec<String>,
    /// The short form, which the tests run.
    #[arg(long)]
    short: bool,
    /// Write the figures to this file, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn names() -> PossibleValuesParser {
    SCENARIOS.iter().map(|scenario| scenario.name).collect::<Vec<_>>().into()
}

// === impl Soak ===

impl Soak {
    pub(crate) async fn run(&self) -> Result<ExitCode, Error> {
        let report = self.soak().await?;
        print!("{report}");
        if let Some(path) = &self.json {
            let text = serde_json::to_string_pretty(&report).map_err(std::io::Error::from)?;
            std::fs::write(path, text + "\n").map_err(|source| Error::File { path: path.clone(), source })?;
        }
        Ok(if report.all_kept() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    async fn soak(&self) -> Result<Report, Error> {
        let binary = match &self.gateway {
            Some(path) => path.clone(),
            None => std::env::current_exe()?.with_file_name("gateway"),
        };
        let length = if self.short { Length::Short } else { Length::Long };
        let is_wanted =
            |name| self.scenarios.is_empty() || self.scenarios.iter().any(|wanted| wanted == name);
        let mut report = Report::default();
        for scenario in SCENARIOS.iter().filter(|scenario| is_wanted(scenario.name)) {
            let outcome = scenario.run(&binary, length).await?;
            println!("{outcome}");
            report.outcomes.push(outcome);
        }
        Ok(report)
    }
}
