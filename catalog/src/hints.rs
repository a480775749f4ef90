//! Hints: that it may be worth looking at the jobs now rather than a little later.
//!
//! A hint reaches who listens, or is lost: whoever listens looks now and then all the same. On PostgreSQL it is a NOTIFY
//! without a payload, and each [`Hints`] is one LISTEN, on a connection beside the catalog's others, which is made again
//! by itself. A pooler in transaction mode passes a NOTIFY on, and cannot LISTEN; there, and on SQLite, hints stay in the
//! process.

use std::convert::Infallible;
use std::time::Duration;

use sqlx::Executor as _;
use sqlx::postgres::PgListener;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, info};

use crate::database::{Server, args};
use crate::{Catalog, Error};

/// Where they are told.
const CHANNEL: &str = "seekway_jobs";
/// Between two tries to listen, at first.
const PAUSE_MIN: Duration = Duration::from_millis(100);
/// It doubles up to this; who listened for longer begins anew.
const PAUSE_MAX: Duration = Duration::from_secs(30);
/// After so long without a word the server is asked whether it is still there: a connection that a firewall forgot looks
/// like a silent one.
const SILENCE: Duration = Duration::from_secs(30);

/// See [`Catalog::hints`].
#[derive(Debug)]
pub struct Hints(watch::Receiver<()>);

/// What a process tells itself.
#[derive(Debug, Default)]
pub(crate) struct Signals {
    hinted: watch::Sender<()>,
    has_grown: Notify,
}

// === impl Catalog ===

impl Catalog {
    /// Tells everybody who listens to look for jobs.
    pub async fn hint(&self) -> Result<(), Error> {
        let server = self.database.server();
        if !server.is_some_and(is_heard) {
            self.database.signals().hinted.send_replace(());
        }
        if server.is_some() {
            let sql = "SELECT 1 AS done FROM (SELECT pg_notify($1, '')) AS told";
            self.database.rows(sql, args![CHANNEL]).await?;
        }
        Ok(())
    }

    /// Listens from now on, until this is dropped or the catalog is closed. On PostgreSQL it takes a connection, so a
    /// process should have one.
    pub fn hints(&self) -> Hints {
        match self.database.server() {
            Some(server) if is_heard(server) => {
                let (heard, hints) = watch::channel(());
                let server = server.clone();
                tokio::spawn(async move {
                    tokio::select! {
                        () = heard.closed() => {}
                        () = server.closed() => {}
                        () = listen(&server, &heard) => {}
                    }
                });
                Hints(hints)
            }
            _ => Hints(self.database.signals().hinted.subscribe()),
        }
    }
}

/// Whether it tells what it is told.
fn is_heard(server: &Server) -> bool {
    !server.is_pooled()
}

// === impl Hints ===

impl Hints {
    /// Waits for a hint. Those that came since the last are one; that somebody listens again after a while is one, too.
    /// Dropping the future loses none.
    pub async fn next(&mut self) {
        if self.0.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

// === impl Signals ===

impl Signals {
    pub(crate) fn outbox_has_grown(&self) {
        self.has_grown.notify_one();
    }

    pub(crate) async fn outbox_grows(&self) {
        self.has_grown.notified().await;
    }
}

async fn listen(server: &Server, heard: &watch::Sender<()>) {
    let mut pause = PAUSE_MIN;
    loop {
        let began = Instant::now();
        let Err(error) = listen_once(server, heard).await;
        if began.elapsed() > PAUSE_MAX {
            pause = PAUSE_MIN;
        }
        info!(error = error.chain(), ?pause, "no hints are heard; jobs are looked for");
        // Not all of them at once when a server is back.
        sleep(pause.mul_f64(0.5 + fastrand::f64())).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

async fn listen_once(server: &Server, heard: &watch::Sender<()>) -> Result<Infallible, Error> {
    // Another pool for each try, because the listener before may hold its connection for as long as that does not answer.
    let pool = server.one_more();
    let mut listener = PgListener::connect_with(&pool).await?;
    listener.eager_reconnect(false);
    listener.listen(CHANNEL).await?;
    debug!("hints are heard");
    // What was told before this nobody heard.
    heard.send_replace(());
    loop {
        match timeout(SILENCE, listener.try_recv()).await {
            Ok(Ok(Some(_))) => heard.send_replace(()),
            Ok(Ok(None)) => {
                return Err(Error::from(sqlx::Error::Io(std::io::ErrorKind::UnexpectedEof.into())));
            }
            Ok(Err(error)) => return Err(error.into()),
            Err(_) => {
                let asked = timeout(SILENCE, listener.execute("SELECT 1")).await;
                asked.map_err(|_| Error::Timeout(SILENCE))??;
            }
        }
    }
}
