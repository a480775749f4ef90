//! One run of ffmpeg or ffprobe: in the sandbox, in a process group of its own, watched, and never outliving whoever
//! started it.
//!
//! A run ends well when the program ends well **and** has said that it reached the end; whether what it made is right is
//! for [`work`](crate::work::work) to say. Both of its pipes are read all the time, because a full one stops it.

pub mod sandbox;
mod tail;

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use ffmpeg_sidecar::command::FfmpegCommand;
use futures_util::StreamExt as _;
use rustix::process::{Pid, Signal, kill_process_group};
use seekway_catalog::Failure;
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::codec::{FramedRead, LinesCodec, LinesCodecError};

use crate::plan::Step;
use crate::problem::Problem;
use tail::Tail;

/// Where the programs are, and what each run may use.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The program of which the sandbox is a part.
    pub own: PathBuf,
    /// ffmpeg's path, or its name where it is to be looked for.
    pub ffmpeg: PathBuf,
    /// ffprobe's.
    pub ffprobe: PathBuf,
    /// What a run may use.
    pub bounds: Bounds,
}

/// What one run may use.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// Until it has to be over, however far it is.
    pub wall: Duration,
    /// Until it has to have come further.
    pub stall: Duration,
    /// Of memory, in bytes of addresses.
    pub memory_bytes: u64,
    /// Of the attempt's folder, in bytes.
    pub folder_bytes: u64,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Moved {
    /// Seconds of video that are done.
    pub seconds: f64,
    /// Seconds of video in a second.
    pub speed: Option<f64>,
    /// Frames of the first output.
    pub frames: u64,
}

/// A run that is over.
#[derive(Debug)]
pub struct Finished {
    /// The end of what it wrote to stderr.
    pub log: String,
    /// How long it took.
    pub took: Duration,
    /// How far it came.
    pub moved: Moved,
}

/// Of a line that a program writes for us; a file's makers have a say in some of them.
const LINE_BYTES_MAX: usize = 64 * 1024;
/// A run takes at most so many times as long as its video plays, and that much more: a machine that needs longer is too slow
/// for the profile, and a file that does is meant to hold a worker up.
const SLOWEST: f64 = 20.0;
const SLOWEST_START: Duration = Duration::from_mins(10);
/// Between two looks at what a run uses.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// From being asked to end to being ended.
const GRACE: Duration = Duration::from_secs(2);

/// A process group, which ends with its owner.
struct Running {
    child: Child,
    group: Option<Pid>,
    lines: FramedRead<ChildStdout, LinesCodec>,
    tail: Tail,
}

// === impl Programs ===

