//! Settings about where accounts, videos and uploads are kept.

use seekway_catalog::DatabaseUrl;

/// The heading of these settings.
pub const DATABASE: &str = "Database";

/// Where accounts, videos and uploads are kept.
#[derive(Debug, Clone, clap::Args)]
pub struct DatabaseSettings {
    /// The database: `sqlite:FILE`, or `postgres://USER:PASSWORD@HOST/NAME`, which replicas share; unset:
    /// `sqlite:./data/seekway.db` where videos can be uploaded, and none elsewhere
    #[arg(long, env = "DATABASE_URL", value_name = "URL", hide_env_values = true, help_heading = DATABASE)]
    database_url: Option<DatabaseUrl>,
}

/// Beside the media of a gateway that somebody just tries.
const EMBEDDED: &str = "sqlite:./data/seekway.db";

// === impl DatabaseSettings ===

impl DatabaseSettings {
    /// Whether somebody has chosen one.
    pub fn is_chosen(&self) -> bool {
        self.database_url.is_some()
    }

    /// Whether it is a file, which this machine has alone.
    pub fn is_embedded(&self) -> bool {
        matches!(self.url(), DatabaseUrl::Sqlite(_))
    }

    /// The one to use, if one is used.
    pub fn url(&self) -> DatabaseUrl {
        self.database_url.clone().unwrap_or_else(|| EMBEDDED.parse().expect("a URL of ours"))
    }
}
