//! Response bodies: exactly the announced length, or a visible failure; slices of cached segments, never
//! copies.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::Stream;
use seekway_cache::{Error, Reader, Source};

use super::slices::Slices;

/// What a response carries.
pub enum Payload {
    /// Nothing, as for HEAD and 304.
    Empty,
    /// A small body that was made here.
    Small(Bytes),
    /// A range of an object, or several with the heads of their parts between them.
    Ranges(Box<Ranges>),
    /// What is made while it is sent, until there is no more.
    Stream(Pin<Box<dyn Stream<Item = Bytes> + Send>>),
}

/// Pieces sent one after the other; the next reader starts when the one before is done, so that many ranges
/// hold no more memory than one.
pub struct Ranges {
    /// In reverse order of sending.
    pieces: Vec<Piece>,
    remaining: u64,
    source: Source,
}

/// One piece of a body.
pub enum Piece {
    /// Bytes at hand: the first ones of a reader, or a part's head.
    Bytes(Bytes),
    /// A range to be read.
    Read(Reader),
}

/// Why a body ended before its announced length. hyper then closes the connection, so the client sees it.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// The bytes could not be had any more.
    #[error(transparent)]
    Cache(#[from] Error),
    /// A reader yielded another length than the headers announced: our own mistake.
    #[error("the body would not have its announced length")]
    Length,
}

// === impl Payload ===

impl Payload {
    /// Where its first byte came from, if it has bytes of an object.
    pub fn source(&self) -> Option<Source> {
        match self {
            Self::Empty | Self::Small(_) | Self::Stream(_) => None,
            Self::Ranges(ranges) => Some(ranges.source),
        }
    }

    /// The next bytes; `None` after the last. What else lies in memory comes with them as long as all together are at
    /// most `room`, which is what the connection can take now: one write is cheaper than several, and what a client
    /// does not take is not kept from the cache.
    pub fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
        room: usize,
    ) -> Poll<Option<Result<Slices, BodyError>>> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Small(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Small(bytes) => Poll::Ready(Some(Ok(std::mem::take(bytes).into()))),
            Self::Ranges(ranges) => ranges.poll_next(cx, room),
            Self::Stream(stream) => {
                stream.as_mut().poll_next(cx).map(|bytes| bytes.map(|bytes| Ok(bytes.into())))
            }
        }
    }

    /// Bytes that are still to come, where that is known.
    pub fn remaining(&self) -> Option<u64> {
        match self {
            Self::Empty => Some(0),
            Self::Small(bytes) => Some(bytes.len() as u64),
            Self::Ranges(ranges) => Some(ranges.remaining),
            Self::Stream(_) => None,
        }
    }
}

// === impl Ranges ===

impl Ranges {
    /// A body of `pieces`, `length` bytes in all, of which the first came from `source`.
    pub fn new(mut pieces: Vec<Piece>, length: u64, source: Source) -> Self {
        pieces.reverse();
        Self { pieces, remaining: length, source }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>, room: usize) -> Poll<Option<Result<Slices, BodyError>>> {
        let Some(bytes) = ready!(self.poll_piece(cx)?) else {
            return Poll::Ready((self.remaining > 0).then_some(Err(BodyError::Length)));
        };
        let mut slices = Slices::default();
        self.hand_on(bytes, &mut slices)?;
        while !slices.is_full() {
            let Some(bytes) = self.at_hand(room.saturating_sub(slices.len())) else { break };
            self.hand_on(bytes, &mut slices)?;
        }
        Poll::Ready(Some(Ok(slices)))
    }

    fn hand_on(&mut self, bytes: Bytes, slices: &mut Slices) -> Result<(), BodyError> {
        // A piece without bytes would be asked for again, for ever.
        let remaining = self.remaining.checked_sub(bytes.len() as u64).filter(|_| !bytes.is_empty());
        self.remaining = remaining.ok_or(BodyError::Length)?;
        slices.push(bytes);
        Ok(())
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, BodyError>> {
        loop {
            match self.pieces.last_mut() {
                None => return Poll::Ready(Ok(None)),
                Some(Piece::Bytes(bytes)) => {
                    let bytes = std::mem::take(bytes);
                    self.pieces.pop();
                    return Poll::Ready(Ok(Some(bytes)));
                }
                Some(Piece::Read(reader)) => match ready!(reader.poll_next(cx)) {
                    Some(bytes) => return Poll::Ready(Ok(Some(bytes?))),
                    None => drop(self.pieces.pop()),
                },
            }
        }
    }

    /// What needs no waiting, if it is at most `room`.
    fn at_hand(&mut self, room: usize) -> Option<Bytes> {
        loop {
            match self.pieces.last_mut()? {
                Piece::Bytes(bytes) => {
                    let bytes = (bytes.len() <= room).then(|| std::mem::take(bytes))?;
                    self.pieces.pop();
                    return Some(bytes);
                }
                Piece::Read(reader) if reader.remaining() == 0 => drop(self.pieces.pop()),
                Piece::Read(reader) => return reader.next_at_hand(room),
            }
        }
    }
}
