use super::*;

const LIMITS: HeadLimits = HeadLimits { bytes_max: 1000, headers_max: 5 };

fn scan(bytes: &[u8]) -> Result<Option<(usize, Content)>, BadHead> {
    HeadScan::default().scan(bytes, LIMITS)
}

#[track_caller]
fn good(head: &str, content: Content) {
    assert_eq!(scan(head.as_bytes()), Ok(Some((head.len(), content))), "{head:?}");
}

#[track_caller]
fn bad(head: &str, why: BadHead) {
    assert_eq!(scan(head.as_bytes()), Err(why), "{head:?}");
}

fn with(headers: &str) -> String {
    format!("GET /a HTTP/1.1\r\nHost: a\r\n{headers}\r\n\r\n")
}

#[test]
fn plain_heads_pass() {
    let none = Content::Length(0);
    for head in [
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "HEAD /media/a%20b.mp4?download=1&x=/? HTTP/1.1\r\nhost:a.test:8080 \t\r\nX:\r\nY: \u{fc}\t\"\r\n\r\n",
        "GET /media/日本\"{}|^ HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
        "GET http://a.test/b?c HTTP/1.1\r\nHost: b\r\n\r\n",
        "GET HTTP://a.test HTTP/1.1\r\nHost: b\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
        "M-SEARCH / HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        good(head, none);
    }
    good(&with("Content-Length: 0005"), Content::Length(5));
    good(&with("content-length:\t9223372036854775807 "), Content::Length(i64::MAX as u64));
    good(&with("transfer-encoding: Chunked"), Content::Chunked);
    let two = with("X: 1").repeat(2);
    assert_eq!(scan(two.as_bytes()), Ok(Some((two.len() / 2, none))), "only the first one is read");
}

#[test]
fn what_could_be_read_in_two_ways_is_refused() {
    for (head, why) in [
        ("GET / HTTP/1.1\nHost: a\r\n\r\n", BadHead::LineEnd),
        ("GET / HTTP/1.1\r\nHost: a\n\r\n", BadHead::LineEnd),
        ("GET / HTTP/1.1\r\nHost: a\r\n\n", BadHead::LineEnd),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", BadHead::LineEnd),
        ("GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n", BadHead::LineEnd),
        ("GET / HTTP/1.1\r\nHost: a\r\r\n\r\n", BadHead::LineEnd),
        ("GET / HTTP/1.1\r\nX\n: b\r\n\r\n", BadHead::LineEnd),
        ("GET / HTTP/1.1\r\nHost: a\0\r\n\r\n", BadHead::Control),
        ("GET / HTTP/1.1\r\nX\x7f: a\r\n\r\n", BadHead::Control),
        ("\x16\x03\x01", BadHead::Control),
        ("GET /\r\n", BadHead::RequestLine),
        ("GET  / HTTP/1.1\r\n", BadHead::RequestLine),
        ("GET / HTTP/1.1 \r\n", BadHead::RequestLine),
        ("GET\t/\tHTTP/1.1\r\n", BadHead::RequestLine),
        (" GET / HTTP/1.1\r\n", BadHead::RequestLine),
        ("GET / a HTTP/1.1\r\n", BadHead::RequestLine),
        ("G(T / HTTP/1.1\r\n", BadHead::RequestLine),
        ("GET / http/1.1\r\n", BadHead::RequestLine),
        ("GET / HTTP/1.1.1\r\n", BadHead::RequestLine),
        ("GET / HTTP/2.0\r\n", BadHead::Version),
        ("GET / HTTP/1.2\r\n", BadHead::Version),
        ("PRI * HTTP/2.0\r\n", BadHead::Version),
        ("AAAAAAAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\n", BadHead::Method),
        ("CONNECT a.test:443 HTTP/1.1\r\n", BadHead::Connect),
        ("GET a.test:443 HTTP/1.1\r\n", BadHead::Target),
        ("GET media/a HTTP/1.1\r\n", BadHead::Target),
        ("GET * HTTP/1.1\r\n", BadHead::Target),
        ("GET ftp://a/b HTTP/1.1\r\n", BadHead::Target),
        ("GET http:// HTTP/1.1\r\n", BadHead::Target),
        ("GET /a#b HTTP/1.1\r\n", BadHead::Target),
        ("GET /a\u{e9}<> HTTP/1.1\r\n", BadHead::Target),
        ("GET http://u@a/ HTTP/1.1\r\n", BadHead::Host),
    ] {
        bad(head, why);
    }
    // The key of a raw path is judged later; here it only must be what hyper reads, too.
    assert!(http::Uri::try_from("/a\u{e9}<>").is_err(), "or the last but one above is not needed");
}

#[test]
fn headers_are_a_name_a_colon_and_a_value() {
    for (line, why) in [
        (" folded", BadHead::Folded),
        ("\tfolded", BadHead::Folded),
        ("X : a", BadHead::Header),
        ("X\t: a", BadHead::Header),
        ("Content-Length : 5", BadHead::Header),
        ("Transfer-Encoding\t: chunked", BadHead::Header),
        (": a", BadHead::Header),
        ("X", BadHead::Header),
        ("X(: a", BadHead::Header),
        ("X\u{e9}: a", BadHead::Header),
        ("A: 1\r\nB: 2\r\nC: 3\r\nD: 4\r\nE: 5", BadHead::TooManyHeaders),
    ] {
        bad(&with(line), why);
    }
    good(&with("A: 1\r\nB: 2\r\nC: 3\r\nD: 4"), Content::Length(0));
}

