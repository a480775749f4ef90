//! What a replica does beside serving where there is a catalog: it follows who may see what, looks after jobs, videos and
//! events, and rings for jobs. All of it ends with the drain.

use std::sync::Arc;
use std::time::Duration;

use seekway_catalog::Catalog;
use seekway_queue::Relay;
use seekway_settings::QueueSettings;
use tokio::spawn;

use crate::app::App;
use crate::config::Config;
use crate::jobs;
use crate::videos::Deletions;

/// Nobody waits for doorbells in a gateway, which only rings.
const LOOK_EVERY: Duration = Duration::from_hours(1);

/// How it is done.
pub(super) struct Chores {
    queue: QueueSettings,
    /// On SQLite nobody hears of a job by the database who is not in this process, and those elsewhere look.
    rings: bool,
    emf_every: Option<Duration>,
    events_kept_ms: i64,
    leftovers_grace_ms: i64,
}

// === impl Chores ===

impl Chores {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            queue: config.queue.clone(),
            rings: !(config.queue.url().is_sql() && config.database.is_embedded()),
            emf_every: config.transcoding.emf_every(),
            events_kept_ms: config.webhooks.events_kept_ms(),
            leftovers_grace_ms: config.transcoding.leftovers_grace_ms(),
        }
    }

    /// Begins all of it, on the runtime of whoever calls.
    pub(super) fn begin(self, app: &Arc<App>, catalog: &Catalog) {
        let stop = app.drained.clone();
        let (follower, until) = (app.clone(), stop.clone());
        spawn(async move {
            let access = follower.access.as_ref().expect("where there is a catalog");
            access.follow(until).await;
        });
        let metrics = app.metrics.clone();
        spawn(jobs::look_after(catalog.clone(), metrics.clone(), stop.clone()));
        spawn(app.feed.clone().serve(catalog.clone(), self.events_kept_ms, stop.clone()));
        let doorbells = self.queue.open(catalog, LOOK_EVERY);
        spawn(jobs::count(catalog.clone(), doorbells.clone(), metrics.clone(), self.emf_every, stop.clone()));
        if self.rings {
            let relay = Relay::new(catalog.clone(), doorbells).sweeping_after(self.queue.sweep_after());
            let relay = Arc::new(relay);
            metrics.transcoding.watch(relay.clone());
            let until = stop.clone();
            spawn(async move { relay.run(until).await });
        }
        let deletions = Deletions::new(catalog.clone(), app.store(), self.leftovers_grace_ms);
        spawn(async move { deletions.serve(stop).await });
    }
}
