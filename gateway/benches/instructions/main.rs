//! Instructions and allocations of the hottest paths. They are counted, not timed, so that a regression of a few
//! percent shows on a machine that is busy with other things.
//!
//! Each case runs in a process of its own under callgrind, which runs every instruction on a simulated processor
//! and counts those inside of one function (`cases.rs`). The counts are compared with `kept.json`; `--keep` writes
//! it anew.

mod allocations;
mod cases;
#[path = "../stand/mod.rs"]
mod stand;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use serde::{Deserialize, Serialize};

use cases::{CASES, OPERATIONS};

/// How many percent more instructions are a regression. Runs of one binary differ by up to 0.7 % (the hashes of maps
/// are seeded at random); the cases without a whole request by 0.03 %.
const TOLERANCE_PERCENT: f64 = 3.0;

/// What a case costs, for each operation.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Counts {
    instructions: u64,
    allocations: u64,
}

/// The counts to compare with.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    /// What compiled them. Another compiler makes other instructions of the same code.
    compiler: String,
    cases: BTreeMap<String, Counts>,
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    match args[..] {
        ["--run", case] => {
            println!("{}", cases::run(case));
            ExitCode::SUCCESS
        }
        ["--bench"] => compare(),
        ["--keep", "--bench"] => {
            keep();
            ExitCode::SUCCESS
        }
        // `cargo test --benches`: whether they run at all.
        [] => {
            for case in CASES {
                cases::run(case);
            }
            ExitCode::SUCCESS
        }
        _ => {
            eprintln!("only --keep is known here, which writes {} anew; not {args:?}", kept_file().display());
            ExitCode::FAILURE
        }
    }
}

/// Counts, and says how that compares with what is kept.
fn compare() -> ExitCode {
    let file = kept_file();
    let text = fs::read(&file)
        .unwrap_or_else(|error| panic!("{}: {error}; make bench-keep writes it", file.display()));
    let kept: Kept =
        serde_json::from_slice(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let compiler = compiler();
    let is_comparable = compiler == kept.compiler;
    let (mut regressions, mut gains) = (0, 0);
    for case in CASES {
        let now = count(case);
        let Some(before) = kept.cases.get(case) else {
            println!("{case}: {now}, nothing kept");
            continue;
        };
        let percent = percent_more(now.instructions, before.instructions);
        let is_regression = percent > TOLERANCE_PERCENT || now.allocations > before.allocations;
        // Until it is kept, as much could be lost again and nobody would see it.
        let is_gain = percent < -TOLERANCE_PERCENT && !is_regression;
        regressions += u32::from(is_regression);
        gains += u32::from(is_gain);
        let verdict = match (is_regression, is_gain) {
            (true, _) => "  REGRESSION",
            (_, true) => "  NOT KEPT",
            _ => "",
        };
        println!("{case}: {now}, {percent:+.1} % against the kept {before}{verdict}");
    }
    if !is_comparable {
        println!(
            "not judged: these were compiled by {compiler}, the kept by {}; make bench-keep",
            kept.compiler
        );
    } else if regressions > 0 {
        println!(
            "{regressions} above the kept counts by more than {TOLERANCE_PERCENT} %, or with more allocations"
        );
        return ExitCode::FAILURE;
    } else if gains > 0 {
        println!(
            "{gains} below the kept counts by more than {TOLERANCE_PERCENT} %; make bench-keep keeps what was gained"
        );
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

/// Counts, and keeps the counts.
fn keep() {
    let cases = CASES.map(|case| {
        let counts = count(case);
        println!("{case}: {counts}");
        (case.to_owned(), counts)
    });
    let kept = Kept { compiler: compiler(), cases: BTreeMap::from(cases) };
    let text = serde_json::to_string_pretty(&kept).expect("names and numbers are JSON") + "\n";
    fs::write(kept_file(), text).unwrap_or_else(|error| panic!("{}: {error}", kept_file().display()));
    println!("kept in {}", kept_file().display());
}

/// Runs a case under callgrind.
fn count(case: &str) -> Counts {
    let profile = Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join(format!("callgrind.{}.out", case.replace([' ', ','], "")));
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--quiet", "--tool=callgrind", "--toggle-collect=*cases::counted*"]);
    valgrind.arg(format!("--callgrind-out-file={}", profile.display()));
    valgrind.arg(std::env::current_exe().expect("its own path")).args(["--run", case]);
    let output = valgrind
        .output()
        .unwrap_or_else(|error| panic!("valgrind: {error}; scripts/setup bench installs it"));
    assert!(output.status.success(), "{valgrind:?}: {}", String::from_utf8_lossy(&output.stderr));
    let allocations =
        String::from_utf8_lossy(&output.stdout).trim().parse::<u64>().expect("it prints a number");
    let text = fs::read_to_string(&profile).unwrap_or_else(|error| panic!("{}: {error}", profile.display()));
    let instructions = text.lines().find_map(|line| line.strip_prefix("totals: ")?.parse::<u64>().ok());
    let instructions = instructions.filter(|count| *count > 0).expect("callgrind met the counted function");
    let [instructions, allocations] =
        [instructions, allocations].map(|all| (all + OPERATIONS / 2) / OPERATIONS);
    Counts { instructions, allocations }
}

fn percent_more(now: u64, before: u64) -> f64 {
    let [now, before] = [now, before].map(|count| f64::from(u32::try_from(count).expect("a case is short")));
    (now / before - 1.0) * 100.0
}

fn compiler() -> String {
    let output = Command::new("rustc").arg("--version").output().expect("what compiled this is still there");
    format!("{} for {}", String::from_utf8_lossy(&output.stdout).trim(), std::env::consts::ARCH)
}

fn kept_file() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("benches/instructions/kept.json")
}

impl std::fmt::Display for Counts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} instructions and {} allocations", self.instructions, self.allocations)
    }
}
