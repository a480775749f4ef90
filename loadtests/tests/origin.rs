//! The origin answers like S3, and breaks exactly as it is told to.

use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode, header};
use seekway_loadtests::{
    Error,
    client::{Answer, Client},
    origin::{Fault, Object, Origin, Running, Shape},
    pattern,
};

const KEY: &str = "/media/film.mp4";
const SIZE: u64 = 1_000_000;
const SEED: u64 = 5;

fn origin() -> Origin {
    let origin = Origin::start(Shape::default()).expect("a free port");
    origin.put("media", "film.mp4", Object::pattern(SIZE, SEED).with_content_type("video/mp4"));
    origin
}

async fn client(origin: &Origin) -> Client {
    Client::connect(origin.address()).await.expect("the origin accepts")
}

async fn get(client: &mut Client, headers: &[(header::HeaderName, &str)]) -> (Answer, Bytes) {
    let headers: Vec<_> = headers.iter().map(|(name, value)| (name.clone(), (*value).to_owned())).collect();
    client.request(Method::GET, KEY, &headers, "").await.expect("an answer")
}

fn etag() -> String {
    Object::pattern(SIZE, SEED).etag().to_owned()
}

#[tokio::test]
async fn ranges_preconditions_and_their_statuses() {
    let origin = origin();
    let mut client = client(&origin).await;
    let etag = etag();
    let past = "Thu, 01 Jan 2015 00:00:00 GMT";
    let future = "Thu, 01 Jan 2099 00:00:00 GMT";
    let range = |value| vec![(header::RANGE, value)];
    for (headers, status, content_range, body) in [
        (vec![], 200, "", Some(0..SIZE)),
        (range("bytes=0-0"), 206, "bytes 0-0/1000000", Some(0..1)),
        (range("bytes=100-299999"), 206, "bytes 100-299999/1000000", Some(100..300_000)),
        (range("bytes=999990-"), 206, "bytes 999990-999999/1000000", Some(999_990..SIZE)),
        (range("bytes=999990-2000000"), 206, "bytes 999990-999999/1000000", Some(999_990..SIZE)),
        (range("bytes=-7"), 206, "bytes 999993-999999/1000000", Some(999_993..SIZE)),
        (range("bytes=-2000000"), 206, "bytes 0-999999/1000000", Some(0..SIZE)),
        (range("bytes=1000000-"), 416, "bytes */1000000", None),
        (range("bytes=-0"), 416, "bytes */1000000", None),
        (range("bytes=0-1,3-4"), 200, "", Some(0..SIZE)),
        (
            vec![(header::IF_MATCH, &*etag), (header::RANGE, "bytes=5-9")],
            206,
            "bytes 5-9/1000000",
            Some(5..10),
        ),
        (vec![(header::IF_MATCH, "\"a\", *")], 412, "", None),
        (vec![(header::IF_MATCH, "*")], 200, "", Some(0..SIZE)),
        (vec![(header::IF_MATCH, "\"other\""), (header::RANGE, "bytes=2000000-")], 412, "", None),
        (vec![(header::IF_NONE_MATCH, &*etag)], 304, "", None),
        (
            vec![(header::IF_NONE_MATCH, "\"other\""), (header::IF_MODIFIED_SINCE, future)],
            200,
            "",
            Some(0..SIZE),
        ),
        (vec![(header::IF_MODIFIED_SINCE, future)], 304, "", None),
        (vec![(header::IF_MODIFIED_SINCE, past)], 200, "", Some(0..SIZE)),
        (vec![(header::IF_UNMODIFIED_SINCE, past)], 412, "", None),
        (vec![(header::IF_UNMODIFIED_SINCE, future)], 200, "", Some(0..SIZE)),
    ] {
        let (answer, received) = get(&mut client, &headers).await;
        assert_eq!(answer.status.as_u16(), status, "{headers:?}");
        assert_eq!(answer.header(header::CONTENT_RANGE), content_range, "{headers:?}");
        if let Some(range) = body {
            assert_eq!(received.len() as u64, range.end - range.start, "{headers:?}");
            assert_eq!(pattern::verify(SEED, range.start, &received), None, "{headers:?}");
            assert_eq!(answer.header(header::ETAG), etag, "{headers:?}");
            assert_eq!(answer.header(header::CONTENT_TYPE), "video/mp4");
            assert_eq!(answer.header(header::ACCEPT_RANGES), "bytes");
        }
    }
    assert_eq!(origin.counts().connections, 1, "errors must not end the connection");
}

