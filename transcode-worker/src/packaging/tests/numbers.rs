//! What real files of a few seconds do not reach.

use std::{ops::Range, time::Duration};

use mp4_atom::{Decode as _, Sidx};

use super::super::{
    Kind, Ratio, Segment, Sheets,
    boxes::{Name, Place},
    fragment::Fragment,
    segment::{describe, index, index_bytes, segments},
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
    let runs: Vec<Range<usize>> =
        segments(&fragments, Kind::Video, 100, super::super::segment::REFERENCES_MAX).unwrap();
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
