//! The gateway's command line.

use std::io::IsTerminal;
use std::process::ExitCode;

use seekway_gateway::{Config, Gateway};
use tokio::signal::unix::{SignalKind, signal};
use tracing::{info, warn};
use tracing_subscriber::EnvFilter;

/// `EX_USAGE` of sysexits.h: the configuration is wrong, so starting again will not help.
const EXIT_USAGE: u8 = 64;

fn main() -> ExitCode {
    let config = match Config::from_process() {
        Ok(config) => config,
        Err(message) => return message.exit(),
    };
    log_to_stderr(&config.log);
    raise_descriptor_limit();
    let gateway = match Gateway::start(&config) {
        Ok(gateway) => gateway,
        Err(error) => {
            eprintln!("gateway: {error}");
            return ExitCode::from(EXIT_USAGE);
        }
    };
    wait_for_signal();
    info!("draining");
    gateway.drain();
    gateway.join();
    info!("stopped");
    ExitCode::SUCCESS
}

/// Human on a terminal, JSON where a machine reads.
fn log_to_stderr(filter: &str) {
    let filter = EnvFilter::new(filter);
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if std::io::stderr().is_terminal() { log.init() } else { log.json().flatten_event(true).init() }
}

/// Each client is a descriptor, and each local file being read another.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        warn!(%error, "cannot raise the limit of open descriptors");
    }
}

fn wait_for_signal() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("the gateway's threads have just got theirs");
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate()).expect("SIGTERM can be handled");
        let mut interrupt = signal(SignalKind::interrupt()).expect("SIGINT can be handled");
        tokio::select! { _ = terminate.recv() => {} _ = interrupt.recv() => {} }
    });
}
