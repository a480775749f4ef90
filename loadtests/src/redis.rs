//! A real Redis for tests: one server, Sentinels in front of a pair, or a Cluster, on free ports and in folders
//! of their own. Each can be paused, killed and started again on its port, as a fault test needs.
//!
//! They end with the value, and with the thread that started them.

use std::{
    fmt::Write as _,
    io::{Read as _, Write as _},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use rustix::process::Signal;

use crate::{
    Error,
    child::{self, Attempts, Child, Ending},
};

const NAME: &str = "redis-server";
const READY_WITHIN: Duration = Duration::from_secs(20);
/// A Cluster's nodes talk to each other on this port above their own.
const BUS_OFFSET: u16 = 10_000;
/// The name under which the Sentinels know the master.
pub const MASTER: &str = "main";

/// One running server.
#[derive(Debug)]
pub struct Redis {
    child: Child,
    address: SocketAddr,
    options: Vec<String>,
}

/// A master, its replica, and three Sentinels that watch them.
#[derive(Debug)]
pub struct Sentinels {
    /// The master at the start, then its replica.
    pub servers: [Redis; 2],
    /// Who watches them.
    pub sentinels: Vec<Redis>,
}

/// A Cluster of three masters.
#[derive(Debug)]
pub struct Cluster {
    /// Its nodes.
    pub nodes: Vec<Redis>,
}

// === impl Redis ===

impl Redis {
    /// Starts a server that keeps nothing on disk, and waits until it answers.
    ///
    /// # Errors
    /// When there is no `redis-server`, or it does not come up.
    pub fn start() -> Result<Self, Error> {
        Self::start_with(&[])
    }

    /// The same with more of its command line.
    pub fn start_with(options: &[&str]) -> Result<Self, Error> {
        let mut attempts = Attempts::default();
        loop {
            let outcome = Self::start_once(options);
            if !attempts.another(&outcome) {
                return outcome;
            }
        }
    }

    /// A server that also speaks TLS, with this certificate and key, and asks for none; and where it does.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with_tls(certificate: &Path, key: &Path) -> Result<(Self, SocketAddr), Error> {
        let tls = free_address()?;
        let (port, certificate, key) =
            (tls.port().to_string(), certificate.to_string_lossy(), key.to_string_lossy());
        let options = ["--tls-port", &port, "--tls-cert-file", &certificate, "--tls-key-file", &key];
        let asks_for_none = ["--tls-ca-cert-file", &certificate, "--tls-auth-clients", "no"];
        Ok((Self::start_with(&[&options[..], &asks_for_none].concat())?, tls))
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address)
    }

    /// Sends one command and returns the answer as it came over the wire.
    ///
    /// # Errors
    /// When it cannot be reached, or does not answer within five seconds.
    pub fn command(&self, words: &[&str]) -> Result<String, Error> {
        send(self.address, words)
    }

    /// Flips a byte in the middle of every string value, and gives every fourth key another type.
    ///
    /// # Errors
    /// When it cannot be reached.
    pub fn corrupt_all(&self) -> Result<(), Error> {
        const SCRIPT: &str = r"
            local keys = redis.call('KEYS', '*')
            for nth, key in ipairs(keys) do
              if nth % 4 == 0 then
                redis.call('DEL', key)
                redis.call('SADD', key, 'not a string')
              elseif redis.call('TYPE', key).ok == 'string' then
                local middle = math.floor(redis.call('STRLEN', key) / 2)
                local byte = redis.call('GETRANGE', key, middle, middle)
                redis.call('SETRANGE', key, middle, string.char((string.byte(byte) or 0) % 255 + 1))
              end
            end
            return #keys";
        let answer = self.command(&["EVAL", SCRIPT, "0"])?;
        if answer.starts_with(':') {
            Ok(())
        } else {
            Err(Error::UnexpectedAnswer { request: "EVAL".into(), answer })
        }
    }

    /// Stops it in its tracks: connections stay open, and nothing answers.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets a paused server go on.
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    /// Ends it at once, as a crash does.
    pub fn kill(&mut self) {
        self.child.end().expect("a child of ours can be killed and waited for");
    }

    /// Starts it again on the same port, without its data.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.kill();
        self.child.respawn(&command(self.address, &self.options, self.child.folder())?)?;
        self.wait_until_ready()
    }

    fn start_once(options: &[&str]) -> Result<Self, Error> {
        let folder = child::folder("redis")?;
        let address = free_address()?;
        let options: Vec<String> = options.iter().map(|&option| option.to_owned()).collect();
        let command = command(address, &options, folder.path())?;
        let child = Child::spawn(NAME, &command, Ending::Kill, folder)?;
        let mut server = Self { child, address, options };
        server.wait_until_ready()?;
        Ok(server)
    }

    fn wait_until_ready(&mut self) -> Result<(), Error> {
        let address = self.address;
        self.child.until_ready_blocking(READY_WITHIN, || match send(address, &["PING"])? {
            // One that asks for a password is ready to ask for it.
            answer if answer.starts_with("+PONG") || answer.starts_with("-NOAUTH") => Ok(()),
            answer => Err(Error::UnexpectedAnswer { request: "PING".to_owned(), answer }),
        })
    }

    fn signal(&self, signal: Signal) {
        self.child.signal(signal).expect("it runs until this value is dropped");
    }
}

