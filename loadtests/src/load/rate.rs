//! How many viewers a second a server has room for: more and more of them come, until it answers late.
//!
//! The search goes up in steps, and then between the last rate that went well and the first that did not. At the end
//! a smaller rate is held for longer, where nobody's picture may stand still.

use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{Drive, Length, Measurement, Players, Target, Workload, drive};
use crate::Error;

/// What is looked for, and how long.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RateSearch {
    /// Viewers a second in the first step.
    pub from: f64,
    /// Each step has so many times the viewers of the one before it; above 1.
    pub factor: f64,
    /// No more steps up than these.
    pub steps: usize,
    /// Steps between the last that went well and the first that did not.
    pub refinements: usize,
    /// How long a step takes, of the clock. It should be longer than viewers stay.
    pub step: Duration,
    /// The 95th percentile of TTFB that is too late.
    pub late: Duration,
    /// The share of the rate that is held at the end.
    pub held_share: f64,
    /// How long it is.
    pub held: Duration,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RateFound {
    /// In the order in which they were tried.
    pub steps: Vec<RateStep>,
    /// The lowest rate that did not go well; the highest that was tried, if all did.
    pub per_second: f64,
    /// Why no more was tried.
    pub limit: RateLimit,
    /// The share of it that was held.
    pub held: RateStep,
}

/// A rate and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RateStep {
    /// Viewers a second.
    pub per_second: f64,
    /// What they met with.
    pub measured: Measurement,
}

/// What does not allow more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RateLimit {
    /// The server answered late.
    Late,
    /// Requests failed.
    Failures,
    /// The client had no time left. The server may have room for more.
    Client,
    /// All steps went well. The server may have room for more.
    Steps,
}

impl Default for RateSearch {
    fn default() -> Self {
        Self {
            from: 10.0,
            factor: 1.5,
            steps: 15,
            refinements: 2,
            step: Duration::from_secs(10),
            late: Duration::from_millis(100),
            held_share: 0.7,
            held: Duration::from_secs(20),
        }
    }
}

// === impl RateSearch ===

impl RateSearch {
    /// Searches with viewers like `players`, whatever their rate, and `plan`, whatever its length. Each step has viewers
    /// of its own.
    pub async fn run(
        &self,
        target: &Arc<Target>,
        players: Players,
        plan: &Drive,
    ) -> Result<RateFound, Error> {
        let mut seed = plan.seed;
        let step = async |per_second, time| {
            seed += 1;
            let plan = Drive { seed, length: Length::time(time), ..plan.clone() };
            drive(target, Workload::Players(Players { per_second, ..players }), &plan).await
        };
        self.search(step).await
    }

    /// `measure` lets so many viewers a second come, for so long.
    async fn search(
        &self,
        mut measure: impl AsyncFnMut(f64, Duration) -> Result<Measurement, Error>,
    ) -> Result<RateFound, Error> {
        assert!(self.from > 0.0 && self.factor > 1.0 && self.steps > 0, "no search: {self:?}");
        let mut step = async |per_second, time| {
            let measured = measure(per_second, time).await?;
            Ok::<_, Error>(RateStep { per_second, measured })
        };
        let mut steps = Vec::new();
        let (mut well, mut bad) = (None, None);
        let mut per_second = self.from;
        for _ in 0..self.steps {
            let tried = step(per_second, self.step).await?;
            let limit = self.limit(&tried.measured);
            steps.push(tried);
            if let Some(limit) = limit {
                bad = Some((per_second, limit));
                break;
            }
            well = Some(per_second);
            per_second *= self.factor;
        }
        if let (Some(mut well), Some(found)) = (well, &mut bad) {
            for _ in 0..self.refinements {
                let between = (well * found.0).sqrt();
                let tried = step(between, self.step).await?;
                let limit = self.limit(&tried.measured);
                steps.push(tried);
                match limit {
                    Some(limit) => *found = (between, limit),
                    None => well = between,
                }
            }
        }
        let (per_second, limit) = bad.or(well.map(|well| (well, RateLimit::Steps))).expect("there is a step");
        let held = step(per_second * self.held_share, self.held).await?;
        Ok(RateFound { steps, per_second, limit, held })
    }

