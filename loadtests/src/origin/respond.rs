//! From a request to an answer, the way S3 decides.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use http::{HeaderMap, Method, Request, Response, StatusCode, header, response::Builder};
use hyper::body::Incoming;

use super::{
    body::{self, Body, Cut, Sending},
    connection::{Connection, InFlight},
    control,
    fault::{EtagFault, Plan},
    list,
    objects::Stored,
    range::{self, Wanted},
    xml,
};

/// What the request named.
struct Target {
    bucket: String,
    key: String,
}

pub(super) async fn respond(
    connection: Arc<Connection>,
    request: Request<Incoming>,
) -> Result<Response<Body>, Cut> {
    let arrived = Instant::now();
    if request.uri().path().starts_with(control::PREFIX) {
        return Ok(control::respond(connection.shared(), request).await);
    }
    let shared = connection.shared();
    let (head, _) = request.into_parts();
    let target = Target::of(head.uri.path());
    let releases = shared.releases.subscribe();
    let (ticket, plan, shape) = {
        let mut state = shared.state();
        let plan = Plan::draw(&mut state.rules, &head.method, &target.bucket, &target.key);
        let ticket = state.traffic.request_began(&head.method, &target.bucket, &target.key, &head.headers);
        (ticket, plan, state.shape)
    };
    shared.tell_change();
    let object = (target.bucket, target.key);
    let mut in_flight = InFlight::new(Arc::clone(shared), ticket, object, releases);

    let latency = shape.latency(ticket.ordinal()) + plan.delay.unwrap_or_default();
    connection.sleep_until(arrived + latency).await?;
    if plan.hang {
        in_flight.hang().await;
    }
    if plan.close {
        return Err(Cut::OnPurpose);
    }
    let slow_down = shape.fails(ticket.ordinal()).then_some(StatusCode::SERVICE_UNAVAILABLE);
    let answer = Answer { connection: &connection, method: &head.method, in_flight };
    Ok(match plan.status.or(slow_down) {
        Some(status) => answer.error(status, "An injected fault.", ""),
        None => answer.decide(head.uri.query().unwrap_or_default(), &head.headers, plan),
    })
}

// === impl Target ===

impl Target {
    fn of(path: &str) -> Self {
        let path = path.strip_prefix('/').unwrap_or(path);
        let (bucket, key) = path.split_once('/').unwrap_or((path, ""));
        let decode = |text| xml::percent_decode(text).unwrap_or_default();
        Self { bucket: decode(bucket), key: decode(key) }
    }
}

/// An answer in the making.
struct Answer<'a> {
    connection: &'a Arc<Connection>,
    method: &'a Method,
    in_flight: InFlight,
}

// === impl Answer ===

