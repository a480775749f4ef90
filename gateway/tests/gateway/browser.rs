//! What `make run` starts, as a person meets it: what it prints is true, and a real browser plays and seeks on its
//! console page.

use std::convert::Infallible;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use seekway_catalog::{Catalog, Filter, Options, Phase, Progress, VideoState, Viewer};
use tempfile::TempDir;
use tokio::net::TcpStream;

use crate::support::tools::{root, run, stdout_of};
use crate::support::wire::Wire;
use crate::support::{path_text, until};

/// It makes its sample video first, which takes 9 s on two cores that do nothing else.
const PRINTED_WITHIN: Duration = Duration::from_mins(3);

/// The last line that the script prints before it becomes the gateway.
const LAST_LINE: &str = "Ctrl-C stops it.";

#[tokio::test]
async fn a_browser_plays_and_seeks_on_what_make_run_serves() {
    let installed = root().join("tests/browser/node_modules/playwright-core").is_dir();
    assert!(installed, "playwright-core is not in tests/browser; run scripts/setup test");
    let mut running = MakeRun::start();
    let printed = running.printed().await;
    let address = running.address;
    let url = format!("http://{address}/");
    assert_eq!(after(&printed, "in a browser "), url, "{printed}");
    for variable in ["S3_BUCKET=", "S3_ENDPOINT="] {
        let told = printed.lines().any(|line| line.contains(variable) && line.ends_with(" make run"));
        assert!(told, "{variable} is not in {printed}");
    }
    until("it is ready", async || {
        TcpStream::connect(address).await.ok()?;
        let answer = Wire::connect(address).await.ask("GET", "/api/ready", &[]).await;
        (answer.status == 200).then_some(())
    })
    .await;
    running.the_curl_example_gets_its_range(after(&printed, "with curl ")).await;

    let script = root().join("tests/browser/seek.mjs");
    let output = run("node", &[script.to_str().expect("a plain path"), &url]);
    println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}", output.status);
    assert!(String::from_utf8_lossy(&output.stdout).contains("ok "), "it says what it checked");
    let script = root().join("tests/browser/upload.mjs");
    let sample = running.media().join("sample.mp4");
    let arguments = [path_text(&script), &url, path_text(&sample)].map(str::to_owned);
    let mut looking = tokio::task::spawn_blocking(move || run("node", &arguments));
    let catalog = Catalog::open(&running.database().parse().expect("a URL"), &Options::default()).await;
    let catalog = catalog.expect("opens");
    let output = tokio::select! {
        output = &mut looking => output.expect("no panic"),
        never = work(&catalog) => match never {},
    };
    println!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}", output.status);
    // A shell would die of the signal: only the gateway itself ends well.
    let status = running.terminate().await;
    assert_eq!(status.code(), Some(0), "{status}");
}

