use http::HeaderValue;

use super::*;

const TRUSTED: &str = "10.0.0.0/8,fd00::/8";

fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in lines {
        headers.append(*name, HeaderValue::from_str(value).expect("a value"));
    }
    headers
}

#[track_caller]
fn check(peer: &str, lines: &[(&'static str, &str)], expected: &str) {
    let trusted = TRUSTED.parse().expect("nets");
    let address = |text: &str| text.parse::<IpAddr>().expect("an address");
    assert_eq!(client_address(address(peer), &headers(lines), &trusted), address(expected), "{lines:?}");
}

#[test]
fn strangers_are_not_believed() {
    check("192.0.2.1", &[("forwarded", "for=198.51.100.9")], "192.0.2.1");
    check("192.0.2.1", &[("x-forwarded-for", "198.51.100.9")], "192.0.2.1");
    check("::ffff:192.0.2.1", &[], "192.0.2.1");
}

#[test]
fn the_walk_goes_from_the_right_past_trusted_addresses() {
    for (line, expected) in [
        ("for=192.0.2.43", "192.0.2.43"),
        ("for=192.0.2.43, for=198.51.100.17", "198.51.100.17"),
        ("for=192.0.2.43, for=198.51.100.17, for=10.9.9.9", "198.51.100.17"),
        ("for=10.1.1.1, for=10.2.2.2", "10.1.1.1"),
        ("for=1.1.1.1;proto=https;by=203.0.113.43 , For=\"192.0.2.1:47011\";host=a", "192.0.2.1"),
        ("for=192.0.2.1:80", "10.0.0.1"), // A colon is no token: it must be quoted.
        ("for=\"[2001:db8:cafe::17]:4711\"", "2001:db8:cafe::17"),
        ("For=\"[2001:DB8::1]\"", "2001:db8::1"),
        ("for=\"[::ffff:192.0.2.5]\"", "192.0.2.5"),
        ("for=\"\\1\\9\\2.0.2.1\"", "192.0.2.1"),
        ("for=\"192.0.2.1:_port\"", "192.0.2.1"),
        ("by=a;for=192.0.2.1;secret=\"a,b;for=6.6.6.6\"", "192.0.2.1"),
        (", ,for=192.0.2.1,,", "192.0.2.1"),
        (";for=192.0.2.1;", "192.0.2.1"),
    ] {
        check("10.0.0.1", &[("forwarded", line)], expected);
    }
}

#[test]
fn what_hides_or_breaks_ends_the_walk_at_the_proxy() {
    for line in [
        "for=unknown",
        "for=_hidden",
        "for=192.0.2.1, for=_SEVKISEK",
        "for=192.0.2.1, proto=https",
        "for=\"2001:db8::1\"", // IPv6 needs brackets.
        "for=[2001:db8::1]",   // And brackets need quotes.
        "for=192.0.2.256",
        "for=0300.0.2.1",
        "for=\"192.0.2.1:x\"",
        "for=\"192.0.2.1:\"",
        "for=192.0.2.1;for=192.0.2.2",
        "for=\"192.0.2.1",
        "for= 192.0.2.1",
        "for=",
        "for",
        "=192.0.2.1",
        "192.0.2.1",
        "for=192.0.2.1 for=192.0.2.2",
        "",
        ",",
    ] {
        check("10.0.0.1", &[("forwarded", line)], "10.0.0.1");
        check("fd00::1", &[("forwarded", line)], "fd00::1");
    }
    // A client's unbalanced quote swallows what its proxy appends to the same line, and no more than that.
    check("10.0.0.1", &[("forwarded", "for=\"6.6.6.6, for=192.0.2.1")], "10.0.0.1");
    check("10.0.0.1", &[("forwarded", "for=\"6.6.6.6"), ("forwarded", "for=192.0.2.1")], "192.0.2.1");
    check("10.0.0.1", &[("forwarded", "for=6.6.6.6"), ("forwarded", "for=_x, for=10.3.3.3")], "10.3.3.3");
}

#[test]
fn several_lines_are_one_list() {
    let lines = [("forwarded", "for=6.6.6.6, for=192.0.2.1"), ("forwarded", "for=10.7.7.7")];
    check("10.0.0.1", &lines, "192.0.2.1");
    let lines = [("x-forwarded-for", "6.6.6.6, 192.0.2.1"), ("x-forwarded-for", "10.7.7.7")];
    check("10.0.0.1", &lines, "192.0.2.1");
}

#[test]
fn the_older_header_counts_where_there_is_no_forwarded() {
    for (line, expected) in [
        ("192.0.2.1", "192.0.2.1"),
        ("6.6.6.6,192.0.2.1 , 10.1.1.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("[2001:db8::1]:443", "2001:db8::1"),
        ("192.0.2.1:5678", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("192.0.2.1,,", "192.0.2.1"),
        ("192.0.2.1, unknown", "10.0.0.1"),
        ("192.0.2.1, a.example", "10.0.0.1"),
        ("", "10.0.0.1"),
    ] {
        check("10.0.0.1", &[("x-forwarded-for", line)], expected);
    }
    let both = [("x-forwarded-for", "6.6.6.6"), ("forwarded", "for=192.0.2.1")];
    check("10.0.0.1", &both, "192.0.2.1");
    check("10.0.0.1", &[("x-forwarded-for", "6.6.6.6"), ("forwarded", "for=_hidden")], "10.0.0.1");
}

proptest::proptest! {
    /// Whatever a client sends in front of what trusted proxies add, the first stranger from the right is it.
    #[test]
    fn nothing_in_front_changes_the_client(junk in "[ -~]{0,60}", hops in 0..4_usize) {
        let own = format!("for=192.0.2.1{}", ", for=10.0.0.9".repeat(hops));
        check("10.0.0.1", &[("forwarded", &junk), ("forwarded", &own)], "192.0.2.1");
        let old = format!("{junk}, 192.0.2.1{}", ", 10.0.0.9".repeat(hops));
        check("10.0.0.1", &[("x-forwarded-for", &old)], "192.0.2.1");
    }

    /// What a well-behaved proxy writes is read back.
    #[test]
    fn written_addresses_are_read_back(bits: u128, port: u16, quoted: bool) {
        let (v6, v4) = (Ipv6Addr::from(bits), Ipv4Addr::from(u32::try_from(bits >> 96).expect("32 bits")));
        let line = format!("proto=http;for=\"[{v6}]:{port}\"");
        assert_eq!(forwarded_line(&line), Some(vec![Some(IpAddr::V6(v6).to_canonical())]));
        let line = if quoted { format!("for=\"{v4}:{port}\"") } else { format!("for={v4}") };
        assert_eq!(forwarded_line(&line), Some(vec![Some(IpAddr::V4(v4))]));
        assert_eq!(x_forwarded_for_line(&v6.to_string()), Some(vec![Some(IpAddr::V6(v6).to_canonical())]));
    }
}
