//! A report as a page of its own: no script, nothing loaded, readable on light and dark.

use std::fmt::Write as _;

use bytesize::ByteSize;

use super::{
    plot::{self, Axis, Line, Plot, Scale, escaped, short},
    report::{Figures, Goal, Machine, PeerReport, Prepare, Report, Round, ScenarioReport},
};
use crate::load::{Measurement, Percentiles, Workload};

/// A figure with the words above it.
type Column = (&'static str, fn(&Figures) -> Option<f64>);

const COLUMNS: [Column; 11] = [
    ("requests/s", |figures| figures.requests_per_second),
    ("GB/s", |figures| figures.gigabytes_per_second),
    ("CPU µs/request", |figures| figures.cpu_micros_per_request),
    ("CPU s/GB", |figures| figures.cpu_seconds_per_gigabyte),
    ("TTFB p50, ms", |figures| figures.ttfb_p50_ms),
    ("TTFB p95, ms", |figures| figures.ttfb_p95_ms),
    ("TTFB p99, ms", |figures| figures.ttfb_p99_ms),
    ("total p95, ms", |figures| figures.total_p95_ms),
    ("origin bytes/byte", |figures| figures.origin_bytes_per_byte),
    ("memory, MiB", |figures| figures.memory_bytes.map(|bytes| bytes / MIB)),
    ("failed or wrong", |figures| Some(figures.failed? + figures.wrong?)),
];
/// What only some scenarios have; a column appears where a peer has it.
const SPECIAL_COLUMNS: [Column; 8] = [
    ("last first byte of a herd, ms", |figures| figures.last_ttfb_p50_ms),
    ("origin GETs/place", |figures| figures.origin_gets_per_place),
    ("hit ratio", |figures| figures.hit_ratio),
    ("viewers stalled", |figures| figures.stalled_share),
    ("longest gap, ms", |figures| figures.longest_gap_ms),
    ("p95 of the one without crowd", |figures| figures.total_p95_of_first),
    ("crowd refused", |figures| figures.refused),
    ("client CPU s/GB", |figures| figures.client_cpu_seconds_per_gigabyte),
];
const MIB: f64 = 1_048_576.0;
/// A hit ratio over time is that of so many seconds.
const HIT_RATIO_SECONDS: usize = 5;
const PERCENTILE: Axis = Axis { label: "percentile", scale: Scale::Percentile };
const MILLIS: Axis = Axis { label: "ms", scale: Scale::Log };

const STYLE: &str = "\
:root{color-scheme:light dark;--ink:#1f2328;--grid:#d8dee4;--paper:#fff;--good:#1a7f37;--bad:#cf222e}\
@media(prefers-color-scheme:dark){:root{--ink:#e6edf3;--grid:#30363d;--paper:#0d1117;--good:#3fb950;--bad:#f85149}}\
body{margin:0 auto;max-width:1480px;padding:1rem;background:var(--paper);color:var(--ink);font:15px/1.5 system-ui,sans-serif}\
h2{margin-top:2.5rem;border-bottom:1px solid var(--grid)}code{font-size:.9em;overflow-wrap:anywhere}\
.wide{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}\
th,td{padding:.25rem .7rem;text-align:right;border-bottom:1px solid var(--grid);white-space:nowrap}\
th:first-child,td:first-child{text-align:left}td.goal{white-space:normal;text-align:left}\
.met{color:var(--good)}.missed{color:var(--bad);font-weight:600}.best{font-weight:600}\
.plots{display:flex;flex-wrap:wrap;align-items:flex-start;gap:1rem;margin-top:1rem}.plots svg{width:min(460px,100%)}";

// === impl Report ===

impl Report {
    /// The whole of it as HTML.
    pub fn html(&self) -> String {
        let mut page = format!(
            "<!doctype html>\n<html lang=\"en\"><meta charset=\"utf-8\">\
             <meta name=\"viewport\" content=\"width=device-width\"><title>Seekway beside others, {date}</title>\n\
             <style>{STYLE}{plots}</style>\n<h1>Seekway beside others</h1>\n",
            date = escaped(&self.date),
            plots = plot::STYLE,
        );
        page.push_str(&self.origins());
        page.push_str(&self.goals_table());
        let across = self.throughput_against_connections();
        if !across.is_empty() {
            let _ = writeln!(page, "<h2>Throughput against connections</h2>\n{}", side_by_side(&across));
        }
        for scenario in &self.scenarios {
            page.push_str(&scenario.html());
        }
        if let Some(found) = &self.transcoding {
            let _ = writeln!(
                page,
                "<h2 id=\"{NAME}\">{NAME}</h2>\n<pre>{}</pre>",
                escaped(&found.to_string()),
                NAME = super::transcoding::NAME,
            );
        }
        page.push_str("</html>\n");
        page
    }

    /// The figures that say most, as an SVG file.
    pub fn picture(&self) -> String {
        let plot = |scenario: &str, title: &str, figure: fn(&Figures) -> Option<f64>| {
            let scenario = self.scenarios.iter().find(|other| other.name == scenario)?;
            bars(scenario, title, figure)
        };
        let plots = [
            plot("hot-64k", "64 KiB from memory: requests/s", |figures| figures.requests_per_second),
            plot("hot-64k", "64 KiB from memory: CPU µs/request", |figures| figures.cpu_micros_per_request),
            plot("hot-1m", "1 MiB from memory: GB/s", |figures| figures.gigabytes_per_second),
            plot("hot-1m", "1 MiB from memory: CPU s/GB", |figures| figures.cpu_seconds_per_gigabyte),
            plot("cold-seeks", "a cold seek: TTFB p95, ms", |figures| figures.ttfb_p95_ms),
            plot("cold-sequential", "a cold film, read on: GB/s", |figures| figures.gigabytes_per_second),
        ];
        let plots: Vec<Plot> = plots.into_iter().flatten().collect();
        plot::standalone(&plots, 2)
    }

    /// How it came about.
    fn origins(&self) -> String {
        let Machine { cpu, cores, memory_bytes, kernel, versions } = &self.machine;
        let versions: Vec<&str> = versions.values().map(String::as_str).collect();
        let (memory, cache) = (ByteSize(*memory_bytes), ByteSize(self.cache_bytes));
        format!(
            "<p>Medians of {rounds} rounds; every server in turn within a round, with as many workers as cores, and {cache} \
             for its cache where it has one. Client, origin and server share the machine, so read the ratios.</p>\n\
             <p>{date}, commit {commit}, {cores} cores of {cpu}, {memory}, Linux {kernel}; {versions}<br>\
             <code>{command}</code></p>\n",
            rounds = self.rounds,
            date = escaped(&self.date),
            commit = escaped(&self.commit),
            cpu = escaped(cpu),
            kernel = escaped(kernel),
            versions = escaped(&versions.join("; ")),
            command = escaped(&self.command),
        )
    }

    fn goals_table(&self) -> String {
        let met = self.goals().filter(|(_, goal)| goal.met).count();
        let mut table = format!(
            "<h2>Goals: {met} of {} met</h2>\n<div class=\"wide\"><table><tr><th>scenario<th style=\"text-align:left\">goal<th>measured<th>aim<th></tr>\n",
            self.goals().count()
        );
        for (scenario, goal) in self.goals() {
            let (class, verdict) = if goal.met { ("met", "met") } else { ("missed", "NOT MET") };
            let Goal { text, value, bound, .. } = goal;
            let _ = writeln!(
                table,
                "<tr><td><a href=\"#{name}\">{name}</a><td class=\"goal\">{}<td>{}<td>{bound}<td class=\"{class}\">{verdict}</tr>",
                escaped(text),
                value.map_or_else(|| "nothing".to_owned(), short),
                name = escaped(scenario),
            );
        }
        table.push_str("</table></div>\n");
        table
    }

    /// Of scenarios that differ in their connections only, one plot for each size.
    fn throughput_against_connections(&self) -> Vec<Plot> {
        let mut sizes: Vec<(u64, Vec<Line>)> = Vec::new();
        for scenario in self.scenarios.iter().filter(|scenario| scenario.name.starts_with("hot-")) {
            let Workload::Ranges(ranges) = scenario.workload else { continue };
            let nth = sizes.iter().position(|(bytes, _)| *bytes == ranges.bytes).unwrap_or_else(|| {
                sizes.push((ranges.bytes, Vec::new()));
                sizes.len() - 1
            });
            let lines = &mut sizes[nth].1;
            for peer in &scenario.peers {
                let Some(throughput) = peer.median.gigabytes_per_second else { continue };
                let point = (f64::from(u32::try_from(ranges.connections).unwrap_or(u32::MAX)), throughput);
                match lines.iter_mut().find(|line| line.name == peer.name) {
                    Some(line) => line.points.push(point),
                    None => lines.push(Line { name: peer.name.clone(), points: vec![point] }),
                }
            }
        }
        let connections = Axis { label: "connections", scale: Scale::Log };
        let speed = Axis { label: "GB/s", scale: Scale::Linear };
        let several = sizes.into_iter().filter(|(_, lines)| lines.iter().any(|line| line.points.len() > 1));
        several
            .map(|(bytes, lines)| {
                Plot::lines(&format!("{} from memory", ByteSize(bytes)), connections, speed, &lines)
            })
            .collect()
    }
}

// === impl ScenarioReport ===

impl ScenarioReport {
    fn html(&self) -> String {
        let name = escaped(&self.name);
        format!(
            "<h2 id=\"{name}\">{name}</h2>\n<p>{}</p>\n{}{}",
            escaped(&self.about),
            self.figures_table(),
            side_by_side(&self.plots()),
        )
    }

    fn figures_table(&self) -> String {
        let has = |figure: fn(&Figures) -> Option<f64>| {
            self.peers.iter().any(|peer| figure(&peer.median).is_some())
        };
        let special = SPECIAL_COLUMNS.into_iter().filter(|(_, figure)| has(*figure));
        let columns: Vec<Column> = COLUMNS.into_iter().chain(special).collect();
        let mut table = "<div class=\"wide\"><table><tr><th>".to_owned();
        for (name, _) in &columns {
            let _ = write!(table, "<th>{name}");
        }
        table.push_str("</tr>\n");
        for peer in &self.peers {
            let _ = write!(table, "<tr><td>{}", escaped(&peer.name));
            for (_, figure) in &columns {
                let _ = write!(table, "<td>{}", figure(&peer.median).map_or_else(|| "–".to_owned(), short));
            }
            table.push_str("</tr>\n");
        }
        table.push_str("</table></div>\n");
        table
    }

    fn plots(&self) -> Vec<Plot> {
        let is_cold = self.prepare == Prepare::Cold;
        // What is waited for: the bytes where they are at hand, the first of them where they are far away.
        let (what, times): (&str, fn(&Measurement) -> &Percentiles) = if is_cold {
            ("time to the first byte", |found| &found.ttfb)
        } else {
            ("time to the last byte", |found| &found.total)
        };
        let mut plots = Vec::new();
        let curves: Vec<Line> = self.peers.iter().filter_map(|peer| curve(peer, times)).collect();
        if !curves.is_empty() {
            plots.push(Plot::lines(what, PERCENTILE, MILLIS, &curves));
        }
        plots.extend(bars(self, "throughput, GB/s", |figures| figures.gigabytes_per_second));
        plots.extend(bars(self, "server CPU, s/GB", |figures| figures.cpu_seconds_per_gigabyte));
        if is_cold {
            plots.extend(bars(self, "origin bytes for each delivered byte", |figures| {
                figures.origin_bytes_per_byte
            }));
        }
        plots.extend(bars(self, "memory of server and sockets, MiB", |figures| {
            figures.memory_bytes.map(|bytes| bytes / MIB)
        }));
        let (clients, memory) = (linear("clients"), linear("MiB"));
        plots.extend(self.lines(
            "memory of server and sockets against clients",
            clients,
            memory,
            memory_of_crowds,
        ));
        let (seconds, share) = (linear("seconds"), linear("share"));
        plots.extend(self.lines("hit ratio of the last 5 seconds", seconds, share, hit_ratio_over_time));
        plots
    }

    /// One line for each peer whose last round has points.
    fn lines(&self, title: &str, x: Axis, y: Axis, points: fn(&Round) -> Vec<(f64, f64)>) -> Option<Plot> {
        let of = |peer: &PeerReport| Line {
            name: peer.name.clone(),
            points: peer.rounds.last().map(points).unwrap_or_default(),
        };
        let lines: Vec<Line> = self.peers.iter().map(of).filter(|line| !line.points.is_empty()).collect();
        (!lines.is_empty()).then(|| Plot::lines(title, x, y, &lines))
    }
}

const fn linear(label: &'static str) -> Axis {
    Axis { label, scale: Scale::Linear }
}

#[expect(clippy::cast_precision_loss, reason = "clients and bytes of memory are far below 2^52")]
fn memory_of_crowds(round: &Round) -> Vec<(f64, f64)> {
    let crowds = round.crowds.iter();
    crowds
        .filter_map(|crowd| {
            let memory = crowd.memory_bytes? + crowd.socket_bytes;
            Some((crowd.clients as f64, memory as f64 / MIB))
        })
        .collect()
}

#[expect(clippy::cast_precision_loss, reason = "bytes of one run are far below 2^52")]
fn hit_ratio_over_time(round: &Round) -> Vec<(f64, f64)> {
    let Some(sessions) = &round.measurement.sessions else { return Vec::new() };
    if round.rate.is_some() {
        return Vec::new();
    }
    let both = sessions.timeline.iter().zip(&round.origin_timeline);
    let both: Vec<(u64, u64, u64)> =
        both.map(|((second, delivered), (_, sent))| (*second, *delivered, *sent)).collect();
    let ratio = |window: &[(u64, u64, u64)]| {
        let delivered: u64 = window.iter().map(|(_, delivered, _)| delivered).sum();
        let sent: u64 = window.iter().map(|(_, _, sent)| sent).sum();
        let (second, _, _) = window.last()?;
        (delivered > 0).then(|| (*second as f64 + 1.0, 1.0 - sent as f64 / delivered as f64))
    };
    both.windows(HIT_RATIO_SECONDS).filter_map(ratio).collect()
}

/// The latency curve of a peer's middle round.
fn curve(peer: &PeerReport, times: fn(&Measurement) -> &Percentiles) -> Option<Line> {
    let p95 = |round: &&Round| times(&round.measurement).p95;
    let mut rounds: Vec<&Round> =
        peer.rounds.iter().filter(|round| times(&round.measurement).count > 0).collect();
    rounds.sort_by(|one, other| p95(one).total_cmp(&p95(other)));
    let middle = rounds.get(rounds.len() / 2)?;
    Some(Line { name: peer.name.clone(), points: times(&middle.measurement).curve.clone() })
}

/// One figure of all peers that have it; nothing where fewer than two do.
fn bars(scenario: &ScenarioReport, title: &str, figure: fn(&Figures) -> Option<f64>) -> Option<Plot> {
    let value = |peer: &PeerReport| Some((peer.name.clone(), figure(&peer.median)?));
    let values: Vec<(String, f64)> = scenario.peers.iter().filter_map(value).collect();
    (values.len() > 1).then(|| Plot::bars(title, &values))
}

fn side_by_side(plots: &[Plot]) -> String {
    let plots: Vec<String> = plots.iter().map(Plot::svg).collect();
    format!("<div class=\"plots\">{}</div>\n", plots.join("\n"))
}
