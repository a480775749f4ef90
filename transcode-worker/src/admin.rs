//! The worker's own listener: whether it lives, whether it claims jobs, and what it counts.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::metrics::Metrics;

/// What answers on the admin listener.
#[derive(Debug)]
pub struct Admin {
    listener: TcpListener,
    metrics: Arc<Metrics>,
    stop: CancellationToken,
}

/// Whoever has not sent a whole request by then sends none.
const HEAD_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections at a time; further ones wait.
const CONNECTIONS_MAX: usize = 32;

// === impl Admin ===

impl Admin {
    /// Binds it. Ready until `stop`.
    pub async fn bind(
        address: SocketAddr,
        metrics: Arc<Metrics>,
        stop: CancellationToken,
    ) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, metrics, stop })
    }

    /// Where it listens.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Answers until it is dropped.
    pub async fn serve(self) {
        let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
        loop {
            let place = places.clone().acquire_owned().await.expect("it is never closed");
            let Ok((stream, _)) = self.listener.accept().await else {
                // Out of descriptors, most likely: others will be closed.
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            };
            let (metrics, stop) = (self.metrics.clone(), self.stop.clone());
            tokio::spawn(async move {
                let service = service_fn(move |request: Request<Incoming>| {
                    let answer = answer(&request, &metrics, stop.is_cancelled());
                    async move { Ok::<_, Infallible>(answer) }
                });
                let mut server = http1::Builder::new();
                server.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT).keep_alive(false);
                // Who hangs up has what it wanted.
                let _ = server.serve_connection(TokioIo::new(stream), service).await;
                drop(place);
            });
        }
    }
}

fn answer(request: &Request<Incoming>, metrics: &Metrics, is_stopping: bool) -> Response<Full<Bytes>> {
    let said = |status, kind, text: String| {
        let mut response = Response::new(Full::new(Bytes::from(text)));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
        response
    };
    let json = "application/json";
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response =
            said(StatusCode::METHOD_NOT_ALLOWED, json, r#"{"allowed":["GET","HEAD"]}"#.to_owned());
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/metrics" => said(StatusCode::OK, "text/plain; version=0.0.4", metrics.text()),
        "/api/health" => said(StatusCode::OK, json, r#"{"status":"ok"}"#.to_owned()),
        "/api/ready" if is_stopping => {
            said(StatusCode::SERVICE_UNAVAILABLE, json, r#"{"status":"draining"}"#.to_owned())
        }
        "/api/ready" => said(StatusCode::OK, json, r#"{"status":"ready"}"#.to_owned()),
        _ => said(
            StatusCode::NOT_FOUND,
            json,
            r#"{"paths":["/metrics","/api/health","/api/ready"]}"#.to_owned(),
        ),
    }
}