impl Programs {
    /// Runs ffmpeg; `moved` hears how far it is, twice a second. Dropping the future ends the whole process group.
    ///
    /// # Errors
    /// With the end of its log, and whose fault it was.
    pub async fn run(
        &self,
        step: &Step,
        folder: &Path,
        mut moved: impl FnMut(Moved),
    ) -> Result<Finished, Problem> {
        let began = Instant::now();
        let wall =
            self.bounds.wall.min(SLOWEST_START + Duration::from_secs_f64(step.seconds.max(0.0) * SLOWEST));
        let mut running = self.start(&self.ffmpeg, &step.args, folder)?;
        let mut now = Moved::default();
        let mut last_move = began;
        let mut has_ended = false;
        let mut look = interval(LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                line = running.lines.next() => match line {
                    Some(Ok(line)) => {
                        has_ended |= line == "progress=end";
                        if now.take(&line) {
                            last_move = Instant::now();
                        }
                        if line.starts_with("progress=") {
                            moved(Moved { seconds: (now.seconds - step.start).max(0.0), ..now });
                        }
                    }
                    // It closes its output when it ends, and whatever it says later is of no use.
                    None | Some(Err(_)) => break,
                },
                _ = look.tick() => {
                    if let Some(problem) = self.overdrawn(folder, began, last_move, wall) {
                        return Err(problem.with_log(running.end().await));
                    }
                }
            }
        }
        let left = wall.saturating_sub(began.elapsed());
        let Ok(status) = tokio::time::timeout(left, running.child.wait()).await else {
            return Err(too_long(wall).with_log(running.end().await));
        };
        let status = status?;
        let log = running.end().await;
        if status.success() && has_ended {
            return Ok(Finished { log, took: began.elapsed(), moved: now });
        }
        Err(judged(&step.name, status, &log).with_log(log))
    }

    /// Runs ffprobe on a file of the folder; `line` hears what it prints.
    ///
    /// # Errors
    /// As [`run`](Self::run)'s.
    pub async fn probe(
        &self,
        file: &str,
        args: &[&str],
        folder: &Path,
        mut line: impl FnMut(&str),
    ) -> Result<(), Problem> {
        let input = format!("file:{file}");
        let args: Vec<String> = ["-v", "level+error", "-hide_banner"]
            .into_iter()
            .chain(crate::plan::guard())
            .chain(["-i", &input])
            .chain(args.iter().copied())
            .map(str::to_owned)
            .collect();
        let began = Instant::now();
        let mut running = self.start(&self.ffprobe, &args, folder)?;
        let Bounds { wall, stall, .. } = self.bounds;
        loop {
            match tokio::time::timeout(stall, running.lines.next()).await {
                Ok(Some(Ok(text))) if began.elapsed() < wall => line(&text),
                // What is longer than any that is asked for; the rest of it is passed over.
                Ok(Some(Err(LinesCodecError::MaxLineLengthExceeded))) => {}
                Ok(None | Some(Err(_))) => break,
                Ok(Some(Ok(_))) => return Err(too_long(wall).with_log(running.end().await)),
                Err(_) => return Err(stalled("ffprobe", stall).with_log(running.end().await)),
            }
        }
        let Ok(status) = tokio::time::timeout(stall, running.child.wait()).await else {
            return Err(stalled("ffprobe", stall).with_log(running.end().await));
        };
        let status = status?;
        let log = running.end().await;
        if status.success() { Ok(()) } else { Err(judged("ffprobe", status, &log).with_log(log)) }
    }

    fn start(&self, program: &Path, args: &[String], folder: &Path) -> Result<Running, Problem> {
        let mut inside = std::process::Command::new(&self.own);
        inside.args(sandbox::arguments(folder, &self.bounds)).arg(program);
        let mut command = FfmpegCommand::from(inside);
        command.args(args);
        let mut command = Command::from(std::process::Command::from(command));
        // Nothing of the worker's environment: it holds the store's credentials.
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("LC_ALL", "C");
        // Each thread would have its own arenas, which are addresses that count.
        command.env("MALLOC_ARENA_MAX", "2");
        command.current_dir(folder).process_group(0).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| {
            let detail = format!("{}: {error}", self.own.display());
            Problem::infrastructure("ffmpeg cannot be started").because(detail)
        })?;
        let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
        let stdout = child.stdout.take().expect("its output is piped");
        let tail = Tail::of(child.stderr.take().expect("its output is piped"));
        let lines = FramedRead::new(stdout, LinesCodec::new_with_max_length(LINE_BYTES_MAX));
        Ok(Running { child, group, lines, tail })
    }

    fn overdrawn(
        &self,
        folder: &Path,
        began: Instant,
        last_move: Instant,
        wall: Duration,
    ) -> Option<Problem> {
        let Bounds { stall, folder_bytes, .. } = self.bounds;
        if began.elapsed() > wall {
            return Some(too_long(wall));
        }
        if last_move.elapsed() > stall {
            return Some(stalled("ffmpeg", stall));
        }
        if crate::scratch::bytes_below(folder) > folder_bytes {
            let most = bytesize::ByteSize(folder_bytes);
            return Some(Problem::input(format!("processing it makes more than {most}")));
        }
        None
    }
}

fn stalled(name: &str, stall: Duration) -> Problem {
    Problem::infrastructure(format!("{name} came no further for {}", humantime::format_duration(stall)))
}

fn too_long(wall: Duration) -> Problem {
    Problem::input(format!("processing it takes more than {}", humantime::format_duration(wall)))
}

