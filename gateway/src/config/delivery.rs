//! Settings about what responses say of objects, and to whom.

use clap::ValueEnum;
use http::HeaderValue;

use super::values::CacheRule;
use crate::delivery::cors::AllowOrigin;

pub(super) const DELIVERY: &str = "Delivery";

/// What responses say of objects, and to whom.
#[derive(Debug, Clone, clap::Args)]
pub struct DeliverySettings {
    /// Which sites' scripts may read media: *, or origins separated by commas
    #[arg(long, env = "SEEKWAY_CORS_ALLOW_ORIGIN", value_name = "ORIGINS", default_value = "*")]
    #[arg(help_heading = DELIVERY)]
    pub cors_allow_origin: AllowOrigin,

    /// Cache-Control of objects that bring none, by the start of their keys: live/=no-cache. Give it several
    /// times, or separate rules by `;`; the longest prefix that fits wins, and an empty one fits all
    #[arg(long, env = "SEEKWAY_CACHE_CONTROL", value_name = "PREFIX=VALUE", value_delimiter = ';')]
    #[arg(help_heading = DELIVERY)]
    cache_control: Vec<CacheRule>,

    /// Whether keys can be listed at /api/objects; auto: only for this machine itself, as localhost or 127.0.0.1
    #[arg(long, env = "SEEKWAY_LISTING", value_name = "WHEN", default_value = "auto", help_heading = DELIVERY)]
    listing: ListingMode,
}

/// Who may list keys, or upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Listing {
    /// Whoever can connect.
    Everybody,
    /// Requests that name this machine as their host, so none that came through a proxy from elsewhere.
    ThisMachine,
    /// Nobody.
    Nobody,
}

/// Whether keys can be listed, or videos uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum ListingMode {
    Auto,
    On,
    Off,
}

// === impl ListingMode ===

impl ListingMode {
    pub(super) fn resolve(self, is_private: bool) -> Listing {
        match self {
            Self::Auto if is_private => Listing::ThisMachine,
            Self::On => Listing::Everybody,
            Self::Auto | Self::Off => Listing::Nobody,
        }
    }
}

// === impl DeliverySettings ===

impl DeliverySettings {
    /// Who may list keys, where only this machine can connect (`is_private`) or others can.
    pub(super) fn listing(&self, is_private: bool) -> Listing {
        self.listing.resolve(is_private)
    }

    /// `Cache-Control` by key prefix, for objects that bring none.
    pub fn cache_control(&self) -> Vec<(String, HeaderValue)> {
        self.cache_control.iter().map(|rule| (rule.prefix.clone(), rule.value.clone())).collect()
    }
}
