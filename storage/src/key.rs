//! Object keys, validated once at the edge.

use std::fmt;
use std::sync::Arc;

/// S3's limit on the UTF-8 length of a key.
pub const KEY_BYTES_MAX: usize = 1024;

/// A key that any store may be asked for: 1 to [`KEY_BYTES_MAX`] bytes of UTF-8 without NUL.
///
/// A store may refuse more (a local folder refuses `..`); cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey(Arc<str>);

/// Why a text is not an object key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidKey {
    /// The empty text names no object.
    #[error("the key is empty")]
    Empty,
    /// Longer than [`KEY_BYTES_MAX`].
    #[error("the key is longer than {KEY_BYTES_MAX} bytes")]
    TooLong,
    /// NUL ends a path on every operating system, so it may be in no key.
    #[error("the key contains a NUL character")]
    Nul,
}

// === impl ObjectKey ===

impl ObjectKey {
    /// Checks a key; `Err` says which rule it breaks.
    pub fn new(key: &str) -> Result<Self, InvalidKey> {
        if key.is_empty() {
            Err(InvalidKey::Empty)
        } else if key.len() > KEY_BYTES_MAX {
            Err(InvalidKey::TooLong)
        } else if key.contains('\0') {
            Err(InvalidKey::Nul)
        } else {
            Ok(Self(key.into()))
        }
    }

    /// The key's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_checked() {
        assert_eq!(ObjectKey::new("").unwrap_err(), InvalidKey::Empty);
        assert_eq!(ObjectKey::new("a\0b").unwrap_err(), InvalidKey::Nul);
        assert_eq!(ObjectKey::new(&"é".repeat(513)).unwrap_err(), InvalidKey::TooLong);
        for key in ["a", "a//b", "../x", " +%\"'", "日本/動画.mp4", &"é".repeat(512)] {
            assert_eq!(ObjectKey::new(key).expect("allowed by S3").as_str(), key);
        }
    }
}
