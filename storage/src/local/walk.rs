//! Listing: a walk in the byte order of full keys, which is not the order of a plain directory walk.
//!
//! `a-b` sorts before `a/b`, so a folder takes its place among its neighbours as `a/`. Each folder on the way
//! down gives only its next few names, so a page costs memory for its own length, not for the folder's.

use std::collections::BinaryHeap;
use std::io;

use cap_std::fs::{Dir, DirEntry};

use super::errors::from_io;
use super::paths::{PRIVATE_FOLDER, reason_against};
use crate::{Error, ListEntry, Listing, ObjectKey, Page};

/// S3's limit.
const KEYS_MAX: usize = 1000;

/// What the page may hold.
struct Walk<'a> {
    root: &'a Dir,
    prefix: &'a str,
    after: &'a str,
    /// One more than the page's limit: that one says whether another page follows.
    keys_max: usize,
    found: Vec<ListEntry>,
}

/// A folder on the way from the root to the key being looked at.
struct Level {
    /// Empty, or with a slash at its end.
    path: String,
    /// Its next names, in descending order, so that the next one is at the end.
    names: Vec<Name>,
    /// More names may follow the last of `names`.
    is_cut: bool,
}

/// A name in a folder; a folder's ends with a slash, which gives it its place in the order of keys.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Name(String);

/// Lists regular files, and links to regular files below the root. It does not go into linked folders: they
/// could form circles.
pub(super) fn list(root: &Dir, prefix: &str, page: &Page) -> Result<Listing, Error> {
    let limit = page.limit.clamp(1, KEYS_MAX);
    let after = page.after.as_deref().unwrap_or_default();
    let mut walk = Walk { root, prefix, after, keys_max: limit + 1, found: Vec::new() };
    if let Some(start) = start_folder(root, prefix)? {
        walk.run(start)?;
    }
    let mut entries = walk.found;
    let next = (entries.len() > limit).then(|| {
        entries.truncate(limit);
        entries[limit - 1].key.as_str().to_owned()
    });
    Ok(Listing { entries, next })
}

/// The innermost folder that holds everything with this prefix; `None` when it is not there.
fn start_folder<'a>(root: &Dir, prefix: &'a str) -> Result<Option<&'a str>, Error> {
    let Some(slash) = prefix.rfind('/') else { return Ok(Some("")) };
    let folder = &prefix[..slash];
    if reason_against(folder).is_some() {
        return Ok(None);
    }
    for end in folder.match_indices('/').map(|(at, _)| at).chain([slash]) {
        match root.symlink_metadata(&prefix[..end]).map_err(from_io) {
            Ok(metadata) if metadata.is_dir() => {}
            Ok(_) | Err(Error::NotFound | Error::InvalidKey(_)) => return Ok(None),
            Err(error) => return Err(error),
        }
    }
    Ok(Some(&prefix[..=slash]))
}

// === impl Walk ===

impl Walk<'_> {
    fn run(&mut self, start: &str) -> Result<(), Error> {
        let mut levels = vec![self.scan(start.to_owned(), None)?];
        while self.found.len() < self.keys_max {
            let Some(level) = levels.last_mut() else { return Ok(()) };
            let Some(name) = level.names.pop() else {
                levels.pop();
                continue;
            };
            let path = format!("{}{}", level.path, name.0);
            if level.names.is_empty() && level.is_cut {
                *level = self.scan(std::mem::take(&mut level.path), Some(&name))?;
            }
            if name.is_folder() {
                levels.push(self.scan(path, None)?);
            } else {
                self.visit(&path)?;
            }
        }
        Ok(())
    }

    /// Reads a folder's names once and keeps the first few that come after `behind` and may lead to keys of
    /// this page.
    fn scan(&self, path: String, behind: Option<&Name>) -> Result<Level, Error> {
        let mut kept = BinaryHeap::new();
        let mut is_cut = false;
        for entry in self.entries(&path)? {
            let Some(name) = Name::of(&entry.map_err(from_io)?) else { continue };
            if behind.is_some_and(|behind| name <= *behind) || !self.may_hold_keys(&path, &name) {
                continue;
            }
            kept.push(name);
            if kept.len() > self.keys_max {
                kept.pop();
                is_cut = true;
            }
        }
        let mut names = kept.into_sorted_vec();
        names.reverse();
        Ok(Level { path, names, is_cut })
    }

    /// A folder that is gone by now, or closed to us (`lost+found`), holds no objects of ours.
    fn entries(&self, path: &str) -> Result<impl Iterator<Item = io::Result<DirEntry>> + use<>, Error> {
        let read = if path.is_empty() { self.root.entries() } else { self.root.read_dir(path) };
        match read.map_err(from_io) {
            Ok(entries) => Ok(Some(entries).into_iter().flatten()),
            Err(Error::NotFound) => Ok(None.into_iter().flatten()),
            Err(Error::Forbidden(error)) => {
                tracing::debug!(%error, path, "folder left out of a listing");
                Ok(None.into_iter().flatten())
            }
            Err(error) => Err(error),
        }
    }

    fn may_hold_keys(&self, folder: &str, name: &Name) -> bool {
        let path = format!("{folder}{}", name.0);
        if folder.is_empty() && path.trim_end_matches('/').eq_ignore_ascii_case(PRIVATE_FOLDER) {
            return false;
        }
        let path = path.as_str();
        let is_inside = path.starts_with(self.prefix) || (name.is_folder() && self.prefix.starts_with(path));
        // A folder that `after` lies in has keys on both sides of it.
        is_inside && (path > self.after || (name.is_folder() && self.after.starts_with(path)))
    }

    /// Takes the key up if it is an object at this moment.
    fn visit(&mut self, path: &str) -> Result<(), Error> {
        let Ok(key) = ObjectKey::new(path) else { return Ok(()) };
        match self.root.metadata(path).map_err(from_io) {
            Ok(metadata) if metadata.is_file() => {
                let last_modified = metadata.modified().ok().map(cap_std::time::SystemTime::into_std);
                self.found.push(ListEntry { key, size: metadata.len(), last_modified });
                Ok(())
            }
            // Deleted meanwhile, a link that leads out or nowhere, or no regular file behind a link.
            Ok(_) | Err(Error::NotFound | Error::Forbidden(_) | Error::InvalidKey(_)) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

// === impl Name ===

impl Name {
    /// `None` for what can be no key or part of one: sockets and the like, and names that are not UTF-8.
    fn of(entry: &DirEntry) -> Option<Self> {
        let kind = entry.file_type().ok()?;
        let mut name = entry.file_name().into_string().ok()?;
        if name.contains('\\') {
            return None;
        }
        if kind.is_dir() {
            name.push('/');
        } else if !kind.is_file() && !kind.is_symlink() {
            return None;
        }
        Some(Self(name))
    }

    fn is_folder(&self) -> bool {
        self.0.ends_with('/')
    }
}
