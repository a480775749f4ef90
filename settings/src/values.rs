//! What the values of settings look like. Each parser's error says what is allowed, for the line that an
//! operator sees.

use std::fmt::Display;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use http::Uri;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::LevelFilter;

/// Durations end here: far enough for every use, and sums with a clock cannot overflow.
const DURATION_MAX: Duration = Duration::from_hours(365 * 24);

/// More than any machine has, and sums of two cannot overflow.
const SIZE_MAX: u64 = 1 << 50;

/// A bucket to read from while others fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fallback {
    /// Its name.
    pub bucket: String,
    /// The server, if it is not AWS.
    pub endpoint: Option<String>,
    /// Its region; `None` is the preferred bucket's.
    pub region: Option<String>,
}

/// When a late read is asked again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HedgeAfter {
    /// It is not.
    Never,
    /// When this many percent of the recent ones had answered.
    Percent(u32),
}

/// A size as memory counts it; more than can be addressed is all that can be.
pub fn in_memory(bytes: u64) -> usize {
    usize::try_from(bytes).unwrap_or(usize::MAX)
}

/// `256KiB`, `2GiB` or plain bytes.
pub fn size(text: &str) -> Result<u64, String> {
    size_in(text, 0..=SIZE_MAX)
}

/// A size within bounds.
pub fn size_in(text: &str, allowed: RangeInclusive<u64>) -> Result<u64, String> {
    let parsed = text.parse::<ByteSize>().ok().map(|size| size.0).filter(|size| allowed.contains(size));
    parsed.ok_or_else(|| {
        let (least, most) = (ByteSize(*allowed.start()), ByteSize(*allowed.end()));
        format!("a size from {least} to {most}, such as 64KiB, 2GiB or 65536")
    })
}

/// A time for which something is believed; 0 switches it off.
pub fn period(text: &str) -> Result<humantime::Duration, String> {
    duration_in(text, Duration::ZERO, "0s")
}

/// A limit on a wait; 0 would let nothing through.
pub fn limit(text: &str) -> Result<humantime::Duration, String> {
    duration_in(text, Duration::from_millis(1), "1ms")
}

/// A time from `least` on, which is written `least_text`.
pub fn duration_in(text: &str, least: Duration, least_text: &str) -> Result<humantime::Duration, String> {
    let parsed = humantime::Duration::from_str(text).ok();
    let parsed = parsed.filter(|duration| (least..=DURATION_MAX).contains(&**duration));
    parsed.ok_or_else(|| format!("a time from {least_text} to 365days, such as 500ms, 30s or 1h"))
}

/// A whole number within bounds.
pub fn number<N: FromStr + PartialOrd + Display>(
    text: &str,
    allowed: RangeInclusive<N>,
) -> Result<N, String> {
    let parsed = text.parse().ok().filter(|number| allowed.contains(number));
    parsed.ok_or_else(|| format!("a number from {} to {}", allowed.start(), allowed.end()))
}

/// Yes or no, in the words that environments use.
pub fn boolean(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "yes" | "on" | "1" => Ok(true),
        "false" | "no" | "off" | "0" => Ok(false),
        _ => Err("true or false".to_owned()),
    }
}

/// An address to listen on.
pub fn address(text: &str) -> Result<std::net::SocketAddr, String> {
    text.parse()
        .map_err(|_| "an IP address and a port, such as 127.0.0.1:8080, 0.0.0.0:80 or [::]:80".to_owned())
}

/// A name without spaces: a bucket's, a region's.
pub fn name(text: &str) -> Result<String, String> {
    let plain = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
    if plain { Ok(text.to_owned()) } else { Err("a name without spaces".to_owned()) }
}

/// The URL of an S3 server. Credentials do not belong in it: they have settings of their own.
pub fn endpoint(text: &str) -> Result<String, String> {
    let is_endpoint = |uri: &Uri| {
        matches!(uri.scheme_str(), Some("http" | "https"))
            && uri.authority().is_some_and(|authority| !authority.as_str().contains('@'))
            && uri.query().is_none()
    };
    let uri = text.parse::<Uri>().ok().filter(is_endpoint);
    uri.map(|_| text.to_owned())
        .ok_or_else(|| "a URL of a server, such as http://localhost:9000, without a user or query".to_owned())
}

/// A filter of log lines.
pub fn log_filter(text: &str) -> Result<String, String> {
    // `EnvFilter` takes a mistyped level for the name of a module, and then logs nothing at all.
    let is_level = |word: &str| !word.is_empty() && word.trim().parse::<LevelFilter>().is_ok();
    let is_directive = |word: &str| is_level(word.rsplit_once('=').map_or(word, |(_, level)| level));
    let is_filter = text.split(',').all(is_directive) && EnvFilter::try_new(text).is_ok();
    let allowed = || "a level (error, warn, info, debug, trace) or a filter such as info,seekway_cache=debug";
    if is_filter { Ok(text.to_owned()) } else { Err(allowed().to_owned()) }
}

impl HedgeAfter {
    /// From 0 to 1.
    pub fn quantile(self) -> Option<f64> {
        match self {
            Self::Never => None,
            Self::Percent(percent) => Some(f64::from(percent) / 100.0),
        }
    }
}

impl FromStr for HedgeAfter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if text == "off" {
            return Ok(Self::Never);
        }
        let percent = text.strip_prefix('p').and_then(|percent| percent.parse().ok());
        let percent = percent.filter(|percent| (50..=99).contains(percent));
        percent.map(Self::Percent).ok_or_else(|| "p50 to p99, or off".to_owned())
    }
}

impl FromStr for Fallback {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.parse::<Uri>().ok().and_then(|uri| {
            let region = match uri.query() {
                Some(query) => Some(name(query.strip_prefix("region=")?).ok()?),
                None => None,
            };
            let (authority, path) = (uri.authority()?.as_str(), uri.path().trim_matches('/'));
            let (bucket, endpoint) = match uri.scheme_str()? {
                "s3" if path.is_empty() => (authority, None),
                scheme @ ("http" | "https") => (path, Some(format!("{scheme}://{authority}"))),
                _ => return None,
            };
            let plain = !bucket.is_empty() && !bucket.contains('/') && !authority.contains('@');
            plain.then(|| Self { bucket: bucket.to_owned(), endpoint, region })
        });
        parsed.ok_or_else(|| {
            "s3://BUCKET or https://HOST/BUCKET, with ?region=NAME where it has another one".to_owned()
        })
    }
}
