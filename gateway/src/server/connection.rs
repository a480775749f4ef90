//! Serving the connections of one runtime.

use std::io;
use std::net::{SocketAddr, TcpStream as StdStream};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use seekway_cache::Share;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::accept::Handover;
use super::bounded_stream::BoundedStream;
use super::checked_heads::CheckedHeads;
use super::gathered::Gathered;
use super::guarded_stream::{Ended, GuardedStream, Patience};
use super::phase::Phase;
use super::preface;
use super::protocols::Protocols;
use super::receive_window;
use super::stream_places::StreamPlaces;
use super::tls::Tls;
use super::transport::Transport;
use crate::admission::Counted;
use crate::app::{self, App, Surface};
use crate::config::Config;
use crate::framing::HeadLimits;
use crate::metrics::{Connected, Ending, Metrics, Speaking};

/// What a connection gets for its first request when it was accepted just before the drain.
const FIRST_REQUEST_GRACE: Duration = Duration::from_secs(1);

/// A client that vanished without a word (a cable, a NAT's memory) is noticed in one of two ways. While we send, by
/// what it does not acknowledge (`TCP_USER_TIMEOUT`): until then the kernel keeps what its lease allows for it, also after we have closed. This is longer than the write stall, because the kernel counts a paused client's
/// shut window as well, and which client has stalled is for `GuardedStream` to say.
const UNACKNOWLEDGED_MORE: Duration = Duration::from_secs(10);
/// And while we send nothing, because the store is slow or its bytes are paced, by probes that it does not answer. The
/// kernel gives it up when `TCP_USER_TIMEOUT` is over, too; an idle connection ends by itself before that.
const KEEPALIVE_TIME: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

pub(super) type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Who is at the other end of a connection.
#[derive(Debug, Clone)]
pub(crate) struct Peer {
    /// Where it connected from; to a trusted proxy, if that says so.
    pub(crate) address: SocketAddr,
    /// What all its readers together may have under way.
    pub(crate) share: Arc<Share>,
    /// The connection is encrypted.
    pub(crate) is_tls: bool,
}

/// What a serving runtime needs.
pub(super) struct Worker {
    app: Arc<App>,
    surface: Surface,
    patience: Patience,
    heads: HeadLimits,
    protocols: Protocols,
    streams: StreamPlaces,
    /// Connections, and the requests of HTTP/2 ones.
    tasks: TaskTracker,
}

// === impl Worker ===

impl Worker {
    pub(super) fn new(app: Arc<App>, surface: Surface, config: &Config, streams: StreamPlaces) -> Self {
        let patience = Patience {
            idle: config.listeners.idle_timeout.into(),
            header: config.listeners.header_timeout.into(),
            write_stall: config.listeners.write_stall_timeout.into(),
        };
        let heads = HeadLimits {
            bytes_max: config.listeners.header_bytes_max(),
            headers_max: config.listeners.headers_max,
        };
        let tasks = TaskTracker::new();
        let protocols = Protocols::new(config, tasks.clone());
        Self { app, surface, patience, heads, protocols, streams, tasks }
    }

    /// Serves connections until there are no more to come and all have ended, or the drain is over.
    pub(super) async fn run(self, mut receiver: mpsc::Receiver<Handover>) {
        let drained = self.app.drained.clone();
        while let Some(handover) =
            tokio::select! { handover = receiver.recv() => handover, () = drained.cancelled() => None }
        {
            let connected = Connected::begin(self.app.metrics.clone(), self.surface.into());
            let phase = Arc::new(Phase::default());
            let serving = self.serve(handover, phase.clone());
            self.tasks.spawn(async move {
                let served = serving.await;
                connected.ended(Ending::of(phase.ended(), served.is_ok()));
                if let Err(error) = served {
                    debug!(%error, "connection ended");
                }
            });
        }
        // Also with no connection left: fills and store connections that other threads' responses use live here.
        self.tasks.close();
        drained.cancelled().await;
    }

