//! Movie fragments (ISO/IEC 14496-12 §8.8.4 to §8.8.8): read from the files of ffmpeg, and written anew.
//!
//! A video fragment that starts with a sync sample is written as two: one that holds that sample alone, and one with the
//! rest. The first is what an I-frame playlist points to. Pointing at the front of a whole fragment instead, as packagers
//! commonly do, gives players a `moof` that promises samples which never come: Chromium's media source took the first of five
//! such pieces and failed at the second (`CHUNK_DEMUXER_ERROR_APPEND_FAILED`), where it takes all fragments of one sample. It
//! costs about 100 bytes for each two seconds.
//!
//! libavformat moves the times of a fragmented file by its negative composition offsets once it has seen one. With the key
//! frame apart that is after the first frame, so ffmpeg and mpv, unlike browsers, show that frame for two.

use super::{
    Kind,
    boxes::{Boxed, Children, Fault, Place},
    header::{Defaults, Header},
};

/// The most samples of one fragment: over an hour of video.
const SAMPLES_MAX: u32 = 1 << 18;
/// No time of a real file comes near, and no sum of a fragment's durations onto it overflows.
const DECODE_TIME_MAX: u64 = 1 << 60;
/// `sample_is_non_sync_sample` (§8.8.3.1).
const NON_SYNC: u32 = 0x0001_0000;
/// `moof`, `mfhd`, `traf`, `tfhd`, `tfdt` and `trun` as they are written, without the samples.
const MOOF_FIXED_BYTES: u32 = 8 + 16 + 8 + TFHD_BYTES + 20 + TRUN_FIXED_BYTES;
const TFHD_BYTES: u32 = 24;
const TRUN_FIXED_BYTES: u32 = 20;
const MDAT_HEADER_BYTES: u32 = 8;

/// One sample as its fragment describes it (`trun`, §8.8.8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Sample {
    pub(super) duration: u32,
    pub(super) bytes: u32,
    pub(super) flags: u32,
    /// From its decoding to its presentation.
    pub(super) offset: i32,
}

/// The samples of one `moof`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Moof {
    pub(super) decode_time: u64,
    pub(super) samples: Vec<Sample>,
}

/// What is kept of a fragment: where it is in its file, and the sums over its samples.
#[derive(Clone, Debug)]
pub(super) struct Fragment {
    pub(super) moof: Place,
    pub(super) mdat: Place,
    /// What it takes as it is written: its first part, which is all of it where it is not split, and the rest.
    pub(super) first_bytes: u64,
    pub(super) rest_bytes: u64,
    pub(super) decode_time: u64,
    /// In ticks, by decoding.
    pub(super) duration: u64,
    pub(super) samples: u64,
    pub(super) sync: bool,
    /// When the first of its samples is shown, and when the last ends.
    pub(super) earliest: u64,
    pub(super) end: u64,
    /// The shortest and the longest sample but the last, which alone may be of another length in a constant rate.
    pub(super) shortest: u32,
    pub(super) longest: u32,
    pub(super) last: u32,
}

// === impl Moof ===

impl Moof {
    /// Of the fragment `moof` whose samples fill the `mdat` that follows it at once.
    pub(super) fn parse(moof: &Boxed<'_>, mdat: &Place, header: &Header) -> Result<Self, Fault> {
        let children = moof.children()?;
        expect_only(&children, &[*b"mfhd", *b"traf"])?;
        let track = children.one(*b"traf")?.children()?;
        expect_only(&track, &[*b"tfhd", *b"tfdt", *b"trun"])?;
        let defaults = defaults(&track.one(*b"tfhd")?, header)?;
        let tfdt = track.one(*b"tfdt")?;
        let (version, _, mut fields) = tfdt.full()?;
        let decode_time = fields.time(version)?;
        if decode_time > DECODE_TIME_MAX {
            return Err(
                tfdt.fault(format!("is at tick {decode_time}; the last possible is {DECODE_TIME_MAX}"))
            );
        }

        let mut samples = Vec::new();
        // From the start of the `moof`: where the samples read so far end.
        let mut position = mdat.at + mdat.header_bytes - moof.at;
        for trun in track.iter().filter(|child| child.name.0 == *b"trun") {
            run(trun, defaults, &mut position, &mut samples)?;
        }
        if samples.is_empty() {
            return Err(moof.fault("has no samples"));
        }
        if position != mdat.at + mdat.bytes - moof.at {
            return Err(mdat.fault("is not filled by exactly the samples of the moof before it"));
        }
        Ok(Self { decode_time, samples })
    }

