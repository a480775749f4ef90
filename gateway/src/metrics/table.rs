//! The table of metrics: a metric is made by adding its row, and everything else follows from the rows: the
//! numbers themselves, the text that Prometheus reads, and `docs/metrics.md`.

use std::fmt::Write;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use seekway_cache::{BUCKETS, Cells, Histogram, Times};

use super::Now;
use super::labels::{Labels, Names};

/// Every row, in the order of the documentation.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
    section: &'static str,
}

/// A metric. Whether it is a counter or a gauge, and in what unit, is said by its name.
#[derive(Debug)]
pub(crate) struct Row {
    #[cfg_attr(not(test), expect(dead_code, reason = "only the documentation has headings"))]
    pub(crate) section: &'static str,
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) labels: Names,
    values: Values,
}

/// Where the values of a row are.
#[derive(Debug)]
enum Values {
    /// Counted here, one cell for each combination of label values.
    Counted(Arc<Cells>),
    /// The same, as a time in nanoseconds.
    CountedTime(Arc<Cells>),
    /// Measured here, one child for each combination of label values.
    Measured(Arc<Histogram>),
    /// Read where they are.
    Read(fn(&Now) -> u64),
    ReadBy(fn(&Now, usize) -> u64),
    ReadTime(fn(&Now) -> Duration),
    /// Without a sample while nobody knows it.
    ReadSome(fn(&Now) -> Option<f64>),
    ReadTimes(fn(&Now) -> &Times),
}

/// How often something happened.
#[derive(Debug)]
pub(crate) struct Counter<L>(Arc<Cells>, PhantomData<L>);

/// How much time something took in all.
#[derive(Debug)]
pub(crate) struct Seconds(Arc<Cells>);

/// How many there are now.
#[derive(Debug)]
pub(crate) struct Gauge<L>(Arc<Cells>, PhantomData<L>);

/// How long something took.
#[derive(Debug)]
pub(crate) struct Durations<L>(Arc<Histogram>, PhantomData<L>);

// === impl Table ===

impl Table {
    /// The heading in the documentation of the rows to come.
    pub(crate) fn section(&mut self, section: &'static str) -> &mut Self {
        self.section = section;
        self
    }

    pub(crate) fn counter<L: Labels>(&mut self, name: &'static str, help: &'static str) -> Counter<L> {
        Counter(self.counted::<L>(name, help), PhantomData)
    }

    pub(crate) fn seconds(&mut self, name: &'static str, help: &'static str) -> Seconds {
        let cells = Arc::new(Cells::new(1));
        self.add(name, help, Vec::new(), Values::CountedTime(cells.clone()));
        Seconds(cells)
    }

    pub(crate) fn gauge<L: Labels>(&mut self, name: &'static str, help: &'static str) -> Gauge<L> {
        Gauge(self.counted::<L>(name, help), PhantomData)
    }

    pub(crate) fn durations<L: Labels>(&mut self, name: &'static str, help: &'static str) -> Durations<L> {
        let histogram = Arc::new(Histogram::new(combinations(&L::all())));
        self.add(name, help, L::all(), Values::Measured(histogram.clone()));
        Durations(histogram, PhantomData)
    }

    /// A number that is counted elsewhere.
    pub(crate) fn read(
        &mut self,
        name: &'static str,
        help: &'static str,
        read: fn(&Now) -> u64,
    ) -> &mut Self {
        self.add(name, help, Vec::new(), Values::Read(read))
    }

    /// The same for each value of a label; `read` is given the value's place.
    pub(crate) fn read_by(
        &mut self,
        name: &'static str,
        help: &'static str,
        (label, values): (&'static str, &[&'static str]),
        read: fn(&Now, usize) -> u64,
    ) -> &mut Self {
        self.add(name, help, vec![(label, values.to_vec())], Values::ReadBy(read))
    }

    /// A time that is measured elsewhere, in seconds.
    pub(crate) fn read_time(
        &mut self,
        name: &'static str,
        help: &'static str,
        read: fn(&Now) -> Duration,
    ) -> &mut Self {
        self.add(name, help, Vec::new(), Values::ReadTime(read))
    }

    /// A number that is not always known.
    pub(crate) fn read_some(
        &mut self,
        name: &'static str,
        help: &'static str,
        read: fn(&Now) -> Option<f64>,
    ) -> &mut Self {
        self.add(name, help, Vec::new(), Values::ReadSome(read))
    }

    /// Times that are measured elsewhere.
    pub(crate) fn read_times(
        &mut self,
        name: &'static str,
        help: &'static str,
        read: fn(&Now) -> &Times,
    ) -> &mut Self {
        self.add(name, help, Vec::new(), Values::ReadTimes(read))
    }

    fn counted<L: Labels>(&mut self, name: &'static str, help: &'static str) -> Arc<Cells> {
        let cells = Arc::new(Cells::new(combinations(&L::all())));
        self.add(name, help, L::all(), Values::Counted(cells.clone()));
        cells
    }

    fn add(&mut self, name: &'static str, help: &'static str, labels: Names, values: Values) -> &mut Self {
        assert!(self.rows.iter().all(|row| row.name != name), "{name} has two rows");
        self.rows.push(Row { section: self.section, name, help, labels, values });
        self
    }

    #[cfg(test)]
    pub(crate) fn rows(&self) -> &[Row] {
        &self.rows
    }

    /// Prometheus' text format, version 0.0.4
    /// (<https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>).
    pub(crate) fn render(&self, now: &Now) -> String {
        let mut text = String::with_capacity(32 * 1024);
        for row in &self.rows {
            row.render(now, &mut text).expect("a String takes all");
        }
        text
    }
}

