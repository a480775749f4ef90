//! TLS by rustls: a certificate chain and its key from two PEM files, taken anew when they change.
//!
//! The files are read every few seconds and compared by content. That sees every way of replacing them, also
//! Kubernetes' swap of a symlink two folders up, and a pair of which only one half has been written yet is just a
//! pair that does not match: it is reported once, and the one before stays. Connections that are open keep the
//! certificate that they began with.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, InconsistentKeys, ServerConfig};
use tokio_rustls::server::TlsStream;
use tracing::{error, info};

use super::guarded_stream::GuardedStream;

/// How often the files are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Larger than any chain; a wrong path should not fill the memory.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Encrypted bytes that one connection holds while its client does not take them: four records of 16 KiB.
///
/// Measured with `h2load` over loopback, hot, CPU per request (median of three rounds, in turn), for 16, 64, 128 and
/// 256 KiB: 64 KiB by HTTP/1 50, 35, 32.5, 30 µs; by HTTP/2 70, 52.5, 50, 52.5; 1 MiB by HTTP/1 567, 483, 433, 417. Most
/// clients of media are slow, and it is theirs that this memory is; so not the last tenth.
pub(crate) const BUFFER_BYTES_MAX: usize = 64 * 1024;
/// What ALPN calls HTTP/2 (RFC 9113 §3.1).
const ALPN_H2: &[u8] = b"h2";

/// Where a certificate and its key are.
#[derive(Debug, Clone)]
pub(crate) struct TlsFiles {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

/// Why there is no certificate to serve with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file could not be used.
    #[error("{setting} is {path:?}: {why}")]
    File {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// rustls did not want the pair.
    #[error("the certificate in {certificate:?} and the key in {key:?} cannot be used: {why}")]
    Pair {
        /// The chain's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// What rustls said.
        why: String,
    },
}

/// The certificate that is served now, and what it takes to serve it.
pub(super) struct Tls {
    files: TlsFiles,
    loaded: Pems,
    current: Arc<Current>,
    acceptor: TlsAcceptor,
}

/// Gives each handshake the certificate of its moment.
struct Current(RwLock<Arc<CertifiedKey>>);

/// The two files as they were read.
#[derive(Clone, PartialEq, Eq)]
struct Pems {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

// === impl Tls ===

impl Tls {
    pub(super) fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let loaded = files.read()?;
        let key = loaded.certified(&files, &provider)?;
        let current = Arc::new(Current(RwLock::new(Arc::new(key))));
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("ring can do TLS 1.2 and 1.3")
            .with_no_client_auth()
            .with_cert_resolver(current.clone());
        config.alpn_protocols = vec![ALPN_H2.to_vec(), b"http/1.1".to_vec()];
        // Resumption by tickets: the state is the client's, so it costs no memory and knows no limit of clients.
        // Their key lives in this process, and is changed every six hours.
        match ring::Ticketer::new() {
            Ok(ticketer) => config.ticketer = ticketer,
            Err(error) => error!(%error, "no TLS tickets; every handshake will be a full one"),
        }
        Ok(Self { files, loaded, current, acceptor: TlsAcceptor::from(Arc::new(config)) })
    }

    /// The handshake. Says whether HTTP/2 was chosen in it.
    pub(super) async fn accept(&self, stream: GuardedStream) -> io::Result<(TlsStream<GuardedStream>, bool)> {
        let limit = |session: &mut rustls::ServerConnection| session.set_buffer_limit(Some(BUFFER_BYTES_MAX));
        let stream = self.acceptor.accept_with(stream, limit).await?;
        let is_http2 = stream.get_ref().1.alpn_protocol() == Some(ALPN_H2);
        Ok((stream, is_http2))
    }

    /// Takes over what the files become, for ever.
    pub(super) async fn follow_files(&self) {
        let provider = ring::default_provider();
        let mut seen = self.loaded.clone();
        // One line for one mistake, however long it stands.
        let mut complained = String::new();
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            looks.tick().await;
            let files = self.files.clone();
            // A file system that hangs must not stop the accepting of connections.
            let Ok(read) = spawn_blocking(move || files.read()).await else { return };
            match read.and_then(|pems| pems.differing_from(&seen, &self.files, &provider)) {
                Ok(Some((pems, key))) => {
                    self.current.replace(key);
                    seen = pems;
                    complained.clear();
                    info!(certificate = ?self.files.certificate, "the TLS certificate has changed");
                }
                Ok(None) => complained.clear(),
                Err(error) if complained == error.to_string() => {}
                Err(error) => {
                    error!(%error, "the new TLS certificate is not used; the one before stays");
                    complained = error.to_string();
                }
            }
        }
    }
}

// === impl TlsFiles ===

impl TlsFiles {
    /// Both files, which are small. Blocks for as long as the file system does.
    fn read(&self) -> Result<Pems, TlsError> {
        Ok(Pems {
            certificate: read("--tls-certificate (SEEKWAY_TLS_CERTIFICATE)", &self.certificate)?,
            key: read("--tls-key (SEEKWAY_TLS_KEY)", &self.key)?,
        })
    }
}

fn read(setting: &'static str, path: &Path) -> Result<Vec<u8>, TlsError> {
    use io::Read;
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path)
        .and_then(|file| file.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes))
        .map_err(|error| error.to_string());
    let why = match read {
        Err(why) => why,
        Ok(_) if bytes.len() as u64 > FILE_BYTES_MAX => "it is larger than 1MiB".to_owned(),
        Ok(_) => return Ok(bytes),
    };
    Err(TlsError::File { setting, path: path.to_owned(), why })
}

// === impl Pems ===

impl Pems {
    /// Itself and the key that it makes, unless it is what was `seen`.
    fn differing_from(
        self,
        seen: &Self,
        files: &TlsFiles,
        provider: &CryptoProvider,
    ) -> Result<Option<(Self, CertifiedKey)>, TlsError> {
        if self == *seen {
            return Ok(None);
        }
        let key = self.certified(files, provider)?;
        Ok(Some((self, key)))
    }

    fn certified(&self, files: &TlsFiles, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
        let wrong = |setting, path: &Path, why| TlsError::File { setting, path: path.to_owned(), why };
        let chain = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<Vec<_>, _>>()
            .and_then(|chain| if chain.is_empty() { Err(pem::Error::NoItemsFound) } else { Ok(chain) })
            .map_err(|error| {
                let why = in_words(&error, "certificate (a PEM section CERTIFICATE)");
                wrong("--tls-certificate (SEEKWAY_TLS_CERTIFICATE)", &files.certificate, why)
            })?;
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| {
            let why = in_words(&error, "private key (a PEM section PRIVATE KEY)");
            wrong("--tls-key (SEEKWAY_TLS_KEY)", &files.key, why)
        })?;
        CertifiedKey::from_der(chain, key, provider).map_err(|error| TlsError::Pair {
            certificate: files.certificate.clone(),
            key: files.key.clone(),
            why: match error {
                rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                    "the key is not the certificate's".to_owned()
                }
                error => error.to_string(),
            },
        })
    }
}

fn in_words(error: &pem::Error, wanted: &str) -> String {
    match error {
        pem::Error::NoItemsFound => format!("there is no {wanted} in it"),
        error => format!("it is no PEM file: {error}"),
    }
}

// === impl Current ===

impl Current {
    fn replace(&self, key: CertifiedKey) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(key);
    }
}

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.read().unwrap_or_else(PoisonError::into_inner).clone())
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Current")
    }
}
