//! What the values of the gateway's own settings look like, beside those of every program.

use std::str::FromStr;
use std::time::Duration;

use bytesize::ByteSize;
use http::HeaderValue;

pub(super) use seekway_settings::values::{
    address, boolean, duration_in, in_memory, limit, number, period, size, size_in,
};

/// A rule of `--cache-control`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CacheRule {
    /// Keys that start with this; all keys if it is empty.
    pub(super) prefix: String,
    /// Their `Cache-Control`.
    pub(super) value: HeaderValue,
}

/// The size of a segment; offsets are cut with masks.
pub(super) fn segment_bytes(text: &str) -> Result<u64, String> {
    let allowed = |size: &u64| size.is_power_of_two() && (4 << 10..=16 << 20).contains(size);
    let parsed = text.parse::<ByteSize>().ok().map(|size| size.0).filter(allowed);
    parsed.ok_or_else(|| "a power of two from 4KiB to 16MiB".to_owned())
}

/// A limit on a wait that every cold read may have to sit through before it begins.
pub(super) fn short_limit(text: &str) -> Result<humantime::Duration, String> {
    let parsed = humantime::Duration::from_str(text).ok();
    let parsed =
        parsed.filter(|limit| (Duration::from_millis(1)..=Duration::from_secs(1)).contains(&**limit));
    parsed.ok_or_else(|| "a time from 1ms to 1s, such as 2ms or 10ms".to_owned())
}

impl FromStr for CacheRule {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let rule = text.split_once('=').and_then(|(prefix, value)| {
            let value = Some(value.trim()).filter(|value| !value.is_empty())?;
            Some(Self { prefix: prefix.trim().to_owned(), value: HeaderValue::from_str(value).ok()? })
        });
        rule.ok_or_else(|| "PREFIX=VALUE, such as live/=no-cache or =public, max-age=60".to_owned())
    }
}
