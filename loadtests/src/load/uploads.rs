//! Uploads by tus 1.0 (<https://tus.io/protocols/resumable-upload>): created, and sent in one request or in pieces.
//!
//! What counts as a request is a whole upload, on a connection of its own, and its first byte is the answer to its
//! creation. The bytes were made before, and are sent without another copy in this process. The answers alone do not
//! say that all of them arrived: see [`Content::first_wrong`].

use std::{cell::RefCell, ops::Range, time::Instant};

use futures_util::future::join_all;
use serde::{Deserialize, Serialize};

use super::{
    Lane, Recorder,
    http1::{Connection, Head},
    ranges::PAUSE,
};
use crate::{Error, pattern};

/// All uploads repeat this much of one pattern, each beginning elsewhere. A prime, so that no two parts of an upload are
/// alike, and so little that making it costs nobody anything.
const BLOCK_BYTES: usize = 16_777_259;
/// Two uploads begin so far from each other in it.
const STRIDE_BYTES: u64 = 104_729;
/// An `ftyp` box (ISO/IEC 14496-12 §4.3) without its minor version, which anybody may choose: it is the upload's name.
const BRAND: &[u8; 12] = b"\0\0\0\x18ftypisom";
const COMPATIBLE: &[u8; 8] = b"isomiso2";
const BOX_BYTES: usize = BRAND.len() + 4 + COMPATIBLE.len();
/// Sent by one system call.
const SENT_BYTES: usize = 1 << 20;
/// `film.mp4` and `video/mp4`.
const METADATA: &str = "filename ZmlsbS5tcDQ=,filetype dmlkZW8vbXA0";

/// Uploads, each begun when one of those before has ended.
///
/// They are created at the path of the target's first film.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Uploads {
    /// Uploads at a time.
    pub at_once: usize,
    /// The length of each.
    pub bytes: u64,
    /// What one request carries at most.
    pub piece_bytes: u64,
}

/// What is uploaded.
#[derive(Debug)]
pub struct Content {
    block: Vec<u8>,
}

// === impl Content ===

impl Content {
    /// So many first bytes say which upload it is.
    pub const BEGINNING_BYTES: u64 = BOX_BYTES as u64;

    /// Makes it.
    pub fn new() -> Self {
        let mut block = vec![0; BLOCK_BYTES];
        pattern::fill(0, 0, &mut block);
        Self { block }
    }

    /// What upload number `ticket` of the run with this seed is called.
    fn name(seed: u64, ticket: u64) -> u32 {
        let low = |number: u64| u32::from(u16::try_from(number & 0xffff).expect("16 bits"));
        low(seed) << 16 | low(ticket)
    }

    /// The first bytes of an upload.
    fn beginning(name: u32) -> [u8; BOX_BYTES] {
        let bytes = [BRAND.as_slice(), &name.to_be_bytes(), COMPATIBLE].concat();
        bytes.try_into().expect("12, 4 and 8 bytes")
    }

    /// The bytes of an upload from `at` on, which is behind its beginning: as many as lie together.
    fn rest(&self, name: u32, at: u64) -> &[u8] {
        let place = (u64::from(name) * STRIDE_BYTES + at) % BLOCK_BYTES as u64;
        &self.block[usize::try_from(place).expect("less than a block")..]
    }

    /// All of it, of an upload of so many bytes.
    pub fn bytes(&self, seed: u64, ticket: u64, length: usize) -> Vec<u8> {
        let name = Self::name(seed, ticket);
        let mut bytes = Self::beginning(name).to_vec();
        while bytes.len() < length {
            let rest = self.rest(name, bytes.len() as u64);
            bytes.extend_from_slice(&rest[..rest.len().min(length - bytes.len())]);
        }
        bytes.truncate(length);
        bytes
    }

    /// Which upload of the run with this seed begins like this, if one does.
    pub fn ticket_of(seed: u64, beginning: &[u8]) -> Option<u64> {
        let rest = beginning.strip_prefix(BRAND)?;
        let name = u32::from_be_bytes(*rest.first_chunk()?);
        let ticket = u64::from(name & 0xffff);
        (Self::name(seed, ticket) == name && rest.get(4..)?.starts_with(COMPATIBLE)).then_some(ticket)
    }

    /// Where in upload number `ticket` of the run with this seed the first wrong one of `bytes` lies, which begin at
    /// `offset`.
    pub fn first_wrong(&self, seed: u64, ticket: u64, mut offset: u64, mut bytes: &[u8]) -> Option<u64> {
        let name = Self::name(seed, ticket);
        let beginning = Self::beginning(name);
        while !bytes.is_empty() {
            let inside = usize::try_from(offset).ok().filter(|at| *at < BOX_BYTES);
            let expected = inside.map_or_else(|| self.rest(name, offset), |at| &beginning[at..]);
            let len = expected.len().min(bytes.len());
            let (now, later) = bytes.split_at(len);
            if *now != expected[..len] {
                let equal = now.iter().zip(expected).take_while(|(one, other)| one == other).count();
                return Some(offset + equal as u64);
            }
            (bytes, offset) = (later, offset + len as u64);
        }
        None
    }
}

impl Default for Content {
    fn default() -> Self {
        Self::new()
    }
}

// === impl Uploads ===