#[tokio::test]
async fn errors_are_documents_and_heads_have_no_body() {
    let origin = origin();
    let mut client = client(&origin).await;
    for (path, status, code) in [
        ("/media/none", 404, "<Code>NoSuchKey</Code>"),
        ("/nowhere/none", 404, "<Code>NoSuchBucket</Code>"),
        ("/media/film.mp4%2F", 404, "<Key>film.mp4/</Key>"),
    ] {
        let (answer, body) = client.request(Method::GET, path, &[], "").await.unwrap();
        assert_eq!(answer.status.as_u16(), status, "{path}");
        assert!(String::from_utf8_lossy(&body).contains(code), "{path}: {body:?}");
    }
    let (answer, body) = client.request(Method::HEAD, KEY, &[], "").await.unwrap();
    assert_eq!((answer.status, answer.header(header::CONTENT_LENGTH)), (StatusCode::OK, "1000000"));
    assert_eq!(body.len(), 0);
    let (answer, _) = client.request(Method::HEAD, "/media/none", &[], "").await.unwrap();
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let (answer, _) = client.request(Method::PUT, KEY, &[], "body").await.unwrap();
    assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED);
}

#[tokio::test]
async fn keys_are_decoded_once_and_objects_can_live_in_memory() {
    let origin = origin();
    let mut client = client(&origin).await;
    for (key, path) in [("a b+c%.ts", "/media/a%20b+c%25.ts"), ("ü//..", "/media/%C3%BC//..")] {
        origin.put("media", key, Object::bytes(key.to_owned()).with_etag("\"e\""));
        let (answer, body) = client.request(Method::GET, path, &[], "").await.unwrap();
        assert_eq!((answer.status, &body[..]), (StatusCode::OK, key.as_bytes()));
        assert_eq!(answer.header(header::ETAG), "\"e\"");
    }
    origin.put("media", "empty", Object::bytes(""));
    let (answer, body) = client.request(Method::GET, "/media/empty", &[], "").await.unwrap();
    assert_eq!((answer.status, body.len()), (StatusCode::OK, 0));
    let (answer, _) = client.get_range("/media/empty", 0..1).await.unwrap();
    assert_eq!(answer.status, StatusCode::RANGE_NOT_SATISFIABLE);
}

