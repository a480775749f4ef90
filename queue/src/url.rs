//! `QUEUE_URL`: how workers hear of jobs, and where.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use deadpool_redis::redis::Client;
use seekway_catalog::Catalog;

use crate::amqp::{Amqp, AmqpUrl};
use crate::brokered::Brokered;
use crate::redis::Redis;
use crate::sqs::{Sqs, SqsUrl};
use crate::{Doorbells, Sql};

/// A backend that can be opened.
#[derive(Clone)]
pub struct QueueUrl {
    kind: Kind,
    text: String,
    shown: String,
}

#[derive(Clone)]
enum Kind {
    Sql,
    Redis(Box<Client>),
    Amqp(Box<AmqpUrl>),
    Sqs(SqsUrl),
}

/// How doorbells are heard.
#[derive(Debug, Clone)]
pub struct Options {
    /// About how often whoever waits looks without having heard one.
    pub look_every: Duration,
    /// A ring that is not answered within this is heard again: longer than asking the catalog takes.
    pub overdue: Duration,
    /// Id and secret of a key for SQS, where they are not to be the environment's or the machine's.
    pub aws_keys: Option<(String, String)>,
}

/// A URL that names no backend.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0}; allowed are sql:, sqs:https://sqs.REGION.amazonaws.com/ACCOUNT/NAME, redis://USER:PASSWORD@HOST:6379/0 and amqp://USER:PASSWORD@HOST:5672/VHOST (rediss:// and amqps:// for TLS)"
)]
pub struct InvalidUrl(String);

// === impl QueueUrl ===

impl QueueUrl {
    /// The backend, which is connected to when it is first asked for something.
    pub fn open(&self, catalog: &Catalog, options: &Options) -> Arc<dyn Doorbells> {
        let shown = self.shown.clone();
        match &self.kind {
            Kind::Sql => Arc::new(Sql::new(catalog.clone(), options.look_every)),
            Kind::Redis(client) => {
                let broker = Redis::new((**client).clone(), shown, options.overdue);
                Arc::new(Brokered::new(broker, options.look_every))
            }
            Kind::Sqs(url) => {
                let broker = Sqs::new(url.clone(), options.aws_keys.clone(), options.overdue);
                Arc::new(Brokered::new(broker, options.look_every))
            }
            Kind::Amqp(url) => {
                let broker = Amqp::new((**url).clone(), shown, options.overdue);
                Arc::new(Brokered::new(broker, options.look_every))
            }
        }
    }

    /// All of it, for who has to open it, too.
    pub fn with_password(&self) -> &str {
        &self.text
    }

    /// Whether jobs are told of by the database alone.
    pub fn is_sql(&self) -> bool {
        matches!(self.kind, Kind::Sql)
    }
}

impl FromStr for QueueUrl {
    type Err = InvalidUrl;

    /// Errors do not have the text itself: it holds a password.
    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let refused = |why: String| Err(InvalidUrl(why));
        let Some((scheme, rest)) = text.split_once(':') else { return refused("not a URL".to_owned()) };
        let kind = match scheme {
            "sql" if rest.is_empty() => Kind::Sql,
            "sql" => {
                return refused("sql: takes nothing more, the database is that of DATABASE_URL".to_owned());
            }
            // Its own wishes in a query are not ours to grant.
            "redis" | "rediss" if rest.contains(['?', '#', ',']) => {
                return refused("a Redis queue is one server, without options".to_owned());
            }
            "redis" | "rediss" => match Client::open(text) {
                Ok(client) => Kind::Redis(Box::new(client)),
                Err(error) => return refused(format!("not a Redis URL ({error})")),
            },
            "sqs" => match SqsUrl::parse(rest) {
                Some(url) => Kind::Sqs(url),
                None => return refused("not the URL of a queue after sqs:".to_owned()),
            },
            "amqp" | "amqps" => match AmqpUrl::parse(text) {
                Some(url) => Kind::Amqp(Box::new(url)),
                None => return refused("not an AMQP URL".to_owned()),
            },
            _ if scheme.bytes().all(|byte| byte.is_ascii_alphanumeric()) => {
                return refused(format!("no queue is called {scheme}:"));
            }
            _ => return refused("not a URL".to_owned()),
        };
        Ok(Self { kind, text: text.to_owned(), shown: without_password(text) })
    }
}

/// Without user and password.
impl fmt::Display for QueueUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for QueueUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A password may have any character in it that its writer forgot to encode, so all up to the last `@` goes.
fn without_password(text: &str) -> String {
    match (text.split_once("://"), text.rsplit_once('@')) {
        (Some((scheme, _)), Some((_, place))) => format!("{scheme}://{place}"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::QueueUrl;

    fn check(text: &str) -> String {
        match text.parse::<QueueUrl>() {
            Ok(url) => url.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn every_backend_has_a_url_that_shows_no_password() {
        assert_eq!(check("sql:"), "sql:");
        assert_eq!(check("redis://localhost"), "redis://localhost");
        let sqs = "sqs:https://sqs.eu-central-1.amazonaws.com/123456789012/jobs";
        assert_eq!(check(sqs), sqs);
        assert_eq!(check("amqp://localhost"), "amqp://localhost");
        assert_eq!(check("amqps://ann:s%40cret@[::1]:5671/media"), "amqps://[::1]:5671/media");
        assert_eq!(check("rediss://ann:s%40cret@redis:6380/3"), "rediss://redis:6380/3");
    }

    #[test]
    fn any_other_is_refused_with_what_is_allowed_and_without_its_password() {
        for text in [
            "",
            "sql:x",
            "kafka://ann:secret@host",
            "redis:",
            "redis://ann:secret@host:port",
            "redis://a,b",
            "redis://a?b",
            "sqs:https://sqs.eu-central-1.amazonaws.com/123456789012",
            "sqs:https://ann:secret@host/1/jobs",
            "amqp://ann:secret@",
            "amqp://ann:secret@host/a/b",
            "amqp://ann:secret@host:port",
        ] {
            let said = check(text);
            assert!(said.contains("allowed are sql:") && !said.contains("secret"), "{text}: {said}");
        }
    }
}
