//! Load over HTTP/2 by `h2load` of nghttp2, and its figures.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::Error;

/// What a run came to. Every request of it succeeded with a 2xx.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// How long it took.
    pub elapsed: Duration,
    /// Requests that were answered.
    pub requests: u64,
    /// Requests per second.
    pub requests_per_second: f64,
    /// What `h2load` printed, for a report.
    pub text: String,
}

/// Runs `h2load` with these arguments, the URL last, such as `["-n", "3000", "-c", "10", "-m", "100", url]`, to its
/// end: bound it with `-n` or `-D`. Fails if any request did.
pub async fn run(arguments: &[&str]) -> Result<Figures, Error> {
    let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
    let command = format!("h2load {}", arguments.join(" "));
    let running = tokio::task::spawn_blocking(move || {
        // It ends with the thread that started it, which waits for it.
        Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "--", "h2load"])
            .args(arguments)
            .stdin(Stdio::null())
            .output()
    });
    let output = running.await.map_err(std::io::Error::other)??;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let log = String::from_utf8_lossy(&output.stderr).into_owned() + &text;
        return Err(Error::ChildEnded { name: "h2load", status: output.status, log });
    }
    match figures(&text) {
        Some(figures) => Ok(figures),
        None => Err(Error::UnexpectedAnswer { request: command, answer: text }),
    }
}

/// The figures of a run in which all went well.
fn figures(text: &str) -> Option<Figures> {
    let line = |start: &str| text.lines().find_map(|line| line.strip_prefix(start));
    let (elapsed, rates) = line("finished in ")?.split_once(", ")?;
    let (rate, _) = rates.split_once(" req/s")?;
    let requests = counts(line("requests: ")?);
    let statuses = counts(line("status codes: ")?);
    let none = |counts: &[(&str, u64)], names: &[&str]| names.iter().all(|name| counts.contains(&(*name, 0)));
    let all_well =
        none(&requests, &["failed", "errored", "timeout"]) && none(&statuses, &["3xx", "4xx", "5xx"]);
    let (_, succeeded) = *requests.iter().find(|(name, _)| *name == "succeeded")?;
    (all_well && succeeded > 0).then_some(Figures {
        elapsed: humantime::parse_duration(&in_whole_units(elapsed)?).ok()?,
        requests: succeeded,
        requests_per_second: rate.parse().ok()?,
        text: text.to_owned(),
    })
}

/// `5000 total, 0 failed` as names and counts.
fn counts(line: &str) -> Vec<(&str, u64)> {
    let count = |part: &'_ str| -> Option<(usize, u64)> {
        let (count, name) = part.trim().split_once(' ')?;
        Some((name.len(), count.parse().ok()?))
    };
    line.split(',')
        .filter_map(|part| count(part).map(|(length, count)| (&part[part.len() - length..], count)))
        .collect()
}

/// `1.23s`, `456.78ms` or `789us` in microseconds.
fn in_whole_units(time: &str) -> Option<String> {
    let (number, factor) = if let Some(number) = time.strip_suffix("ms") {
        (number, 1e3)
    } else if let Some(number) = time.strip_suffix("us") {
        (number, 1.0)
    } else {
        (time.strip_suffix('s')?, 1e6)
    };
    Some(format!("{:.0}us", number.parse::<f64>().ok()? * factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "\
starting benchmark...
Application protocol: h2c

finished in 456.50ms, 6571.74 req/s, 411.32MB/s
requests: 3000 total, 3000 started, 3000 done, 3000 succeeded, 0 failed, 0 errored, 0 timeout
status codes: 3000 2xx, 0 3xx, 0 4xx, 0 5xx
traffic: 187.76MB (196881160) total, 44.13KB (45190) headers (space savings 96.10%), 187.50MB (196608000) data
";

    #[test]
    fn a_run_that_went_well_has_figures() {
        let figures = figures(TEXT).expect("all went well");
        assert_eq!(figures.elapsed, Duration::from_micros(456_500));
        assert_eq!(figures.requests, 3000);
        assert!((figures.requests_per_second - 6571.74).abs() < 1e-6);
    }

    #[test]
    fn one_failure_is_too_many() {
        for (from, to) in [
            ("0 failed", "1 failed"),
            ("0 errored", "2 errored"),
            ("0 timeout", "3 timeout"),
            ("0 5xx", "1 5xx"),
            ("0 4xx", "1 4xx"),
            ("3000 succeeded", "0 succeeded"),
            ("requests:", "asked:"),
        ] {
            assert_eq!(figures(&TEXT.replace(from, to)), None, "{to}");
        }
    }
}
