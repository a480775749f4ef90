//! Two kinds of plots as SVG: bars for one figure of many peers, and lines for what changes along an axis.
//!
//! A peer has the same colour in all of them. Texts and axes take their colour from the page, so that a plot is
//! readable on light and on dark; a file of its own brings both with it ([`standalone`]).

use std::fmt::Write as _;

/// The width of every plot. A page scales it.
pub(super) const WIDTH: f64 = 460.0;
const LINES_HEIGHT: f64 = 260.0;
const BAR_HEIGHT: f64 = 24.0;
const TITLE_HEIGHT: f64 = 34.0;
/// Room for the names of peers beside bars, and for the figures behind them.
const NAME_WIDTH: f64 = 108.0;
const FIGURE_WIDTH: f64 = 74.0;
/// Room for the axes of lines.
const LEFT: f64 = 56.0;
const BOTTOM: f64 = 34.0;
const TICKS: usize = 5;
const LEGEND_COLUMNS: usize = 3;

/// An SVG fragment and how high it is.
pub(super) struct Plot {
    pub(super) body: String,
    pub(super) height: f64,
}

/// A line of a plot: who, and points in the order of their x.
pub(super) struct Line {
    pub(super) name: String,
    pub(super) points: Vec<(f64, f64)>,
}

/// How numbers lie on an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scale {
    /// From zero on, evenly.
    Linear,
    /// By their logarithms; they must be positive.
    Log,
    /// Percentiles: 50, 90, 99, 99.9, each as far from the next.
    Percentile,
}

/// What an axis says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Axis {
    pub(super) label: &'static str,
    pub(super) scale: Scale,
}

// === impl Plot ===

impl Plot {
    /// One bar for each peer.
    pub(super) fn bars(title: &str, values: &[(String, f64)]) -> Self {
        let longest = values.iter().map(|(_, value)| *value).fold(0.0, f64::max);
        let room = WIDTH - NAME_WIDTH - FIGURE_WIDTH;
        let length = |value: f64| if longest > 0.0 { value / longest * room } else { 0.0 };
        let mut body = heading(title);
        for (nth, (name, value)) in values.iter().enumerate() {
            let y = TITLE_HEIGHT + number(nth) * BAR_HEIGHT;
            let (middle, end) = (y + BAR_HEIGHT / 2.0 + 3.0, NAME_WIDTH + length(*value));
            let _ = write!(
                body,
                r#"<text class="t" x="{:.1}" y="{middle:.1}" text-anchor="end">{}</text><rect x="{NAME_WIDTH}" y="{:.1}" width="{:.1}" height="{:.1}" rx="2" fill="{}"/><text class="t" x="{:.1}" y="{middle:.1}">{}</text>"#,
                NAME_WIDTH - 6.0,
                escaped(name),
                y + 3.0,
                length(*value),
                BAR_HEIGHT - 6.0,
                colour(name),
                end + 5.0,
                short(*value),
            );
        }
        let height = TITLE_HEIGHT + number(values.len()) * BAR_HEIGHT + 6.0;
        Self { body, height }
    }

    /// One line for each peer. Points that have no place on an axis are left out.
    pub(super) fn lines(title: &str, x: Axis, y: Axis, lines: &[Line]) -> Self {
        let points = || lines.iter().flat_map(|line| &line.points);
        let across = Span::of(x.scale, points().map(|point| point.0), LEFT, WIDTH - 12.0);
        let legend = number(lines.len().div_ceil(LEGEND_COLUMNS)) * 16.0;
        let (top, bottom) = (TITLE_HEIGHT + legend, LINES_HEIGHT - BOTTOM);
        let up = Span::of(y.scale, points().map(|point| point.1), bottom, top);
        let mut body = heading(title);
        for (value, at) in across.ticks() {
            let value = if x.scale == Scale::Percentile { value.to_string() } else { short(value) };
            let _ = write!(
                body,
                r#"<line class="g" x1="{at:.1}" y1="{top:.1}" x2="{at:.1}" y2="{bottom:.1}"/><text class="t" x="{at:.1}" y="{:.1}" text-anchor="middle">{}</text>"#,
                bottom + 14.0,
                value,
            );
        }
        for (value, at) in up.ticks() {
            let _ = write!(
                body,
                r#"<line class="g" x1="{LEFT}" y1="{at:.1}" x2="{:.1}" y2="{at:.1}"/><text class="t" x="{:.1}" y="{:.1}" text-anchor="end">{}</text>"#,
                WIDTH - 12.0,
                LEFT - 5.0,
                at + 4.0,
                short(value),
            );
        }
        for (nth, line) in lines.iter().enumerate() {
            let placed: Vec<String> = line
                .points
                .iter()
                .filter_map(|point| Some(format!("{:.1},{:.1}", across.place(point.0)?, up.place(point.1)?)))
                .collect();
            let (colour, name) = (colour(&line.name), escaped(&line.name));
            let (legend_x, legend_y) = (
                LEFT + number(nth % LEGEND_COLUMNS) * 125.0,
                TITLE_HEIGHT - 4.0 + number(nth / LEGEND_COLUMNS) * 16.0,
            );
            let _ = write!(
                body,
                r#"<polyline points="{}" fill="none" stroke="{colour}" stroke-width="2"><title>{name}</title></polyline><rect x="{legend_x:.1}" y="{:.1}" width="10" height="10" rx="2" fill="{colour}"/><text class="t" x="{:.1}" y="{:.1}">{name}</text>"#,
                placed.join(" "),
                legend_y,
                legend_x + 14.0,
                legend_y + 9.0,
            );
        }
        let _ = write!(
            body,
            r#"<text class="t" x="{:.1}" y="{:.1}" text-anchor="end">{}</text><text class="t" x="4" y="{:.1}">{}</text>"#,
            WIDTH - 12.0,
            LINES_HEIGHT - 4.0,
            x.label,
            top - 6.0,
            y.label,
        );
        Self { body, height: LINES_HEIGHT }
    }

