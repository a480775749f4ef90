//! Where a `RabbitMQ` is, and the way there.

use std::borrow::Cow;
use std::sync::Arc;

use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::tls::TlsAdaptor;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Seconds; after twice this a connection that nothing comes by is lost.
const HEARTBEAT: u16 = 10;

/// Where a `RabbitMQ` is.
#[derive(Clone)]
pub(crate) struct AmqpUrl {
    arguments: OpenConnectionArguments,
    /// The name that its certificate has, where it shows one.
    domain: Option<String>,
}

// === impl AmqpUrl ===

impl AmqpUrl {
    /// `amqp[s]://[USER:PASSWORD@]HOST[:PORT][/VHOST]`, parts percent-encoded.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let decoded =
            |part: &str| percent_encoding::percent_decode_str(part).decode_utf8().ok().map(Cow::into_owned);
        let (scheme, rest) = text.split_once("://")?;
        let is_tls = scheme == "amqps";
        let (user, place) = rest.rsplit_once('@').unwrap_or(("guest:guest", rest));
        let (user, password) = user.split_once(':')?;
        let (address, vhost) = place.split_once('/').unwrap_or((place, ""));
        let (host, port) = match address.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
            _ => (address, if is_tls { 5671 } else { 5672 }),
        };
        let refused = |part: &str| part.contains(['/', '?', '#', ',']);
        if host.is_empty() || refused(user) || refused(host) || refused(vhost) {
            return None;
        }
        let mut arguments = OpenConnectionArguments::new(host, port, &decoded(user)?, &decoded(password)?);
        let vhost = decoded(vhost)?;
        arguments.virtual_host(if vhost.is_empty() { "/" } else { &vhost }).heartbeat(HEARTBEAT);
        Some(Self { arguments, domain: is_tls.then(|| host.trim_matches(['[', ']']).to_owned()) })
    }

    /// The machine's own roots, so that a private authority is known where the machine knows it.
    pub(super) async fn connect(&self) -> Result<Connection, amqprs::error::Error> {
        let mut arguments = self.arguments.clone();
        if let Some(domain) = &self.domain {
            let mut roots = RootCertStore::empty();
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
            let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
            arguments.tls_adaptor(TlsAdaptor::new(TlsConnector::from(Arc::new(config)), domain.clone()));
        }
        Connection::open(&arguments).await
    }
}
