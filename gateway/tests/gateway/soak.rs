//! The short form of every soak scenario: what `make soak` runs at length.

use seekway_loadtests::soak::{Length, SCENARIOS};

/// One after the other: each looks at what its gateway weighs, and some at what the machine does.
#[tokio::test]
async fn every_promise_is_kept() {
    let mut broken = Vec::new();
    for scenario in SCENARIOS {
        let outcome = scenario.run(env!("CARGO_BIN_EXE_gateway"), Length::Short).await;
        let outcome = outcome.unwrap_or_else(|error| panic!("{} could not be run: {error}", scenario.name));
        println!("{outcome}");
        if !outcome.kept {
            broken.push(scenario.name);
        }
    }
    assert!(broken.is_empty(), "broken: {broken:?}; the figures are above");
}
