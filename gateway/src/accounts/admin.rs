//! `gateway admin create`: the first admin, whom nobody could let in.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;

use clap::Parser;
use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use seekway_catalog::{Catalog, Error, NewAccount, Options, Role};

use super::{handlers, passwords};
use crate::config::DatabaseSettings;

/// What an operator does beside the running gateway.
///
/// Every setting is a flag and an environment variable; the flag wins.
#[derive(Debug, Parser)]
#[command(name = "gateway", version, max_term_width = 110)]
struct CommandLine {
    #[command(subcommand)]
    subject: Subject,
}

#[derive(Debug, clap::Subcommand)]
enum Subject {
    /// Accounts that may do everything
    Admin {
        #[command(subcommand)]
        command: Command,
    },
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Make an admin. The password is the first line of the standard input
    Create {
        /// The e-mail address to log in with
        #[arg(long, value_name = "ADDRESS")]
        address: String,

        /// What others see [default: the address up to its @]
        #[arg(long, value_name = "NAME", default_value = "", hide_default_value = true)]
        name: String,

        #[command(flatten)]
        database: DatabaseSettings,
    },
}

/// `EX_USAGE` and `EX_UNAVAILABLE` of sysexits.h.
const EXIT_USAGE: u8 = 64;
const EXIT_UNAVAILABLE: u8 = 69;

/// Does what the process was started for, if that is one of these commands.
pub fn run() -> Option<ExitCode> {
    if std::env::args_os().nth(1).is_none_or(|word| word != "admin") {
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
    let Subject::Admin { command: Command::Create { address, name, database } } = line.subject;
    Some(match create(&address, &name, &database) {
        Ok(address) => {
            println!("{address} is an admin");
            ExitCode::SUCCESS
        }
        Err((code, why)) => {
            eprintln!("gateway: {why}");
            ExitCode::from(code)
        }
    })
}

fn create(address: &str, name: &str, database: &DatabaseSettings) -> Result<String, (u8, String)> {
    let wrong = |why: String| (EXIT_USAGE, why);
    let name = handlers::name(name, address).map_err(|why| wrong(format!("--name: {why}")))?;
    let address = handlers::address(address).map_err(|why| wrong(format!("--address: {why}")))?;
    let password = password().map_err(|error| wrong(format!("the password cannot be read: {error}")))?;
    passwords::check(&password).map_err(|why| wrong(why.to_string()))?;
    let new = NewAccount { address, name, role: Role::Admin, password_hash: passwords::hash(&password) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| wrong(error.to_string()))?;
    let url = &database.database_url;
    let made = runtime.block_on(async {
        let catalog = Catalog::open(url, &Options::default()).await?;
        let made = catalog.accounts().create(new).await;
        catalog.close().await;
        made
    });
    match made {
        Ok(account) => Ok(account.address),
        Err(Error::Conflict(_)) => Err(wrong("there is an account with this address already".to_owned())),
        Err(error) => Err((EXIT_UNAVAILABLE, format!("--database-url (DATABASE_URL) is \"{url}\": {error}"))),
    }
}

/// One line of the standard input; from a terminal it is asked for, and not shown.
fn password() -> std::io::Result<String> {
    let stdin = std::io::stdin();
    let mut line = String::new();
    if stdin.is_terminal() {
        eprint!("Password: ");
        std::io::stderr().flush()?;
        let shown = tcgetattr(&stdin)?;
        let mut hidden = shown.clone();
        hidden.local_modes.remove(LocalModes::ECHO);
        tcsetattr(&stdin, OptionalActions::Flush, &hidden)?;
        let read = stdin.lock().read_line(&mut line);
        tcsetattr(&stdin, OptionalActions::Flush, &shown)?;
        eprintln!();
        read?;
    } else {
        stdin.lock().read_line(&mut line)?;
    }
    Ok(line.trim_end_matches(['\r', '\n']).to_owned())
}
