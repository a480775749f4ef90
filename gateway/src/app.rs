//! From a request to its answer: the route, the method, the handler, and what every answer has in common.

mod callers;

use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;
use futures_util::{FutureExt, TryStreamExt};
use http::header::{self, HeaderValue};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::BodyExt;
use seekway_cache::Cache;
use seekway_catalog::Catalog;
use seekway_storage::ObjectStore;
use tokio_util::sync::CancellationToken;
use tower::{Service, service_fn};
use tracing::Instrument;

use crate::access::Access;
use crate::access_log::Entry;
use crate::accounts::Accounts;
use crate::admission::{Admission, Admitted};
use crate::config::{AccessLog, Config, Listing, Transcoding};
use crate::delivery::body::Payload;
use crate::delivery::cors::{self, AllowOrigin};
use crate::delivery::{Delivery, MediaRequest};
use crate::framing::BadHead;
use crate::jobs::work_answer;
use crate::metrics::{self, Meter, Metrics};
use crate::objects::Shown;
use crate::request_ids::{REQUEST_ID, RequestIds};
use crate::respond::{self, Problem};
use crate::routes::{self, Route};
use crate::server::{Peer, Phase, REFUSED_METHOD, SocketMemory, WriteBuffers};
use crate::tracked::Tracked;
use crate::upload::{Body, BodyError, Uploads, tus};
use crate::{console, host, memory_limit, objects, openapi, videos};
use callers::is_open_to;

static SERVER: HeaderValue = HeaderValue::from_static("seekway");

/// Everything a request can reach.
pub(crate) struct App {
    pub(crate) cache: Cache,
    pub(crate) metrics: Arc<Metrics>,
    store: Arc<dyn ObjectStore>,
    delivery: Delivery,
    cors: AllowOrigin,
    listing: Listing,
    /// `None` without a catalog: then there are no videos, and nobody may upload.
    pub(crate) catalog: Option<Catalog>,
    /// Who may see what, where there is a catalog.
    pub(crate) access: Option<Access>,
    followed: videos::Followed,
    /// `None` where nobody may upload.
    pub(crate) uploads: Option<Uploads>,
    uploads_open_to: Listing,
    /// By which profile videos are processed; none: no video is.
    profile: Option<String>,
    /// `None` where nobody may log in.
    accounts: Option<Accounts>,
    accounts_open_to: Listing,
    pub(crate) admission: Admission,
    access_log: AccessLog,
    headers_max: usize,
    pub(crate) socket_memory: Arc<SocketMemory>,
    pub(crate) write_buffers: WriteBuffers,
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

/// What is known of a request besides itself.
struct Known<'a> {
    surface: Surface,
    peer: &'a Peer,
    phase: &'a Arc<Phase>,
    /// Who asks, behind proxies.
    client: IpAddr,
    id: HeaderValue,
    /// The request stands in place of something that is none.
    refusal: Option<BadHead>,
}

// === impl App ===

impl App {
    pub(crate) fn new(
        config: &Config,
        cache: Cache,
        store: Arc<dyn ObjectStore>,
        metrics: Arc<Metrics>,
        catalog: Option<Catalog>,
        transcoding: &Transcoding,
    ) -> Self {
        let profile =
            (*transcoding != Transcoding::Off).then(|| config.transcoding.transcoding_profile.clone());
        let access = catalog.clone().map(Access::new);
        let accounts = catalog.clone().filter(|_| config.accounts_open_to() != Listing::Nobody);
        let accounts = accounts.map(|catalog| Accounts::new(catalog, config));
        let uploads = catalog.clone().filter(|_| config.takes_uploads());
        let uploads = uploads.map(|catalog| {
            Uploads::new(catalog, store.clone(), config.uploads.clone(), profile.clone(), metrics.clone())
        });
        Self {
            cache,
            metrics,
            store,
            delivery: Delivery { cache_control: config.delivery.cache_control() },
            cors: config.delivery.cors_allow_origin.clone(),
            listing: config.listing(),
            catalog,
            access,
            followed: videos::Followed::default(),
            uploads,
            uploads_open_to: config.uploads_open_to(),
            profile,
            accounts,
            accounts_open_to: config.accounts_open_to(),
            admission: Admission::new(&config.clients),
            access_log: config.access_log,
            // And the one that we add: a host's.
            headers_max: config.listeners.headers_max + 1,
            socket_memory: SocketMemory::new(config.socket_memory_bytes()),
            write_buffers: WriteBuffers::new(config.write_buffers_bytes()),
            memory_limit: memory_limit::bytes(config),
            is_ready: AtomicBool::new(false),
            request_ids: RequestIds::new(),
            draining: CancellationToken::new(),
            drained: CancellationToken::new(),
        }
    }

    pub(crate) fn store(&self) -> Arc<dyn ObjectStore> {
        self.store.clone()
    }

