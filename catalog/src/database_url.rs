//! `DATABASE_URL`: which engine, and where.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use sqlx::ConnectOptions as _;
use sqlx::postgres::PgConnectOptions;

/// A database that can be opened.
#[derive(Clone)]
pub enum DatabaseUrl {
    /// A file, which is made when it is missing, with the folder it lies in.
    Sqlite(PathBuf),
    /// A server.
    Postgres {
        /// Which one, and how it is reached.
        server: Box<PgConnectOptions>,
        /// Whether it is a pooler, which gives each transaction another connection (`?pool_mode=transaction`).
        is_pooled: bool,
    },
}

/// A URL that names no database.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0}; allowed are sqlite:./data/seekway.db and postgres://USER:PASSWORD@HOST:5432/NAME?sslmode=verify-full"
)]
pub struct InvalidUrl(String);

/// The parameter that says what is behind a URL, in pgbouncer's words.
const POOL_MODE: &str = "pool_mode";
const TRANSACTION: &str = "transaction";

// === impl DatabaseUrl ===

impl DatabaseUrl {
    /// The URL for another program of ours to read, which `Display` is not: it has the password in it.
    pub fn with_password(&self) -> String {
        match self {
            Self::Sqlite(path) => format!("sqlite:{}", path.display()),
            Self::Postgres { server, is_pooled } => {
                let mut url = server.to_url_lossy();
                if *is_pooled {
                    url.query_pairs_mut().append_pair(POOL_MODE, TRANSACTION);
                }
                url.to_string()
            }
        }
    }
}

impl FromStr for DatabaseUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let refused = |why: &str| Err(InvalidUrl(why.to_owned()));
        match text.split_once(':') {
            Some(("sqlite", rest)) => {
                let path = rest.strip_prefix("//").unwrap_or(rest);
                match path {
                    "" => refused("sqlite: names no file"),
                    // Each connection would have a database of its own.
                    ":memory:" => refused("a database in memory is lost with its connection"),
                    _ if path.contains('?') => refused("sqlite: takes a path and no options"),
                    _ => Ok(Self::Sqlite(Path::new(path).to_owned())),
                }
            }
            Some(("postgres" | "postgresql", _)) => {
                let (text, pool_mode) = take_parameter(text, POOL_MODE);
                let is_pooled = match pool_mode {
                    None | Some("session") => false,
                    Some(TRANSACTION) => true,
                    // Statements of one transaction would go different ways.
                    Some(_) => return refused("pool_mode can be session or transaction"),
                };
                match text.parse() {
                    Ok(options) => Ok(Self::Postgres { server: Box::new(options), is_pooled }),
                    // Not the text itself: it holds a password.
                    Err(error) => Err(InvalidUrl(format!("not a PostgreSQL URL ({error})"))),
                }
            }
            Some((scheme, _)) if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                Err(InvalidUrl(format!("no database is called {scheme}:")))
            }
            _ => refused("not a URL"),
        }
    }
}

/// Without the password.
impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres { server, .. } => {
                let name = server.get_database().unwrap_or(server.get_username());
                write!(f, "postgres://{}:{}/{name}", server.get_host(), server.get_port())
            }
        }
    }
}

impl fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A URL without one of its parameters, and what that says.
fn take_parameter<'t>(text: &'t str, name: &str) -> (String, Option<&'t str>) {
    let Some((address, parameters)) = text.split_once('?') else { return (text.to_owned(), None) };
    let mut taken = None;
    let mut kept: Vec<_> = parameters.split('&').collect();
    kept.retain(|parameter| match parameter.split_once('=') {
        Some((key, value)) if key == name => {
            taken = Some(value);
            false
        }
        _ => true,
    });
    (format!("{address}?{}", kept.join("&")), taken)
}

#[cfg(test)]
mod tests {
    use super::DatabaseUrl;

    fn check(text: &str) -> String {
        match text.parse::<DatabaseUrl>() {
            Ok(url) => url.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn both_engines_have_a_url() {
        assert_eq!(check("sqlite:./data/seekway.db"), "sqlite:./data/seekway.db");
        assert_eq!(check("sqlite:///var/lib/seekway.db"), "sqlite:/var/lib/seekway.db");
        assert_eq!(check("postgres://ann:secret@db:5433/seekway"), "postgres://db:5433/seekway");
        assert_eq!(check("postgresql://ann@db/seekway"), "postgres://db:5432/seekway");
    }

    #[test]
    fn another_program_reads_the_same() {
        let texts = [
            "sqlite:./data/x.db",
            "postgres://ann:s%40cret@db:5433/seekway?sslmode=verify-full",
            "postgres://ann:s%40cret@db:5433/seekway?pool_mode=transaction",
        ];
        for text in texts {
            let url: DatabaseUrl = text.parse().expect("a URL");
            let again: DatabaseUrl = url.with_password().parse().expect("a URL");
            assert_eq!(again.with_password(), url.with_password());
            assert_eq!(url.with_password().contains("s%40cret"), text.contains("s%40cret"), "{text}");
            assert_eq!(url.with_password().contains("pool_mode"), text.contains("pool_mode"), "{text}");
        }
    }

    #[test]
    fn a_pooler_is_told_from_a_server() {
        let is_pooled = |text: &str| match text.parse() {
            Ok(DatabaseUrl::Postgres { is_pooled, server }) => {
                assert_eq!(server.get_database(), Some("x"));
                Some(is_pooled)
            }
            _ => None,
        };
        assert_eq!(is_pooled("postgres://ann@db/x?sslmode=require&pool_mode=transaction"), Some(true));
        assert_eq!(is_pooled("postgres://ann@db/x?pool_mode=session&sslmode=require"), Some(false));
        assert_eq!(is_pooled("postgres://ann@db/x"), Some(false));
        assert_eq!(is_pooled("postgres://ann@db/x?pool_mode=statement"), None);
    }

    #[test]
    fn any_other_is_refused_with_what_is_allowed_and_without_its_password() {
        for text in
            ["", "data.db", "mysql://ann:secret@db/x", "sqlite:", "sqlite::memory:", "sqlite:a.db?mode=ro"]
        {
            let said = check(text);
            assert!(said.contains("sqlite:./data/seekway.db and postgres://"), "{text}: {said}");
            assert!(!said.contains("secret"), "{said}");
        }
        let said = check("postgres://ann:secret@db:port/x");
        assert!(said.contains("allowed are") && !said.contains("secret"), "{said}");
    }
}