    /// As an element of a page.
    pub(super) fn svg(&self) -> String {
        let Self { body, height } = self;
        format!(r#"<svg viewBox="0 0 {WIDTH} {height:.0}" role="img">{body}</svg>"#)
    }
}

/// Plots side by side, `columns` in a row, as a file that is an image by itself.
pub(super) fn standalone(plots: &[Plot], columns: usize) -> String {
    let gap = 16.0;
    let (mut body, mut y) = (String::new(), gap);
    for row in plots.chunks(columns) {
        for (column, plot) in row.iter().enumerate() {
            let x = gap + number(column) * (WIDTH + gap);
            let _ = write!(body, r#"<g transform="translate({x:.0} {y:.0})">{}</g>"#, plot.body);
        }
        y += row.iter().map(|plot| plot.height).fold(0.0, f64::max) + gap;
    }
    let width = gap + number(columns) * (WIDTH + gap);
    format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0} {y:.0}" width="{width:.0}" height="{y:.0}"><style>{STYLE}svg{{--ink:#1f2328;--grid:#d8dee4;background:white}}</style><rect width="100%" height="100%" fill="white"/>{body}</svg>
    "#
    )
}

/// What the classes of plots look like; the page says what `--ink` and `--grid` are.
pub(super) const STYLE: &str = "text{fill:var(--ink);font:12px system-ui,sans-serif}.h{font-weight:600;font-size:13px}\
    .g{stroke:var(--grid);stroke-width:1}";

fn heading(title: &str) -> String {
    format!(r#"<text class="h" x="4" y="16">{}</text>"#, escaped(title))
}

/// Okabe and Ito's colours, which people with any colour vision tell apart.
fn colour(peer: &str) -> &'static str {
    match peer {
        "seekway-s3" => "#0072b2",
        "seekway-local" => "#56b4e9",
        "nginx-static" => "#009e73",
        "nginx-slice" => "#e69f00",
        "varnish" => "#d55e00",
        "origin" => "#8c8c8c",
        _ => "#cc79a7",
    }
}

