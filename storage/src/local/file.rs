//! One open file: its version, and reads that can tell when the version ended.
//!
//! The version of a file is its inode, size, mtime and ctime. The kernel sets ctime at every change, and no
//! program can set it back, so a rewrite with the same size and a restored mtime is a new version too. Two
//! limits come with that:
//!
//! - Timestamps advance in ticks of up to 10 ms (`CONFIG_HZ=100`; newer kernels are finer on some file
//!   systems). A change within the tick of the last one leaves all four numbers as they were. So a file that
//!   changed less than [`TICK_MAX`] ago is looked at again when it is older: from then on any change shows.
//! - A program that writes through a shared memory mapping changes ctime only when it first touches a page,
//!   not at every store. Media must be replaced or appended by writes, or better by renames.

use std::fs::{File, Metadata};
use std::ops::Range;
use std::os::unix::fs::MetadataExt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{io, thread};

use bytes::Bytes;
use cap_std::fs::{Dir, OpenOptions, OpenOptionsExt};
use rustix::buffer::spare_capacity;
use rustix::fs::{Mode, OFlags, ResolveFlags, openat2};

use super::errors::from_io;
use super::paths::KeyPath;
use crate::{Attributes, Error, Object, ObjectKey, Pin, Version};

/// Twice the longest tick that Linux is built with.
const TICK_MAX: Duration = Duration::from_millis(20);
/// How often a file that keeps changing is looked at again: a quarter of a second in all.
const SETTLE_ROUNDS: usize = 12;
/// One read. Large enough to make the system calls cheap, small enough for a first byte without delay.
const CHUNK_BYTES: u64 = 256 * 1024;

/// A regular file that was opened as an object. It is the object's pin: as long as it is open, its bytes
/// can be read even when another file has taken its name.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub(super) key: ObjectKey,
    file: File,
    pub(super) stat: Stat,
}

/// What identifies a file's bytes, and its link count, which explains some changes of ctime.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) size: u64,
    inode: u64,
    mtime_ns: i128,
    ctime_ns: i128,
    links: u64,
}

/// A range being read, chunk by chunk.
#[derive(Debug)]
pub(super) struct Reading {
    file: Arc<OpenFile>,
    /// The file as it was when the last chunk was known to be right.
    baseline: Stat,
    next: u64,
    end: u64,
}

// === impl OpenFile ===

impl OpenFile {
    /// Opens `path` if it is a regular file. Blocks: a few system calls, plus up to [`TICK_MAX`] for a file
    /// that was written just now.
    pub(super) fn open(root: &Dir, path: &KeyPath) -> Result<Self, Error> {
        let mut options = OpenOptions::new();
        // Opening a fifo would wait for its writer, and a terminal could become ours.
        let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
        options.read(true).custom_flags(i32::try_from(flags.bits()).expect("open flags are small"));
        let file = root.open_with(path.as_str(), &options).map_err(from_io)?.into_std();
        let now = SystemTime::now();
        let metadata = file.metadata().map_err(from_io)?;
        if !metadata.is_file() {
            return Err(Error::NotFound);
        }
        let stat = settled(&file, now, Stat::from(&metadata))?;
        Ok(Self { key: path.key().clone(), file, stat })
    }

    /// The same without blocking, where the kernel has all of it in memory (`RESOLVE_CACHED`, Linux 5.12):
    /// two system calls instead of a hop to another thread. `None` for everything out of the ordinary, which
    /// [`open`](Self::open) then handles: names on disk only, files written just now, links, errors.
    pub(super) fn open_cached(root: &Dir, path: &KeyPath) -> Option<Self> {
        let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY;
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::CACHED;
        let file = File::from(openat2(root, path.as_str(), flags, Mode::empty(), resolve).ok()?);
        let now = SystemTime::now();
        let metadata = file.metadata().ok()?;
        let stat = Stat::from(&metadata);
        let ordinary = metadata.is_file() && wait_until_settled(now, stat.ctime_ns).is_none();
        ordinary.then(|| Self { key: path.key().clone(), file, stat })
    }

    pub(super) fn object(self: &Arc<Self>) -> Object {
        Object {
            version: self.stat.version(),
            size: self.stat.size,
            last_modified: self.stat.modified(),
            attributes: Attributes::default(),
            pin: Pin::new(Arc::clone(self)),
        }
    }

