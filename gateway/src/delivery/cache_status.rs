//! `Cache-Status` (RFC 9211) and `Server-Timing`: where an answer came from and what took its time, for
//! players, CDNs in front and whoever wonders why a seek was slow.

use std::time::Duration;

use http::HeaderValue;

use super::header_text::HeaderText;

/// The largest integer of a structured field (RFC 9651 §3.3.1).
const INTEGER_MAX: u64 = 999_999_999_999_999;

/// Where the first byte of an answer came from. A long answer may use several places; the first byte is what
/// its client waited for, and the only one known when the headers leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Served {
    /// Memory, or for HEAD and 304 known metadata, with `ttl` left until the metadata are asked for again;
    /// `None` where they are asked for each time.
    Memory {
        /// How long the metadata are fresh.
        ttl: Option<Duration>,
    },
    /// The tier that all replicas share.
    Redis,
    /// A fill that another request had started.
    Joined,
    /// A fill of its own, kept for others.
    Filled,
    /// The same for a part of an object that was known already (RFC 9211 §2.2, `partial`).
    FilledPart,
    /// No bytes: the store was asked about the object, for HEAD or 304.
    Asked,
    /// Memory, with metadata `past` their time (RFC 5861).
    Stale {
        /// For how long the metadata have been stale.
        past: Duration,
    },
}

/// What an answer's time went to, up to its first byte.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Finding out version and size; absent if they were known.
    pub metadata: Option<Duration>,
    /// From the request's end to the first byte in hand, metadata included.
    pub first_byte: Option<Duration>,
}

// === impl Served ===

impl Served {
    /// The `Cache-Status` of the answer.
    pub fn cache_status(self, text: &mut HeaderText) -> HeaderValue {
        match self {
            Self::Memory { ttl: None } => HeaderValue::from_static("seekway; hit"),
            Self::Memory { ttl: Some(ttl) } => {
                text.text("seekway; hit; ttl=").number(whole_secs(ttl)).value()
            }
            Self::Redis => HeaderValue::from_static("seekway; hit; detail=redis"),
            Self::Joined => HeaderValue::from_static("seekway; fwd=uri-miss; collapsed"),
            Self::Filled => HeaderValue::from_static("seekway; fwd=uri-miss; stored"),
            Self::FilledPart => HeaderValue::from_static("seekway; fwd=partial; stored"),
            Self::Asked => HeaderValue::from_static("seekway; fwd=uri-miss"),
            // RFC 9211 §2.4: a negative ttl says that the answer is stale.
            Self::Stale { past } => text.text("seekway; hit; ttl=-").number(whole_secs(past).max(1)).value(),
        }
    }

    /// The `Server-Timing` of the answer: the same in a word, then milliseconds.
    pub fn server_timing(self, timings: Timings, text: &mut HeaderText) -> HeaderValue {
        text.text("cache;desc=").text(self.token());
        for (name, took) in [("metadata", timings.metadata), ("first-byte", timings.first_byte)] {
            if let Some(took) = took {
                let micros = u64::try_from(took.as_micros()).unwrap_or(u64::MAX);
                text.text(", ")
                    .text(name)
                    .text(";dur=")
                    .number(micros / 1000)
                    .text(".")
                    .digits(micros % 1000);
            }
        }
        text.value()
    }

    /// One word for logs and metrics.
    pub fn token(self) -> &'static str {
        match self {
            Self::Memory { .. } => "memory",
            Self::Redis => "redis",
            Self::Joined => "joined",
            Self::Filled | Self::FilledPart => "filled",
            Self::Asked => "asked",
            Self::Stale { .. } => "stale",
        }
    }
}

