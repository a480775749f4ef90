//! A strict, bounded reader of boxes (ISO/IEC 14496-12 §4.2).
//!
//! Nothing is believed before it is checked: a box ends inside what holds it, a field inside its box, and what is
//! read into memory has a limit. What does not hold is a [`Fault`] that names the box and the byte of the file where it starts.

use std::{
    borrow::Cow,
    fmt,
    io::{self, Read, Seek, SeekFrom},
    path::Path,
};

use super::Error;

/// The largest box that is read whole (`ftyp`, `moov`, `moof`). ffmpeg's `moov` of a fragmented file takes under 4 KB, and
/// its `moof` 4 to 16 bytes a sample: an hour of video without a key frame still fits.
const READ_BYTES_MAX: u64 = 4 << 20;
/// The most boxes on the top level of one file: two for each fragment, so 72 hours of fragments of two seconds.
const TOP_LEVEL_MAX: usize = 1 << 18;

/// The four letters that name a box.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Name(pub(super) [u8; 4]);

/// What is wrong with a file, before its path is known.
#[derive(Debug)]
pub(super) enum Fault {
    Io(io::Error),
    Box { name: Name, at: u64, problem: Cow<'static, str> },
}

/// A box of the top level of a file: what it is and where, not what is in it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) name: Name,
    /// Where it starts, in bytes from the start of the file.
    pub(super) at: u64,
    pub(super) header_bytes: u64,
    /// All of it, header included.
    pub(super) bytes: u64,
}

/// A box in memory.
#[derive(Clone, Copy, Debug)]
pub(super) struct Boxed<'a> {
    pub(super) name: Name,
    pub(super) at: u64,
    header_bytes: usize,
    all: &'a [u8],
}

/// The boxes that a box holds.
pub(super) struct Children<'a> {
    of: Boxed<'a>,
    boxes: Vec<Boxed<'a>>,
}

/// The fields of a box, read from the front.
pub(super) struct Fields<'a> {
    of: Boxed<'a>,
    rest: &'a [u8],
}

// === impl Name ===

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0.escape_ascii())
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

// === impl Fault ===

impl Fault {
    pub(super) fn in_file(self, path: &Path) -> Error {
        let path = path.to_owned();
        match self {
            Self::Io(source) => Error::Io { path, source },
            Self::Box { name, at, problem } => {
                Error::Box { path, name: name.to_string(), at, problem: problem.into() }
            }
        }
    }
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

// === impl Place ===

impl Place {
    /// The boxes of the top level of a file of `len` bytes, in order.
    pub(super) fn all(file: &mut (impl Read + Seek), len: u64) -> Result<Vec<Self>, Fault> {
        let mut places = Vec::new();
        let mut at = 0;
        while at < len {
            file.seek(SeekFrom::Start(at))?;
            // One read for either size of header: 8 bytes, or 16 where the first four say so.
            let mut head = Vec::with_capacity(16);
            file.by_ref().take(16.min(len - at)).read_to_end(&mut head)?;
            let place = Self::parse(&head, at, len - at)?;
            if places.len() == TOP_LEVEL_MAX {
                return Err(place.fault(format!("a file may have {TOP_LEVEL_MAX} boxes")));
            }
            places.push(place);
            at += place.bytes;
        }
        Ok(places)
    }

    /// Of the box that starts with `head` and has at most `room` bytes.
    fn parse(head: &[u8], at: u64, room: u64) -> Result<Self, Fault> {
        let Some((size, after)) = head.split_first_chunk::<4>() else {
            return Err(fault(Name(*b"????"), at, "cut short in its header"));
        };
        let Some((name, after)) = after.split_first_chunk::<4>() else {
            return Err(fault(Name(*b"????"), at, "cut short in its header"));
        };
        let name = Name(*name);
        let (header_bytes, bytes) = match u32::from_be_bytes(*size) {
            // Until the end of the file: a writer that could not go back, so nothing says whether it is whole.
            0 => return Err(fault(name, at, "has no size")),
            1 => match after.first_chunk::<8>() {
                Some(size) => (16, u64::from_be_bytes(*size)),
                None => return Err(fault(name, at, "cut short in its header")),
            },
            size => (8, u64::from(size)),
        };
        if bytes < header_bytes {
            return Err(fault(name, at, format!("says {bytes} bytes, which is less than its header")));
        }
        if bytes > room {
            return Err(fault(name, at, format!("says {bytes} bytes where {room} are left")));
        }
        Ok(Self { name, at, header_bytes, bytes })
    }

    /// Reads all of it, if it is of a size that may be read whole.
    pub(super) fn read(&self, file: &mut (impl Read + Seek)) -> Result<Vec<u8>, Fault> {
        if self.bytes > READ_BYTES_MAX {
            return Err(self.fault(format!("has {} bytes; at most {READ_BYTES_MAX} are read", self.bytes)));
        }
        file.seek(SeekFrom::Start(self.at))?;
        let mut bytes = Vec::new();
        file.take(self.bytes).read_to_end(&mut bytes)?;
        if bytes.len() as u64 != self.bytes {
            return Err(self.fault("the file became shorter while it was read"));
        }
        Ok(bytes)
    }