impl Answer<'_> {
    fn decide(self, query: &str, headers: &HeaderMap, plan: Plan) -> Response<Body> {
        if !matches!(*self.method, Method::GET | Method::HEAD) {
            return self.error(StatusCode::METHOD_NOT_ALLOWED, "This origin can only be read.", "");
        }
        let (bucket, key) = (self.in_flight.bucket(), self.in_flight.key());
        let (exists, stored) = {
            let state = self.connection.shared().state();
            (state.buckets.contains(bucket), state.buckets.get(bucket, key))
        };
        match stored {
            Some(stored) => self.object(&stored, headers, plan),
            None if !exists => {
                self.coded(StatusCode::NOT_FOUND, "NoSuchBucket", "The specified bucket does not exist", "")
            }
            None if key.is_empty() => self.bucket(query),
            None => {
                let more = format!("<Key>{}</Key>", xml::escape(key));
                self.error(StatusCode::NOT_FOUND, "The specified key does not exist.", &more)
            }
        }
    }

    fn bucket(self, query: &str) -> Response<Body> {
        if *self.method == Method::HEAD {
            return self.finish(StatusCode::OK, Response::builder(), String::new());
        }
        let Some(query) = list::Query::parse(query) else {
            return self.error(StatusCode::NOT_IMPLEMENTED, "Only list-type=2 without a delimiter.", "");
        };
        let list = query.answer(self.in_flight.bucket(), &self.connection.shared().state().buckets);
        let head = Response::builder().header(header::CONTENT_TYPE, "application/xml");
        self.finish(StatusCode::OK, head, list)
    }

    fn object(self, stored: &Arc<Stored>, headers: &HeaderMap, plan: Plan) -> Response<Body> {
        let object = &stored.object;
        match precondition(headers, object.etag(), object.last_modified(), plan.ignore_if_match) {
            Some(StatusCode::NOT_MODIFIED) => {
                let head = object_head(stored, &plan);
                return self.finish(StatusCode::NOT_MODIFIED, head, String::new());
            }
            Some(status) => {
                let message = "At least one of the pre-conditions you specified did not hold";
                return self.error(status, message, "");
            }
            None => {}
        }

        let size = object.size();
        let header = if plan.ignore_range { None } else { text(headers, header::RANGE) };
        let (status, range) = match range::resolve(header, size) {
            Wanted::Whole => (StatusCode::OK, 0..size),
            Wanted::Part(part) => (StatusCode::PARTIAL_CONTENT, part),
            Wanted::Unsatisfiable => return self.unsatisfiable(header.unwrap_or_default(), size),
        };
        let mut head =
            object_head(stored, &plan).status(status).header(header::CONTENT_LENGTH, range.end - range.start);
        head = head.header(header::CONTENT_TYPE, object.content_type());
        if status == StatusCode::PARTIAL_CONTENT {
            let shift = plan.shift_content_range.unwrap_or_default();
            let total = plan.wrong_total.unwrap_or(size);
            let (first, last) = (range.start + shift, range.end - 1 + shift);
            head = head.header(header::CONTENT_RANGE, format!("bytes {first}-{last}/{total}"));
        }
        if *self.method == Method::HEAD {
            return self.finish(status, head, String::new());
        }
        self.tell(status);
        let head = self.identify(head);
        let sending = Sending {
            connection: Arc::clone(self.connection),
            request: self.in_flight,
            stored: Arc::clone(stored),
            range,
            bytes_per_second: plan.bytes_per_second,
            truncate_after: plan.truncate_after,
            hang_after: plan.hang_after,
            replace: plan.replace,
        };
        head.body(sending.into_body()).expect("an object's headers are valid")
    }

    fn unsatisfiable(self, range: &str, size: u64) -> Response<Body> {
        let status = StatusCode::RANGE_NOT_SATISFIABLE;
        let more = format!(
            "<RangeRequested>{}</RangeRequested><ActualObjectSize>{size}</ActualObjectSize>",
            xml::escape(range)
        );
        let mut response = self.error(status, "The requested range is not satisfiable", &more);
        let value = format!("bytes */{size}").parse().expect("digits are a valid header value");
        response.headers_mut().insert(header::CONTENT_RANGE, value);
        response
    }

    fn error(self, status: StatusCode, message: &str, more: &str) -> Response<Body> {
        self.coded(status, xml::code(status), message, more)
    }

    fn coded(self, status: StatusCode, code: &str, message: &str, more: &str) -> Response<Body> {
        let resource = format!("/{}/{}", self.in_flight.bucket(), self.in_flight.key());
        let document = xml::error(code, message, &resource, &self.request_id(), more);
        let head = Response::builder().header(header::CONTENT_TYPE, "application/xml");
        self.finish(status, head, document)
    }

    fn finish(self, status: StatusCode, head: Builder, document: String) -> Response<Body> {
        self.tell(status);
        // The answer to a HEAD has the length of what it leaves out, and S3 leaves out errors altogether.
        let document = if *self.method == Method::HEAD { String::new() } else { document };
        let head = self.identify(head.status(status));
        head.body(body::short(document, self.in_flight)).expect("an object's headers are valid")
    }

    fn tell(&self, status: StatusCode) {
        self.connection.shared().traffic(|traffic| traffic.answered(self.in_flight.ticket(), status));
    }

    fn identify(&self, head: Builder) -> Builder {
        head.header("x-amz-request-id", self.request_id()).header("x-amz-id-2", "seekway-origin")
    }

    fn request_id(&self) -> String {
        format!("{:016X}", self.in_flight.ticket().ordinal())
    }
}

fn object_head(stored: &Stored, plan: &Plan) -> Builder {
    let etag = stored.object.etag();
    let head = Response::builder()
        .header(header::ACCEPT_RANGES, "bytes")
        .header(header::LAST_MODIFIED, httpdate::fmt_http_date(stored.object.last_modified()));
    match &plan.etag {
        None => head.header(header::ETAG, etag),
        Some(EtagFault::Missing) => head,
        Some(EtagFault::Weak) => head.header(header::ETAG, format!("W/{etag}")),
        Some(EtagFault::Wrong(other)) => head.header(header::ETAG, other),
    }
}

/// The status that the conditional headers lead to, in the order of RFC 9110 §13.2.2; `None` to go on.
fn precondition(
    headers: &HeaderMap,
    etag: &str,
    last_modified: SystemTime,
    ignore_if_match: bool,
) -> Option<StatusCode> {
    let date = |name| text(headers, name).and_then(|text| httpdate::parse_http_date(text).ok());
    if let Some(tags) = text(headers, header::IF_MATCH) {
        if !ignore_if_match && !lists(tags, |tag| tag == etag && !tag.starts_with("W/")) {
            return Some(StatusCode::PRECONDITION_FAILED);
        }
    } else if date(header::IF_UNMODIFIED_SINCE).is_some_and(|since| last_modified > since) {
        return Some(StatusCode::PRECONDITION_FAILED);
    }
    if let Some(tags) = text(headers, header::IF_NONE_MATCH) {
        let opaque = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
        if lists(tags, |tag| opaque(tag) == opaque(etag)) {
            return Some(StatusCode::NOT_MODIFIED);
        }
    } else if date(header::IF_MODIFIED_SINCE).is_some_and(|since| last_modified <= since) {
        return Some(StatusCode::NOT_MODIFIED);
    }
    None
}

/// Whether a list of entity tags has one that `matches`, or is `*`. Our own tags have no commas in them.
fn lists(tags: &str, matches: impl Fn(&str) -> bool) -> bool {
    tags.trim() == "*" || tags.split(',').any(|tag| matches(tag.trim()))
}

fn text(headers: &HeaderMap, name: header::HeaderName) -> Option<&str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}
