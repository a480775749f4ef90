//! Answers that a real server seldom gives: wrong ones, broken ones, late ones. A small server of our own
//! sends them byte for byte.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use seekway_storage::s3::S3Store;
use seekway_storage::{Attributes, Error, Object, ObjectStore, Page, Pin, Version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use crate::objects::{body, causes, collect, key};
use crate::s3::config;

/// Sends each request the next answer; the last one again and again. Ends with the test's runtime.
struct Server {
    endpoint: String,
    requests: Arc<Mutex<Vec<String>>>,
}

#[derive(Clone)]
struct Answer {
    text: String,
    /// Whether the connection stays open behind the text, without a further byte.
    stalls: bool,
}

// === impl Server ===

impl Server {
    async fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("bound"));
        let requests = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&requests);
        tokio::spawn(async move {
            loop {
                let Ok((connection, _)) = listener.accept().await else { return };
                tokio::spawn(answer(connection, answers.clone(), Arc::clone(&seen)));
            }
        });
        Self { endpoint, requests }
    }

    async fn store(&self, attempts_max: u32) -> S3Store {
        let mut config = config(self.endpoint.clone(), "key", "secret", "bucket");
        config.connect_timeout = Duration::from_millis(500);
        config.read_timeout = Duration::from_millis(300);
        config.attempts_max = attempts_max;
        S3Store::connect(config).await
    }

    fn requests(&self) -> Vec<String> {
        self.requests.lock().expect("no panic while it was held").clone()
    }
}

/// One request per connection: the answer closes it.
async fn answer(mut connection: TcpStream, answers: Vec<Answer>, seen: Arc<Mutex<Vec<String>>>) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        match connection.read_u8().await {
            Ok(byte) => request.push(byte),
            Err(_) => return,
        }
    }
    let number = {
        let mut seen = seen.lock().expect("no panic while it was held");
        seen.push(String::from_utf8_lossy(&request).to_lowercase());
        seen.len() - 1
    };
    let answer = &answers[number.min(answers.len() - 1)];
    if connection.write_all(answer.text.as_bytes()).await.is_ok() && answer.stalls {
        std::future::pending::<()>().await;
    }
}

fn answer_text(status: &str, headers: &str, body: &str) -> Answer {
    Answer { text: format!("HTTP/1.1 {status}\r\nConnection: close\r\n{headers}\r\n{body}"), stalls: false }
}

/// The right answer to `bytes=10-19` of a 100 byte object.
const RIGHT: &str = "ETag: \"v1\"\r\nContent-Range: bytes 10-19/100\r\nContent-Length: 10\r\n";

fn right() -> Answer {
    answer_text("206 Partial Content", RIGHT, "0123456789")
}

fn error(status: &str, code: &str) -> Answer {
    let body = format!("<Error><Code>{code}</Code><Message>No.</Message></Error>");
    answer_text(status, &format!("Content-Length: {}\r\n", body.len()), &body)
}

fn expected() -> Object {
    Object {
        version: Version { etag: "\"v1\"".into(), version_id: None },
        size: 100,
        last_modified: None,
        attributes: Attributes::default(),
        pin: Pin::default(),
    }
}

/// What a store makes of one answer to `bytes=10-19`, without retries.
async fn read(answer: Answer, expected: Option<&Object>) -> Result<Vec<u8>, Error> {
    let server = Server::start(vec![answer]).await;
    collect(server.store(1).await.get(&key("object"), 10..20, expected).await?).await
}

#[tokio::test]
async fn the_right_answer_is_believed_and_the_question_is_exact() {
    let server = Server::start(vec![right()]).await;
    let store = server.store(1).await;
    let get = store.get(&key("a b+c//ü"), 10..20, Some(&expected())).await.expect("right");
    assert_eq!(get.object.size, 100);
    assert_eq!(collect(get).await.expect("right"), b"0123456789");
    let request = &server.requests()[0];
    assert!(request.starts_with("get /bucket/a%20b%2bc//%c3%bc?"), "{request}");
    for header in ["range: bytes=10-19", "if-match: \"v1\"", "accept-encoding: identity"] {
        assert!(request.contains(&format!("\r\n{header}\r\n")), "{header} in {request}");
    }
}