    /// As it is written: the sync sample of a video fragment alone, and the rest; or everything, and nothing.
    pub(super) fn split(mut self, kind: Kind) -> (Self, Option<Self>) {
        if kind == Kind::Audio || self.samples.len() == 1 || !self.starts_with_sync() {
            return (self, None);
        }
        let rest = self.samples.split_off(1);
        let decode_time = self.decode_time + u64::from(self.samples[0].duration);
        (self, Some(Self { decode_time, samples: rest }))
    }

    pub(super) fn starts_with_sync(&self) -> bool {
        self.samples[0].flags & NON_SYNC == 0
    }

    /// The bytes of its samples.
    pub(super) fn data_bytes(&self) -> u64 {
        self.samples.iter().map(|sample| u64::from(sample.bytes)).sum()
    }

    /// The bytes of `moof` and `mdat` as they are written.
    fn written_bytes(&self) -> u64 {
        u64::from(self.head_bytes()) + self.data_bytes()
    }

    fn head_bytes(&self) -> u32 {
        MOOF_FIXED_BYTES + self.table_bytes() + MDAT_HEADER_BYTES
    }

    fn table_bytes(&self) -> u32 {
        self.count() * 4 * (1 + self.columns().map(u32::from).iter().sum::<u32>())
    }

    fn count(&self) -> u32 {
        u32::try_from(self.samples.len()).expect("a fragment has at most SAMPLES_MAX samples")
    }

    /// Whether the samples differ in duration, in flags, and whether any is shown at another time than it is decoded at:
    /// what is the same for all is written once.
    fn columns(&self) -> [bool; 3] {
        let first = self.samples[0];
        [
            self.samples.iter().any(|sample| sample.duration != first.duration),
            self.samples.iter().any(|sample| sample.flags != first.flags),
            self.samples.iter().any(|sample| sample.offset != 0),
        ]
    }

    /// The `moof`, and the header of the `mdat` that its samples are to follow.
    pub(super) fn write(&self, sequence: u32, track_id: u32) -> Vec<u8> {
        const BASE_IS_MOOF_AND_DURATION_AND_FLAGS: u32 = 0x02_0000 | 0x08 | 0x20;
        const DATA_OFFSET_AND_SIZES: u32 = 0x01 | 0x200;
        let [durations, flags, offsets] = self.columns();
        let trun_flags = DATA_OFFSET_AND_SIZES
            | if durations { 0x100 } else { 0 }
            | if flags { 0x400 } else { 0 }
            | if offsets { 0x800 } else { 0 };
        let trun_bytes = TRUN_FIXED_BYTES + self.table_bytes();
        let moof_bytes = MOOF_FIXED_BYTES + self.table_bytes();
        let mdat_bytes = u32::try_from(self.data_bytes() + u64::from(MDAT_HEADER_BYTES))
            .expect("a segment that was indexed has less than 2 GiB");
        let first = self.samples[0];
        let mut out = Vec::with_capacity(moof_bytes as usize + 8);
        let mut put = |field: &[u8]| out.extend_from_slice(field);
        put(&moof_bytes.to_be_bytes());
        put(b"moof\0\0\0\x10mfhd\0\0\0\0");
        put(&sequence.to_be_bytes());
        put(&(8 + TFHD_BYTES + 20 + trun_bytes).to_be_bytes());
        put(b"traf");
        put(&TFHD_BYTES.to_be_bytes());
        put(b"tfhd");
        put(&BASE_IS_MOOF_AND_DURATION_AND_FLAGS.to_be_bytes());
        put(&track_id.to_be_bytes());
        put(&first.duration.to_be_bytes());
        put(&first.flags.to_be_bytes());
        put(b"\0\0\0\x14tfdt\x01\0\0\0");
        put(&self.decode_time.to_be_bytes());
        put(&trun_bytes.to_be_bytes());
        // Version 1: its composition offsets have a sign.
        put(b"trun");
        put(&(0x0100_0000 | trun_flags).to_be_bytes());
        put(&self.count().to_be_bytes());
        put(&self.head_bytes().to_be_bytes());
        for sample in &self.samples {
            if durations {
                put(&sample.duration.to_be_bytes());
            }
            put(&sample.bytes.to_be_bytes());
            if flags {
                put(&sample.flags.to_be_bytes());
            }
            if offsets {
                put(&sample.offset.to_be_bytes());
            }
        }
        put(&mdat_bytes.to_be_bytes());
        put(b"mdat");
        out
    }
}

// === impl Fragment ===

