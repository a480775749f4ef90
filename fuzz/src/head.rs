//! Request heads: what our scan lets pass, another parser reads the same, or a request could be smuggled. The first
//! byte of the input says in pieces of what size it comes.

use seekway_gateway::framing::{Content, HeadLimits, HeadScan};

const LIMITS: HeadLimits = HeadLimits { bytes_max: 2048, headers_max: 16 };

/// See the module.
pub fn check(data: &[u8]) {
    let Some((&step, bytes)) = data.split_first() else { return };
    let whole = HeadScan::default().scan(bytes, LIMITS);
    let mut scan = HeadScan::default();
    let mut pieces = (0..bytes.len()).step_by(usize::from(step).max(1)).chain([bytes.len()]);
    let in_pieces = pieces.find_map(|end| scan.scan(&bytes[..end], LIMITS).transpose()).transpose();
    assert_eq!(in_pieces, whole, "it depends on how it comes");
    let Ok(Some((length, content))) = whole else { return };
    assert!(length <= LIMITS.bytes_max && bytes[..length].ends_with(b"\r\n\r\n"), "the head's end");

    let mut headers = [httparse::EMPTY_HEADER; LIMITS.headers_max];
    let mut theirs = httparse::Request::new(&mut headers);
    let parsed = theirs.parse(bytes).expect("what we let pass is a request");
    assert_eq!(parsed, httparse::Status::Complete(length), "two ends of one head");
    let values = |name: &str| {
        let named = theirs.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name));
        named.map(|header| header.value).collect::<Vec<_>>()
    };
    let (lengths, codings) = (values("content-length"), values("transfer-encoding"));
    match content {
        Content::Chunked => {
            assert!(lengths.is_empty() && theirs.version == Some(1), "two ends of one body");
            assert!(
                matches!(codings[..], [coding] if coding.eq_ignore_ascii_case(b"chunked")),
                "{codings:?}"
            );
        }
        Content::Length(length) => {
            assert!(codings.is_empty(), "two ends of one body");
            match lengths[..] {
                [] => assert_eq!(length, 0),
                [text] => assert_eq!(
                    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()),
                    Some(length)
                ),
                _ => panic!("several lengths passed"),
            }
        }
    }
    if theirs.version == Some(1) {
        assert_eq!(values("host").len(), 1, "a request names its host");
    }
}
