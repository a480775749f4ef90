//! How much there is to do, for who decides how many workers there are: metrics, a small document on the admin listener
//! (KEDA's `metrics-api` scaler reads it), and lines that `CloudWatch` makes metrics of.

use std::io::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use http::{Response, StatusCode};
use seekway_catalog::{Backlog, Catalog, Outstanding};
use seekway_queue::{Depth, Doorbells};
use serde::Serialize;
use serde_json::Value;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::delivery::body::Payload;
use crate::json;
use crate::metrics::Metrics;
use crate::respond::Problem;
use crate::routes::BadQuery;

const COUNT_EVERY: Duration = Duration::from_secs(5);
/// A broker that takes longer is away.
const BROKER_WITHIN: Duration = Duration::from_secs(5);
/// What is older is no answer to how much there is to do now.
const STALE_AFTER: Duration = Duration::from_secs(30);
/// What `CloudWatch` files the metrics under.
const NAMESPACE: &str = "Seekway";

/// What there was to do when it was last looked at, by all gateways and workers together.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Work {
    jobs: Backlog,
    outstanding: Outstanding,
    /// What the backend of the doorbells says; `None` while it does not answer.
    queue: Option<Depth>,
}

/// The newest of it.
#[derive(Debug, Default)]
pub(crate) struct NewestWork(Mutex<Option<(Instant, Work)>>);

/// What the admin listener says of it.
#[derive(Debug, Serialize)]
pub(crate) struct WorkDocument {
    /// Seconds that one slot of a worker would be at it, with what is left of what runs.
    work_seconds: f64,
    waiting_seconds: f64,
    running_seconds: f64,
    /// Jobs whose length nobody knows yet: their part is by their bytes.
    jobs_unprobed: u64,
    jobs_due: u64,
    jobs_claimed: u64,
    jobs_dead: u64,
    oldest_due_seconds: f64,
    queue: QueueDocument,
}

/// What the broker says; `null` is what it does not tell.
#[derive(Debug, Serialize)]
struct QueueDocument {
    is_up: bool,
    waiting: Option<u64>,
    oldest_seconds: Option<f64>,
    in_flight: Option<u64>,
    dead: Option<u64>,
}

// === impl Work ===

impl Work {
    async fn count(catalog: &Catalog, doorbells: &dyn Doorbells) -> Result<Self, seekway_catalog::Error> {
        let jobs = catalog.jobs().backlog().await?;
        let outstanding = catalog.jobs().outstanding().await?;
        let queue = timeout(BROKER_WITHIN, doorbells.depth()).await.ok().and_then(Result::ok);
        Ok(Self { jobs, outstanding, queue })
    }

    /// What the backend of the doorbells says, while it answers.
    pub(crate) fn queue(&self) -> Option<Depth> {
        self.queue
    }

    /// How long the job has been due that has been so longest.
    pub(crate) fn oldest_due(&self) -> Duration {
        Duration::from_millis(self.jobs.oldest_ms.unwrap_or_default())
    }

    /// Of jobs that wait, in seconds, and what is left of those that run.
    pub(crate) fn seconds(&self) -> [f64; 2] {
        [self.outstanding.waiting_seconds, self.outstanding.running_seconds]
    }

    /// For programs.
    pub(crate) fn document(&self) -> WorkDocument {
        let Outstanding { waiting_seconds, running_seconds, unprobed } = self.outstanding;
        WorkDocument {
            work_seconds: rounded(waiting_seconds + running_seconds),
            waiting_seconds: rounded(waiting_seconds),
            running_seconds: rounded(running_seconds),
            jobs_unprobed: unprobed,
            jobs_due: self.jobs.due,
            jobs_claimed: self.jobs.claimed,
            jobs_dead: self.jobs.dead,
            oldest_due_seconds: rounded(self.oldest_due().as_secs_f64()),
            queue: QueueDocument {
                is_up: self.queue.is_some(),
                waiting: self.queue.map(|queue| queue.waiting),
                oldest_seconds: self.queue.and_then(|queue| Some(rounded(queue.oldest?.as_secs_f64()))),
                in_flight: self.queue.and_then(|queue| queue.in_flight),
                dead: self.queue.map(|queue| queue.dead),
            },
        }
    }

    /// The embedded metric format of `CloudWatch`
    /// (<https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/CloudWatch_Embedded_Metric_Format_Specification.html>):
    /// a line of a log that is a measurement, too.
    pub(crate) fn embedded_metrics(&self, now: SystemTime) -> Value {
        let said = self.document();
        let mut values = vec![
            ("WorkSeconds", "Seconds", serde_json::json!(said.work_seconds)),
            ("OldestDueSeconds", "Seconds", serde_json::json!(said.oldest_due_seconds)),
            ("JobsDue", "Count", serde_json::json!(said.jobs_due)),
            ("JobsClaimed", "Count", serde_json::json!(said.jobs_claimed)),
            ("JobsDead", "Count", serde_json::json!(said.jobs_dead)),
        ];
        let told = [
            ("QueueWaiting", "Count", said.queue.waiting.map(|value| serde_json::json!(value))),
            (
                "QueueOldestSeconds",
                "Seconds",
                said.queue.oldest_seconds.map(|value| serde_json::json!(value)),
            ),
            ("QueueInFlight", "Count", said.queue.in_flight.map(|value| serde_json::json!(value))),
            ("QueueDead", "Count", said.queue.dead.map(|value| serde_json::json!(value))),
        ];
        values.extend(told.into_iter().filter_map(|(name, unit, value)| Some((name, unit, value?))));
        let metrics: Vec<_> =
            values.iter().map(|(name, unit, _)| serde_json::json!({ "Name": name, "Unit": unit })).collect();
        let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let directive =
            serde_json::json!([{ "Namespace": NAMESPACE, "Dimensions": [[]], "Metrics": metrics }]);
        let timestamp = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let mut line =
            serde_json::json!({ "_aws": { "Timestamp": timestamp, "CloudWatchMetrics": directive } });
        for (name, _, value) in values {
            line[name] = value;
        }
        line
    }
}

