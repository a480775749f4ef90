//! Header values that are made for one answer, in one buffer: an answer has half a dozen of them.

use bytes::{BufMut, BytesMut};
use http::HeaderValue;

/// Room for what an ordinary answer needs; more is made when it is not enough.
const ROOM: usize = 256;

/// Writes one value after the other.
pub struct HeaderText(BytesMut);

// === impl HeaderText ===

impl HeaderText {
    /// With nothing written.
    pub fn new() -> Self {
        Self(BytesMut::with_capacity(ROOM))
    }

    /// Adds text, of visible ASCII and spaces.
    pub fn text(&mut self, text: &str) -> &mut Self {
        self.0.put_slice(text.as_bytes());
        self
    }

    /// Adds a number.
    pub fn number(&mut self, number: u64) -> &mut Self {
        self.text(itoa::Buffer::new().format(number))
    }

    /// Adds the last three digits of a number, as of thousandths.
    pub fn digits(&mut self, number: u64) -> &mut Self {
        let above = number % 1000 + 1000;
        self.text(&itoa::Buffer::new().format(above)[1..])
    }

    /// What was added since the last one.
    pub fn value(&mut self) -> HeaderValue {
        HeaderValue::from_maybe_shared(self.0.split().freeze()).expect("visible ASCII and spaces")
    }
}

impl Default for HeaderText {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_value_is_what_was_written_for_it() {
        let mut text = HeaderText::new();
        for round in 0..100 {
            assert_eq!(text.text("bytes ").number(round).text("/*").value(), format!("bytes {round}/*"));
        }
        assert_eq!(text.number(u64::MAX).value(), u64::MAX.to_string());
        assert_eq!(text.digits(7).text(" ").digits(70).text(" ").digits(1999).value(), "007 070 999");
        assert_eq!(text.value(), "");
    }
}
