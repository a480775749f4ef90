//! The binary: what it says when it cannot start, and how it ends.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::wire::Wire;
use crate::support::{PATIENCE, path_text, until};

/// Every setting: its flag and its variable.
const SETTINGS: &[(&str, &str)] = &[
    ("--listen", "SEEKWAY_LISTEN"),
    ("--tls-listen", "SEEKWAY_TLS_LISTEN"),
    ("--tls-certificate", "SEEKWAY_TLS_CERTIFICATE"),
    ("--tls-key", "SEEKWAY_TLS_KEY"),
    ("--admin-listen", "SEEKWAY_ADMIN_LISTEN"),
    ("--threads", "SEEKWAY_THREADS"),
    ("--max-connections", "SEEKWAY_MAX_CONNECTIONS"),
    ("--header-bytes-max", "SEEKWAY_HEADER_BYTES_MAX"),
    ("--headers-max", "SEEKWAY_HEADERS_MAX"),
    ("--trusted-proxies", "SEEKWAY_TRUSTED_PROXIES"),
    ("--proxy-protocol", "SEEKWAY_PROXY_PROTOCOL"),
    ("--max-requests", "SEEKWAY_MAX_REQUESTS"),
    ("--client-connections", "SEEKWAY_CLIENT_CONNECTIONS"),
    ("--client-requests-per-second", "SEEKWAY_CLIENT_REQUESTS_PER_SECOND"),
    ("--client-requests-burst", "SEEKWAY_CLIENT_REQUESTS_BURST"),
    ("--client-bytes-per-second", "SEEKWAY_CLIENT_BYTES_PER_SECOND"),
    ("--header-timeout", "SEEKWAY_HEADER_TIMEOUT"),
    ("--idle-timeout", "SEEKWAY_IDLE_TIMEOUT"),
    ("--write-stall-timeout", "SEEKWAY_WRITE_STALL_TIMEOUT"),
    ("--drain-delay", "SEEKWAY_DRAIN_DELAY"),
    ("--drain-timeout", "SEEKWAY_DRAIN_TIMEOUT"),
    ("--storage-backend", "STORAGE_BACKEND"),
    ("--local-storage-dir", "LOCAL_STORAGE_DIR"),
    ("--s3-bucket", "S3_BUCKET"),
    ("--s3-endpoint", "S3_ENDPOINT"),
    ("--s3-public-endpoint", "S3_PUBLIC_ENDPOINT"),
    ("--s3-force-path-style", "S3_FORCE_PATH_STYLE"),
    ("--aws-region", "AWS_REGION"),
    ("--s3-connect-timeout", "SEEKWAY_S3_CONNECT_TIMEOUT"),
    ("--s3-read-timeout", "SEEKWAY_S3_READ_TIMEOUT"),
    ("--s3-answer-timeout", "SEEKWAY_S3_ANSWER_TIMEOUT"),
    ("--s3-attempts", "SEEKWAY_S3_ATTEMPTS"),
    ("--s3-requests-max", "SEEKWAY_S3_REQUESTS_MAX"),
    ("--s3-hedge-after", "SEEKWAY_S3_HEDGE_AFTER"),
    ("--s3-hedge-percent", "SEEKWAY_S3_HEDGE_PERCENT"),
    ("--s3-fallback", "S3_FALLBACK"),
    ("--cache-memory-bytes", "CACHE_MEMORY_BYTES"),
    ("--cache-segment-bytes", "CACHE_SEGMENT_BYTES"),
    ("--memory-budget-bytes", "MEMORY_BUDGET_BYTES"),
    ("--socket-memory-bytes", "SEEKWAY_SOCKET_MEMORY_BYTES"),
    ("--redis-url", "REDIS_URL"),
    ("--cache-redis-ttl", "CACHE_REDIS_TTL"),
    ("--cache-redis-read-timeout", "CACHE_REDIS_READ_TIMEOUT"),
    ("--metadata-ttl", "METADATA_TTL"),
    ("--stale-while-revalidate", "STALE_WHILE_REVALIDATE"),
    ("--stale-if-error", "STALE_IF_ERROR"),
    ("--negative-ttl", "NEGATIVE_TTL"),
    ("--cors-allow-origin", "SEEKWAY_CORS_ALLOW_ORIGIN"),
    ("--cache-control", "SEEKWAY_CACHE_CONTROL"),
    ("--listing", "SEEKWAY_LISTING"),
    ("--uploads", "SEEKWAY_UPLOADS"),
    ("--upload-bytes-max", "SEEKWAY_UPLOAD_BYTES_MAX"),
    ("--upload-asset-bytes-max", "SEEKWAY_UPLOAD_ASSET_BYTES_MAX"),
    ("--upload-types", "SEEKWAY_UPLOAD_TYPES"),
    ("--upload-memory-bytes", "SEEKWAY_UPLOAD_MEMORY_BYTES"),
    ("--uploads-max", "SEEKWAY_UPLOADS_MAX"),
    ("--quota-bytes", "SEEKWAY_QUOTA_BYTES"),
    ("--upload-expiry", "SEEKWAY_UPLOAD_EXPIRY"),
    ("--upload-stall-timeout", "SEEKWAY_UPLOAD_STALL_TIMEOUT"),
    ("--transcoding", "SEEKWAY_TRANSCODING"),
    ("--transcoding-profile", "SEEKWAY_TRANSCODING_PROFILE"),
    ("--leftovers-grace", "SEEKWAY_LEFTOVERS_GRACE"),
    ("--emf-every", "SEEKWAY_EMF_EVERY"),
    ("--queue-url", "QUEUE_URL"),
    ("--queue-sweep", "SEEKWAY_QUEUE_SWEEP"),
    ("--events-kept", "SEEKWAY_EVENTS_KEPT"),
    ("--webhooks-max", "SEEKWAY_WEBHOOKS_MAX"),
    ("--webhooks-to-private", "SEEKWAY_WEBHOOKS_TO_PRIVATE"),
    ("--webhook-timeout", "SEEKWAY_WEBHOOK_TIMEOUT"),
    ("--webhook-retry-after", "SEEKWAY_WEBHOOK_RETRY_AFTER"),
    ("--database-url", "DATABASE_URL"),
    ("--accounts", "SEEKWAY_ACCOUNTS"),
    ("--sign-up", "SEEKWAY_SIGN_UP"),
    ("--sign-up-role", "SEEKWAY_SIGN_UP_ROLE"),
    ("--session-lifetime", "SEEKWAY_SESSION_LIFETIME"),
    ("--token-lifetime", "SEEKWAY_TOKEN_LIFETIME"),
    ("--token-key-lifetime", "SEEKWAY_TOKEN_KEY_LIFETIME"),
    ("--log-in-attempts", "SEEKWAY_LOG_IN_ATTEMPTS"),
    ("--log-in-window", "SEEKWAY_LOG_IN_WINDOW"),
    ("--log", "SEEKWAY_LOG"),
    ("--access-log", "SEEKWAY_ACCESS_LOG"),
];

