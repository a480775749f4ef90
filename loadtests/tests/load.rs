//! `loadtest load` as a person runs it: what it says, and how it ends.

use std::process::{Command, Output};

use seekway_loadtests::origin::{Origin, Shape};

const FILM: &str = "/media/film-0.mp4";

fn origin() -> Origin {
    let origin = Origin::start(Shape::default()).expect("a free port");
    for film in 0..2 {
        origin.put_pattern("media", &format!("film-{film}.mp4"), 64 << 20, film);
    }
    origin
}

fn load(url: &str, arguments: &[&str]) -> (i32, String, String) {
    let output: Output = Command::new(env!("CARGO_BIN_EXE_loadtest"))
        .args(["load", "--target", url, "--time", "30s"])
        .args(arguments)
        .output()
        .expect("the command starts");
    let text = |bytes| String::from_utf8(bytes).expect("it prints text");
    (output.status.code().expect("it ends by itself"), text(output.stdout), text(output.stderr))
}

#[test]
fn every_scenario_runs_and_its_figures_are_kept() {
    let origin = origin();
    let folder = tempfile::tempdir().unwrap();
    let json = folder.path().join("load.json");
    let other = origin.endpoint() + "/media/film-1.mp4";
    let names = ["ranges", "seeks", "in-order", "churn", "herd", "hot-herd", "crowd", "players"];
    let scenarios: Vec<_> = names.iter().flat_map(|name| ["--scenario", name]).collect();
    let knobs = [
        "--target",
        &other,
        "--pattern-seed",
        "0",
        "--requests",
        "24",
        "--connections",
        "8",
        "--clients",
        "20",
        "--rate",
        "200",
        "--speed",
        "100",
        "--watched",
        "10s",
        "--json",
        json.to_str().unwrap(),
    ];
    let (code, stdout, stderr) = load(&(origin.endpoint() + FILM), &[&scenarios[..], &knobs].concat());
    assert_eq!(code, 0, "{stdout}{stderr}");
    assert!(stdout.contains("2 objects (128.0 MiB)"), "{stdout}");
    assert!(!stdout.contains("not verified") && !stdout.contains("MISSED"), "{stdout}");
    let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&json).unwrap()).unwrap();
    let outcomes = report["outcomes"].as_array().unwrap();
    assert_eq!(outcomes.len(), names.len());
    for (outcome, name) in outcomes.iter().zip(names) {
        assert_eq!(outcome["scenario"], name);
        assert!(stdout.contains(&format!("\n{name}: ")), "{name}: {stdout}");
        let found = &outcome["found"];
        let measured = if name == "crowd" { &found["crowd"]["beside"] } else { &found["measured"] };
        assert!(measured["failed"] == 0 && measured["wrong"] == 0, "{outcome}");
        assert!(measured["verified_bytes"].as_u64().unwrap() > 0, "{outcome}");
        // Viewers ask again after a seek.
        assert!(measured["requests"] == 24 || name == "players", "{outcome}");
    }
}

#[test]
fn a_gate_that_is_missed_is_the_exit_code() {
    let origin = origin();
    let run = |gates: &[&str]| {
        let usual = ["--scenario", "ranges", "--requests", "40", "--connections", "2"];
        load(&(origin.endpoint() + FILM), &[&usual, gates].concat())
    };
    let (code, stdout, _) =
        run(&["--p50-under", "1h", "--p95-under", "1h", "--p99-under", "1h", "--min-throughput", "1B"]);
    assert_eq!(code, 0, "{stdout}");
    assert!(stdout.contains("bodies are not verified"), "{stdout}");
    for (gate, missed) in [
        (&["--p50-under", "1ns"], "TTFB p50 is"),
        (&["--p95-under", "1ns"], "TTFB p95 is"),
        (&["--p99-under", "1ns"], "TTFB p99 is"),
        (&["--min-throughput", "1PB"], "MB/s, not"),
    ] {
        let (code, stdout, _) = run(gate);
        assert_eq!(code, 1, "{gate:?}: {stdout}");
        assert!(stdout.contains(missed) && stdout.matches("MISSED").count() == 1, "{gate:?}: {stdout}");
    }
    // A wrong seed makes every body that is looked at wrong: 3 of 40.
    let (code, stdout, _) = run(&["--pattern-seed", "9"]);
    assert_eq!(code, 1, "{stdout}");
    assert!(stdout.contains("MISSED  3 failed"), "{stdout}");
    let (code, stdout, _) = run(&["--pattern-seed", "9", "--failed-under", "0.08"]);
    assert_eq!(code, 0, "{stdout}");
    let (code, stdout, _) = run(&["--pattern-seed", "9", "--failed-under", "0.07"]);
    assert_eq!(code, 1, "{stdout}");
}

#[test]
fn what_cannot_be_loaded_is_explained() {
    let origin = origin();
    let here = origin.endpoint();
    let ranges = ["--scenario", "ranges"];
    for (url, arguments, why) in [
        (here.clone() + "/media/none.mp4", &ranges[..], "not found (404)"),
        (here.replace("http:", "https:") + FILM, &ranges, "https is not spoken"),
        ("http://nowhere.invalid/film.mp4".to_owned(), &ranges, "does not resolve"),
        // Of a network that documentation has for itself (RFC 5737): nothing is sent.
        ("http://192.0.2.1/film.mp4".to_owned(), &ranges, "--i-own-it"),
        (here.clone() + FILM, &["--scenario", "ranges", "--bytes", "1GiB"], "objects of at least 1.0 GiB"),
        (here.clone() + FILM, &["--scenario", "dance"], "possible values: ranges, seeks"),
        (here.clone() + FILM, &["--scenario", "players", "--speed", "0"], "above 0"),
        (here.clone() + FILM, &["--scenario", "find-rate"], "than viewers stay, which is 300s"),
    ] {
        let (code, stdout, stderr) = load(&url, arguments);
        assert_eq!(code, 2, "{url}: {stdout}{stderr}");
        assert!(stderr.contains(why), "{url}: {stderr}");
    }
    assert!(origin.counts().gets <= 4, "nothing but probes");
}
