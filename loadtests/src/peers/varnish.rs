//! A real Varnish, with its objects in memory.

use std::{
    net::{SocketAddr, TcpStream},
    process::Command,
    time::Duration,
};

use crate::{
    Error,
    child::{self, Attempts, Child, Ending},
};

const NAME: &str = "varnishd";
/// It compiles its configuration with gcc first.
const READY_WITHIN: Duration = Duration::from_secs(30);

/// What it would write about each request and connection into its shared memory log, which cannot be turned off.
const UNLOGGED: &str = "\
    -BackendClose,-BackendOpen,-BackendReuse,-BackendStart,-Begin,-BereqAcct,-BereqHeader,\
    -BereqMethod,-BereqProtocol,-BereqURL,-BereqUnset,-BerespHeader,-BerespProtocol,-BerespReason,\
    -BerespStatus,-BerespUnset,-End,-Fetch_Body,-Filters,-Hit,-HitMiss,-HitPass,-Length,-Link,\
    -ReqAcct,-ReqHeader,-ReqMethod,-ReqProtocol,-ReqStart,-ReqURL,-ReqUnset,-RespHeader,\
    -RespProtocol,-RespReason,-RespStatus,-RespUnset,-SessClose,-SessOpen,-Storage,-TTL,-Timestamp,\
    -VCL_call,-VCL_return,-VCL_use,-VSL,-Witness";

/// A running Varnish. Dropping it stops it; it also ends with the thread that started it.
#[derive(Debug)]
pub(super) struct Varnish {
    child: Child,
    address: SocketAddr,
}

// === impl Varnish ===

impl Varnish {
    /// Starts it in front of `origin`, with room for `bytes` of objects.
    pub(super) async fn start(origin: SocketAddr, bytes: u64, workers: Option<usize>) -> Result<Self, Error> {
        let mut attempts = Attempts::default();
        loop {
            let outcome = Self::start_once(origin, bytes, workers).await;
            if !attempts.another(&outcome) {
                return outcome;
            }
        }
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its manager, whose child does the work.
    pub(super) fn pid(&self) -> u32 {
        self.child.pid()
    }

    /// The last lines that it wrote.
    pub(super) fn log_tail(&self) -> String {
        self.child.log_tail()
    }

    async fn start_once(origin: SocketAddr, bytes: u64, workers: Option<usize>) -> Result<Self, Error> {
        // Its log is a mapped file, which must not be on a disk.
        let folder = child::folder_in_memory("varnish")?;
        let [address] = child::free_addresses()?;
        let pools = workers.map_or_else(|| std::thread::available_parallelism().map(Into::into), Ok)?;
        child::write(&folder.path().join("films.vcl"), configuration(origin))?;
        let mut command = Command::new(child::find_binary(NAME)?);
        command
            // As this user, in this folder, without a port for its command line.
            .args(["-F", "-j", "none", "-T", "none", "-n"])
            .arg(folder.path().join("work"))
            .arg("-f")
            .arg(folder.path().join("films.vcl"))
            .args(["-a", &address.to_string(), "-s", &format!("malloc,{bytes}")]);
        for (parameter, value) in [
            ("http_range_support", "on".to_owned()),
            ("http_gzip_support", "off".to_owned()),
            ("vsl_mask", UNLOGGED.to_owned()),
            ("vsl_space", "1M".to_owned()),
            ("timeout_idle", "3600".to_owned()),
            ("thread_pools", pools.to_string()),
            // Enough from the start for as many requests at once as any scenario has.
            ("thread_pool_min", "500".to_owned()),
            // Each client that does not read holds one.
            ("thread_pool_max", "12000".to_owned()),
            ("thread_queue_limit", "20000".to_owned()),
            ("feature", "+http2".to_owned()),
            // A film makes room for itself, however small the pieces that have to go; otherwise it is cut short.
            ("nuke_limit", "1000000".to_owned()),
        ] {
            command.args(["-p", &format!("{parameter}={value}")]);
        }
        let mut child = Child::spawn(NAME, &command, Ending::Terminate, folder)?;
        child.until_ready(READY_WITHIN, async || Ok(TcpStream::connect(address).map(drop)?)).await?;
        Ok(Self { child, address })
    }
}

/// Every request may be answered from memory, while the object is still arriving, too.
fn configuration(origin: SocketAddr) -> String {
    let (host, port) = (origin.ip(), origin.port());
    format!(
        "vcl 4.1;
backend origin {{ .host = \"{host}\"; .port = \"{port}\"; .first_byte_timeout = 60s; }}
sub vcl_recv {{ return (hash); }}
sub vcl_backend_response {{
  set beresp.ttl = 1h;
  set beresp.do_stream = true;
}}
"
    )
}
