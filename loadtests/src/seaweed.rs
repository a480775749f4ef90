//! A real S3 server for tests: `SeaweedFS` on free ports, in a folder of its own.
//!
//! `weed mini` runs every part in one process and is up in about a second. A small shell stands between us
//! and it: the shell holds the reading end of a pipe, and when that closes, because the value was dropped or
//! because our process died in whatever way, it kills the server and removes the folder. Parent-death signals
//! alone would be wrong here: they fire when the *thread* that started the child ends, and a test's thread
//! ends long before a server that all tests share.

mod bucket;

use std::{
    ffi::OsString,
    hash::{BuildHasher as _, Hasher as _, RandomState},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicU32, Ordering},
    time::Duration,
};

use bytes::Bytes;
use http::{Method, StatusCode, header};
use tempfile::TempDir;

pub use self::bucket::{Bucket, Checked};
use crate::{
    Error,
    child::{self, Attempts, Child, Ending},
    client::Client,
};

const NAME: &str = "weed";
const ACCESS_KEY: &str = "seekway";
const SECRET_KEY: &str = "seekway-test-secret";
/// The bucket that readiness is proved on, the only one open to unsigned requests.
const READY_BUCKET: &str = "seekway-ready";
const READY_WITHIN: Duration = Duration::from_mins(1);

/// Waits for the server or for the pipe on descriptor 3, whichever ends first. `setpriv` covers the case in
/// which the shell itself is killed. Status 137 says that the server was killed on purpose.
const KEEPER: &str = r#"
exec 3<&0
folder=$1
shift
setpriv --pdeathsig KILL -- "$@" 3<&- </dev/null >"$folder/log" 2>&1 &
server=$!
{ read -r _ <&3; kill -9 $server; } 2>/dev/null &
exec 3<&-
wait $server
status=$?
rm -f $SEEKWAY_SOCKETS
[ $status -eq 137 ] && rm -rf "$folder"
exit $status
"#;

/// A running server. Dropping it kills the server and removes its data.
#[derive(Debug)]
pub struct SeaweedFs {
    s3: SocketAddr,
    filer: SocketAddr,
    keeper: Child,
    /// How many [new ones](Self::new_bucket) there were.
    buckets: AtomicU32,
}

/// One port for each listener; SeaweedFS would otherwise pick fixed ones.
struct Ports {
    master: u16,
    master_grpc: u16,
    volume: u16,
    volume_grpc: u16,
    filer: u16,
    filer_grpc: u16,
    s3: u16,
    s3_grpc: u16,
    admin: u16,
}

/// The worker inside `weed mini` looks for the admin server's gRPC port here, whatever its flag says.
const ADMIN_GRPC_OFFSET: u16 = 10_000;

// === impl SeaweedFs ===

impl SeaweedFs {
    /// Starts a server and waits until an object was written to it and read back through S3.
    pub async fn start() -> Result<Self, Error> {
        Self::start_in(child::folder).await
    }

    /// The same with its data in memory, where there is a tmpfs.
    pub async fn start_in_memory() -> Result<Self, Error> {
        Self::start_in(child::folder_in_memory).await
    }

    async fn start_in(folder: fn(&str) -> Result<TempDir, Error>) -> Result<Self, Error> {
        let weed = find_weed()?;
        let mut attempts = Attempts::default();
        loop {
            let outcome = Self::start_once(&weed, folder(NAME)?).await;
            if !attempts.another(&outcome) {
                return outcome;
            }
        }
    }

    /// Where its S3 API listens.
    pub fn address(&self) -> SocketAddr {
        self.s3
    }

