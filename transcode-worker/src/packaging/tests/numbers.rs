//! What real files of a few seconds do not reach.

use std::{fs, ops::Range, time::Duration};

use mp4_atom::{Decode as _, Sidx};

use super::super::{
    Format, Kind, Options, Ratio, Segment, Sheets, Track, VideoRange,
    boxes::{Name, Place},
    fragment::Fragment,
    package,
    segment::{REFERENCES_MAX, describe, index, index_bytes, segments},
    storyboard_vtt,
};

/// Fragments of 100 ticks and 1000 bytes; those at a multiple of `sync` start with a sync sample.
fn fragments(count: usize, sync: usize) -> Vec<Fragment> {
    let place = Place { name: Name(*b"moof"), at: 0, header_bytes: 8, bytes: 8 };
    let fragment = |number: usize| {
        let time = number as u64 * 100;
        Fragment {
            moof: place,
            mdat: place,
            first_bytes: 200,
            rest_bytes: 800,
            decode_time: time,
            duration: 100,
            samples: 1,
            sync: number.is_multiple_of(sync),
            earliest: time,
            end: time + 100,
            shortest: u32::MAX,
            longest: 0,
            last: 100,
        }
    };
    (0..count).map(fragment).collect()
}

#[test]
fn fragments_without_a_key_frame_belong_to_the_segment_before() {
    let runs = segments(&fragments(7, 3), Kind::Video, 50, 100).unwrap();
    assert_eq!(runs, [0..3, 3..6, 6..7]);
    assert!(segments(&fragments(7, 3)[1..], Kind::Video, 50, 100).is_err());
    // Two seconds are 100 ticks, or 250 of which the nearest to 2 s is 200.
    assert_eq!(segments(&fragments(4, 1), Kind::Audio, 50, 100).unwrap(), [0..1, 1..2, 2..3, 3..4]);
    assert_eq!(segments(&fragments(4, 1), Kind::Audio, 120, 100).unwrap(), [0..2, 2..4]);
}

#[test]
fn an_index_that_would_be_too_long_is_coarser() {
    let fragments = fragments(70_000, 1);
    let runs: Vec<Range<usize>> = segments(&fragments, Kind::Video, 100, REFERENCES_MAX).unwrap();
    assert_eq!((runs.len(), runs[0].clone(), runs[34_999].clone()), (35_000, 0..2, 69_998..70_000));
    let described = describe(&fragments, &runs, 5).unwrap();
    assert_eq!(
        described[1],
        Segment { offset: 2005, bytes: 2000, start: 200, duration: 200, samples: 2, key_frame_bytes: 200 }
    );
}

#[test]
fn a_reference_has_its_limits() {
    let mut fragments = fragments(2, 1);
    fragments[1].rest_bytes = (1 << 31) - 201;
    assert!(describe(&fragments, &[0..1, 1..2], 0).is_ok());
    fragments[1].rest_bytes += 1;
    let error = describe(&fragments, &[0..1, 1..2], 0).unwrap_err();
    assert!(error.contains("2147483648 bytes") && error.contains("room for 2147483647"), "{error}");
}

#[test]
fn a_late_start_takes_64_bits() {
    let segment = Segment { offset: 0, bytes: 7, start: 0, duration: 9, samples: 1, key_frame_bytes: 7 };
    for start in [0, 5, u64::from(u32::MAX), u64::from(u32::MAX) + 1, 1 << 40] {
        let bytes = index(3, 90_000, start, std::slice::from_ref(&segment));
        assert_eq!(bytes.len() as u64, index_bytes(start, 1));
        let sidx = Sidx::decode(&mut bytes.as_slice()).unwrap();
        assert_eq!((sidx.earliest_presentation_time, sidx.reference_id, sidx.timescale), (start, 3, 90_000));
        assert_eq!((sidx.references[0].referenced_size, sidx.references[0].subsegment_duration), (7, 9));
    }
}

/// Four segments of two seconds.
fn track(id: &str, codecs: &str, format: Format, bits: u64) -> Track {
    let segment = |number: u64| {
        let bytes = bits / 4;
        Segment {
            offset: 500 + number * bytes,
            bytes,
            start: number * 2,
            duration: 2,
            samples: 1,
            key_frame_bytes: 9,
        }
    };
    Track {
        id: id.to_owned(),
        file: format!("{id}.mp4"),
        codecs: codecs.to_owned(),
        language: None,
        format,
        frame_rate: Ratio::new(25, 1),
        timescale: 1,
        init: 0..400,
        index: 400..500,
        segments: (0..4).map(segment).collect(),
        frames: 4,
        start: 0,
        duration: 8,
    }
}

fn picture(id: &str, codecs: &str, bits: u64) -> Track {
    track(id, codecs, Format::Video { width: 16, height: 9, aspect: (1, 1), range: VideoRange::Sdr }, bits)
}

fn sound(id: &str, language: Option<&str>, channels: u16) -> Track {
    let language = language.map(str::to_owned);
    Track { language, ..track(id, "mp4a.40.2", Format::Audio { sample_rate: 48_000, channels }, 128_000) }
}

/// The master and the manifest over tracks.
fn manifests(tracks: &[Track]) -> (String, String) {
    let folder = tempfile::tempdir().unwrap();
    package(tracks, &Options::default(), folder.path()).unwrap();
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    (read("master.m3u8"), read("manifest.mpd"))
}

/// The lines of a master that are no tags, in order.
fn named(tracks: &[Track]) -> Vec<String> {
    manifests(tracks).0.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect()
}

