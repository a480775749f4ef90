//! Random tokens and keys, and the hashes that are kept of them.
//!
//! 256 random bits need no salt and no slow hash: nobody can try them all.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::digest::{SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};

/// What an API key begins with: people and scanners recognise it, and it is told from a token by it.
pub(super) const API_KEY_PREFIX: &str = "seekway_";

/// 256 random bits as text.
pub(super) fn token() -> String {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).expect("the system has randomness");
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A new API key.
pub(super) fn api_key() -> String {
    format!("{API_KEY_PREFIX}{}", token())
}

/// What is kept of a token or key.
pub(super) fn hash(secret: &str) -> Vec<u8> {
    digest(&SHA256, secret.as_bytes()).as_ref().to_vec()
}
