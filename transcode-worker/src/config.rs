//! What an operator can set.

use std::net::SocketAddr;
use std::path::PathBuf;

use bytesize::ByteSize;
use clap::Parser;
use seekway_settings::command_line::Environment;
use seekway_settings::values::{address, limit, number, period, size};
use seekway_settings::{
    Configuration, DatabaseSettings, LogSettings, QueueSettings, Settings, Stop, StorageSettings,
};

const WORKER: &str = "Worker";
const FFMPEG: &str = "ffmpeg";

/// A transcode worker: claims jobs, runs ffmpeg, packages what it made, and publishes it.
///
/// Every setting is a flag and an environment variable; the flag wins, and an empty variable counts as unset.
/// Sizes are written 64KiB, 2GiB or in plain bytes, times 500ms, 30s or 1h.
///
/// `transcode-worker plan FILE --profile NAME` prints what ffmpeg would be told, `transcode-worker profiles` what can
/// be made.
#[derive(Debug, Clone, Parser)]
#[command(name = "transcode-worker", version, max_term_width = 110)]
pub struct Config {
    /// Where objects are, and how they are asked for.
    #[command(flatten)]
    pub storage: StorageSettings,

    /// Where jobs are kept.
    #[command(flatten)]
    pub database: DatabaseSettings,

    /// How it hears of jobs.
    #[command(flatten)]
    pub queue: QueueSettings,

    /// About how often a worker looks for jobs where nothing tells it
    #[arg(long = "poll", env = "SEEKWAY_QUEUE_POLL", value_name = "TIME", default_value = "1s")]
    #[arg(value_parser = limit, help_heading = seekway_settings::queue::QUEUE)]
    pub poll: humantime::Duration,

    /// What is logged.
    #[command(flatten)]
    pub logs: LogSettings,

    /// Where metrics and health are served
    #[arg(
        long,
        env = "SEEKWAY_WORKER_ADMIN_LISTEN",
        value_name = "ADDRESS",
        default_value = "127.0.0.1:8082"
    )]
    #[arg(value_parser = address, help_heading = WORKER)]
    pub admin_listen: SocketAddr,

    /// Jobs at a time, 1 to 64; each may use all processors
    #[arg(long, env = "SEEKWAY_WORKER_SLOTS", value_name = "COUNT", default_value = "1")]
    #[arg(value_parser = |text: &str| number(text, 1..=64usize), help_heading = WORKER)]
    pub slots: usize,

    /// How long a job is claimed, and renewed in time; the job of a worker that vanishes is tried again after it
    #[arg(long, env = "SEEKWAY_WORKER_LEASE", value_name = "TIME", default_value = "30s")]
    #[arg(value_parser = limit, help_heading = WORKER)]
    pub lease: humantime::Duration,

    /// How long running work may go on after SIGTERM, before it is given back
    #[arg(long, env = "SEEKWAY_WORKER_DRAIN", value_name = "TIME", default_value = "20s")]
    #[arg(value_parser = period, help_heading = WORKER)]
    pub drain: humantime::Duration,

    /// Profiles beside the built-in ones, as TOML
    #[arg(long, env = "SEEKWAY_PROFILES", value_name = "FILE", help_heading = WORKER)]
    pub profiles: Option<PathBuf>,

    /// Where a job's files are while it runs; what a crash left there is deleted at the start
    #[arg(long, env = "SEEKWAY_SCRATCH_DIR", value_name = "FOLDER", default_value = "./data/scratch")]
    #[arg(help_heading = WORKER)]
    pub scratch_dir: PathBuf,

    /// Bytes of its disk that stay free; a job whose files would not fit beside them is left to other workers
    #[arg(long, env = "SEEKWAY_SCRATCH_RESERVE", value_name = "SIZE", default_value = "1GiB")]
    #[arg(value_parser = size, help_heading = WORKER)]
    pub scratch_reserve: u64,

    /// End with whoever holds the other end of stdin
    #[arg(long, env = "SEEKWAY_WORKER_STOP_WITH_STDIN", value_name = "BOOL", default_value = "false")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    #[arg(value_parser = seekway_settings::values::boolean, help_heading = WORKER)]
    pub stop_with_stdin: bool,

    /// The program
    #[arg(long, env = "SEEKWAY_FFMPEG", value_name = "PROGRAM", default_value = "ffmpeg", help_heading = FFMPEG)]
    pub ffmpeg: PathBuf,

    /// The program that looks into files
    #[arg(long, env = "SEEKWAY_FFPROBE", value_name = "PROGRAM", default_value = "ffprobe", help_heading = FFMPEG)]
    pub ffprobe: PathBuf,

    /// Time for one run, which has at most ten minutes and twenty times as long as the video plays
    #[arg(long, env = "SEEKWAY_FFMPEG_TIME_MAX", value_name = "TIME", default_value = "1day")]
    #[arg(value_parser = limit, help_heading = FFMPEG)]
    pub time_max: humantime::Duration,

    /// Time in which a run must come further
    #[arg(long, env = "SEEKWAY_FFMPEG_STALL_MAX", value_name = "TIME", default_value = "60s")]
    #[arg(value_parser = limit, help_heading = FFMPEG)]
    pub stall_max: humantime::Duration,

    /// Addresses that a run may have; 1080p with four renditions takes about 2 GiB on two processors
    /// [default: 4GiB, and 256MiB for each processor]
    #[arg(long, env = "SEEKWAY_FFMPEG_MEMORY", value_name = "SIZE", value_parser = size, help_heading = FFMPEG)]
    memory: Option<u64>,

    /// What a job's folder may hold
    #[arg(long, env = "SEEKWAY_SCRATCH_MAX", value_name = "SIZE", default_value = "64GiB")]
    #[arg(value_parser = size, help_heading = WORKER)]
    pub scratch_max: u64,

    /// Pixels of a picture
    #[arg(long, env = "SEEKWAY_SOURCE_PIXELS_MAX", value_name = "COUNT", default_value = "36000000")]
    #[arg(value_parser = |text: &str| number(text, 1..=70_000_000u64), help_heading = FFMPEG)]
    pub pixels_max: u64,

    /// Streams of a file
    #[arg(long, env = "SEEKWAY_SOURCE_STREAMS_MAX", value_name = "COUNT", default_value = "32")]
    #[arg(value_parser = |text: &str| number(text, 1..=1000usize), help_heading = FFMPEG)]
    pub streams_max: usize,

    /// How long a video may be
    #[arg(long, env = "SEEKWAY_SOURCE_TIME_MAX", value_name = "TIME", default_value = "12h")]
    #[arg(value_parser = limit, help_heading = FFMPEG)]
    pub seconds_max: humantime::Duration,
}

