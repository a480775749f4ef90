//! The short form of `loadtest hedging`: that late reads are asked again within the budget. How much earlier they
//! are is for the long form to say, on a quiet machine.

use std::time::Duration;

use seekway_loadtests::cold_seek::Scenario;
use seekway_loadtests::hedging;
use seekway_loadtests::origin::{Shape, Tail};

#[tokio::test]
async fn late_reads_are_asked_again_within_the_budget() {
    const SEEKS: usize = 300;
    let scenario = Scenario { seeks: SEEKS, ..hedging::scenario() };
    let shape = Shape {
        first_byte_latency: Duration::from_millis(10),
        tail: Some(Tail { fraction: 0.06, factor: 10.0 }),
        ..Shape::default()
    };
    let binary = env!("CARGO_BIN_EXE_gateway").into();
    let report = hedging::run(binary, Vec::new(), shape, &scenario).await.expect("every byte is right");
    let hedges = report.requests_on - report.requests_off;
    assert!((1..=SEEKS as u64 / 20).contains(&hedges), "{hedges} hedges\n{report}");
}
