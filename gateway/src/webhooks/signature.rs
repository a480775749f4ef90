//! Signatures (Standard Webhooks, "Signature scheme"): HMAC-SHA256 of the event's name, the time and the body.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use ring::rand::{SecureRandom as _, SystemRandom};

/// What a secret begins with, so that people and scanners recognise it.
const PREFIX: &str = "whsec_";

/// What signs. The specification has 24 to 64 bytes.
pub(super) struct Secret([u8; 32]);

// === impl Secret ===

impl Secret {
    /// A new one.
    pub(super) fn new() -> Self {
        let mut bytes = [0; 32];
        SystemRandom::new().fill(&mut bytes).expect("the system has randomness");
        Self(bytes)
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// As receivers want it.
    pub(super) fn to_text(&self) -> String {
        format!("{PREFIX}{}", STANDARD.encode(self.0))
    }
}

/// The value of `webhook-signature`: one signature for each secret, any of which may be believed.
pub(super) fn sign(secrets: &[Vec<u8>], id: &str, timestamp_secs: u64, body: &str) -> String {
    let signed = format!("{id}.{timestamp_secs}.{body}");
    let mut signatures = String::new();
    for secret in secrets {
        let key = hmac::Key::new(hmac::HMAC_SHA256, secret);
        let space = if signatures.is_empty() { "" } else { " " };
        let signature = STANDARD.encode(hmac::sign(&key, signed.as_bytes()));
        write!(signatures, "{space}v1,{signature}").expect("a String takes all");
    }
    signatures
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's own libraries.
    #[test]
    fn it_signs_as_the_specification_does() {
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").expect("base64");
        let (id, at, body) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, r#"{"test": 2432232314}"#);
        let wanted = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(sign(std::slice::from_ref(&secret), id, at, body), wanted);
        let both = sign(&[b"another".to_vec(), secret], id, at, body);
        assert!(both.starts_with("v1,") && both.ends_with(&format!(" {wanted}")), "{both}");
    }
}
