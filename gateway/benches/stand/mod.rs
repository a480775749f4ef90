//! What the benches of requests share: an origin with one object, a gateway's request path in front of it, and what
//! a browser's player asks.

use std::ffi::OsString;
use std::fmt::Debug;
use std::future::poll_fn;
use std::pin::pin;

use bytes::Buf;
use http::Request;
use http_body::Body;
use http_body_util::BodyExt;
use seekway_cache::Cache;
use seekway_gateway::delivery::body::Payload;
use seekway_gateway::{Config, Configuration};
use seekway_loadtests::origin::{Origin, Shape};
use seekway_storage::ObjectKey;
use tokio::runtime::Runtime;

pub(crate) const KIB: u64 = 1024;
pub(crate) const OBJECT_BYTES: u64 = 16 * KIB * KIB;

pub(crate) fn key() -> ObjectKey {
    ObjectKey::new("films/one.mp4").expect("a valid key")
}

pub(crate) fn runtime() -> Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// An S3 server, and the configuration of a gateway in front of it.
pub(crate) fn origin() -> (Origin, Config) {
    let origin = Origin::start(Shape::default()).expect("a free port");
    origin.put_pattern("bucket", key().as_str(), OBJECT_BYTES, 1);
    let endpoint = origin.endpoint();
    let env = |name: &str| match name {
        "S3_BUCKET" => Some("bucket"),
        "S3_ENDPOINT" => Some(endpoint.as_str()),
        "S3_FORCE_PATH_STYLE" => Some("true"),
        "AWS_REGION" => Some("eu-central-1"),
        "AWS_ACCESS_KEY_ID" | "AWS_SECRET_ACCESS_KEY" => Some("bench"),
        // Nothing is asked again while it is measured.
        "METADATA_TTL" => Some("1h"),
        "SEEKWAY_ACCOUNTS" => Some("off"),
        _ => None,
    };
    let config = Config::from_args(["gateway"], |name| env(name).map(OsString::from));
    (origin, config.expect("a configuration"))
}

/// Brings the whole object into memory.
pub(crate) async fn warm(cache: &Cache) {
    let (object, _) = cache.open(&key(), None).await.expect("a good origin");
    // The second time finds it there, and is no segment's first reader.
    for _ in 0..2 {
        let mut reader = cache.read(object.clone(), 0..OBJECT_BYTES);
        while let Some(bytes) = reader.next().await {
            bytes.expect("a good origin");
        }
        cache.stats();
    }
}

/// What Chrome's player sends, with these headers of its own.
pub(crate) fn request(headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::get(format!("/media/{}", key()))
        .header("host", "media.example:8080")
        .header("connection", "keep-alive")
        .header(
            "user-agent",
            "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/142.0.0.0 Safari/537.36",
        )
        .header("accept-encoding", "identity;q=1, *;q=0")
        .header("accept", "*/*")
        .header("sec-fetch-site", "same-origin")
        .header("sec-fetch-mode", "no-cors")
        .header("sec-fetch-dest", "video")
        .header("referer", "http://media.example:8080/")
        .header("accept-language", "en-GB,en;q=0.9");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).expect("a request")
}

/// What a connection takes at once from a body.
const ROOM: usize = 256 * 1024;

/// Takes what a response carries to its end, as a connection does, and says how long it was.
pub(crate) async fn drain(mut payload: Payload) -> u64 {
    let mut length = 0;
    while let Some(slices) = poll_fn(|cx| payload.poll_next(cx, ROOM)).await {
        length += slices.expect("a whole body").len() as u64;
    }
    length
}

/// The same for a whole response.
pub(crate) async fn receive<B: Body<Data: Buf, Error: Debug>>(body: B) -> u64 {
    let mut body = pin!(body);
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame.expect("a whole body").data_ref().map_or(0, Buf::remaining) as u64;
    }
    length
}
