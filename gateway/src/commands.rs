//! What an operator does beside the running gateway: `gateway admin`, `gateway import`, `gateway doctor`, `gateway jobs`.

mod doctor;
mod import;
mod jobs;
mod ours;
mod queue;

use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use seekway_catalog::{Catalog, Error, Options, Visibility};
use seekway_storage::ObjectStore;

use crate::accounts::AdminCommand;
use seekway_settings::Configuration;

use crate::config::{Config, Stop, StorageBackend};
use crate::metrics::Metrics;
use crate::server::open_store;
use doctor::{Doctor, Mend};
use import::{Import, Imported};
use jobs::JobsCommand;

/// `EX_USAGE` and `EX_UNAVAILABLE` of sysexits.h.
const EXIT_USAGE: u8 = 64;
const EXIT_UNAVAILABLE: u8 = 69;
/// Something is left that is not as it should be.
const EXIT_FINDINGS: u8 = 1;
/// What is younger may be somebody's who is about to say so.
const YOUNG: Duration = Duration::from_hours(1);

/// What an operator does beside the running gateway.
///
/// The gateway itself is started without a command; `gateway --help` tells its settings. Commands that need them take
/// them from the same environment variables, or as flags behind a `--`.
#[derive(Debug, Parser)]
#[command(name = "gateway", version, max_term_width = 110)]
struct CommandLine {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Accounts that may do everything
    Admin {
        #[command(subcommand)]
        command: AdminCommand,
    },
    /// Make videos of objects that are in the store already; no byte is moved, and doing it again goes on
    ///
    /// What has come by uploads is passed over, unless `original/` or a prefix below it is named, as after the loss of the
    /// database.
    ///
    /// Coming from MinIO, or any other S3 server: leave the data where it is, point `S3_ENDPOINT`, `S3_BUCKET` and the
    /// credentials at it, set `S3_FORCE_PATH_STYLE=true`, and import what shall be videos. Objects that are no videos stay
    /// as they are, and play at /media as before.
    Import {
        /// `s3://BUCKET/PREFIX`, or a prefix of keys in the local folder
        #[arg(value_name = "WHERE")]
        place: String,

        /// The address of the account that they will belong to; nobody's otherwise, which admins see
        #[arg(long, value_name = "ADDRESS")]
        owner: Option<String>,

        /// Who may see them: private, unlisted or public. What was served to everybody before is not, once it is private
        #[arg(long, value_name = "WHO", default_value = "private", value_parser = visibility)]
        visibility: Visibility,

        /// Have workers process them, too, by the gateway's profile (`SEEKWAY_TRANSCODING_PROFILE`)
        #[arg(long)]
        transcode: bool,

        /// Settings of the gateway
        #[arg(last = true, value_name = "SETTINGS")]
        settings: Vec<OsString>,
    },
    /// What workers are to make of videos: see it, give it up, have it tried again
    #[command(after_long_help = jobs::EXAMPLES)]
    Jobs {
        #[command(subcommand)]
        command: JobsCommand,
    },
    /// Find what the database and the store do not agree on: videos and assets without objects, what videos have published that
    /// is gone, and objects and multipart uploads that came by a gateway or a worker and that nobody has; and what is missing
    /// or wrong in the broker of `QUEUE_URL`, with the call that makes it. Exit code 1 when something is left
    ///
    /// Only keys of our own making are looked at: `original/YYYY/MM/DD/UUID-…`, `assets/UUID-…`, `seekway-incoming/…` and
    /// `processed/UUID/UUID-N/…`.
    /// Where the database has been lost, `gateway import s3://BUCKET/original/` makes videos of what is there.
    Doctor {
        /// Mend it: delete such videos, assets, objects and multipart uploads, have videos processed again, and make the queues
        /// that are missing. Refused where the database and the store
        /// do not seem to belong together
        #[arg(long)]
        fix: bool,

        /// Mend it although that deletes most of what there is
        #[arg(long, requires = "fix")]
        force: bool,

        /// Leave alone what is younger than this
        #[arg(long, value_name = "TIME", default_value_t = YOUNG.into())]
        older_than: humantime::Duration,

        /// Settings of the gateway
        #[arg(last = true, value_name = "SETTINGS")]
        settings: Vec<OsString>,
    },
}