impl Fragment {
    pub(super) fn of(read: &Moof, kind: Kind, moof: Place, mdat: Place) -> Result<Self, Fault> {
        let (mut decode, mut earliest, mut end) = (read.decode_time, u64::MAX, 0);
        for sample in &read.samples {
            let shown = decode
                .checked_add_signed(sample.offset.into())
                .ok_or_else(|| moof.fault("has a sample that is shown before time 0"))?;
            earliest = earliest.min(shown);
            end = end.max(shown + u64::from(sample.duration));
            decode += u64::from(sample.duration);
        }
        let sync = read.starts_with_sync();
        if sync && read.decode_time.checked_add_signed(read.samples[0].offset.into()) != Some(earliest) {
            return Err(moof.fault(
                "starts with a picture that others are shown before: an open GOP cannot be switched to",
            ));
        }
        let (last, others) = read.samples.split_last().expect("parse refuses a moof without samples");
        let durations = || others.iter().map(|sample| sample.duration);
        let (first, rest) = read.clone().split(kind);
        Ok(Self {
            moof,
            mdat,
            first_bytes: first.written_bytes(),
            rest_bytes: rest.map_or(0, |rest| rest.written_bytes()),
            decode_time: read.decode_time,
            duration: decode - read.decode_time,
            samples: read.samples.len() as u64,
            sync,
            earliest,
            end,
            shortest: durations().min().unwrap_or(u32::MAX),
            longest: durations().max().unwrap_or(0),
            last: last.duration,
        })
    }
}

fn expect_only(children: &Children<'_>, names: &[[u8; 4]]) -> Result<(), Fault> {
    // What is written anew would lose it: encryption, sample groups, another program's data.
    match children.iter().find(|child| !names.contains(&child.name.0)) {
        Some(stranger) => Err(stranger.fault("is nothing that a fragment of ffmpeg's has")),
        None => Ok(()),
    }
}

/// What `tfhd` (§8.8.7) says for all samples of the fragment, over what `trex` says.
fn defaults(tfhd: &Boxed<'_>, header: &Header) -> Result<Defaults, Fault> {
    let (_, flags, mut fields) = tfhd.full()?;
    if fields.u32()? != header.track_id {
        return Err(tfhd.fault("is of another track than the one there is"));
    }
    if flags & 0x01 != 0 {
        return Err(
            tfhd.fault("gives places in the file; write it with -movflags +default_base_moof or +cmaf")
        );
    }
    let mut defaults = header.defaults;
    for (flag, default) in [
        (0x02, &mut defaults.description),
        (0x08, &mut defaults.duration),
        (0x10, &mut defaults.bytes),
        (0x20, &mut defaults.flags),
    ] {
        if flags & flag != 0 {
            *default = fields.u32()?;
        }
    }
    if defaults.description != header.defaults.description {
        return Err(tfhd.fault("uses another sample entry than the one there is"));
    }
    Ok(defaults)
}

/// Reads one run of samples (§8.8.8), which starts at `position` and moves it.
fn run(
    trun: &Boxed<'_>,
    defaults: Defaults,
    position: &mut u64,
    samples: &mut Vec<Sample>,
) -> Result<(), Fault> {
    let (version, flags, mut fields) = trun.full()?;
    let count = fields.u32()?;
    // Before any loop over it: a run whose samples are all alike has no bytes that bound their count.
    if u64::from(count) + samples.len() as u64 > u64::from(SAMPLES_MAX) {
        return Err(trun.fault(format!("says {count} samples; a fragment has at most {SAMPLES_MAX}")));
    }
    let offset = if flags & 0x01 != 0 { Some(fields.i32()?) } else { None };
    if offset.map_or(samples.is_empty(), |offset| u64::try_from(offset) != Ok(*position)) {
        return Err(
            trun.fault(format!("has its data elsewhere than at {position} from its moof, where it follows"))
        );
    }
    let first_flags = if flags & 0x04 != 0 { Some(fields.u32()?) } else { None };
    for index in 0..count {
        let mut column = |flag: u32, default: u32| if flags & flag != 0 { fields.u32() } else { Ok(default) };
        let duration = column(0x100, defaults.duration)?;
        let bytes = column(0x200, defaults.bytes)?;
        let default_flags = first_flags.filter(|_| index == 0).unwrap_or(defaults.flags);
        let flags = column(0x400, default_flags)?;
        let offset = column(0x800, 0)?;
        let offset = match i32::try_from(offset) {
            Ok(offset) => offset,
            Err(_) if version > 0 => offset.cast_signed(),
            Err(_) => return Err(trun.fault("shows a sample too long after it is decoded")),
        };
        *position += u64::from(bytes);
        samples.push(Sample { duration, bytes, flags, offset });
    }
    if !fields.rest().is_empty() {
        return Err(trun.fault("is longer than its samples"));
    }
    Ok(())
}
