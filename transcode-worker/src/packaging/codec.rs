//! Sample entries (ISO/IEC 14496-12 §8.5.2, §12.1.3, §12.2.3), and the names that players know codecs by (RFC 6381).

use super::{
    Format, Kind, VideoRange,
    boxes::{Boxed, Fault, Fields, Name},
};

/// A sample entry.
pub(super) struct Entry {
    pub(super) codecs: String,
    pub(super) format: Format,
}

/// The one entry of `stsd`.
pub(super) fn entry(stsd: &Boxed<'_>, kind: Kind, timescale: u32) -> Result<Entry, Fault> {
    let (_, _, mut fields) = stsd.full()?;
    fields.u32()?;
    match (fields.boxes()?.as_slice(), kind) {
        ([entry], Kind::Video) => video(entry),
        ([entry], Kind::Audio) => audio(entry, timescale),
        (entries, _) => Err(stsd.fault(format!("has {} entries where there must be one", entries.len()))),
    }
}

fn video(entry: &Boxed<'_>) -> Result<Entry, Fault> {
    let mut fields = entry.fields();
    fields.take(24)?;
    let (width, height) = (fields.u16()?, fields.u16()?);
    if width == 0 || height == 0 {
        return Err(entry.fault("has no pixels"));
    }
    fields.take(50)?;
    let boxes = fields.boxes()?;
    let aspect = match boxes.maybe(*b"pasp")? {
        Some(pasp) => {
            let mut fields = pasp.fields();
            (fields.u32()?, fields.u32()?)
        }
        None => (1, 1),
    };
    if aspect.0 == 0 || aspect.1 == 0 {
        return Err(entry.fault("has pixels without width or height"));
    }
    let range = match boxes.maybe(*b"colr")? {
        Some(colr) => range(&colr)?,
        None => VideoRange::Sdr,
    };
    let codecs = match &entry.name.0 {
        b"avc1" => avc(entry.name, &boxes.one(*b"avcC")?)?,
        b"hvc1" => hevc(entry.name, &boxes.one(*b"hvcC")?)?,
        b"av01" => av1(entry.name, &boxes.one(*b"av1C")?)?,
        _ => return Err(entry.fault("is no video codec that is packaged: avc1, hvc1 and av01 are")),
    };
    Ok(Entry { codecs, format: Format::Video { width: width.into(), height: height.into(), aspect, range } })
}

fn audio(entry: &Boxed<'_>, timescale: u32) -> Result<Entry, Fault> {
    let mut fields = entry.fields();
    fields.take(16)?;
    let channels = fields.u16()?;
    fields.take(6)?;
    // A whole number of hertz in the upper half; zero where it does not fit, as in 96 kHz, and then the clock has it.
    let sample_rate = match fields.u32()? >> 16 {
        0 => timescale,
        rate => rate,
    };
    if channels == 0 {
        return Err(entry.fault("has no channels"));
    }
    let boxes = fields.boxes()?;
    let (codecs, channels) = match &entry.name.0 {
        b"mp4a" => mp4a(&boxes.one(*b"esds")?, channels)?,
        b"Opus" => ("Opus".to_owned(), channels),
        _ => return Err(entry.fault("is no audio codec that is packaged: mp4a and Opus are")),
    };
    Ok(Entry { codecs, format: Format::Audio { sample_rate, channels } })
}

/// `transfer_characteristics` of ISO/IEC 23091-2 §8.2: 16 is PQ, 18 is HLG.
fn range(colr: &Boxed<'_>) -> Result<VideoRange, Fault> {
    let mut fields = colr.fields();
    if fields.name()? != *b"nclx" {
        return Ok(VideoRange::Sdr);
    }
    fields.u16()?;
    Ok(match fields.u16()? {
        16 => VideoRange::Pq,
        18 => VideoRange::Hlg,
        _ => VideoRange::Sdr,
    })
}

