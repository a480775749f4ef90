//! Settings about where accounts, videos and uploads are kept.

use seekway_catalog::DatabaseUrl;

pub(super) const DATABASE: &str = "Database";

/// Where accounts, videos and uploads are kept.
#[derive(Debug, Clone, clap::Args)]
pub struct DatabaseSettings {
    /// The database: `sqlite:FILE`, or `postgres://USER:PASSWORD@HOST/NAME`, which replicas share
    #[arg(long, env = "DATABASE_URL", value_name = "URL", default_value = "sqlite:./data/seekway.db")]
    #[arg(hide_env_values = true, help_heading = DATABASE)]
    pub database_url: DatabaseUrl,
}