#[tokio::test]
async fn lists_are_sorted_filtered_and_paged() {
    let origin = origin();
    for key in ["a/1", "a/2", "a/3 <&>", "b"] {
        origin.put("media", key, Object::bytes(key));
    }
    let mut client = client(&origin).await;
    let mut keys = async |query: &str| {
        let path = format!("/media/?list-type=2&{query}");
        let (answer, body) = client.request(Method::GET, &path, &[], "").await.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{body:?}");
        let text = String::from_utf8(body.to_vec()).unwrap();
        let tags = |tag: &str| {
            let opening = format!("<{tag}>");
            let after = text.split(&opening).skip(1);
            after.map(|rest| rest.split("</").next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        (tags("Key"), tags("NextContinuationToken"))
    };
    assert_eq!(keys("").await.0, ["a/1", "a/2", "a/3 &lt;&amp;&gt;", "b", "film.mp4"]);
    assert_eq!(keys("prefix=a%2F&start-after=a/1").await.0, ["a/2", "a/3 &lt;&amp;&gt;"]);
    let (page, next) = keys("prefix=a/&max-keys=2").await;
    assert_eq!((page, &*next), (vec!["a/1".to_owned(), "a/2".to_owned()], &["a/2".to_owned()][..]));
    let (page, next) = keys("prefix=a/&max-keys=2&continuation-token=a/2").await;
    assert_eq!((page.len(), next.len()), (1, 0));
}

#[tokio::test]
async fn statuses_are_injected_for_chosen_requests() {
    let origin = origin();
    let mut client = client(&origin).await;
    origin.fault(Fault::Status(StatusCode::SERVICE_UNAVAILABLE).on("media", "film.mp4").skip(1).times(1));
    origin.fault(Fault::Status(StatusCode::FORBIDDEN).times(1));
    let mut statuses = Vec::new();
    for _ in 0..4 {
        let (answer, body) = get(&mut client, &[]).await;
        statuses.push(answer.status.as_u16());
        if answer.status == StatusCode::SERVICE_UNAVAILABLE {
            assert!(String::from_utf8_lossy(&body).contains("<Code>SlowDown</Code>"));
        }
    }
    assert_eq!(statuses, [403, 503, 200, 200]);
    assert_eq!(origin.counts().errors, 2);

    origin.set_shape(Shape { error_rate: 1.0, ..Shape::default() });
    assert_eq!(get(&mut client, &[]).await.0.status, StatusCode::SERVICE_UNAVAILABLE);
}

#[tokio::test]
async fn a_truncated_body_ends_at_the_exact_byte() {
    let origin = origin();
    for after in [0, 1, 12_345, 300_000] {
        origin.fault(Fault::Truncate(after).times(1));
        let mut received = 0;
        let outcome = client(&origin)
            .await
            .get_range_with(KEY, 10..500_010, |offset, data| {
                assert_eq!(pattern::verify(SEED, 10 + offset, data), None);
                received += data.len() as u64;
            })
            .await;
        assert!(matches!(outcome, Err(Error::Http(_))), "{outcome:?}");
        assert_eq!(received, after);
        assert_eq!(origin.log().last().unwrap().body_bytes, after);
    }
    let (answer, _) = client(&origin).await.get_range(KEY, 0..500_000).await.unwrap();
    assert_eq!(answer.bytes, 500_000, "the fault is used up");

    origin.fault(Fault::Close.times(1));
    assert!(client(&origin).await.get_range(KEY, 0..1).await.is_err());
}

#[tokio::test]
async fn hanging_requests_wait_for_their_release() {
    let origin = origin();
    for fault in [Fault::Hang, Fault::HangAfter(0), Fault::HangAfter(70_000)] {
        let sent_before = if let Fault::HangAfter(bytes) = fault { bytes } else { 0 };
        origin.reset_counts();
        origin.fault(fault.times(1));
        let mut connection = client(&origin).await;
        let reading = tokio::spawn(async move { connection.get_range(KEY, 0..200_000).await.unwrap() });
        origin.until(|counts| counts.in_flight == 1 && counts.body_bytes == sent_before).await.unwrap();
        // That it waits cannot be seen without waiting; a body that does not hang is through long before.
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert_eq!((reading.is_finished(), origin.counts().body_bytes), (false, sent_before));
        origin.release_hung();
        let (answer, body) = reading.await.unwrap();
        assert_eq!(answer.bytes, 200_000);
        assert_eq!(pattern::verify(SEED, 0, &body), None);
    }

    origin.fault(Fault::Hang);
    let mut connection = client(&origin).await;
    let reading = tokio::spawn(async move { connection.get_range(KEY, 0..1).await });
    origin.until(|counts| counts.in_flight == 1).await.unwrap();
    reading.abort();
    origin.until(|counts| counts.in_flight == 0).await.expect("a client that leaves ends its request");
}

#[tokio::test]
async fn headers_lie_where_told_to() {
    let origin = origin();
    let mut client = client(&origin).await;
    let etag = etag();
    let weak = format!("W/{etag}");
    for (fault, status, content_range, expected_etag) in [
        (Fault::ShiftContentRange(64), 206, "bytes 74-83/1000000", &*etag),
        (Fault::WrongTotal(77), 206, "bytes 10-19/77", &etag),
        (Fault::IgnoreRange, 200, "", &etag),
        (Fault::MissingEtag, 206, "bytes 10-19/1000000", ""),
        (Fault::WeakEtag, 206, "bytes 10-19/1000000", &weak),
        (Fault::WrongEtag("\"x\"".to_owned()), 206, "bytes 10-19/1000000", "\"x\""),
        (Fault::IgnoreIfMatch, 206, "bytes 10-19/1000000", &etag),
    ] {
        let if_match = if matches!(fault, Fault::IgnoreIfMatch) { "\"other\"" } else { &etag };
        origin.fault(fault.clone().times(1));
        let headers = [(header::RANGE, "bytes=10-19"), (header::IF_MATCH, if_match)];
        let (answer, body) = get(&mut client, &headers).await;
        assert_eq!(answer.status.as_u16(), status, "{fault:?}");
        assert_eq!(answer.header(header::CONTENT_RANGE), content_range, "{fault:?}");
        assert_eq!(answer.header(header::ETAG), expected_etag, "{fault:?}");
        // Never the bytes: those are always the ones that were asked for.
        let (start, len) = if status == 200 { (0, 1_000_000) } else { (10, 10) };
        assert_eq!((body.len(), pattern::verify(SEED, start, &body)), (len, None), "{fault:?}");
    }
}

#[tokio::test]
async fn a_replaced_object_refuses_its_old_etag() {
    let origin = origin();
    let mut client = client(&origin).await;
    let old = etag();
    for (running, seed_after) in [(Running::KeepOld, SEED), (Running::SwitchToNew, 6)] {
        origin.put_pattern("media", "film.mp4", SIZE, SEED);
        let with = Object::pattern(SIZE, 6);
        origin.fault(Fault::Replace { after: 1000, with, running }.times(1));
        let (answer, body) = client.get_range(KEY, 0..300_000).await.unwrap();
        assert_eq!(answer.header(header::ETAG), old, "the head was sent before");
        assert_eq!(pattern::verify(SEED, 0, &body[..1000]), None);
        assert_eq!(pattern::verify(seed_after, 1000, &body[1000..]), None, "{running:?}");

        let (answer, _) = get(&mut client, &[(header::IF_MATCH, &old), (header::RANGE, "bytes=0-9")]).await;
        assert_eq!(answer.status, StatusCode::PRECONDITION_FAILED);
        let (answer, body) = client.get_range(KEY, 0..10).await.unwrap();
        assert_ne!(answer.header(header::ETAG), old);
        assert_eq!(pattern::verify(6, 0, &body), None);
    }
    assert!(origin.remove("media", "film.mp4"));
    assert_eq!(client.get_range(KEY, 0..10).await.unwrap().0.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_body_switched_for_a_shorter_object_breaks() {
    let origin = origin();
    let with = Object::bytes(vec![1; 1500]);
    origin.fault(Fault::Replace { after: 1000, with, running: Running::SwitchToNew });
    assert!(client(&origin).await.get_range(KEY, 0..10_000).await.is_err());
}

#[tokio::test]
async fn traffic_is_counted_and_logged() {
    let origin = origin();
    let mut one = client(&origin).await;
    let mut other = client(&origin).await;
    one.get_range(KEY, 0..100).await.unwrap();
    other.get_range(KEY, 5..10).await.unwrap();
    get(&mut other, &[(header::IF_MATCH, "\"no\"")]).await;
    one.request(Method::HEAD, KEY, &[], "").await.unwrap();
    one.request(Method::GET, "/media?list-type=2", &[], "").await.unwrap();
    let counts = origin.until(|counts| counts.in_flight == 0).await.unwrap();
    assert_eq!((counts.requests, counts.gets, counts.heads, counts.lists), (5, 3, 1, 1));
    assert_eq!((counts.body_bytes, counts.errors, counts.connections), (105, 1, 2));
    let log = origin.log();
    assert_eq!(
        (log[1].range.as_deref(), log[1].status, log[1].body_bytes),
        (Some("bytes=5-9"), Some(206), 5)
    );
    assert_eq!((log[2].if_match.as_deref(), log[2].status), (Some("\"no\""), Some(412)));
    assert_eq!((&*log[3].method, &*log[3].key), ("HEAD", "film.mp4"));

    drop(other);
    let counts = origin.until(|counts| counts.open_connections == 1).await.unwrap();
    assert_eq!(counts.connections, 2);
    origin.reset_counts();
    assert_eq!((origin.counts().requests, origin.log().len()), (0, 0));
    one.get_range(KEY, 0..1).await.unwrap();
    assert_eq!((origin.log().len(), origin.log()[0].body_bytes), (1, 1));
}

/// The lower bounds hold on the slowest machine; upper ones would test the machine.
#[tokio::test]
async fn latency_and_pace_are_never_undercut() {
    let origin = origin();
    let first_byte_latency = Duration::from_millis(20);
    let rate = Some(2_000_000);
    origin.set_shape(Shape { first_byte_latency, bytes_per_second_per_connection: rate, ..Shape::default() });
    let mut connection = client(&origin).await;
    for _ in 0..2 {
        let mut pieces = 0;
        let answer = connection.get_range_with(KEY, 0..400_000, |_, _| pieces += 1).await.unwrap();
        assert!(answer.ttfb >= first_byte_latency, "{answer:?}");
        // 400 KB take 200 ms, less the last piece and the catch-up.
        assert!(answer.total >= answer.ttfb + Duration::from_millis(180), "{answer:?}");
        assert!(pieces >= 12, "a smooth body has many pieces, not {pieces}");
    }
    origin.fault(Fault::Delay(Duration::from_millis(30)).times(1));
    let (answer, _) = connection.get_range(KEY, 0..1).await.unwrap();
    assert!(answer.ttfb >= Duration::from_millis(50), "{answer:?}");
}

#[tokio::test]
async fn connections_have_a_pace_each() {
    let origin = origin();
    origin.set_shape(Shape { bytes_per_second_per_connection: Some(400_000), ..Shape::default() });
    let (mut one, mut other) = (client(&origin).await, client(&origin).await);
    let (one, other) = tokio::join!(one.get_range(KEY, 0..200_000), other.get_range(KEY, 0..200_000));
    let (one, other) = (one.unwrap().0, other.unwrap().0);
    assert_eq!((one.bytes, other.bytes), (200_000, 200_000));
    // Half a second each at this pace, and both at once.
    assert!(one.total >= Duration::from_millis(400) && other.total >= Duration::from_millis(400));
    assert_eq!(origin.counts().max_in_flight, 2);
}

#[tokio::test]
async fn a_person_can_look_and_turn_the_knobs() {
    let origin = origin();
    let mut client = client(&origin).await;
    let shape = r#"{"first_byte_latency_ms": 2, "error_rate": 1}"#;
    let (answer, _) = client.request(Method::PUT, "/_origin/shape", &[], shape).await.unwrap();
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(origin.shape().first_byte_latency, Duration::from_millis(2));
    assert_eq!(get(&mut client, &[]).await.0.status, StatusCode::SERVICE_UNAVAILABLE);
    let (answer, body) = client.request(Method::PUT, "/_origin/shape", &[], "{\"a\": 1}").await.unwrap();
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body:?}");
    let (_, body) = client.request(Method::GET, "/_origin/counts", &[], "").await.unwrap();
    let counts: serde_json::Value = serde_json::from_slice(&body).unwrap();
    assert_eq!((&counts["requests"], &counts["errors"]), (&1.into(), &1.into()), "{counts}");
    client.request(Method::POST, "/_origin/reset", &[], "").await.unwrap();
    assert_eq!(origin.counts().requests, 0);
}

/// Tests have single-threaded runtimes, and some block them.
#[tokio::test]
async fn it_serves_while_the_tests_own_runtime_is_blocked_and_stops_when_dropped() {
    let origin = origin();
    let address = origin.address();
    let read = move || -> std::io::Result<Vec<u8>> {
        use std::io::{Read as _, Write as _};
        let mut stream = std::net::TcpStream::connect(address)?;
        stream.write_all(b"GET /media/film.mp4 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")?;
        let mut received = Vec::new();
        stream.read_to_end(&mut received)?;
        Ok(received)
    };
    assert!(read().unwrap().len() as u64 > SIZE);
    let mut held = client(&origin).await;
    drop(origin);
    assert!(read().is_err(), "nobody listens any more");
    assert!(held.get_range(KEY, 0..1).await.is_err(), "no connection outlives the origin");
}
