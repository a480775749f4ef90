//! What a scenario measured, and whether it kept its promise.

use std::{fmt, time::Duration};

use bytesize::ByteSize;
use serde::Serialize;

use super::Length;
use crate::report::Bound;

/// The figures of one run, in the order in which they are shown.
#[derive(Debug, Default)]
pub struct Figures(Vec<Figure>);

/// One measured number.
#[derive(Debug, Clone, Serialize)]
pub struct Figure {
    /// What it is.
    pub name: String,
    /// What was measured.
    pub measured: Value,
    /// What is promised about it.
    pub limit: Option<Limit>,
    /// Whether that was kept. What has no limit always is.
    pub kept: bool,
}

/// A number with its unit.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Value {
    /// So many things.
    Count(u64),
    /// Bytes.
    Bytes(u64),
    /// A time, in milliseconds.
    Millis(f64),
    /// A quotient.
    Ratio(f64),
}

/// A promise about a number.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Limit {
    /// The side on which it is.
    pub bound: Bound,
    /// The last value that keeps it.
    pub value: Value,
}

/// What came of one scenario.
#[derive(Debug, Clone, Serialize)]
pub struct Outcome {
    /// Its name.
    pub scenario: &'static str,
    /// What it promises.
    pub promise: &'static str,
    /// Which length was run.
    pub length: Length,
    /// How long that took.
    pub seconds: f64,
    /// What was measured.
    pub figures: Vec<Figure>,
    /// Whether every figure is within its limit.
    pub kept: bool,
}

// === impl Figures ===

impl Figures {
    /// A number to look at.
    pub fn note(&mut self, name: impl Into<String>, measured: Value) {
        self.0.push(Figure { name: name.into(), measured, limit: None, kept: true });
    }

    /// A number that may be `value`, and no more.
    pub fn at_most(&mut self, name: impl Into<String>, measured: Value, value: Value) {
        self.judge(name, measured, Limit { bound: Bound::AtMost, value });
    }

    /// A number that must be `value`, or more.
    pub fn at_least(&mut self, name: impl Into<String>, measured: Value, value: Value) {
        self.judge(name, measured, Limit { bound: Bound::AtLeast, value });
    }

    /// A number of things of which there must be none.
    pub fn none(&mut self, name: impl Into<String>, measured: u64) {
        self.at_most(name, Value::Count(measured), Value::Count(0));
    }

    fn judge(&mut self, name: impl Into<String>, measured: Value, limit: Limit) {
        let same_unit = std::mem::discriminant(&measured) == std::mem::discriminant(&limit.value);
        assert!(same_unit, "{measured:?} cannot be compared with {:?}", limit.value);
        let kept = match limit.bound {
            Bound::AtMost => measured <= limit.value,
            Bound::AtLeast => measured >= limit.value,
        };
        self.0.push(Figure { name: name.into(), measured, limit: Some(limit), kept });
    }
}

// === impl Value ===

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self {
            Self::Count(count) => count.to_string(),
            Self::Bytes(bytes) => ByteSize(*bytes).to_string(),
            Self::Millis(millis) => format!("{millis:.1} ms"),
            Self::Ratio(ratio) => format!("{ratio:.2}"),
        };
        f.pad(&text)
    }
}

impl From<Duration> for Value {
    fn from(time: Duration) -> Self {
        Self::Millis(time.as_secs_f64() * 1000.0)
    }
}

// === impl Outcome ===

impl Outcome {
    pub(super) fn new(
        scenario: &'static str,
        promise: &'static str,
        length: Length,
        took: Duration,
        Figures(figures): Figures,
    ) -> Self {
        let kept = figures.iter().all(|figure| figure.kept);
        Self { scenario, promise, length, seconds: took.as_secs_f64(), figures, kept }
    }

    /// One word of four letters or more.
    pub(super) fn verdict(&self) -> &'static str {
        if self.kept { "kept  " } else { "BROKEN" }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.scenario, self.promise)?;
        for Figure { name, measured, limit, kept } in &self.figures {
            let verdict = match (limit, kept) {
                (None, _) => "",
                (Some(_), true) => "kept",
                (Some(_), false) => "BROKEN",
            };
            write!(f, "  {verdict:<8}{name:<52}{measured:>14}")?;
            if let Some(Limit { bound, value }) = limit {
                let bound = match bound {
                    Bound::AtMost => "at most",
                    Bound::AtLeast => "at least",
                };
                write!(f, "   ({bound} {value})")?;
            }
            writeln!(f)?;
        }
        writeln!(f, "  {} in {:.1} s", self.verdict().trim_end(), self.seconds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_figure_past_its_limit_breaks_the_promise() {
        let outcome = |memory| {
            let mut figures = Figures::default();
            figures.note("clients", Value::Count(7));
            figures.none("wrong bytes", 0);
            figures.at_least("served", Value::Count(5), Value::Count(5));
            figures.at_most("memory", Value::Bytes(memory), Value::Bytes(1024));
            Outcome::new("name", "promise", Length::Short, Duration::from_secs(1), figures)
        };
        assert!(outcome(1024).kept);
        let broken = outcome(1025);
        assert!(!broken.kept);
        let text = broken.to_string();
        assert_eq!((text.matches("BROKEN").count(), text.matches("kept").count()), (2, 2), "{text}");
    }
}
