//! What a server costs its machine, read from outside: resident memory, and kernel memory of its sockets.
//!
//! `/proc/net/sockstat` counts TCP memory of the whole machine: of both ends of a loopback connection, and of
//! everybody else's. So the judge is what the kernel holds for each of the server's own sockets (`ss -m`, which
//! asks `sock_diag`); sockstat stands beside it, as the difference to before.

use std::{
    fs,
    path::PathBuf,
    process::{Command, Stdio},
};

use serde::Serialize;

use crate::Error;

/// A reading, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Footprint {
    /// Resident memory of the process (`VmRSS`), its binary's pages among it.
    pub resident: u64,
    /// Kernel memory of its sockets: queued for sending, received and not read, reserved for either.
    pub sockets: u64,
    /// How many sockets that are, those among them that the process has closed and the kernel still sends from.
    pub socket_count: u64,
    /// TCP memory of the whole machine.
    pub machine_tcp: u64,
}

// === impl Footprint ===

impl Footprint {
    /// Reads process `pid`, with the sockets that have a local port of `serving` or a remote one of `asking`.
    /// Blocks, some milliseconds for each thousand sockets.
    pub fn of(pid: u32, serving: &[u16], asking: &[u16]) -> Result<Self, Error> {
        let (sockets, socket_count) = sockets(serving, asking)?;
        Ok(Self { resident: resident(pid)?, sockets, socket_count, machine_tcp: machine_tcp()? })
    }

    /// Resident memory and the sockets' together.
    pub fn total(&self) -> u64 {
        self.resident + self.sockets
    }

    /// The greater of each, from one reading or the other.
    #[must_use]
    pub fn peak(self, other: Self) -> Self {
        Self {
            resident: self.resident.max(other.resident),
            sockets: self.sockets.max(other.sockets),
            socket_count: self.socket_count.max(other.socket_count),
            machine_tcp: self.machine_tcp.max(other.machine_tcp),
        }
    }
}

fn resident(pid: u32) -> Result<u64, Error> {
    let path = format!("/proc/{pid}/status");
    let status = read(&path)?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kib.map(|kib| kib * 1024).ok_or_else(|| unexpected(&path, &status))
}

fn machine_tcp() -> Result<u64, Error> {
    let path = "/proc/net/sockstat";
    let text = read(path)?;
    let pages = text.lines().find_map(|line| line.strip_prefix("TCP: ")?.split_once(" mem ")?.1.parse().ok());
    let page_bytes = rustix::param::page_size() as u64;
    pages.map(|pages: u64| pages * page_bytes).ok_or_else(|| unexpected(path, &text))
}

/// Kernel memory of the sockets with a local port of `serving` or a remote one of `asking`, and how many they are.
pub(crate) fn sockets(serving: &[u16], asking: &[u16]) -> Result<(u64, u64), Error> {
    let serving = serving.iter().map(|port| format!("sport = :{port}"));
    let asking = asking.iter().map(|port| format!("dport = :{port}"));
    let filter = serving.chain(asking).collect::<Vec<_>>().join(" or ");
    let output =
        Command::new("ss").args(["-tanmOH", &filter]).stdin(Stdio::null()).output().map_err(|_| {
            Error::MissingBinary { name: "ss", looked_at: "$PATH; Debian has it in iproute2".to_owned() }
        })?;
    let text = String::from_utf8_lossy(&output.stdout);
    let mut total = (0, 0);
    for line in text.lines().filter(|line| has_buffers(line)) {
        total.0 += socket_memory(line).ok_or_else(|| unexpected("ss -tanmOH", line))?;
        total.1 += 1;
    }
    Ok(total)
}

/// What is only beginning, or over, is a few bytes of its own, and not told. FIN-WAIT-2 is either: the kernel keeps
/// those that nobody has open any more as it keeps those in TIME-WAIT.
fn has_buffers(line: &str) -> bool {
    let is_over = line.starts_with("FIN-WAIT-2") && !line.contains("skmem:");
    !is_over && !["TIME-WAIT", "SYN-RECV"].iter().any(|state| line.starts_with(state))
}

/// `… skmem:(r0,rb131072,t0,tb87040,f4096,w0,o0,bl0,d0)`, as ss(8) explains it: what is received and unread (r),
/// reserved (f), queued for sending (w), of options (o), and waiting for the reader's lock (bl). The buffers'
/// bounds (rb, tb) are no memory, and t is a part of w.
fn socket_memory(line: &str) -> Option<u64> {
    let fields = line.split_once("skmem:(")?.1.split_once(')')?.0;
    let mut bytes = 0;
    for field in fields.split(',') {
        let (name, value) = field.split_at(field.find(|c: char| c.is_ascii_digit())?);
        if matches!(name, "r" | "f" | "w" | "o" | "bl") {
            bytes += value.parse::<u64>().ok()?;
        }
    }
    Some(bytes)
}

fn read(path: &str) -> Result<String, Error> {
    fs::read_to_string(path).map_err(|source| Error::File { path: PathBuf::from(path), source })
}

fn unexpected(what: &str, answer: &str) -> Error {
    Error::UnexpectedAnswer { request: what.to_owned(), answer: answer.to_owned() }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    const PAIRS: u64 = 8;

    #[test]
    fn only_what_is_memory_is_summed() {
        let line =
            "ESTAB 0 0 127.0.0.1:1 127.0.0.1:2 skmem:(r1,rb131072,t16,tb87040,f100,w10,o1000,bl10000,d7)";
        assert_eq!(socket_memory(line), Some(11_111));
        assert_eq!(socket_memory("ESTAB 0 0 127.0.0.1:1 127.0.0.1:2"), None);
        assert!(has_buffers(line) && !has_buffers("SYN-RECV 0 0 127.0.0.1:1 127.0.0.1:2"));
        assert!(has_buffers(&line.replace("ESTAB", "FIN-WAIT-2")));
        assert!(!has_buffers("FIN-WAIT-2 0 0 127.0.0.1:1 127.0.0.1:2"));
    }

    #[tokio::test]
    async fn what_a_socket_holds_back_is_seen() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let footprint = || Footprint::of(std::process::id(), &[], &[address.port()]).unwrap();
        let before = footprint();
        let mut pairs = Vec::new();
        for _ in 0..PAIRS {
            let mut client = tokio::net::TcpStream::connect(address).await.unwrap();
            let (server, _) = listener.accept().await.unwrap();
            client.write_all(&vec![1; 1 << 20]).await.unwrap();
            pairs.push((client, server));
        }
        let after = footprint();
        assert_eq!((before.socket_count, after.socket_count), (0, PAIRS));
        assert!(after.resident > 1 << 20, "{after:?}");
        let everywhere = Footprint::of(std::process::id(), &[address.port()], &[address.port()]).unwrap();
        assert_eq!(everywhere.socket_count, 2 * PAIRS + 1, "both ends and the listener: {everywhere:?}");
        assert!(everywhere.sockets >= PAIRS << 20, "{everywhere:?}");
        // Each processor settles its account by the MiB (sysctl net.core.mem_pcpu_rsv), so the sum lags behind.
        assert!(everywhere.machine_tcp >= PAIRS << 19, "{everywhere:?}");
    }
}
