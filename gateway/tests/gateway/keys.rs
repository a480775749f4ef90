//! Keys: decoded exactly once, asked of the store as they are, and no way out of a local folder.

use std::fs;
use std::os::unix::fs::symlink;

use crate::support::{BUCKET, Stand, assert_pattern};

const SECRET: &str = "the secret beside the folder";

/// A path as sent, and the key that it names.
const ODD: &[(&str, &str)] = &[
    ("/media/plain.mp4", "plain.mp4"),
    ("/media/a%20b.mp4", "a b.mp4"),
    ("/media/a+b.mp4", "a+b.mp4"),
    ("/media/a%2Bb%2bc.mp4", "a+b+c.mp4"),
    ("/media/100%25.mp4", "100%.mp4"),
    ("/media/%2525.mp4", "%25.mp4"),
    ("/media/%252e%252e.mp4", "%2e%2e.mp4"),
    ("/media/%22quoted%22'(1).mp4", "\"quoted\"'(1).mp4"),
    ("/media/%E6%97%A5%E6%9C%AC/%C3%A9.mp4", "日本/é.mp4"),
    ("/media/a%2Fb.mp4", "a/b.mp4"),
    ("/media/what%3F%23.mp4", "what?#.mp4"),
    ("/media/@:!$&*,;=~_-.mp4", "@:!$&*,;=~_-.mp4"),
    ("/media/%3Cxml%3E&amp;.mp4", "<xml>&amp;.mp4"),
    ("/media/line%0Abreak.mp4", "line\nbreak.mp4"),
    ("/media/api/health", "api/health"),
    ("/media/media/x", "media/x"),
];

/// Plain parts of a key in a bucket, and nothing that a folder could have.
const ODD_ON_S3: &[(&str, &str)] = &[
    ("/media//leading.mp4", "/leading.mp4"),
    ("/media/a//b.mp4", "a//b.mp4"),
    ("/media/a/./b.mp4", "a/./b.mp4"),
    ("/media/a/../b.mp4", "a/../b.mp4"),
    ("/media/%2e%2e/b.mp4", "../b.mp4"),
    ("/media/back%5Cslash.mp4", "back\\slash.mp4"),
    ("/media/folder/", "folder/"),
];

async fn check(stand: &Stand, (target, key): (&str, &str), seed: u64) {
    stand.put_pattern(key, 100, seed);
    if stand.is_s3() {
        stand.origin().reset_counts();
    }
    let answer = stand.get(target, &[("Range", "bytes=10-19")]).await;
    assert_eq!((answer.status, answer.body.len()), (206, 10), "{target}: {answer:?}");
    assert_pattern(seed, 10, &answer.body, target);
    if stand.is_s3() {
        let asked: Vec<_> =
            stand.origin().log().into_iter().map(|logged| (logged.bucket, logged.key)).collect();
        assert_eq!(asked, [(BUCKET.to_owned(), key.to_owned())], "{target}");
    }
}

#[tokio::test]
async fn odd_keys_are_decoded_once_and_asked_for_as_they_are() {
    for stand in Stand::both(&[]) {
        for (nth, odd) in (1..).zip(ODD) {
            check(&stand, *odd, nth).await;
        }
    }
    let stand = Stand::s3(&[]);
    for (nth, odd) in (100..).zip(ODD_ON_S3) {
        check(&stand, *odd, nth).await;
    }
}

/// What no store can have is refused before any store is asked.
#[tokio::test]
async fn what_is_no_key_is_refused() {
    for stand in Stand::both(&[]) {
        let long = format!("/media/{}", "a".repeat(1025));
        for target in [
            "/media/",
            "/media/%",
            "/media/a%4",
            "/media/%zz",
            "/media/%ff",
            "/media/a%00b",
            "/media/%c0%ae",
            &long,
        ] {
            let answer = stand.get(target, &[]).await;
            assert_eq!(answer.status, 400, "{target}");
            answer.problem();
        }
        for target in ["/media", "/Media/plain.mp4", "//media/plain.mp4", "/"] {
            let answer = stand.get(target, &[]).await;
            assert!(!answer.has("accept-ranges"), "{target}");
        }
        if stand.is_s3() {
            assert_eq!(stand.origin().counts().requests, 0);
        }
    }
}