// === impl Sentinels ===

impl Sentinels {
    /// Starts them, and waits until the Sentinels know each other and the replica.
    ///
    /// # Errors
    /// When one of them does not come up.
    pub fn start() -> Result<Self, Error> {
        let master = Redis::start()?;
        let (host, port) = (Ipv4Addr::LOCALHOST, master.address.port());
        let replica = Redis::start_with(&["--replicaof", &host.to_string(), &port.to_string()])?;
        let mut sentinels = Vec::new();
        for _ in 0..3 {
            sentinels.push(Redis::start_with(&["--sentinel"])?);
        }
        for sentinel in &sentinels {
            sentinel.command(&["SENTINEL", "MONITOR", MASTER, &host.to_string(), &port.to_string(), "2"])?;
            sentinel.command(&["SENTINEL", "SET", MASTER, "down-after-milliseconds", "300"])?;
            sentinel.command(&["SENTINEL", "SET", MASTER, "failover-timeout", "2000"])?;
        }
        let all = Self { servers: [master, replica], sentinels };
        until("the Sentinels know each other and the replica", || {
            all.sentinels.iter().all(|sentinel| {
                let answer = sentinel.command(&["SENTINEL", "MASTER", MASTER]).unwrap_or_default();
                ["num-other-sentinels\r\n$1\r\n2", "num-slaves\r\n$1\r\n1"]
                    .iter()
                    .all(|part| answer.contains(part))
            })
        })?;
        Ok(all)
    }

    /// The URL that a client of the master uses.
    pub fn url(&self) -> String {
        let sentinels: Vec<_> = self.sentinels.iter().map(|sentinel| sentinel.address.to_string()).collect();
        format!("redis-sentinel://{}#{MASTER}", sentinels.join(","))
    }
}

// === impl Cluster ===

impl Cluster {
    /// Starts three nodes and shares the slots out among them.
    ///
    /// # Errors
    /// When one of them does not come up.
    pub fn start() -> Result<Self, Error> {
        let mut nodes = Vec::new();
        for _ in 0..3 {
            nodes.push(Redis::start_with(&["--cluster-enabled", "yes", "--cluster-node-timeout", "2000"])?);
        }
        for (node, (first, last)) in nodes.iter().zip([(0, 5460), (5461, 10_922), (10_923, 16_383)]) {
            node.command(&["CLUSTER", "ADDSLOTSRANGE", &u16::to_string(&first), &u16::to_string(&last)])?;
            let port = nodes[0].address.port().to_string();
            node.command(&["CLUSTER", "MEET", &Ipv4Addr::LOCALHOST.to_string(), &port])?;
        }
        let cluster = Self { nodes };
        until("the Cluster serves all slots", || {
            cluster.nodes.iter().all(|node| {
                let info = node.command(&["CLUSTER", "INFO"]).unwrap_or_default();
                info.contains("cluster_state:ok") && info.contains("cluster_known_nodes:3")
            })
        })?;
        Ok(cluster)
    }

    /// The URL that a client uses.
    pub fn url(&self) -> String {
        let nodes: Vec<_> = self.nodes.iter().map(|node| node.address.to_string()).collect();
        format!("redis-cluster://{}", nodes.join(","))
    }
}

fn send(address: SocketAddr, words: &[&str]) -> Result<String, Error> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    let mut request = format!("*{}\r\n", words.len());
    for word in words {
        write!(request, "${}\r\n{word}\r\n", word.len()).expect("a String takes all");
    }
    stream.write_all(request.as_bytes())?;
    // Its half is closed when all is answered.
    stream.shutdown(std::net::Shutdown::Write)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

/// What starts it in `folder`.
fn command(address: SocketAddr, options: &[String], folder: &Path) -> Result<Command, Error> {
    // A Sentinel insists on a configuration file that it can write.
    let configuration = folder.join("redis.conf");
    let settings = format!(
        "port {}\nbind {}\ndir {}\n{}",
        address.port(),
        address.ip(),
        folder.display(),
        if options.iter().any(|option| option == "--sentinel") { "" } else { "save \"\"\nappendonly no\n" },
    );
    child::write(&configuration, settings)?;
    let mut command = Command::new(NAME);
    command.arg(configuration).args(options);
    Ok(command)
}

/// An address that nobody listens on now, with a port that leaves room for a Cluster's second one.
fn free_address() -> Result<SocketAddr, Error> {
    loop {
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let bus = address.port().checked_add(BUS_OFFSET);
        if bus.is_some_and(|bus| TcpListener::bind((Ipv4Addr::LOCALHOST, bus)).is_ok()) {
            return Ok(address);
        }
    }
}

fn until(what: &str, condition: impl Fn() -> bool) -> Result<(), Error> {
    let started = Instant::now();
    while !condition() {
        let waited = started.elapsed();
        if waited > READY_WITHIN {
            let (last, log) = (format!("not yet: {what}"), String::new());
            return Err(Error::NotReady { name: NAME, waited, last, log });
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
