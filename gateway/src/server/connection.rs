//! Serving the connections of one runtime.

use std::io;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use socket2::TcpKeepalive;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::accept::Handover;
use super::checked_heads::CheckedHeads;
use super::guarded_stream::{GuardedStream, Patience, Phase};
use crate::admission::Place;
use crate::app::{self, App, Surface};
use crate::config::Config;
use crate::framing::HeadLimits;

/// What a connection gets for its first request when it was accepted just before the drain.
const FIRST_REQUEST_GRACE: Duration = Duration::from_secs(1);
/// Unsent bytes that the kernel takes from us for one connection (`TCP_NOTSENT_LOWAT`). Without it a paused
/// client has megabytes in the kernel, and a slow one looks stalled: the kernel says that it can be written to
/// again only when a third of its buffer is empty; with it, when half of this is.
///
/// Measured with hot 1 MiB ranges on 16 loopback connections, two rounds, requests/s: 128 KiB 5,658 and 4,567;
/// 256 KiB 5,629 and 6,744; 512 KiB 6,528 and 6,573; 4 MiB 5,948 and 6,110. Below 256 KiB it costs throughput.
const NOTSENT_BYTES_MAX: u32 = 256 * 1024;

/// A client that vanished without a word (a cable, a NAT's memory) is noticed in one of two ways. While we send, by
/// what it does not acknowledge (`TCP_USER_TIMEOUT`): until then the kernel keeps up to `NOTSENT_BYTES_MAX` and more
/// for it, also after we have closed. This is longer than the write stall, because the kernel counts a paused client's
/// shut window as well, and which client has stalled is for `GuardedStream` to say.
const UNACKNOWLEDGED_MORE: Duration = Duration::from_secs(10);
/// And while we send nothing, because the store is slow or its bytes are paced, by probes that it does not answer. The
/// kernel gives it up when `TCP_USER_TIMEOUT` is over, too; an idle connection ends by itself before that.
const KEEPALIVE_TIME: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// Who is at the other end of a connection.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peer {
    /// Where it connected from; to a trusted proxy, if that says so.
    pub(crate) address: SocketAddr,
}

/// What a serving runtime needs.
pub(super) struct Worker {
    app: Arc<App>,
    surface: Surface,
    patience: Patience,
    heads: HeadLimits,
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
        let heads = HeadLimits { bytes_max: config.header_bytes_max(), headers_max: config.headers_max };
        Self { app, surface, patience, heads, http }
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
        let (app, http, patience, heads, surface) =
            (self.app.clone(), self.http.clone(), self.patience, self.heads, self.surface);
        async move {
            let mut stream = match prepared(stream, patience) {
                Ok(stream) => stream,
                Err(error) => return debug!(%error, "a connection ended before it began"),
            };
            let (peer, _place) = match admitted(&app, surface, &mut stream, peer, patience).await {
                Ok(admitted) => admitted,
                Err(error) => return debug!(%error, peer = %peer.address, "a connection was refused"),
            };
            let phase = Arc::new(Phase::default());
            let service = TowerToHyperService::new(app::service(app.clone(), phase.clone(), peer, surface));
            let io = GuardedStream::new(stream, patience, phase.clone());
            let io = TokioIo::new(CheckedHeads::new(io, heads, phase.clone()));
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
fn prepared(stream: StdStream, patience: Patience) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    let socket = socket2::SockRef::from(&stream);
    socket.set_tcp_notsent_lowat(NOTSENT_BYTES_MAX)?;
    let probes = TcpKeepalive::new().with_time(KEEPALIVE_TIME).with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&probes)?;
    socket.set_tcp_user_timeout(Some(patience.write_stall + UNACKNOWLEDGED_MORE))?;
    TcpStream::from_std(stream)
}

/// Who connected, and its place; an error if there is none. Only the public listener has strangers.
async fn admitted(
    app: &App,
    surface: Surface,
    stream: &mut TcpStream,
    peer: Peer,
    patience: Patience,
) -> io::Result<(Peer, Option<Place>)> {
    if surface == Surface::Admin {
        return Ok((peer, None));
    }
    let connected = timeout(patience.header, app.admission.connected(stream, peer.address));
    let address = connected.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
    let Some(place) = app.admission.connect(address) else {
        // A reset: the cheapest end there is, also under a flood. Nothing is answered, encrypted or left behind in
        // TIME_WAIT, and a client that is above its limit by mistake sees at once that it was refused.
        socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO))?;
        return Err(io::Error::other("its client has as many connections as it may have"));
    };
    Ok((Peer { address }, Some(place)))
}

/// Completes when a connection is to end after what it is doing: when `ending` says so, but not before its first
/// request had a moment to arrive. A client that has just connected would otherwise be hung up on.
async fn until_ending(ending: &CancellationToken, phase: &Phase) {
    ending.cancelled().await;
    if phase.is_new() {
        sleep(FIRST_REQUEST_GRACE).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_kernel_is_told_to_notice_clients_that_are_gone() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
        let _client = StdStream::connect(listener.local_addr().expect("bound")).expect("it listens");
        let (stream, _) = listener.accept().expect("a client");
        stream.set_nonblocking(true).expect("a socket");
        let second = Duration::from_secs(1);
        let patience = Patience { idle: second, header: second, write_stall: 60 * second };
        let stream = prepared(stream, patience).expect("all options are known");
        let socket = socket2::SockRef::from(&stream);
        assert!(socket.keepalive().expect("an option"));
        assert_eq!(socket.tcp_keepalive_time().expect("an option"), KEEPALIVE_TIME);
        assert_eq!(socket.tcp_keepalive_interval().expect("an option"), KEEPALIVE_INTERVAL);
        assert_eq!(socket.tcp_user_timeout().expect("an option"), Some(70 * second));
        assert_eq!(socket.tcp_notsent_lowat().expect("an option"), NOTSENT_BYTES_MAX);
    }
}