#[tokio::test]
async fn nothing_leads_out_of_the_folder() {
    let stand = Stand::local(&[]);
    let media = stand.media();
    let outside = media.parent().expect("a folder above").join("secret");
    fs::write(&outside, SECRET).expect("a new file");
    fs::create_dir_all(media.join("sub")).expect("a new folder");
    fs::write(media.join("sub/inside"), "inside").expect("a new file");
    symlink(&outside, media.join("link")).expect("a new link");
    symlink("..", media.join("sub/up")).expect("a new link");
    symlink("../..", media.join("sub/upper")).expect("a new link");
    let absolute = outside.to_str().expect("a plain name").to_owned();
    assert_eq!(stand.get("/media/sub/inside", &[]).await.body, b"inside");
    let mut targets: Vec<String> = [
        "../secret",
        "%2e%2e/secret",
        "%2E%2e%2Fsecret",
        "..%2fsecret",
        ".%2e/secret",
        "sub/../../secret",
        "sub/%2e%2e/%2e%2e/secret",
        "sub/..%2f..%2fsecret",
        "./../secret",
        "..%5csecret",
        "sub%5c..%5c..%5csecret",
        "%252e%252e/secret",
        "..;/secret",
        "..%00/secret",
        "sub/inside%00/../../secret",
        "%c0%ae%c0%ae/secret",
        "sub//../../secret",
        "/../secret",
        "link",
        "link/",
        "sub/up/link",
        "sub/upper/secret",
        "sub",
        "sub/",
        "sub/.",
        ".",
        "..",
        ".seekway",
        ".seekway/x",
        "%2eseekway/",
        "/etc/passwd",
        "%2fetc%2fpasswd",
        "file:///etc/passwd",
    ]
    .map(|path| format!("/media/{path}"))
    .into();
    targets.push(format!("/media{absolute}"));
    targets.push(format!("/media/{absolute}"));
    targets.push(format!("/media/{}", absolute.replace('/', "%2f")));
    targets.extend(
        ["/../secret", "/media/../../secret", "/assets/../secret", "/assets/%2e%2e/secret"]
            .map(str::to_owned),
    );
    for target in targets {
        for headers in [&[][..], &[("Range", "bytes=0-")]] {
            let answer = stand.get(&target, headers).await;
            assert!(answer.status == 400 || answer.status == 404, "{target}: {answer:?}");
            let body = String::from_utf8_lossy(&answer.body);
            for leaked in [SECRET, "root:", &absolute, "inside\0"] {
                assert!(!body.contains(leaked), "{target}: {body}");
            }
        }
        assert!((400..500).contains(&stand.ask("HEAD", &target, &[]).await.status), "{target}");
    }
    // Bytes that are in no path at all.
    for target in ["/media/..\\secret", "/media/a\0b"] {
        let mut wire = stand.connect().await;
        wire.send(crate::support::wire::head("GET", target, &[])).await;
        let answer = wire.answer("GET").await;
        assert!((400..500).contains(&answer.status), "{target}: {answer:?}");
    }
}

/// Unless the operator says otherwise, nobody lists keys through a proxy in front.
#[tokio::test]
async fn keys_are_listed_for_this_machine_only() {
    let stand = Stand::local(&[("SEEKWAY_LISTING", "auto")]);
    let ask = async |headers: &str| {
        let mut wire = stand.connect().await;
        wire.send(format!("GET /api/objects HTTP/1.1\r\n{headers}\r\n\r\n")).await;
        wire.answer("GET").await.status
    };
    assert_eq!(ask("Host: localhost:8080").await, 200);
    assert_eq!(ask("Host: media.example").await, 404);
    assert_eq!(ask("Host: localhost\r\nX-Forwarded-For: 192.0.2.1").await, 404);
}

/// The listed URLs are the ones that answer.
#[tokio::test]
async fn listed_urls_are_those_that_answer() {
    for stand in Stand::both(&[]) {
        for (nth, (_, key)) in (1..).zip(ODD) {
            stand.put_pattern(key, 100, nth);
        }
        let listing = stand.get("/api/objects?limit=1000", &[]).await;
        assert_eq!(listing.status, 200, "{listing:?}");
        let listing: serde_json::Value = serde_json::from_slice(&listing.body).expect("JSON");
        let objects = listing["objects"].as_array().expect("a list");
        assert_eq!(objects.len(), ODD.len());
        for object in objects {
            let (key, url) = (object["key"].as_str().expect("text"), object["url"].as_str().expect("text"));
            let seed = (1..).zip(ODD).find(|(_, (_, odd))| *odd == key).expect("one of ours").0;
            let answer = stand.get(url, &[]).await;
            assert_eq!((answer.status, object["size"].as_u64()), (200, Some(100)), "{url}");
            assert_pattern(seed, 0, &answer.body, url);
        }
    }
    let off = Stand::local(&[("SEEKWAY_LISTING", "off")]);
    assert_eq!(off.get("/api/objects", &[]).await.status, 404);
}