/// Whose fault it was that a program failed, by what it left.
fn judged(name: &str, status: ExitStatus, log: &str) -> Problem {
    use std::os::unix::process::ExitStatusExt as _;
    let killed = status.signal().and_then(Signal::from_named_raw);
    if log.contains("No space left on device") {
        return Problem::infrastructure(format!("{name}: the worker's disk is full"));
    }
    // Linux kills what takes too much of a machine's memory, and refuses what takes more than its own bound.
    // libx264 says the second, and filters that get no thread the third.
    let refused = ["Cannot allocate memory", "malloc of size", "Resource temporarily unavailable"];
    if killed == Some(Signal::KILL) || refused.iter().any(|words| log.contains(words)) {
        let text = format!("{name} ran out of memory");
        return Problem { failure: Failure::Memory, text, detail: None, log: None };
    }
    if log.contains("not on whitelist") {
        return Problem::input("its container is not one of those that are processed");
    }
    if killed == Some(Signal::XCPU) || killed == Some(Signal::XFSZ) {
        return Problem::input("processing it takes more than it may");
    }
    if status.code() == Some(i32::from(sandbox::EXIT_REFUSED)) {
        return Problem::infrastructure(format!(
            "{name} cannot be run: {}",
            log.lines().last().unwrap_or("?")
        ));
    }
    let is_error = |line: &&str| line.contains("[error]") || line.contains("[fatal]");
    let mut errors = log.lines().rev().filter(is_error);
    // The last one about the file as a whole only says that there was one before.
    let why = errors.clone().find(|line| !line.contains("Invalid data found")).or_else(|| errors.next());
    let why = why.or_else(|| log.lines().last()).unwrap_or("it says nothing more");
    let why = plain(why).trim_start_matches("file:in/source: ");
    // Nothing but its beginning has been looked at then.
    let what =
        if name == "ffprobe" { "it is cut off, damaged or no video" } else { "it cannot be processed" };
    Problem::input(format!("{what} ({why})"))
}

/// A line of ffmpeg's log without what only its makers can read.
fn plain(line: &str) -> &str {
    line.rsplit_once("[error] ")
        .or_else(|| line.rsplit_once("[fatal] "))
        .map_or(line, |(_, text)| text)
        .trim()
}

// === impl Moved ===

impl Moved {
    /// Takes in a line of `-progress`; whether it came further.
    fn take(&mut self, line: &str) -> bool {
        let Some((key, value)) = line.split_once('=') else { return false };
        match (key, value.trim()) {
            // Which is microseconds, as `out_time_ms` is, too.
            ("out_time_us", value) => {
                let Some(micros) = value.parse::<u64>().ok() else { return false };
                let seconds = Duration::from_micros(micros).as_secs_f64();
                let is_further = seconds > self.seconds;
                self.seconds = self.seconds.max(seconds);
                is_further
            }
            ("frame", value) => {
                let Some(frames) = value.parse().ok() else { return false };
                std::mem::replace(&mut self.frames, frames) < frames
            }
            ("speed", value) => {
                self.speed = value.trim_end_matches('x').parse().ok().filter(|speed| *speed > 0.0);
                false
            }
            _ => false,
        }
    }
}

// === impl Running ===

impl Running {
    /// Ends it, if it has not, and waits until it has. What it wrote last.
    async fn end(&mut self) -> String {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            self.signal(Signal::TERM);
            if tokio::time::timeout(GRACE, self.child.wait()).await.is_err() {
                self.signal(Signal::KILL);
                let _ = self.child.wait().await;
            }
        }
        self.group = None;
        self.tail.text().await
    }

    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // It may have ended by itself.
            let _ = kill_process_group(group, signal);
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.child.id().is_some() {
            self.signal(Signal::KILL);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_is_microseconds_and_never_goes_back() {
        let mut moved = Moved::default();
        for line in ["out_time_ms=1", "out_time_us=N/A", "speed=N/A", "nonsense", "frame=x"] {
            assert!(!moved.take(line), "{line}");
        }
        assert_eq!(moved, Moved::default());
        assert!(moved.take("out_time_us=1500000"));
        assert!(!moved.take("out_time_us=1400000"));
        assert!(moved.take("frame=  36"));
        moved.take("speed=1.5x");
        assert_eq!(moved, Moved { seconds: 1.5, speed: Some(1.5), frames: 36 });
    }

    #[test]
    fn a_failure_is_said_in_ffmpegs_own_words() {
        use std::os::unix::process::ExitStatusExt as _;
        let failed = |status, log: &str| judged("encode", ExitStatus::from_raw(status), log);
        let log = "[mov @ 0x1] [error] moov atom not found\n[info] bye";
        assert_eq!(failed(256, log).text, "it cannot be processed (moov atom not found)");
        assert_eq!(failed(256, log).failure, Failure::Input);
        assert_eq!(failed(9, "").failure, Failure::Memory);
        assert_eq!(failed(256, "x264: malloc: Cannot allocate memory").failure, Failure::Memory);
        assert_eq!(
            failed(256, "av_interleaved_write_frame(): No space left on device").failure,
            Failure::Infrastructure
        );
        assert_eq!(failed(256, "x264 [error]: malloc of size 7332480 failed").failure, Failure::Memory);
        assert_eq!(failed(24, "").failure, Failure::Input);
    }
}