#[tokio::test]
async fn answers_to_another_question_are_refused() {
    let swap = |from: &str, to: &str| {
        let headers = RIGHT.replace(from, to);
        assert_ne!(headers, RIGHT, "the lie is one");
        answer_text("206 Partial Content", &headers, "0123456789")
    };
    let lies = [
        ("another start", swap("bytes 10-19", "bytes 11-20")),
        ("another end", swap("bytes 10-19", "bytes 10-18")),
        ("more than asked", swap("bytes 10-19", "bytes 10-20")),
        ("an end before the total", swap("10-19/100", "10-14/100")),
        ("an impossible total", swap("/100", "/15")),
        ("an unknown total", swap("/100", "/*")),
        ("no range", swap("Content-Range", "X-Range")),
        ("another length", swap("Content-Length: 10", "Content-Length: 9")),
        ("no length", swap("Content-Length", "X-Length")),
        ("a weak tag", swap("\"v1\"", "W/\"v1\"")),
        ("a bare tag", swap("\"v1\"", "v1")),
        ("no tag", swap("ETag", "X-ETag")),
        ("a whole answer", answer_text("200 OK", RIGHT, "0123456789")),
        ("a whole object", answer_text("200 OK", "ETag: \"v1\"\r\nContent-Length: 10\r\n", "0123456789")),
    ];
    for (lie, answer) in lies {
        let error = read(answer, None).await.expect_err(lie);
        assert!(matches!(error, Error::Protocol(_)), "{lie}: {error:?}");
        assert!(error.is_retryable());
    }
}

#[tokio::test]
async fn a_server_that_ignores_if_match_is_caught() {
    let other = answer_text("206 Partial Content", &RIGHT.replace("v1", "v2"), "0123456789");
    let error = read(other, Some(&expected())).await.expect_err("another version");
    assert!(error.version_changed(), "{error:?}");
    let grown = answer_text("206 Partial Content", &RIGHT.replace("/100", "/200"), "0123456789");
    let error = read(grown, Some(&expected())).await.expect_err("the same version with another size");
    assert!(matches!(error, Error::Protocol(_)), "{error:?}");
}

#[tokio::test]
async fn a_body_that_ends_early_is_interrupted() {
    let cut = answer_text("206 Partial Content", RIGHT, "01234");
    let error = read(cut, None).await.expect_err("five bytes are missing");
    let Error::Interrupted(_) = &error else { panic!("{error:?}") };
    assert!(std::error::Error::source(&error).is_some(), "the cause is kept");
}

#[tokio::test]
async fn statuses_and_codes_have_a_meaning() {
    type Check = fn(&Error) -> bool;
    let unavailable: Check = |error| matches!(error, Error::Unavailable(_));
    let not_found: Check = |error| matches!(error, Error::NotFound);
    let forbidden: Check = |error| matches!(error, Error::Forbidden(_));
    let throttled: Check = |error| matches!(error, Error::Throttled(_));
    let other: Check = |error| matches!(error, Error::Other(_));
    let cases: [(&str, &str, Check); 14] = [
        ("412 Precondition Failed", "PreconditionFailed", Error::version_changed),
        ("404 Not Found", "NoSuchKey", not_found),
        ("404 Not Found", "NoSuchBucket", other),
        ("404 Not Found", "", not_found),
        ("403 Forbidden", "AccessDenied", forbidden),
        ("403 Forbidden", "SignatureDoesNotMatch", forbidden),
        ("400 Bad Request", "ExpiredToken", forbidden),
        ("500 Internal Server Error", "InternalError", unavailable),
        ("502 Bad Gateway", "", unavailable),
        ("503 Service Unavailable", "ServiceUnavailable", unavailable),
        ("503 Slow Down", "SlowDown", throttled),
        ("429 Too Many Requests", "", throttled),
        ("416 Range Not Satisfiable", "InvalidRange", |e| {
            matches!(e, Error::RangeNotSatisfiable { size: None })
        }),
        ("400 Bad Request", "SomethingNew", other),
    ];
    for (status, code, is_right) in cases {
        let error = read(error(status, code), None).await.expect_err(status);
        assert!(is_right(&error), "{status} {code}: {error:?}");
    }
    let sized =
        answer_text("416 Range Not Satisfiable", "Content-Range: bytes */7\r\nContent-Length: 0\r\n", "");
    assert!(matches!(read(sized, None).await, Err(Error::RangeNotSatisfiable { size: Some(7) })));
    let text = "<Error><Code>InvalidRange</Code><ActualObjectSize>7</ActualObjectSize></Error>";
    let sized =
        answer_text("416 Range Not Satisfiable", &format!("Content-Length: {}\r\n", text.len()), text);
    assert!(matches!(read(sized, None).await, Err(Error::RangeNotSatisfiable { size: Some(7) })));
}

