//! The gateway is killed at random moments while clients upload by all ways, and started again. Each client goes on as it
//! would anywhere; in the end every video is what was sent, once, and nothing is left over.
//!
//! `SEEKWAY_KILLS` says how often (20), `SEEKWAY_KILLS_SEED` repeats the moments of another run; `make soak` kills hundreds
//! of times with the same code.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, Method};
use seekway_catalog::{UploadState, VideoId};
use seekway_loadtests::client::{Answer, Client};
use seekway_loadtests::gateway::{Gateway, Launch};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::stand::{MIB, Uploading, video};

const KILLS: u32 = 20;
/// Between two kills, and so how long each life is.
const LIFE_MS_MAX: u64 = 700;
/// Clients at a time: for each way one or two.
const CLIENTS: u64 = 6;
/// Nothing takes longer than this but a gateway that is broken.
const PATIENCE: Duration = Duration::from_secs(90);
/// What is left of an upload after its end is looked for when it has expired. Far longer than a client takes to ask again.
const EXPIRY: &str = "20s";
const FORM_BOUNDARY: &str = "multipart/form-data; boundary=XX";

/// Ways to upload.
#[derive(Debug, Clone, Copy)]
enum Way {
    Tus,
    Checksum,
    Concat,
    Resumable,
    Form,
    Direct,
}

/// Somebody who uploads until it is done.
struct Uploader {
    gateway: SocketAddr,
    random: fastrand::Rng,
    /// For this file, and no other.
    key: String,
}

type Headers<'a> = &'a [(&'static str, &'a str)];

#[tokio::test(flavor = "multi_thread")]
async fn kills_lose_nothing_and_leave_nothing() {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    let kills = number("SEEKWAY_KILLS").unwrap_or(u64::from(KILLS));
    let seed = number("SEEKWAY_KILLS_SEED").unwrap_or_else(|| fastrand::u64(..1 << 32));
    println!("SEEKWAY_KILLS_SEED={seed}");
    let folder = TempDir::new().expect("a folder");
    let embedded = Uploading::embedded_for_another(&folder).await;
    let served = Uploading::served_for_another().await;
    tokio::join!(killed(&embedded, kills / 2, seed), killed(&served, kills - kills / 2, seed + 1));
}