/// Why a command did nothing, or not all. The texts are for the operator.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It was asked for in a wrong way.
    Usage(String),
    /// The database or the store does not serve.
    Unavailable(String),
    /// It did what it could.
    Findings(String),
}

/// Does what the process was started for, if that is a command.
pub fn run() -> Option<ExitCode> {
    let first = std::env::args_os().nth(1)?;
    if !["admin", "import", "doctor", "jobs", "help"].iter().any(|command| first == *command) {
        return None;
    }
    let line = match CommandLine::try_parse() {
        Ok(line) => line,
        Err(error) => {
            // Whoever closed the output does not want it.
            let _ = error.print();
            return Some(ExitCode::from(if error.use_stderr() { EXIT_USAGE } else { 0 }));
        }
    };
    let done = match &line.command {
        Command::Admin { command } => command.run(),
        Command::Import { place, owner, visibility, transcode, settings } => {
            blocking(import(place, owner.as_deref(), *visibility, *transcode, settings))
        }
        Command::Jobs { command } => blocking(command.run()),
        Command::Doctor { fix, force, older_than, settings } => {
            let mend = match (fix, force) {
                (false, _) => Mend::Nothing,
                (true, false) => Mend::IfTheyBelongTogether,
                (true, true) => Mend::Everything,
            };
            blocking(doctor(mend, **older_than, settings))
        }
    };
    let (code, why) = match done {
        Ok(said) => {
            println!("{said}");
            return Some(ExitCode::SUCCESS);
        }
        Err(Failure::Usage(why)) => (EXIT_USAGE, why),
        Err(Failure::Unavailable(why)) => (EXIT_UNAVAILABLE, why),
        Err(Failure::Findings(why)) => (EXIT_FINDINGS, why),
    };
    eprintln!("gateway: {why}");
    Some(ExitCode::from(code))
}

fn blocking(work: impl Future<Output = Result<String, Failure>>) -> Result<String, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| Failure::Unavailable(error.to_string()))?.block_on(work)
}

async fn import(
    place: &str,
    owner: Option<&str>,
    visibility: Visibility,
    transcode: bool,
    settings: &[OsString],
) -> Result<String, Failure> {
    let (bucket, prefix) =
        match place.strip_prefix("s3://").map(|rest| rest.split_once('/').unwrap_or((rest, ""))) {
            Some((bucket, prefix)) => (Some(bucket), prefix),
            None => (None, place),
        };
    // Its bucket needs not be said twice.
    let named: Vec<OsString> =
        bucket.map(|bucket| format!("--s3-bucket={bucket}").into()).into_iter().collect();
    let served = std::env::var_os("S3_BUCKET").filter(|served| !served.is_empty());
    if let (Some(bucket), Some(served)) = (bucket, served)
        && served != *bucket
    {
        let served = served.to_string_lossy();
        return Err(Failure::Usage(format!(
            "this gateway serves the bucket {served} (S3_BUCKET), so only s3://{served}/… can be imported, not {place}"
        )));
    }
    let config = config(settings.iter().cloned().chain(named))?;
    if bucket.is_none() && config.storage_backend() == StorageBackend::S3 {
        return Err(Failure::Usage(format!("the store is a bucket: s3://BUCKET/{place} says which")));
    }
    let (catalog, store) = open(&config).await?;
    let owner = match owner {
        None => None,
        Some(address) => match catalog.accounts().by_address(address).await {
            Ok(account) => Some(account.id),
            Err(Error::NotFound) => {
                return Err(Failure::Usage(format!("--owner: no account has the address {address}")));
            }
            Err(error) => return Err(Failure::Unavailable(error.chain())),
        },
    };
    let profile = transcode.then(|| config.transcoding.transcoding_profile.clone());
    let prefix = prefix.to_owned();
    let import = Import { catalog: catalog.clone(), store, prefix, owner, visibility, profile };
    let is_watched = std::io::stderr().is_terminal();
    let outcome = import
        .run(|so_far, failed| match failed {
            Some(why) => eprintln!("{}{why}", if is_watched { "\r" } else { "" }),
            None if is_watched => {
                eprint!("\r{}", in_words(so_far));
                let _ = std::io::stderr().flush();
            }
            None => {}
        })
        .await;
    if is_watched {
        eprintln!();
    }
    catalog.close().await;
    let imported = outcome.map_err(Failure::Unavailable)?;
    if imported.failed > 0 {
        return Err(Failure::Findings(format!("{}; do it again to go on with those", in_words(imported))));
    }
    Ok(in_words(imported))
}

