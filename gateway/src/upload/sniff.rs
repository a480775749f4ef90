//! What a file is, by its first bytes: neither its name nor the client's `Content-Type` is asked.
//!
//! Only containers that the transcode worker reads are known; what is none of them is no video. A crate would not do:
//! `infer` knows neither MPEG-TS nor MXF and takes a HEIC photo's box for a video's. The full probe is the worker's.

/// So many first bytes decide, where there are so many: three packets of an M2TS and any usual EBML header.
pub(crate) const SNIFF_BYTES: usize = 4096;

/// A kind of file that may be uploaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, clap::ValueEnum)]
pub(crate) enum Container {
    /// ISO/IEC 14496-14, also M4V.
    Mp4,
    /// Apple's, which MP4 was made of.
    Mov,
    /// 3GPP and 3GPP2.
    #[value(name = "3gp")]
    ThreeGp,
    /// Matroska.
    Mkv,
    /// Its subset for the web.
    Webm,
    /// MPEG-2 transport streams, also with the time stamps of a Blu-ray.
    Ts,
    /// Microsoft's older one.
    Avi,
    /// Flash video.
    Flv,
    /// Ogg.
    Ogg,
    /// SMPTE 377.
    Mxf,
    /// Microsoft's newer one, also WMV.
    Asf,
    /// For assets alone.
    Png,
    /// For assets alone.
    Jpeg,
    /// For assets alone.
    Webp,
}

// === impl Container ===

impl Container {
    /// All there are.
    pub(crate) const ALL: &[Self] = &[
        Self::Mp4,
        Self::Mov,
        Self::ThreeGp,
        Self::Mkv,
        Self::Webm,
        Self::Ts,
        Self::Avi,
        Self::Flv,
        Self::Ogg,
        Self::Mxf,
        Self::Asf,
        Self::Png,
        Self::Jpeg,
        Self::Webp,
    ];

    /// What [`name`](Self::name) names.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|container| container.name() == name)
    }

    /// Its name, as `--upload-types` has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Mp4 => "mp4",
            Self::Mov => "mov",
            Self::ThreeGp => "3gp",
            Self::Mkv => "mkv",
            Self::Webm => "webm",
            Self::Ts => "ts",
            Self::Avi => "avi",
            Self::Flv => "flv",
            Self::Ogg => "ogg",
            Self::Mxf => "mxf",
            Self::Asf => "asf",
            Self::Png => "png",
            Self::Jpeg => "jpeg",
            Self::Webp => "webp",
        }
    }

    /// What the object's `Content-Type` will be.
    pub(crate) fn media_type(self) -> &'static str {
        match self {
            Self::Mp4 => "video/mp4",
            Self::Mov => "video/quicktime",
            Self::ThreeGp => "video/3gpp",
            Self::Mkv => "video/x-matroska",
            Self::Webm => "video/webm",
            Self::Ts => "video/mp2t",
            Self::Avi => "video/x-msvideo",
            Self::Flv => "video/x-flv",
            Self::Ogg => "video/ogg",
            Self::Mxf => "application/mxf",
            Self::Asf => "video/x-ms-asf",
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Webp => "image/webp",
        }
    }

    /// Whether it holds one picture.
    pub(crate) fn is_image(self) -> bool {
        matches!(self, Self::Png | Self::Jpeg | Self::Webp)
    }
}

/// What begins with these bytes, if it is anything that we know.
pub(crate) fn sniff(bytes: &[u8]) -> Option<Container> {
    let at =
        |offset: usize, expected: &[u8]| bytes.get(offset..).is_some_and(|rest| rest.starts_with(expected));
    let riff = |kind: &[u8]| at(0, b"RIFF") && at(8, kind);
    if at(4, b"ftyp") {
        return branded(bytes);
    }
    if at(0, &[0x1a, 0x45, 0xdf, 0xa3]) {
        return ebml(&bytes[4..]);
    }
    let packets = |first: usize, length: usize| (0..3).all(|nth| at(first + nth * length, &[0x47]));
    // SMPTE ST 377-1 §7.1: the key of a header partition pack.
    let mxf: &[u8] = &[0x06, 0x0e, 0x2b, 0x34, 0x02, 0x05, 0x01, 0x01, 0x0d, 0x01, 0x02, 0x01, 0x01, 0x02];
    let asf: &[u8] =
        &[0x30, 0x26, 0xb2, 0x75, 0x8e, 0x66, 0xcf, 0x11, 0xa6, 0xd9, 0x00, 0xaa, 0x00, 0x62, 0xce, 0x6c];
    let known = [
        (packets(0, 188) || packets(4, 192), Container::Ts),
        (riff(b"AVI "), Container::Avi),
        (riff(b"WEBP"), Container::Webp),
        (at(0, b"FLV\x01"), Container::Flv),
        (at(0, b"OggS\0"), Container::Ogg),
        (at(0, mxf), Container::Mxf),
        (at(0, asf), Container::Asf),
        (at(0, b"\x89PNG\r\n\x1a\n"), Container::Png),
        (at(0, &[0xff, 0xd8, 0xff]), Container::Jpeg),
        (is_unbranded_movie(bytes), Container::Mov),
    ];
    known.into_iter().find_map(|(is_so, container)| is_so.then_some(container))
}

/// ISO/IEC 14496-12 §4.3: the major brand, which photos and songs have, too.
fn branded(bytes: &[u8]) -> Option<Container> {
    let brand: [u8; 4] = bytes.get(8..12)?.try_into().ok()?;
    match &brand {
        b"qt  " => Some(Container::Mov),
        b"heic" | b"heix" | b"heim" | b"heis" | b"hevc" | b"hevx" | b"mif1" | b"msf1" | b"avif" | b"avis"
        | b"crx " | b"M4A " | b"M4B " | b"M4P " | b"jp2 " | b"jpx " => None,
        [b'3', b'g', ..] => Some(Container::ThreeGp),
        brand if brand.iter().all(|byte| byte.is_ascii_graphic() || *byte == b' ') => Some(Container::Mp4),
        _ => None,
    }
}

