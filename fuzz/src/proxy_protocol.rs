//! The PROXY protocol, version 2. The input is what a connection begins with.

use std::net::SocketAddr;

use seekway_gateway::clients::proxy_protocol::{PREFIX_BYTES, parse_prefix, source};

/// See the module.
pub fn check(data: &[u8]) {
    let Some((prefix, payload)) = data.split_first_chunk::<PREFIX_BYTES>() else { return };
    let Ok(parsed) = parse_prefix(prefix) else { return };
    assert!(parsed.payload_bytes <= 2048, "more than is read");
    let Some(payload) = payload.get(..parsed.payload_bytes) else { return };
    let Ok(Some(address)) = source(parsed, payload) else { return };
    let written = write(prefix, address);
    let (prefix, payload) = written.split_first_chunk().expect("a whole header");
    let again = source(parse_prefix(prefix).expect("ours"), payload);
    assert_eq!(again, Ok(Some(address)), "written and read again");
}

/// The header of a proxy that was asked by `from`.
fn write(signature: &[u8; PREFIX_BYTES], from: SocketAddr) -> Vec<u8> {
    let mut header = signature[..12].to_vec();
    match from {
        SocketAddr::V4(from) => {
            header.extend([0x21, 0x11, 0, 12]);
            header.extend(from.ip().octets());
            header.extend([0; 4]);
        }
        SocketAddr::V6(from) => {
            header.extend([0x21, 0x21, 0, 36]);
            header.extend(from.ip().octets());
            header.extend([0; 16]);
        }
    }
    header.extend(from.port().to_be_bytes());
    header.extend([0; 2]);
    header
}