/// Some servers look at `Range` before `If-Match`.
#[tokio::test]
async fn a_pinned_range_past_the_end_is_another_version() {
    let sized =
        answer_text("416 Range Not Satisfiable", "Content-Range: bytes */7\r\nContent-Length: 0\r\n", "");
    let empty = answer_text("200 OK", "ETag: \"v2\"\r\nContent-Length: 0\r\n", "");
    for answer in [sized, error("416 Range Not Satisfiable", "InvalidRange"), empty] {
        let error = read(answer, Some(&expected())).await.expect_err("it ends before the range");
        assert!(error.version_changed(), "{error:?}");
    }
    let server = Server::start(vec![right()]).await;
    let past = server.store(1).await.get(&key("object"), 100..110, Some(&expected())).await;
    assert!(matches!(past, Err(Error::RangeNotSatisfiable { size: Some(100) })), "{past:?}");
    assert!(server.requests().is_empty(), "the question itself was wrong");
}

#[tokio::test]
async fn refusals_say_what_the_store_said() {
    for (status, code, text) in [
        ("403 Forbidden", "SignatureDoesNotMatch", "403 SignatureDoesNotMatch: No. (bucket \"bucket\")"),
        ("503 Slow Down", "SlowDown", "503 SlowDown: No. (bucket \"bucket\")"),
        ("500 Oh", "InternalError", "500 InternalError: No. (bucket \"bucket\")"),
        ("400 Bad Request", "SomethingNew", "400 SomethingNew: No. (bucket \"bucket\")"),
        ("404 Not Found", "NoSuchBucket", "404 NoSuchBucket: No. (bucket \"bucket\")"),
    ] {
        let error = read(error(status, code), None).await.expect_err(status);
        assert_eq!(causes(&error), text);
    }
    let proxy = answer_text("502 Bad Gateway", "Content-Length: 4\r\n", "oops");
    let error = read(proxy, None).await.expect_err("no store");
    assert!(causes(&error).starts_with("502 without a code"), "{error:?}");
    let server = Server::start(vec![answer_text("403 Forbidden", "", "")]).await;
    let error = server.store(1).await.head(&key("object")).await.expect_err("refused");
    assert_eq!(causes(&error), "403 without a code (bucket \"bucket\")");
}

/// S3 repeats the session token in its answer to an expired one.
#[tokio::test]
async fn refusals_do_not_repeat_credentials() {
    let body = "<Error><Code>ExpiredToken</Code><Message>Old.</Message><Token-0>TOKEN</Token-0></Error>";
    let answer = answer_text("400 Bad Request", &format!("Content-Length: {}\r\n", body.len()), body);
    let error = read(answer, None).await.expect_err("refused");
    assert_eq!(causes(&error), "400 ExpiredToken: Old. (bucket \"bucket\")");
    assert!(!format!("{error:?}").contains("TOKEN"), "{error:?}");
}

#[tokio::test]
async fn a_refused_key_is_no_failure_of_the_store() {
    let refused = |error: &Error| matches!(error, Error::InvalidKey(_));
    for code in
        ["InvalidArgument", "InvalidURI", "InvalidObjectName", "XMinioInvalidObjectName", "KeyTooLongError"]
    {
        let found = read(error("400 Bad Request", code), None).await.expect_err(code);
        assert!(refused(&found), "{code}: {found:?}");
        // MinIO tells the code without a body.
        let head = answer_text("400 Bad Request", &format!("x-minio-error-code: {code}\r\n"), "");
        let server = Server::start(vec![head]).await;
        let found = server.store(1).await.head(&key("object")).await.expect_err(code);
        assert!(refused(&found), "head, {code}: {found:?}");
        // Without a key in the question it is about something else.
        let page = Page { after: None, limit: 1 };
        let server = Server::start(vec![error("400 Bad Request", "InvalidArgument")]).await;
        let found = server.store(1).await.list("", page).await.expect_err(code);
        assert!(matches!(found, Error::Other(_)), "list: {found:?}");
    }
    for (name, is_refused) in [("../object", true), ("a/./b", true), ("object", false), ("a..b", false)] {
        for code in ["InvalidRequest", ""] {
            let server = Server::start(vec![error("400 Bad Request", code)]).await;
            let found = server.store(1).await.get(&key(name), 0..1, None).await.expect_err(name);
            assert_eq!(refused(&found), is_refused, "{name}, {code}: {found:?}");
        }
    }
    let server = Server::start(vec![error("400 Bad Request", "ExpiredToken")]).await;
    let found = server.store(1).await.get(&key("../object"), 0..1, None).await.expect_err("refused");
    assert!(matches!(found, Error::Forbidden(_)), "a clear word counts: {found:?}");
    for (argument, is_key) in [("Key", true), ("key", true), ("Authorization", false), ("Range", false)] {
        let body =
            format!("<Error><Code>InvalidArgument</Code><ArgumentName>{argument}</ArgumentName></Error>");
        let answer = answer_text("400 Bad Request", &format!("Content-Length: {}\r\n", body.len()), &body);
        let found = read(answer, None).await.expect_err(argument);
        assert_eq!(refused(&found), is_key, "{argument}: {found:?}");
    }
}

