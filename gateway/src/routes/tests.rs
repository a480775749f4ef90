use seekway_storage::KEY_BYTES_MAX;

use super::*;

#[track_caller]
fn media(path: &str, key: &str) {
    assert_eq!(decode(path), Route::Media(ObjectKey::new(key).expect("a key")), "{path}");
}

#[test]
fn fixed_paths_are_exact() {
    for (path, route) in [
        ("/", Route::Console),
        ("/assets/app.js", Route::ConsoleAsset("app.js".into())),
        ("/assets/icon-32_a.png", Route::ConsoleAsset("icon-32_a.png".into())),
        ("/api/health", Route::Health),
        ("/api/ready", Route::Ready),
        ("/api/objects", Route::Objects),
        ("/api/auth/me", Route::Account(Action::Me)),
        ("/api/auth/keys", Route::Account(Action::Keys)),
    ] {
        assert_eq!(decode(path), route, "{path}");
    }
    for path in [
        "",
        "*",
        "/media",
        "/Media/a",
        "media/a",
        "//media/a",
        "/api",
        "/api/health/",
        "/api/Health",
        "/assets",
        "/assets/",
        "/assets/a/b",
        "/assets/..",
        "/assets/.env",
        "/assets/%2e%2e",
        "/assets/a%2Fb",
        "/index.html",
        "/api/auth",
        "/api/auth/",
        "/api/auth/me/",
        "/api/auth/keys/",
        "/api/auth/keys/1",
        "/api/auth/accounts/00000000-0000-7000-8000-00000000000A",
    ] {
        assert_eq!(decode(path), Route::NotFound, "{path}");
    }
}

#[test]
fn keys_are_decoded_exactly_once() {
    media("/media/a.mp4", "a.mp4");
    media("/media/a/b/c.mp4", "a/b/c.mp4");
    media("/media/a%20b.mp4", "a b.mp4");
    media("/media/a+b.mp4", "a+b.mp4");
    media("/media/a%2Bb.mp4", "a+b.mp4");
    media("/media/100%25.mp4", "100%.mp4");
    media("/media/%2525", "%25");
    media("/media/%252e%252e", "%2e%2e");
    media("/media/a%2Fb", "a/b");
    media("/media/a%3Fb%23c", "a?b#c");
    media("/media/it's%22%27(1)@2&=;,!$*~:", "it's\"'(1)@2&=;,!$*~:");
    media("/media/%E6%97%A5%e6%9c%ac.mp4", "日本.mp4");
    media("/media/日本.mp4", "日本.mp4");
    media("/media/日%25", "日%");
    media("/media/%0A%7F", "\n\u{7f}");
}

#[test]
fn dots_and_double_slashes_stay() {
    media("/media//a", "/a");
    media("/media/a//b", "a//b");
    media("/media/../a", "../a");
    media("/media/a/./b", "a/./b");
    media("/media/%2e%2E/a", "../a");
    media("/media/a/", "a/");
    media("/media/.", ".");
}

#[test]
fn what_cannot_be_a_key_says_why() {
    let long = |length| format!("/media/{}", "a".repeat(length));
    let encoded = |length| format!("/media/{}", "%61".repeat(length));
    for (path, why) in [
        ("/media/", BadKey::Invalid(InvalidKey::Empty)),
        ("/media/%", BadKey::Encoding),
        ("/media/a%", BadKey::Encoding),
        ("/media/a%4", BadKey::Encoding),
        ("/media/%zz", BadKey::Encoding),
        ("/media/%4z", BadKey::Encoding),
        ("/media/%%41", BadKey::Encoding),
        ("/media/%+1", BadKey::Encoding),
        ("/media/%é", BadKey::Encoding),
        ("/media/%ff", BadKey::NotUtf8),
        ("/media/%c0%af", BadKey::NotUtf8),
        ("/media/%ed%a0%80", BadKey::NotUtf8),
        ("/media/a%00b", BadKey::Invalid(InvalidKey::Nul)),
        (&long(KEY_BYTES_MAX + 1), BadKey::Invalid(InvalidKey::TooLong)),
        (&encoded(KEY_BYTES_MAX + 1), BadKey::Invalid(InvalidKey::TooLong)),
    ] {
        assert_eq!(decode(path), Route::BadKey(why), "{path}");
        assert!(!why.to_string().is_empty());
    }
    media(&encoded(KEY_BYTES_MAX), &"a".repeat(KEY_BYTES_MAX));
}