#[test]
fn a_master_names_first_what_to_start_with_and_then_the_best() {
    let ladder = |rates: &[u64]| -> Vec<Track> {
        rates
            .iter()
            .enumerate()
            .map(|(number, bits)| picture(&format!("v{number}"), "avc1.64001f", *bits))
            .collect()
    };
    let of_four = named(&ladder(&[400_000, 1_500_000, 4_000_000, 8_000_000]));
    assert_eq!(of_four, ["v1.m3u8", "v3.m3u8", "v2.m3u8", "v0.m3u8"]);
    assert_eq!(named(&ladder(&[400_000, 1_500_000])), ["v1.m3u8", "v0.m3u8"]);
    assert_eq!(named(&ladder(&[8_000_000, 4_000_000])), ["v1.m3u8", "v0.m3u8"], "none fits: the least");
}

#[test]
fn a_target_is_rounded_and_the_same_for_all() {
    let mut tracks = [picture("v", "avc1.64001f", 1_000_000), sound("a0", None, 2)];
    for segment in &mut tracks[0].segments {
        (segment.start, segment.duration) = (segment.start * 13, 26);
    }
    (tracks[0].timescale, tracks[0].duration) = (10, 104);
    let folder = tempfile::tempdir().unwrap();
    package(&tracks, &Options { segment: Duration::from_secs(2) }, folder.path()).unwrap();
    for (name, target) in [("v.m3u8", 3), ("v_iframes.m3u8", 3), ("a0.m3u8", 3)] {
        let text = fs::read_to_string(folder.path().join(name)).unwrap();
        assert!(text.contains(&format!("#EXT-X-TARGETDURATION:{target}\n")), "{name}: {text}");
        assert!(
            text.contains(if name == "a0.m3u8" { "#EXTINF:2.000000," } else { "#EXTINF:2.600000," }),
            "{text}"
        );
    }
}

#[test]
fn sounds_in_several_languages_are_a_choice() {
    let tracks =
        [picture("v", "avc1.64001f", 1_000_000), sound("a0", Some("deu"), 2), sound("a1", Some("fra"), 6)];
    let (master, mpd) = manifests(&tracks);
    assert!(
        master.contains(
            "NAME=\"deu\",LANGUAGE=\"deu\",DEFAULT=YES,AUTOSELECT=YES,CHANNELS=\"2\",URI=\"a0.m3u8\""
        )
    );
    assert!(master.contains(
        "NAME=\"fra 2\",LANGUAGE=\"fra\",DEFAULT=NO,AUTOSELECT=YES,CHANNELS=\"6\",URI=\"a1.m3u8\""
    ));
    assert!(
        master.contains("BANDWIDTH=1128000,AVERAGE-BANDWIDTH=1128000,CODECS=\"avc1.64001f,mp4a.40.2\""),
        "{master}"
    );
    assert_eq!(mpd.matches("<AdaptationSet").count(), 3, "{mpd}");
    // Two bandwidths of one sound are one set, and so are those of one codec of video.
    let mut low = sound("a1", Some("deu"), 2);
    low.segments.iter_mut().for_each(|segment| segment.bytes /= 2);
    assert_eq!(manifests(&[sound("a0", Some("deu"), 2), low]).1.matches("<AdaptationSet").count(), 1);
    let of_two_codecs = [
        picture("v0", "avc1.64001f", 9),
        picture("v1", "avc1.64000b", 9),
        picture("h", "hvc1.1.6.L30.90", 9),
    ];
    assert_eq!(manifests(&of_two_codecs).1.matches("<AdaptationSet").count(), 2);
}

#[test]
fn what_would_have_to_be_escaped_is_refused() {
    let mut tracks = [sound("a0", None, 2)];
    for language in ["\"", "<", "a b", "a\nb", "", "..", "ä"] {
        tracks[0].language = Some(language.to_owned());
        let error =
            package(&tracks, &Options::default(), std::path::Path::new("/nowhere")).unwrap_err().to_string();
        assert!(error.contains("are allowed"), "{error}");
    }
}

#[test]
fn ratios_are_in_lowest_terms() {
    assert_eq!(Ratio::new(90_000, 3_003), Ratio { numerator: 30_000, denominator: 1_001 });
    assert_eq!(Ratio::new(30_000, 1_001).thousandths(), 29_970);
    assert_eq!(Ratio::new(0, 0), Ratio { numerator: 0, denominator: 1 });
}

#[test]
fn cues_go_over_the_sheets_row_by_row() {
    let files = vec!["sb_001.jpg".to_owned(), "sb_002.jpg".to_owned()];
    let sheets =
        Sheets { files, columns: 2, rows: 1, width: 160, height: 90, interval: Duration::from_millis(1500) };
    assert_eq!(
        storyboard_vtt(&sheets, Duration::from_secs(4)),
        "WEBVTT\n\n00:00:00.000 --> 00:00:01.500\nsb_001.jpg#xywh=0,0,160,90\n\n\
         00:00:01.500 --> 00:00:03.000\nsb_001.jpg#xywh=160,0,160,90\n\n\
         00:00:03.000 --> 00:00:04.000\nsb_002.jpg#xywh=0,0,160,90\n"
    );
    let long =
        storyboard_vtt(&Sheets { interval: Duration::from_hours(1), ..sheets }, Duration::from_hours(100));
    assert_eq!(long.matches("-->").count(), 4, "no cue without a picture");
    assert!(long.contains("03:00:00.000 --> 04:00:00.000"));
}