/// A header can tell what an answer to HEAD cannot tell in a body.
#[tokio::test]
async fn a_missing_bucket_is_told_from_a_missing_object_where_the_server_tells() {
    for (code, is_missing_object) in [("NoSuchKey", true), ("NoSuchBucket", false)] {
        let answer = answer_text("404 Not Found", &format!("x-minio-error-code: {code}\r\n"), "");
        let server = Server::start(vec![answer]).await;
        let error = server.store(1).await.head(&key("object")).await.expect_err(code);
        assert_eq!(error.is_not_found(), is_missing_object, "{code}: {error:?}");
    }
}

/// An answer to HEAD has no body, so no code.
#[tokio::test]
async fn head_knows_statuses_without_codes() {
    for (status, is_right) in [
        ("404 Not Found", (|error| matches!(error, Error::NotFound)) as fn(&Error) -> bool),
        ("403 Forbidden", |error| matches!(error, Error::Forbidden(_))),
        ("503 Slow Down", |error| matches!(error, Error::Unavailable(_))),
    ] {
        let server = Server::start(vec![answer_text(status, "", "")]).await;
        let error = server.store(1).await.head(&key("object")).await.expect_err(status);
        assert!(is_right(&error), "{status}: {error:?}");
    }
    let weak = answer_text("200 OK", "ETag: W/\"v1\"\r\nContent-Length: 5\r\n", "");
    let server = Server::start(vec![weak]).await;
    let error = server.store(1).await.head(&key("object")).await.expect_err("a weak tag");
    assert!(matches!(error, Error::Protocol(_)), "{error:?}");
}

#[tokio::test]
async fn an_empty_whole_is_an_empty_object() {
    let empty = answer_text("200 OK", "ETag: \"v1\"\r\nContent-Length: 0\r\n", "");
    assert!(matches!(read(empty, None).await, Err(Error::RangeNotSatisfiable { size: Some(0) })));
}

#[tokio::test]
async fn silence_is_a_timeout() {
    let mut late = answer_text("206 Partial Content", RIGHT, "01234");
    late.stalls = true;
    let silent = Answer { text: String::new(), stalls: true };
    for (answer, wanted) in [(silent, "no first byte"), (late, "a pause in the body")] {
        let started = Instant::now();
        let error = read(answer, None).await.expect_err("silence");
        assert!(matches!(error, Error::Timeout(what) if what == wanted), "{error:?}");
        let waited = started.elapsed();
        assert!(waited >= Duration::from_millis(250), "{waited:?}");
    }
}

#[tokio::test]
async fn a_closed_port_is_unavailable() {
    let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let endpoint = format!("http://{}", closed.local_addr().expect("bound"));
    drop(closed);
    let mut config = config(endpoint, "key", "secret", "bucket");
    config.attempts_max = 1;
    let error = S3Store::connect(config).await.head(&key("object")).await.expect_err("nobody is there");
    assert!(matches!(error, Error::Unavailable(_)), "{error:?}");
}

/// A listener whose queue of connections is full does not answer the next one.
#[tokio::test]
async fn a_connection_that_does_not_come_is_a_timeout() {
    let socket = TcpSocket::new_v4().expect("a socket");
    socket.bind("127.0.0.1:0".parse().expect("an address")).expect("bound");
    let full = socket.listen(1).expect("listens");
    let address = full.local_addr().expect("bound");
    let mut queue = Vec::new();
    while let Ok(connection) =
        tokio::time::timeout(Duration::from_millis(200), TcpStream::connect(address)).await
    {
        queue.push(connection.expect("connected"));
    }
    let mut config = config(format!("http://{address}"), "key", "secret", "bucket");
    config.connect_timeout = Duration::from_millis(300);
    config.attempts_max = 1;
    let error = S3Store::connect(config).await.head(&key("object")).await.expect_err("nobody accepts");
    assert!(matches!(error, Error::Timeout("no connection")), "{error:?}");
}

