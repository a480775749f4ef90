//! Serving the connections of one runtime.

use std::io;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::accept::Handover;
use super::bounded_stream::BoundedStream;
use super::guarded_stream::{GuardedStream, Patience, Phase};
use super::socket_memory::SocketMemory;
use crate::app::{self, App, Surface};
use crate::config::Config;

/// What a connection gets for its first request when it was accepted just before the drain.
const FIRST_REQUEST_GRACE: Duration = Duration::from_secs(1);

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    /// Where it connected from.
    pub(crate) address: SocketAddr,
}

/// What a serving runtime needs.
pub(super) struct Worker {
    app: Arc<App>,
    surface: Surface,
    patience: Patience,
    http: http1::Builder,
}

// === impl Worker ===

impl Worker {
    pub(super) fn new(app: Arc<App>, surface: Surface, config: &Config) -> Self {
        let mut http = http1::Builder::new();
        http.max_headers(config.headers_max)
            .max_header_size(config.header_bytes_max())
            .header_read_timeout(None); // `GuardedStream` tells idle from slow; see there.
        let patience = Patience {
            idle: config.idle_timeout.into(),
            header: config.header_timeout.into(),
            write_stall: config.write_stall_timeout.into(),
        };
        Self { app, surface, patience, http }
    }

    /// Serves connections until there are no more to come and all have ended, or the drain is over.
    pub(super) async fn run(self, mut receiver: mpsc::Receiver<Handover>) {
        let tasks = TaskTracker::new();
        let drained = self.app.drained.clone();
        while let Some(Handover { stream, peer, place }) =
            tokio::select! { handover = receiver.recv() => handover, () = drained.cancelled() => None }
        {
            let serving = self.serve(stream, peer);
            tasks.spawn(async move {
                serving.await;
                drop(place);
            });
        }
        // Also with no connection left: fills and store connections that other threads' responses use live here.
        tasks.close();
        drained.cancelled().await;
    }

    fn serve(&self, stream: StdStream, peer: Peer) -> impl Future<Output = ()> + use<> {
        let (app, http, patience, surface) =
            (self.app.clone(), self.http.clone(), self.patience, self.surface);
        async move {
            let stream = match prepared(stream, &app.socket_memory) {
                Ok(stream) => stream,
                Err(error) => return debug!(%error, "a connection ended before it began"),
            };
            let phase = Arc::new(Phase::default());
            let service = TowerToHyperService::new(app::service(app.clone(), phase.clone(), peer, surface));
            let io = TokioIo::new(GuardedStream::new(stream, patience, phase.clone()));
            let mut connection = std::pin::pin!(http.serve_connection(io, service));
            // Probes come on new connections while the public ones drain, and must find out that they do.
            let ending = if surface == Surface::Admin { &app.drained } else { &app.draining };
            let served = tokio::select! {
                served = connection.as_mut() => served,
                () = until_ending(ending, &phase) => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = served {
                debug!(%error, "connection ended");
            }
        }
    }
}

/// A connection as it should be for media: answers leave at once, and little of them waits in the kernel.
fn prepared(stream: StdStream, memory: &Arc<SocketMemory>) -> io::Result<BoundedStream> {
    stream.set_nodelay(true)?;
    Ok(BoundedStream::new(TcpStream::from_std(stream)?, memory))
}

/// Completes when a connection is to end after what it is doing: when `ending` says so, but not before its first
/// request had a moment to arrive. A client that has just connected would otherwise be hung up on.
async fn until_ending(ending: &CancellationToken, phase: &Phase) {
    ending.cancelled().await;
    if phase.is_new() {
        sleep(FIRST_REQUEST_GRACE).await;
    }
}