/// RFC 6381 §3.3: profile, constraints and level, as the three bytes of the parameter set.
fn avc(name: Name, configuration: &Boxed<'_>) -> Result<String, Fault> {
    let mut fields = configuration.fields();
    fields.u8()?;
    let (profile, constraints, level) = (fields.u8()?, fields.u8()?, fields.u8()?);
    Ok(format!("{name}.{profile:02x}{constraints:02x}{level:02x}"))
}

/// ISO/IEC 14496-15 §E.3.
fn hevc(name: Name, configuration: &Boxed<'_>) -> Result<String, Fault> {
    let mut fields = configuration.fields();
    fields.u8()?;
    let profile = fields.u8()?;
    let space = ["", "A", "B", "C"][usize::from(profile >> 6)];
    let tier = if profile & 0x20 == 0 { 'L' } else { 'H' };
    let compatible = fields.u32()?.reverse_bits();
    let constraints = fields.take(6)?;
    let level = fields.u8()?;
    let used = constraints.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
    let mut parts = vec![name.to_string(), format!("{space}{}", profile & 31), format!("{compatible:X}")];
    parts.push(format!("{tier}{level}"));
    parts.extend(constraints[..used].iter().map(|byte| format!("{byte:X}")));
    Ok(parts.join("."))
}

/// AV1 Codec ISO Media File Format Binding §5.
fn av1(name: Name, configuration: &Boxed<'_>) -> Result<String, Fault> {
    let mut fields = configuration.fields();
    fields.u8()?;
    let (level, depth) = (fields.u8()?, fields.u8()?);
    let tier = if depth & 0x80 == 0 { 'M' } else { 'H' };
    let bits = match (depth & 0x40 != 0, depth & 0x20 != 0) {
        (false, _) => 8,
        (true, false) => 10,
        (true, true) => 12,
    };
    Ok(format!("{name}.{}.{:02}{tier}.{bits:02}", level >> 5, level & 31))
}

/// RFC 6381 §3.3: the object type of the decoder's configuration (ISO/IEC 14496-1 §7.2.6.6) and, where that is MPEG-4 audio,
/// the audio object type (ISO/IEC 14496-3 §1.6.2.1). From there come the channels, too: the sample entry of mono and of 5.1
/// says two.
fn mp4a(esds: &Boxed<'_>, channels: u16) -> Result<(String, u16), Fault> {
    const ELEMENTARY_STREAM: u8 = 3;
    const DECODER_CONFIGURATION: u8 = 4;
    const DECODER_SPECIFIC: u8 = 5;
    let (_, _, mut fields) = esds.full()?;
    // A descriptor is a tag and a length of up to four bytes, of which the first ones may be padding.
    let descriptor = |fields: &mut Fields<'_>, tag: u8| {
        if fields.u8()? != tag {
            return Err(esds.fault(format!("has no descriptor {tag} where it must be")));
        }
        for _ in 0..4 {
            if fields.u8()? & 0x80 == 0 {
                return Ok(());
            }
        }
        Err(esds.fault("has a descriptor whose length does not end"))
    };
    descriptor(&mut fields, ELEMENTARY_STREAM)?;
    fields.u16()?;
    if fields.u8()? & 0xe0 != 0 {
        return Err(esds.fault("has a stream that depends on others"));
    }
    descriptor(&mut fields, DECODER_CONFIGURATION)?;
    let object = fields.u8()?;
    fields.take(12)?;
    if object != 0x40 {
        return Ok((format!("mp4a.{object:02x}"), channels));
    }
    descriptor(&mut fields, DECODER_SPECIFIC)?;
    let mut bits =
        fields.rest().iter().chain(&[0; 8]).take(8).fold(0, |bits, byte| bits << 8 | u64::from(*byte));
    let mut take = |count: u32| {
        let taken = bits >> (64 - count);
        bits <<= count;
        taken
    };
    // 31 says that six more bits follow, and 15 that the rate itself does.
    let audio = match take(5) {
        31 => 32 + take(6),
        audio => audio,
    };
    if take(4) == 15 {
        take(24);
    }
    let channels = match take(4) {
        count @ 1..=6 => u16::try_from(count).unwrap_or(channels),
        7 => 8,
        _ => channels,
    };
    Ok((format!("mp4a.40.{audio}"), channels))
}
