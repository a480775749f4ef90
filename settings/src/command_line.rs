//! From arguments and environment to a [`Configuration`], or to the one line that says what is wrong.
//!
//! The environment is handed in and becomes arguments, rather than being read by clap: so an empty variable
//! counts as unset, and tests need not change the process they run in.

use std::error::Error as _;
use std::ffi::OsString;
use std::fmt;
use std::process::ExitCode;

use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, Parser};
use seekway_storage::s3::StaticCredentials;

/// `EX_USAGE` of sysexits.h: the configuration is wrong, so starting again will not help.
const EXIT_USAGE: u8 = 64;

/// All settings of a program.
pub trait Configuration: Parser {
    /// The program's name, which begins its errors.
    const PROGRAM: &'static str;

    /// What no setting can know alone, and what is no flag.
    ///
    /// # Errors
    /// [`Settings::wrong`].
    fn check(&mut self, settings: &Settings, env: &Environment) -> Result<(), Stop>;

    /// The configuration of this process.
    fn from_process() -> Result<Self, Stop> {
        Self::from_args(std::env::args_os(), |name| std::env::var_os(name))
    }

    /// The configuration that `args` (the program's name first) and the environment `env` make; an argument
    /// wins over a variable.
    fn from_args<A: Into<OsString>>(
        args: impl IntoIterator<Item = A>,
        env: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Stop> {
        let args: Vec<OsString> = args.into_iter().map(Into::into).collect();
        let (command, all) = command::<Self>();
        let stop = |error| Stop::new(Self::PROGRAM, error, &all);
        let given = command.clone().try_get_matches_from(&args).map_err(stop)?;
        // Before the rest, since a `--` may end the arguments.
        let mut with_env: Vec<OsString> = args.iter().take(1).cloned().collect();
        for setting in &all {
            let from_line = given.value_source(&setting.id) == Some(ValueSource::CommandLine);
            if let Some(value) = env(&setting.env).filter(|value| !from_line && !value.is_empty()) {
                let mut arg = OsString::from(format!("--{}=", setting.long));
                arg.push(value);
                with_env.push(arg);
            }
        }
        with_env.extend(args.into_iter().skip(1));
        let matches = command.try_get_matches_from(with_env).map_err(stop)?;
        let mut config = Self::from_arg_matches(&matches).map_err(stop)?;
        config.check(&Settings { program: Self::PROGRAM, all, matches }, &env)?;
        Ok(config)
    }
}

/// What a process was given beside its arguments.
pub type Environment<'e> = dyn Fn(&str) -> Option<OsString> + 'e;

/// Why there is no [`Configuration`].
#[derive(Debug)]
pub enum Stop {
    /// `--help` or `--version`: the answer is shown, and that is all.
    Shown(clap::Error),
    /// A setting is wrong.
    Wrong {
        /// Whose setting.
        program: &'static str,
        /// One line for stderr, which names the setting.
        line: String,
    },
}

/// A flag and its environment variable.
struct Setting {
    id: String,
    long: String,
    env: String,
}

/// What is known about the settings while they are read.
pub struct Settings {
    program: &'static str,
    all: Vec<Setting>,
    matches: ArgMatches,
}

/// The command without clap's own reading of the environment, and the names that this removes, kept in the
/// help.
fn command<C: Configuration>() -> (Command, Vec<Setting>) {
    let mut settings = Vec::new();
    let command = C::command().mut_args(|arg| {
        let (Some(env), Some(long)) = (arg.get_env(), arg.get_long()) else { return arg };
        let (env, long) = (env.to_string_lossy().into_owned(), long.to_owned());
        let told = |help: &clap::builder::StyledStr| format!("{help} [env: {env}]");
        let (short, full) = (arg.get_help().map(told), arg.get_long_help().map(told));
        settings.push(Setting { id: arg.get_id().to_string(), long, env });
        let arg = arg.env(None::<&str>);
        let arg = if let Some(short) = short { arg.help(short) } else { arg };
        if let Some(full) = full { arg.long_help(full) } else { arg }
    });
    (command, settings)
}

// === impl Settings ===

impl Settings {
    /// A setting that goes wrong with the others: `why` says what is allowed.
    pub fn wrong(&self, id: &str, why: impl fmt::Display) -> Stop {
        let name = self.all.iter().find(|setting| setting.id == id).map_or_else(|| id.to_owned(), named);
        let raw = self.matches.get_raw(id).and_then(|mut values| values.next());
        self.stop(match raw {
            Some(raw) => format!("{name} is {:?}: {why}", shown(&raw.to_string_lossy())),
            None => format!("{name} is not set: {why}"),
        })
    }

