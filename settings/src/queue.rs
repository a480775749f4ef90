//! Settings about how workers hear of jobs.

use std::time::Duration;

use seekway_catalog::Catalog;
use seekway_queue::{Doorbells, Error, Options, QueueUrl};
use std::sync::Arc;

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

    /// About how often a worker looks for jobs where nothing tells it
    #[arg(long = "poll", env = "SEEKWAY_QUEUE_POLL", value_name = "TIME", default_value = "1s")]
    #[arg(value_parser = limit, help_heading = QUEUE)]
    poll: humantime::Duration,

    /// A job that has been due for so long is told of again while nothing waits in the broker
    #[arg(long, env = "SEEKWAY_QUEUE_SWEEP", value_name = "TIME", default_value = "60s")]
    #[arg(value_parser = limit, help_heading = QUEUE)]
    queue_sweep: humantime::Duration,
}

// === impl QueueSettings ===

impl QueueSettings {
    /// Opens it, and makes what is missing there.
    ///
    /// # Errors
    /// They name the setting.
    pub async fn open(&self, catalog: &Catalog) -> Result<Arc<dyn Doorbells>, Error> {
        let options = Options { look_every: *self.poll, overdue: OVERDUE, aws_keys: None };
        let opened = self.queue_url.open(catalog, &options).await;
        opened
            .map_err(|Error(why)| Error(format!("--queue-url (QUEUE_URL) is \"{}\": {why}", self.queue_url)))
    }

    /// After which a ring counts as lost.
    pub fn sweep_after(&self) -> Duration {
        *self.queue_sweep
    }
}
