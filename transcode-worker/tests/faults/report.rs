//! What a run did, and what came of it: as JSON in `target/faults/`, and as a table for people.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use serde::Serialize;

#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    pub(crate) backend: String,
    pub(crate) seed: u64,
    pub(crate) seconds: u64,
    /// By how much the clock of one worker was wrong.
    pub(crate) skew: String,
    pub(crate) jobs: usize,
    pub(crate) published: usize,
    /// Of jobs that were published, beyond the first attempt at each.
    pub(crate) further_attempts: u64,
    pub(crate) interruptions: u64,
    pub(crate) failures: u64,
    /// Jobs that waited for another attempt, and were not left to wait.
    pub(crate) hurried: usize,
    pub(crate) objects: usize,
    pub(crate) dead_letters: u64,
    /// How processes ended that nobody had killed, and how often.
    pub(crate) ended_by_themselves: BTreeMap<String, usize>,
    /// How often each fault was.
    pub(crate) counts: BTreeMap<String, usize>,
    pub(crate) faults: Vec<Applied>,
    /// What was still so some seconds after the last fault.
    pub(crate) waited_for: Vec<String>,
    /// What is not as it has to be.
    pub(crate) problems: Vec<String>,
}

/// One fault.
#[derive(Debug, Serialize)]
pub(crate) struct Applied {
    pub(crate) at_ms: u128,
    pub(crate) lasted_ms: u128,
    pub(crate) fault: String,
    pub(crate) note: String,
}

const WORTH_A_LINE: Duration = Duration::from_secs(5);
const WAITED_CHARS: usize = 200;
/// What is wrong with a hundred objects is wrong with the first of them.
const PROBLEM_CHARS: usize = 2000;

// === impl Report ===

impl Report {
    pub(crate) fn problem(&mut self, text: impl Into<String>) {
        let text: String = text.into().chars().take(PROBLEM_CHARS).collect();
        println!("BROKEN: {text}");
        self.problems.push(text);
    }

    pub(crate) fn waited(&mut self, time: Duration, last: &str) {
        if time >= WORTH_A_LINE {
            let last: String = last.chars().take(WAITED_CHARS).collect();
            self.waited_for.push(format!("{} s: {last}", time.as_secs()));
        }
    }

    pub(crate) fn set_faults(&mut self, faults: Vec<Applied>) {
        for applied in &faults {
            *self.counts.entry(applied.fault.clone()).or_default() += 1;
        }
        self.faults = faults;
    }

    /// Beside the programs that were tried.
    pub(crate) fn write(&self) -> PathBuf {
        let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("../faults");
        std::fs::create_dir_all(&target).expect("makes");
        let path = target.canonicalize().expect("it is there").join(format!("{}.json", self.backend));
        std::fs::write(&path, serde_json::to_string_pretty(self).expect("text and numbers")).expect("writes");
        path
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { backend, seed, seconds, jobs, published, .. } = self;
        let faults = self.faults.len();
        writeln!(f, "{backend}: seed {seed}, {jobs} jobs, {faults} faults in {seconds} s")?;
        for (fault, count) in &self.counts {
            writeln!(f, "  {count:4} x {fault}")?;
        }
        writeln!(
            f,
            "  {published} published once, {} objects; {} further attempts, {} interruptions, {} failures, {} hurried, {} \
             dead letters; one clock {}",
            self.objects,
            self.further_attempts,
            self.interruptions,
            self.failures,
            self.hurried,
            self.dead_letters,
            self.skew,
        )?;
        for wait in &self.waited_for {
            writeln!(f, "  waited {wait}")?;
        }
        for (end, count) in &self.ended_by_themselves {
            writeln!(f, "  {count:4} x {end}")?;
        }
        for problem in &self.problems {
            writeln!(f, "  BROKEN: {problem}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Applied {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { at_ms, lasted_ms, fault, note } = self;
        write!(f, "{at_ms:8} ms: {fault}, {lasted_ms} ms{}{note}", if note.is_empty() { "" } else { "; " })
    }
}
