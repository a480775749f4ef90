//! TLS: both protocols by ALPN, certificates that change, clients that dawdle.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::generate_simple_self_signed;
use seekway_loadtests::h2load;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, HandshakeKind, RootCertStore};

use crate::metrics::page_with;
use crate::support::h2::Http2;
use crate::support::tools::{run, stdout_of};
use crate::support::wire::Wire;
use crate::support::{PATIENCE, Stand, assert_pattern, path_text, until};

const SIZE: u64 = 3_000_000;
const SEED: u64 = 81;
const TARGET: &str = "/media/film.mp4";

/// A folder with a certificate and its key.
pub(crate) struct Pair(TempDir);

impl Pair {
    pub(crate) fn new() -> Self {
        let pair = Self(TempDir::new().expect("a temporary folder"));
        pair.renew();
        pair
    }

    pub(crate) fn certificate(&self) -> PathBuf {
        self.0.path().join("tls.crt")
    }

    pub(crate) fn key(&self) -> PathBuf {
        self.0.path().join("tls.key")
    }

    /// Another certificate of the same names.
    fn renew(&self) {
        let made = generate_simple_self_signed(["127.0.0.1".to_owned(), "gateway.test".to_owned()]);
        let made = made.expect("a certificate");
        fs::write(self.key(), made.signing_key.serialize_pem()).expect("a file");
        fs::write(self.certificate(), made.cert.pem()).expect("a file");
    }
}

pub(crate) fn stand(pair: &Pair, env: &[(&str, &str)]) -> Stand {
    let (certificate, key) = (pair.certificate(), pair.key());
    let mut all = vec![
        ("SEEKWAY_TLS_LISTEN", "127.0.0.1:0"),
        ("SEEKWAY_TLS_CERTIFICATE", path_text(&certificate)),
        ("SEEKWAY_TLS_KEY", path_text(&key)),
    ];
    all.extend(env);
    let stand = Stand::local(&all);
    stand.put_pattern("film.mp4", SIZE, SEED);
    stand
}

/// A client that trusts this certificate alone, and speaks these protocols.
pub(crate) fn connector(certificate: &Path, protocols: &[&str]) -> TlsConnector {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate).expect("PEM")).expect("a certificate");
    let mut config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|name| name.as_bytes().to_vec()).collect();
    TlsConnector::from(Arc::new(config))
}

/// The one that the certificate is for.
pub(crate) fn name() -> ServerName<'static> {
    ServerName::try_from("gateway.test").expect("a name")
}

async fn connect(stand: &Stand, connector: &TlsConnector) -> std::io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(stand.tls_address()).await.expect("the gateway listens");
    connector.connect(name(), stream).await
}

#[tokio::test]
async fn curl_speaks_both_and_the_plain_listener_stays() {
    let pair = Pair::new();
    let stand = stand(&pair, &[]);
    let url = format!("https://{}{TARGET}", stand.tls_address());
    let certificate = pair.certificate();
    let output = pair.0.path().join("output");
    for (flag, told) in [("--http2", "2 200"), ("--http1.1", "1.1 200"), ("--http2 --tls-max 1.2", "2 200")] {
        let mut arguments = vec!["-s", "--cacert", path_text(&certificate), "-o", path_text(&output)];
        arguments.extend(["-w", "%{http_version} %{response_code}"]);
        arguments.extend(flag.split(' '));
        arguments.push(&url);
        assert_eq!(stdout_of("curl", &arguments), told, "{flag}");
        let body = fs::read(&output).expect("it was written");
        assert_pattern(SEED, 0, &body, flag);
        assert_eq!(body.len() as u64, SIZE, "{flag}");
    }
    assert_eq!(stand.get(TARGET, &[]).await.body.len() as u64, SIZE);
}