/// What is wrong for a setting: nearly all refuse the same text, whether they are a number, an address, a name,
/// a time, a size, a choice, a rule or an origin. `None` if it takes any text.
fn wrong(name: &str) -> Option<&'static str> {
    match name {
        "LOCAL_STORAGE_DIR" | "SEEKWAY_TLS_CERTIFICATE" | "SEEKWAY_TLS_KEY" => None,
        "SEEKWAY_LOG" => Some("wrong=wrong=wrong"),
        _ => Some("wrong \u{1}"),
    }
}

fn command(folder: &TempDir, env: &[(&str, &str)]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_gateway"));
    command
        .env_clear()
        .env("SEEKWAY_LISTEN", "127.0.0.1:0")
        .env("SEEKWAY_ADMIN_LISTEN", "127.0.0.1:0")
        .env("SEEKWAY_TRANSCODING", "off")
        .envs(env.iter().copied())
        .current_dir(folder.path())
        .stdin(Stdio::null());
    command
}

fn folder() -> TempDir {
    TempDir::new().expect("a temporary folder")
}

/// What it says and how it ends, for a gateway that should end by itself.
fn ended(mut command: Command) -> Output {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the gateway runs");
    let begun = Instant::now();
    while child.try_wait().expect("it is ours").is_none() {
        if begun.elapsed() > PATIENCE {
            child.kill().expect("it is ours");
            let output = child.wait_with_output().expect("it was killed");
            panic!("{command:?} does not end: {}", String::from_utf8_lossy(&output.stderr));
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    child.wait_with_output().expect("it has ended")
}

/// It ends with 64 and one line on stderr, which has `named` in it.
#[track_caller]
fn check_refused(env: &[(&str, &str)], arguments: &[&str], named: &[&str]) {
    check_ends(64, env, arguments, named);
}

#[track_caller]
fn check_ends(code: i32, env: &[(&str, &str)], arguments: &[&str], named: &[&str]) {
    let folder = folder();
    let mut command = command(&folder, env);
    command.args(arguments);
    let Output { status, stdout, stderr } = ended(command);
    let stderr = String::from_utf8(stderr).expect("text");
    assert_eq!(status.code(), Some(code), "{env:?} {arguments:?}: {stderr}");
    assert!(stdout.is_empty(), "{env:?}: {stdout:?}");
    assert_eq!(stderr.lines().count(), 1, "{env:?} {arguments:?}: {stderr}");
    assert!(stderr.starts_with("gateway: ") && stderr.ends_with('\n'), "{stderr}");
    for named in named {
        assert!(stderr.contains(named), "{env:?} {arguments:?}: {named} is not in {stderr}");
    }
}

/// Nobody listens on port 1.
#[test]
fn a_database_that_is_away_is_no_wrong_setting() {
    let url = ("DATABASE_URL", "postgres://postgres@127.0.0.1:1/seekway");
    check_ends(69, &[url], &[], &["--database-url (DATABASE_URL)", "the database is unavailable"]);
}

#[test]
fn every_wrong_setting_is_one_line_that_names_it() {
    for (flag, name) in SETTINGS {
        let Some(wrong) = wrong(name) else { continue };
        check_refused(&[(name, wrong)], &[], &[flag, name, "wrong"]);
        check_refused(&[], &[&format!("{flag}={wrong}")], &[flag, name, "wrong"]);
    }
    for (env, named) in [
        (("STORAGE_BACKEND", "s3"), "S3_BUCKET"),
        (("CACHE_MEMORY_BYTES", "1KiB"), "CACHE_MEMORY_BYTES"),
        (("MEMORY_BUDGET_BYTES", "0"), "MEMORY_BUDGET_BYTES"),
        (("CACHE_SEGMENT_BYTES", "100000"), "CACHE_SEGMENT_BYTES"),
        (("SEEKWAY_THREADS", "0"), "SEEKWAY_THREADS"),
        (("SEEKWAY_HEADER_TIMEOUT", "0s"), "SEEKWAY_HEADER_TIMEOUT"),
        (("S3_ENDPOINT", "http://user:password@host"), "S3_ENDPOINT"),
        // A folder that is a file, and one that cannot be made.
        (("LOCAL_STORAGE_DIR", "/dev/null"), "LOCAL_STORAGE_DIR"),
        (("LOCAL_STORAGE_DIR", "/proc/none/media"), "LOCAL_STORAGE_DIR"),
    ] {
        check_refused(&[env], &[], &[named]);
    }
    check_refused(&[], &["--no-such-setting=1"], &["--no-such-setting"]);
    check_refused(&[], &["serve"], &["serve"]);
}

#[test]
fn a_taken_port_is_one_line_that_names_the_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    check_refused(&[("SEEKWAY_LISTEN", &address)], &[], &["--listen (SEEKWAY_LISTEN)", &address]);
    check_refused(
        &[("SEEKWAY_ADMIN_LISTEN", &address)],
        &[],
        &["--admin-listen (SEEKWAY_ADMIN_LISTEN)", &address],
    );
    // An address of another machine (RFC 5737).
    check_refused(&[("SEEKWAY_LISTEN", "192.0.2.1:80")], &[], &["--listen (SEEKWAY_LISTEN)", "192.0.2.1:80"]);
}

#[test]
fn help_tells_every_setting() {
    let folder = folder();
    let asked = |flag| {
        let mut command = command(&folder, &[]);
        command.arg(flag);
        ended(command)
    };
    let output = asked("--help");
    let help = String::from_utf8(output.stdout).expect("text");
    assert!(output.status.success() && output.stderr.is_empty());
    // Without the line ends that wrapping put in.
    let words = help.split_whitespace().collect::<Vec<_>>().join(" ");
    for (flag, name) in SETTINGS {
        let told = |line: &str| line.trim_start().starts_with(&format!("{flag} ")) || line.trim() == *flag;
        let told = |line: &str| told(line) || line.trim_start().starts_with(&format!("{flag}["));
        assert!(help.lines().any(told), "{flag}");
        assert!(words.contains(&format!("[env: {name}]")), "{name}");
    }
    let flags = help.lines().filter(|line| line.trim_start().starts_with("--")).count();
    assert_eq!(flags, SETTINGS.len(), "a setting is missing in this test");
    assert_eq!(
        String::from_utf8_lossy(&asked("--version").stdout).trim(),
        format!("gateway {}", env!("CARGO_PKG_VERSION"))
    );
}

/// A running gateway and the lines of its log.
struct Running {
    child: Child,
    log: BufReader<std::process::ChildStderr>,
    address: String,
}

impl Running {
    fn start(folder: &TempDir, drain_delay: &str) -> Self {
        let env = [("SEEKWAY_ACCESS_LOG", "all"), ("SEEKWAY_DRAIN_DELAY", drain_delay)];
        let mut child = command(folder, &env)
            .env("LOCAL_STORAGE_DIR", path_text(&folder.path().join("media")))
            .stderr(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the gateway runs");
        let mut log = BufReader::new(child.stderr.take().expect("piped"));
        let serving = loop {
            let line = next_line(&mut log);
            if line["message"] == "serving" {
                break line;
            }
        };
        let address = serving["address"].as_str().expect("text").to_owned();
        Self { child, log, address }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only a failed test leaves it running.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A line of the log: JSON, since no terminal is at the other end.
#[track_caller]
fn next_line(log: &mut impl BufRead) -> Value {
    let mut line = String::new();
    log.read_line(&mut line).expect("text");
    let value: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line:?}"));
    for field in ["timestamp", "level", "target"] {
        assert!(value[field].is_string(), "{field} is missing in {line}");
    }
    value
}

#[tokio::test]
async fn signals_end_it_well_and_its_log_is_json() {
    // A person does not wait for load balancers.
    for (signal, drain_delay) in [(Signal::TERM, "10ms"), (Signal::INT, "1h")] {
        let folder = folder();
        let mut running = Running::start(&folder, drain_delay);
        let address = running.address.parse().expect("an address");
        let mut wire = Wire::connect(address).await;
        let answer = wire.ask("GET", "/media/none?a=%22%0A", &[("X-Request-Id", "an \"id\"")]).await;
        assert_eq!(answer.status, 404);
        running.signal(signal);
        let status = until("it ends", async || running.child.try_wait().expect("it is ours")).await;
        assert_eq!(status.code(), Some(0), "{status}");
        let mut lines = Vec::new();
        while !running.log.fill_buf().expect("readable").is_empty() {
            lines.push(next_line(&mut running.log));
        }
        let request = lines.iter().find(|line| line["message"] == "request").expect("an access log");
        assert_eq!((&request["client"], &request["protocol"]), (&"127.0.0.1".into(), &"HTTP/1.1".into()));
        assert_eq!((&request["status"], &request["id"]), (&Value::from(404), &Value::from("an \"id\"")));
        assert_eq!(lines.last().expect("lines")["message"], "stopped");
        let mut stdout = String::new();
        running.child.stdout.take().expect("piped").read_to_string(&mut stdout).expect("text");
        assert_eq!(stdout, "", "the log is on stderr");
    }
}

/// Load balancers need time to hear that it is not ready; until then it serves as ever.
#[tokio::test]
async fn sigterm_takes_readiness_first_and_a_second_signal_ends_at_once() {
    let folder = folder();
    let mut running = Running::start(&folder, "1h");
    let address = running.address.parse().expect("an address");
    let mut kept = Wire::connect(address).await;
    assert_eq!(kept.ask("GET", "/api/ready", &[]).await.status, 200);
    running.signal(Signal::TERM);
    until("it is not ready", async || {
        let ready = Wire::connect(address).await.ask("GET", "/api/ready", &[]).await;
        (ready.status == 503).then_some(())
    })
    .await;
    assert_eq!(kept.ask("GET", "/api/health", &[]).await.status, 200, "kept connections stay");
    assert_eq!(Wire::connect(address).await.ask("GET", "/", &[]).await.status, 200, "new ones are served");
    running.signal(Signal::TERM);
    let status = until("it ends", async || running.child.try_wait().expect("it is ours")).await;
    assert_eq!(status.code(), Some(1), "{status}");
}
