//! What happened is what `/metrics` says.
#![expect(clippy::float_cmp, reason = "counts are whole numbers, which floats hold as they are")]

use std::collections::HashMap;
use std::time::Duration;

use http::StatusCode;
use seekway_loadtests::origin::Fault;

use crate::support::tools::stdout_of;
use crate::support::wire::{Wire, head};
use crate::support::{Stand, until};

const SIZE: u64 = 1_000_000;
const SEED: u64 = 71;
const TARGET: &str = "/media/film.mp4";

/// The page, read as strictly as its format allows
/// (<https://prometheus.io/docs/instrumenting/exposition_formats/#text-based-format>).
#[derive(Debug)]
pub(crate) struct Page {
    /// Values by name and labels, as they are written.
    samples: HashMap<String, f64>,
}

impl Page {
    pub(crate) async fn of(stand: &Stand) -> Self {
        let answer = Wire::connect(stand.admin_address()).await.ask("GET", "/metrics", &[]).await;
        assert_eq!(answer.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
        Self::parse(&String::from_utf8(answer.body).expect("text"))
    }

    fn parse(text: &str) -> Self {
        let mut page = Self { samples: HashMap::new() };
        let (mut family, mut kind) = (String::new(), String::new());
        assert!(text.ends_with('\n'), "the last line ends, too");
        let mut lines = text.lines();
        while let Some(line) = lines.next() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                let (name, help) = rest.split_once(' ').expect("a help text");
                assert!(!help.is_empty() && name != family, "{line}");
                let typed = lines.next().and_then(|line| line.strip_prefix("# TYPE ")).expect("a type");
                let (typed, of) = typed.split_once(' ').expect("a kind");
                assert!(typed == name && ["counter", "gauge", "histogram"].contains(&of), "{typed} {of}");
                (family, kind) = (name.to_owned(), of.to_owned());
                continue;
            }
            let (series, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line:?} is no sample"));
            let name = series.split('{').next().expect("something");
            let suffix = name.strip_prefix(&family).unwrap_or_else(|| panic!("{line} is not of {family}"));
            let allowed: &[_] = if kind == "histogram" { &["_bucket", "_sum", "_count"] } else { &[""] };
            assert!(allowed.contains(&suffix), "{line} is a {kind}");
            let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line} has no number"));
            assert!(value >= 0.0 && value.is_finite(), "{line}");
            assert!(page.samples.insert(series.to_owned(), value).is_none(), "{series} comes twice");
        }
        page.check_histograms();
        page
    }

    /// Every bucket holds the ones before it, and the last one all.
    fn check_histograms(&self) {
        for (series, count) in self.samples.iter().filter(|(series, _)| series.contains("_count")) {
            let (name, labels) = series.split_once("_count").expect("filtered");
            let labels = labels.trim_start_matches('{').trim_end_matches('}');
            let separator = if labels.is_empty() { "" } else { "," };
            let prefix = format!("{name}_bucket{{{labels}{separator}le=\"");
            let buckets = self.samples.iter().filter_map(|(other, value)| {
                let bound = other.strip_prefix(&prefix)?.strip_suffix("\"}").expect("the last label");
                Some((bound.parse::<f64>().expect("a bound"), *value))
            });
            let mut buckets: Vec<_> = buckets.collect();
            buckets.sort_by(|one, other| one.0.total_cmp(&other.0));
            assert!(buckets.is_sorted_by(|one, other| one.1 <= other.1), "{series}: {buckets:?}");
            assert_eq!(buckets.last(), Some(&(f64::INFINITY, *count)), "{series}");
        }
    }

    /// A series that is not there has counted nothing.
    pub(crate) fn get(&self, series: &str) -> f64 {
        self.samples.get(series).copied().unwrap_or(0.0)
    }

    /// Everything of one metric that is not zero.
    pub(crate) fn nonzero(&self, name: &str) -> Vec<(&str, f64)> {
        let all = self.samples.iter().filter_map(|(series, value)| {
            let labels = series.strip_prefix(name)?.strip_prefix('{')?.strip_suffix('}')?;
            (*value != 0.0).then_some((labels, *value))
        });
        let mut all: Vec<_> = all.collect();
        all.sort_by_key(|(labels, _)| *labels);
        all
    }
}

