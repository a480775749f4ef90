//! `loadtest`: measures the gateway, and lends its shaped origin to whoever wants to play with it.

mod compare_command;
mod load_command;
mod soak_command;

use std::{
    ffi::OsString,
    fs,
    net::SocketAddr,
    num::NonZero,
    path::{Path, PathBuf},
    process::ExitCode,
    time::Duration,
};

use bytesize::ByteSize;
use clap::{Args, Parser, Subcommand};
use seekway_loadtests::{
    Error,
    cold_seek::{self, Scenario},
    gateway::{Gateway, Launch},
    hedging,
    origin::{Object, Origin, Shape, Tail},
    report::ColdSeekReport,
};
use tokio::signal::unix::{SignalKind, signal};

/// Measure the gateway against an object store whose slowness is known.
///
/// Everything runs on this machine and speaks HTTP over loopback: no cloud account, no network, no leftovers. Only
/// `load` goes to servers that run already, wherever they are.
#[derive(Debug, Parser)]
#[command(
    name = "loadtest",
    version,
    after_help = "\
Examples:
  loadtest compare --scenario hot-64k           Seekway beside nginx and Varnish (about 2 min)
  loadtest cold-seek                            is a jump in a film fast? (about 15 s)
  loadtest cold-seek --json out.json --gate     the same for CI: exit code 1 when an aim is missed
  loadtest soak --scenario paused-clients       does memory stay within its bound?
  loadtest hedging                              are late answers of the store felt? (about 50 s)
  loadtest load --target http://127.0.0.1:8080/media/film.mp4 --scenario ranges
                                                how fast is a server that runs already?
  loadtest origin --first-byte 80ms             an S3 endpoint that is far away, to try things on"
)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Compare(compare_command::Compare),
    ColdSeek(ColdSeek),
    Hedging(Hedging),
    Soak(soak_command::Soak),
    Load(load_command::Load),
    Origin(OriginArgs),
}

/// Measure jumps to places that no cache has, then playing on.
///
/// Starts the shaped origin and a gateway in front of it. Reads 64 KiB at random offsets of a 1 GiB object,
/// from the origin directly and through the gateway in turns, then 100 MB in one go. Checks every byte, and
/// compares the time to the first byte, the bytes that the origin had to send, and the speed with their aims.
#[derive(Debug, Args)]
struct ColdSeek {
    /// The gateway's binary [default: `gateway` next to this one]. Build both with --release.
    #[arg(long, value_name = "PATH")]
    gateway: Option<PathBuf>,
    /// A setting of the gateway, such as `CACHE_SEGMENT_BYTES=256KiB`. Can be repeated.
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = name_and_value)]
    environment: Vec<(OsString, OsString)>,
    /// How many seeks. Each needs more than 1 MiB of the object for itself.
    #[arg(long, value_name = "COUNT", default_value = "400")]
    seeks: NonZero<usize>,
    /// Over how many connections, each with one seek at a time.
    #[arg(long, value_name = "COUNT", default_value = "4")]
    connections: NonZero<usize>,
    /// How many sequential reads; their median counts.
    #[arg(long, value_name = "COUNT", default_value = "3")]
    sequential_runs: NonZero<usize>,
    /// Chooses the offsets; the same seed reads the same ones.
    #[arg(long, value_name = "NUMBER", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    shape: ShapeArgs,
    /// Write the result to this file, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Exit with code 1 when an aim is missed.
    #[arg(long)]
    gate: bool,
}

/// Measure cold seeks from an origin some of whose answers are late, with hedging and without.
///
/// 3 % of the answers take 300 ms instead of 30 ms. Starts one gateway that hedges and one that does not, reads
/// the same 64 KiB pieces through both, and checks every byte.
#[derive(Debug, Args)]
struct Hedging {
    /// The gateway's binary [default: `gateway` next to this one]. Build both with --release.
    #[arg(long, value_name = "PATH")]
    gateway: Option<PathBuf>,
    /// A setting of both gateways, such as `SEEKWAY_S3_HEDGE_PERCENT=10`. Can be repeated.
    #[arg(long = "env", value_name = "NAME=VALUE", value_parser = name_and_value)]
    environment: Vec<(OsString, OsString)>,
    /// How many seeks each way.
    #[arg(long, value_name = "COUNT", default_value = "2000")]
    seeks: NonZero<usize>,
    /// Write the result to this file, too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Exit with code 1 when an aim is missed.
    #[arg(long)]
    gate: bool,
}

