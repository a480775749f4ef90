//! The worker's command line: to run, or to say what it would do.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use tempfile::TempDir;

use crate::ffmpeg::sandbox::Sandbox;
use crate::ffmpeg::{Bounds, Programs};
use crate::plan::{ImageKind, Inputs, Plan, names, plan};
use crate::probe::Limits;
use crate::problem::Problem;
use crate::profile::{Profiles, Reference};
use crate::work::probe;

/// `EX_USAGE` of sysexits.h.
const EXIT_USAGE: u8 = 64;
/// `EX_DATAERR`.
const EXIT_DATA: u8 = 65;

#[derive(Debug, Parser)]
#[command(name = "transcode-worker", version, max_term_width = 110)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print what ffmpeg would be told to make of a file. Nothing is encoded
    Plan(PlanCommand),
    /// Print the profiles that a job can name
    Profiles {
        /// Profiles beside the built-in ones, as TOML
        #[arg(long, env = "SEEKWAY_PROFILES", value_name = "FILE")]
        profiles: Option<PathBuf>,
    },
    /// Become a program that can reach nothing but one folder: how ffmpeg is run
    #[command(hide = true)]
    Sandbox(Sandbox),
}

#[derive(Debug, clap::Args)]
struct PlanCommand {
    /// The file
    file: PathBuf,
    /// What is to be made of it
    #[arg(long, value_name = "NAME", default_value = "default")]
    profile: String,
    /// Profiles beside the built-in ones, as TOML
    #[arg(long, env = "SEEKWAY_PROFILES", value_name = "FILE")]
    profiles: Option<PathBuf>,
    /// Only this rendition, such as 720p
    #[arg(long, value_name = "NAME")]
    rendition: Option<String>,
    /// The program that looks into files
    #[arg(long, env = "SEEKWAY_FFPROBE", value_name = "PROGRAM", default_value = "ffprobe")]
    ffprobe: PathBuf,
}

/// Runs a subcommand, if the process was started with one.
pub fn run() -> Option<ExitCode> {
    let first = std::env::args_os().nth(1)?;
    if !["plan", "profiles", "sandbox", "help"].iter().any(|name| first == *name) {
        return None;
    }
    Some(match Line::try_parse() {
        Ok(line) => line.command.run(),
        Err(error) => {
            let is_help = !error.use_stderr();
            // Whoever closed its output does not want the help.
            let _ = error.print();
            if is_help { ExitCode::SUCCESS } else { ExitCode::from(EXIT_USAGE) }
        }
    })
}

// === impl Command ===

impl Command {
    fn run(self) -> ExitCode {
        let said = match self {
            Self::Sandbox(sandbox) => return sandbox.enter(),
            Self::Profiles { profiles } => load(profiles)
                .map(|profiles| profiles.names().fold(String::new(), |text, name| text + name + "\n")),
            Self::Plan(command) => command.run(),
        };
        match said {
            Ok(text) => {
                print!("{text}");
                ExitCode::SUCCESS
            }
            Err((text, code)) => {
                eprintln!("transcode-worker: {text}");
                ExitCode::from(code)
            }
        }
    }
}

/// The profiles that there are.
///
/// # Errors
/// With the exit code.
pub(crate) fn load(path: Option<PathBuf>) -> Result<Profiles, (String, u8)> {
    let Some(path) = path else { return Ok(Profiles::builtin()) };
    Profiles::load(&path).map_err(|error| {
        (format!("--profiles (SEEKWAY_PROFILES) is {:?}: {error}", path.display().to_string()), EXIT_USAGE)
    })
}

// === impl PlanCommand ===

impl PlanCommand {
    fn run(self) -> Result<String, (String, u8)> {
        let profiles = load(self.profiles.clone())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| (error.to_string(), EXIT_DATA))?;
        let plan = runtime.block_on(self.plan(&profiles));
        plan.map(|plan| printed(&plan)).map_err(|problem| (problem.text, EXIT_DATA))
    }

    async fn plan(&self, profiles: &Profiles) -> Result<Plan, Problem> {
        let unknown = || {
            let names: Vec<_> = profiles.names().collect();
            Problem::input(format!("there is no profile {:?}; there is {}", self.profile, names.join(", ")))
        };
        let profile = profiles.get(&self.profile).ok_or_else(unknown)?;
        let source = self.look(&self.file).await?;
        let mut clips = [None, None];
        for (probe, clip) in clips.iter_mut().zip([&profile.intro, &profile.outro]) {
            if let Some(clip) = clip {
                let Reference::File(path) = &clip.video else {
                    return Err(Problem::input(format!(
                        "{:?} is not on this machine; use file:PATH",
                        clip.video
                    )));
                };
                *probe = Some(self.look(path.as_ref()).await?);
            }
        }
        let [intro, outro] = clips;
        let watermark = profile.watermark.as_ref().map(|_| ImageKind::Png);
        let inputs = Inputs { source, intro, outro, watermark };
        Ok(plan(&inputs, profile, None, self.rendition.as_deref())?)
    }

    /// In a folder of its own, as a job would.
    async fn look(&self, file: &std::path::Path) -> Result<crate::probe::Probe, Problem> {
        let folder = TempDir::new()?;
        let to = folder.path().join(names::SOURCE);
        std::fs::create_dir(folder.path().join("in"))?;
        let named = |error| Problem::input(format!("{}: {error}", file.display()));
        if std::fs::hard_link(file, &to).is_err() {
            std::fs::copy(file, &to).map_err(named)?;
        }
        let bounds = Bounds {
            wall: std::time::Duration::from_mins(10),
            stall: std::time::Duration::from_mins(1),
            memory_bytes: 4 << 30,
            folder_bytes: u64::MAX >> 1,
        };
        let own = std::env::current_exe()?;
        let programs = Programs { own, ffmpeg: "ffmpeg".into(), ffprobe: self.ffprobe.clone(), bounds };
        let limits = Limits { pixels: 36_000_000, streams: 32, seconds: 12.0 * 3600.0 };
        probe(&programs, &limits, folder.path(), names::SOURCE).await
    }
}

/// Runs, as a shell would take them.
fn printed(plan: &Plan) -> String {
    let sizes: Vec<_> =
        plan.renditions.iter().map(|size| format!("{}x{}", size.width, size.height)).collect();
    let mut text = format!(
        "# {:.3} seconds, {} frames at {} a second: {}{}\n",
        plan.seconds,
        plan.frames,
        plan.frame_rate,
        if sizes.is_empty() { "no picture".to_owned() } else { sizes.join(", ") },
        if plan.has_audio { ", with sound" } else { ", without sound" },
    );
    for step in plan.loudness.iter().chain([&plan.encode]).chain(&plan.whole).chain(&plan.finishing) {
        let args: Vec<_> = step.args.iter().map(|arg| quoted(arg)).collect();
        writeln!(text, "# {}\nffmpeg {}", step.name, args.join(" ")).expect("a String takes all");
    }
    text
}

fn quoted(arg: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_./:=+,%@".contains(&byte);
    if !arg.is_empty() && arg.bytes().all(is_plain) {
        arg.to_owned()
    } else {
        format!("'{}'", arg.replace('\'', r"'\''"))
    }
}
