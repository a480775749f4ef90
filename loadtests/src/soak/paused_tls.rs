//! Paused clients by TLS: what is encrypted for them already waits, too, beside its segment.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::Arc,
};

use rcgen::generate_simple_self_signed;
use tempfile::TempDir;
use tokio_rustls::{
    TlsConnector,
    rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName},
};

use super::{
    Figures, Scenario, Stage, Value,
    crowd::{self, answered},
    films::Films,
    stage::{Scale, raise_descriptor_limit},
};
use crate::{Error, origin::Shape};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "paused-tls",
    promise: "memory stays within its bound while TLS clients ask for 8 MiB each and read none of it",
    run: |stage| Box::pin(run(stage)),
};

const RANGE_BYTES: u64 = 8 << 20;
const HOST: &str = "localhost";

async fn run(stage: &Stage) -> Result<Figures, Error> {
    let clients = stage.pick(100, 500);
    raise_descriptor_limit();
    let films = Films::start(Shape::default(), clients, RANGE_BYTES)?;
    let folder = tempfile::Builder::new().prefix("seekway-tls-").tempdir()?;
    let (mut settings, connector) = with_certificate(&folder)?;
    let address = free_address()?;
    settings.push(("SEEKWAY_TLS_LISTEN", address.to_string()));
    // Each listener keeps a place for whoever comes to it next.
    settings.extend(stage.memory_for(clients + 1));
    let gateway = stage.gateway(films.origin(), &settings).await?;
    let mut scale = Scale::new(&gateway, films.origin())?.and_at(address.port());

    stage.begin("arriving", clients);
    let visitors = crowd::arrive(
        || stage.done(),
        clients,
        async |nth| {
            let stream = crowd::connect_for_records(address, nth).await?;
            let name = ServerName::try_from(HOST).expect("a name");
            crowd::ask(connector.connect(name, stream).await?, &films.request(nth)).await
        },
    );
    let visitors = visitors.await?;
    scale.weigh()?;

    let mut figures = Figures::default();
    figures.note("clients", Value::Count(clients as u64));
    figures.note("answered with 206", Value::Count(answered(&visitors, 206)));
    figures.note("answered with 503, no memory for 5 s", Value::Count(answered(&visitors, 503)));
    scale.judge(&mut figures).await?;
    Ok(figures)
}

/// Settings of a gateway.
type Settings = Vec<(&'static str, String)>;

/// A new certificate for the gateway, and clients that trust it alone.
fn with_certificate(folder: &TempDir) -> Result<(Settings, TlsConnector), Error> {
    let made = generate_simple_self_signed([HOST.to_owned()]).map_err(std::io::Error::other)?;
    let (certificate, key) = (folder.path().join("tls.crt"), folder.path().join("tls.key"));
    fs::write(&certificate, made.cert.pem())?;
    fs::write(&key, made.signing_key.serialize_pem())?;
    let mut roots = RootCertStore::empty();
    roots.add(made.cert.der().clone()).map_err(std::io::Error::other)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(std::io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    let settings = vec![
        ("SEEKWAY_TLS_CERTIFICATE", certificate.display().to_string()),
        ("SEEKWAY_TLS_KEY", key.display().to_string()),
    ];
    Ok((settings, TlsConnector::from(Arc::new(config))))
}

/// An address that nobody listens on now.
fn free_address() -> Result<SocketAddr, Error> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}
