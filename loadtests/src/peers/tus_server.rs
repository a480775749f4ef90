//! The official tus server, `@tus/server` with `@tus/s3-store`, in front of a bucket.

use std::{
    net::{SocketAddr, TcpStream},
    path::Path,
    process::Command,
    time::Duration,
};

use crate::{
    Error,
    child::{self, Attempts, Child, Ending},
    seaweed::{Bucket, SeaweedFs},
};

const NAME: &str = "node";
const READY_WITHIN: Duration = Duration::from_secs(30);
/// Where it takes uploads.
pub(super) const PATH: &str = "/files";

/// A running tus server. Dropping it stops it; it also ends with the thread that started it.
#[derive(Debug)]
pub(super) struct TusServer {
    child: Child,
    address: SocketAddr,
}

// === impl TusServer ===

impl TusServer {
    /// Starts it in front of `bucket`.
    pub(super) async fn start(seaweed: &SeaweedFs, bucket: &Bucket) -> Result<Self, Error> {
        let mut attempts = Attempts::default();
        loop {
            let outcome = Self::start_once(seaweed, bucket).await;
            if !attempts.another(&outcome) {
                return outcome;
            }
        }
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// The last lines that it wrote.
    pub(super) fn log_tail(&self) -> String {
        self.child.log_tail()
    }

    async fn start_once(seaweed: &SeaweedFs, bucket: &Bucket) -> Result<Self, Error> {
        let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("peers/tus");
        if !place.join("node_modules/@tus/server").is_dir() {
            let looked_at = place.join("node_modules").display().to_string();
            return Err(Error::MissingBinary { name: "@tus/server", looked_at });
        }
        let [address] = child::free_addresses()?;
        // It writes each part to a temporary file before it sends it.
        let folder = child::folder_in_memory("tus-server")?;
        let mut command = Command::new(child::find_binary(NAME)?);
        command
            .arg(place.join("server.mjs"))
            .env("NODE_ENV", "production")
            .env("TMPDIR", folder.path())
            .env("PORT", address.port().to_string())
            .env("S3_ENDPOINT", seaweed.endpoint())
            .env("S3_BUCKET", bucket.name())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", seaweed.access_key())
            .env("AWS_SECRET_ACCESS_KEY", seaweed.secret_key());
        let mut child = Child::spawn(NAME, &command, Ending::Terminate, folder)?;
        child.until_ready(READY_WITHIN, async || Ok(TcpStream::connect(address).map(drop)?)).await?;
        Ok(Self { child, address })
    }
}
