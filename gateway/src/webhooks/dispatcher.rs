//! Delivers what waits, until the gateway drains. Each replica does, and the catalog gives each delivery to one of them;
//! one that is killed meanwhile has its deliveries claimed again when their leases are over, so an event may be told twice.
//!
//! A receiver that is slow has its own few places and no more, one that fails has one, and all that fail together have half:
//! so none of them keeps the others waiting.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt as _;
use seekway_catalog::{Catalog, DeliveryState, Error, Outcome, Pending, Waiting, WebhookId};
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::sender::Sender;
use crate::config::WebhookSettings;
use crate::feed::Grows;
use crate::metrics::{Delivered, Metrics};

/// Deliveries that one replica has under way.
const PLACES: usize = 64;
/// Of which those whose receivers fail have so many.
const FAILING_PLACES: usize = PLACES / 2;
/// Names that are being resolved: one that was given up is still the system's resolver's, which takes its time.
pub(crate) const LOOKUPS_MAX: usize = 4 * PLACES;
/// Those of one webhook.
const PLACES_OF_ONE: usize = 4;
/// Webhooks that are looked at at a time.
const WEBHOOKS: u32 = 256;
/// Between two looks where nothing tells of news: others' retries become due, and leases of those who vanished end.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// A look finds work for all places, so that more of them would only ask the database more often.
const LOOKS_APART: Duration = Duration::from_millis(20);
/// Between two counts of what waits.
const COUNT_EVERY: Duration = Duration::from_secs(5);
/// Beyond the time of an attempt, for the database.
const LEASE_MORE: Duration = Duration::from_secs(10);
/// Attempts at one delivery. With pauses of 5 s, four times as long each up to 8 h, the last one is after a day.
const ATTEMPTS_MAX: u64 = 10;
const PAUSE_FACTOR: u32 = 4;
const PAUSE_MAX: Duration = Duration::from_hours(8);
/// A webhook without a success for so long is disabled.
const FAILING_MS_MAX: i64 = 5 * 24 * 3_600_000;

/// See the module.
pub(crate) struct Dispatcher {
    catalog: Catalog,
    metrics: Arc<Metrics>,
    sender: Sender,
    pause: Duration,
    lease_ms: i64,
    grows: Grows,
    places: Places,
}

/// What is under way, by webhook.
#[derive(Default)]
struct Places {
    taken: HashMap<WebhookId, (usize, bool)>,
}

// === impl Dispatcher ===

impl Dispatcher {
    pub(crate) fn new(
        catalog: Catalog,
        metrics: Arc<Metrics>,
        settings: &WebhookSettings,
        grows: Grows,
    ) -> Self {
        let lease = settings.within() + LEASE_MORE;
        Self {
            catalog,
            metrics,
            sender: Sender::new(settings.to_private(), settings.within()),
            pause: settings.pause(),
            lease_ms: i64::try_from(lease.as_millis()).unwrap_or(i64::MAX),
            grows,
            places: Places::default(),
        }
    }

    /// Delivers until `stop`, and finishes what is under way then, until `end`.
    pub(crate) async fn serve(mut self, stop: CancellationToken, end: CancellationToken) {
        let mut under_way = JoinSet::new();
        let (mut is_away, mut counted) = (false, None::<Instant>);
        while !stop.is_cancelled() {
            let looked = self.look(&mut under_way).await;
            if let (Err(error), false) = (&looked, is_away) {
                warn!(error = error.chain(), "cannot look for what webhooks are to be told");
            }
            is_away = looked.is_err();
            if counted.is_none_or(|at| at.elapsed() >= COUNT_EVERY)
                && let Ok((waiting, oldest_ms)) = self.catalog.webhooks().backlog().await
            {
                counted = Some(Instant::now());
                self.metrics.webhooks.set_backlog(waiting, oldest_ms);
            }
            tokio::select! {
                Some(ended) = under_way.join_next() => self.places.leave(ended),
                () = self.grows.next() => {}
                () = sleep(LOOK_EVERY) => {}
                () = stop.cancelled() => {}
            }
            sleep(LOOKS_APART).await;
            while let Some(ended) = under_way.try_join_next() {
                self.places.leave(ended);
            }
        }
        tokio::select! {
            () = async { while under_way.join_next().await.is_some() {} } => {}
            () = end.cancelled() => {}
        }
    }

    async fn look(&mut self, under_way: &mut JoinSet<WebhookId>) -> Result<(), Error> {
        if self.places.taken() >= PLACES {
            return Ok(());
        }
        for waiting in self.catalog.webhooks().waiting(WEBHOOKS).await? {
            let room = self.places.room(waiting);
            if room == 0 {
                continue;
            }
            let room = u32::try_from(room).expect("places are few");
            let claimed = self.catalog.webhooks().claim(waiting.webhook, room, self.lease_ms).await?;
            for pending in claimed {
                self.places.take(waiting);
                let (catalog, metrics) = (self.catalog.clone(), self.metrics.clone());
                let (sender, pause) = (self.sender.clone(), self.pause);
                under_way.spawn(async move {
                    let id = pending.webhook;
                    let delivering = deliver(&catalog, &metrics, &sender, pause, &pending);
                    // A mistake of ours was printed where it happened, and its place is free again.
                    let _ = AssertUnwindSafe(delivering).catch_unwind().await;
                    id
                });
            }
        }
        Ok(())
    }
}

