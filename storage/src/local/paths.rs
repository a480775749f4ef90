//! Which keys can be files below the root, and the path of each.

use crate::{Error, ObjectKey};

/// Our own folder in the root: temporary files and multipart uploads. No key names it, no listing shows it.
pub(super) const PRIVATE_FOLDER: &str = ".seekway";

/// A key that is a plain path below the root: every component is a real name.
///
/// Symbolic links are the other way out of a folder; the kernel refuses those (`openat2`, `RESOLVE_BENEATH`).
#[derive(Debug, Clone)]
pub(super) struct KeyPath(ObjectKey);

impl KeyPath {
    pub(super) fn new(key: &ObjectKey) -> Result<Self, Error> {
        match reason_against(key.as_str()) {
            Some(reason) => Err(Error::InvalidKey(reason)),
            None => Ok(Self(key.clone())),
        }
    }

    pub(super) fn key(&self) -> &ObjectKey {
        &self.0
    }

    /// Relative to the root.
    pub(super) fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The names of the folders around the file, outermost first.
    pub(super) fn folders(&self) -> impl Iterator<Item = &str> {
        let folders = self.as_str().rsplit_once('/').map(|(folders, _)| folders);
        folders.into_iter().flat_map(|folders| folders.split('/'))
    }

    pub(super) fn file_name(&self) -> &str {
        self.as_str().rsplit_once('/').map_or(self.as_str(), |(_, name)| name)
    }

    /// The paths of the folders around the file, innermost first.
    pub(super) fn ancestors(&self) -> impl Iterator<Item = &str> {
        let path = self.as_str();
        path.rmatch_indices('/').map(|(at, _)| &path[..at])
    }
}

/// Why a key (or the folder part of a prefix) is no path below the root; `None` if it is one.
pub(super) fn reason_against(path: &str) -> Option<&'static str> {
    if path.contains('\\') {
        return Some("it contains a backslash");
    }
    if path.contains('\0') {
        return Some("it contains NUL");
    }
    if path.starts_with('/') {
        return Some("it is an absolute path");
    }
    // Some file systems fold case.
    if path.split('/').next().is_some_and(|first| first.eq_ignore_ascii_case(PRIVATE_FOLDER)) {
        return Some("it is reserved");
    }
    path.split('/').find_map(|component| match component {
        "" => Some("it has an empty component or ends with a slash"),
        "." | ".." => Some("it has a `.` or `..` component"),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(key: &str) -> Result<KeyPath, Error> {
        KeyPath::new(&ObjectKey::new(key).expect("a key"))
    }

    #[test]
    fn only_plain_relative_paths_are_allowed() {
        for key in ["a", "a/b", "...", "a/..b", ".hidden", "x/.seekway", ".seekway2/x", " ", "-", "日本/é"]
        {
            assert!(path(key).is_ok(), "{key}");
        }
        for key in [
            "/",
            "/a",
            "//a",
            "a//b",
            "a/",
            "a//",
            ".",
            "..",
            "../a",
            "a/..",
            "a/../b",
            "a/./b",
            "./a",
            "a\\b",
            "..\\a",
            ".seekway",
            ".seekway/x",
            ".SeekWay/x",
        ] {
            assert!(matches!(path(key), Err(Error::InvalidKey(_))), "{key}");
        }
    }

    #[test]
    fn a_path_knows_its_folders() {
        let nested = path("a/b/c").expect("allowed");
        assert_eq!(nested.folders().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(nested.ancestors().collect::<Vec<_>>(), ["a/b", "a"]);
        assert_eq!(nested.file_name(), "c");
        let flat = path("c").expect("allowed");
        assert_eq!(flat.folders().count() + flat.ancestors().count(), 0);
        assert_eq!(flat.file_name(), "c");
    }
}