impl Uploads {
    pub(super) async fn run(&self, lane: &Lane) -> Result<Recorder, Error> {
        let content = Content::new();
        let recorder = RefCell::new(Recorder::new());
        let start = lane.start().await?;
        let one_after_the_other = async || {
            while let Some(ticket) = lane.ticket(start) {
                let due = Instant::now();
                match self.upload(lane, &content, ticket).await {
                    Ok(created) => {
                        recorder.borrow_mut().answered(due, Some(created), self.bytes, None);
                    }
                    Err(error) => {
                        recorder.borrow_mut().failed(&error);
                        tokio::time::sleep(PAUSE).await;
                    }
                }
                lane.progress();
            }
        };
        join_all((0..lane.share(self.at_once)).map(|_| one_after_the_other())).await;
        Ok(recorder.into_inner())
    }

    /// Says when it was created.
    async fn upload(&self, lane: &Lane, content: &Content, ticket: u64) -> Result<Instant, Error> {
        let name = Content::name(lane.seed(), ticket);
        let mut connection = Connection::connect(lane.target.address).await?;
        let path = &lane.target.films[0].path;
        let length = self.bytes;
        let headers = format!("Upload-Length: {length}\r\nUpload-Metadata: {METADATA}\r\nContent-Length: 0");
        let head = head(lane, "POST", path, &headers);
        expect("POST", path, connection.ask(&head).await?, 201)?;
        let created = Instant::now();
        let location = path_of(connection.header("location")).to_owned();
        let mut at = 0;
        while at < self.bytes {
            if !connection.is_reusable() {
                connection = Connection::connect(lane.target.address).await?;
            }
            let end = self.bytes.min(at + self.piece_bytes);
            let headers = format!(
                "Upload-Offset: {at}\r\nContent-Length: {}\r\nContent-Type: application/offset+octet-stream",
                end - at
            );
            let head = self::head(lane, "PATCH", &location, &headers);
            let sent = send(&mut connection, content, name, &head, at..end).await;
            // A server that has refused it may have closed before all was sent, and its answer says more.
            let answer = match (sent, connection.answer().await) {
                (Err(unsent), Err(_)) => return Err(unsent),
                (_, answer) => answer?,
            };
            expect("PATCH", &location, answer, 204)?;
            if connection.header("upload-offset") != end.to_string() {
                let answer = format!("Upload-Offset: {}", connection.header("upload-offset"));
                return Err(Error::UnexpectedAnswer { request: format!("PATCH to {end}"), answer });
            }
            at = end;
        }
        Ok(created)
    }
}

async fn send(
    connection: &mut Connection,
    content: &Content,
    name: u32,
    head: &[u8],
    range: Range<u64>,
) -> Result<(), Error> {
    let mut at = range.start;
    if at == 0 {
        let beginning = Content::beginning(name);
        let len = BOX_BYTES.min(usize::try_from(range.end).unwrap_or(BOX_BYTES));
        connection.send(&[head, &beginning[..len]].concat()).await?;
        at += len as u64;
    } else {
        connection.send(head).await?;
    }
    while at < range.end {
        let bytes = content.rest(name, at);
        let left = usize::try_from(range.end - at).unwrap_or(usize::MAX);
        let len = bytes.len().min(SENT_BYTES).min(left);
        connection.send(&bytes[..len]).await?;
        at += len as u64;
    }
    Ok(())
}

fn head(lane: &Lane, method: &str, path: &str, headers: &str) -> Vec<u8> {
    let host = &lane.target.host;
    format!("{method} {path} HTTP/1.1\r\nHost: {host}\r\nTus-Resumable: 1.0.0\r\n{headers}\r\n\r\n")
        .into_bytes()
}

fn expect(method: &str, path: &str, head: Head, status: u16) -> Result<(), Error> {
    if head.status == status {
        return Ok(());
    }
    Err(Error::UnexpectedAnswer { request: format!("{method} {path}"), answer: head.status.to_string() })
}

/// `/b` of `http://host/b`, and of `/b`.
fn path_of(location: &str) -> &str {
    let Some((_, behind)) = location.split_once("://") else { return location };
    behind.find('/').map_or("/", |at| &behind[at..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_is_told_by_its_beginning_and_checked_anywhere() {
        let content = Content::new();
        let ticket = 7;
        let mut bytes = content.bytes(3, ticket, 2 * BLOCK_BYTES + 5);
        assert_eq!(Content::ticket_of(3, &bytes), Some(ticket));
        assert_eq!(Content::ticket_of(4, &bytes), None);
        assert_eq!(Content::ticket_of(3, &bytes[..23]), None);
        assert_eq!(content.first_wrong(3, ticket, 0, &bytes), None);
        assert_eq!(content.first_wrong(3, ticket, 17, &bytes[17..]), None);
        assert_eq!(content.first_wrong(3, ticket, 8 << 20, &bytes[8 << 20..]), None);
        // Neither another place nor another upload has the same bytes, and the parts of one are not alike.
        assert_eq!(content.first_wrong(3, ticket, 1000, &bytes[1001..2000]), Some(1000));
        assert_eq!(content.first_wrong(3, ticket + 1, 1000, &bytes[1000..2000]), Some(1000));
        assert_eq!(content.first_wrong(3, ticket, 8 << 20, &bytes[16 << 20..][..1000]), Some(8 << 20));
        for wrong in [2 * BLOCK_BYTES, 30, 23, 0] {
            bytes[wrong] ^= 1;
            assert_eq!(content.first_wrong(3, ticket, 0, &bytes), Some(wrong as u64));
        }
    }

    #[test]
    fn a_location_may_be_a_path_or_more() {
        assert_eq!(path_of("/files/1"), "/files/1");
        assert_eq!(path_of("http://127.0.0.1:1080/files/1"), "/files/1");
        assert_eq!(path_of("http://127.0.0.1"), "/");
    }
}
