//! A program that webhooks tell things: a real server that answers as a test wants.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use ring::hmac;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::task::{AbortHandle, JoinSet};

/// How it answers.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reply {
    Status(u16),
    /// With a header.
    With(u16, &'static str, &'static str),
    /// Never.
    Hang,
}

/// What it was told.
#[derive(Debug, Clone)]
pub(super) struct Told {
    pub(super) path: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// The server. It ends when it is dropped.
pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    told: Arc<Mutex<Vec<Told>>>,
    serving: AbortHandle,
}

// === impl Receiver ===

impl Receiver {
    /// `reply` is given the path, and how many requests there were of the same event before.
    pub(super) async fn start(reply: impl Fn(&str, usize) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it listens");
        let told = Arc::new(Mutex::new(Vec::new()));
        let (log, reply) = (told.clone(), Arc::new(reply));
        let counts = Arc::new(Mutex::new(HashMap::<String, usize>::new()));
        let serving = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((socket, _)) = listener.accept().await {
                let (log, counts, reply) = (log.clone(), counts.clone(), reply.clone());
                let service = service_fn(move |request: Request<Incoming>| {
                    let (log, counts, reply) = (log.clone(), counts.clone(), reply.clone());
                    async move {
                        let (head, body) = request.into_parts();
                        let path = head.uri.path().to_owned();
                        let body = body.collect().await.map(http_body_util::Collected::to_bytes);
                        let nth = {
                            let mut counts = counts.lock().expect("no panic");
                            let event = head.headers.get("webhook-id").map(|id| id.to_str().expect("text"));
                            let count = counts.entry(format!("{path} {event:?}")).or_default();
                            *count += 1;
                            *count - 1
                        };
                        let body = body.unwrap_or_default();
                        let told = Told { path: path.clone(), headers: head.headers, body };
                        log.lock().expect("no panic").push(told);
                        let mut response = Response::new(Full::<Bytes>::from("said\n\u{1}this"));
                        match reply(&path, nth) {
                            Reply::Status(status) => {
                                *response.status_mut() = status.try_into().expect("a status");
                            }
                            Reply::With(status, name, value) => {
                                *response.status_mut() = status.try_into().expect("a status");
                                response.headers_mut().insert(name, value.parse().expect("a value"));
                            }
                            Reply::Hang => std::future::pending::<()>().await,
                        }
                        Ok::<_, Infallible>(response)
                    }
                });
                connections.spawn(http1::Builder::new().serve_connection(TokioIo::new(socket), service));
            }
        });
        Self { address, told, serving: serving.abort_handle() }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All it was told at a path.
    pub(super) fn told(&self, path: &str) -> Vec<Told> {
        let told = self.told.lock().expect("no panic");
        told.iter().filter(|told| told.path == path).cloned().collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

// === impl Told ===

impl Told {
    #[track_caller]
    pub(super) fn header(&self, name: &str) -> &str {
        self.headers.get(name).unwrap_or_else(|| panic!("no {name}: {self:?}")).to_str().expect("text")
    }

    pub(super) fn id(&self) -> &str {
        self.header("webhook-id")
    }

    pub(super) fn event(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }

    /// Whether one of its signatures was made with this secret, over just these bytes, name and time.
    pub(super) fn is_signed_with(&self, secret: &str) -> bool {
        let key = secret.strip_prefix("whsec_").and_then(|secret| STANDARD.decode(secret).ok());
        let key = hmac::Key::new(hmac::HMAC_SHA256, &key.expect("a secret"));
        let mut signed = format!("{}.{}.", self.id(), self.header("webhook-timestamp")).into_bytes();
        signed.extend_from_slice(&self.body);
        let signatures = self.header("webhook-signature").split(' ');
        let mut signatures = signatures.filter_map(|text| STANDARD.decode(text.strip_prefix("v1,")?).ok());
        signatures.any(|signature| hmac::verify(&key, &signed, &signature).is_ok())
    }
}
