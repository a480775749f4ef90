//! One file of a track out of the file, or the chunks, that ffmpeg wrote of it.
//!
//! Read twice: first every header, which says how long everything will be, then the samples, which are copied by ranges
//! between fragments that are written anew. What is neither (`styp`, `sidx`, `prft`, `mfra`) is left behind: the one index
//! there is describes the new file.

use std::{
    fs::File,
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use super::{
    Error, Kind, Ratio, Source, Track,
    boxes::{Boxed, Fault, Name, Place, fault},
    fragment::{Fragment, Moof},
    header::{Header, with_duration},
    rendition::is_name,
    segment,
};

/// A file of ffmpeg's, as its headers describe it.
pub(super) struct Input {
    ftyp: Vec<u8>,
    moov: (u64, Vec<u8>),
    pub(super) header: Header,
    pub(super) fragments: Vec<Fragment>,
}

/// Writes one file of a track to `to`, which must not be there yet, from the files in `source.fragments`. On an error the file
/// is left as far as it came.
pub fn assemble(source: &Source, to: &Path) -> Result<Track, Error> {
    let refuse = |problem: String| Error::Track { track: source.id.clone(), problem };
    let file = to.file_name().and_then(|name| name.to_str()).filter(|name| is_name(name));
    let Some(file) = file else {
        return Err(refuse(format!(
            "cannot be written to {}: its name must need no escaping in a URI",
            to.display()
        )));
    };
    let mut inputs = Vec::new();
    for path in &source.fragments {
        inputs.push(Input::open(path, source.kind).map_err(|fault| fault.in_file(path))?);
    }
    for (path, pair) in source.fragments.iter().skip(1).zip(inputs.windows(2)) {
        follows(&pair[0], &pair[1]).map_err(|problem| Error::Joint { path: path.clone(), problem })?;
    }
    let Some((first, first_path)) = inputs.first().zip(source.fragments.first()) else {
        return Err(refuse("is of no files".to_owned()));
    };

    let header = &first.header;
    let fragments: Vec<Fragment> = inputs.iter().flat_map(|input| input.fragments.iter().cloned()).collect();
    let start = fragments.iter().map(|fragment| fragment.earliest).min().unwrap_or_default();
    let end = fragments.iter().map(|fragment| fragment.end).max().unwrap_or_default();
    let init = first.init(end).map_err(|fault| fault.in_file(first_path))?;
    let runs = segment::segments(&fragments, source.kind, header.timescale, segment::REFERENCES_MAX)
        .map_err(|problem| refuse(problem.to_owned()))?;
    let init_bytes = init.len() as u64;
    let media = init_bytes + segment::index_bytes(start, runs.len());
    let segments = segment::describe(&fragments, &runs, media).map_err(refuse)?;
    let index = segment::index(header.track_id, header.timescale, start, &segments);

    let failed = |source| Error::Io { path: to.to_owned(), source };
    let mut out = BufWriter::new(File::create_new(to).map_err(failed)?);
    out.write_all(&init).and_then(|()| out.write_all(&index)).map_err(failed)?;
    // `sequence_number` counts from 1 over the whole file (§8.8.5).
    let mut sequence = 1;
    for (path, input) in source.fragments.iter().zip(&inputs) {
        let mut from = File::open(path).map_err(|source| Error::Io { path: path.clone(), source })?;
        input.copy(&mut from, source.kind, &mut sequence, &mut out).map_err(|fault| match fault {
            // As a rule the disk is full.
            Fault::Io(source) => failed(source),
            fault @ Fault::Box { .. } => fault.in_file(path),
        })?;
    }
    out.flush().map_err(failed)?;
    let written = out.stream_position().map_err(failed)?;
    let expected = segments.last().map_or(media, |last| last.offset + last.bytes);
    assert_eq!(written, expected, "the index describes the file that was written");

    Ok(Track {
        id: source.id.clone(),
        file: file.to_owned(),
        codecs: header.codecs.clone(),
        language: header.language.clone(),
        format: header.format.clone(),
        frame_rate: frame_rate(&fragments, header.timescale),
        timescale: header.timescale,
        init: 0..init_bytes,
        index: init_bytes..media,
        frames: fragments.iter().map(|fragment| fragment.samples).sum(),
        segments,
        start,
        duration: end - start,
    })
}

/// How many samples there are in a file of ffmpeg's.
pub fn frames(file: &Path, kind: Kind) -> Result<u64, Error> {
    let input = Input::open(file, kind).map_err(|fault| fault.in_file(file))?;
    Ok(input.fragments.iter().map(|fragment| fragment.samples).sum())
}

/// Writes the chunks of a video one after the other to `to`, which must not be there yet, as if ffmpeg had written it at once:
/// with no index, and fragments as they are.
pub fn concatenate(chunks: &[PathBuf], to: &Path) -> Result<(), Error> {
    let failed = |source| Error::Io { path: to.to_owned(), source };
    let mut out = BufWriter::new(File::create_new(to).map_err(failed)?);
    for (nth, path) in chunks.iter().enumerate() {
        let mut copy = || {
            let mut file = File::open(path)?;
            let length = file.metadata()?.len();
            for place in Place::all(&mut file, length)? {
                // One head for all: that they are the same is known once they are assembled.
                let is_wanted = match &place.name.0 {
                    b"ftyp" | b"moov" => nth == 0,
                    b"moof" | b"mdat" => true,
                    _ => false,
                };
                if is_wanted {
                    file.seek(SeekFrom::Start(place.at))?;
                    io::copy(&mut Read::take(&mut file, place.bytes), &mut out)?;
                }
            }
            Ok::<_, Fault>(())
        };
        copy().map_err(|fault| fault.in_file(path))?;
    }
    out.flush().map_err(failed)
}

// === impl Input ===

impl Input {
    fn open(path: &Path, kind: Kind) -> Result<Self, Fault> {
        let mut file = File::open(path)?;
        let len = file.metadata()?.len();
        Self::read(&mut file, len, kind)
    }

    /// Reads the headers of a file of `len` bytes.
    pub(super) fn read(file: &mut (impl Read + Seek), len: u64, kind: Kind) -> Result<Self, Fault> {
        let places = Place::all(file, len)?;
        let first = |name: [u8; 4]| {
            let found = places.iter().find(|place| place.name.0 == name);
            found.ok_or_else(|| fault(Name(name), len, "is missing"))
        };
        let (ftyp, movie) = (first(*b"ftyp")?, first(*b"moov")?);
        first(*b"moof")?;
        let moov = movie.read(file)?;
        let header = Header::parse(&Boxed::parse(&moov, movie.at)?, kind)?;
        let mut fragments: Vec<Fragment> = Vec::new();
        for (index, place) in places.iter().enumerate() {
            match &place.name.0 {
                b"moof" => {
                    let mdat = places.get(index + 1).filter(|next| next.name.0 == *b"mdat");
                    let mdat = mdat.ok_or_else(|| place.fault("has no mdat after it"))?;
                    let samples = Moof::parse(&Boxed::parse(&place.read(file)?, place.at)?, mdat, &header)?;
                    let fragment = Fragment::of(&samples, kind, *place, *mdat)?;
                    if let Some(before) = fragments.last() {
                        continues(before, &fragment).map_err(|problem| place.fault(problem))?;
                    }
                    fragments.push(fragment);
                }
                b"mdat" if index == 0 || places[index - 1].name.0 != *b"moof" => {
                    return Err(place.fault("has no moof before it: the file is not fragmented"));
                }
                b"ftyp" | b"moov" if place.at != ftyp.at && place.at != movie.at => {
                    return Err(place.fault("is there a second time"));
                }
                b"ftyp" | b"moov" | b"mdat" | b"styp" | b"sidx" | b"prft" | b"mfra" | b"free" | b"skip" => {}
                _ => return Err(place.fault("is nothing that a fragmented file of ffmpeg's has")),
            }
        }
        Ok(Self { ftyp: ftyp.read(file)?, moov: (movie.at, moov), header, fragments })
    }

    /// `ftyp` and `moov` of a file whose last sample ends at tick `end`.
    fn init(&self, end: u64) -> Result<Vec<u8>, Fault> {
        let (at, moov) = &self.moov;
        let moov = Boxed::parse(moov, *at)?;
        let ticks = (u128::from(end) * u128::from(self.header.movie_timescale))
            .div_ceil(self.header.timescale.into());
        let ticks =
            u64::try_from(ticks).map_err(|_| moov.fault("counts its duration in too fine a clock"))?;
        Ok([self.ftyp.clone(), with_duration(&moov, ticks)?].concat())
    }

    /// Writes the fragments anew.
    fn copy(
        &self,
        file: &mut File,
        kind: Kind,
        sequence: &mut u32,
        out: &mut impl Write,
    ) -> Result<(), Fault> {
        for fragment in &self.fragments {
            let (place, mdat) = (&fragment.moof, &fragment.mdat);
            let moof = Moof::parse(&Boxed::parse(&place.read(file)?, place.at)?, mdat, &self.header)?;
            file.seek(SeekFrom::Start(mdat.at + mdat.header_bytes))?;
            let (first, rest) = moof.split(kind);
            for part in [Some(first), rest].into_iter().flatten() {
                out.write_all(&part.write(*sequence, self.header.track_id))?;
                *sequence = sequence.checked_add(1).ok_or_else(|| place.fault("is one fragment too many"))?;
                let mut data = Read::take(&mut *file, part.data_bytes());
                if io::copy(&mut data, out)? != part.data_bytes() {
                    return Err(mdat.fault("became shorter while it was read"));
                }
            }
        }
        Ok(())
    }
}

/// Whether a chunk is of the same track and goes on where the one before it ends.
fn follows(before: &Input, after: &Input) -> Result<(), String> {
    if before.moov.1 != after.moov.1 {
        let differs = |input: &Input| input.header.codecs.clone();
        let (one, other) = (differs(before), differs(after));
        return Err(format!(
            "its moov differs (codecs {other} after {one}); encode all chunks with the same settings"
        ));
    }
    match (before.fragments.last(), after.fragments.first()) {
        (Some(last), Some(next)) => continues(last, next),
        _ => Ok(()),
    }
}

/// Whether a fragment is decoded where the one before it ends, give or take less than one frame.
fn continues(before: &Fragment, after: &Fragment) -> Result<(), String> {
    let (end, start, frame) =
        (before.decode_time + before.duration, after.decode_time, u64::from(before.last));
    let ticks = start.abs_diff(end);
    if start == end || ticks < frame || (start > end && ticks == frame) {
        return Ok(());
    }
    let what = if start > end { "leaves a gap of" } else { "overlaps the fragment before it by" };
    Err(format!(
        "{what} {ticks} ticks: it starts at {start} where that ends at {end}, and a frame has {frame}"
    ))
}

/// Exact where all samples but the last have one duration, else the average to a thousandth.
fn frame_rate(fragments: &[Fragment], timescale: u32) -> Ratio {
    let (last, others) = fragments.split_last().expect("an input without fragments was refused");
    let shortest = others
        .iter()
        .map(|fragment| fragment.last)
        .chain(fragments.iter().map(|fragment| fragment.shortest))
        .min();
    let longest = others
        .iter()
        .map(|fragment| fragment.last)
        .chain(fragments.iter().map(|fragment| fragment.longest))
        .max();
    match (shortest, longest) {
        (Some(shortest), Some(longest)) if shortest == longest && shortest > 0 => {
            Ratio::new(timescale.into(), shortest.into())
        }
        _ => {
            let samples: u64 = fragments.iter().map(|fragment| fragment.samples).sum();
            let ticks: u64 = fragments.iter().map(|fragment| fragment.duration).sum();
            let ticks = u128::from(if ticks > 0 { ticks } else { last.last.into() }).max(1);
            let thousandths = (u128::from(samples) * u128::from(timescale) * 1000 + ticks / 2) / ticks;
            Ratio::new(u64::try_from(thousandths).unwrap_or(u64::MAX), 1000)
        }
    }
}
