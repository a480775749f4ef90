use std::collections::HashSet;

use super::super::range::{RANGES_MAX, Ranges, Resolved};
use super::*;

/// A byte of the imagined object, so that a part's place can be told from its bytes.
fn object_byte(at: u64) -> u8 {
    u8::try_from(at % 251).expect("below 251")
}

fn body(layout: &Layout) -> Vec<u8> {
    let mut body = Vec::new();
    for part in &layout.parts {
        body.extend_from_slice(&part.head);
        body.extend(part.range.clone().map(object_byte));
    }
    body.extend_from_slice(&layout.closing);
    body
}

struct Parsed {
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

/// RFC 2046 §5.1.1 read literally: the text before the first delimiter and after the last is ignored, each
/// delimiter owns the line end before it.
fn parse(content_type: &str, body: &[u8]) -> Vec<Parsed> {
    let boundary = content_type.strip_prefix("multipart/byteranges; boundary=").expect("the type");
    assert!((1..=70).contains(&boundary.len()) && boundary.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let delimiter = format!("\r\n--{boundary}");
    let mut rest = body.strip_prefix(&delimiter.as_bytes()[2..]).expect("opens with the delimiter");
    let mut parts = Vec::new();
    loop {
        if rest == b"--\r\n" {
            return parts;
        }
        let part = rest.strip_prefix(b"\r\n").expect("a line end after the delimiter");
        let end = part.windows(delimiter.len()).position(|w| w == delimiter.as_bytes()).expect("a delimiter");
        let blank = part.windows(4).position(|window| window == b"\r\n\r\n").expect("an empty line");
        let headers = std::str::from_utf8(&part[..blank]).expect("text").split("\r\n");
        let pair =
            |line: &str| line.split_once(": ").map(|(name, value)| (name.to_owned(), value.to_owned()));
        parts.push(Parsed {
            headers: headers.map(|line| pair(line).expect("a header")).collect(),
            body: part[blank + 4..end].to_vec(),
        });
        rest = &part[end + delimiter.len()..];
    }
}

#[track_caller]
fn check(ranges: &[Range<u64>], size: u64) {
    let layout = Layout::new(&Boundary::random(), &HeaderValue::from_static("video/mp4"), ranges, size);
    let body = body(&layout);
    assert_eq!(u64::try_from(body.len()).expect("small"), layout.content_length);
    let parts = parse(layout.content_type.to_str().expect("ASCII"), &body);
    assert_eq!(parts.len(), ranges.len());
    for (part, range) in parts.iter().zip(ranges) {
        let content_range = format!("bytes {}-{}/{size}", range.start, range.end - 1);
        let expected = [("Content-Type", "video/mp4"), ("Content-Range", content_range.as_str())];
        assert_eq!(part.headers, expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(part.body, range.clone().map(object_byte).collect::<Vec<_>>());
    }
}

#[test]
fn an_independent_parser_reads_the_parts() {
    check(&[0..1, 9999..10_000], 10_000);
    check(&[5000..6000, 0..10, 9000..9500], 10_000);
    let many: Vec<_> = (0..32).map(|index| index * 1000..index * 1000 + 100).collect();
    check(&many, 1_000_000);
}

#[test]
fn a_part_costs_no_more_than_is_reckoned() {
    let type_of_100 = HeaderValue::from_str(&format!("video/{}", "x".repeat(94))).expect("a value");
    let ranges = [u64::MAX - 2..u64::MAX - 1, u64::MAX - 1..u64::MAX];
    let layout = Layout::new(&Boundary::random(), &type_of_100, &ranges, u64::MAX);
    for part in &layout.parts {
        assert!(byte_count(&part.head) <= PART_OVERHEAD, "{:?}", part.head);
    }
}

#[test]
fn an_answer_is_about_as_long_as_the_object_at_most() {
    let ranges: Vec<_> = (0..RANGES_MAX).map(|index| format!("{0}-{0}", index * 300)).collect();
    let ranges = Ranges::parse(format!("bytes={}", ranges.join(",")).as_bytes()).expect("well-formed");
    let size = 32 * 300;
    let Resolved::Multiple(ranges) = ranges.resolve(size) else { panic!("not multiple") };
    let layout = Layout::new(&Boundary::random(), &HeaderValue::from_static("video/mp4"), &ranges, size);
    assert!(layout.content_length <= size);
}

#[test]
fn a_type_that_is_no_text_is_left_out() {
    let obsolete = HeaderValue::from_bytes(b"video/\xff").expect("obs-text is allowed");
    let layout = Layout::new(&Boundary::random(), &obsolete, &[0..1, 500..501], 1000);
    let head = std::str::from_utf8(&layout.parts[0].head).expect("text");
    assert!(!head.contains("Content-Type"), "{head:?}");
    assert_eq!(u64::try_from(body(&layout).len()).expect("small"), layout.content_length);
}

#[test]
fn boundaries_do_not_repeat() {
    let boundaries: HashSet<_> = (0..1000).map(|_| Boundary::random().as_str().to_owned()).collect();
    assert_eq!(boundaries.len(), 1000);
    assert!(boundaries.iter().all(|boundary| boundary.len() == 32));
    // Both halves vary, and not together.
    let halves: HashSet<_> =
        boundaries.iter().flat_map(|boundary| [&boundary[..16], &boundary[16..]]).collect();
    assert_eq!(halves.len(), 2000);
}
