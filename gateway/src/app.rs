//! From a request to its answer: the route, the method, the handler, and what every answer has in common.

use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{self, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode, Version};
use http_body::{Body as _, Frame, SizeHint};
use hyper::body::Incoming;
use seekway_cache::Cache;
use seekway_storage::ObjectStore;
use tokio_util::sync::CancellationToken;
use tower::{Service, ServiceBuilder};
use tower_http::request_id::{MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer};
use tracing::Instrument;

use crate::access_log::Entry;
use crate::config::{AccessLog, Config, Listing};
use crate::delivery::body::{BodyError, Payload};
use crate::delivery::cors::AllowOrigin;
use crate::delivery::{Delivery, MediaRequest};
use crate::respond::{self, Problem};
use crate::routes::{self, Route};
use crate::server::{Peer, Phase, SocketMemory};
use crate::{console, memory_limit, metrics, objects};

static SERVER: HeaderValue = HeaderValue::from_static("seekway");
static REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Everything a request can reach.
pub(crate) struct App {
    pub(crate) cache: Cache,
    store: Arc<dyn ObjectStore>,
    delivery: Delivery,
    cors: AllowOrigin,
    listing: Listing,
    access_log: AccessLog,
    pub(crate) socket_memory: Arc<SocketMemory>,
    memory_limit: u64,
    is_ready: AtomicBool,
    request_ids: RequestIds,
    /// Cancelled when the drain begins.
    pub(crate) draining: CancellationToken,
    /// Cancelled when the drain is over, or is not waited for.
    pub(crate) drained: CancellationToken,
}

/// Which listener a request came in by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Surface {
    Public,
    Admin,
}

/// A response body that keeps the books of its request until it is sent or dropped.
pub(crate) struct Tracked {
    payload: Payload,
    entry: Entry,
    phase: Arc<Phase>,
}

/// Ids that are unique across restarts and replicas, and cheap.
#[derive(Clone)]
struct RequestIds {
    prefix: u32,
    next: Arc<AtomicU64>,
}

// === impl App ===

impl App {
    pub(crate) fn new(config: &Config, cache: Cache, store: Arc<dyn ObjectStore>) -> Self {
        Self {
            cache,
            store,
            delivery: Delivery { cache_control: config.cache_control() },
            cors: config.cors_allow_origin.clone(),
            listing: config.listing(),
            access_log: config.access_log,
            socket_memory: SocketMemory::new(config.socket_memory_bytes()),
            memory_limit: memory_limit::bytes(config),
            is_ready: AtomicBool::new(false),
            request_ids: RequestIds::new(),
            draining: CancellationToken::new(),
            drained: CancellationToken::new(),
        }
    }

    /// Says that clients can be served.
    pub(crate) fn ready(&self) {
        self.is_ready.store(true, Ordering::Release);
    }

    /// Begins the drain: readiness says 503 from now on.
    pub(crate) fn drain(&self) {
        self.is_ready.store(false, Ordering::Release);
        self.draining.cancel();
    }

    fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Acquire)
    }

    async fn public(&self, request: &Request<Incoming>) -> Result<Response<Payload>, Problem> {
        let route = routes::decode(request.uri().path());
        let (method, query) = (request.method(), request.uri().query());
        let allowed = routes::allowed_methods(&route);
        if method == Method::OPTIONS && request.uri().path() == "*" {
            // RFC 9110 §9.3.7: what the server can do at all.
            return Ok(self.options(request.headers(), routes::allowed_methods(&Route::Health)));
        }
        if !allowed.is_empty() && !allowed.contains(method) {
            return Err(Problem::MethodNotAllowed(allowed));
        }
        match route {
            Route::Media(_) if method == Method::OPTIONS => Ok(self.options(request.headers(), allowed)),
            Route::Media(key) => {
                let download = routes::wants_download(query);
                let request = MediaRequest { method, headers: request.headers(), key: &key, download };
                self.delivery.answer(&self.cache, request).await
            }
            Route::Health => Ok(json(StatusCode::OK, r#"{"status":"ok"}"#)),
            Route::Ready => Ok(self.readiness()),
            Route::Objects if self.may_list(request) => objects::list(self.store.as_ref(), query).await,
            Route::Objects => Err(Problem::ListingOff),
            Route::Console => Ok(console::page(request.headers())),
            Route::ConsoleAsset(name) => console::asset(&name, request.headers()).ok_or(Problem::NoRoute),
            Route::BadKey(why) => Err(Problem::BadKey(why)),
            Route::NotFound => Err(Problem::NoRoute),
        }
    }

    fn may_list(&self, request: &Request<Incoming>) -> bool {
        match self.listing {
            Listing::Everybody => true,
            Listing::ThisMachine => routes::names_this_machine(request.headers()),
            Listing::Nobody => false,
        }
    }

    /// What may be asked of a media path, and by whom.
    fn options(&self, request: &HeaderMap, allowed: &[Method]) -> Response<Payload> {
        let mut response = Response::new(Payload::Empty);
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().insert(header::ALLOW, respond::allow(allowed));
        self.cors.preflight(request, response.headers_mut());
        response
    }

    fn admin(&self, request: &Request<Incoming>) -> Result<Response<Payload>, Problem> {
        let allowed = routes::allowed_methods(&Route::Health);
        if !allowed.contains(request.method()) {
            return Err(Problem::MethodNotAllowed(allowed));
        }
        match request.uri().path() {
            "/metrics" => Ok(metrics::render(&self.cache.stats(), self.memory_limit)),
            "/api/health" => Ok(json(StatusCode::OK, r#"{"status":"ok"}"#)),
            "/api/ready" => Ok(self.readiness()),
            _ => Err(Problem::NoRoute),
        }
    }

    fn readiness(&self) -> Response<Payload> {
        if self.is_ready() {
            json(StatusCode::OK, r#"{"status":"ready"}"#)
        } else {
            json(StatusCode::SERVICE_UNAVAILABLE, r#"{"status":"draining"}"#)
        }
    }

    async fn answer(&self, surface: Surface, request: &Request<Incoming>) -> Response<Payload> {
        let handled = async {
            if !has_its_host(request) {
                return Err(Problem::BadHost);
            }
            match surface {
                Surface::Public => self.public(request).await,
                Surface::Admin => self.admin(request),
            }
        };
        // One request's panic is that request's 500, not the end of a connection without a word.
        let handled = AssertUnwindSafe(handled).catch_unwind().await;
        let mut response = match handled.unwrap_or(Err(Problem::Panicked)) {
            Ok(response) => response,
            Err(problem) => {
                respond::report(&problem, request.uri().path());
                let id = request.headers().get(&REQUEST_ID).and_then(|id| id.to_str().ok());
                respond::problem(&problem, id).map(Payload::Small)
            }
        };
        if request.method() == Method::HEAD {
            *response.body_mut() = Payload::Empty;
        }
        let headers = response.headers_mut();
        headers.insert(header::SERVER, SERVER.clone());
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if surface == Surface::Public && request.uri().path().starts_with("/media/") {
            // Uploads share the origin with the console: nothing in them may act in its name.
            headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
            if request.method() != Method::OPTIONS {
                self.cors.apply(request.headers(), headers);
            }
        }
        response
    }
}

/// The request path of one connection, outermost first.
pub(crate) fn service(
    app: Arc<App>,
    phase: Arc<Phase>,
    peer: Peer,
    surface: Surface,
) -> impl Service<
    Request<Incoming>,
    Response = Response<Tracked>,
    Error = std::convert::Infallible,
    Future: Send + 'static,
> + Clone
+ Send
+ 'static {
    ServiceBuilder::new()
        // Before anything can fail, so that every answer and every log line has an id; a proxy's id is kept.
        .layer(SetRequestIdLayer::new(REQUEST_ID.clone(), app.request_ids.clone()))
        .layer(PropagateRequestIdLayer::new(REQUEST_ID.clone()))
        .service_fn(move |request: Request<Incoming>| {
            phase.begun();
            let (app, phase) = (app.clone(), phase.clone());
            async move {
                let begun = Instant::now();
                let entry = Entry::new(&request, peer, app.access_log, begun);
                let span = entry.span();
                let response = app.answer(surface, &request).instrument(span).await;
                Ok(track(response, entry, phase))
            }
        })
}

/// RFC 9112 §3.2: an HTTP/1.1 request has one Host, or is refused.
fn has_its_host(request: &Request<Incoming>) -> bool {
    request.version() != Version::HTTP_11 || request.headers().get_all(header::HOST).iter().count() == 1
}

fn track(response: Response<Payload>, mut entry: Entry, phase: Arc<Phase>) -> Response<Tracked> {
    entry.answered(response.status(), response.body().size_hint().exact().unwrap_or(0));
    response.map(|payload| Tracked { payload, entry, phase })
}

fn json(status: StatusCode, text: &'static str) -> Response<Payload> {
    let mut response = Response::new(Payload::Small(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

// === impl Tracked ===

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let frame = std::task::ready!(Pin::new(&mut this.payload).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => this.entry.sent(frame.data_ref().map_or(0, Bytes::len)),
            Some(Err(error)) => this.entry.broke(error),
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.payload.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.payload.size_hint()
    }
}

impl Drop for Tracked {
    fn drop(&mut self) {
        self.phase.finished();
        self.entry.write(self.phase.is_stalled());
    }
}

// === impl RequestIds ===

impl RequestIds {
    fn new() -> Self {
        use std::hash::{BuildHasher, RandomState};
        let random = RandomState::new().hash_one(std::process::id()) >> 32;
        Self { prefix: u32::try_from(random).expect("32 bits are left"), next: Arc::default() }
    }
}

impl MakeRequestId for RequestIds {
    fn make_request_id<B>(&mut self, _: &Request<B>) -> Option<RequestId> {
        let id = format!("{:08x}-{:x}", self.prefix, self.next.fetch_add(1, Ordering::Relaxed));
        HeaderValue::from_str(&id).ok().map(RequestId::new)
    }
}
