//! However many and however large uploads are, they take the memory that is set, and no more.

use std::fs;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{HeaderName, Method};
use seekway_loadtests::client::Client;
use seekway_loadtests::gateway::{Gateway, Launch};
use tempfile::TempDir;

use super::stand::{MIB, Uploading, video};

const UPLOADS: usize = 10;
/// Together many times what they may take.
const UPLOAD_BYTES: usize = 48 * MIB;
const MEMORY_BYTES: usize = 32 * MIB;
/// What connections to clients and to the store take besides.
const REST_BYTES: usize = 12 * MIB;

#[tokio::test(flavor = "multi_thread")]
async fn ten_uploads_at_once_share_the_memory_that_is_set() {
    let folder = TempDir::new().expect("a folder");
    for up in [Uploading::embedded_for_another(&folder).await, Uploading::served_for_another().await] {
        let memory = MEMORY_BYTES.to_string();
        let more = [
            ("SEEKWAY_UPLOAD_MEMORY_BYTES", memory.as_str()),
            // Longer ones would need longer parts.
            ("SEEKWAY_UPLOAD_BYTES_MAX", "1GiB"),
        ];
        let settings = up.settings().iter().map(|(name, value)| (name.as_str(), value.as_str())).chain(more);
        let launch = Launch {
            binary: env!("CARGO_BIN_EXE_gateway").into(),
            endpoint: String::new(),
            bucket: String::new(),
            environment: settings.map(|(name, value)| (name.into(), value.into())).collect(),
        };
        let gateway = Gateway::start(&launch).await.unwrap_or_else(|error| panic!("{error}"));
        let before = resident_max(gateway.pid());
        // All at once, and one that sends nothing with them.
        let bytes = Bytes::from(video(80, UPLOAD_BYTES));
        let uploads = (0..UPLOADS).map(async |_| {
            let mut client = Client::connect(gateway.address()).await.expect("connects");
            let headers = [
                ("tus-resumable", "1.0.0".to_owned()),
                ("upload-length", bytes.len().to_string()),
                ("content-type", "application/offset+octet-stream".to_owned()),
            ];
            let headers = headers.map(|(name, value)| (HeaderName::from_static(name), value));
            let answer = client.request(Method::POST, "/api/uploads", &headers, bytes.clone()).await;
            assert_eq!(answer.expect("answers").0.status, 201);
        });
        join_all(uploads).await;
        let grown = resident_max(gateway.pid()) - before;
        println!("{} MiB for {} MiB of parts", grown / MIB, MEMORY_BYTES / MIB);
        assert!(grown <= MEMORY_BYTES + MEMORY_BYTES / 8 + REST_BYTES, "{} MiB", grown / MIB);
        assert!(grown >= MEMORY_BYTES / 2, "what is measured is the uploads: {} MiB", grown / MIB);
    }
}

/// The most that a process has had in memory.
fn resident_max(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("Linux says so");
    let kib: usize = line.trim().trim_end_matches(" kB").parse().expect("a number");
    kib * 1024
}
