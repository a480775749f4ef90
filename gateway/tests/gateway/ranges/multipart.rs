//! A parser of `multipart/byteranges` (RFC 2046 §5.1.1, RFC 9110 §14.6) that knows nothing of the code that
//! writes it.

/// One part.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) headers: Vec<(String, String)>,
    pub(super) body: Vec<u8>,
}

/// The parts of a body with this `Content-Type`. The body must be nothing but them.
#[track_caller]
pub(super) fn parse(content_type: &str, body: &[u8]) -> Vec<Part> {
    let boundary = content_type.strip_prefix("multipart/byteranges; boundary=").expect("a boundary");
    assert!((1..=70).contains(&boundary.len()) && boundary.bytes().all(|byte| byte.is_ascii_alphanumeric()));
    let mut rest = expect(body, format!("--{boundary}").as_bytes());
    let delimiter = format!("\r\n--{boundary}");
    let mut parts = Vec::new();
    loop {
        rest = match rest {
            [b'-', b'-', after @ ..] => {
                assert_eq!(after, b"\r\n", "nothing follows the last part");
                return parts;
            }
            _ => expect(rest, b"\r\n"),
        };
        let (head, after) = split(rest, b"\r\n\r\n");
        let (body, after) = split(after, delimiter.as_bytes());
        let head = std::str::from_utf8(head).expect("text");
        let headers = head.split("\r\n").map(|line| {
            let (name, value) = line.split_once(": ").expect("a header");
            (name.to_ascii_lowercase(), value.to_owned())
        });
        parts.push(Part { headers: headers.collect(), body: body.to_vec() });
        rest = after;
    }
}

#[track_caller]
fn expect<'a>(bytes: &'a [u8], start: &[u8]) -> &'a [u8] {
    bytes.strip_prefix(start).unwrap_or_else(|| panic!("{:?} is missing", String::from_utf8_lossy(start)))
}

#[track_caller]
fn split<'a>(bytes: &'a [u8], at: &[u8]) -> (&'a [u8], &'a [u8]) {
    let found = bytes.windows(at.len()).position(|window| window == at);
    let found = found.unwrap_or_else(|| panic!("{:?} is missing", String::from_utf8_lossy(at)));
    (&bytes[..found], &bytes[found + at.len()..])
}
