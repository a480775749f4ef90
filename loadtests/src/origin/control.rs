//! The origin's own endpoints, for a person with curl while `loadtest origin` runs. They are not counted.

use std::sync::Arc;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;

use super::{Shared, body::Body, shape::Shape};

pub(super) const PREFIX: &str = "/_origin/";
const SHAPE_BYTES_MAX: usize = 64 * 1024;

pub(super) async fn respond(shared: &Arc<Shared>, request: Request<Incoming>) -> Response<Body> {
    let method = request.method().clone();
    let name = request.uri().path()[PREFIX.len()..].to_owned();
    let (status, answer) = match (&method, name.as_str()) {
        (&Method::GET, "counts") => (StatusCode::OK, json(&shared.state().traffic.counts())),
        (&Method::GET, "log") => (StatusCode::OK, json(&shared.state().traffic.log())),
        (&Method::GET, "shape") => (StatusCode::OK, json(&shared.state().shape)),
        (&Method::POST, "reset") => {
            shared.traffic(super::Traffic::reset);
            (StatusCode::OK, json(&shared.state().traffic.counts()))
        }
        (&Method::PUT, "shape") => set_shape(shared, request.into_body()).await,
        _ => (StatusCode::NOT_FOUND, "GET counts|log|shape, PUT shape, POST reset".to_owned()),
    };
    let body = Full::new(Bytes::from(answer + "\n")).map_err(|never| match never {}).boxed_unsync();
    Response::builder()
        .status(status)
        .header(header::CONTENT_TYPE, "application/json")
        .body(body)
        .expect("these headers are valid")
}

async fn set_shape(shared: &Arc<Shared>, body: Incoming) -> (StatusCode, String) {
    let body = match Limited::new(body, SHAPE_BYTES_MAX).collect().await {
        Ok(body) => body.to_bytes(),
        Err(error) => return (StatusCode::BAD_REQUEST, error.to_string()),
    };
    match serde_json::from_slice::<Shape>(&body) {
        Ok(shape) => {
            shared.state().shape = shape;
            (StatusCode::OK, json(&shape))
        }
        Err(error) => (StatusCode::BAD_REQUEST, error.to_string()),
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).expect("numbers and strings can be written as JSON")
}