#[test]
fn methods_are_those_of_the_route() {
    assert_eq!(allowed_methods(&decode("/media/a")), [Method::GET, Method::HEAD, Method::OPTIONS]);
    assert_eq!(allowed_methods(&decode("/media/%")), [Method::GET, Method::HEAD, Method::OPTIONS]);
    assert_eq!(allowed_methods(&decode("/api/health")), [Method::GET, Method::HEAD]);
    assert!(allowed_methods(&decode("/nowhere")).is_empty());
}

#[test]
fn downloads_are_asked_for_plainly() {
    for query in ["download=1", "a=b&download=1", "download=1&a"] {
        assert!(wants_download(Some(query)), "{query}");
    }
    for query in ["", "download", "download=", "download=0", "download=11", "xdownload=1", "Download=1"] {
        assert!(!wants_download(Some(query)), "{query}");
    }
    assert!(!wants_download(None));
}

#[test]
fn listings_are_asked_for_by_prefix_and_page() {
    let query = |prefix: &str, after: Option<&str>, limit| {
        Ok(ObjectsQuery { prefix: prefix.to_owned(), after: after.map(str::to_owned), limit })
    };
    assert_eq!(objects_query(None), query("", None, 100));
    assert_eq!(objects_query(Some("")), query("", None, 100));
    assert_eq!(
        objects_query(Some("prefix=a%2Fb+c%2B&after=x%3D%3D&limit=7")),
        query("a/b c+", Some("x=="), 7)
    );
    assert_eq!(objects_query(Some("after=a=b&after=c&&x&prefix=")), query("", Some("a=b"), 100));
    assert_eq!(objects_query(Some("limit=1000&limit=x")), query("", None, 1000));
    assert_eq!(objects_query(Some("limit=")), query("", None, 100));
    for limit in ["0", "1001", "-1", "%2B5", "x", "99999999999999999999", "1e2"] {
        assert_eq!(objects_query(Some(&format!("limit={limit}"))), Err(BadQuery::Limit), "{limit}");
    }
    for broken in ["prefix=%", "after=%ff", "limit=%4"] {
        assert_eq!(objects_query(Some(broken)), Err(BadQuery::Encoding), "{broken}");
    }
    for nul in ["prefix=%00", "after=a%00b"] {
        assert_eq!(objects_query(Some(nul)), Err(BadQuery::Nul), "{nul}");
    }
}

proptest::proptest! {
    /// Whatever is encoded comes back, and nothing panics.
    #[test]
    fn encoded_keys_come_back(key in "[^\0]{1,40}", junk in ".*") {
        let encoded = percent_encoding::utf8_percent_encode(&key, percent_encoding::NON_ALPHANUMERIC);
        media(&format!("/media/{encoded}"), &key);
        let _ = decode(&junk);
        let _ = decode(&format!("/media/{junk}"));
        let _ = objects_query(Some(&junk));
    }
}

#[test]
fn only_a_request_straight_from_this_machine_names_it() {
    for (host, more, expected) in [
        ("localhost", None, true),
        ("localhost:8080", None, true),
        ("127.0.0.1:8080", None, true),
        ("[::1]:8080", None, true),
        ("10.0.0.1", None, false),
        ("media.example", None, false),
        ("localhost.example", None, false),
        ("", None, false),
        ("localhost", Some("x-forwarded-for"), false),
        ("localhost", Some("forwarded"), false),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().expect("a value"));
        if let Some(name) = more {
            headers.insert(name, "10.0.0.1".parse().expect("a value"));
        }
        assert_eq!(names_this_machine(&headers), expected, "{host} {more:?}");
    }
    assert!(!names_this_machine(&HeaderMap::new()));
}