    /// The file as it is now, if it still has the bytes that it had at `baseline`.
    fn unchanged_since(&self, baseline: &Stat) -> Result<Stat, Error> {
        let now = Stat::of(&self.file).map_err(from_io)?;
        if baseline.same_bytes(&now) { Ok(now) } else { Err(Error::VersionChanged) }
    }
}

// === impl Stat ===

impl From<&Metadata> for Stat {
    fn from(metadata: &Metadata) -> Self {
        Self {
            size: metadata.size(),
            inode: metadata.ino(),
            mtime_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()),
            ctime_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()),
            links: metadata.nlink(),
        }
    }
}

impl Stat {
    pub(super) fn of(file: &File) -> io::Result<Self> {
        file.metadata().map(|metadata| Self::from(&metadata))
    }

    /// `None` for a time that no clock of this machine can show.
    fn modified(&self) -> Option<SystemTime> {
        let distance = Duration::from_nanos_u128(self.mtime_ns.unsigned_abs());
        if self.mtime_ns < 0 { UNIX_EPOCH.checked_sub(distance) } else { UNIX_EPOCH.checked_add(distance) }
    }

    /// A strong entity tag, with its quotes.
    pub(super) fn etag(&self) -> String {
        format!("\"{:x}-{:x}-{:x}-{:x}\"", self.inode, self.size, self.mtime_ns, self.ctime_ns)
    }

    pub(super) fn version(&self) -> Version {
        Version { etag: self.etag().into(), version_id: None }
    }

    /// No name leads to the file any more: it was deleted or replaced.
    pub(super) fn is_unlinked(&self) -> bool {
        self.links == 0
    }

    /// Whether the same descriptor, looked at later, still has the same bytes.
    ///
    /// Giving a file a name or taking one away (another file was renamed over it, a backup made a hard link)
    /// moves ctime and leaves the bytes alone, so a change of the link count excuses ctime. Size and mtime
    /// must be the same even then: a write moves mtime.
    fn same_bytes(&self, later: &Self) -> bool {
        self.inode == later.inode
            && self.size == later.size
            && self.mtime_ns == later.mtime_ns
            && (self.ctime_ns == later.ctime_ns || self.links != later.links)
    }
}

fn nanoseconds(seconds: i64, nanoseconds: i64) -> i128 {
    i128::from(seconds) * 1_000_000_000 + i128::from(nanoseconds)
}

/// The file's numbers once they identify its bytes: see the head of this file. A file that somebody writes
/// to without a pause never gets there, and is [`Error::Unavailable`].
///
/// `now` was read before `stat`: an old reading only makes the wait longer.
pub(super) fn settled(file: &File, mut now: SystemTime, mut stat: Stat) -> Result<Stat, Error> {
    for _ in 0..SETTLE_ROUNDS {
        let Some(wait) = wait_until_settled(now, stat.ctime_ns) else { return Ok(stat) };
        thread::sleep(wait);
        now = SystemTime::now();
        stat = Stat::of(file).map_err(from_io)?;
    }
    Err(Error::Unavailable(Error::shared("the file is being written to")))
}

/// How long to wait before a change of a file changed at `ctime_ns` is sure to move its ctime.
///
/// A ctime further in the future than a tick comes from a clock that was set back or from another machine's:
/// waiting would not help, and a change now moves it.
fn wait_until_settled(now: SystemTime, ctime_ns: i128) -> Option<Duration> {
    let tick_ns = i128::try_from(TICK_MAX.as_nanos()).expect("20 ms fit");
    let now_ns =
        i128::try_from(now.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos()).unwrap_or(i128::MAX);
    let age_ns = now_ns - ctime_ns;
    if age_ns.abs() >= tick_ns {
        return None;
    }
    Some(Duration::from_nanos(u64::try_from(tick_ns - age_ns).expect("positive: the age is below a tick")))
}

// === impl Reading ===

impl Reading {
    /// Will read `range`, which must lie inside the file. Whether the file still has the bytes of its version
    /// is found out with the first chunk.
    pub(super) fn new(file: Arc<OpenFile>, range: Range<u64>) -> Self {
        assert!(range.start < range.end && range.end <= file.stat.size, "the caller has clamped the range");
        Self { baseline: file.stat, file, next: range.start, end: range.end }
    }