    fn serve(
        &self,
        handover: Handover,
        phase: Arc<Phase>,
    ) -> impl Future<Output = Result<(), BoxError>> + use<> {
        let (app, mut protocols, streams) = (self.app.clone(), self.protocols.clone(), self.streams.clone());
        let (patience, heads, surface) = (self.patience, self.heads, self.surface);
        async move {
            let Handover { stream, mut peer, tls, place: _place } = handover;
            // Probes come on new connections while the public ones drain, and must find out that they do.
            let ending = if surface == Surface::Admin { app.drained.clone() } else { app.draining.clone() };
            let ending = until_ending(&ending, &phase);
            let mut ending = std::pin::pin!(ending);
            let mut stream = prepared(stream, patience)?;
            let opening = async {
                let counted = admitted(&app, surface, &mut stream, &mut peer, patience, &phase).await?;
                let stream = BoundedStream::new(stream, &app.socket_memory);
                let stream = GuardedStream::new(stream, patience, phase.clone());
                let (transport, is_http2) = open(stream, tls.as_deref(), &phase, &app.metrics).await?;
                Ok::<_, BoxError>((transport, is_http2, counted))
            };
            let (transport, is_http2, _counted) = tokio::select! {
                opened = opening => opened?,
                () = ending.as_mut() => return Ok(()),
            };
            let _speaking = Speaking::begin(app.metrics.clone(), surface.into(), is_http2);
            let service = app::service::<Incoming>(app.clone(), phase.clone(), peer, surface);
            let service = TowerToHyperService::new(service);
            if is_http2 {
                phase.speaks_http2();
                let places = streams.take();
                protocols
                    .http2
                    .max_concurrent_streams(places.count)
                    .initial_stream_window_size(places.window_bytes)
                    .initial_connection_window_size(places.window_bytes);
                let gathered = Gathered::new(transport, phase.clone(), app.write_buffers.clone());
                let connection = protocols.http2.serve_connection(TokioIo::new(gathered.clone()), service);
                let flushing = gathered.flushing(connection);
                drive(flushing, |flushing| flushing.connection().graceful_shutdown(), ending).await
            } else {
                let io = TokioIo::new(CheckedHeads::new(transport, heads, phase.clone()));
                let connection = protocols.http1.serve_connection(io, service);
                drive(connection, http1::Connection::graceful_shutdown, ending).await
            }
        }
    }
}

/// From accepted to the first byte of HTTP: the TLS handshake, and which HTTP it is.
async fn open(
    mut stream: GuardedStream,
    tls: Option<&Tls>,
    phase: &Phase,
    metrics: &Metrics,
) -> io::Result<(Transport, bool)> {
    let Some(tls) = tls else {
        let is_http2 = preface::is_http2(&mut stream).await?;
        return Ok((Transport::Plain(stream), is_http2));
    };
    phase.handshake_begins();
    let accepted = tls.accept(stream).await;
    metrics.handshake(accepted.is_ok());
    let (stream, is_http2) = accepted.inspect_err(|_| drop(phase.end(Ended::HandshakeFailed)))?;
    phase.handshake_ended();
    Ok((Transport::Tls(Box::new(stream)), is_http2))
}

/// Serves a connection to its end, or to the end of what it does once it is to end.
async fn drive<C, E>(
    connection: C,
    end_gracefully: fn(Pin<&mut C>),
    ending: Pin<&mut impl Future<Output = ()>>,
) -> Result<(), BoxError>
where
    C: Future<Output = Result<(), E>>,
    E: Into<BoxError>,
{
    let mut connection = std::pin::pin!(connection);
    let served = tokio::select! {
        // hyper first: it must see a request that has come already, or it would take the connection for idle.
        biased;
        served = connection.as_mut() => served,
        () = ending => {
            end_gracefully(connection.as_mut());
            connection.await
        }
    };
    served.map_err(Into::into)
}

/// A connection as it should be for media: answers leave at once, and little of them waits in the kernel.
fn prepared(stream: StdStream, patience: Patience) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(&stream);
    receive_window::prepare_connection(&socket)?;
    let probes = TcpKeepalive::new().with_time(KEEPALIVE_TIME).with_interval(KEEPALIVE_INTERVAL);
    socket.set_tcp_keepalive(&probes)?;
    socket.set_tcp_user_timeout(Some(patience.write_stall + UNACKNOWLEDGED_MORE))?;
    TcpStream::from_std(stream)
}

/// Finds out who connected, and takes one of its places, for as long as the connection lasts. Only the public
/// listeners have strangers.
async fn admitted(
    app: &App,
    surface: Surface,
    stream: &mut TcpStream,
    peer: &mut Peer,
    patience: Patience,
    phase: &Phase,
) -> io::Result<Option<Counted>> {
    if surface == Surface::Admin {
        return Ok(None);
    }
    let connected = timeout(patience.header, app.admission.connected(stream, peer.address));
    let connected = connected.await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
    peer.address = connected.inspect_err(|_| drop(phase.end(Ended::ProxyHeader)))?;
    let counted = app.admission.connect(peer.address);
    if counted.is_none() {
        // A reset: the cheapest end there is, also under a flood. Nothing is answered, encrypted or left behind in
        // TIME_WAIT, and a client that is above its limit by mistake sees at once that it was refused.
        SockRef::from(&*stream).set_linger(Some(Duration::ZERO))?;
        return Err(phase.end(Ended::Refused));
    }
    Ok(counted)
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
        let socket = SockRef::from(&stream);
        assert!(socket.keepalive().expect("an option"));
        assert_eq!(socket.tcp_keepalive_time().expect("an option"), KEEPALIVE_TIME);
        assert_eq!(socket.tcp_keepalive_interval().expect("an option"), KEEPALIVE_INTERVAL);
        assert_eq!(socket.tcp_user_timeout().expect("an option"), Some(70 * second));
    }
}
