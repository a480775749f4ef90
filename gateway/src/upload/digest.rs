//! Digests of what streams through: the SHA-256 of the whole, which outlives connections and processes, and the
//! checksum that a client may send along with one request.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use md5::Md5;
use sha1::Sha1;
use sha2::digest::common::hazmat::{SerializableState, SerializedState};
use sha2::{Digest, Sha256};

/// The SHA-256 of an upload's bytes so far. Its state is kept with each commit, so that any replica goes on from there.
///
/// The form of the state is `sha2`'s, which keeps it within a minor version (0.11): a state of another length is taken
/// for unknown, and the worker hashes such a video when it reads it.
#[derive(Clone)]
pub(crate) struct Running(Sha256);

/// A checksum of one request's bytes (tus 1.0, "Checksum").
pub(crate) struct Checksum {
    running: Algorithm,
    expected: Vec<u8>,
}

/// In the order in which `Tus-Checksum-Algorithm` names them.
enum Algorithm {
    Sha256(Sha256),
    Sha1(Sha1),
    Md5(Md5),
}

/// What `Tus-Checksum-Algorithm` says.
pub(crate) const CHECKSUM_ALGORITHMS: &str = "sha256,sha1,md5";

// === impl Running ===

impl Running {
    /// Of nothing yet.
    pub(crate) fn new() -> Self {
        Self(Sha256::new())
    }

    /// Goes on from a kept state; `None` if it is none of ours.
    pub(crate) fn resume(state: &[u8]) -> Option<Self> {
        let state = SerializedState::<Sha256>::try_from(state).ok()?;
        Sha256::deserialize(&state).ok().map(Self)
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// What [`resume`](Self::resume) takes.
    pub(crate) fn state(&self) -> Vec<u8> {
        self.0.serialize().to_vec()
    }

    /// The digest, in lower-case hexadecimal.
    pub(crate) fn finish(self) -> String {
        let words = self.0.finalize();
        let (words, _) = words.as_chunks::<16>();
        words.iter().fold(String::new(), |text, word| format!("{text}{:032x}", u128::from_be_bytes(*word)))
    }
}

// === impl Checksum ===

impl Checksum {
    /// Reads `Upload-Checksum`: an algorithm and a digest in Base64, with a space between them. `None` if it is not
    /// that, or the algorithm is not one of [`CHECKSUM_ALGORITHMS`].
    pub(crate) fn parse(header: &str) -> Option<Self> {
        let (name, encoded) = header.trim().split_once(' ')?;
        let expected = STANDARD.decode(encoded.trim()).ok()?;
        let running = match name {
            "sha256" | "sha-256" => Algorithm::Sha256(Sha256::new()),
            "sha1" | "sha-1" => Algorithm::Sha1(Sha1::new()),
            "md5" => Algorithm::Md5(Md5::new()),
            _ => return None,
        };
        Some(Self { running, expected })
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        match &mut self.running {
            Algorithm::Sha256(running) => running.update(bytes),
            Algorithm::Sha1(running) => running.update(bytes),
            Algorithm::Md5(running) => running.update(bytes),
        }
    }

    /// Whether the bytes were the ones that the client meant.
    pub(crate) fn holds(self) -> bool {
        match self.running {
            Algorithm::Sha256(running) => running.finalize().as_slice() == self.expected,
            Algorithm::Sha1(running) => running.finalize().as_slice() == self.expected,
            Algorithm::Md5(running) => running.finalize().as_slice() == self.expected,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_goes_on_where_it_was_left() {
        let bytes: Vec<u8> = (0..=255).cycle().take(1000).collect();
        let whole = {
            let mut running = Running::new();
            running.update(&bytes);
            running.finish()
        };
        for cut in [0, 1, 63, 64, 65, 500, 999, 1000] {
            let mut first = Running::new();
            first.update(&bytes[..cut]);
            let mut second = Running::resume(&first.state()).expect("its own state");
            second.update(&bytes[cut..]);
            assert_eq!(second.finish(), whole, "cut at {cut}");
        }
        assert!(Running::resume(b"none").is_none() && Running::resume(&[]).is_none());
    }

    /// FIPS 180-4's own example, so that nobody's state can be right in the same wrong way.
    #[test]
    fn the_digest_is_sha_256() {
        let mut running = Running::new();
        running.update(b"abc");
        assert_eq!(running.finish(), "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }

    #[test]
    fn checksums_are_read_and_compared() {
        // `printf abc | openssl dgst -binary -md5 | base64`, and so on.
        for (header, holds) in [
            ("md5 kAFQmDzST7DWlj99KOF/cg==", true),
            ("sha1 qZk+NkcGgWq6PiVxeFDCbJzQ2J0=", true),
            ("sha256 ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=", true),
            ("sha-256 ungWv48Bz+pBQUDeXa4iI7ADYaOWF3qctBD/YfIAFa0=", true),
            ("md5 AAFQmDzST7DWlj99KOF/cg==", false),
            ("md5 kAFQ", false),
        ] {
            let mut checksum = Checksum::parse(header).expect("well-formed");
            checksum.update(b"a");
            checksum.update(b"bc");
            assert_eq!(checksum.holds(), holds, "{header}");
        }
        for bad in ["", "md5", "md5 ?", "crc32 AAAA", "sha1qZk+"] {
            assert!(Checksum::parse(bad).is_none(), "{bad:?}");
        }
    }
}