/// Run the shaped origin until Ctrl-C: an S3 endpoint with a chosen latency, bandwidth and share of errors.
///
/// Answers GET and HEAD of objects and lists of the bucket, whatever the credentials.
#[derive(Debug, Args)]
#[command(after_help = "\
While it runs, at the address that it prints:
  curl ADDRESS/_origin/counts             what it had to do
  curl ADDRESS/_origin/log                request by request
  curl -X POST ADDRESS/_origin/reset      count from here
  curl -X PUT -d '{\"first_byte_latency_ms\": 80}' ADDRESS/_origin/shape
                                          another shape; what is left out is unlimited")]
struct OriginArgs {
    /// Where to listen; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The bucket's name.
    #[arg(long, value_name = "NAME", default_value = "media")]
    bucket: String,
    /// How many objects: film-0.mp4, film-1.mp4, and so on.
    #[arg(long, value_name = "COUNT", default_value_t = 1)]
    objects: u64,
    /// Size of each. They take no memory: their bytes are made as they are sent.
    #[arg(long, value_name = "BYTES", default_value = "1GiB")]
    size: ByteSize,
    #[command(flatten)]
    shape: ShapeArgs,
}

#[derive(Debug, Args)]
struct ShapeArgs {
    /// From a request to its answer's first byte.
    #[arg(long, value_name = "TIME", default_value = "30ms", value_parser = humantime::parse_duration)]
    first_byte: Duration,
    /// Bytes per second on one connection; 0 for no limit.
    #[arg(long, value_name = "BYTES", default_value = "50MB")]
    bandwidth: ByteSize,
    /// The share of requests that fail with 503 `SlowDown`, from 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    error_rate: f64,
    /// The share of requests whose first byte takes --tail-factor times as long, from 0 to 1.
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    tail_fraction: f64,
    /// By what --tail-fraction of the requests are slower.
    #[arg(long, value_name = "FACTOR", default_value_t = 10.0)]
    tail_factor: f64,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error),
    };
    let outcome = runtime.block_on(async {
        match &cli.command {
            Command::Compare(arguments) => Box::pin(interruptible(arguments.run())).await,
            Command::ColdSeek(arguments) => interruptible(arguments.run()).await,
            Command::Load(arguments) => interruptible(arguments.run()).await,
            Command::Soak(arguments) => interruptible(arguments.run()).await,
            Command::Hedging(arguments) => interruptible(arguments.run()).await,
            Command::Origin(arguments) => arguments.run().await,
        }
    });
    outcome.unwrap_or_else(|error| failed(&error))
}

fn failed(error: &dyn std::error::Error) -> ExitCode {
    eprintln!("loadtest: {error}");
    ExitCode::from(2) // 1 says that an aim was missed
}

/// Runs until the end or Ctrl-C. Dropping what is under way stops its servers.
async fn interruptible(running: impl Future<Output = Result<ExitCode, Error>>) -> Result<ExitCode, Error> {
    tokio::select! {
        outcome = running => outcome,
        interrupted = tokio::signal::ctrl_c() => {
            interrupted?;
            eprintln!("loadtest: interrupted");
            Ok(ExitCode::from(130))
        }
    }
}

/// The binary to test: what was asked for, else the one next to this.
fn gateway_binary(asked: Option<&PathBuf>) -> Result<PathBuf, Error> {
    Ok(match asked {
        Some(path) => path.clone(),
        None => std::env::current_exe()?.with_file_name("gateway"),
    })
}

// === impl ColdSeek ===