/// Older cameras write no `ftyp`: the first box is one of these, and no shorter than its own head.
fn is_unbranded_movie(bytes: &[u8]) -> bool {
    let Some((size, rest)) = bytes.split_first_chunk::<4>() else { return false };
    let kinds: [&[u8]; 6] = [b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"];
    let size = u32::from_be_bytes(*size);
    kinds.iter().any(|kind| rest.starts_with(kind)) && (size >= 8 || size == 1)
}

/// RFC 8794 §11.2.4, §17: the `DocType` within the header, whose id is behind us.
fn ebml(bytes: &[u8]) -> Option<Container> {
    const DOC_TYPE: u64 = 0x4282;
    let (length, mut rest) = vint(bytes, false)?;
    rest = rest.get(..usize::try_from(length).ok()?).unwrap_or(rest);
    while !rest.is_empty() {
        let (id, after) = vint(rest, true)?;
        let (length, after) = vint(after, false)?;
        let (value, after) = after.split_at_checked(usize::try_from(length).ok()?)?;
        if id == DOC_TYPE {
            return match value {
                b"webm" => Some(Container::Webm),
                b"matroska" => Some(Container::Mkv),
                _ => None,
            };
        }
        rest = after;
    }
    None
}

/// RFC 8794 §4: a number of one to eight bytes, whose first says how many; ids keep that marker.
fn vint(bytes: &[u8], keeps_marker: bool) -> Option<(u64, &[u8])> {
    let first = *bytes.first()?;
    let length = first.leading_zeros() as usize + 1;
    let (number, rest) = bytes.split_at_checked(length).filter(|_| length <= 8)?;
    let value = number.iter().fold(0, |value, byte| value << 8 | u64::from(*byte));
    Some((if keeps_marker { value } else { value & !(1 << (7 * length)) }, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ftyp(brand: &[u8]) -> Vec<u8> {
        [&[0, 0, 0, 24], b"ftyp", brand, &[0; 12]].concat()
    }

    fn packets(first: usize, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; first + 3 * length];
        (0..3).for_each(|nth| bytes[first + nth * length] = 0x47);
        bytes
    }

    fn matroska(doc_type: &[u8]) -> Vec<u8> {
        let fields = [
            &[0x42, 0x86, 0x81, 1, 0x42, 0x82, 0x80 | u8::try_from(doc_type.len()).expect("short")],
            doc_type,
        ];
        let fields = fields.concat();
        [&[0x1a, 0x45, 0xdf, 0xa3, 0x80 | u8::try_from(fields.len()).expect("short")], fields.as_slice()]
            .concat()
    }

    #[test]
    fn containers_are_known_by_their_first_bytes() {
        let table: [(Vec<u8>, Option<Container>); 29] = [
            (ftyp(b"isom"), Some(Container::Mp4)),
            (ftyp(b"M4V "), Some(Container::Mp4)),
            (ftyp(b"iso6"), Some(Container::Mp4)),
            (ftyp(b"qt  "), Some(Container::Mov)),
            (ftyp(b"3gp5"), Some(Container::ThreeGp)),
            (ftyp(b"heic"), None),
            (ftyp(b"avif"), None),
            (ftyp(b"M4A "), None),
            (ftyp(b"\0\x01\x02\x03"), None),
            (b"\0\0\x10\0moov....".to_vec(), Some(Container::Mov)),
            (b"\0\0\0\x01mdat....".to_vec(), Some(Container::Mov)),
            (b"\0\0\0\x02mdat....".to_vec(), None),
            (matroska(b"matroska"), Some(Container::Mkv)),
            (matroska(b"webm"), Some(Container::Webm)),
            (matroska(b"other"), None),
            (vec![0x1a, 0x45, 0xdf, 0xa3], None),
            (packets(0, 188), Some(Container::Ts)),
            (packets(4, 192), Some(Container::Ts)),
            (b"Great, but no packets follow: G".to_vec(), None),
            (b"RIFF\0\0\0\0AVI LIST".to_vec(), Some(Container::Avi)),
            (b"RIFF\0\0\0\0WAVEfmt ".to_vec(), None),
            (b"RIFF\0\0\0\0WEBPVP8 ".to_vec(), Some(Container::Webp)),
            (b"FLV\x01\x05".to_vec(), Some(Container::Flv)),
            (b"OggS\0\x02".to_vec(), Some(Container::Ogg)),
            (b"\x89PNG\r\n\x1a\n".to_vec(), Some(Container::Png)),
            (vec![0xff, 0xd8, 0xff, 0xe0], Some(Container::Jpeg)),
            (b"#EXTM3U\n#EXT-X-VERSION:3\n/etc/passwd".to_vec(), None),
            (b"<html><script>".to_vec(), None),
            (Vec::new(), None),
        ];
        for (bytes, expected) in table {
            assert_eq!(sniff(&bytes), expected, "{:?}", String::from_utf8_lossy(&bytes));
        }
    }

    /// However the bytes are cut, nothing panics.
    #[test]
    fn any_beginning_is_looked_at() {
        for whole in [ftyp(b"isom"), matroska(b"webm"), packets(4, 192), vec![0; 9], vec![0xff; 300]] {
            for end in 0..whole.len() {
                let _ = sniff(&whole[..end]);
            }
        }
    }
}