// === impl NewestWork ===

impl NewestWork {
    fn set(&self, work: Work) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), work));
    }

    /// Unless it is too old to be of use.
    pub(crate) fn get(&self) -> Option<Work> {
        let (counted, work) = (*self.0.lock().unwrap_or_else(PoisonError::into_inner))?;
        (counted.elapsed() < STALE_AFTER).then_some(work)
    }
}

/// Counts until `stop`, and writes a line for `CloudWatch` to stdout as often as is wished.
pub(crate) async fn count(
    catalog: Catalog,
    doorbells: Arc<dyn Doorbells>,
    metrics: Arc<Metrics>,
    emf_every: Option<Duration>,
    stop: CancellationToken,
) {
    let (mut is_away, mut written) = (false, None::<Instant>);
    let counting = async {
        loop {
            match Work::count(&catalog, &*doorbells).await {
                Ok(work) => {
                    is_away = false;
                    metrics.transcoding.work.set(work);
                    let is_due = |every| written.is_none_or(|at| at.elapsed() >= every);
                    if emf_every.is_some_and(is_due) {
                        written = Some(Instant::now());
                        let line = work.embedded_metrics(SystemTime::now());
                        // Whoever closed the output does not want it.
                        let _ = writeln!(std::io::stdout(), "{line}");
                    }
                }
                Err(error) if !is_away => {
                    is_away = true;
                    warn!(error = error.chain(), "cannot count what there is to do");
                }
                Err(_) => {}
            }
            sleep(COUNT_EVERY).await;
        }
    };
    stop.run_until_cancelled(counting).await;
}

/// The answer to whoever asks how much there is to do, or `format=emf` the line for `CloudWatch`.
///
/// # Errors
/// [`Problem::Uncounted`], so that nobody decides by what is old; [`Problem::BadQuery`].
pub(crate) fn work_answer(metrics: &Metrics, query: Option<&str>) -> Result<Response<Payload>, Problem> {
    let work = metrics.transcoding.work.get().ok_or(Problem::Uncounted);
    match query.unwrap_or_default() {
        "" => Ok(json::response(StatusCode::OK, &work?.document())),
        "format=emf" => Ok(json::response(StatusCode::OK, &work?.embedded_metrics(SystemTime::now()))),
        _ => Err(Problem::BadQuery(BadQuery::Format)),
    }
}

/// To thousandths: what is behind them nobody knows.
fn rounded(seconds: f64) -> f64 {
    (seconds * 1e3).round() / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn work() -> Work {
        Work {
            jobs: Backlog { due: 3, oldest_ms: Some(4200), claimed: 2, dead: 1 },
            outstanding: Outstanding { waiting_seconds: 90.0, running_seconds: 10.55555, unprobed: 1 },
            queue: Some(Depth { waiting: 3, oldest: None, in_flight: Some(0), dead: 1 }),
        }
    }

    #[test]
    fn a_scaler_reads_one_number() {
        let said = serde_json::to_value(work().document()).expect("a document");
        assert_eq!(said["work_seconds"], 100.556);
        assert_eq!(said["oldest_due_seconds"], 4.2);
        assert_eq!(said["queue"]["oldest_seconds"], Value::Null);
        let away = Work { queue: None, ..work() };
        assert_eq!(serde_json::to_value(away.document()).expect("a document")["queue"]["is_up"], false);
    }

    #[test]
    fn each_metric_of_a_line_has_its_value_and_no_other_is_named() {
        let line = work().embedded_metrics(UNIX_EPOCH + Duration::from_secs(1));
        assert_eq!(line["_aws"]["Timestamp"], 1000);
        let named = line["_aws"]["CloudWatchMetrics"][0]["Metrics"].as_array().expect("a list");
        for metric in named {
            assert!(line[metric["Name"].as_str().expect("a name")].is_number(), "{metric}");
        }
        assert_eq!(named.len() + 1, line.as_object().expect("an object").len());
        assert!(line.get("QueueOldestSeconds").is_none(), "the broker does not tell it");
    }

    #[test]
    fn what_is_old_is_no_answer() {
        let newest = NewestWork::default();
        assert!(newest.get().is_none());
        newest.set(work());
        assert!(newest.get().is_some());
        let long_ago = Instant::now().checked_sub(STALE_AFTER).expect("the machine runs longer");
        *newest.0.lock().expect("nobody panics") = Some((long_ago, work()));
        assert!(newest.get().is_none());
    }
}
