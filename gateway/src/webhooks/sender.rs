//! One attempt: a request on a connection of its own, and what came of it.
//!
//! A receiver is somebody else's program, so nothing of it is believed: it has so much time in all, its answer counts by
//! its status, of the body only the beginning is read, redirects lead nowhere, and its certificate must be good.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use http::header::{self, HeaderValue};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use seekway_catalog::{NewAttempt, Pending};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::signature::sign;
use super::target::Target;
use crate::feed::EventDocument;

/// Of the time in all, so that an address that does not answer leaves some for the next.
const CONNECT_WITHIN: Duration = Duration::from_secs(5);
/// Addresses of a host that are tried.
const ADDRESSES_MAX: usize = 3;
/// For the beginning of a body, once its status is there.
const EXCERPT_WITHIN: Duration = Duration::from_secs(2);
const EXCERPT_BYTES: usize = 512;
/// hyper wants no less than 8 KiB for a head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
const HEADERS_MAX: usize = 100;
/// What a receiver asks for beyond this it does not get.
const RETRY_AFTER_MAX: Duration = Duration::from_hours(24);

/// Makes requests. Cheap to clone.
#[derive(Clone)]
pub(super) struct Sender {
    tls: TlsConnector,
    to_private: bool,
    within: Duration,
}

/// What came of an attempt.
pub(super) struct Sent {
    /// For the log.
    pub(super) attempt: NewAttempt,
    /// The receiver says that there is nothing to be told any more.
    pub(super) is_gone: bool,
    /// It wants to be left alone for so long.
    pub(super) retry_after: Option<Duration>,
}

/// Why there was no answer.
struct Failed(String);

// === impl Sender ===

impl Sender {
    /// Reads the system's certificates, which takes some milliseconds. An attempt takes no longer than `within`.
    pub(super) fn new(to_private: bool, within: Duration) -> Self {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .expect("ring can do TLS 1.2 and 1.3")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Self { tls: TlsConnector::from(Arc::new(tls)), to_private, within }
    }

    /// Tells a receiver of an event.
    pub(super) async fn send(&self, pending: &Pending) -> Sent {
        let begun = Instant::now();
        let answered = timeout(self.within, self.request(pending)).await;
        let too_slow = || Failed(format!("There was no answer within {:?}.", self.within));
        let answered = answered.unwrap_or_else(|_| Err(too_slow()));
        let duration_ms = u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX);
        let (status, answer, headers, failed) = match answered {
            Ok((status, headers, answer)) => (Some(status), answer, headers, problem_of(status)),
            Err(Failed(why)) => (None, String::new(), HeaderMap::new(), Some(why)),
        };
        let is_asked_to_wait = status.is_some_and(|status| !status.is_success());
        Sent {
            retry_after: is_asked_to_wait.then(|| retry_after(&headers)).flatten(),
            is_gone: status == Some(StatusCode::GONE),
            attempt: NewAttempt {
                duration_ms,
                status: status.map(|status| status.as_u16()),
                problem: failed,
                answer,
            },
        }
    }

    async fn request(&self, pending: &Pending) -> Result<(StatusCode, HeaderMap, String), Failed> {
        let target = Target::parse(&pending.url).map_err(|why| Failed(format!("The URL {why}.")))?;
        let request = request(&target, pending)?;
        let addresses = target.addresses(self.to_private).await.map_err(Failed)?;
        let socket = connect(&addresses).await?;
        if !target.is_secure {
            return exchange(socket, request).await;
        }
        let name =
            ServerName::try_from(target.host).map_err(Failed::because("The host is no name for TLS"))?;
        let socket = self.tls.connect(name, socket).await.map_err(Failed::because("TLS failed"))?;
        exchange(socket, request).await
    }
}

fn request(target: &Target, pending: &Pending) -> Result<Request<Full<Bytes>>, Failed> {
    let body = EventDocument::from(&pending.event).to_json();
    let id = pending.event.id.to_string();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let signature = sign(&pending.secrets, &id, now, &body);
    let request = Request::post(target.path.as_str())
        .header(header::HOST, target.authority.as_str())
        .header(header::USER_AGENT, concat!("Seekway/", env!("CARGO_PKG_VERSION")))
        .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .header(header::CONNECTION, HeaderValue::from_static("close"))
        .header("webhook-id", id)
        .header("webhook-timestamp", now)
        .header("webhook-signature", signature)
        .body(Full::from(body));
    request.map_err(Failed::because("The URL makes no request"))
}

/// The first of the addresses that answers. Nothing resolves them again.
async fn connect(addresses: &[SocketAddr]) -> Result<TcpStream, Failed> {
    let mut why = Failed("There is no address.".to_owned());
    for address in addresses.iter().take(ADDRESSES_MAX) {
        match timeout(CONNECT_WITHIN, TcpStream::connect(address)).await {
            Ok(Ok(socket)) => return Ok(socket),
            Ok(Err(error)) => why = Failed::because("The receiver cannot be reached")(error),
            Err(_) => why = Failed("The receiver does not take connections.".to_owned()),
        }
    }
    Err(why)
}

async fn exchange<S: AsyncRead + AsyncWrite + Unpin + Send>(
    socket: S,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, HeaderMap, String), Failed> {
    let handshake = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(HEADERS_MAX)
        .handshake(TokioIo::new(socket))
        .await;
    let (mut sender, connection) = handshake.map_err(Failed::because("The connection failed"))?;
    let answering = async move {
        let answer = sender.send_request(request).await;
        let answer = answer.map_err(Failed::because("The connection broke off"))?;
        let (head, body) = answer.into_parts();
        Ok((head.status, head.headers, excerpt(body).await))
    };
    tokio::pin!(connection, answering);
    tokio::select! {
        answered = &mut answering => answered,
        // What it had to say is read by then.
        _ = &mut connection => answering.await,
    }
}

/// How a body begins, in characters that can be shown.
async fn excerpt(mut body: Incoming) -> String {
    let mut bytes = Vec::new();
    let read = async {
        while let Some(Ok(frame)) = body.frame().await {
            if let Ok(data) = frame.into_data() {
                bytes.extend_from_slice(&data[..data.len().min(EXCERPT_BYTES - bytes.len())]);
            }
            if bytes.len() == EXCERPT_BYTES {
                break;
            }
        }
    };
    // What came until then will do.
    let _ = timeout(EXCERPT_WITHIN, read).await;
    let text = String::from_utf8_lossy(&bytes);
    text.chars().map(|character| if character.is_control() { ' ' } else { character }).collect()
}

/// Why an answer with this status does not count.
fn problem_of(status: StatusCode) -> Option<String> {
    if status.is_success() {
        return None;
    }
    Some(if status.is_redirection() {
        format!("It answered {}; redirects are not followed.", status.as_u16())
    } else {
        format!("It answered {}.", status.as_u16())
    })
}

/// RFC 9110 §10.2.3: seconds, or a date.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let wanted = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => httpdate::parse_http_date(text).ok()?.duration_since(SystemTime::now()).ok()?,
    };
    Some(wanted.min(RETRY_AFTER_MAX))
}

// === impl Failed ===

impl Failed {
    fn because<E: fmt::Display>(what: &str) -> impl FnOnce(E) -> Self {
        move |error| Self(format!("{what}: {error}."))
    }
}
