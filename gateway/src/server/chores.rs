//! What a replica does beside serving where there is a catalog: it follows who may see what, looks after jobs, videos and
//! events, and rings for jobs. All of it ends with the drain.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::OptionFuture;
use seekway_catalog::Catalog;
use seekway_queue::Relay;
use seekway_settings::QueueSettings;
use tokio::spawn;
use tokio::task::JoinHandle;

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

    /// Begins all of it, on the runtime of whoever calls. What it gives back ends when the broker was left.
    pub(super) fn begin(self, app: &Arc<App>, catalog: &Catalog) -> JoinHandle<()> {
        let stop = app.drained.clone();
        let (follower, until) = (app.clone(), stop.clone());
        spawn(async move {
            let access = follower.access.as_ref().expect("where there is a catalog");
            access.follow(until).await;
        });
        let metrics = app.metrics.clone();
        spawn(jobs::look_after(catalog.clone(), metrics.clone(), stop.clone()));
        spawn(app.feed.clone().serve(catalog.clone(), self.events_kept_ms, stop.clone()));
        let deletions = Deletions::new(catalog.clone(), app.store(), self.leftovers_grace_ms);
        let until = stop.clone();
        spawn(async move { deletions.serve(until).await });
        let doorbells = self.queue.open(catalog, LOOK_EVERY);
        let relay = Relay::new(catalog.clone(), doorbells.clone()).sweeping_after(self.queue.sweep_after());
        metrics.transcoding.watch(relay.counts());
        let counting = jobs::count(catalog.clone(), doorbells.clone(), metrics, self.emf_every, stop.clone());
        spawn(async move {
            let rings = OptionFuture::from(self.rings.then(|| relay.run(stop.clone())));
            tokio::join!(seekway_queue::prepare(&*doorbells, &stop), counting, rings);
            // Its connections are this runtime's.
            doorbells.close().await;
        })
    }
}