    pub(super) fn fault(&self, problem: impl Into<Cow<'static, str>>) -> Fault {
        fault(self.name, self.at, problem)
    }
}

// === impl Boxed ===

impl<'a> Boxed<'a> {
    /// The box at the front of `bytes`, which lie at byte `at` of the file.
    pub(super) fn parse(bytes: &'a [u8], at: u64) -> Result<Self, Fault> {
        let place = Place::parse(bytes, at, bytes.len() as u64)?;
        let (all, header) = (usize::try_from(place.bytes), usize::try_from(place.header_bytes));
        let (Ok(len), Ok(header_bytes)) = (all, header) else {
            return Err(place.fault("is larger than the memory"));
        };
        Ok(Self { name: place.name, at, header_bytes, all: &bytes[..len] })
    }

    pub(super) fn fault(&self, problem: impl Into<Cow<'static, str>>) -> Fault {
        fault(self.name, self.at, problem)
    }

    /// The bytes of the box, header included.
    pub(super) fn all(&self) -> &'a [u8] {
        self.all
    }

    pub(super) fn fields(&self) -> Fields<'a> {
        Fields { of: *self, rest: &self.all[self.header_bytes..] }
    }

    /// The version, the flags and the fields after them (§4.2.2, `FullBox`).
    pub(super) fn full(&self) -> Result<(u8, u32, Fields<'a>), Fault> {
        let mut fields = self.fields();
        let word = fields.u32()?;
        let [version, ..] = word.to_be_bytes();
        Ok((version, word & 0x00ff_ffff, fields))
    }

    pub(super) fn children(&self) -> Result<Children<'a>, Fault> {
        self.fields().boxes()
    }

    /// The one box of that name in it.
    pub(super) fn child(&self, name: [u8; 4]) -> Result<Boxed<'a>, Fault> {
        self.children()?.one(name)
    }
}

// === impl Children ===

impl<'a> Children<'a> {
    pub(super) fn iter(&self) -> std::slice::Iter<'_, Boxed<'a>> {
        self.boxes.iter()
    }

    pub(super) fn as_slice(&self) -> &[Boxed<'a>] {
        &self.boxes
    }

    /// The one box of that name.
    pub(super) fn one(&self, name: [u8; 4]) -> Result<Boxed<'a>, Fault> {
        self.maybe(name)?.ok_or_else(|| self.of.fault(format!("holds no {}", Name(name))))
    }

    /// The box of that name, if there is one.
    pub(super) fn maybe(&self, name: [u8; 4]) -> Result<Option<Boxed<'a>>, Fault> {
        let mut found = self.iter().filter(|child| child.name.0 == name);
        match (found.next(), found.next()) {
            (first, None) => Ok(first.copied()),
            (_, Some(_)) => Err(self.of.fault(format!("holds more than one {}", Name(name)))),
        }
    }
}

// === impl Fields ===

impl<'a> Fields<'a> {
    pub(super) fn take(&mut self, bytes: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) =
            self.rest.split_at_checked(bytes).ok_or_else(|| self.of.fault("ends inside a field"))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (taken, rest) =
            self.rest.split_first_chunk().ok_or_else(|| self.of.fault("ends inside a field"))?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Fault> {
        self.array().map(u8::from_be_bytes)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Fault> {
        self.array().map(u16::from_be_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32, Fault> {
        self.array().map(u32::from_be_bytes)
    }

    pub(super) fn i32(&mut self) -> Result<i32, Fault> {
        self.array().map(i32::from_be_bytes)
    }

    pub(super) fn u64(&mut self) -> Result<u64, Fault> {
        self.array().map(u64::from_be_bytes)
    }

    /// A time or a duration: 64 bits in version 1, 32 in version 0.
    pub(super) fn time(&mut self, version: u8) -> Result<u64, Fault> {
        if version == 0 { self.u32().map(u64::from) } else { self.u64() }
    }

    pub(super) fn name(&mut self) -> Result<[u8; 4], Fault> {
        self.array()
    }

    pub(super) fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The boxes that fill the rest. At least eight bytes each, so there cannot be more than a fraction of them.
    pub(super) fn boxes(mut self) -> Result<Children<'a>, Fault> {
        let end = self.of.at + self.of.all.len() as u64;
        let mut boxes = Vec::new();
        while !self.rest.is_empty() {
            let next = Boxed::parse(self.rest, end - self.rest.len() as u64)?;
            self.take(next.all.len())?;
            boxes.push(next);
        }
        Ok(Children { of: self.of, boxes })
    }
}

pub(super) fn fault(name: Name, at: u64, problem: impl Into<Cow<'static, str>>) -> Fault {
    Fault::Box { name, at, problem: problem.into() }
}
