//! An origin with 3 % of answers ten times later than the rest: what asking a second time does about it.

use std::time::Duration;

use super::{Figures, Scenario, Stage, Value};
use crate::{
    Error,
    cold_seek::Scenario as Seeks,
    hedging,
    origin::{Shape, Tail},
};

pub(super) const SCENARIO: Scenario = Scenario {
    name: "late-answers",
    promise: "with 3 % of the origin's answers ten times later, hedging halves TTFB p99 for 5 % more requests",
    run: |stage| Box::pin(run(stage)),
};

async fn run(stage: &Stage) -> Result<Figures, Error> {
    let long = hedging::scenario();
    // More of them are late in the short form, so that there are some.
    let short_tail = Tail { fraction: 0.06, factor: 10.0 };
    let short_shape =
        Shape { first_byte_latency: Duration::from_millis(10), tail: Some(short_tail), ..Shape::default() };
    let (seeks, shape) = stage.pick((300, short_shape), (long.seeks, hedging::shape()));
    let report = hedging::run(stage.binary(), Vec::new(), shape, &Seeks { seeks, ..long }).await?;

    let mut figures = Figures::default();
    let hedges = report.requests_on.saturating_sub(report.requests_off);
    figures.note("cold seeks, without hedging and with", Value::Count(seeks as u64));
    figures.at_least("asked a second time", Value::Count(hedges), Value::Count(1));
    // Each read earns a twentieth of a second request, those of the warm-up too.
    figures.at_most("no more than 5 %", Value::Count(hedges), Value::Count(seeks as u64 / 20));
    figures.note("TTFB p99 without", Value::Millis(report.off.p99_ms));
    figures.note("TTFB p99 with", Value::Millis(report.on.p99_ms));
    let ratio = Value::Ratio(report.on.p99_ms / report.off.p99_ms);
    // Times are for a quiet machine, not for a test.
    match stage.pick(None, Some(hedging::aims::TTFB_P99_RATIO)) {
        Some(aim) => figures.at_most("of it", ratio, Value::Ratio(aim)),
        None => figures.note("of it", ratio),
    }
    Ok(figures)
}
