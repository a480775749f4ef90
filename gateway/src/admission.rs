//! Who may come in: the limits of each client, and of all together.
//!
//! Work is refused before any is done for it, and only new work: a response under way is never slowed or cut
//! for a newcomer. Probes, and the admin listener, are always let in. (New requests that would have to wait too
//! long for memory are refused where memory is asked for, `cache/src/budget.rs`: a hit needs none.)

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use http::HeaderMap;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::clients::limits::{Clients, Connection};
use crate::clients::pacing::Pace;
use crate::clients::{TrustedProxies, forwarded, proxy_protocol};
use crate::config::ClientSettings;
use crate::respond::Problem;
use crate::server::Peer;

/// The limits that are set, and what is left of them.
pub(crate) struct Admission {
    trusted: TrustedProxies,
    has_proxy_protocol: bool,
    clients: Option<Arc<Clients>>,
    requests: Option<Arc<Semaphore>>,
}

/// A request's place, until dropped.
#[derive(Default)]
pub(crate) struct Admitted {
    /// How its body is to be sent, if its client has a rate.
    pub(crate) pace: Option<Pace>,
    place: Place,
}

/// One of the requests that may be under way at once.
#[derive(Default)]
struct Place(#[expect(dead_code, reason = "it counts by being there")] Option<OwnedSemaphorePermit>);

/// A connection's place, until dropped. A trusted proxy's connections are not counted: they are many clients'.
pub(crate) struct Counted(#[expect(dead_code, reason = "it counts by being there")] Option<Connection>);

// === impl Admission ===

impl Admission {
    pub(crate) fn new(settings: &ClientSettings) -> Self {
        let requests = (settings.max_requests > 0).then(|| Arc::new(Semaphore::new(settings.max_requests)));
        Self {
            trusted: settings.trusted_proxies.clone(),
            has_proxy_protocol: settings.proxy_protocol,
            clients: Clients::new(settings.limits()),
            requests,
        }
    }

    /// Who connected: whom a trusted proxy names in a PROXY header, if those are sent, or the peer. The header's
    /// bytes, and only they, are read.
    pub(crate) async fn connected(
        &self,
        stream: &mut TcpStream,
        peer: SocketAddr,
    ) -> std::io::Result<SocketAddr> {
        if !self.has_proxy_protocol || !self.trusted.contains(peer.ip()) {
            return Ok(peer);
        }
        Ok(proxy_protocol::read(stream).await?.unwrap_or(peer))
    }

    /// A place for a connection from `address`, or none if its client has all that it may have.
    pub(crate) fn connect(&self, address: SocketAddr) -> Option<Counted> {
        match &self.clients {
            Some(clients) if !self.trusted.contains(address.ip()) => {
                clients.connect(address.ip()).map(|connection| Counted(Some(connection)))
            }
            _ => Some(Counted(None)),
        }
    }

    /// Who asks.
    pub(crate) fn client_address(&self, connected: SocketAddr, headers: &HeaderMap) -> IpAddr {
        forwarded::client_address(connected.ip(), headers, &self.trusted)
    }

    /// Whether the client came by TLS: to us, or to a trusted proxy that says so.
    pub(crate) fn is_secure(&self, peer: &Peer, headers: &HeaderMap) -> bool {
        peer.is_tls || self.trusted.contains(peer.address.ip()) && forwarded::says_https(headers)
    }

    /// A place for a request of `client`, or why there is none.
    pub(crate) fn admit(&self, client: IpAddr) -> Result<Admitted, Problem> {
        let mut admitted = Admitted::default();
        if let Some(clients) = &self.clients {
            let client = clients.client(client);
            clients
                .admit(&client)
                .map_err(|retry_after_secs| Problem::TooManyRequests { retry_after_secs })?;
            admitted.pace = clients.paces().then(|| Pace::new(clients.clone(), client));
        }
        if let Some(requests) = &self.requests {
            let place = requests.clone().try_acquire_owned().map_err(|_| Problem::Overloaded)?;
            admitted.place = Place(Some(place));
        }
        Ok(admitted)
    }
}
