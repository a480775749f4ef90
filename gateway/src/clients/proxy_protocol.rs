//! The PROXY protocol, version 2 (`HAProxy`'s `proxy-protocol.txt`, §2.2): what a load balancer that passes
//! TCP through says before the client's first byte. Only its binary form: version 1 has no length in front,
//! so it cannot be read without reading into what follows.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::io::{AsyncRead, AsyncReadExt};

/// Bytes before the addresses.
pub const PREFIX_BYTES: usize = 16;

/// Addresses and TLVs together: 216 bytes of the largest address, and room for a certificate's name and a
/// cloud's tags. The format allows 65,535, which no sender needs.
const PAYLOAD_BYTES_MAX: usize = 2048;

const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The fixed beginning of a header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prefix {
    command: Command,
    transport: Transport,
    /// Bytes that follow, TLVs included; at most 2,048.
    pub payload_bytes: usize,
}

/// Why a header is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadHeader {
    /// Something else, HTTP or version 1 perhaps.
    #[error("the connection does not begin with a PROXY protocol v2 header")]
    Signature,
    /// A version or command that there is not.
    #[error("the PROXY header has version and command {0:#04x}, not 0x20 or 0x21")]
    Command(u8),
    /// A family or protocol that there is not.
    #[error("the PROXY header has family and protocol {0:#04x}")]
    Transport(u8),
    /// More than any sender needs.
    #[error("the PROXY header has {0} bytes, more than {PAYLOAD_BYTES_MAX}")]
    TooLong(usize),
    /// Less than its addresses take.
    #[error("the PROXY header ends within its addresses")]
    TooShort,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Command {
    /// The proxy speaks for itself: a health check.
    Local,
    Proxy,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Transport {
    Tcp4,
    Tcp6,
    /// Unspecified, datagrams, UNIX sockets: no address that would mean anything here.
    Other,
}

/// Reads exactly the header's bytes and no more. `None`: the proxy names nobody, so the connection is its own.
///
/// Cancelling loses what was read: the connection is of no use afterwards. A time limit is up to the caller.
pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<SocketAddr>> {
    let invalid = |bad: BadHeader| io::Error::new(io::ErrorKind::InvalidData, bad);
    let mut prefix = [0; PREFIX_BYTES];
    stream.read_exact(&mut prefix).await?;
    let prefix = parse_prefix(&prefix).map_err(invalid)?;
    let mut payload = vec![0; prefix.payload_bytes];
    stream.read_exact(&mut payload).await?;
    source(prefix, &payload).map_err(invalid)
}

/// The first 16 bytes.
pub fn parse_prefix(bytes: &[u8; PREFIX_BYTES]) -> Result<Prefix, BadHeader> {
    let (signature, rest) = bytes.split_at(SIGNATURE.len());
    if signature != SIGNATURE {
        return Err(BadHeader::Signature);
    }
    let command = match rest[0] {
        0x20 => Command::Local,
        0x21 => Command::Proxy,
        other => return Err(BadHeader::Command(other)),
    };
    let transport = match rest[1] {
        0x11 => Transport::Tcp4,
        0x21 => Transport::Tcp6,
        0x00 | 0x12 | 0x22 | 0x31 | 0x32 => Transport::Other,
        other => return Err(BadHeader::Transport(other)),
    };
    let payload_bytes = usize::from(u16::from_be_bytes([rest[2], rest[3]]));
    if payload_bytes > PAYLOAD_BYTES_MAX {
        return Err(BadHeader::TooLong(payload_bytes));
    }
    Ok(Prefix { command, transport, payload_bytes })
}

/// Who connected to the proxy, from the bytes after the prefix; TLVs are skipped.
pub fn source(prefix: Prefix, payload: &[u8]) -> Result<Option<SocketAddr>, BadHeader> {
    let source = match (prefix.command, prefix.transport) {
        // "the receiver ... must not use address information" of LOCAL; and of what it does not know.
        (Command::Local, _) | (_, Transport::Other) => return Ok(None),
        // Source address, destination address, source port, destination port.
        (Command::Proxy, Transport::Tcp4) => {
            let fields: &[u8; 12] = payload.first_chunk().ok_or(BadHeader::TooShort)?;
            let [a, b, c, d, _, _, _, _, port @ .., _, _] = *fields;
            (IpAddr::from(Ipv4Addr::new(a, b, c, d)), port)
        }
        (Command::Proxy, Transport::Tcp6) => {
            let fields: &[u8; 36] = payload.first_chunk().ok_or(BadHeader::TooShort)?;
            let address: &[u8; 16] = fields.first_chunk().expect("36 bytes hold 16");
            (IpAddr::from(Ipv6Addr::from(*address)), [fields[32], fields[33]])
        }
    };
    Ok(Some(SocketAddr::new(source.0.to_canonical(), u16::from_be_bytes(source.1))))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(command: u8, transport: u8, payload: &[u8]) -> Vec<u8> {
        let length = u16::try_from(payload.len()).expect("16 bits").to_be_bytes();
        [SIGNATURE, &[command, transport][..], &length, payload].concat()
    }

    fn tcp4() -> Vec<u8> {
        vec![192, 0, 2, 1, 10, 0, 0, 1, 0x12, 0x34, 0, 80]
    }

    /// What is read, and what is left in the stream.
    async fn read_all(bytes: &[u8]) -> (Result<Option<String>, String>, usize) {
        let mut stream = bytes;
        let source = read(&mut stream).await;
        let shown = source.map(|source| source.map(|source| source.to_string()));
        (shown.map_err(|error| error.to_string()), stream.len())
    }

    #[tokio::test]
    async fn the_source_is_read_and_not_a_byte_more() {
        let mut tcp6 = [&[0x20, 0x01, 0x0d, 0xb8][..], &[0; 11], &[7], &[0; 16], &[0, 99, 1, 187]].concat();
        let tlv = [0x03, 0, 4, 1, 2, 3, 4];
        for (header, expected) in [
            (header(0x21, 0x11, &tcp4()), Some("192.0.2.1:4660")),
            (header(0x21, 0x11, &[&tcp4()[..], &tlv].concat()), Some("192.0.2.1:4660")),
            (header(0x21, 0x21, &tcp6), Some("[2001:db8::7]:99")),
            (header(0x20, 0x00, &[]), None),
            (header(0x20, 0x11, &tcp4()), None),
            (header(0x20, 0x11, &[]), None),
            (header(0x21, 0x00, &[1, 2, 3]), None),
            (header(0x21, 0x31, &[0; 216]), None),
        ] {
            let sent = [&header[..], b"GET / HTTP/1.1\r\n"].concat();
            assert_eq!(read_all(&sent).await, (Ok(expected.map(str::to_owned)), 16), "{header:?}");
        }
        tcp6[..16].copy_from_slice(&Ipv4Addr::new(192, 0, 2, 9).to_ipv6_mapped().octets());
        assert_eq!(read_all(&header(0x21, 0x21, &tcp6)).await.0, Ok(Some("192.0.2.9:99".to_owned())));
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let mut long = header(0x21, 0x11, &[0; PAYLOAD_BYTES_MAX + 1]);
        for (bytes, why) in [
            (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(), "does not begin with"),
            (b"PROXY TCP4 192.0.2.1 10.0.0.1 1 2\r\n".to_vec(), "does not begin with"),
            (header(0x11, 0x11, &tcp4()), "command 0x11"),
            (header(0x22, 0x11, &tcp4()), "command 0x22"),
            (header(0x21, 0x13, &tcp4()), "protocol 0x13"),
            (header(0x21, 0x41, &tcp4()), "protocol 0x41"),
            (header(0x21, 0x11, &tcp4()[..11]), "within its addresses"),
            (header(0x21, 0x21, &[0; 35]), "within its addresses"),
            (std::mem::take(&mut long), "2049 bytes"),
            (SIGNATURE.to_vec(), "eof"),
            (header(0x21, 0x11, &tcp4())[..20].to_vec(), "eof"),
        ] {
            let (read, _) = read_all(&bytes).await;
            assert!(read.as_ref().is_err_and(|error| error.contains(why)), "{bytes:?}: {read:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(prefix: [u8; PREFIX_BYTES], command in 0x20..0x22_u8, transport: u8, length in 0..40_u16) {
            let _ = parse_prefix(&prefix);
            let [high, low] = length.to_be_bytes();
            let likely = [&SIGNATURE[..], &[command, transport, high, low]].concat();
            if let Ok(prefix) = parse_prefix(likely.first_chunk().expect("16 bytes")) {
                let _ = source(prefix, &vec![7; prefix.payload_bytes]);
            }
        }
    }
}
