//! A range of an open file as a stream: one chunk in hand, and at most the next one being read.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use futures_util::{FutureExt, Stream};
use tokio::task::{JoinHandle, spawn_blocking};

use super::errors::from_join;
use super::file::Reading;
use crate::Error;

/// Dropping it closes the file, after the read under way, if any, has returned.
pub(super) struct Body {
    state: State,
}

enum State {
    Ready(Bytes, Reading),
    Running(JoinHandle<Result<(Bytes, Reading), Error>>),
    Done,
}

impl Body {
    /// A body whose first chunk is already here, so that the error of a first read is an error of the `get`.
    pub(super) fn new(first: Bytes, rest: Reading) -> Self {
        Self { state: State::Ready(first, rest) }
    }

    /// Gives out a chunk and sends for the next one, so that it is read while this one is being sent.
    fn give(&mut self, chunk: Bytes, rest: Reading) -> Poll<Option<Result<Bytes, Error>>> {
        if !rest.is_done() {
            self.state = State::Running(spawn_blocking(|| rest.chunk()));
        }
        Poll::Ready(Some(Ok(chunk)))
    }
}

impl Stream for Body {
    type Item = Result<Bytes, Error>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let read = match &mut self.state {
            State::Running(task) => {
                ready!(task.poll_unpin(context)).unwrap_or_else(|error| Err(from_join(error)))
            }
            State::Ready(..) | State::Done => match std::mem::replace(&mut self.state, State::Done) {
                State::Ready(chunk, rest) => Ok((chunk, rest)),
                State::Running(_) | State::Done => return Poll::Ready(None),
            },
        };
        self.state = State::Done;
        match read {
            Ok((chunk, rest)) => self.give(chunk, rest),
            Err(error) => Poll::Ready(Some(Err(error))),
        }
    }
}