/// What a worker says of every video, over and over.
async fn work(catalog: &Catalog) -> Infallible {
    loop {
        for percent in 1..100 {
            let videos = catalog.videos();
            for video in videos.list(&Filter::of(Viewer::Admin), None, 10).await.expect("lists") {
                // It may be deleted meanwhile.
                if video.state == VideoState::Uploaded {
                    let _ = videos.set_state(video.id, VideoState::Processing, None).await;
                }
                let progress =
                    Progress { phase: Phase::Transcoding, percent, speed_milli: None, eta_seconds: None };
                let _ = videos.set_progress(video.id, progress).await;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

/// The rest of the printed line that begins so.
#[track_caller]
fn after<'a>(printed: &'a str, label: &str) -> &'a str {
    let rest = printed.lines().find_map(|line| line.trim_start().strip_prefix(label));
    rest.unwrap_or_else(|| panic!("no line begins with {label:?}: {printed}")).trim()
}

fn database_in(folder: &TempDir) -> String {
    format!("sqlite:{}", folder.path().join("seekway.db").display())
}

/// `scripts/run`, which is all that `make run` does, on a gateway that is built already and an empty media folder.
struct MakeRun {
    child: Child,
    address: SocketAddr,
    folder: TempDir,
}

// === impl MakeRun ===

impl MakeRun {
    fn start() -> Self {
        let folder = TempDir::new().expect("a temporary folder");
        fs::create_dir(folder.path().join("media")).expect("a new folder");
        let output = |name: &str| File::create(folder.path().join(name)).expect("a new file");
        let (address, admin_address) = free_addresses();
        // It ends with this test's thread, also when nothing of ours can run any more.
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "TERM", "--"])
            .arg(root().join("scripts/run"))
            // Nothing of the tester's environment: an S3_BUCKET there would be served instead.
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", folder.path())
            .env("SEEKWAY_GATEWAY", env!("CARGO_BIN_EXE_gateway"))
            .env("SEEKWAY_LISTEN", address.to_string())
            .env("SEEKWAY_ADMIN_LISTEN", admin_address.to_string())
            .env("SEEKWAY_DRAIN_DELAY", "0s")
            // The test is the worker.
            .env("SEEKWAY_TRANSCODING", "off")
            .env("LOCAL_STORAGE_DIR", folder.path().join("media"))
            .env("DATABASE_URL", database_in(&folder))
            // The script, and what it runs to make its sample, can be killed together.
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(output("stdout"))
            .stderr(output("stderr"))
            .spawn()
            .expect("setpriv is there; scripts/setup test installs it");
        Self { child, address, folder }
    }

    fn database(&self) -> String {
        database_in(&self.folder)
    }

    /// All that the script prints.
    async fn printed(&mut self) -> String {
        let begun = Instant::now();
        loop {
            let printed = self.output("stdout");
            if printed.contains(LAST_LINE) {
                return printed;
            }
            let ended = self.child.try_wait().expect("it is ours");
            assert!(ended.is_none(), "scripts/run ended: {ended:?}");
            assert!(begun.elapsed() < PRINTED_WITHIN, "scripts/run does not start the gateway");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    async fn the_curl_example_gets_its_range(&self, example: &str) {
        let (first, last) = (1_000_000, 1_065_535);
        let sample = fs::read(self.media().join("sample.mp4")).expect("the script makes it");
        let content_range = format!("bytes {first}-{last}/{}", sample.len());
        // As a person pastes it; it shows the head and drops the body.
        let head = stdout_of("bash", &["-c", example]);
        assert!(head.starts_with("HTTP/1.1 206 "), "{example}: {head}");
        let told = head.lines().filter_map(|line| line.split_once(": "));
        let told =
            told.filter(|(name, _)| name.eq_ignore_ascii_case("content-range")).map(|(_, value)| value);
        assert_eq!(told.collect::<Vec<_>>(), [content_range.as_str()], "{example}: {head}");

        let url = example.split_whitespace().last().expect("it is not empty");
        let target = url.strip_prefix(&format!("http://{}", self.address)).expect("it asks this gateway");
        let range = format!("bytes={first}-{last}");
        let answer = Wire::connect(self.address).await.ask("GET", target, &[("Range", &range)]).await;
        assert_eq!((answer.status, answer.header("content-range")), (206, content_range.as_str()));
        assert!(answer.complete && answer.body == sample[first..=last], "{range} of {url} has other bytes");
    }

    /// Asks it to end as a service manager does, and waits until it has.
    async fn terminate(&mut self) -> ExitStatus {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it runs");
        until("it ends", async || self.child.try_wait().expect("it is ours")).await
    }

    fn media(&self) -> PathBuf {
        self.folder.path().join("media")
    }

    fn output(&self, name: &str) -> String {
        fs::read(self.folder.path().join(name))
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
            .unwrap_or_default()
    }
}

impl Drop for MakeRun {
    fn drop(&mut self) {
        // Only a failed test leaves it running.
        let runs = !matches!(self.child.try_wait(), Ok(Some(_)));
        if runs && kill_process_group(Pid::from_child(&self.child), Signal::KILL).is_ok() {
            drop(self.child.wait());
        }
        if std::thread::panicking() {
            println!("scripts/run said:\n{}{}", self.output("stdout"), self.output("stderr"));
        }
    }
}

/// Two addresses that nobody listens on, and nobody will while the sample is made: all of 127.0.0.0/8 is this
/// machine, and the host is one that no other test uses.
fn free_addresses() -> (SocketAddr, SocketAddr) {
    let [_, high, middle, low] = std::process::id().to_be_bytes();
    // A process id has 22 bits.
    let host = Ipv4Addr::new(127, 64 + high % 64, middle, low);
    let bind = || TcpListener::bind((host, 0)).expect("a free port");
    // Held together so that they differ.
    let (one, other) = (bind(), bind());
    (one.local_addr().expect("it is bound"), other.local_addr().expect("it is bound"))
}
