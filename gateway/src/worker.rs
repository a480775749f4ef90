//! The worker that a gateway runs itself: a `transcode-worker` beside it, started with what the gateway knows of the
//! database and the store, and started again whenever it ends.
//!
//! It is a process of its own, so that nothing that ffmpeg does is the gateway's: delivery never waits for it, and it may be
//! killed for its memory alone. Its stdin is a pipe whose other end only the gateway has: however that ends, the worker
//! hears of it.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use crate::config::{Config, StorageBackend};
use crate::metrics::Metrics;

const PROGRAM: &str = "transcode-worker";
/// What it runs in its turn.
const NEEDED: [&str; 2] = ["ffmpeg", "ffprobe"];

/// Before it is started again; each further time it is twice as long, up to the last, unless it lived for that long.
const PAUSE: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_mins(1);
/// It gives its work back within that, or is killed.
const END_WITHIN: Duration = Duration::from_secs(10);
/// `EX_USAGE` of sysexits.h: its settings are wrong, so starting it again hardly helps.
const EXIT_USAGE: i32 = 64;

/// Keeps a worker running.
pub(crate) struct Supervisor {
    program: PathBuf,
    environment: Vec<(&'static str, OsString)>,
    metrics: Arc<Metrics>,
}

/// The worker to run, or why there is none.
pub(crate) fn program() -> Result<PathBuf, String> {
    let own =
        std::env::current_exe().map_err(|error| format!("this program's own place is unknown: {error}"))?;
    let beside = own.with_file_name(PROGRAM);
    if !is_program(&beside) {
        return Err(format!("{} is no program", beside.display()));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    for needed in NEEDED {
        if !std::env::split_paths(&path).any(|folder| is_program(&folder.join(needed))) {
            return Err(format!("{needed} is not on the PATH"));
        }
    }
    Ok(beside)
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
}

// === impl Supervisor ===

impl Supervisor {
    pub(crate) fn new(program: PathBuf, config: &Config, metrics: Arc<Metrics>) -> Self {
        Self { program, environment: environment(config), metrics }
    }

    /// Runs it until `stop`, and then until it has given its work back.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut pause = PAUSE;
        while !stop.is_cancelled() {
            let begun = Instant::now();
            let ended = match self.spawn() {
                Ok(child) => {
                    self.metrics.transcoding.worker_runs(true);
                    let ended = self.see_through(child, &stop).await;
                    self.metrics.transcoding.worker_runs(false);
                    ended
                }
                Err(error) => Err(error),
            };
            if stop.is_cancelled() {
                return;
            }
            if begun.elapsed() >= PAUSE_MAX {
                pause = PAUSE;
            }
            if ended.as_ref().is_ok_and(|status| status.code() == Some(EXIT_USAGE)) {
                pause = PAUSE_MAX;
                error!(again_in = ?pause, "the worker's settings are wrong, as it has said above; videos wait");
            } else {
                let ended = ended.map_or_else(|error| error.to_string(), in_words);
                warn!(ended, again_in = ?pause, "the worker does not run");
            }
            tokio::select! {
                () = sleep(pause) => {}
                () = stop.cancelled() => return,
            }
            pause = (pause * 2).min(PAUSE_MAX);
            self.metrics.transcoding.worker_restarts();
        }
    }

    fn spawn(&self) -> io::Result<Child> {
        let child = Command::new(&self.program)
            .arg("--stop-with-stdin")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            // Its log and the gateway's are one.
            .stderr(Stdio::inherit())
            // A group of its own: Ctrl-C is for the gateway, which then sees to the worker's end.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        info!(program = %self.program.display(), pid = child.id(), "the worker runs");
        Ok(child)
    }

    /// Waits for its end, which is asked for when `stop` is.
    async fn see_through(&self, mut child: Child, stop: &CancellationToken) -> io::Result<ExitStatus> {
        tokio::select! {
            ended = ended_with_stdin(&mut child) => return ended,
            () = stop.cancelled() => {}
        }
        drop(child.stdin.take());
        // Until it is waited for, nobody else can have its number.
        if let Some(pid) = child.id().and_then(|id| Pid::from_raw(id.cast_signed())) {
            let _ = kill_process(pid, Signal::TERM);
        }
        if let Ok(ended) = timeout(END_WITHIN, child.wait()).await {
            info!("the worker has stopped");
            return ended;
        }
        warn!("the worker does not stop; it is killed, and others take its work up when its leases are over");
        child.kill().await?;
        child.wait().await
    }
}

/// Waits for its end and keeps its stdin open until then, which [`Child::wait`] would close.
async fn ended_with_stdin(child: &mut Child) -> io::Result<ExitStatus> {
    let stdin = child.stdin.take();
    let ended = child.wait().await;
    drop(stdin);
    ended
}

fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// What the gateway knows by flags and defaults that the worker has to know, too; all that is set in the environment it
/// inherits.
fn environment(config: &Config) -> Vec<(&'static str, OsString)> {
    let storage = &config.storage;
    let backend = match config.storage_backend() {
        StorageBackend::Local => "local",
        StorageBackend::S3 => "s3",
    };
    let policy = storage.origin();
    let mut environment: Vec<(&str, OsString)> = vec![
        ("DATABASE_URL", config.database.url().with_password().into()),
        ("QUEUE_URL", config.queue.url().with_password().into()),
        ("SEEKWAY_QUEUE_SWEEP", humantime::format_duration(config.queue.sweep_after()).to_string().into()),
        ("STORAGE_BACKEND", backend.into()),
        ("LOCAL_STORAGE_DIR", storage.local_storage_dir.clone().into()),
        ("S3_FORCE_PATH_STYLE", storage.s3_force_path_style.to_string().into()),
        ("SEEKWAY_S3_CONNECT_TIMEOUT", storage.s3_connect_timeout.to_string().into()),
        ("SEEKWAY_S3_READ_TIMEOUT", storage.s3_read_timeout.to_string().into()),
        ("SEEKWAY_S3_ANSWER_TIMEOUT", humantime::format_duration(policy.answer_timeout).to_string().into()),
        ("SEEKWAY_S3_ATTEMPTS", storage.s3_attempts.to_string().into()),
        ("SEEKWAY_LOG", config.logs.log.clone().into()),
    ];
    // Where the operator has not said otherwise: it has to give its work back before it is killed, several gateways on one
    // machine run one each, and to look is cheap where the database is a file.
    for (name, value) in [
        ("SEEKWAY_WORKER_DRAIN", "5s"),
        ("SEEKWAY_WORKER_ADMIN_LISTEN", "127.0.0.1:0"),
        ("SEEKWAY_QUEUE_POLL", "250ms"),
    ] {
        if std::env::var_os(name).is_none_or(|set| set.is_empty()) {
            environment.push((name, value.into()));
        }
    }
    for (name, value) in [
        ("S3_BUCKET", &storage.s3_bucket),
        ("S3_ENDPOINT", &storage.s3_endpoint),
        ("AWS_REGION", &storage.aws_region),
    ] {
        if let Some(value) = value {
            environment.push((name, value.into()));
        }
    }
    environment
}