#[tokio::test]
async fn a_changed_certificate_is_taken_over_and_a_bad_one_is_not() {
    let pair = Pair::new();
    let stand = stand(&pair, &[]);
    let mut before = {
        let connector = connector(&pair.certificate(), &["h2"]);
        Http2::on(connect(&stand, &connector).await.expect("a handshake"), "https").await
    };
    // Half of a renewal: the pair does not match.
    let other = Pair::new();
    fs::copy(other.key(), pair.key()).expect("room");
    let still = connector(&pair.certificate(), &["h2"]);
    assert!(connect(&stand, &still).await.is_ok(), "the one before is kept");
    fs::copy(other.certificate(), pair.certificate()).expect("room");
    let renewed = connector(&pair.certificate(), &["h2"]);
    until("the new certificate is served", async || connect(&stand, &renewed).await.ok()).await;
    assert!(connect(&stand, &still).await.is_err());
    assert_eq!(before.ask("GET", TARGET, &[]).await.body.len() as u64, SIZE, "what is open lives on");
}

/// Kubernetes mounts a secret as links through a folder that is replaced in one step.
#[tokio::test]
async fn a_certificate_behind_links_is_taken_over_when_they_move() {
    use std::os::unix::fs::symlink;
    let (old, new, mount) = (Pair::new(), Pair::new(), TempDir::new().expect("a temporary folder"));
    let mount = Pair(mount);
    let at = |name| mount.0.path().join(name);
    symlink(old.0.path(), at("..data")).expect("a link");
    for name in ["tls.crt", "tls.key"] {
        symlink(Path::new("..data").join(name), at(name)).expect("a link");
    }
    let stand = stand(&mount, &[]);
    let (before, after) = (connector(&old.certificate(), &["h2"]), connector(&new.certificate(), &["h2"]));
    assert!(connect(&stand, &before).await.is_ok());
    symlink(new.0.path(), at("..data_tmp")).expect("a link");
    fs::rename(at("..data_tmp"), at("..data")).expect("in one step");
    until("the new certificate is served", async || connect(&stand, &after).await.ok()).await;
    assert!(connect(&stand, &before).await.is_err());
}

/// One place, and both listeners have a use for it.
#[tokio::test]
async fn the_only_place_is_for_either_listener() {
    let pair = Pair::new();
    let stand = stand(&pair, &[("SEEKWAY_MAX_CONNECTIONS", "1")]);
    let connector = connector(&pair.certificate(), &["h2"]);
    for _ in 0..2 {
        let by_tls = timeout(PATIENCE, connect(&stand, &connector)).await.expect("it is accepted");
        let by_tls = by_tls.expect("a handshake");
        assert_eq!(Http2::on(by_tls, "https").await.ask("GET", TARGET, &[]).await.body.len() as u64, SIZE);
        let mut plain = stand.connect().await;
        assert_eq!(plain.ask("GET", TARGET, &[]).await.body.len() as u64, SIZE);
    }
}

