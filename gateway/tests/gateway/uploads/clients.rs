//! Other people's clients, as they are, on a network that cuts them off again and again.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tempfile::NamedTempFile;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::stand::{MIB, Uploading, video};
use crate::support::tools::{root, run};

/// Connections that are cut, and after how many bytes of the client at most.
const CUTS: usize = 8;
const CUT_BYTES_MAX: usize = 5 * MIB;

/// A way to the gateway that breaks: its first connections are cut off after some bytes of the client's.
struct BadNetwork {
    address: SocketAddr,
    cuts: Arc<AtomicUsize>,
    accepting: JoinHandle<()>,
}

impl BadNetwork {
    async fn to(gateway: SocketAddr, seed: u64) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("bound");
        let cuts = Arc::new(AtomicUsize::new(0));
        let counted = cuts.clone();
        let accepting = tokio::spawn(async move {
            let mut random = fastrand::Rng::with_seed(seed);
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(gateway).await.expect("the gateway listens");
                // At any point, often in the head of a request.
                let limit = if random.bool() { random.usize(..2000) } else { random.usize(..CUT_BYTES_MAX) };
                tokio::spawn(carry(client, server, limit, counted.clone()));
            }
        });
        Self { address, cuts, accepting }
    }
}

impl Drop for BadNetwork {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// Carries bytes both ways, and breaks both ends when the client has sent `limit` of them, as long as there are cuts left.
async fn carry(client: TcpStream, server: TcpStream, limit: usize, cuts: Arc<AtomicUsize>) {
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let answers = tokio::spawn(async move { tokio::io::copy(&mut from_server, &mut to_client).await });
    let (mut sent, mut buffer) = (0, vec![0; 64 * 1024]);
    while let Ok(count @ 1..) = from_client.read(&mut buffer).await {
        sent += count;
        if to_server.write_all(&buffer[..count]).await.is_err() {
            break;
        }
        if sent >= limit && cuts.fetch_add(1, Ordering::Relaxed) < CUTS {
            answers.abort();
            return;
        }
    }
    drop(to_server);
    let _ = answers.await;
}

/// A file, and what became of it when `upload` sent it over a bad network.
async fn survives(up: &Uploading, seed: u64, upload: impl AsyncFnOnce(&str, &Path) -> Output) {
    let bytes = video(seed, 17 * MIB + 11);
    let file = NamedTempFile::with_suffix(".mp4").expect("a file");
    std::fs::write(file.path(), &bytes).expect("written");
    let network = BadNetwork::to(up.stand().address(), seed).await;
    let url = format!("http://{}/api/uploads", network.address);
    let Output { status, stdout, stderr } = upload(&url, file.path()).await;
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{status}: {stdout}{stderr}");
    assert!(network.cuts.load(Ordering::Relaxed) >= CUTS, "it was cut off often enough");
    let uploads = up.catalog.uploads().of_account(None, None, 100).await.expect("lists");
    let made: Vec<_> = uploads.iter().filter_map(|upload| upload.video).collect();
    assert_eq!(made.len(), 1, "{uploads:?}");
    let made = up.assert_video(made[0], &bytes).await;
    assert!(made.source.sha256.is_some(), "it came in order");
}

fn installed(path: &str) -> String {
    let path = root().join(path);
    assert!(path.exists(), "{} is missing; run scripts/setup test", path.display());
    path.to_str().expect("a plain path").to_owned()
}

async fn in_background(program: String, arguments: Vec<String>) -> Output {
    tokio::task::spawn_blocking(move || run(&program, &arguments)).await.expect("no panic")
}

#[tokio::test(flavor = "multi_thread")]
async fn tuspy_survives_a_bad_network() {
    let python = installed(".tools/tus/bin/python");
    for (seed, checksums) in [(50, "without-checksums"), (51, "with-checksums")] {
        for up in Uploading::both(&[]).await {
            survives(&up, seed, async |url, file| {
                let file = file.to_str().expect("a plain path");
                let arguments = [&installed("tests/tus/upload.py"), url, file, checksums].map(str::to_owned);
                in_background(python.clone(), arguments.into()).await
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn tus_js_client_survives_a_bad_network() {
    installed("tests/tus/node_modules/tus-js-client");
    let cases =
        [(60, "tus-v1", "1"), (61, "tus-v1", "3"), (62, "ietf-draft-03", "1"), (63, "ietf-draft-05", "1")];
    for (seed, protocol, parallel) in cases {
        for up in Uploading::both(&[]).await {
            survives(&up, seed, async |url, file| {
                let file = file.to_str().expect("a plain path");
                let script = installed("tests/tus/upload.mjs");
                let arguments = [&script, url, file, protocol, parallel].map(str::to_owned);
                in_background("node".to_owned(), arguments.into()).await
            })
            .await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn uppy_survives_a_bad_network() {
    installed("tests/browser/node_modules/uppy");
    for up in Uploading::both(&[]).await {
        survives(&up, 70, async |url, file| {
            let home = url.strip_suffix("/api/uploads").expect("that is its path");
            let file = file.to_str().expect("a plain path");
            let arguments = [&installed("tests/browser/uppy.mjs"), home, file].map(str::to_owned);
            in_background("node".to_owned(), arguments.into()).await
        })
        .await;
    }
}