    /// The S3 endpoint, to be used with path-style addresses.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.s3)
    }

    /// The access key that may do everything.
    pub fn access_key(&self) -> &'static str {
        ACCESS_KEY
    }

    /// The secret of [`Self::access_key`].
    pub fn secret_key(&self) -> &'static str {
        SECRET_KEY
    }

    /// Creates a bucket. It may exist already.
    ///
    /// Buckets and their objects are files under `/buckets` in SeaweedFS; its file API needs no signature.
    pub async fn create_bucket(&self, name: &str) -> Result<Bucket, Error> {
        Bucket::create(self.filer, name.to_owned()).await
    }

    /// Creates a bucket that nobody has used.
    pub async fn new_bucket(&self) -> Result<Bucket, Error> {
        let nth = self.buckets.fetch_add(1, Ordering::Relaxed);
        self.create_bucket(&format!("bucket-{nth}")).await
    }

    /// Stores an object through the file API. `key` must be in its percent-encoded form.
    ///
    /// Enough for a test that only wants something to read: what a multipart upload through S3 does to an
    /// ETag is for the tests of the S3 client to find out.
    pub async fn put(
        &self,
        bucket: &str,
        key: &str,
        content_type: &str,
        body: impl Into<Bytes>,
    ) -> Result<(), Error> {
        let mut filer = Client::connect(self.filer).await?;
        let path = format!("/buckets/{bucket}/{key}");
        let headers = [(header::CONTENT_TYPE, content_type.to_owned())];
        let (answer, body) = filer.request(Method::PUT, &path, &headers, body).await?;
        expect_success("PUT", &path, answer.status, &body)
    }

    async fn start_once(weed: &Path, folder: TempDir) -> Result<Self, Error> {
        let ports = Ports::choose()?;
        let identities = folder.path().join("s3.json");
        child::write(&identities, identities_json())?;

        let mut command = Command::new("sh");
        command
            .arg("-c")
            .arg(KEEPER)
            .arg("seekway-weed")
            .arg(folder.path())
            .arg(weed)
            .args(ports.arguments(folder.path(), &identities))
            .env("TMPDIR", folder.path())
            .env("SEEKWAY_SOCKETS", ports.sockets());
        // An object that no other server has.
        let content = folder.path().display().to_string();
        let keeper = Child::spawn(NAME, &command, Ending::CloseInput, folder)?;
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (s3, filer) = (local(ports.s3), local(ports.filer));
        let mut server = Self { s3, filer, keeper, buckets: AtomicU32::new(0) };
        server.keeper.until_ready(READY_WITHIN, async || prove_ready(s3, filer, &content).await).await?;
        Ok(server)
    }
}

/// Writes and reads one object through S3, which needs master, volume, filer and S3 to be up.
async fn prove_ready(s3: SocketAddr, filer: SocketAddr, content: &str) -> Result<(), Error> {
    Bucket::create(filer, READY_BUCKET.to_owned()).await?;
    let path = format!("/{READY_BUCKET}/ready");
    let mut s3 = Client::connect(s3).await?;
    let (answer, body) = s3.request(Method::PUT, &path, &[], content.to_owned()).await?;
    expect_success("PUT", &path, answer.status, &body)?;
    let (answer, body) = s3.request(Method::GET, &path, &[], Bytes::new()).await?;
    expect_success("GET", &path, answer.status, &body)?;
    if body == content.as_bytes() { Ok(()) } else { Err(unexpected("GET", &path, answer.status, &body)) }
}

// === impl Ports ===

impl Ports {
    fn choose() -> Result<Self, Error> {
        let mut chosen = Vec::new();
        let mut next = || free_port(&mut chosen);
        Ok(Self {
            master: next()?,
            master_grpc: next()?,
            volume: next()?,
            volume_grpc: next()?,
            filer: next()?,
            filer_grpc: next()?,
            s3: next()?,
            s3_grpc: next()?,
            admin: next()?,
        })
    }

    fn arguments(&self, folder: &Path, identities: &Path) -> Vec<OsString> {
        let mut arguments: Vec<OsString> = vec!["mini".into()];
        let mut flag = |name: &str, value: &dyn std::fmt::Display| {
            arguments.push(format!("-{name}={value}").into());
        };
        flag("ip", &Ipv4Addr::LOCALHOST);
        flag("ip.bind", &Ipv4Addr::LOCALHOST);
        flag("dir", &folder.display());
        flag("master.port", &self.master);
        flag("master.port.grpc", &self.master_grpc);
        flag("master.telemetry", &false);
        flag("volume.port", &self.volume);
        flag("volume.port.grpc", &self.volume_grpc);
        // Each bucket takes volumes of its own; they cost nothing until they are written.
        flag("volume.max", &5000);
        flag("filer.port", &self.filer);
        flag("filer.port.grpc", &self.filer_grpc);
        flag("s3.port", &self.s3);
        flag("s3.port.grpc", &self.s3_grpc);
        flag("s3.config", &identities.display());
        // These two would bind fixed ports and end the server when they are taken.
        flag("s3.port.iceberg", &0);
        flag("s3.port.lance", &0);
        flag("webdav", &false);
        flag("admin.ui", &false);
        flag("admin.port", &self.admin);
        flag("admin.port.grpc", &(self.admin + ADMIN_GRPC_OFFSET));
        arguments
    }

