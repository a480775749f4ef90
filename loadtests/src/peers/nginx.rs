//! nginx as its users tune it: [`Nginx`] has one worker for each core and no access log.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
};

use super::BUCKET;
use crate::{Error, nginx::Nginx};

/// `tcp_nopush on` would hold back the end of each 64 KiB range on loopback for 44 ms, and flatter everybody else.
const COMMON: &str = "
  sendfile on;
  tcp_nopush off;
  tcp_nodelay on;
  keepalive_timeout 1h;
  keepalive_requests 1000000000;";

/// Where the one that serves files speaks HTTP/2 by prior knowledge, if it speaks HTTP/1.1 at `listen`: before 1.25.1
/// an address without TLS is for one of them.
pub(super) fn http2(listen: SocketAddr) -> SocketAddr {
    SocketAddr::new(Ipv4Addr::new(127, 0, 0, 2).into(), listen.port())
}

/// Serves the files of `folder`.
pub(super) async fn files(folder: &Path, workers: Option<usize>) -> Result<Nginx, Error> {
    let folder = folder.display();
    let http = |listen: SocketAddr| {
        let http2 = http2(listen);
        format!(
            "{COMMON}
  open_file_cache max=1000 inactive=1h;
  open_file_cache_valid 60s;
  server {{
    listen {listen} backlog=4096;
    listen {http2} http2 backlog=4096;
    location /{BUCKET}/ {{ alias {folder}/; }}
  }}"
        )
    };
    Nginx::start_with(workers, http).await
}

/// Asks `origin` for slices, and keeps up to `bytes` of them as files in `folder`.
pub(super) async fn cache(
    origin: SocketAddr,
    folder: &Path,
    bytes: u64,
    workers: Option<usize>,
) -> Result<Nginx, Error> {
    let folder = folder.display();
    let http = |listen: SocketAddr| {
        format!(
            "{COMMON}
  open_file_cache max=10000 inactive=1h;
  open_file_cache_valid 60s;
  proxy_cache_path {folder} levels=1:2 keys_zone=films:16m max_size={bytes} inactive=1h use_temp_path=off;
  upstream origin {{
    server {origin};
    keepalive 256;
    keepalive_timeout 1h;
    keepalive_requests 1000000000;
  }}
  server {{
    listen {listen} backlog=4096;
    location / {{
      slice 1m;
      proxy_cache films;
      proxy_cache_key $uri$slice_range;
      proxy_cache_valid 200 206 1h;
      proxy_cache_lock on;
      proxy_set_header Range $slice_range;
      proxy_set_header Connection \"\";
      proxy_http_version 1.1;
      proxy_pass http://origin;
    }}
  }}"
        )
    };
    Nginx::start_with(workers, http).await
}
