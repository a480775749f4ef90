//! What is logged, and how.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::values::log_filter;

/// The heading of these settings.
pub const LOGS: &str = "Logs";

/// What is logged.
#[derive(Debug, Clone, clap::Args)]
pub struct LogSettings {
    /// What is logged to stderr: a level, or a filter such as `info,seekway_storage=debug`
    #[arg(long, env = "SEEKWAY_LOG", value_name = "FILTER", default_value = "info")]
    #[arg(value_parser = log_filter, help_heading = LOGS)]
    pub log: String,
}

/// Begins to log: human on a terminal, JSON where a machine reads. Once a process.
pub fn to_stderr(filter: &str) {
    let filter = EnvFilter::new(filter);
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() { log.init() } else { log.json().flatten_event(true).init() }
}
