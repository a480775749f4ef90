//! `docs/metrics.md` lists every metric; this keeps it so, and the metrics within Prometheus' conventions.

use std::fmt::Write;
use std::path::Path;

use super::*;

const BEGIN: &str = "<!-- metrics: written by `make docs` -->\n";
const END: &str = "<!-- /metrics -->";

/// The tables, from the rows.
fn tables() -> String {
    let (mut text, mut section) = (String::new(), "");
    for row in Metrics::new().table.rows() {
        if row.section != section {
            section = row.section;
            write!(
                text,
                "\n## {section}\n\n| metric | kind | unit | labels | meaning |\n|---|---|---|---|---|\n"
            )
            .expect("a String takes all");
        }
        let labels: Vec<_> =
            row.labels.iter().map(|(name, values)| format!("`{name}`: {}", values.join(", "))).collect();
        let or_none = |text: &str| if text.is_empty() { "—".to_owned() } else { text.to_owned() };
        let (unit, labels) = (or_none(unit(row.name)), or_none(&labels.join("; ")));
        writeln!(text, "| `{}` | {} | {unit} | {labels} | {} |", row.name, row.kind(), row.help)
            .expect("a String takes all");
    }
    text.push('\n');
    text
}

/// What a metric's numbers count: the end of its name says so.
fn unit(name: &str) -> &'static str {
    let name = name.trim_end_matches("_total");
    ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(unit)).unwrap_or("")
}

#[test]
fn the_documentation_lists_every_metric_as_it_is() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/metrics.md");
    let page = std::fs::read_to_string(&path).expect("the page exists");
    let (before, rest) = page.split_once(BEGIN).expect("the page has the mark where the tables begin");
    let (written, after) = rest.split_once(END).expect("the page has the mark where the tables end");
    let tables = tables();
    if std::env::var_os("SEEKWAY_WRITE_DOCS").is_some() {
        std::fs::write(&path, format!("{before}{BEGIN}{tables}{END}{after}"))
            .expect("the page can be written");
    } else {
        assert!(written == tables, "docs/metrics.md is not what the table of metrics says; run `make docs`");
    }
}

/// What `promtool check metrics` asks for (<https://prometheus.io/docs/practices/naming/>).
#[test]
fn metrics_are_named_as_prometheus_wants_them() {
    for row in Metrics::new().table.rows() {
        let (name, kind) = (row.name, row.kind());
        let is_name =
            |name: &str| name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
        assert!(is_name(name) && (name.starts_with("seekway_") || name.starts_with("process_")), "{name}");
        assert!(row.help.ends_with('.') && !row.help.contains(['\\', '\n', '|']), "{name}: {}", row.help);
        assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        // Gauges may be times, too.
        assert!(kind != "histogram" || (name.ends_with("_seconds") && unit(name) == "seconds"), "{name}");
        for wrong in
            ["_count", "_sum", "_bucket", "_milliseconds", "_ms", "_kib", "_mib", "_gauge", "_counter"]
        {
            assert!(!name.ends_with(wrong), "{name}");
        }
        for (label, values) in &row.labels {
            assert!(is_name(label) && *label != "le" && !name.contains(label), "{name}: {label}");
            let mut distinct = values.clone();
            distinct.sort_unstable();
            distinct.dedup();
            assert_eq!(distinct.len(), values.len(), "{name}: {label}");
        }
    }
}