/// The page, once `series` says `value`: an end is counted a little after the client saw it.
pub(crate) async fn page_with(stand: &Stand, series: &str, value: f64) -> Page {
    until(series, async || Some(Page::of(stand).await).filter(|page| page.get(series) == value)).await
}

fn stand() -> Stand {
    let stand = Stand::s3(&[]);
    stand.put_pattern("film.mp4", SIZE, SEED);
    stand
}

#[tokio::test]
async fn requests_are_counted_by_what_they_asked_and_got() {
    let stand = stand();
    let mut wire = stand.connect().await;
    let etag = wire.ask("HEAD", TARGET, &[]).await.header("etag").to_owned();
    for (method, target, headers, status) in [
        ("GET", TARGET, &[("Range", "bytes=0-65535")][..], 206),
        ("GET", TARGET, &[("Range", "bytes=0-65535")], 206),
        ("GET", TARGET, &[("Range", "bytes=1-2,9000-9001")], 206),
        ("GET", TARGET, &[("Range", "bytes=1000000-")], 416),
        ("GET", TARGET, &[("If-None-Match", &etag)], 304),
        ("GET", TARGET, &[("If-Match", "\"other\"")], 412),
        ("GET", TARGET, &[], 200),
        ("POST", TARGET, &[], 405),
        ("OPTIONS", TARGET, &[], 204),
        ("GET", "/media/none", &[], 404),
        ("GET", "/media/%", &[], 400),
        ("GET", "/api/health", &[], 200),
        ("GET", "/", &[], 200),
        ("GET", "/assets/none", &[], 404),
        ("GET", "/nowhere", &[], 404),
    ] {
        assert_eq!(wire.ask(method, target, headers).await.status, status, "{method} {target} {headers:?}");
    }
    let page = page_with(&stand, "seekway_responses_total{outcome=\"complete\"}", 16.0).await;
    let counted = page.nonzero("seekway_requests_total");
    let expected = [
        ("kind=\"api\",status=\"200\"", 1.0),
        ("kind=\"conditional\",status=\"304\"", 1.0),
        ("kind=\"conditional\",status=\"412\"", 1.0),
        ("kind=\"console\",status=\"200\"", 1.0),
        ("kind=\"console\",status=\"404\"", 1.0),
        ("kind=\"full\",status=\"200\"", 1.0),
        ("kind=\"full\",status=\"400\"", 1.0),
        ("kind=\"full\",status=\"404\"", 1.0),
        ("kind=\"head\",status=\"200\"", 1.0),
        ("kind=\"multirange\",status=\"206\"", 1.0),
        ("kind=\"options\",status=\"204\"", 1.0),
        ("kind=\"other\",status=\"404\"", 1.0),
        ("kind=\"other\",status=\"405\"", 1.0),
        ("kind=\"range\",status=\"206\"", 2.0),
        ("kind=\"range\",status=\"416\"", 1.0),
    ];
    let expected = expected.map(|(labels, value)| (format!("{labels},protocol=\"h1\""), value));
    let public: Vec<_> = counted.into_iter().filter(|(labels, _)| !labels.contains("admin")).collect();
    assert_eq!(public, expected.each_ref().map(|(labels, value)| (labels.as_str(), *value)));
    // The page itself is a request that has not ended.
    assert_eq!(page.get("seekway_requests_running{protocol=\"h1\"}"), 1.0);
}