#[tokio::test]
async fn trouble_that_passes_is_retried() {
    let server =
        Server::start(vec![error("503 Slow Down", "SlowDown"), error("500 Oh", "InternalError"), right()])
            .await;
    // Reads are tried once by the client itself.
    let store = crate::origin::around(server.store(3).await);
    let get = store.get(&key("object"), 10..20, None).await.expect("the third attempt");
    assert_eq!(collect(get).await.expect("right"), b"0123456789");
    assert_eq!(server.requests().len(), 3);
    let server = Server::start(vec![error("500 Oh", "InternalError")]).await;
    server.store(2).await.delete(&key("object")).await.expect_err("every attempt fails");
    assert_eq!(server.requests().len(), 2, "attempts_max counts all of them");
}

#[tokio::test]
async fn a_store_can_say_when_to_come_back() {
    let slow = |headers: &str| answer_text("503 Slow Down", &format!("{headers}Content-Length: 0\r\n"), "");
    for (answer, asked) in [(slow("Retry-After: 7\r\n"), Some(7)), (error("429 No", "TooManyRequests"), None)]
    {
        let error = read(answer, None).await.expect_err("throttled");
        let Error::Throttled(throttle) = &error else { panic!("{error:?}") };
        assert_eq!(throttle.retry_after(), asked.map(Duration::from_secs));
    }
}

#[tokio::test]
async fn refusals_are_not_retried() {
    for (status, code) in
        [("412 No", "PreconditionFailed"), ("404 No", "NoSuchKey"), ("403 No", "AccessDenied")]
    {
        let server = Server::start(vec![error(status, code)]).await;
        crate::origin::around(server.store(3).await)
            .get(&key("object"), 10..20, None)
            .await
            .expect_err(status);
        assert_eq!(server.requests().len(), 1, "{status}");
    }
}

#[tokio::test]
async fn listed_keys_are_decoded_once_and_bad_ones_skipped() {
    let keys = ["a+b", "a%2Bb", "%252B", "%E6%97%A5", "%FF", "bad%00nul"];
    let contents = keys.map(|key| format!("<Contents><Key>{key}</Key><Size>1</Size></Contents>")).concat();
    let listing = |encoding: &str| {
        let body = format!(
            "<ListBucketResult><IsTruncated>true</IsTruncated><NextContinuationToken>t/1+=</NextContinuationToken>\
             {encoding}{contents}</ListBucketResult>"
        );
        answer_text("200 OK", &format!("Content-Length: {}\r\n", body.len()), &body)
    };
    let page = Page { after: Some("t/0+=".into()), limit: 5000 };
    let server = Server::start(vec![listing("<EncodingType>url</EncodingType>")]).await;
    let listed = server.store(1).await.list("a+b/", page.clone()).await.expect("lists");
    let names: Vec<_> = listed.entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(names, ["a b", "a+b", "%2B", "日"]);
    assert_eq!(listed.next.as_deref(), Some("t/1+="));
    let request = &server.requests()[0];
    for parameter in
        ["encoding-type=url", "continuation-token=t%2f0%2b%3d", "prefix=a%2bb%2f", "max-keys=1000"]
    {
        assert!(request.contains(parameter), "{parameter} in {request}");
    }
    let server = Server::start(vec![listing("")]).await;
    let listed = server.store(1).await.list("", page).await.expect("lists");
    assert_eq!(listed.entries[1].key.as_str(), "a%2Bb", "a server that does not encode");
}

/// The attributes go out as headers, and a small body goes in one request.
#[tokio::test]
async fn attributes_travel_with_a_small_body() {
    let server =
        Server::start(vec![answer_text("200 OK", "ETag: \"v1\"\r\nContent-Length: 0\r\n", "")]).await;
    let attributes = Attributes {
        content_type: Some("video/mp4".into()),
        cache_control: Some("max-age=60".into()),
        content_encoding: Some("gzip".into()),
        content_disposition: Some("inline".into()),
        content_language: Some("de".into()),
    };
    let version =
        server.store(1).await.put(&key("object"), &attributes, body(b"bytes")).await.expect("stored");
    assert_eq!(&*version.etag, "\"v1\"");
    let request = &server.requests()[0];
    for header in [
        "content-type: video/mp4",
        "cache-control: max-age=60",
        "content-encoding: gzip",
        "content-disposition: inline",
        "content-language: de",
        "content-length: 5",
    ] {
        assert!(request.contains(&format!("\r\n{header}\r\n")), "{header} in {request}");
    }
}
