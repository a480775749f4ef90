//! Settings about how workers hear of jobs.

use std::sync::Arc;
use std::time::Duration;

use seekway_catalog::Catalog;
use seekway_queue::{Doorbells, Options, QueueUrl};

use crate::values::limit;

/// The heading of these settings.
pub const QUEUE: &str = "Queue";

/// A ring that is not answered is heard again after this. Asking the catalog takes milliseconds, or seconds when the
/// database is in trouble.
const OVERDUE: Duration = Duration::from_mins(1);

/// How workers hear of jobs.
#[derive(Debug, Clone, clap::Args)]
pub struct QueueSettings {
    /// How workers hear of jobs: `sql:` asks the database alone; brokers and what they need are in docs/queues.md
    #[arg(long, env = "QUEUE_URL", value_name = "URL", default_value = "sql:", hide_env_values = true)]
    #[arg(help_heading = QUEUE)]
    queue_url: QueueUrl,

    /// A job that has been due for so long is told of again while nothing waits in the broker
    #[arg(long, env = "SEEKWAY_QUEUE_SWEEP", value_name = "TIME", default_value = "60s")]
    #[arg(value_parser = limit, help_heading = QUEUE)]
    queue_sweep: humantime::Duration,
}

// === impl QueueSettings ===

impl QueueSettings {
    /// How workers hear of the catalog's jobs, who look about every `look_every` all the same. Nothing is connected to yet.
    pub fn open(&self, catalog: &Catalog, look_every: Duration) -> Arc<dyn Doorbells> {
        let options = Options { look_every, overdue: OVERDUE, aws_keys: None };
        self.queue_url.open(catalog, &options)
    }

    /// Where; shown without a password.
    pub fn url(&self) -> &QueueUrl {
        &self.queue_url
    }

    /// After which a ring counts as lost.
    pub fn sweep_after(&self) -> Duration {
        *self.queue_sweep
    }
}