    pub(super) fn is_done(&self) -> bool {
        self.next == self.end
    }

    /// Reads the next chunk; blocks. The file is looked at after the read: the kernel moves ctime before it
    /// changes bytes, so a chunk is given out only when no change can be in it.
    pub(super) fn chunk(mut self) -> Result<(Bytes, Self), Error> {
        let wanted =
            usize::try_from((self.end - self.next).min(CHUNK_BYTES)).expect("a chunk fits in memory");
        let mut buffer = Vec::with_capacity(wanted);
        while buffer.len() < wanted {
            let offset = self.next + u64::try_from(buffer.len()).expect("usize fits in u64");
            match rustix::io::pread(&self.file.file, spare_capacity(&mut buffer), offset) {
                Ok(0) => break,
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(from_read(error)),
            }
        }
        self.baseline = self.file.unchanged_since(&self.baseline)?;
        // The allocator may have given more than was asked for.
        buffer.truncate(wanted);
        if buffer.len() < wanted {
            return Err(Error::Interrupted(Error::shared("the file ended before its size")));
        }
        self.next += u64::try_from(wanted).expect("usize fits in u64");
        Ok((Bytes::from(buffer), self))
    }
}

/// An error in the middle of a body: the disk, not the object.
fn from_read(error: rustix::io::Errno) -> Error {
    if error == rustix::io::Errno::STALE {
        return Error::VersionChanged;
    }
    Error::Interrupted(Error::shared(io::Error::from(error)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: Stat = Stat { size: 5, inode: 1, mtime_ns: 10, ctime_ns: 20, links: 1 };

    #[test]
    fn only_a_changed_link_count_excuses_ctime() {
        assert!(OLD.same_bytes(&OLD));
        assert!(OLD.same_bytes(&Stat { ctime_ns: 30, links: 0, ..OLD }), "replaced by a rename");
        assert!(OLD.same_bytes(&Stat { ctime_ns: 30, links: 2, ..OLD }), "hard linked");
        assert!(!OLD.same_bytes(&Stat { ctime_ns: 30, ..OLD }), "rewritten with a restored mtime");
        assert!(
            !OLD.same_bytes(&Stat { ctime_ns: 30, mtime_ns: 30, links: 0, ..OLD }),
            "written, then replaced"
        );
        assert!(!OLD.same_bytes(&Stat { ctime_ns: 30, size: 6, links: 0, ..OLD }), "grown, then replaced");
        assert!(!OLD.same_bytes(&Stat { inode: 2, ..OLD }));
    }

    #[test]
    fn times_before_1970_are_times() {
        let at = |mtime_ns| Stat { mtime_ns, ..OLD }.modified();
        assert_eq!(at(1_500_000_000), Some(UNIX_EPOCH + Duration::from_millis(1500)));
        assert_eq!(at(-1_500_000_000), UNIX_EPOCH.checked_sub(Duration::from_millis(1500)));
    }

    #[test]
    fn each_number_is_in_the_etag() {
        let changed = [
            Stat { size: 6, ..OLD },
            Stat { inode: 2, ..OLD },
            Stat { mtime_ns: 11, ..OLD },
            Stat { ctime_ns: 21, ..OLD },
        ];
        for stat in changed {
            assert_ne!(stat.etag(), OLD.etag());
        }
        assert_eq!(OLD.etag(), "\"1-5-a-14\"");
    }

    #[test]
    fn a_file_settles_two_ticks_after_its_change() {
        let now = UNIX_EPOCH + Duration::from_secs(1);
        let at = |ms: i128| ms * 1_000_000;
        assert_eq!(wait_until_settled(now, at(1000)), Some(Duration::from_millis(20)));
        assert_eq!(wait_until_settled(now, at(995)), Some(Duration::from_millis(15)));
        assert_eq!(wait_until_settled(now, at(1010)), Some(Duration::from_millis(30)));
        assert_eq!(wait_until_settled(now, at(980)), None);
        assert_eq!(wait_until_settled(now, at(5000)), None, "the clock was set back");
        assert_eq!(wait_until_settled(now, -at(5)), None, "before 1970");
    }
}
