//! Where an attempt keeps its files: a folder of its own, which goes with it, also after a crash.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock, statvfs};
use tempfile::TempDir;
use tracing::{info, warn};

use crate::plan::names;

/// The folder below which all attempts of this machine's workers have theirs.
#[derive(Debug, Clone)]
pub struct Scratch {
    root: PathBuf,
}

/// One attempt's folder. Dropping it deletes it.
#[derive(Debug)]
pub struct Folder {
    folder: TempDir,
    /// Locked as long as the worker lives: a folder that is not locked is nobody's.
    _lock: fs::File,
}

const PREFIX: &str = "attempt-";
/// What is just being deleted, by whoever.
const DEAD: &str = "dead-";
const LOCK: &str = "lock";

// === impl Scratch ===

impl Scratch {
    /// Makes the folder where it is not there, and deletes what workers left in it that are no more.
    pub fn open(root: &Path) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let scratch = Self { root: root.canonicalize()? };
        scratch.sweep()?;
        Ok(scratch)
    }

    /// Bytes that are free on its disk.
    pub fn free_bytes(&self) -> io::Result<u64> {
        let stat = statvfs(&self.root)?;
        Ok(stat.f_bavail.saturating_mul(stat.f_frsize))
    }

    /// A new folder, which nobody else may look into.
    pub fn folder(&self) -> io::Result<Folder> {
        // Until it is locked itself, it is as if its worker were no more.
        let _all = self.lock()?;
        let folder = tempfile::Builder::new().prefix(PREFIX).tempdir_in(&self.root)?;
        let lock = fs::File::create(folder.path().join(LOCK))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)?;
        for part in ["in", names::ENCODED, names::OUTPUTS] {
            fs::create_dir(folder.path().join(part))?;
        }
        Ok(Folder { folder, _lock: lock })
    }

    /// Deletes what workers left that are no more. Blocks for as long as that takes.
    pub fn sweep(&self) -> io::Result<()> {
        let all = self.lock()?;
        let mut dead = Vec::new();
        for entry in fs::read_dir(&self.root)? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().as_encoded_bytes();
            let is_attempt = name.starts_with(PREFIX.as_bytes());
            // What cannot be looked at may well be somebody's.
            let is_held = || match fs::File::open(path.join(LOCK)) {
                Ok(lock) => flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err(),
                Err(error) => error.kind() != io::ErrorKind::NotFound,
            };
            if name.starts_with(DEAD.as_bytes()) {
                dead.push(path);
            } else if is_attempt && !is_held() {
                let to = self.root.join(format!("{DEAD}{}", path.file_name().unwrap_or_default().display()));
                match fs::rename(&path, &to) {
                    Ok(()) => dead.push(to),
                    Err(error) => warn!(folder = %path.display(), %error, "cannot delete what a worker left"),
                }
            }
        }
        drop(all);
        for path in dead {
            match fs::remove_dir_all(&path) {
                Ok(()) => info!(folder = %path.display(), "deleted what a worker left"),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => warn!(folder = %path.display(), %error, "cannot delete what a worker left"),
            }
        }
        Ok(())
    }

    /// Only one program at a time says which folders are whose; it takes no longer than to look.
    fn lock(&self) -> io::Result<fs::File> {
        let lock = fs::File::create(self.root.join(LOCK))?;
        flock(&lock, FlockOperation::LockExclusive)?;
        Ok(lock)
    }
}

// === impl Folder ===

impl Folder {
    /// Where it is.
    pub fn path(&self) -> &Path {
        self.folder.path()
    }
}

/// Bytes of all files below a folder; what cannot be read counts as nothing.
pub fn bytes_below(folder: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(folder) else { return 0 };
    entries
        .flatten()
        .map(|entry| match entry.metadata() {
            Ok(metadata) if metadata.is_dir() => bytes_below(&entry.path()),
            Ok(metadata) => metadata.len(),
            Err(_) => 0,
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_nobody_has_is_swept() {
        let root = TempDir::new().expect("a folder");
        let scratch = Scratch::open(root.path()).expect("opens");
        let held = scratch.folder().expect("a folder");
        let left = root.path().join("attempt-dead");
        fs::create_dir(&left).expect("makes");
        fs::write(left.join(LOCK), "").expect("writes");
        fs::write(root.path().join("something else"), "mine").expect("writes");
        Scratch::open(root.path()).expect("opens again");
        assert!(held.path().exists() && !left.exists() && root.path().join("something else").exists());
        fs::write(held.path().join("out/x"), [0; 1000]).expect("writes");
        assert_eq!(bytes_below(held.path()), 1000);
        let path = held.path().to_owned();
        drop(held);
        assert!(!path.exists());
    }
}