fn in_words(imported: Imported) -> String {
    let Imported { added, known, no_videos, failed } = imported;
    format!(
        "{added} videos added, {known} known before, {no_videos} objects are no videos, {failed} could not be read"
    )
}

async fn doctor(mend: Mend, older_than: Duration, settings: &[OsString]) -> Result<String, Failure> {
    let config = config(settings.iter().cloned())?;
    let fix = mend != Mend::Nothing;
    if fix && config.storage_backend() == StorageBackend::S3 && !config.database.is_chosen() {
        let why = "--fix deletes from the bucket what the database does not know, so --database-url (DATABASE_URL) must \
                   say which database is the bucket's";
        return Err(Failure::Usage(why.to_owned()));
    }
    let (catalog, store) = open(&config).await?;
    let doorbells = config.queue.open(&catalog, YOUNG);
    let queue = queue::inspect(&*doorbells, fix).await;
    doorbells.close().await;
    let profile = config.transcoding.transcoding_profile.clone();
    let doctor = Doctor { catalog: catalog.clone(), store, mend, older_than, profile };
    let found = doctor
        .run(|finding| match &finding.failed {
            Some(why) => println!("cannot mend {}: {why}", finding.text),
            None if fix => println!("mended {}", finding.text),
            None => println!("{}", finding.text),
        })
        .await;
    catalog.close().await;
    let (found, (queue, queue_left)) = (found?, queue?);
    let left =
        if fix { found.iter().filter(|finding| finding.failed.is_some()).count() } else { found.len() };
    match (found.len() + queue, left + queue_left) {
        (0, _) => Ok("the database and the store agree, and the queue is as it should be".to_owned()),
        (all, 0) => Ok(format!("{all} findings, all mended")),
        (all, left) if fix => Err(Failure::Findings(format!("{left} of {all} findings could not be mended"))),
        (all, _) => Err(Failure::Findings(format!("{all} findings; gateway doctor --fix mends them"))),
    }
}

/// The gateway's own settings.
fn config(settings: impl IntoIterator<Item = OsString>) -> Result<Config, Failure> {
    let args = std::iter::once(OsString::from("gateway")).chain(settings);
    Config::from_args(args, |name| std::env::var_os(name)).map_err(|stop| match stop {
        Stop::Shown(help) => Failure::Usage(help.to_string()),
        Stop::Wrong { line, .. } => Failure::Usage(line),
    })
}

async fn open(config: &Config) -> Result<(Catalog, Arc<dyn ObjectStore>), Failure> {
    let store = open_store(config, &Arc::new(Metrics::new())).await;
    let store = store.map_err(|error| Failure::Usage(error.to_string()))?;
    Ok((database(config).await?, store))
}

async fn database(config: &Config) -> Result<Catalog, Failure> {
    let url = config.database.url();
    let catalog = Catalog::open(&url, &Options::default()).await;
    let away = |error| Failure::Unavailable(format!("--database-url (DATABASE_URL) is \"{url}\": {error}"));
    catalog.map_err(away)
}

fn visibility(text: &str) -> Result<Visibility, &'static str> {
    Visibility::parse(text).ok_or("private, unlisted or public")
}
