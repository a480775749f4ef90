//! What a scenario came to, in words, and whether it passed its gates.

use std::{fmt, time::Duration};

use bytesize::ByteSize;
use clap::Args;
use seekway_loadtests::load::{Beside, Measurement, Percentiles, RateFound};
use serde::Serialize;

/// What each scenario is judged by. With a crowd, the measurement beside it is; when a rate is searched, the one that
/// is held at the end.
#[derive(Debug, Args)]
pub(super) struct Gates {
    /// Gate: half of the first bytes come sooner than this.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    p50_under: Option<Duration>,
    /// Gate: 95 of 100 first bytes come sooner than this.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    p95_under: Option<Duration>,
    /// Gate: 99 of 100 first bytes come sooner than this.
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    p99_under: Option<Duration>,
    /// Gate: a smaller share of the requests than this fails or has a wrong byte, such as 0.01 [default: none does].
    #[arg(long, value_name = "SHARE")]
    failed_under: Option<f64>,
    /// Gate: at least so many bytes a second are delivered.
    #[arg(long, value_name = "BYTES")]
    min_throughput: Option<ByteSize>,
}

/// All scenarios of a run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) targets: Vec<String>,
    pub(super) outcomes: Vec<Outcome>,
}

#[derive(Debug, Serialize)]
pub(super) struct Outcome {
    scenario: &'static str,
    /// It in words.
    asked: String,
    found: Found,
    /// The gates that it did not pass.
    missed: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
#[expect(clippy::large_enum_variant, reason = "there are as many as scenarios")]
pub(super) enum Found {
    Measured(Measurement),
    Crowd(Beside),
    Rate(RateFound),
}

// === impl Gates ===

impl Gates {
    fn missed(&self, found: &Measurement) -> Vec<String> {
        if found.requests == 0 {
            return vec!["nothing was answered".to_owned()];
        }
        let mut missed = Vec::new();
        for (name, gate, measured) in [
            ("p50", self.p50_under, found.ttfb.p50),
            ("p95", self.p95_under, found.ttfb.p95),
            ("p99", self.p99_under, found.ttfb.p99),
        ] {
            if let Some(gate) = gate.filter(|gate| measured >= gate.as_secs_f64() * 1e3) {
                missed.push(format!("TTFB {name} is {measured:.2} ms, not under {gate:?}"));
            }
        }
        let failed = found.failed_share();
        match self.failed_under {
            Some(gate) if failed >= gate => {
                missed.push(format!("{failed:.5} of all failed, not under {gate}"));
            }
            None if failed > 0.0 => missed.push(format!("{} failed", found.failed + found.wrong)),
            _ => {}
        }
        let throughput = found.gigabytes_per_second() * 1e9;
        #[expect(clippy::cast_precision_loss, reason = "a gate need not be exact")]
        if let Some(gate) = self.min_throughput.filter(|gate| throughput < gate.as_u64() as f64) {
            missed.push(format!("{:.3} MB/s, not {gate}/s", throughput / 1e6));
        }
        missed
    }
}

// === impl Report ===

impl Report {
    pub(super) fn all_met(&self) -> bool {
        self.outcomes.iter().all(|outcome| outcome.missed.is_empty())
    }
}

// === impl Outcome ===

impl Outcome {
    pub(super) fn new(scenario: &'static str, asked: String, found: Found, gates: &Gates) -> Self {
        let missed = gates.missed(found.judged());
        Self { scenario, asked, found, missed }
    }
}

impl Found {
    fn judged(&self) -> &Measurement {
        match self {
            Self::Measured(measured) => measured,
            Self::Crowd(crowd) => &crowd.beside,
            Self::Rate(rate) => &rate.held.measured,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.scenario, self.asked)?;
        match &self.found {
            Found::Measured(_) => {}
            Found::Crowd(Beside { alone, served, refused, .. }) => {
                table(f, alone)?;
                writeln!(f, "beside a crowd of {served} ({refused} more were refused):")?;
            }
            Found::Rate(rate) => rates(f, rate)?,
        }
        table(f, self.found.judged())?;
        for missed in &self.missed {
            writeln!(f, "  MISSED  {missed}")?;
        }
        Ok(())
    }
}

fn table(f: &mut fmt::Formatter<'_>, found: &Measurement) -> fmt::Result {
    let Measurement { seconds, requests, failed, wrong, .. } = found;
    let per_second = found.requests_per_second();
    writeln!(
        f,
        "  answers   {requests} in {seconds:.1} s ({per_second:.0}/s), {failed} failed, {wrong} with a wrong byte"
    )?;
    if let Some(why) = &found.first_failure {
        writeln!(f, "            the first failure: {why}")?;
    }
    let (bytes, gigabytes) = (ByteSize(found.bytes), found.gigabytes_per_second());
    let verified = ByteSize(found.verified_bytes);
    writeln!(f, "  bytes     {bytes}, {gigabytes:.3} GB/s, {verified} of them verified")?;
    writeln!(f, "  {:<22}{:>10}{:>10}{:>10}{:>10}{:>10}", "ms", "p50", "p95", "p99", "p99.9", "max")?;
    let line = |f: &mut fmt::Formatter<'_>, name: &str, times: &Percentiles| {
        let Percentiles { p50, p95, p99, p999, max, .. } = times;
        writeln!(f, "  {name:<22}{p50:>10.2}{p95:>10.2}{p99:>10.2}{p999:>10.2}{max:>10.2}")
    };
    line(f, "first byte", &found.ttfb)?;
    if found.total.count > 0 {
        line(f, "last byte", &found.total)?;
    }
    if let (Some(ttfb), Some(total)) = (&found.last_ttfb, &found.last_total) {
        line(f, "a herd's last: first", ttfb)?;
        line(f, "a herd's last: end", total)?;
    }
    if let Some(sessions) = &found.sessions {
        line(f, "start-up", &sessions.start_up)?;
        line(f, "seek to picture", &sessions.after_seek)?;
        let counts = sessions.counts;
        let (begun, ended, cut, broken) = (counts.begun, counts.ended, counts.cut, counts.broken);
        writeln!(
            f,
            "  viewers   {begun} came, {ended} left, {cut} still watched at the end, {broken} broken"
        )?;
        writeln!(f, "            {} seeks, {} pauses", counts.seeks, counts.pauses)?;
        let (stalls, seconds, share) =
            (counts.stalls, sessions.stalled_seconds, sessions.stalled_share() * 100.0);
        writeln!(f, "  stalls    {stalls}, {seconds:.2} s in all, of {share:.1} % of the viewers")?;
    }
    if let Some(gap) = found.longest_gap_ms {
        writeln!(f, "  streams   none that asked was without a byte for longer than {gap:.1} ms")?;
    }
    let (share, threads) = (found.client_share() * 100.0, found.client_threads);
    writeln!(
        f,
        "  client    its {threads} threads were busy, or waiting for a processor, {share:.0} % of the time"
    )?;
    if found.client_was_the_limit() {
        writeln!(f, "  WARNING   the client was the bottleneck: the server may do better than this says")?;
    }
    Ok(())
}

fn rates(f: &mut fmt::Formatter<'_>, found: &RateFound) -> fmt::Result {
    writeln!(f, "  {:>12}{:>12}{:>12}{:>12}{:>12}", "viewers/s", "p95, ms", "stalls", "failed", "client, %")?;
    for step in &found.steps {
        let Measurement { ttfb, failed, sessions, .. } = &step.measured;
        let stalls = sessions.as_ref().map_or(0, |sessions| sessions.counts.stalls);
        let (rate, client) = (step.per_second, step.measured.client_share() * 100.0);
        writeln!(f, "  {rate:>12.1}{:>12.2}{stalls:>12}{failed:>12}{client:>12.0}", ttfb.p95)?;
    }
    writeln!(f, "  {found}\nheld, {:.1} viewers a second:", found.held.per_second)
}
