//! How many viewers a second a server has room for: more and more of them come, until it answers late.
//!
//! The search goes up in steps, and then between the last rate that went well and the first that did not. At the end
//! a smaller rate is held for longer, where nobody's picture may stand still.

use std::{sync::Arc, time::Duration};

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
        assert!(self.from > 0.0 && self.factor > 1.0 && self.steps > 0, "no search: {self:?}");
        let mut seed = plan.seed;
        let mut step = async |per_second, time| {
            seed += 1;
            let plan = Drive { seed, length: Length::time(time), ..plan.clone() };
            let workload = Workload::Players(Players { per_second, ..players });
            let measured = drive(target, workload, &plan).await?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        load::{Film, Progress},
        origin::{Origin, Shape},
    };

    fn search() -> RateSearch {
        RateSearch {
            from: 20.0,
            factor: 2.0,
            steps: 3,
            refinements: 2,
            step: Duration::from_millis(200),
            held: Duration::from_millis(200),
            ..RateSearch::default()
        }
    }

    async fn run(shape: Shape) -> RateFound {
        let origin = Origin::start(shape).unwrap();
        origin.put_pattern("media", &Film::name(0), 1 << 20, 0);
        let target = Arc::new(Target::of_patterns(origin.address(), "/media/", 1, 1 << 20));
        let players = Players { speed: 10.0, ..Players::default() };
        let plan = Drive {
            threads: 2,
            length: Length::requests(1),
            seed: 1,
            verify_every: 0,
            progress: Progress::default(),
        };
        search().run(&target, players, &plan).await.unwrap()
    }

    #[tokio::test]
    async fn a_server_that_is_late_from_the_beginning_has_no_better_rate() {
        let late = Shape { first_byte_latency: Duration::from_millis(120), ..Shape::default() };
        let found = run(late).await;
        assert_eq!((found.steps.len(), found.limit), (1, RateLimit::Late), "{found:?}");
        assert!((found.per_second - 20.0).abs() < 1e-9 && (found.held.per_second - 14.0).abs() < 1e-9);
        let failing = run(Shape { error_rate: 1.0, ..Shape::default() }).await;
        assert_eq!((failing.steps.len(), failing.limit), (1, RateLimit::Failures), "{failing:?}");
        let json = serde_json::to_string(&failing).unwrap();
        assert_eq!(serde_json::from_str::<RateFound>(&json).unwrap(), failing);
    }
}