    /// Says that clients can be served.
    pub(crate) fn ready(&self) {
        self.is_ready.store(true, Ordering::Release);
    }

    /// Readiness says 503 from now on.
    pub(crate) fn unready(&self) {
        self.is_ready.store(false, Ordering::Release);
    }

    /// Begins the drain.
    pub(crate) fn drain(&self) {
        self.unready();
        self.draining.cancel();
    }

    fn is_ready(&self) -> bool {
        self.is_ready.load(Ordering::Acquire)
    }

    async fn public<B: RequestBody>(
        &self,
        known: &Known<'_>,
        request: &Request<()>,
        body: &mut Option<B>,
    ) -> Result<Response<Payload>, Problem> {
        let route = routes::decode(request.uri().path());
        let (method, query) = (request.method(), request.uri().query());
        let allowed = routes::allowed_methods(&route);
        if method == Method::OPTIONS && request.uri().path() == "*" {
            // RFC 9110 §9.3.7: what the server can do at all.
            let allowed = routes::allowed_methods(&Route::Health);
            return Ok(self.options(&cors::MEDIA, request.headers(), allowed));
        }
        if !allowed.is_empty() && !allowed.contains(method) {
            return Err(Problem::MethodNotAllowed(allowed));
        }
        match route {
            Route::Media(_) if method == Method::OPTIONS => {
                Ok(self.options(&cors::MEDIA, request.headers(), allowed))
            }
            Route::Media(key) => {
                let owned = self.may_see(&key, known, request).await?;
                let download = routes::wants_download(query);
                let (headers, share) = (request.headers(), &known.peer.share);
                let request = MediaRequest { method, headers, key: &key, download, share };
                let mut response = self.delivery.answer(&self.cache, request).await?;
                if owned {
                    // Shared caches would show it to others.
                    let private = HeaderValue::from_static("private, no-cache");
                    response.headers_mut().insert(header::CACHE_CONTROL, private);
                }
                Ok(response)
            }
            Route::Health => Ok(json(StatusCode::OK, r#"{"status":"ok"}"#)),
            Route::Ready => Ok(self.readiness()),
            // What all other requests need not carry along.
            Route::Uploads | Route::Upload(_) | Route::DirectUploads | Route::DirectUpload(..) => {
                Box::pin(self.upload(&route, known, request, body)).await
            }
            Route::Videos if method == Method::POST => {
                Box::pin(self.upload(&route, known, request, body)).await
            }
            Route::Videos | Route::Video(_) | Route::VideoEvents(_) => {
                Box::pin(self.videos(&route, known, request, body)).await
            }
            Route::VideoJobs(_) | Route::Jobs | Route::Job(_) | Route::JobAction(..) => {
                Box::pin(self.jobs(&route, known, request, body)).await
            }
            Route::Assets | Route::Asset(_) => Box::pin(self.assets(&route, known, request)).await,
            Route::OpenApi => Ok(openapi::document()),
            Route::ConsoleState => Box::pin(self.console_state(known, request)).await,
            Route::Account(action) => self.account(action, known, request, body).await,
            Route::Objects if is_open_to(self.listing, known.client, request) => {
                let shown = match &self.access {
                    None => Shown::All,
                    Some(_) if is_open_to(Listing::ThisMachine, known.client, request) => Shown::Objects,
                    Some(access) => Shown::To(Box::pin(self.caller(known, request)).await?, access),
                };
                Box::pin(objects::list(self.store.as_ref(), shown, query)).await
            }
            Route::Objects => Err(Problem::ListingOff),
            Route::Console => Ok(console::page(request.headers())),
            Route::ConsoleAsset(name) => console::asset(&name, request.headers()).ok_or(Problem::NoRoute),
            Route::BadKey(why) => Err(Problem::BadKey(why)),
            Route::NotFound => Err(Problem::NoRoute),
        }
    }

    /// What may be asked of a path, and by whom.
    fn options(&self, shared: &cors::Shared, request: &HeaderMap, allowed: &[Method]) -> Response<Payload> {
        let mut response = Response::new(Payload::Empty);
        *response.status_mut() = StatusCode::NO_CONTENT;
        response.headers_mut().insert(header::ALLOW, respond::allow(allowed));
        self.cors.preflight(shared, request, response.headers_mut());
        response
    }

    fn admin(&self, request: &Request<()>) -> Result<Response<Payload>, Problem> {
        let allowed = routes::allowed_methods(&Route::Health);
        if !allowed.contains(request.method()) {
            return Err(Problem::MethodNotAllowed(allowed));
        }
        match request.uri().path() {
            "/metrics" => {
                let uploads = self.uploads.as_ref().map(Uploads::memory).unwrap_or_default();
                let memory = metrics::Connections {
                    limit: self.memory_limit,
                    sockets: self.socket_memory.capacity() as u64,
                    sockets_leased: self.socket_memory.leased() as u64,
                    frames: self.write_buffers.in_use() as u64,
                };
                Ok(self.metrics.page(self.cache.stats(), memory, uploads))
            }
            "/api/work" if self.catalog.is_some() => work_answer(&self.metrics, request.uri().query()),
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

    async fn answer<B: RequestBody>(
        &self,
        known: &Known<'_>,
        request: &Request<()>,
        body: &mut Option<B>,
    ) -> (Response<Payload>, Admitted) {
        let surface = known.surface;
        let mut admitted = Admitted::default();
        let handled = async {
            if let Some(bad) = known.refusal {
                return Err(Problem::BadHead(bad));
            }
            if !host::is_named_once(request) {
                return Err(Problem::BadHost);
            }
            // In HTTP/1 hyper has counted them; in HTTP/2 only their bytes are bounded before.
            if request.headers().len() > self.headers_max {
                return Err(Problem::TooManyHeaders);
            }
            match surface {
                Surface::Public => {
                    if !routes::is_probe(request.uri().path()) {
                        admitted = self.admission.admit(known.client)?;
                    }
                    self.public(known, request, body).await
                }
                Surface::Admin => self.admin(request),
            }
        };
        // One request's panic is that request's 500, not the end of a connection without a word.
        let handled = AssertUnwindSafe(handled).catch_unwind().await;
        let mut response = match handled.unwrap_or(Err(Problem::Panicked)) {
            Ok(response) => response,
            Err(problem) => {
                self.metrics.problem(&problem);
                respond::report(&problem, request.uri().path());
                respond::problem(&problem, known.id.to_str().ok()).map(Payload::Small)
            }
        };
        if request.method() == Method::HEAD {
            *response.body_mut() = Payload::Empty;
        }
        let headers = response.headers_mut();
        headers.insert(REQUEST_ID.clone(), known.id.clone());
        headers.insert(header::SERVER, SERVER.clone());
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        let is_public = |prefix| surface == Surface::Public && request.uri().path().starts_with(prefix);
        if is_public("/media/") {
            // Uploads share the origin with the console: nothing in them may act in its name.
            headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("sandbox"));
            if request.method() != Method::OPTIONS {
                self.cors.apply(&cors::MEDIA, request.headers(), headers);
            }
        } else if is_public("/api/uploads") && request.method() != Method::OPTIONS {
            self.cors.apply(&cors::UPLOADS, request.headers(), headers);
            if request.headers().contains_key(tus::TUS_RESUMABLE) {
                tus::mark(headers);
            }
        }
        if request.headers().contains_key(header::TRANSFER_ENCODING) {
            // Where chunks end is hyper's to say, and nothing after them was looked at.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        (response, admitted)
    }
}

/// A request's body. Only uploads read it.
pub(crate) trait RequestBody:
    http_body::Body<Data = Bytes, Error: Into<BodyError>> + Send + 'static
{
}

impl<B: http_body::Body<Data = Bytes, Error: Into<BodyError>> + Send + 'static> RequestBody for B {}

/// Takes the body to be read.
pub(crate) fn taken(body: &mut Option<impl RequestBody>) -> Body {
    let body = body.take().expect("a request is answered once");
    Box::pin(body.into_data_stream().map_err(Into::into))
}

/// The request path of one connection, outermost first.
pub(crate) fn service<B: RequestBody>(
    app: Arc<App>,
    phase: Arc<Phase>,
    peer: Peer,
    surface: Surface,
) -> impl Service<
    Request<B>,
    Response = Response<Tracked>,
    Error = std::convert::Infallible,
    Future: Send + 'static,
> + Clone
+ Send
+ 'static {
    service_fn(move |request: Request<B>| {
        let (head, body) = request.into_parts();
        let mut request = Request::from_parts(head, ());
        host::take_from_target(&mut request);
        let answering = phase.begin();
        let (app, peer, phase) = (app.clone(), peer.clone(), phase.clone());
        let refusal = phase.refusal().filter(|_| request.method().as_str() == REFUSED_METHOD);
        async move {
            let begun = Instant::now();
            let meter = Meter::begin(app.metrics.clone(), surface, &request, begun);
            let client = app.admission.client_address(peer.address, request.headers());
            let id = app.request_ids.of(request.headers());
            let entry = Entry::new(&request, &id, client, app.access_log, begun);
            let span = entry.span();
            let known = Known { surface, peer: &peer, phase: &phase, client, id, refusal };
            // One that nobody reads lives as long as its answer is made.
            let mut body = Some(body);
            let (response, admitted) = app.answer(&known, &request, &mut body).instrument(span).await;
            Ok(Tracked::response(response, entry, meter, answering, admitted))
        }
    })
}

fn json(status: StatusCode, text: &'static str) -> Response<Payload> {
    let mut response = Response::new(Payload::Small(Bytes::from_static(text.as_bytes())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
