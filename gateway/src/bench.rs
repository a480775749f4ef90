//! The way in for benches, which see only what is public: the path of a request, without its connection.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::Empty;
use seekway_cache::Cache;
use tower::{Service, ServiceExt};

use crate::app::{self, Surface};
use crate::config::Transcoding;
use crate::delivery::body::BodyError;
use crate::delivery::slices::Slices;
use crate::server::{self, Peer};
use crate::{Config, StartError};

/// What each request of one client's connection goes through, and the cache behind it.
pub async fn open(
    config: &Config,
) -> Result<
    (
        Cache,
        impl Service<
            Request<()>,
            Response = Response<impl Body<Data = Slices, Error = BodyError> + use<>>,
            Error = Infallible,
        > + Clone
        + use<>,
    ),
    StartError,
> {
    let app = server::open(config, &Transcoding::Off).await?;
    let peer =
        Peer { address: SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), share: Arc::default(), is_tls: false };
    let cache = app.cache.clone();
    let service = app::service::<Empty<Bytes>>(app, Arc::default(), peer, Surface::Public);
    Ok((cache, service.map_request(|request: Request<()>| request.map(|()| Empty::new()))))
}
