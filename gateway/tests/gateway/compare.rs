//! The short form of every comparison: what `make compare` measures at length. No figure is judged here but those that
//! say whether answers were right.

use std::{path::Path, time::Duration};

use seekway_loadtests::{
    compare::{self, Also, CACHE_BYTES, Form, Plan, Report, Round, Scenario, catalogue},
    peers::Kind,
};

#[tokio::test]
async fn every_peer_serves_the_right_bytes_in_every_scenario() {
    let plan = Plan {
        gateway: Path::new(env!("CARGO_BIN_EXE_gateway")),
        rounds: 1,
        // Each ends by its number of requests, long before.
        time: Duration::from_mins(1),
        cache_bytes: CACHE_BYTES / 8,
    };
    let scenarios = catalogue(Form::Short);
    let report =
        compare::run(&plan, &scenarios, &Kind::ALL, |scenario| println!("{scenario}")).await.unwrap();

    assert_eq!(report.scenarios.len(), scenarios.len());
    for (ran, scenario) in report.scenarios.iter().zip(&scenarios) {
        let peers: Vec<_> = ran.peers.iter().map(|peer| peer.name.as_str()).collect();
        assert_eq!(peers, scenario.peers.iter().map(|kind| kind.name()).collect::<Vec<_>>());
        assert_eq!(ran.goals.len(), scenario.aims.len(), "nobody was left out: {ran}");
        for peer in &ran.peers {
            let [round] = peer.rounds.as_slice() else { panic!("one round: {ran}") };
            let found = &round.measurement;
            assert_eq!((found.failed, found.wrong), (0, 0), "{ran}");
            assert!(found.verified_bytes > 0, "{ran}");
            assert_eq!(asked(round), expected(scenario), "{ran}");
            assert_besides(round, scenario);
            let has_cpu = peer.name != "origin" && round.rate.is_none();
            assert_eq!(round.server_cpu_seconds.is_some(), has_cpu, "{ran}");
            assert_eq!(round.memory_bytes.is_some(), peer.name != "origin", "{ran}");
        }
    }

    let text = serde_json::to_string(&report).unwrap();
    let read: Report = serde_json::from_str(&text).unwrap();
    // Fractions may differ in their last digit, and so in how they are rounded.
    let words = |report: &Report| -> String {
        let text = report.to_string();
        text.chars().filter(|letter| !letter.is_ascii_digit() && !letter.is_whitespace()).collect()
    };
    assert_eq!(words(&read), words(&report));
    // What was asked of the origin is a whole number, and therefore the same after any detour.
    for (one, other) in read.scenarios.iter().zip(&report.scenarios) {
        let counts = |scenario: &compare::ScenarioReport| -> Vec<_> {
            scenario.peers.iter().flat_map(|peer| &peer.rounds).map(|round| round.origin).collect()
        };
        assert_eq!(counts(one), counts(other));
    }

    let page = report.html();
    for scenario in &report.scenarios {
        assert!(page.contains(&format!("<h2 id=\"{}\">", scenario.name)), "{}", scenario.name);
    }
    assert_eq!(
        page.matches("class=\"met\"").count() + page.matches("class=\"missed\"").count(),
        report.goals().count()
    );
    for drawn in [page, report.picture()] {
        assert!(drawn.contains("<rect") && !drawn.contains("NaN") && !drawn.contains("inf"), "{drawn}");
    }
}

/// Requests, or viewers; a search takes time instead.
fn asked(round: &Round) -> Option<u64> {
    let viewers = round.measurement.sessions.as_ref().map(|sessions| sessions.counts.begun);
    round.rate.is_none().then_some(viewers.unwrap_or(round.measurement.requests))
}

fn expected(scenario: &Scenario) -> Option<u64> {
    (!matches!(scenario.also, Also::Rate(_))).then_some(scenario.requests_max)
}

/// What was measured besides was right, too.
fn assert_besides(round: &Round, scenario: &Scenario) {
    let mut besides = Vec::new();
    match &scenario.also {
        Also::Nothing => {}
        Also::Beside(_) => besides.push(round.beside.as_ref().expect("a second workload")),
        Also::Crowds(_, sizes) => {
            let served: Vec<_> = round.crowds.iter().map(|crowd| (crowd.served, crowd.refused)).collect();
            assert_eq!(served, sizes.iter().map(|size| (*size as u64, 0)).collect::<Vec<_>>());
            besides.extend(round.crowds.iter().map(|crowd| &crowd.measurement));
        }
        Also::Rate(search) => {
            let found = round.rate.as_ref().expect("a rate");
            assert!(found.steps.len() <= search.steps + search.refinements, "{found:?}");
            for step in &found.steps {
                assert_eq!((step.measured.failed, step.measured.wrong), (0, 0), "{step:?}");
            }
        }
    }
    for found in besides {
        assert_eq!((found.requests, found.failed, found.wrong), (scenario.requests_max, 0, 0), "{found:?}");
    }
}

#[tokio::test]
async fn the_worker_is_measured_beside_ffmpeg_alone() {
    let gateway = Path::new(env!("CARGO_BIN_EXE_gateway"));
    let found = compare::transcoding::run(gateway, 4, 2, |_| {}).await.unwrap();
    assert_eq!((found.rounds.len(), found.goals.len()), (2, 3), "{found}");
    for round in &found.rounds {
        let all = [round.playable, round.encode, round.bare, round.ladder, round.each];
        assert!(all.iter().all(|seconds| *seconds > 0.0), "{found}");
        assert!(round.playable > round.encode, "{found}");
    }
    println!("{found}");
}
