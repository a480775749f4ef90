//! Settings about where clients connect, and how long each may take.

use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use super::values::{address, in_memory, limit, number, period, size_in};
use crate::server::TlsFiles;
use seekway_settings::{Settings, Stop};

pub(super) const LISTENERS: &str = "Listeners and connections";

/// Where clients connect, and how long each may take.
#[derive(Debug, Clone, clap::Args)]
pub struct ListenerSettings {
    /// Where clients connect, such as 0.0.0.0:8080 for all interfaces
    #[arg(long, env = "SEEKWAY_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    #[arg(value_parser = address, help_heading = LISTENERS)]
    pub listen: SocketAddr,

    /// Where clients connect with TLS, such as 0.0.0.0:8443; needs the two files below
    #[arg(long, env = "SEEKWAY_TLS_LISTEN", value_name = "ADDRESS")]
    #[arg(value_parser = address, help_heading = LISTENERS)]
    pub tls_listen: Option<SocketAddr>,

    /// PEM file of the certificate and its chain, the server's own first; taken over when it changes
    #[arg(long, env = "SEEKWAY_TLS_CERTIFICATE", value_name = "FILE", help_heading = LISTENERS)]
    tls_certificate: Option<PathBuf>,

    /// PEM file of the certificate's private key; taken over when it changes
    #[arg(long, env = "SEEKWAY_TLS_KEY", value_name = "FILE", help_heading = LISTENERS)]
    tls_key: Option<PathBuf>,

    /// Where metrics and readiness are served; not for the public
    #[arg(long, env = "SEEKWAY_ADMIN_LISTEN", value_name = "ADDRESS", default_value = "127.0.0.1:8081")]
    #[arg(value_parser = address, help_heading = LISTENERS)]
    pub admin_listen: SocketAddr,

    /// Threads that serve clients, 1 to 1024 [default: one for each core]
    #[arg(long, env = "SEEKWAY_THREADS", value_name = "COUNT", help_heading = LISTENERS)]
    #[arg(value_parser = |text: &str| number(text, 1..=1024usize))]
    pub threads: Option<usize>,

    /// Connections at once; further ones wait to be accepted
    #[arg(long, env = "SEEKWAY_MAX_CONNECTIONS", value_name = "COUNT", default_value = "16384")]
    #[arg(value_parser = |text: &str| number(text, 1..=1_000_000usize), help_heading = LISTENERS)]
    pub max_connections: usize,

    /// Bytes of a request's line and headers together; more is answered with 431
    #[arg(long, env = "SEEKWAY_HEADER_BYTES_MAX", value_name = "SIZE", default_value = "16KiB")]
    #[arg(value_parser = |text: &str| size_in(text, 8 << 10..=1 << 20), help_heading = LISTENERS)]
    header_bytes_max: u64,

    /// Headers of a request; more are answered with 431
    #[arg(long, env = "SEEKWAY_HEADERS_MAX", value_name = "COUNT", default_value = "64")]
    #[arg(value_parser = |text: &str| number(text, 16..=1024usize), help_heading = LISTENERS)]
    pub headers_max: usize,

    /// Time for a request's headers to arrive, from their first byte on
    #[arg(long, env = "SEEKWAY_HEADER_TIMEOUT", value_name = "TIME", default_value = "10s")]
    #[arg(value_parser = limit, help_heading = LISTENERS)]
    pub header_timeout: humantime::Duration,

    /// Time that a connection may stay open between requests
    #[arg(long, env = "SEEKWAY_IDLE_TIMEOUT", value_name = "TIME", default_value = "60s")]
    #[arg(value_parser = limit, help_heading = LISTENERS)]
    pub idle_timeout: humantime::Duration,

    /// Time in which a client must take at least 128 KiB of its response (down to 4 KiB where many share the
    /// socket memory), or is cut off; a player that was
    /// paused for longer asks again from where it stopped
    #[arg(long, env = "SEEKWAY_WRITE_STALL_TIMEOUT", value_name = "TIME", default_value = "60s")]
    #[arg(value_parser = limit, help_heading = LISTENERS)]
    pub write_stall_timeout: humantime::Duration,

    /// Time from SIGTERM, when readiness turns to 503, until no more connections are accepted: load balancers must
    /// have asked in between. SIGINT waits for nobody
    #[arg(long, env = "SEEKWAY_DRAIN_DELAY", value_name = "TIME", default_value = "5s")]
    #[arg(value_parser = period, help_heading = LISTENERS)]
    pub drain_delay: humantime::Duration,

    /// Time that running responses get to end after that
    #[arg(long, env = "SEEKWAY_DRAIN_TIMEOUT", value_name = "TIME", default_value = "20s")]
    #[arg(value_parser = limit, help_heading = LISTENERS)]
    pub drain_timeout: humantime::Duration,
}

// === impl ListenerSettings ===

impl ListenerSettings {
    /// Where TLS is served, and with which files.
    pub(crate) fn tls(&self) -> Option<(SocketAddr, TlsFiles)> {
        let (certificate, key) = (self.tls_certificate.clone()?, self.tls_key.clone()?);
        Some((self.tls_listen?, TlsFiles { certificate, key }))
    }

    /// Threads that serve clients.
    pub fn threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        self.threads.unwrap_or_else(cores)
    }

    /// Bytes of a request's line and headers.
    pub fn header_bytes_max(&self) -> usize {
        in_memory(self.header_bytes_max)
    }

    /// Only this machine can connect.
    pub(super) fn is_private(&self) -> bool {
        let mut listeners = std::iter::once(self.listen).chain(self.tls_listen);
        listeners.all(|address| address.ip().to_canonical().is_loopback())
    }

    /// Each has an address of its own, and TLS all that it needs.
    pub(super) fn check(&self, settings: &Settings) -> Result<(), Stop> {
        if self.listen == self.admin_listen && self.listen.port() != 0 {
            return Err(settings.wrong("admin_listen", "another address than --listen has"));
        }
        self.check_tls(settings)
    }

    /// TLS is all of its settings, or none.
    fn check_tls(&self, settings: &Settings) -> Result<(), Stop> {
        let all = [
            ("tls_listen", self.tls_listen.is_some(), "an address to serve it on"),
            ("tls_certificate", self.tls_certificate.is_some(), "the PEM file of the certificate"),
            ("tls_key", self.tls_key.is_some(), "the PEM file of the certificate's key"),
        ];
        let is_wanted = all.iter().any(|(_, is_set, _)| *is_set);
        let missing = all.iter().find(|(_, is_set, _)| !is_set);
        if let Some((id, _, what)) = missing.filter(|_| is_wanted) {
            return Err(settings.wrong(id, format!("TLS needs {what}")));
        }
        let taken = [Some(self.listen), Some(self.admin_listen)];
        if taken.contains(&self.tls_listen) && self.tls_listen.is_some_and(|address| address.port() != 0) {
            let why = "another address than --listen and --admin-listen have";
            return Err(settings.wrong("tls_listen", why));
        }
        Ok(())
    }
}
