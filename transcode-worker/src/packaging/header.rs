//! What the `moov` of a fragmented file of one track says (ISO/IEC 14496-12 §8.2 to §8.5, §8.8.1 to §8.8.3).

use super::{
    Format, Kind,
    boxes::{Boxed, Fault},
    codec::{self, Entry},
};

/// A track as its `moov` describes it: everything but its samples.
#[derive(Debug)]
pub(super) struct Header {
    pub(super) track_id: u32,
    /// Ticks of the track's clock in a second.
    pub(super) timescale: u32,
    /// Of the clock that `mvhd` and `mehd` count in.
    pub(super) movie_timescale: u32,
    /// ISO 639-2/T, as `mdhd` has it; none for `und`.
    pub(super) language: Option<String>,
    pub(super) codecs: String,
    pub(super) format: Format,
    pub(super) defaults: Defaults,
}

/// What samples are where their fragment does not say (`trex`, §8.8.3).
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Defaults {
    pub(super) description: u32,
    pub(super) duration: u32,
    pub(super) bytes: u32,
    pub(super) flags: u32,
}

// === impl Header ===

impl Header {
    pub(super) fn parse(moov: &Boxed<'_>, kind: Kind) -> Result<Self, Fault> {
        let movie = moov.children()?;
        let movie_timescale = timescale(&movie.one(*b"mvhd")?)?;
        let track = movie.one(*b"trak")?.children()?;
        if let Some(edits) = track.maybe(*b"edts")? {
            // Browsers follow some of them and HLS players few, so the same bytes would play at different times.
            return Err(edits.fault("is an edit list; write the file with -movflags +cmaf, which needs none"));
        }
        let tkhd = track.one(*b"tkhd")?;
        let (version, _, mut fields) = tkhd.full()?;
        fields.take(if version == 0 { 8 } else { 16 })?;
        let track_id = fields.u32()?;

        let media = track.one(*b"mdia")?.children()?;
        expect_kind(&media.one(*b"hdlr")?, kind)?;
        let mdhd = media.one(*b"mdhd")?;
        let (timescale, language) = (timescale(&mdhd)?, language(&mdhd)?);
        let stbl = media.one(*b"minf")?.child(*b"stbl")?;
        let Entry { codecs, format } = codec::entry(&stbl.child(*b"stsd")?, kind, timescale)?;

        let trex = movie.one(*b"mvex")?.child(*b"trex")?;
        let (_, _, mut fields) = trex.full()?;
        if fields.u32()? != track_id {
            return Err(trex.fault("is of another track than the one there is"));
        }
        let defaults = Defaults {
            description: fields.u32()?,
            duration: fields.u32()?,
            bytes: fields.u32()?,
            flags: fields.u32()?,
        };
        Ok(Self { track_id, timescale, movie_timescale, language, codecs, format, defaults })
    }
}

/// The bytes of `moov` with its `mehd` (§8.8.2) saying `ticks` of the movie's clock. It is what tells a player the duration of
/// a file whose `mvhd` and `tkhd` say zero because its samples are in fragments.
pub(super) fn with_duration(moov: &Boxed<'_>, ticks: u64) -> Result<Vec<u8>, Fault> {
    let mvex = moov.child(*b"mvex")?;
    let mut mehd = Vec::with_capacity(20);
    mehd.extend(20_u32.to_be_bytes());
    mehd.extend(*b"mehd\x01\0\0\0");
    mehd.extend(ticks.to_be_bytes());
    let rest: Vec<&[u8]> =
        mvex.children()?.iter().filter(|child| child.name.0 != *b"mehd").map(Boxed::all).collect();
    let mvex_new = boxed(&mvex, &[&[mehd.as_slice()], rest.as_slice()].concat())?;
    let parts: Vec<Vec<u8>> = moov
        .children()?
        .iter()
        .map(|child| if child.name == mvex.name { mvex_new.clone() } else { child.all().to_vec() })
        .collect();
    boxed(moov, &parts.iter().map(Vec::as_slice).collect::<Vec<_>>())
}

/// A box named like `old` that holds `parts`.
fn boxed(old: &Boxed<'_>, parts: &[&[u8]]) -> Result<Vec<u8>, Fault> {
    let payload = parts.concat();
    let size = u32::try_from(payload.len() + 8).map_err(|_| old.fault("is too long to be written anew"))?;
    Ok([size.to_be_bytes().as_slice(), &old.name.0, &payload].concat())
}

/// From `mvhd` or `mdhd`, which begin alike.
fn timescale(header: &Boxed<'_>) -> Result<u32, Fault> {
    let (version, _, mut fields) = header.full()?;
    fields.take(if version == 0 { 8 } else { 16 })?;
    match fields.u32()? {
        0 => Err(header.fault("says a clock of 0 ticks a second")),
        ticks => Ok(ticks),
    }
}

/// Three letters of five bits each (§8.4.2.3).
fn language(mdhd: &Boxed<'_>) -> Result<Option<String>, Fault> {
    let (version, _, mut fields) = mdhd.full()?;
    fields.take(if version == 0 { 16 } else { 28 })?;
    let packed = fields.u16()?.to_be_bytes();
    let packed = u16::from_be_bytes(packed);
    let letters = [packed >> 10 & 31, packed >> 5 & 31, packed & 31];
    let language: Option<String> = letters
        .iter()
        .map(|letter| {
            u8::try_from(*letter)
                .ok()
                .filter(|letter| (1..=26).contains(letter))
                .map(|l| char::from(l + 0x60))
        })
        .collect();
    Ok(language.filter(|language| language != "und"))
}

/// ffmpeg once put video into what was to be an audio file, and ended well: the source had no audio.
fn expect_kind(hdlr: &Boxed<'_>, kind: Kind) -> Result<(), Fault> {
    let (_, _, mut fields) = hdlr.full()?;
    fields.u32()?;
    let handler = fields.name()?;
    let expected = match kind {
        Kind::Video => b"vide",
        Kind::Audio => b"soun",
    };
    if handler == *expected {
        return Ok(());
    }
    Err(hdlr.fault(format!(
        "says the track is {:?} where {:?} was expected",
        handler.escape_ascii().to_string(),
        kind
    )))
}