fn combinations(labels: &Names) -> usize {
    labels.iter().map(|(_, values)| values.len()).product()
}

// === impl Row ===

impl Row {
    /// As Prometheus calls it.
    pub(crate) fn kind(&self) -> &'static str {
        match self.values {
            Values::Measured(_) | Values::ReadTimes(_) => "histogram",
            _ if self.name.ends_with("_total") => "counter",
            _ => "gauge",
        }
    }

    fn render(&self, now: &Now, text: &mut String) -> std::fmt::Result {
        let (name, help, kind) = (self.name, self.help, self.kind());
        write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n")?;
        for child in 0..combinations(&self.labels) {
            let labels = self.labels_of(child);
            match &self.values {
                Values::Counted(cells) => self.sample(text, &labels, cells.get(child))?,
                Values::Read(read) => self.sample(text, &labels, read(now))?,
                Values::ReadBy(read) => self.sample(text, &labels, read(now, child))?,
                Values::CountedTime(cells) => {
                    writeln!(text, "{name} {}", seconds(Duration::from_nanos(cells.get(child))))?;
                }
                Values::ReadSome(read) => {
                    if let Some(value) = read(now) {
                        writeln!(text, "{name} {value}")?;
                    }
                }
                Values::ReadTime(read) => writeln!(text, "{name} {}", seconds(read(now)))?,
                Values::Measured(histogram) => self.buckets(text, &labels, &histogram.read(child))?,
                Values::ReadTimes(read) => self.buckets(text, &labels, read(now))?,
            }
        }
        Ok(())
    }

    /// The labels of one child, as they are written; empty without any.
    fn labels_of(&self, mut child: usize) -> String {
        let mut pairs = Vec::with_capacity(self.labels.len());
        for (name, values) in self.labels.iter().rev() {
            pairs.push(format!("{name}=\"{}\"", values[child % values.len()]));
            child /= values.len();
        }
        pairs.reverse();
        pairs.join(",")
    }

    fn sample(&self, text: &mut String, labels: &str, value: u64) -> std::fmt::Result {
        // One thread's decrement may be read before another's increment.
        let value = if self.kind() == "gauge" { value.cast_signed().max(0).cast_unsigned() } else { value };
        // Most combinations of several labels never come true; those of one are few, and shown from the start.
        match self.labels.len() {
            0 => writeln!(text, "{} {value}", self.name),
            1 => writeln!(text, "{}{{{labels}}} {value}", self.name),
            _ if value == 0 => Ok(()),
            _ => writeln!(text, "{}{{{labels}}} {value}", self.name),
        }
    }

    fn buckets(&self, text: &mut String, labels: &str, times: &Times) -> std::fmt::Result {
        let name = self.name;
        let (and, braced) =
            if labels.is_empty() { ("", String::new()) } else { (",", format!("{{{labels}}}")) };
        let mut count = 0;
        for (nth, in_bucket) in times.counts.iter().enumerate() {
            count += in_bucket;
            let bound = BUCKETS.get(nth).map_or("+Inf".to_owned(), |bound| seconds(*bound));
            writeln!(text, "{name}_bucket{{{labels}{and}le=\"{bound}\"}} {count}")?;
        }
        writeln!(text, "{name}_sum{braced} {}\n{name}_count{braced} {count}", seconds(times.sum))
    }
}

fn seconds(duration: Duration) -> String {
    duration.as_secs_f64().to_string()
}

// === impl Counter, Seconds, Gauge, Durations ===

impl<L: Labels> Counter<L> {
    pub(crate) fn increment(&self, labels: L) {
        self.add(labels, 1);
    }

    pub(crate) fn add(&self, labels: L, n: u64) {
        self.0.add(labels.index(), n);
    }
}

impl Seconds {
    /// Adds up to 584 years in all.
    pub(crate) fn add(&self, time: Duration) {
        self.0.add(0, u64::try_from(time.as_nanos()).unwrap_or(u64::MAX));
    }
}

impl<L: Labels> Gauge<L> {
    pub(crate) fn increment(&self, labels: L) {
        self.0.add(labels.index(), 1);
    }

    pub(crate) fn decrement(&self, labels: L) {
        self.0.add(labels.index(), u64::MAX);
    }
}

impl<L: Labels> Durations<L> {
    pub(crate) fn observe(&self, labels: L, time: Duration) {
        self.0.observe(labels.index(), time);
    }
}
