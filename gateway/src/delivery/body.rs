//! Response bodies: exactly the announced length, or a visible failure; slices of cached segments, never
//! copies.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use seekway_cache::{Error, Reader, Source};

/// What a response carries.
pub enum Payload {
    /// Nothing, as for HEAD and 304.
    Empty,
    /// A small body that was made here.
    Small(Bytes),
    /// A range of an object, or several with the heads of their parts between them.
    Ranges(Box<Ranges>),
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
            Self::Empty | Self::Small(_) => None,
            Self::Ranges(ranges) => Some(ranges.source),
        }
    }

    /// The next bytes: all frames are data.
    pub fn poll_data(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        let data = |frame: Frame<Bytes>| frame.into_data().unwrap_or_default();
        http_body::Body::poll_frame(self, cx).map(|frame| frame.map(|frame| frame.map(data)))
    }
}

impl http_body::Body for Payload {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Empty => Poll::Ready(None),
            Self::Small(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Small(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
            Self::Ranges(ranges) => ranges.poll_next(cx).map(|next| next.map(|next| next.map(Frame::data))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Small(bytes) => bytes.is_empty(),
            Self::Ranges(ranges) => ranges.remaining == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(match self {
            Self::Empty => 0,
            Self::Small(bytes) => bytes.len() as u64,
            Self::Ranges(ranges) => ranges.remaining,
        })
    }
}

// === impl Ranges ===

impl Ranges {
    /// A body of `pieces`, `length` bytes in all, of which the first came from `source`.
    pub fn new(mut pieces: Vec<Piece>, length: u64, source: Source) -> Self {
        pieces.reverse();
        Self { pieces, remaining: length, source }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
        loop {
            let bytes = match self.pieces.last_mut() {
                None if self.remaining == 0 => return Poll::Ready(None),
                None => return Poll::Ready(Some(Err(BodyError::Length))),
                Some(Piece::Bytes(bytes)) => {
                    let bytes = std::mem::take(bytes);
                    self.pieces.pop();
                    bytes
                }
                Some(Piece::Read(reader)) => {
                    if let Some(bytes) = ready!(reader.poll_next(cx)) {
                        bytes?
                    } else {
                        self.pieces.pop();
                        continue;
                    }
                }
            };
            // A piece without bytes would be asked for again, for ever.
            return Poll::Ready(Some(match self.remaining.checked_sub(bytes.len() as u64) {
                Some(remaining) if !bytes.is_empty() => {
                    self.remaining = remaining;
                    Ok(bytes)
                }
                _ => Err(BodyError::Length),
            }));
        }
    }
}