#[tokio::test]
async fn sessions_are_resumed() {
    let pair = Pair::new();
    let stand = stand(&pair, &[]);
    let connector = connector(&pair.certificate(), &["h2"]);
    let first = connect(&stand, &connector).await.expect("a handshake");
    assert_eq!(first.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
    // The ticket comes with the first bytes.
    Http2::on(first, "https").await.ask("GET", "/api/health", &[]).await;
    let second = connect(&stand, &connector).await.expect("a handshake");
    assert_eq!(second.get_ref().1.handshake_kind(), Some(HandshakeKind::Resumed));
}

/// The header of a PROXY protocol comes before the handshake, and requests are looked at after it.
#[tokio::test]
async fn what_lies_below_and_above_tls_is_as_without_it() {
    let pair = Pair::new();
    let proxied = [("SEEKWAY_PROXY_PROTOCOL", "on"), ("SEEKWAY_TRUSTED_PROXIES", "127.0.0.1")];
    let stand = stand(&pair, &proxied);
    for (protocol, request) in [("h2", ""), ("http/1.1", "GET / HTTP/1.1\nHost: a\n\n")] {
        let mut stream = TcpStream::connect(stand.tls_address()).await.expect("the gateway listens");
        stream.write_all(b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0").await.expect("it is taken");
        let connector = connector(&pair.certificate(), &[protocol]);
        let mut stream = connector.connect(name(), stream).await.expect("a handshake");
        if request.is_empty() {
            let answer = Http2::on(stream, "https").await.ask("GET", TARGET, &[]).await;
            assert_eq!(answer.body.len() as u64, SIZE);
            continue;
        }
        stream.write_all(request.as_bytes()).await.expect("it is taken");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).await.expect("an orderly end");
        assert!(answer.starts_with(b"HTTP/1.1 400 "), "{}", String::from_utf8_lossy(&answer));
    }
    let connector = connector(&pair.certificate(), &["h2"]);
    assert!(connect(&stand, &connector).await.is_err(), "without the header");
}

#[tokio::test]
async fn a_handshake_that_does_not_end_is_ended() {
    let pair = Pair::new();
    let stand = stand(&pair, &[("SEEKWAY_HEADER_TIMEOUT", "200ms")]);
    for begun in [&b""[..], b"\x16\x03\x01\x02\x00\x01"] {
        let mut wire = Wire::connect(stand.tls_address()).await;
        wire.send(begun).await;
        assert!(wire.until_closed().await.is_empty());
    }
    // Who speaks plain HTTP there is not served, either.
    let mut plain = Wire::connect(stand.tls_address()).await;
    plain.send("GET / HTTP/1.1\r\nHost: a.test\r\n\r\n").await;
    assert!(!plain.until_closed().await.starts_with(b"HTTP/"));
    for (reason, times) in [("handshake_timeout", 2.0), ("handshake_failed", 1.0)] {
        let series = format!("seekway_connections_ended_total{{listener=\"public\",reason=\"{reason}\"}}");
        page_with(&stand, &series, times).await;
    }
    let connector = connector(&pair.certificate(), &["h2"]);
    let _stays = connect(&stand, &connector).await.expect("a handshake");
    let handshakes = |outcome| format!("seekway_tls_handshakes_total{{outcome=\"{outcome}\"}}");
    let page = page_with(&stand, &handshakes("completed"), 1.0).await;
    assert!((page.get(&handshakes("failed")) - 3.0).abs() < f64::EPSILON, "{page:?}");
}

#[tokio::test]
async fn h2load_has_no_failures() {
    let pair = Pair::new();
    let stand = stand(&pair, &[]);
    let url = format!("https://{}{TARGET}", stand.tls_address());
    let range = "range: bytes=1000-66535";
    let figures = h2load::run(&["-n", "2000", "-c", "10", "-m", "100", "-H", range, &url]).await;
    assert_eq!(figures.expect("all went well").requests, 2000);
    stand.until_quiet().await;
}

#[test]
fn a_start_without_a_usable_pair_says_why() {
    let pair = Pair::new();
    let binary = env!("CARGO_BIN_EXE_gateway");
    let (certificate, key) = (pair.certificate(), pair.key());
    let other = Pair::new();
    let (other_key, empty) = (other.key(), pair.0.path().join("empty"));
    fs::write(&empty, "").expect("a file");
    let start = |certificate: &Path, key: &Path| {
        let (certificate, key) = (path_text(certificate), path_text(key));
        let listen = ["--listen=127.0.0.1:0", "--admin-listen=127.0.0.1:0", "--tls-listen=127.0.0.1:0"];
        let files = ["--tls-certificate", certificate, "--tls-key", key];
        let ended = run(binary, &[&listen[..], &files].concat());
        assert_eq!(ended.status.code(), Some(64));
        String::from_utf8(ended.stderr).expect("text")
    };
    let missing = pair.0.path().join("missing");
    for (certificate, key, why) in [
        (&missing, &key, "--tls-certificate (SEEKWAY_TLS_CERTIFICATE) is \"MISSING\": No such file"),
        (&certificate, &missing, "--tls-key (SEEKWAY_TLS_KEY) is \"MISSING\": No such file"),
        (&empty, &key, "there is no certificate (a PEM section CERTIFICATE) in it"),
        (&key, &key, "there is no certificate (a PEM section CERTIFICATE) in it"),
        (&certificate, &certificate, "there is no private key (a PEM section PRIVATE KEY) in it"),
        (&certificate, &other_key, "the key is not the certificate's"),
    ] {
        let told = start(certificate, key);
        let why = why.replace("MISSING", path_text(&missing));
        assert!(told.starts_with("gateway: ") && told.contains(&why) && told.lines().count() == 1, "{told}");
    }
}
