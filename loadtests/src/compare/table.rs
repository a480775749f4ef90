//! A report for people: a table for each scenario, and whether its goals were met.

use std::fmt;

use bytesize::ByteSize;

use super::report::{Figures, Machine, PeerReport, Report, ScenarioReport};

/// Everybody else is put beside the first peer whose name begins like this.
const REFERENCE: &str = "seekway";
const HEADINGS: [&str; 13] = [
    "",
    "req/s",
    "ratio",
    "GB/s",
    "us/req",
    "ratio",
    "CPU-s/GB",
    "TTFB p50",
    "p95",
    "p99",
    "total p95",
    "origin B/B",
    "memory",
];

/// Where it was made, and what was not met: what stands under the tables.
#[derive(Debug)]
pub struct Summary<'a>(&'a Report);

// === impl Report ===

impl Report {
    /// What stands under the tables, which are what each scenario prints.
    pub fn summary(&self) -> Summary<'_> {
        Summary(self)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.scenarios.iter().try_for_each(|scenario| writeln!(f, "{scenario}"))?;
        self.transcoding.iter().try_for_each(|found| writeln!(f, "{found}"))?;
        write!(f, "{}", self.summary())
    }
}

// === impl Summary ===

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let report = self.0;
        let Machine { cpu, cores, memory_bytes, kernel, versions } = &report.machine;
        let versions: Vec<&str> = versions.values().map(String::as_str).collect();
        let (memory, cache) = (ByteSize(*memory_bytes), ByteSize(report.cache_bytes));
        writeln!(f, "{}", report.command)?;
        writeln!(f, "commit {}, {}, medians of {} rounds", report.commit, report.date, report.rounds)?;
        writeln!(f, "{cores} cores of {cpu}, shared by client, origin and server; {memory}; Linux {kernel}")?;
        writeln!(f, "caches of {cache}; {}", versions.join("; "))?;
        let missed = || report.goals().filter(|(_, goal)| !goal.met);
        writeln!(
            f,
            "{} of {} goals are met",
            report.goals().count() - missed().count(),
            report.goals().count()
        )?;
        missed().try_for_each(|(scenario, goal)| writeln!(f, "  {scenario}: {goal}"))
    }
}

// === impl ScenarioReport ===

impl fmt::Display for ScenarioReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}; times in ms", self.name, self.about)?;
        let mut rows = vec![HEADINGS.map(str::to_owned)];
        let reference = self.peers.iter().find(|peer| peer.name.starts_with(REFERENCE));
        rows.extend(self.peers.iter().map(|peer| row(peer, reference)));
        let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
        let widths: Vec<usize> = (0..HEADINGS.len()).map(width).collect();
        for (nth, row) in rows.iter().enumerate() {
            write!(f, "  {:<width$}", row[0], width = widths[0])?;
            for (cell, width) in row.iter().zip(&widths).skip(1) {
                write!(f, "  {cell:>width$}")?;
            }
            if let Some(peer) = nth.checked_sub(1).and_then(|nth| self.peers.get(nth)) {
                write!(f, "{}", trouble(peer))?;
            }
            writeln!(f)?;
        }
        for peer in &self.peers {
            let more: Vec<String> = more(peer).collect();
            if !more.is_empty() {
                writeln!(f, "  {:<width$}  {}", peer.name, more.join("; "), width = widths[0])?;
            }
        }
        self.goals.iter().try_for_each(|goal| writeln!(f, "  {goal}"))
    }
}