#[test]
fn lengths_have_one_meaning() {
    for value in ["+5", "-1", "", "5, 5", "5 5", "0x5", "5.0", "5,", "\u{665}", "1e3"] {
        bad(&with(&format!("Content-Length: {value}")), BadHead::ContentLength);
    }
    bad(&with("Content-Length: 5\r\nContent-Length: 6"), BadHead::ContentLength);
    bad(&with("Content-Length: 5\r\ncontent-length: 5"), BadHead::ContentLength);
    for value in ["9223372036854775808", "18446744073709551621", "99999999999999999999999999"] {
        bad(&with(&format!("Content-Length: {value}")), BadHead::ContentTooLarge);
    }
    for (value, why) in [
        ("chunked, identity", BadHead::TransferEncoding),
        ("xchunked", BadHead::TransferEncoding),
        ("\"chunked\"", BadHead::TransferEncoding),
        ("chunked;q=1", BadHead::TransferEncoding),
        ("identity", BadHead::TransferEncoding),
        ("", BadHead::TransferEncoding),
        ("chunked,", BadHead::TransferEncoding),
        ("chunked, chunked", BadHead::TransferEncoding),
        ("gzip, chunked", BadHead::TransferCoding),
        (",chunked", BadHead::TransferCoding),
    ] {
        bad(&with(&format!("Transfer-Encoding: {value}")), why);
    }
    bad(&with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked"), BadHead::TransferEncoding);
    bad(&with("Transfer-Encoding: chunked\r\nContent-Length: 5"), BadHead::TransferEncoding);
    bad(&with("Content-Length: 0\r\nTransfer-Encoding: chunked"), BadHead::TransferEncoding);
    bad("GET / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n", BadHead::TransferEncoding);
}

#[test]
fn there_is_one_host_and_it_is_one() {
    bad("GET / HTTP/1.1\r\n\r\n", BadHead::Hosts);
    bad("GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n\r\n", BadHead::Hosts);
    bad("GET http://a/ HTTP/1.1\r\n\r\n", BadHead::Hosts);
    for host in
        ["a", "a.test", "a.test:8080", "a:", "127.0.0.1:1", "[::1]", "[2001:db8::1]:443", "a_b", "%41"]
    {
        assert!(is_host(host.as_bytes()), "{host}");
        good(&format!("GET / HTTP/1.0\r\nHost: {host}\r\n\r\n"), Content::Length(0));
    }
    for host in [
        "", "a b", "a/b", "u@a", "u:p@a", "a:b", "a:999999", "::1", "[::1", "[a]", "a\\b", "a?b", "a#b",
        "\u{e9}", "a:80:90", "[::1]a", ":80", "http://a",
    ] {
        bad(&format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n"), BadHead::Host);
    }
}

#[test]
fn what_is_too_large_says_which_part() {
    let long = "a".repeat(2000);
    bad(&format!("GET /{long} HTTP/1.1\r\n"), BadHead::TargetTooLong);
    bad(&long, BadHead::TargetTooLong);
    bad(&with(&format!("{long}: a")), BadHead::TooLarge);
    bad(&with(&format!("X: {long}")), BadHead::TooLarge);
    bad(&"\r\n".repeat(600), BadHead::TargetTooLong);
    let fits = with(&format!("X: {}", "a".repeat(LIMITS.bytes_max - with("X: ").len())));
    assert_eq!(fits.len(), LIMITS.bytes_max);
    good(&fits, Content::Length(0));
}

proptest::proptest! {
    /// However a head is cut into pieces, it is read the same.
    #[test]
    fn pieces_are_read_like_the_whole(
        lines in proptest::collection::vec("[ -~]{0,12}|Host: a|Content-Length: 5|\r|\n|\\PC", 0..6),
        cut in 0..200_usize,
        junk in ".{0,80}",
    ) {
        let head = format!("GET /{} HTTP/1.1\r\n{}\r\n\r\n", junk.len(), lines.join("\r\n"));
        for bytes in [head.as_bytes(), junk.as_bytes()] {
            let whole = scan(bytes);
            let mut pieces = HeadScan::default();
            let first = pieces.scan(&bytes[..cut.min(bytes.len())], LIMITS);
            let both = if first == Ok(None) { pieces.scan(bytes, LIMITS) } else { first };
            assert_eq!(both, whole);
        }
    }

    /// Whatever passes here is a request for the parser behind it, too, with the same length.
    #[test]
    fn what_passes_is_a_request_for_hyper(
        target in "/[!-~]{0,8}|http://[a-z@:]{1,6}/?[!-~]{0,3}|[!-~]{1,5}",
        headers in proptest::collection::vec("[!-~]{1,5}: ?[ -~]{0,8}|Host: [!-~]{1,5}", 0..4),
    ) {
        let lines = [&[format!("GET {target} HTTP/1.0")], &headers[..], &[String::new(), String::new()]];
        let head = lines.concat().join("\r\n");
        if let Ok(Some((length, _))) = scan(head.as_bytes()) {
            assert!(http::Uri::try_from(&*target).is_ok(), "{target}");
            let names = head[..length].lines().skip(1).filter_map(|line| line.split_once(':'));
            for (name, value) in names {
                assert!(http::HeaderName::from_bytes(name.as_bytes()).is_ok(), "{name}");
                assert!(http::HeaderValue::from_str(value.trim()).is_ok(), "{value}");
            }
        }
    }
}