impl ColdSeek {
    async fn run(&self) -> Result<ExitCode, Error> {
        let report = self.measure().await?;
        print!("{report}");
        if let Some(path) = &self.json {
            write_json(path, &report)?;
        }
        Ok(if self.gate && !report.all_met() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }

    async fn measure(&self) -> Result<ColdSeekReport, Error> {
        let scenario = Scenario {
            seeks: self.seeks.get(),
            connections: self.connections.get(),
            sequential_runs: self.sequential_runs.get(),
            seed: self.seed,
            ..Scenario::default()
        };
        let binary = gateway_binary(self.gateway.as_ref())?;
        let origin = Origin::start(self.shape.shape())?;
        cold_seek::prepare(&origin, &scenario);
        let launch = Launch {
            binary,
            endpoint: origin.endpoint(),
            bucket: cold_seek::BUCKET.to_owned(),
            environment: self.environment.clone(),
        };
        let gateway = Gateway::start(&launch).await?;
        let report = cold_seek::run(&origin, gateway.address(), &scenario).await;
        if report.is_err() {
            eprintln!("the end of the gateway's log:\n{}", gateway.log_tail());
        }
        report
    }
}

// === impl Hedging ===

impl Hedging {
    async fn run(&self) -> Result<ExitCode, Error> {
        let binary = gateway_binary(self.gateway.as_ref())?;
        let scenario = Scenario { seeks: self.seeks.get(), ..hedging::scenario() };
        let report = hedging::run(binary, self.environment.clone(), hedging::shape(), &scenario).await?;
        print!("{report}");
        if let Some(path) = &self.json {
            write_json(path, &report)?;
        }
        Ok(if self.gate && !report.all_met() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
    }
}

fn write_json(path: &Path, report: &impl serde::Serialize) -> Result<(), Error> {
    let mut text = serde_json::to_string_pretty(report).map_err(std::io::Error::from)?;
    text.push('\n');
    fs::write(path, text).map_err(|source| Error::File { path: path.to_owned(), source })
}

// === impl OriginArgs ===

impl OriginArgs {
    async fn run(&self) -> Result<ExitCode, Error> {
        // Before anybody can know of the origin: a Ctrl-C from then on gets its counters.
        let mut interrupts = signal(SignalKind::interrupt())?;
        let origin = Origin::listen(self.listen, self.shape.shape())?;
        origin.create_bucket(&self.bucket);
        for index in 0..self.objects {
            let object = Object::pattern(self.size.as_u64(), index).with_content_type("video/mp4");
            origin.put(&self.bucket, &format!("film-{index}.mp4"), object);
        }
        let (endpoint, bucket) = (origin.endpoint(), &self.bucket);
        println!("The shaped origin answers on {endpoint} until Ctrl-C.");
        println!("An object of it:          curl -r 0-99 {endpoint}/{bucket}/film-0.mp4 | xxd");
        println!("What it had to do:        curl {endpoint}/_origin/counts");
        println!("A gateway in front of it:");
        println!(
            "  STORAGE_BACKEND=s3 S3_ENDPOINT={endpoint} S3_BUCKET={bucket} S3_FORCE_PATH_STYLE=true \\\n  \
             AWS_REGION=us-east-1 AWS_ACCESS_KEY_ID=x AWS_SECRET_ACCESS_KEY=x gateway"
        );
        interrupts.recv().await;
        let counts = serde_json::to_string_pretty(&origin.counts()).map_err(std::io::Error::from)?;
        println!("\n{counts}");
        Ok(ExitCode::SUCCESS)
    }
}

// === impl ShapeArgs ===

impl ShapeArgs {
    fn shape(&self) -> Shape {
        let tail = Tail { fraction: self.tail_fraction, factor: self.tail_factor };
        Shape {
            first_byte_latency: self.first_byte,
            bytes_per_second_per_connection: Some(self.bandwidth.as_u64()).filter(|bandwidth| *bandwidth > 0),
            error_rate: self.error_rate,
            tail: (tail.fraction > 0.0).then_some(tail),
        }
    }
}

fn name_and_value(text: &str) -> Result<(OsString, OsString), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.into(), value.into()))
}
