//! The gateway's command line.

use std::process::ExitCode;
use std::time::Duration;

use seekway_gateway::{Config, Gateway};
use seekway_settings::{Configuration, logs};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

/// `EX_USAGE` of sysexits.h: the configuration is wrong, so starting again will not help.
const EXIT_USAGE: u8 = 64;
/// `EX_UNAVAILABLE`: starting again may help.
const EXIT_UNAVAILABLE: u8 = 69;
/// Ended by a second signal, with responses under way.
const EXIT_CUT: i32 = 1;

fn main() -> ExitCode {
    if let Some(ended) = seekway_gateway::run_command() {
        return ended;
    }
    let config = match Config::from_process() {
        Ok(config) => config,
        Err(message) => return message.exit(),
    };
    logs::to_stderr(&config.logs.log);
    raise_descriptor_limit();
    // Before it serves: whoever asks it to end as soon as it does must be heard.
    let mut signals = Signals::new();
    let gateway = match Gateway::start(&config) {
        Ok(gateway) => gateway,
        Err(error) => {
            eprintln!("gateway: {error}");
            return ExitCode::from(if error.is_passing() { EXIT_UNAVAILABLE } else { EXIT_USAGE });
        }
    };
    let delay = if signals.wait() == SignalKind::terminate() {
        *config.listeners.drain_delay
    } else {
        Duration::ZERO
    };
    info!(?delay, "draining; another signal ends it at once");
    gateway.unready();
    let impatient = std::thread::Builder::new().name("signals".to_owned()).spawn(move || {
        signals.wait();
        warn!("ended before the drain was over");
        std::process::exit(EXIT_CUT);
    });
    impatient.expect("the gateway's threads have just got theirs");
    // Load balancers learn from readiness, which they ask for now and then; until they know, all goes on as before.
    std::thread::sleep(delay);
    gateway.drain();
    gateway.join();
    info!("stopped");
    ExitCode::SUCCESS
}

/// Each client is a descriptor, and each local file being read another.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    if let Err(error) = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        warn!(%error, "cannot raise the limit of open descriptors");
    }
}

/// SIGTERM and SIGINT.
struct Signals {
    runtime: tokio::runtime::Runtime,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.expect("a process that has just begun can have a runtime");
        let context = runtime.enter();
        let terminate = signal(SignalKind::terminate()).expect("SIGTERM can be handled");
        let interrupt = signal(SignalKind::interrupt()).expect("SIGINT can be handled");
        drop(context);
        Self { runtime, terminate, interrupt }
    }

    /// The next signal: SIGTERM comes from what runs the gateway, SIGINT from a person.
    fn wait(&mut self) -> SignalKind {
        let Self { runtime, terminate, interrupt } = self;
        runtime.block_on(async {
            tokio::select! {
                _ = terminate.recv() => SignalKind::terminate(),
                _ = interrupt.recv() => SignalKind::interrupt(),
            }
        })
    }
}