/// For text of HTML and SVG, and for attributes in double quotes.
pub(super) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Three significant digits, and no more than the number has.
pub(super) fn short(value: f64) -> String {
    let magnitude = value.abs();
    let text = match magnitude {
        _ if magnitude >= 1e9 => return format!("{:.3} G", value / 1e9).replace(".000", ""),
        _ if magnitude >= 1e5 => return format!("{:.0} k", value / 1e3),
        _ if magnitude >= 100.0 => return format!("{value:.0}"),
        _ if magnitude >= 10.0 => format!("{value:.1}"),
        _ if magnitude >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    };
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[expect(clippy::cast_precision_loss, reason = "plots have few of anything")]
fn number(count: usize) -> f64 {
    count as f64
}

/// A stretch of an axis: numbers on the one side, places on the other.
struct Span {
    scale: Scale,
    values: (f64, f64),
    places: (f64, f64),
}

// === impl Span ===

impl Span {
    fn of(scale: Scale, values: impl Iterator<Item = f64>, first: f64, last: f64) -> Self {
        let placeable = values.filter(|value| scale.position(*value).is_some());
        let (low, high) = placeable
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
        let (low, high) = if low > high { (1.0, 10.0) } else { (low, high) };
        let low = if scale == Scale::Linear { low.min(0.0) } else { low };
        let high = if high > low { high } else { low + 1.0 };
        Self { scale, values: (low, high), places: (first, last) }
    }

    fn place(&self, value: f64) -> Option<f64> {
        let (low, high) = (self.scale.position(self.values.0)?, self.scale.position(self.values.1)?);
        let share = (self.scale.position(value)? - low) / (high - low);
        Some(self.places.0 + share * (self.places.1 - self.places.0))
    }

    /// Round numbers within, and where they lie.
    fn ticks(&self) -> Vec<(f64, f64)> {
        let (low, high) = self.values;
        let candidates: Vec<f64> = match self.scale {
            Scale::Linear => {
                let rough = (high - low) / number(TICKS);
                let unit = 10_f64.powf(rough.log10().floor());
                let step =
                    [1.0, 2.0, 5.0, 10.0].map(|factor| factor * unit).into_iter().find(|step| *step >= rough);
                let step = step.unwrap_or(rough);
                (0..=2 * TICKS).map(|nth| (low / step).ceil().mul_add(step, number(nth) * step)).collect()
            }
            Scale::Log => {
                let decades = (high / low).log10();
                let factors: &[f64] = match decades {
                    _ if decades < 1.0 => &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0],
                    _ if decades < 2.0 => &[1.0, 2.0, 5.0],
                    _ => &[1.0],
                };
                let first = low.log10().floor();
                let decade = |nth: usize| 10_f64.powf(first + number(nth));
                (0..14).flat_map(|nth| factors.iter().map(move |factor| factor * decade(nth))).collect()
            }
            Scale::Percentile => vec![0.0, 50.0, 90.0, 99.0, 99.9, 99.99, 99.999],
        };
        let within = candidates.into_iter().filter(|value| (low..=high).contains(value));
        within.filter_map(|value| Some((value, self.place(value)?))).collect()
    }
}

// === impl Scale ===

impl Scale {
    fn position(self, value: f64) -> Option<f64> {
        let position = match self {
            Self::Linear => value,
            Self::Log => value.ln(),
            Self::Percentile => -(1.0 - value / 100.0).ln(),
        };
        Some(position).filter(|position| position.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_and_right() {
        for (value, text) in [
            (0.0, "0"),
            (0.1234, "0.123"),
            (1.0, "1"),
            (1.256, "1.26"),
            (20.0, "20"),
            (99.94, "99.9"),
            (123.4, "123"),
            (43_210.0, "43210"),
            (432_100.0, "432 k"),
            (2e9, "2 G"),
        ] {
            assert_eq!(short(value), text);
        }
    }

    #[test]
    fn axes_have_round_numbers_within_them() {
        for (scale, low, high) in [
            (Scale::Linear, 0.0, 7.3),
            (Scale::Linear, 0.0, 123_456.0),
            (Scale::Log, 0.03, 80.0),
            (Scale::Log, 3.0, 9.0),
            (Scale::Percentile, 0.0, 99.99),
        ] {
            let span = Span::of(scale, [low, high].into_iter(), 10.0, 110.0);
            assert_eq!((span.place(low), span.place(high)), (Some(10.0), Some(110.0)));
            let ticks = span.ticks();
            assert!((2..=12).contains(&ticks.len()), "{scale:?} {low} {high}: {ticks:?}");
            assert!(
                ticks.iter().all(|(value, at)| (low..=high).contains(value) && (10.0..=110.0).contains(at))
            );
        }
        let empty = Span::of(Scale::Log, [f64::NAN, 0.0].into_iter(), 0.0, 1.0);
        assert_eq!(empty.place(0.0), None, "what has no logarithm has no place");
    }

    #[test]
    fn plots_hold_what_they_are_given_and_nothing_that_breaks_the_page() {
        let bars = Plot::bars("<CPU>", &[("a\"b".to_owned(), 2.0), ("varnish".to_owned(), 1.0)]).svg();
        assert!(bars.contains("&lt;CPU&gt;") && bars.contains("a&quot;b"), "{bars}");
        assert_eq!(bars.matches("<rect").count(), 2);
        let line = Line { name: "origin".to_owned(), points: vec![(0.0, 1.0), (99.0, 3.0), (100.0, 4.0)] };
        let (x, y) =
            (Axis { label: "percentile", scale: Scale::Percentile }, Axis { label: "ms", scale: Scale::Log });
        let lines = Plot::lines("latency", x, y, &[line]).svg();
        let points = lines.split("points=\"").nth(1).and_then(|rest| rest.split('"').next());
        assert_eq!(
            points.map(|points| points.split(' ').count()),
            Some(2),
            "the hundredth percentile has no place"
        );
        assert!(!lines.contains("NaN"), "{lines}");
    }
}
