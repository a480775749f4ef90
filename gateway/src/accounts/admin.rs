//! `gateway admin create`: the first admin, whom nobody could let in.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use rustix::termios::{LocalModes, OptionalActions, tcgetattr, tcsetattr};
use seekway_catalog::{Catalog, Error, NewAccount, Options, Role};

use super::{handlers, passwords};
use crate::commands::Failure;
use crate::config::DatabaseSettings;

/// What can be done with admins.
#[derive(Debug, clap::Subcommand)]
pub(crate) enum AdminCommand {
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

// === impl AdminCommand ===

impl AdminCommand {
    /// Does it, and says what was done.
    pub(crate) fn run(&self) -> Result<String, Failure> {
        let Self::Create { address, name, database } = self;
        create(address, name, database).map(|address| format!("{address} is an admin"))
    }
}

fn create(address: &str, name: &str, database: &DatabaseSettings) -> Result<String, Failure> {
    let wrong = Failure::Usage;
    let name = handlers::name(name, address).map_err(|why| wrong(format!("--name: {why}")))?;
    let address = handlers::address(address).map_err(|why| wrong(format!("--address: {why}")))?;
    let password = password().map_err(|error| wrong(format!("the password cannot be read: {error}")))?;
    passwords::check(&password).map_err(|why| wrong(why.to_string()))?;
    let new = NewAccount { address, name, role: Role::Admin, password_hash: passwords::hash(&password) };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| wrong(error.to_string()))?;
    let url = &database.url();
    let made = runtime.block_on(async {
        let catalog = Catalog::open(url, &Options::default()).await?;
        let made = catalog.accounts().create(new).await;
        catalog.close().await;
        made
    });
    match made {
        Ok(account) => Ok(account.address),
        Err(Error::Conflict(_)) => Err(wrong("there is an account with this address already".to_owned())),
        Err(error) => {
            Err(Failure::Unavailable(format!("--database-url (DATABASE_URL) is \"{url}\": {error}")))
        }
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