#[tokio::test]
async fn bytes_and_times_are_counted_by_where_they_came_from() {
    let stand = stand();
    let mut wire = stand.connect().await;
    assert_eq!(wire.ask("HEAD", TARGET, &[]).await.status, 200);
    for _ in 0..3 {
        assert_eq!(wire.ask("GET", TARGET, &[("Range", "bytes=0-65535")]).await.body.len(), 65_536);
    }
    let page = page_with(&stand, "seekway_responses_total{outcome=\"complete\"}", 4.0).await;
    assert_eq!(
        page.nonzero("seekway_cache_delivered_bytes_total"),
        [("tier=\"filled\"", 65_536.0), ("tier=\"memory\"", 131_072.0),]
    );
    assert_eq!(page.get("seekway_cache_store_bytes_total"), 65_536.0);
    assert_eq!(page.get("seekway_cache_memory_hits_total"), 2.0);
    assert_eq!(page.get("seekway_cache_memory_misses_total"), 1.0);
    assert_eq!(page.get("seekway_cache_memory_inserts_total"), 1.0);
    assert_eq!(page.get("seekway_cache_fill_seconds_count"), 1.0);
    assert!(page.get("seekway_response_body_bytes_total{protocol=\"h1\"}") >= 196_608.0);
    for metric in ["seekway_first_byte_seconds_count", "seekway_response_seconds_count"] {
        // The scrapes before this one are of no tier, and more than one when the first came too early.
        let counted = page.nonzero(metric);
        assert_eq!(&counted[..2], [("tier=\"filled\"", 1.0), ("tier=\"memory\"", 2.0)], "{metric}");
    }
    assert!(page.get("seekway_first_byte_seconds_sum{tier=\"filled\"}") > 0.0);

    let origin = |name, labels| page.get(&format!("seekway_origin_{name}{{endpoint=\"preferred\"{labels}}}"));
    assert_eq!(origin("requests_total", ",operation=\"head\",outcome=\"ok\""), 1.0);
    assert_eq!(origin("requests_total", ",operation=\"get\",outcome=\"ok\""), 1.0);
    assert_eq!(origin("received_bytes_total", ""), 65_536.0);
    assert_eq!(origin("first_byte_seconds_count", ",operation=\"get\""), 1.0);
    assert_eq!(origin("requests_in_flight", ""), 0.0);
}

#[tokio::test]
async fn endings_are_told_apart() {
    let stand = stand();
    let outcome = |outcome| format!("seekway_responses_total{{outcome=\"{outcome}\"}}");
    // Before there was a status.
    stand.origin().fault(Fault::Hang.times(1));
    let mut leaving = stand.connect().await;
    leaving.send(head("GET", TARGET, &[("Range", "bytes=0-9")])).await;
    stand.origin().until(|counts| counts.in_flight == 1).await.expect("the origin is asked");
    let page = Page::of(&stand).await;
    assert_eq!(page.get("seekway_requests_running{protocol=\"h1\"}"), 2.0);
    assert_eq!(page.get("seekway_connections_open{listener=\"public\"}"), 1.0);
    leaving.reset();
    page_with(&stand, &outcome("unanswered"), 1.0).await;
    stand.origin().release_hung();

    // In the middle of the body.
    let mut leaving = Wire::connect_narrow(stand.address()).await;
    leaving.send(head("GET", TARGET, &[])).await;
    assert_eq!(leaving.answer_head("GET").await.status, 200);
    drop(leaving);
    page_with(&stand, &outcome("client_left"), 1.0).await;

    let page = page_with(&stand, "seekway_connections_open{listener=\"public\"}", 0.0).await;
    assert_eq!(page.get("seekway_connections_accepted_total{listener=\"public\"}"), 2.0);
    assert_eq!(page.get("seekway_requests_running{protocol=\"h1\"}"), 1.0);
}

#[tokio::test]
async fn a_body_that_cannot_be_finished_is_counted_as_cut() {
    let stand = stand();
    stand.origin().fault(Fault::Truncate(100_000).times(1));
    // So it cannot be resumed.
    stand.origin().fault(Fault::Status(StatusCode::NOT_FOUND).skip(1));
    let cut = stand.get(TARGET, &[]).await;
    assert!(cut.status == 200 && !cut.complete);
    page_with(&stand, "seekway_responses_total{outcome=\"cut\"}", 1.0).await;
}