/// One attempt, and what is said of it.
async fn deliver(catalog: &Catalog, metrics: &Metrics, sender: &Sender, pause: Duration, pending: &Pending) {
    let sent = sender.send(pending).await;
    let outcome = if sent.attempt.problem.is_none() {
        Outcome::Delivered
    } else if sent.is_gone {
        Outcome::Gone
    } else if pending.attempt >= ATTEMPTS_MAX {
        Outcome::Failed
    } else {
        let pause =
            pause_after(pause, pending.attempt, fastrand::f64()).max(sent.retry_after.unwrap_or_default());
        Outcome::Again(i64::try_from(pause.as_millis()).unwrap_or(i64::MAX))
    };
    let (webhook, event) = (pending.webhook, pending.event.id);
    debug!(%webhook, %event, status = sent.attempt.status, problem = sent.attempt.problem, "told a webhook of an event");
    metrics.webhooks.attempted(match outcome {
        Outcome::Delivered => Delivered::Taken,
        Outcome::Again(_) => Delivered::Again,
        Outcome::Failed | Outcome::Gone => Delivered::Failed,
    });
    match catalog.webhooks().record(pending, &sent.attempt, outcome, FAILING_MS_MAX).await {
        Ok(recorded) => {
            if recorded.state == DeliveryState::Failed {
                info!(%webhook, %event, attempts = pending.attempt, "an event was not delivered");
            }
            if let Some(why) = recorded.disabled {
                info!(%webhook, why, "a webhook is disabled");
            }
        }
        // Somebody else has it by now, or nobody wants it any more.
        Err(Error::Superseded | Error::NotFound) => {}
        Err(error) => {
            warn!(%webhook, %event, error = error.chain(), "what came of a delivery is lost; it is tried again");
        }
    }
}

/// The pause after the `nth` attempt, up to a quarter more or less by `chance`, 0 to 1: receivers that came back are not
/// asked for everything at once.
fn pause_after(first: Duration, nth: u64, chance: f64) -> Duration {
    let doubled = u32::try_from(nth.saturating_sub(1)).unwrap_or(u32::MAX);
    let pause = first.saturating_mul(PAUSE_FACTOR.saturating_pow(doubled)).min(PAUSE_MAX);
    pause.mul_f64(0.75 + chance / 2.0)
}

// === impl Places ===

impl Places {
    fn taken(&self) -> usize {
        self.taken.values().map(|(taken, _)| taken).sum()
    }

    /// How many more deliveries of a webhook may begin.
    fn room(&self, waiting: Waiting) -> usize {
        let own = self.taken.get(&waiting.webhook).map_or(0, |(taken, _)| *taken);
        let (most, of_all) = if waiting.is_failing {
            let failing: usize =
                self.taken.values().filter(|(_, is_failing)| *is_failing).map(|(taken, _)| taken).sum();
            (1, FAILING_PLACES.saturating_sub(failing))
        } else {
            (PLACES_OF_ONE, usize::MAX)
        };
        most.saturating_sub(own).min(of_all).min(PLACES.saturating_sub(self.taken()))
    }

    fn take(&mut self, waiting: Waiting) {
        let (taken, is_failing) = self.taken.entry(waiting.webhook).or_default();
        *taken += 1;
        *is_failing = waiting.is_failing;
    }

    fn leave(&mut self, ended: Result<WebhookId, tokio::task::JoinError>) {
        let id = ended.expect("nothing aborts them, and they catch what panics");
        if let Some((taken, _)) = self.taken.get_mut(&id) {
            *taken -= 1;
            if *taken == 0 {
                self.taken.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn webhook(nth: usize, is_failing: bool) -> Waiting {
        let id = format!("00000000-0000-7000-8000-{nth:012}");
        Waiting { webhook: WebhookId::parse(&id).expect("an id"), is_failing }
    }

    #[test]
    fn attempts_go_on_for_a_day() {
        let first = Duration::from_secs(5);
        let pauses: Vec<_> = (1..ATTEMPTS_MAX).map(|nth| pause_after(first, nth, 0.5)).collect();
        let seconds: Vec<_> = pauses.iter().map(Duration::as_secs).collect();
        assert_eq!(seconds, [5, 20, 80, 320, 1280, 5120, 20480, 28800, 28800]);
        let all: Duration = pauses.iter().sum();
        assert!((Duration::from_hours(23)..Duration::from_hours(25)).contains(&all), "{all:?}");
        assert_eq!(pause_after(first, 1, 0.0), Duration::from_millis(3750));
        assert_eq!(pause_after(first, 1, 1.0), Duration::from_millis(6250));
        assert_eq!(pause_after(first, u64::MAX, 0.5), PAUSE_MAX);
    }

    #[test]
    fn receivers_that_fail_leave_half_of_the_places_to_others() {
        let mut places = Places::default();
        for nth in 0..PLACES {
            let failing = webhook(nth, true);
            assert_eq!(places.room(failing), usize::from(nth < FAILING_PLACES), "{nth}");
            if places.room(failing) > 0 {
                places.take(failing);
                assert_eq!(places.room(failing), 0, "it has one");
            }
        }
        let mut nth = PLACES;
        while places.taken() < PLACES {
            let good = webhook(nth, false);
            assert_eq!(places.room(good), PLACES_OF_ONE);
            (0..PLACES_OF_ONE).for_each(|_| places.take(good));
            assert_eq!(places.room(good), 0);
            nth += 1;
        }
        assert_eq!(places.room(webhook(nth, false)), 0, "there is none left");
        places.leave(Ok(webhook(0, true).webhook));
        assert_eq!((places.room(webhook(nth, false)), places.room(webhook(0, true))), (1, 1));
    }
}
