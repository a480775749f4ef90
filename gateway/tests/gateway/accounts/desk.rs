//! A gateway with accounts, and what is asked of it.

use std::cell::Cell;
use std::fmt::Write as _;

use seekway_catalog::{Catalog, Options};
use seekway_loadtests::postgres::Postgres;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::Stand;
use crate::support::wire::{Answer, Wire};

pub(crate) const ADDRESS: &str = "ann@example.org";
pub(crate) const PASSWORD: &str = "correct horse battery";

/// Empty databases of one engine.
pub(crate) struct Databases {
    engine: Engine,
    count: Cell<u32>,
}

pub(crate) enum Engine {
    Sqlite(TempDir),
    Postgres(Box<Postgres>),
}

/// One of them.
pub(crate) struct Desk {
    pub(crate) url: String,
}

/// A request with JSON, or without.
pub(crate) struct Asking<'a> {
    pub(crate) stand: &'a Stand,
    pub(crate) host: &'a str,
    pub(crate) headers: Vec<(&'a str, &'a str)>,
    /// The client's address, one of this machine's.
    pub(crate) from: [u8; 4],
}

// === impl Databases ===

impl Databases {
    pub(crate) fn sqlite() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        Self { engine: Engine::Sqlite(folder), count: Cell::new(0) }
    }

    pub(crate) fn postgres() -> Self {
        let server = Postgres::start().unwrap_or_else(|error| panic!("{error}"));
        Self { engine: Engine::Postgres(Box::new(server)), count: Cell::new(0) }
    }

    pub(crate) fn next(&self) -> Desk {
        self.count.set(self.count.get() + 1);
        let name = format!("number_{}", self.count.get());
        let url = match &self.engine {
            Engine::Sqlite(folder) => format!("sqlite:{}", folder.path().join(name).display()),
            Engine::Postgres(server) => server.database(&name).unwrap_or_else(|error| panic!("{error}")),
        };
        Desk { url }
    }

    pub(crate) fn server(&mut self) -> &mut Postgres {
        match &mut self.engine {
            Engine::Postgres(server) => server,
            Engine::Sqlite(_) => panic!("SQLite has no server"),
        }
    }
}

// === impl Desk ===

impl Desk {
    /// A gateway with this database, open to everybody.
    pub(crate) fn gateway(&self, env: &[(&str, &str)]) -> Stand {
        let open =
            [("SEEKWAY_ACCOUNTS", "on"), ("SEEKWAY_SIGN_UP", "on"), ("DATABASE_URL", self.url.as_str())];
        Stand::local(&[&open[..], env].concat())
    }

    pub(crate) async fn catalog(&self) -> Catalog {
        let url = self.url.parse().expect("a URL");
        Catalog::open(&url, &Options::default()).await.expect("opens")
    }
}

// === impl Asking ===

impl<'a> Asking<'a> {
    pub(crate) fn of(stand: &'a Stand) -> Self {
        Self { stand, host: "gateway.test", headers: Vec::new(), from: [127, 0, 0, 1] }
    }

    pub(crate) fn with(mut self, name: &'a str, value: &'a str) -> Self {
        self.headers.push((name, value));
        self
    }

    pub(crate) fn from(self, from: [u8; 4]) -> Self {
        Self { from, ..self }
    }

    pub(crate) fn at(self, host: &'a str) -> Self {
        Self { host, ..self }
    }

    pub(crate) async fn get(&self, target: &str) -> Answer {
        self.send("GET", target, None, "").await
    }

    pub(crate) async fn delete(&self, target: &str) -> Answer {
        self.send("DELETE", target, None, "").await
    }

    pub(crate) async fn post(&self, target: &str, body: &Value) -> Answer {
        self.send("POST", target, Some("application/json"), &body.to_string()).await
    }

    pub(crate) async fn send(&self, method: &str, target: &str, kind: Option<&str>, body: &str) -> Answer {
        let mut head = format!("{method} {target} HTTP/1.1\r\nHost: {}\r\n", self.host);
        let length = body.len().to_string();
        let kind = kind.map(|kind| [("Content-Type", kind), ("Content-Length", &length)]);
        for (name, value) in self.headers.iter().copied().chain(kind.into_iter().flatten()) {
            write!(head, "{name}: {value}\r\n").expect("a String takes all");
        }
        let mut wire = Wire::connect_from(self.stand.address(), self.from).await;
        wire.send(format!("{head}\r\n{body}")).await;
        wire.answer(method).await
    }
}

pub(crate) async fn sign_up(stand: &Stand, address: &str, password: &str) -> Answer {
    let body = json!({ "address": address, "name": "Ann", "password": password });
    Asking::of(stand).post("/api/auth/sign-up", &body).await
}

pub(crate) async fn log_in(stand: &Stand, address: &str, password: &str) -> Answer {
    let body = json!({ "address": address, "password": password });
    Asking::of(stand).post("/api/auth/log-in", &body).await
}

/// Signs up, logs in, and returns the cookie.
pub(crate) async fn somebody(stand: &Stand, address: &str) -> String {
    let signed_up = sign_up(stand, address, PASSWORD).await;
    assert_eq!(signed_up.status, 202, "{signed_up:?}");
    cookie(&log_in(stand, address, PASSWORD).await)
}

/// What the browser sends back.
#[track_caller]
pub(crate) fn cookie(answer: &Answer) -> String {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.header("set-cookie").split(';').next().expect("a pair").to_owned()
}

#[track_caller]
pub(crate) fn parsed(answer: &Answer) -> Value {
    serde_json::from_slice(&answer.body).unwrap_or_else(|_| panic!("{answer:?}"))
}