#[tokio::test]
async fn connections_are_counted_by_how_they_ended() {
    let stand = Stand::local(&[
        ("SEEKWAY_IDLE_TIMEOUT", "300ms"),
        ("SEEKWAY_HEADER_TIMEOUT", "300ms"),
        ("SEEKWAY_WRITE_STALL_TIMEOUT", "300ms"),
        ("SEEKWAY_CLIENT_CONNECTIONS", "4"),
    ]);
    stand.put_pattern("film.mp4", 20_000_000, SEED);
    let mut closing = stand.connect().await;
    assert_eq!(
        closing.ask("GET", TARGET, &[("Range", "bytes=0-9"), ("Connection", "close")]).await.status,
        206
    );
    let ended =
        |reason| format!("seekway_connections_ended_total{{listener=\"public\",reason=\"{reason}\"}}");
    page_with(&stand, &ended("closed"), 1.0).await;

    let _idle = stand.connect().await;
    let mut begun = stand.connect().await;
    begun.send("GET /").await;
    let mut stalled = Wire::connect_narrow(stand.address()).await;
    stalled.send(head("GET", TARGET, &[])).await;
    for reason in ["idle", "head_timeout", "client_stalled"] {
        page_with(&stand, &ended(reason), 1.0).await;
    }
    let page = page_with(&stand, "seekway_responses_total{outcome=\"client_stalled\"}", 1.0).await;
    assert_eq!(page.get("seekway_connections_accepted_total{listener=\"public\"}"), 4.0);

    let mut wires = Vec::new();
    for _ in 0..4 {
        let mut wire = stand.connect().await;
        assert_eq!(wire.ask("GET", "/api/health", &[]).await.status, 200);
        wires.push(wire);
    }
    let speaking = "seekway_connections_speaking{listener=\"public\",protocol=\"h1\"}";
    assert_eq!(Page::of(&stand).await.get(speaking), 4.0);
    // It may be reset while it connects.
    drop(Wire::try_connect_from(stand.address(), [127, 0, 0, 1]).await);
    page_with(&stand, &ended("refused"), 1.0).await;
}

#[tokio::test]
async fn refusals_are_counted_by_the_limit() {
    let rate = [("SEEKWAY_CLIENT_REQUESTS_PER_SECOND", "1"), ("SEEKWAY_CLIENT_REQUESTS_BURST", "1")];
    for (limit, env, status) in
        [("client_rate", &rate[..], 429), ("max_requests", &[("SEEKWAY_MAX_REQUESTS", "1")], 503)]
    {
        let stand = Stand::s3(env);
        stand.put_pattern("film.mp4", SIZE, SEED);
        stand.origin().fault(Fault::Hang);
        let mut waiting = stand.connect().await;
        waiting.send(head("GET", TARGET, &[])).await;
        stand.origin().until(|counts| counts.in_flight == 1).await.expect("the origin is asked");
        let refused = until("one is refused", async || {
            let mut wire = stand.connect().await;
            wire.send(head("GET", "/nowhere", &[])).await;
            Some(wire.answer("GET").await).filter(|answer| answer.status != 404)
        });
        assert_eq!(refused.await.status, status);
        let series = format!("seekway_requests_refused_total{{reason=\"{limit}\"}}");
        assert_eq!(page_with(&stand, &series, 1.0).await.nonzero("seekway_requests_refused_total").len(), 1);
    }
    let stand = Stand::local(&[("SEEKWAY_PROXY_PROTOCOL", "on"), ("SEEKWAY_TRUSTED_PROXIES", "127.0.0.1")]);
    let mut wire = stand.connect().await;
    wire.send(head("GET", TARGET, &[])).await;
    assert!(wire.until_closed().await.is_empty());
    page_with(&stand, "seekway_connections_ended_total{listener=\"public\",reason=\"proxy_header\"}", 1.0)
        .await;
}

