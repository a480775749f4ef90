//! How fast and how reliable the origin is.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::pattern;

/// What every request meets. Can be changed while requests run; a body picks up a new bandwidth at its next
/// piece.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Shape {
    /// From the request's arrival to the answer's head, which the first bytes follow at once.
    #[serde(rename = "first_byte_latency_ms", with = "millis")]
    pub first_byte_latency: Duration,
    /// The pace of bodies on one connection; `None` sends as fast as the reader reads.
    pub bytes_per_second_per_connection: Option<u64>,
    /// The share of requests, from 0 to 1, that get 503 `SlowDown`.
    pub error_rate: f64,
    /// The share of requests whose first byte takes longer.
    pub tail: Option<Tail>,
}

/// A slow minority of requests.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tail {
    /// The share of requests that are slow, from 0 to 1.
    pub fraction: f64,
    /// By what their first-byte latency is multiplied.
    pub factor: f64,
}

// === impl Shape ===

impl Default for Shape {
    /// No delay, no limit, no errors.
    fn default() -> Self {
        Self {
            first_byte_latency: Duration::ZERO,
            bytes_per_second_per_connection: None,
            error_rate: 0.0,
            tail: None,
        }
    }
}

impl Shape {
    /// An object store in the same region: 30 ms to the first byte, 50 MB/s per connection.
    #[must_use]
    pub fn remote() -> Self {
        Self {
            first_byte_latency: Duration::from_millis(30),
            bytes_per_second_per_connection: Some(50_000_000),
            ..Self::default()
        }
    }

    /// The latency of the request with this ordinal. The same ordinal always has the same luck.
    pub(super) fn latency(&self, ordinal: u64) -> Duration {
        match self.tail {
            Some(tail) if luck(1, ordinal) < tail.fraction => {
                self.first_byte_latency.mul_f64(tail.factor.max(0.0))
            }
            _ => self.first_byte_latency,
        }
    }

    /// Whether the request with this ordinal fails.
    pub(super) fn fails(&self, ordinal: u64) -> bool {
        luck(2, ordinal) < self.error_rate
    }
}

/// A number from 0 up to, not including, 1.
fn luck(kind: u64, ordinal: u64) -> f64 {
    const STEPS: u32 = 1 << 24;
    let step = u32::try_from(pattern::draw(kind, ordinal, u64::from(STEPS))).expect("below 2^24");
    f64::from(step) / f64::from(STEPS)
}

mod millis {
    use std::time::Duration;

    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_f64(duration.as_secs_f64() * 1000.0)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
        Duration::try_from_secs_f64(f64::deserialize(from)? / 1000.0).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_kept_within_a_few_percent() {
        let shape =
            Shape { error_rate: 0.25, tail: Some(Tail { fraction: 0.1, factor: 5.0 }), ..Shape::remote() };
        let failing = (0..10_000).filter(|ordinal| shape.fails(*ordinal)).count();
        let slow = (0..10_000).filter(|ordinal| shape.latency(*ordinal) > shape.first_byte_latency).count();
        assert!((2_300..2_700).contains(&failing), "{failing}");
        assert!((850..1_150).contains(&slow), "{slow}");
        assert!((0..10_000).all(|ordinal| !Shape::default().fails(ordinal)));
    }

    #[test]
    fn json_may_leave_out_what_it_does_not_change_from_the_default() {
        let shape: Shape = serde_json::from_str(r#"{"first_byte_latency_ms": 1.5}"#).unwrap();
        assert_eq!(shape, Shape { first_byte_latency: Duration::from_micros(1500), ..Shape::default() });
        let shape = Shape { tail: Some(Tail { fraction: 0.1, factor: 2.0 }), ..Shape::remote() };
        assert_eq!(serde_json::from_str::<Shape>(&serde_json::to_string(&shape).unwrap()).unwrap(), shape);
        assert!(serde_json::from_str::<Shape>(r#"{"latency": 1}"#).is_err(), "a typo must not pass");
    }
}