    /// Why no more can be asked of the server than in this step.
    fn limit(&self, measured: &Measurement) -> Option<RateLimit> {
        // The client comes first: its own delays make answers late.
        if measured.client_was_the_limit() {
            Some(RateLimit::Client)
        } else if measured.failed + measured.wrong > 0 {
            Some(RateLimit::Failures)
        } else {
            (measured.ttfb.p95 > self.late.as_secs_f64() * 1e3).then_some(RateLimit::Late)
        }
    }
}

// === impl RateFound ===

/// What the limit is.
impl fmt::Display for RateFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let rate = self.per_second;
        match self.limit {
            RateLimit::Late => write!(f, "at {rate:.1} viewers a second the answers are late"),
            RateLimit::Failures => write!(f, "at {rate:.1} viewers a second requests fail"),
            RateLimit::Client => write!(
                f,
                "at {rate:.1} viewers a second the client is the bottleneck; the server may have room for more"
            ),
            RateLimit::Steps => {
                write!(f, "all went well up to {rate:.1} viewers a second; there may be room for more")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        load::{Film, Progress, Recorder},
        origin::{Origin, Shape},
    };

    fn search() -> RateSearch {
        RateSearch { from: 10.0, factor: 2.0, steps: 5, refinements: 2, ..RateSearch::default() }
    }

    /// A server that has room for 50 viewers a second, and then goes wrong like this.
    async fn found(search: RateSearch, go_wrong: fn(&mut Measurement)) -> (Vec<f64>, RateFound) {
        let mut tried = Vec::new();
        let measure = async |per_second, _| {
            tried.push(per_second);
            let mut measured = Recorder::new().measurement(Duration::from_secs(1));
            (measured.client_threads, measured.client_cpu_seconds) = (2, 1.0);
            if per_second > 50.0 {
                go_wrong(&mut measured);
            }
            Ok(measured)
        };
        let found = search.search(measure).await.unwrap();
        assert_eq!(found.steps.len() + 1, tried.len());
        (tried, found)
    }

    #[tokio::test]
    async fn the_search_goes_up_then_between_and_holds_less() {
        let (tried, late) = found(search(), |measured| measured.ttfb.p95 = 101.0).await;
        let between = 3200_f64.sqrt();
        let expected = [10.0, 20.0, 40.0, 80.0, between, (40.0 * between).sqrt(), 0.7 * between];
        assert_eq!((tried.len(), late.limit), (expected.len(), RateLimit::Late));
        for (tried, expected) in tried.into_iter().zip(expected) {
            assert!((tried - expected).abs() < 1e-9, "{tried} {expected}");
        }
        assert!((late.per_second - between).abs() < 1e-9);
    }

    #[tokio::test]
    async fn what_ends_the_search_is_said_and_the_clients_own_limit_first() {
        let (_, failing) = found(search(), |measured| measured.failed = 1).await;
        assert_eq!(failing.limit, RateLimit::Failures);
        let busy = |measured: &mut Measurement| {
            (measured.failed, measured.ttfb.p95, measured.client_queued_seconds) = (1, 500.0, 0.9);
        };
        assert_eq!(found(search(), busy).await.1.limit, RateLimit::Client);
        let (tried, all_well) = found(RateSearch { steps: 3, ..search() }, busy).await;
        assert_eq!((tried.len(), all_well.limit), (4, RateLimit::Steps));
        assert!((all_well.held.per_second - 28.0).abs() < 1e-9);
    }

    #[tokio::test]
    async fn a_server_is_searched_with_other_viewers_in_each_step() {
        let origin = Origin::start(Shape::default()).unwrap();
        origin.put_pattern("media", &Film::name(0), 1 << 20, 0);
        let target = Arc::new(Target::of_patterns(origin.address(), "/media/", 1, 1 << 20));
        let players = Players { speed: 10.0, ..Players::default() };
        let progress = Progress::default();
        let plan = Drive { threads: 2, length: Length::requests(1), seed: 1, verify_every: 0, progress };
        let time = Duration::from_millis(100);
        let short = RateSearch { from: 100.0, steps: 2, refinements: 0, step: time, held: time, ..search() };
        let found = short.run(&target, players, &plan).await.unwrap();
        for step in found.steps.iter().chain([&found.held]) {
            assert!(step.measured.sessions.as_ref().unwrap().counts.begun > 0, "{step:?}");
            assert_eq!((step.measured.failed, step.measured.wrong), (0, 0), "{step:?}");
        }
    }
}