    /// The key pair, which is no flag: arguments are shown to everybody on the machine.
    ///
    /// # Errors
    /// Where one is set without the other.
    pub fn credentials(&self, env: &Environment) -> Result<Option<StaticCredentials>, Stop> {
        let read = |name| {
            let value = env(name).filter(|value| !value.is_empty());
            value
                .map(OsString::into_string)
                .transpose()
                .map_err(|_| self.stop(format!("{name} is not UTF-8")))
        };
        match (read("AWS_ACCESS_KEY_ID")?, read("AWS_SECRET_ACCESS_KEY")?) {
            (None, None) => Ok(None),
            (Some(access_key_id), Some(secret_access_key)) => {
                let session_token = read("AWS_SESSION_TOKEN")?;
                Ok(Some(StaticCredentials { access_key_id, secret_access_key, session_token }))
            }
            (Some(_), None) => {
                Err(self.stop("AWS_SECRET_ACCESS_KEY is not set: AWS_ACCESS_KEY_ID needs it".into()))
            }
            (None, Some(_)) => {
                Err(self.stop("AWS_ACCESS_KEY_ID is not set: AWS_SECRET_ACCESS_KEY needs it".into()))
            }
        }
    }

    fn stop(&self, line: String) -> Stop {
        Stop::Wrong { program: self.program, line }
    }
}

fn named(setting: &Setting) -> String {
    format!("--{} ({})", setting.long, setting.env)
}

// === impl Stop ===

impl Stop {
    fn new(program: &'static str, error: clap::Error, all: &[Setting]) -> Self {
        if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
            return Self::Shown(error);
        }
        let text = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => Some(text.as_str()),
            Some(ContextValue::Strings(texts)) => texts.first().map(String::as_str),
            _ => None,
        };
        let arg = text(ContextKind::InvalidArg).unwrap_or_default();
        // clap writes `--name <VALUE>` or `--name[=<VALUE>]`.
        let long = arg.trim_start_matches('-').split([' ', '=', '[']).next().unwrap_or_default();
        let setting = all.iter().find(|setting| setting.long == long).map(named);
        let line = match (error.kind(), setting) {
            (ErrorKind::ValueValidation | ErrorKind::InvalidValue, Some(name)) => {
                match (text(ContextKind::InvalidValue), allowed(&error)) {
                    (Some(value), Some(allowed)) => format!("{name} is {:?}: {allowed}", shown(value)),
                    _ => format!("{name} needs a value"),
                }
            }
            (ErrorKind::ArgumentConflict, Some(name)) => format!("{name} is given more than once"),
            (ErrorKind::UnknownArgument, _) => {
                let meant =
                    text(ContextKind::SuggestedArg).map(|meant| format!(", perhaps {meant} is meant"));
                format!("{arg:?} is no setting{}; --help lists them", meant.unwrap_or_default())
            }
            (ErrorKind::InvalidUtf8, _) => "a setting's value is not UTF-8".to_owned(),
            // The first line of what clap would say: whatever it is, it stays one line.
            _ => error.to_string().lines().next().unwrap_or("the arguments make no sense").to_owned(),
        };
        Self::Wrong { program, line }
    }

    /// Says why, and with which code to exit: help on stdout with 0, a wrong setting on stderr with 64.
    #[must_use]
    pub fn exit(&self) -> ExitCode {
        match self {
            Self::Shown(shown) => {
                // Whoever closed stdout does not want the help.
                let _ = shown.print();
                ExitCode::SUCCESS
            }
            Self::Wrong { .. } => {
                eprintln!("{self}");
                ExitCode::from(EXIT_USAGE)
            }
        }
    }
}

impl fmt::Display for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shown(shown) => shown.fmt(f),
            Self::Wrong { program, line } => write!(f, "{program}: {line}"),
        }
    }
}

/// A value as it may be logged: the user and password of a URL are nobody's business.
fn shown(value: &str) -> String {
    match value.split_once("://").and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?.1))) {
        Some((scheme, hosts)) => format!("{scheme}://…@{hosts}"),
        None => value.to_owned(),
    }
}

/// What the setting accepts: its parser's own words, or the names of its choices.
fn allowed(error: &clap::Error) -> Option<String> {
    if let Some(source) = error.source() {
        return Some(source.to_string());
    }
    match error.get(ContextKind::ValidValue) {
        Some(ContextValue::Strings(choices)) if !choices.is_empty() => {
            Some(format!("one of {}", choices.join(", ")))
        }
        _ => None,
    }
}