async fn killed(up: &Uploading, kills: u64, seed: u64) {
    let launch = Launch {
        binary: env!("CARGO_BIN_EXE_gateway").into(),
        endpoint: String::new(),
        bucket: String::new(),
        environment: up
            .settings()
            .iter()
            .map(|(name, value)| (name.into(), value.into()))
            .chain([("SEEKWAY_UPLOAD_EXPIRY".into(), EXPIRY.into())])
            .collect(),
    };
    let mut gateway = Gateway::start(&launch).await.unwrap_or_else(|error| panic!("{error}"));
    let enough = Arc::new(AtomicBool::new(false));
    let mut clients = JoinSet::new();
    let ways = [Way::Tus, Way::Checksum, Way::Concat, Way::Resumable, Way::Form];
    let ways: Vec<_> = ways.into_iter().chain(up.is_s3.then_some(Way::Direct)).collect();
    for nth in 0..CLIENTS {
        let (address, enough) = (gateway.address(), enough.clone());
        let (ways, mut random) = (ways.clone(), fastrand::Rng::with_seed(seed * 100 + nth));
        clients.spawn(async move {
            let mut made = Vec::new();
            while !enough.load(Ordering::Relaxed) {
                let way = ways[random.usize(..ways.len())];
                let length =
                    if random.bool() { random.usize(1000..MIB) } else { random.usize(MIB..20 * MIB) };
                let seed = random.u64(..);
                let key = format!("{seed:x}");
                let mut uploader = Uploader { gateway: address, random: random.fork(), key };
                let bytes = Bytes::from(video(seed, length));
                let uploading = uploader.upload(way, &bytes);
                let id = tokio::time::timeout(PATIENCE, uploading).await;
                made.push((
                    id.unwrap_or_else(|_| panic!("{way:?} of {length} bytes never ends")),
                    seed,
                    length,
                ));
            }
            made
        });
    }
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..kills {
        sleep(Duration::from_millis(random.u64(20..LIFE_MS_MAX))).await;
        gateway.kill_and_restart(&launch).await.unwrap_or_else(|error| panic!("{error}"));
    }
    enough.store(true, Ordering::Relaxed);
    let made: Vec<_> = clients.join_all().await.into_iter().flatten().collect();
    let mut keys = Vec::new();
    for (id, seed, length) in &made {
        keys.push(up.assert_video(*id, &video(*seed, *length)).await.source.key);
    }
    println!("{} uploads survived {kills} kills", made.len());
    assert!(made.len() as u64 >= CLIENTS, "every client has uploaded something");
    keys.sort();
    let count = keys.len();
    keys.dedup();
    assert_eq!(keys.len(), count, "no video is told of twice");
    let uploads = up.catalog.uploads().of_account(None, None, 100_000).await.expect("lists");
    let limbo: Vec<_> = uploads.iter().filter(|upload| upload.state != UploadState::Complete).collect();
    assert!(limbo.is_empty() && uploads.len() <= count, "{} rows for {count}: {limbo:?}", uploads.len());
    let forgotten = async {
        while !up.catalog.uploads().of_account(None, None, 1).await.expect("lists").is_empty() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::time::timeout(PATIENCE, forgotten).await.expect("what has expired is forgotten");
    // No object that is no video's, no multipart upload: also none that the store took after its writer was killed.
    up.assert_clean(&keys.iter().map(String::as_str).collect::<Vec<_>>()).await;
}

// === impl Uploader ===

impl Uploader {
    async fn upload(&mut self, way: Way, bytes: &Bytes) -> VideoId {
        match way {
            Way::Tus => self.tus(bytes, false).await,
            Way::Checksum => self.tus(bytes, true).await,
            Way::Concat => self.concat(bytes).await,
            Way::Resumable => self.resumable(bytes).await,
            Way::Form => self.form(bytes).await,
            Way::Direct => self.direct(bytes).await,
        }
    }

    /// One request, as often as it is not answered, or the answer is that it should come again.
    async fn ask(
        &mut self,
        method: Method,
        target: &str,
        headers: Headers<'_>,
        body: Bytes,
    ) -> (Answer, Bytes) {
        loop {
            if let Some(answer) = self.try_ask(&method, target, headers, body.clone()).await {
                return answer;
            }
        }
    }

    async fn try_ask(
        &mut self,
        method: &Method,
        target: &str,
        headers: Headers<'_>,
        body: Bytes,
    ) -> Option<(Answer, Bytes)> {
        let headers: Vec<_> = headers
            .iter()
            .map(|(name, value)| {
                (HeaderName::from_bytes(name.as_bytes()).expect("a name"), (*value).to_owned())
            })
            .collect();
        let asked = async {
            let mut client = Client::connect(self.gateway).await.ok()?;
            client.request(method.clone(), target, &headers, body).await.ok()
        };
        let answer = asked.await.filter(|(answer, _)| !matches!(answer.status.as_u16(), 423 | 503));
        if answer.is_none() {
            sleep(Duration::from_millis(20)).await;
        }
        answer
    }

    async fn create(&mut self, headers: Headers<'_>) -> String {
        let key = self.key.clone();
        let headers: Vec<_> = headers.iter().copied().chain([("idempotency-key", key.as_str())]).collect();
        let (answer, body) = self.ask(Method::POST, "/api/uploads", &headers, Bytes::new()).await;
        assert_eq!(answer.status, 201, "{answer:?} {body:?}");
        answer.header("location").to_owned()
    }

    /// Appends until nothing is left, asking after each failure how far it came; the last answer.
    async fn append(
        &mut self,
        target: &str,
        bytes: &Bytes,
        protocol: Headers<'_>,
        is_checked: bool,
    ) -> Answer {
        loop {
            let (answer, body) = self.ask(Method::HEAD, target, protocol, Bytes::new()).await;
            assert!(answer.status.is_success(), "{target}: {answer:?} {body:?}");
            let offset: usize = answer.header("upload-offset").parse().expect("a number");
            if offset == bytes.len()
                && (answer.headers.contains_key("content-location") || !is_whole(protocol))
            {
                return answer;
            }
            let end = bytes.len().min(offset + self.random.usize(1..8 * MIB));
            let piece = bytes.slice(offset..end);
            let offset = offset.to_string();
            let mut headers = protocol.to_vec();
            headers.push(("upload-offset", offset.as_str()));
            let checksum = is_checked.then(|| checksum(&piece));
            headers.extend(checksum.as_deref().map(|checksum| ("upload-checksum", checksum)));
            if protocol.iter().any(|(name, _)| *name == "upload-draft-interop-version") {
                let is_last = if end == bytes.len() { "?1" } else { "?0" };
                headers
                    .extend([("upload-complete", is_last), ("content-type", "application/partial-upload")]);
            } else {
                headers.push(("content-type", "application/offset+octet-stream"));
            }
            if let Some((answer, body)) = self.try_ask(&Method::PATCH, target, &headers, piece).await {
                let is_expected = answer.status.is_success() || answer.status == 409;
                assert!(is_expected, "{target}: {answer:?} {body:?}");
            }
        }
    }

    async fn tus(&mut self, bytes: &Bytes, is_checked: bool) -> VideoId {
        let length = bytes.len().to_string();
        let protocol = [("tus-resumable", "1.0.0")];
        let target = self.create(&[protocol[0], ("upload-length", &length)]).await;
        video_of(&self.append(&target, bytes, &protocol, is_checked).await)
    }

    async fn concat(&mut self, bytes: &Bytes) -> VideoId {
        let version = ("tus-resumable", "1.0.0");
        let middle = bytes.len() / 3;
        let mut concat = "final;".to_owned();
        let key = self.key.clone();
        for (nth, piece) in [bytes.slice(..middle), bytes.slice(middle..)].iter().enumerate() {
            self.key = format!("{key}-{nth}");
            let length = piece.len().to_string();
            let partial = ("upload-concat", "partial");
            let target = self.create(&[version, partial, ("upload-length", &length)]).await;
            self.append(&target, piece, &[version, ("x-piece", "yes")], false).await;
            concat = format!("{concat} {target}");
        }
        self.key.clone_from(&key);
        let headers = [version, ("upload-concat", concat.as_str()), ("idempotency-key", key.as_str())];
        let (answer, body) = self.ask(Method::POST, "/api/uploads", &headers, Bytes::new()).await;
        if answer.status == 201 {
            return video_of(&answer);
        }
        panic!("{answer:?} {body:?}");
    }

    async fn resumable(&mut self, bytes: &Bytes) -> VideoId {
        let protocol = [("upload-draft-interop-version", "6")];
        let target = self.create(&[protocol[0], ("upload-complete", "?0")]).await;
        video_of(&self.append(&target, bytes, &protocol, false).await)
    }

    async fn form(&mut self, bytes: &Bytes) -> VideoId {
        let head = b"--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp4\"\r\n\r\n";
        let body = Bytes::from([head.as_slice(), bytes, b"\r\n--XX--\r\n"].concat());
        let key = self.key.clone();
        let headers = [("content-type", FORM_BOUNDARY), ("idempotency-key", key.as_str())];
        loop {
            let (answer, told) = self.ask(Method::POST, "/api/videos", &headers, body.clone()).await;
            if answer.status == 201 {
                let document: Value = serde_json::from_slice(&told).expect("JSON");
                return VideoId::parse(document["id"].as_str().expect("text")).expect("an id");
            }
            assert_eq!(answer.status, 409, "{answer:?} {told:?}");
        }
    }

    async fn direct(&mut self, bytes: &Bytes) -> VideoId {
        let new = json!({"name": "direct.mp4", "length": bytes.len()});
        let (_, begun) = self.say("/api/uploads/direct", &new, &[201]).await;
        let target = format!("/api/uploads/direct/{}", begun["id"].as_str().expect("text"));
        if begun["state"] == "open" {
            let part_bytes = usize::try_from(begun["part_bytes"].as_u64().expect("a number")).expect("fits");
            for (number, piece) in (1..).zip(bytes.chunks(part_bytes)) {
                let wanted = json!({"numbers": [number]});
                let (_, signed) = self.say(&format!("{target}/parts"), &wanted, &[200]).await;
                let url: http::Uri =
                    signed["parts"][0]["url"].as_str().expect("text").parse().expect("a URL");
                let store = url.authority().expect("a host").as_str().parse().expect("an address");
                let mut client = Client::connect(store).await.expect("the store is there");
                let path = url.path_and_query().expect("a path").as_str();
                let stored = client.request(Method::PUT, path, &[], Bytes::copy_from_slice(piece)).await;
                assert_eq!(stored.expect("answers").0.status, 200);
            }
        }
        let (answer, _) = self.say(&format!("{target}/complete"), &json!({}), &[200]).await;
        video_of(&answer)
    }

    async fn say(&mut self, target: &str, document: &Value, expected: &[u16]) -> (Answer, Value) {
        let (key, body) = (self.key.clone(), Bytes::from(document.to_string()));
        let headers = [("content-type", "application/json"), ("idempotency-key", key.as_str())];
        let (answer, told) = self.ask(Method::POST, target, &headers, body).await;
        assert!(expected.contains(&answer.status.as_u16()), "{target}: {answer:?} {told:?}");
        (answer, serde_json::from_slice(&told).expect("JSON"))
    }
}

/// A piece of a concatenation becomes no video.
fn is_whole(protocol: Headers<'_>) -> bool {
    protocol.iter().all(|(name, _)| *name != "x-piece")
}

fn checksum(bytes: &[u8]) -> String {
    use base64::Engine as _;
    use sha2::Digest as _;
    format!("sha256 {}", base64::engine::general_purpose::STANDARD.encode(sha2::Sha256::digest(bytes)))
}

#[track_caller]
fn video_of(answer: &Answer) -> VideoId {
    let id = answer.header("content-location").strip_prefix("/api/videos/").and_then(VideoId::parse);
    id.unwrap_or_else(|| panic!("no video: {answer:?}"))
}
