//! Settings about who clients are and how much each may have.

use super::values::{boolean, number, size};
use crate::clients::TrustedProxies;
use crate::clients::limits::Limits;
use seekway_settings::{Settings, Stop};

pub(super) const CLIENTS: &str = "Clients";

/// Who clients are and how much each may have.
#[derive(Debug, Clone, clap::Args)]
pub struct ClientSettings {
    /// Addresses and networks of proxies in front, separated by commas, whose `Forwarded`, or else
    /// `X-Forwarded-For`, says who the client is
    #[arg(long, env = "SEEKWAY_TRUSTED_PROXIES", value_name = "NETWORKS", default_value = "")]
    #[arg(hide_default_value = true, help_heading = CLIENTS)]
    pub trusted_proxies: TrustedProxies,

    /// Connections from trusted proxies begin with a PROXY protocol header, version 2
    #[arg(long, env = "SEEKWAY_PROXY_PROTOCOL", value_name = "BOOL", default_value = "false")]
    #[arg(num_args = 0..=1, require_equals = true, default_missing_value = "true", value_parser = boolean)]
    #[arg(help_heading = CLIENTS)]
    pub proxy_protocol: bool,

    /// Requests under way at once, of all clients; further ones are answered 503. 0 is no limit
    #[arg(long, env = "SEEKWAY_MAX_REQUESTS", value_name = "COUNT", default_value = "32768")]
    #[arg(value_parser = |text: &str| number(text, 0..=10_000_000usize), help_heading = CLIENTS)]
    pub max_requests: usize,

    /// Connections of one client, an IPv4 address or an IPv6 /64; further ones are reset. 0 is no limit. Trusted
    /// proxies have none
    #[arg(long, env = "SEEKWAY_CLIENT_CONNECTIONS", value_name = "COUNT", default_value = "0")]
    #[arg(value_parser = |text: &str| number(text, 0..=1_000_000u32), help_heading = CLIENTS)]
    client_connections: u32,

    /// Requests of one client in a second, in the long run; further ones are answered 429. 0 is no limit
    #[arg(long, env = "SEEKWAY_CLIENT_REQUESTS_PER_SECOND", value_name = "COUNT", default_value = "0")]
    #[arg(value_parser = |text: &str| number(text, 0..=1_000_000u32), help_heading = CLIENTS)]
    client_requests_per_second: u32,

    /// Requests that a client may make at once after a pause
    #[arg(long, env = "SEEKWAY_CLIENT_REQUESTS_BURST", value_name = "COUNT", default_value = "100")]
    #[arg(value_parser = |text: &str| number(text, 1..=1_000_000u32), help_heading = CLIENTS)]
    client_requests_burst: u32,

    /// Bytes that one client is sent in a second, over all of its connections and streams. 0 is no limit
    #[arg(long, env = "SEEKWAY_CLIENT_BYTES_PER_SECOND", value_name = "SIZE", default_value = "0")]
    #[arg(value_parser = size, help_heading = CLIENTS)]
    client_bytes_per_second: u64,
}

// === impl ClientSettings ===

impl ClientSettings {
    /// The limits of each client.
    pub fn limits(&self) -> Limits {
        Limits {
            connections: self.client_connections,
            requests_per_second: self.client_requests_per_second,
            requests_burst: self.client_requests_burst,
            bytes_per_second: self.client_bytes_per_second,
        }
    }

    /// A PROXY protocol header is believed only from who is trusted.
    pub(super) fn check(&self, settings: &Settings) -> Result<(), Stop> {
        if self.proxy_protocol && self.trusted_proxies.is_empty() {
            return Err(
                settings.wrong("trusted_proxies", "--proxy-protocol needs the addresses it comes from")
            );
        }
        Ok(())
    }
}
