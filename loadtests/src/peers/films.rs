//! Films as files in memory, for servers that serve files.

use std::{
    fs::{self, File},
    io::Write as _,
    os::unix::fs::MetadataExt as _,
    path::Path,
};

use tempfile::TempDir;

use crate::{Error, child, load::Film, origin::Origin, pattern};

const PIECE_BYTES: usize = 1 << 20;

/// The same films for every peer: patterns whose seed is their number. Dropping them deletes the files.
#[derive(Debug)]
pub struct Films {
    folder: TempDir,
    count: usize,
    bytes: u64,
}

// === impl Films ===

impl Films {
    /// `count` films of `bytes` each, in the bucket of `origin`; as files too when `on_tmpfs`.
    pub fn new(origin: &Origin, count: usize, bytes: u64, on_tmpfs: bool) -> Result<Self, Error> {
        let films = Self { folder: child::folder_in_memory("films")?, count, bytes };
        for nth in 0..count {
            origin.put_pattern(super::BUCKET, &Film::name(nth), bytes, nth as u64);
            if on_tmpfs {
                let path = films.folder().join(Film::name(nth));
                write_pattern(&path, nth as u64, bytes).map_err(|source| Error::File { path, source })?;
            }
        }
        Ok(films)
    }

    /// Where the files are, if there are any.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// How many films.
    pub fn count(&self) -> usize {
        self.count
    }

    /// The size of each.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

/// What the files of a folder take, in bytes. Files may come and go meanwhile.
pub(super) fn disk_usage(folder: &Path) -> Result<u64, Error> {
    let mut bytes = 0;
    let entries = fs::read_dir(folder).map_err(|source| Error::File { path: folder.to_owned(), source })?;
    for entry in entries.flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        // In units of 512 bytes, whatever the file system (stat(2)).
        bytes += metadata.blocks() * 512;
        if metadata.is_dir() {
            bytes += disk_usage(&entry.path()).unwrap_or_default();
        }
    }
    Ok(bytes)
}

fn write_pattern(path: &Path, seed: u64, bytes: u64) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    let mut piece = vec![0; PIECE_BYTES];
    let mut at = 0;
    while at < bytes {
        let len = usize::try_from(bytes - at).map_or(PIECE_BYTES, |left| left.min(PIECE_BYTES));
        pattern::fill(seed, at, &mut piece[..len]);
        file.write_all(&piece[..len])?;
        at += len as u64;
    }
    Ok(())
}