    /// The Unix sockets that the server leaves behind in `/tmp`, wherever its data is.
    fn sockets(&self) -> String {
        let Self { master_grpc, volume_grpc, filer, filer_grpc, s3, s3_grpc, admin, .. } = self;
        let admin_grpc = admin + ADMIN_GRPC_OFFSET;
        [
            ("master-grpc", *master_grpc),
            ("volume-grpc", *volume_grpc),
            ("filer", *filer),
            ("filer-grpc", *filer_grpc),
            ("s3", *s3),
            ("s3-grpc", *s3_grpc),
            ("admin-grpc", admin_grpc),
        ]
        .map(|(name, port)| format!("/tmp/seaweedfs-{name}-{port}.sock"))
        .join(" ")
    }
}

/// A port that nobody listens on now. Random and below the range from which the kernel serves outgoing
/// connections (32768 and up on Linux), so that parallel tests rarely meet; so is the port
/// [`ADMIN_GRPC_OFFSET`] above it.
fn free_port(chosen: &mut Vec<u16>) -> Result<u16, Error> {
    const FIRST: u16 = 12_000;
    const COUNT: u64 = 10_000;
    let is_free = |port: u16| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok();
    for attempt in 0..1000 {
        let mut random = RandomState::new().build_hasher();
        random.write_u32(attempt);
        let offset = u16::try_from(random.finish() % COUNT).expect("a remainder of 10,000 fits");
        let port = FIRST + offset;
        if !chosen.contains(&port) && is_free(port) && is_free(port + ADMIN_GRPC_OFFSET) {
            chosen.push(port);
            return Ok(port);
        }
    }
    Err(std::io::Error::new(std::io::ErrorKind::AddrInUse, "no free port between 12000 and 22000").into())
}

/// `SEEKWAY_WEED`, then where `scripts/setup test` puts it, then `PATH`.
fn find_weed() -> Result<PathBuf, Error> {
    if let Some(path) = std::env::var_os("SEEKWAY_WEED") {
        let path = PathBuf::from(path);
        return if path.is_file() {
            Ok(path)
        } else {
            let looked_at = format!("SEEKWAY_WEED={}", path.display());
            Err(Error::MissingBinary { name: "weed", looked_at })
        };
    }
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let installed = workspace.join(".tools/seaweedfs/bin/weed");
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let mut candidates =
        std::iter::once(installed.clone()).chain(std::env::split_paths(&on_path).map(|dir| dir.join("weed")));
    candidates.find(|path| path.is_file()).ok_or_else(|| Error::MissingBinary {
        name: "weed",
        looked_at: format!("$SEEKWAY_WEED, {} and $PATH", installed.display()),
    })
}

fn identities_json() -> String {
    serde_json::json!({"identities": [
        {"name": "test",
         "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
         "actions": ["Admin", "Read", "Write", "List", "Tagging"]},
        {"name": "anonymous",
         "actions": [format!("Read:{READY_BUCKET}"), format!("Write:{READY_BUCKET}")]},
    ]})
    .to_string()
}

fn expect_success(method: &str, path: &str, status: StatusCode, body: &[u8]) -> Result<(), Error> {
    if status.is_success() { Ok(()) } else { Err(unexpected(method, path, status, body)) }
}

fn unexpected(method: &str, path: &str, status: StatusCode, body: &[u8]) -> Error {
    let body = String::from_utf8_lossy(&body[..body.len().min(500)]);
    Error::UnexpectedAnswer { request: format!("{method} {path}"), answer: format!("{status} {body}") }
}
