//! Clients that upload small videos, each until some gateway has taken it.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderName};
use http::{Method, StatusCode};
use seekway_catalog::VideoId;
use seekway_loadtests::client::Client;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep, timeout};

use crate::lanes::Shared;

/// A request takes no longer where something answers.
const ANSWER_WITHIN: Duration = Duration::from_secs(8);
/// What is not done after that will not be done.
const PATIENCE: Duration = Duration::from_mins(2);
/// Jobs that wait, or are done; more are not added.
const OPEN_MAX: u64 = 8;

/// What is uploaded.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    pub(crate) bytes: Bytes,
    pub(crate) sha256: String,
}

/// What was uploaded.
#[derive(Debug, Clone)]
pub(crate) struct Uploaded {
    pub(crate) video: VideoId,
    pub(crate) sha256: String,
}

// === impl Source ===

impl Source {
    fn new(bytes: Vec<u8>) -> Self {
        Self { sha256: sha256(&bytes), bytes: bytes.into() }
    }

    /// Small videos that differ.
    pub(crate) fn all(folder: &Path) -> Vec<Self> {
        let sources = [("testsrc2", "0.4"), ("mandelbrot", "0.6"), ("smptebars", "1")];
        let make = |(source, seconds)| {
            let file = folder.join(format!("{source}.mp4"));
            let input = format!("{source}=size=114x64:rate=10");
            let made = Command::new("ffmpeg")
                .args(["-nostdin", "-v", "error", "-f", "lavfi", "-i", &input, "-t", seconds])
                .args(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"])
                .arg(&file)
                .status();
            assert!(made.expect("ffmpeg is installed").success());
            Self::new(std::fs::read(file).expect("reads"))
        };
        sources.into_iter().map(make).collect()
    }

    /// One that begins as a video does, and is none.
    pub(crate) fn broken(&self) -> Self {
        let mut bytes = self.bytes.to_vec();
        bytes[64..].fill(0);
        Self::new(bytes)
    }
}

/// Uploads until there are enough, and the lanes have tried all of their faults.
pub(crate) async fn upload(addresses: &[SocketAddr], shared: &Shared, seed: u64) -> Vec<Uploaded> {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut uploaded = Vec::new();
    let are_tried = || shared.tried.iter().all(|tried| tried.load(Ordering::Relaxed));
    while uploaded.len() < shared.wanted || !are_tried() {
        for _ in 0..random.usize(1..=3) {
            let source = random.choice(&shared.sources).expect("there are some");
            uploaded.push(one(addresses, source, random.u64(..)).await);
            shared.uploaded.fetch_add(1, Ordering::Relaxed);
        }
        sleep(Duration::from_millis(random.u64(200..2000))).await;
        let began = Instant::now();
        while shared.catalog.jobs().backlog().await.is_ok_and(|jobs| jobs.due + jobs.claimed > OPEN_MAX) {
            assert!(began.elapsed() < PATIENCE, "no job is done");
            sleep(Duration::from_millis(100)).await;
        }
    }
    uploaded
}

/// Uploads one, by the one gateway or the other, as whoever asks again with the same key.
pub(crate) async fn one(addresses: &[SocketAddr], source: &Source, key: u64) -> Uploaded {
    let mut last = String::new();
    let began = Instant::now();
    for nth in 0.. {
        assert!(began.elapsed() < PATIENCE, "nobody takes an upload: {last}");
        let address = addresses[(usize::from(key.is_multiple_of(2)) + nth) % addresses.len()];
        match timeout(ANSWER_WITHIN, post(address, source, key)).await {
            Ok(Ok(video)) => return Uploaded { video, sha256: source.sha256.clone() },
            Ok(Err(error)) => last = error,
            Err(_) => "no answer".clone_into(&mut last),
        }
        sleep(Duration::from_millis(200)).await;
    }
    unreachable!("it is tried for ever")
}

async fn post(address: SocketAddr, source: &Source, key: u64) -> Result<VideoId, String> {
    let mut client = Client::connect(address).await.map_err(|error| error.to_string())?;
    let head = "--XX\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp4\"\r\nContent-Type: video/mp4\r\n\r\n";
    let body = [head.as_bytes(), &source.bytes, b"\r\n--XX--\r\n"].concat();
    let headers = [
        (CONTENT_TYPE, "multipart/form-data; boundary=XX".to_owned()),
        (HeaderName::from_static("idempotency-key"), format!("{key:016x}")),
    ];
    let answer = client.request(Method::POST, "/api/videos", &headers, body).await;
    let (answer, body) = answer.map_err(|error| error.to_string())?;
    let text = String::from_utf8_lossy(&body);
    if answer.status != StatusCode::CREATED {
        return Err(format!("{} {text}", answer.status));
    }
    let json: serde_json::Value = serde_json::from_slice(&body).map_err(|error| error.to_string())?;
    json["id"].as_str().and_then(VideoId::parse).ok_or_else(|| format!("no id in {text}"))
}

/// As receipts have it.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().fold(String::new(), |text, byte| format!("{text}{byte:02x}"))
}

/// The status, and the body, of what a gateway serves.
pub(crate) async fn get(address: SocketAddr, path: &str) -> Result<(StatusCode, Bytes), String> {
    let asked = async {
        let mut client = Client::connect(address).await?;
        client.request(Method::GET, path, &[], "").await
    };
    let answer = timeout(ANSWER_WITHIN, asked).await.map_err(|_| "no answer".to_owned())?;
    answer.map(|(answer, body)| (answer.status, body)).map_err(|error| error.to_string())
}