fn row(peer: &PeerReport, reference: Option<&PeerReport>) -> [String; HEADINGS.len()] {
    let median = peer.median;
    let cell = |value: Option<f64>, decimals: usize| {
        value.map_or_else(|| "-".to_owned(), |value| format!("{value:.decimals$}"))
    };
    let ratio = |figure: fn(&Figures) -> Option<f64>| {
        let other = reference.and_then(|reference| figure(&reference.median));
        cell(figure(&median).zip(other).map(|(own, other)| own / other).filter(|ratio| ratio.is_finite()), 2)
    };
    [
        peer.name.clone(),
        cell(median.requests_per_second, if median.requests_per_second > Some(100.0) { 0 } else { 2 }),
        ratio(|figures| figures.requests_per_second),
        cell(median.gigabytes_per_second, 3),
        cell(median.cpu_micros_per_request, 1),
        ratio(|figures| figures.cpu_micros_per_request),
        cell(median.cpu_seconds_per_gigabyte, 3),
        cell(median.ttfb_p50_ms, 2),
        cell(median.ttfb_p95_ms, 2),
        cell(median.ttfb_p99_ms, 2),
        cell(median.total_p95_ms, 2),
        cell(median.origin_bytes_per_byte, 2),
        median
            .memory_bytes
            .map_or_else(|| "-".to_owned(), |bytes| format!("{:.0} MiB", bytes / f64::from(1 << 20))),
    ]
}

/// The figures that only some scenarios have.
fn more(peer: &PeerReport) -> impl Iterator<Item = String> {
    let median = peer.median;
    let figure = |value: Option<f64>, text: &str, decimals: usize| {
        value.map(|value| format!("{text} {value:.decimals$}"))
    };
    let bytes = |value: Option<f64>, text: &str| {
        value.map(|bytes| format!("{text} {:.0} MiB", bytes / f64::from(1 << 20)))
    };
    let single = [
        figure(median.last_ttfb_p50_ms, "last reader's TTFB p50", 2),
        figure(median.last_ttfb_of_beside, "beyond the origin's latency, in parts of a hot herd's,", 2),
        figure(median.origin_gets_per_place, "origin GETs for each place", 2),
        figure(median.hit_ratio, "hit ratio", 3),
        figure(median.stalled_share, "viewers stalled", 4),
        figure(median.longest_gap_ms, "longest gap", 1),
        figure(median.throughput_of_beside, "bytes a second in parts of HTTP/1.1's", 2),
        figure(median.total_p95_of_first, "total p95 in parts of the one without a crowd", 2),
        bytes(median.memory_limit_bytes, "memory limit"),
        figure(median.client_cpu_seconds_per_gigabyte, "the client's CPU-s/GB", 3),
    ];
    let first = peer.rounds.first();
    let crowds = first.into_iter().flat_map(|round| &round.crowds).map(|crowd| {
        let memory = crowd.memory_bytes.unwrap_or_default() + crowd.socket_bytes;
        let refused = if crowd.refused > 0 { format!(", {} REFUSED", crowd.refused) } else { String::new() };
        let idle = if crowd.idle { "" } else { ", BUSY" };
        let p95 = crowd.measurement.total.p95;
        format!("{} clients: {} MiB, total p95 {p95:.2}{refused}{idle}", crowd.clients, memory >> 20)
    });
    let rate = first.and_then(|round| round.rate.as_ref()).map(|found| {
        let stalls = found.held.measured.sessions.as_ref().map_or(0, |sessions| sessions.counts.stalls);
        format!("{found}; {:.1} held: {stalls} stalls", found.held.per_second)
    });
    single.into_iter().flatten().chain(crowds).chain(rate)
}

/// What went wrong over all rounds, and the first of it; nothing when nothing did.
fn trouble(peer: &PeerReport) -> String {
    let sum = |count: fn(&crate::load::Measurement) -> u64| -> u64 {
        peer.rounds.iter().map(|round| count(&round.measurement)).sum()
    };
    let (failed, wrong) = (sum(|found| found.failed), sum(|found| found.wrong));
    if failed + wrong == 0 {
        return String::new();
    }
    let first = peer.rounds.iter().find_map(|round| round.measurement.first_failure.as_deref());
    format!("  {failed} FAILED, {wrong} WRONG: {}", first.unwrap_or("wrong bytes"))
}