#[tokio::test]
async fn http2_is_counted_apart() {
    let stand = stand();
    let url = format!("http://{}{TARGET}", stand.address());
    let code = stdout_of(
        "curl",
        &[
            "--http2-prior-knowledge",
            "--silent",
            "--range",
            "0-99",
            "--output",
            "/dev/null",
            "--write-out",
            "%{http_code} %{http_version}",
            &url,
        ],
    );
    assert_eq!(code, "206 2");
    let page = page_with(&stand, "seekway_responses_total{outcome=\"complete\"}", 1.0).await;
    let series = "seekway_requests_total{kind=\"range\",status=\"206\",protocol=\"h2\"}";
    assert_eq!(page.get(series), 1.0);
    assert_eq!(page.get("seekway_response_body_bytes_total{protocol=\"h2\"}"), 100.0);
    page_with(&stand, "seekway_connections_speaking{listener=\"public\",protocol=\"h2\"}", 0.0).await;
}

#[tokio::test]
async fn the_origins_endpoints_are_shown() {
    let stand = stand();
    let slots =
        |page: &Page, name, endpoint| page.get(&format!("seekway_origin_{name}{{endpoint=\"{endpoint}\"}}"));
    let page = Page::of(&stand).await;
    assert_eq!(slots(&page, "slots", "preferred"), 128.0);
    assert_eq!(slots(&page, "slots", "fallback-1"), 0.0, "there is none");
    assert_eq!(slots(&page, "in_trouble", "preferred"), 0.0);
    stand.origin().fault(Fault::Hang.times(1));
    let mut waiting = stand.connect().await;
    waiting.send(head("GET", TARGET, &[])).await;
    let taken = "seekway_origin_slots_taken{endpoint=\"preferred\"}";
    page_with(&stand, taken, 1.0).await;
    stand.origin().until(|counts| counts.in_flight == 1).await.expect("the origin is asked");
    stand.origin().release_hung();
    assert_eq!(waiting.answer("GET").await.body.len() as u64, SIZE);
    page_with(&stand, taken, 0.0).await;
}

#[tokio::test]
async fn hedges_are_counted_by_what_became_of_them() {
    // Half of a hedge for each read, ten saved at most.
    let stand = Stand::s3(&[("SEEKWAY_S3_HEDGE_PERCENT", "50"), ("CACHE_MEMORY_BYTES", "0")]);
    stand.put_pattern("film.mp4", 10 * SIZE, SEED);
    // Each of another segment, or they would share a read.
    let read = async |nth: u64| {
        let range = format!("bytes={}-{}", nth * 65_536, nth * 65_536 + 9);
        stand.get(TARGET, &[("Range", &range)]).await.status
    };
    let hedges = async || {
        let page = Page::of(&stand).await;
        ["", "_won", "_denied"]
            .map(|what| page.get(&format!("seekway_origin_hedges{what}_total{{endpoint=\"preferred\"}}")))
    };
    for nth in 0..40 {
        assert_eq!(read(nth).await, 206);
        stand.until_quiet().await;
    }
    let [sent, won, denied] = hedges().await;
    stand.origin().fault(Fault::Hang.times(1));
    assert_eq!(read(40).await, 206, "the second one answers");
    // What was late by itself on a busy machine is counted, too, but nothing is between these two.
    assert_eq!(hedges().await, [sent + 1.0, won + 1.0, denied]);
    stand.origin().fault(Fault::Hang);
    let late: Vec<_> = (41..100).map(read).collect();
    let all_denied = until("hedges are denied", async || (hedges().await[2] > denied).then_some(()));
    tokio::select! {
        _ = futures_util::future::join_all(late) => panic!("the origin hangs"),
        () = all_denied => {}
    }
    stand.origin().clear_faults();
    stand.origin().release_hung();
    stand.until_quiet().await;
}

#[tokio::test]
async fn the_process_tells_of_itself() {
    let stand = stand();
    let page = Page::of(&stand).await;
    for name in ["cpu_seconds_total", "resident_memory_bytes", "threads", "open_fds", "max_fds"] {
        assert!(page.get(&format!("process_{name}")) > 0.0, "{name}");
    }
    let started = Duration::from_secs_f64(page.get("process_start_time_seconds"));
    let now = std::time::UNIX_EPOCH.elapsed().expect("after 1970");
    assert!(started < now && now.saturating_sub(started) < Duration::from_mins(10), "{started:?}");
    assert_eq!(page.get(&format!("seekway_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))), 1.0);
}
