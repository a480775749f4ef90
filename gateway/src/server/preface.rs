//! What a client speaks on the plain listener: HTTP/2 by prior knowledge begins with a fixed preface
//! (RFC 9113 §3.4), and no request of HTTP/1 begins like it.
//!
//! hyper-util can tell them apart, too (`server::conn::auto`), but its HTTP/1 cannot bound a request head.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;

use bytes::Bytes;
use tokio::io::{AsyncRead, ReadBuf};

use super::guarded_stream::GuardedStream;

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Whether the client speaks HTTP/2; what was read to see it can be read again. Ends with the first byte that
/// differs, or with the client.
pub(super) async fn is_http2(stream: &mut GuardedStream) -> io::Result<bool> {
    let mut room = [0; PREFACE.len()];
    let mut read = ReadBuf::new(&mut room);
    let is_http2 = loop {
        let before = read.filled().len();
        poll_fn(|cx| Pin::new(&mut *stream).poll_read(cx, &mut read)).await?;
        if read.filled().len() == before || !PREFACE.starts_with(read.filled()) {
            break false;
        }
        if read.remaining() == 0 {
            break true;
        }
    };
    stream.unread(Bytes::copy_from_slice(read.filled()));
    Ok(is_http2)
}
