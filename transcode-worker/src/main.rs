//! The worker's command line.

use std::io::Read as _;
use std::process::ExitCode;

use seekway_settings::{Configuration as _, logs};
use seekway_transcode_worker::{Config, run_command, start};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// `EX_USAGE` of sysexits.h: the configuration is wrong, so starting again will not help.
const EXIT_USAGE: u8 = 64;
/// `EX_UNAVAILABLE`: starting again may help.
const EXIT_UNAVAILABLE: u8 = 69;
/// Ended by a second signal.
const EXIT_CUT: i32 = 1;

fn main() -> ExitCode {
    if let Some(ended) = run_command() {
        return ended;
    }
    let config = match Config::from_process() {
        Ok(config) => config,
        Err(stop) => return stop.exit(),
    };
    logs::to_stderr(&config.logs.log);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a process that has just begun can have a runtime");
    let outcome = runtime.block_on(async {
        let stop = CancellationToken::new();
        // Before anything is claimed: whoever asks it to end then must be heard.
        let terminate = signal(SignalKind::terminate()).expect("SIGTERM can be handled");
        let interrupt = signal(SignalKind::interrupt()).expect("SIGINT can be handled");
        tokio::spawn(signals(terminate, interrupt, stop.clone()));
        if config.stop_with_stdin {
            watch_stdin(stop.clone());
        }
        let own = std::env::current_exe().map_err(|error| start::StartError::Setting(error.to_string()))?;
        start::run(&config, own, stop).await
    });
    // What blocks is copying or hashing for an attempt that is over.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => {
            info!("stopped");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("transcode-worker: {error}");
            ExitCode::from(if error.is_passing() { EXIT_UNAVAILABLE } else { EXIT_USAGE })
        }
    }
}

/// The first signal has it stop, the second ends it.
async fn signals(mut terminate: Signal, mut interrupt: Signal, stop: CancellationToken) {
    for nth in 0.. {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        if nth > 0 {
            warn!("ended before running work was over");
            std::process::exit(EXIT_CUT);
        }
        stop.cancel();
    }
}

/// A thread, because reading a pipe blocks; it ends with the process.
fn watch_stdin(stop: CancellationToken) {
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin().lock();
        let mut nothing = [0; 64];
        while let Ok(1..) = stdin.read(&mut nothing) {}
        stop.cancel();
    });
}