fn whole_secs(duration: Duration) -> u64 {
    duration.as_secs().min(INTEGER_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn every_served() -> Vec<Served> {
        let mut all = vec![
            Served::Redis,
            Served::Joined,
            Served::Filled,
            Served::FilledPart,
            Served::Asked,
            Served::Memory { ttl: None },
        ];
        for time in [Duration::ZERO, SECOND * 8, Duration::MAX] {
            all.push(Served::Memory { ttl: Some(time) });
            all.push(Served::Stale { past: time });
        }
        all
    }

    #[test]
    fn statuses_read_as_intended() {
        for (served, expected) in [
            (Served::Memory { ttl: None }, "seekway; hit"),
            (Served::Memory { ttl: Some(SECOND * 8) }, "seekway; hit; ttl=8"),
            (Served::Memory { ttl: Some(Duration::ZERO) }, "seekway; hit; ttl=0"),
            (Served::Redis, "seekway; hit; detail=redis"),
            (Served::Joined, "seekway; fwd=uri-miss; collapsed"),
            (Served::Filled, "seekway; fwd=uri-miss; stored"),
            (Served::Asked, "seekway; fwd=uri-miss"),
            (Served::Stale { past: SECOND * 3 }, "seekway; hit; ttl=-3"),
            (Served::Stale { past: Duration::from_millis(3) }, "seekway; hit; ttl=-1"),
        ] {
            assert_eq!(served.cache_status(&mut HeaderText::new()), expected);
        }
    }

    #[test]
    fn timings_are_milliseconds() {
        let none = Served::Filled.server_timing(Timings::default(), &mut HeaderText::new());
        assert_eq!(none, "cache;desc=filled");
        let timings = Timings {
            metadata: Some(Duration::from_micros(12_345)),
            first_byte: Some(Duration::from_nanos(7_999)),
        };
        let both = Served::Memory { ttl: None }.server_timing(timings, &mut HeaderText::new());
        assert_eq!(both, "cache;desc=memory, metadata;dur=12.345, first-byte;dur=0.007");
    }

    /// A bare item's kind in RFC 9651 §3.3.
    #[derive(Debug, PartialEq)]
    enum Bare {
        Token,
        Integer,
        True,
    }

    /// `sf-list` of one token item with parameters (RFC 9651 §3.1), as RFC 9211 §2 asks for.
    fn parse_item(text: &str) -> Option<(String, Vec<(String, Bare)>)> {
        let mut pieces = text.split(';');
        let name = pieces.next().filter(|name| is_token(name))?;
        let parameters = pieces.map(|piece| {
            let piece = piece.trim_start_matches(' ');
            let (key, bare) = match piece.split_once('=') {
                None => (piece, Bare::True),
                Some((key, number))
                    if number.starts_with(['-', '0', '1', '2', '3', '4', '5', '6', '7', '8', '9']) =>
                {
                    let digits = number.strip_prefix('-').unwrap_or(number);
                    let integer =
                        (1..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
                    integer.then_some((key, Bare::Integer))?
                }
                Some((key, token)) => is_token(token).then_some((key, Bare::Token))?,
            };
            let lower = |byte: u8| byte.is_ascii_lowercase() || byte == b'*';
            let rest = |byte: u8| lower(byte) || byte.is_ascii_digit() || b"_-.".contains(&byte);
            let well_named = key.bytes().next().is_some_and(lower) && key.bytes().all(rest);
            well_named.then(|| (key.to_owned(), bare))
        });
        Some((name.to_owned(), parameters.collect::<Option<_>>()?))
    }

    fn is_token(text: &str) -> bool {
        let tchar = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:/".contains(&byte);
        text.bytes().next().is_some_and(|byte| byte.is_ascii_alphabetic() || byte == b'*')
            && text.bytes().all(tchar)
    }

    #[test]
    fn every_status_is_what_the_rfc_allows() {
        for served in every_served() {
            let text = served.cache_status(&mut HeaderText::new());
            let (name, parameters) = parse_item(text.to_str().expect("ASCII")).expect("a structured item");
            assert_eq!(name, "seekway");
            let kind = |key: &str| parameters.iter().find(|(name, _)| name == key).map(|(_, bare)| bare);
            for (key, bare) in &parameters {
                let expected = match key.as_str() {
                    "hit" | "stored" | "collapsed" => Bare::True,
                    "ttl" => Bare::Integer,
                    "fwd" | "detail" => Bare::Token,
                    other => panic!("{other} is no parameter of RFC 9211"),
                };
                assert_eq!(*bare, expected, "{text:?}");
            }
            // §2.1, §2.2: hit and fwd exclude each other; §2.5, §2.6: the rest of a forward go with it.
            assert_ne!(kind("hit").is_some(), kind("fwd").is_some(), "{text:?}");
            assert!(kind("fwd").is_some() || kind("stored").or(kind("collapsed")).is_none(), "{text:?}");
        }
    }

    #[test]
    fn the_test_parser_refuses_what_it_should() {
        for wrong in [
            "",
            "1a; hit",
            "a; Hit",
            "a; ttl=1234567890123456",
            "a; ttl=-",
            "a; ttl=1.",
            "a;",
            "a; d=\"",
            "a; fwd=",
        ] {
            assert_eq!(parse_item(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn timings_have_the_grammar_of_server_timing() {
        let timings = Timings { metadata: Some(Duration::MAX), first_byte: Some(Duration::ZERO) };
        for served in every_served() {
            let text = served.server_timing(timings, &mut HeaderText::new());
            for metric in text.to_str().expect("ASCII").split(", ") {
                let (name, parameter) = metric.split_once(';').expect("a parameter");
                let (key, value) = parameter.split_once('=').expect("a value");
                assert!(is_token(name) && ["desc", "dur"].contains(&key), "{metric}");
                assert!(is_token(value) || value.parse::<f64>().is_ok(), "{metric}");
            }
        }
    }
}
