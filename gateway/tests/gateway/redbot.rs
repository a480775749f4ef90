//! What the Resource Expert Droid says of our answers: `tests/redbot/judge.py` prints its warnings and faults.

use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use crate::support::tools::root;
use crate::support::wire::head;
use crate::support::{Stand, WRITTEN};

/// What it says and we leave as it is, with the reason.
const ACCEPTED: [(&str, &str); 4] = [
    (
        "PARTIAL_WITHOUT_RANGE",
        "RFC 9110 §15.3.7.2: a multipart answer has Content-Range in its parts, and must not have one itself",
    ),
    (
        "FRESHNESS_HEURISTIC",
        "how long caches keep an object is for its writer and the operator to say (SEEKWAY_CACHE_CONTROL)",
    ),
    ("STATUS_BAD_REQUEST", "it is said of every 400, and the requests were bad"),
    (
        "CONTENT_TYPE_MISMATCH",
        "sniffpy 1.0 takes no bytes at all for a video once it is told that they are one",
    ),
];

/// One exchange on a connection of its own, as it was on the wire.
async fn exchange(stand: &Stand, name: &str, method: &str, target: &str, headers: &[(&str, &str)]) -> Value {
    let request =
        head(method, target, &[&[("Connection", "close"), ("User-Agent", "test")], headers].concat());
    let mut wire = stand.connect().await;
    wire.send(&request).await;
    json!({ "name": name, "request": request, "response": wire.until_closed().await })
}

/// Its opinion of `exchanges`, and of what it finds when it asks for `urls` itself.
fn judge(exchanges: &[Value], urls: &[String]) -> Vec<Value> {
    let python = root().join(".tools/redbot/bin/python");
    let mut judge = Command::new(&python)
        .arg(root().join("tests/redbot/judge.py"))
        .args(urls)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap_or_else(|error| panic!("cannot run {} ({error}); run scripts/setup test", python.display()));
    let asked = serde_json::to_vec(exchanges).expect("JSON");
    judge.stdin.take().expect("piped").write_all(&asked).expect("it reads");
    let output = judge.wait_with_output().expect("it ends");
    assert!(output.status.success(), "it failed; its words are above");
    serde_json::from_slice(&output.stdout).expect("JSON")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redbot_finds_no_fault_that_is_not_ours_to_make() {
    let stand = Stand::local(&[]);
    stand.put_pattern("film.mp4", 200_000, 81);
    let film = "/media/film.mp4";
    let etag = stand.ask("HEAD", film, &[]).await.header("etag").to_owned();
    let cors = [
        ("Origin", "https://player.example"),
        ("Access-Control-Request-Method", "GET"),
        ("Access-Control-Request-Headers", "range"),
    ];
    let mut exchanges = Vec::new();
    for (name, method, target, headers) in [
        ("full", "GET", film, &[][..]),
        ("range", "GET", film, &[("Range", "bytes=0-99")]),
        ("to the end", "GET", film, &[("Range", "bytes=199000-"), ("If-Range", &etag)]),
        ("for a page", "GET", film, &[("Range", "bytes=-99"), ("Origin", "https://player.example")]),
        ("multirange", "GET", film, &[("Range", "bytes=0-9,50000-50009")]),
        ("download", "GET", "/media/film.mp4?download=1", &[("Range", "bytes=0-9")]),
        ("head", "HEAD", film, &[]),
        ("not modified", "GET", film, &[("If-None-Match", &etag)]),
        ("not modified since", "GET", film, &[("If-Modified-Since", WRITTEN)]),
        (
            "modified since",
            "GET",
            film,
            &[("If-Modified-Since", "Wed, 21 Oct 2015 07:27:59 GMT"), ("Range", "bytes=0-9")],
        ),
        ("missing", "GET", "/media/none", &[]),
        ("head of what is missing", "HEAD", "/media/none", &[]),
        ("bad key", "GET", "/media/%", &[]),
        ("unsatisfiable", "GET", film, &[("Range", "bytes=200000-")]),
        ("precondition failed", "GET", film, &[("If-Match", "\"other\"")]),
        ("wrong method", "DELETE", film, &[]),
        ("options", "OPTIONS", film, &[]),
        ("preflight", "OPTIONS", film, &cors),
        ("server options", "OPTIONS", "*", &[]),
        ("console", "GET", "/", &[]),
        ("script", "GET", "/assets/console.js", &[]),
        ("style", "GET", "/assets/console.css", &[]),
        ("listing", "GET", "/api/objects?limit=1", &[]),
        ("bad query", "GET", "/api/objects?limit=0", &[]),
        ("health", "GET", "/api/health", &[]),
        ("ready", "HEAD", "/api/ready", &[]),
        ("nowhere", "GET", "/nowhere", &[]),
    ] {
        exchanges.push(exchange(&stand, name, method, target, headers).await);
    }
    let urls = [film, "/media/none", "/", "/assets/console.js", "/api/objects", "/api/health"];
    let urls = urls.map(|target| format!("http://{}{target}", stand.address()));
    let said = judge(&exchanges, &urls);
    let note = |row: &Value| row["note"].as_str().expect("a name").to_owned();
    let faults: Vec<_> =
        said.iter().filter(|row| ACCEPTED.iter().all(|(accepted, _)| note(row) != *accepted)).collect();
    assert!(faults.is_empty(), "{faults:#?}");
    for (accepted, _) in ACCEPTED {
        assert!(said.iter().any(|row| note(row) == accepted), "{accepted} is no longer said: strike it");
    }
}