impl Config {
    /// Bytes of addresses that a run may have: threads have stacks and arenas of their own.
    pub fn memory_bytes(&self) -> u64 {
        let processors = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
        self.memory.unwrap_or((4 << 30) + processors * (256 << 20))
    }
}

impl Configuration for Config {
    const PROGRAM: &'static str = "transcode-worker";

    fn check(&mut self, settings: &Settings, env: &Environment) -> Result<(), Stop> {
        self.storage.s3_credentials = settings.credentials(env)?;
        self.storage.check(settings)?;
        if self.lease.as_secs() < 2 {
            return Err(settings.wrong("lease", "a time from 2s: it is renewed every quarter of it"));
        }
        if self.scratch_max < 1 << 20 {
            return Err(settings.wrong("scratch_max", format!("a size from {}", ByteSize::mib(1))));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsString;
    use std::path::Path;

    use clap::CommandFactory as _;
    use seekway_settings::database::DATABASE;
    use seekway_settings::logs::LOGS;
    use seekway_settings::queue::QUEUE;
    use seekway_settings::storage::STORAGE;

    use super::*;

    fn wrong(name: &str, value: &str) -> String {
        let read =
            Config::from_args(["transcode-worker"], |asked| (asked == name).then(|| OsString::from(value)));
        read.expect_err(value).to_string()
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (name, value, expected) in [
            ("SEEKWAY_WORKER_LEASE", "1s", "--lease (SEEKWAY_WORKER_LEASE) is \"1s\": a time from 2s"),
            ("SEEKWAY_WORKER_SLOTS", "0", "--slots (SEEKWAY_WORKER_SLOTS) is \"0\": a number from 1 to 64"),
            ("SEEKWAY_SCRATCH_MAX", "1KiB", "--scratch-max (SEEKWAY_SCRATCH_MAX) is \"1KiB\": a size from"),
            ("STORAGE_BACKEND", "s3", "--s3-bucket (S3_BUCKET) is not set"),
        ] {
            let line = wrong(name, value);
            assert!(line.starts_with(&format!("transcode-worker: {expected}")), "{line}");
        }
    }

    #[test]
    fn the_documentation_lists_every_setting_as_it_is() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
        let headings = [WORKER, FFMPEG, QUEUE, STORAGE, DATABASE, LOGS];
        seekway_settings::documentation::check(&path, "worker settings", &Config::command(), &headings[..3]);
        let all = Config::command();
        let unlisted = all.get_arguments().find(|arg| {
            arg.get_env().is_some()
                && !arg.get_help_heading().is_some_and(|heading| headings.contains(&heading))
        });
        assert!(unlisted.is_none(), "{unlisted:?}");
    }
}
