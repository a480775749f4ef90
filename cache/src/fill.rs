//! The fill: one origin read that covers a run of missing segments, shared by every reader that wants them.
//!
//! This file is the state machine, and nothing but: it is synchronous, knows no runtime and does no I/O, so
//! that a model checker can run it (`cargo test -p seekway-cache --features shuttle`). `filler.rs` drives
//! it from a store.
//!
//! ```text
//!              land(bytes)*                      finish
//!   Running ────────────────► Running ─────────────────► Done
//!      │                         │  fail(error)
//!      │ stop_if_abandoned       └─────────────────────► Failed
//!      └───────────────────────────────────────────────► Stopped
//! ```
//!
//! Bytes become readable in the moment they land, not when a segment is complete. Readers attach as
//! [`Follower`]s; while there is one, the fill is wanted. A stopped or failed fill keeps its completed
//! segments for those who hold it, and can no longer be joined: whoever comes later starts a new one.
//!
//! An ended fill that others need the memory of may be [`release`](Fill::release)d: a paused client would otherwise
//! hold a whole run of which it has taken one segment.

use std::ops::Range;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use slab::Slab;

use crate::budget::Permit;
use crate::segment::{SegmentIndex, SegmentWriter, Segmentation};
use crate::sync::{Mutex, lock};

/// Shared by the filler, the followers and the register of running fills. `E` is why a fill can fail.
pub(crate) struct Fill<E> {
    /// From a segment's start to a segment's end, or the object's.
    range: Range<u64>,
    segmentation: Segmentation,
    state: Mutex<State<E>>,
}

struct State<E> {
    /// What has landed of each segment that was begun, and from where; only the last one is incomplete.
    segments: Vec<(Bytes, Upstream)>,
    landed: u64,
    status: Status<E>,
    followers: Slab<Place>,
    followers_ever: u64,
    /// Another replica wants it.
    is_shared: bool,
    /// The filler's own waker, while it waits to be abandoned or joined.
    watcher: Option<Waker>,
}

enum Status<E> {
    Running,
    Done,
    Failed(E),
    Stopped,
    Released,
}

/// What is known of a follower.
#[derive(Default)]
struct Place {
    /// While it waits.
    waker: Option<Waker>,
    /// It was woken and has not come yet: what landed is its due.
    is_called: bool,
}

/// Where bytes of a fill came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Upstream {
    Store,
    Redis,
}

/// The one writer of a fill. Dropping it unfinished stops the fill, so that no reader waits for nothing.
pub(crate) struct FillWriter<E> {
    fill: Arc<Fill<E>>,
    permit: Permit,
    segment: Option<SegmentWriter>,
}

/// A reader's stake in a fill: while it lives, the fill is wanted.
pub(crate) struct Follower<E> {
    fill: Arc<Fill<E>>,
    place: usize,
    is_first: bool,
}

/// Why a follower got no bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Ended<E> {
    /// The fill stopped before this byte; a new fill may bring it.
    Stopped,
    /// The byte was given up for others, who had none.
    Released,
    /// The origin failed for good.
    Failed(E),
}

// === impl Fill ===

impl<E> Fill<E> {
    /// A fill of `range`, which starts at a segment's start. `permit` pays for all of it.
    pub(crate) fn start(range: Range<u64>, segmentation: Segmentation, permit: Permit) -> FillWriter<E> {
        debug_assert!(range.start < range.end && range.start == segmentation.align_down(range.start));
        let state = State {
            segments: Vec::new(),
            landed: range.start,
            status: Status::Running,
            followers: Slab::new(),
            followers_ever: 0,
            is_shared: false,
            watcher: None,
        };
        let fill = Arc::new(Self { range, segmentation, state: Mutex::new(state) });
        FillWriter { fill, permit, segment: None }
    }

    pub(crate) fn range(&self) -> Range<u64> {
        self.range.clone()
    }

    /// Bytes still to come.
    pub(crate) fn remaining(&self) -> u64 {
        self.range.end - lock(&self.state).landed
    }

    /// Whether [`attach`](Self::attach) would succeed now.
    pub(crate) fn is_joinable(&self) -> bool {
        matches!(lock(&self.state).status, Status::Running | Status::Done)
    }

    /// Has its segments given to the shared tier as they complete.
    pub(crate) fn share(&self) {
        lock(&self.state).is_shared = true;
    }

    /// Whether more than one reader wants this, here or elsewhere.
    pub(crate) fn is_shared(&self) -> bool {
        let state = lock(&self.state);
        state.is_shared || state.followers_ever > 1
    }

    /// Whether somebody has ever followed it.
    pub(crate) fn was_followed(&self) -> bool {
        lock(&self.state).followers_ever > 0
    }

    /// Joins the fill, unless it has ended without all its bytes.
    pub(crate) fn attach(self: &Arc<Self>) -> Option<Follower<E>> {
        let mut state = lock(&self.state);
        if !matches!(state.status, Status::Running | Status::Done) {
            return None;
        }
        state.followers_ever += 1;
        let is_first = state.followers_ever == 1;
        let place = state.followers.insert(Place::default());
        let watcher = state.watcher.take();
        drop(state);
        watcher.into_iter().for_each(Waker::wake);
        Some(Follower { fill: self.clone(), place, is_first })
    }

    /// Ready when nobody follows the fill, with the number of followers that there have been.
    pub(crate) fn poll_abandoned(&self, cx: &mut Context<'_>) -> Poll<u64> {
        let mut state = lock(&self.state);
        if state.followers.is_empty() {
            return Poll::Ready(state.followers_ever);
        }
        state.watcher = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Ready when somebody has joined since [`poll_abandoned`](Self::poll_abandoned) said `followers_ever`.
    pub(crate) fn poll_joined(&self, followers_ever: u64, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = lock(&self.state);
        if state.followers_ever != followers_ever {
            return Poll::Ready(());
        }
        state.watcher = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Stops the fill if nobody has followed it since [`poll_abandoned`](Self::poll_abandoned) said
    /// `followers_ever`; from then on nobody can. Says whether it did.
    pub(crate) fn stop_if_abandoned(&self, followers_ever: u64) -> bool {
        let mut state = lock(&self.state);
        let stops = state.followers.is_empty()
            && state.followers_ever == followers_ever
            && state.landed < self.range.end
            && matches!(state.status, Status::Running);
        if stops {
            state.status = Status::Stopped;
        }
        stops
    }

    /// Lets go of what landed, for others; whoever has read of it keeps that. Not while the fill runs, and not while
    /// a follower that waited is on its way to read, or the two could go on for ever. Says whether it did.
    pub(crate) fn release(&self) -> bool {
        let mut state = lock(&self.state);
        let is_due = state.followers.iter().any(|(_, place)| place.is_called);
        if is_due || matches!(state.status, Status::Running) {
            return false;
        }
        if !matches!(state.status, Status::Failed(_)) {
            state.status = Status::Released;
        }
        state.landed = self.range.start;
        let segments = std::mem::take(&mut state.segments);
        drop(state);
        drop(segments); // Which gives the memory to a waiter, and wakes it.
        true
    }

    /// Ends a running fill and wakes everybody.
    fn end(&self, status: Status<E>) {
        let mut state = lock(&self.state);
        if matches!(state.status, Status::Running) {
            state.status = status;
        }
        let wakers = state.take_wakers();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl<E> State<E> {
    fn take_wakers(&mut self) -> Vec<Waker> {
        let called = self.followers.iter_mut().filter_map(|(_, place)| {
            let waker = place.waker.take()?;
            place.is_called = true;
            Some(waker)
        });
        called.collect()
    }
}

// === impl FillWriter ===

impl<E> FillWriter<E> {
    pub(crate) fn fill(&self) -> &Arc<Fill<E>> {
        &self.fill
    }

    /// The offset of the next byte to land.
    pub(crate) fn landed(&self) -> u64 {
        lock(&self.fill.state).landed
    }

    /// Makes `bytes` readable and returns the segments that they completed, whole.
    ///
    /// # Panics
    /// When more bytes land than the fill's range has: the store's answer was checked before.
    pub(crate) fn land(&mut self, mut bytes: &[u8], from: Upstream) -> Vec<(SegmentIndex, Bytes)> {
        let mut completed = Vec::new();
        while !bytes.is_empty() {
            let offset = self.landed();
            assert!(offset < self.fill.range.end, "more bytes landed than the fill has");
            let index = self.fill.segmentation.containing(offset);
            let segment = self.segment.get_or_insert_with(|| {
                let range = self.fill.segmentation.range(index, self.fill.range.end);
                let len = usize::try_from(range.end - range.start).expect("a segment is at most 16 MiB");
                SegmentWriter::new(len, self.permit.split(len))
            });
            let (begins, len) = (offset == self.fill.segmentation.align_down(offset), segment.write(bytes));
            let (view, full) = (segment.written(), segment.remaining() == 0);
            bytes = &bytes[len..];
            if full {
                self.segment = None;
                completed.push((index, view.clone()));
            }
            self.publish(begins, (view, from), len);
        }
        completed
    }

    fn publish(&self, begins: bool, view: (Bytes, Upstream), len: usize) {
        let mut state = lock(&self.fill.state);
        if begins {
            state.segments.push(view);
        } else {
            *state.segments.last_mut().expect("a segment begins before it goes on") = view;
        }
        state.landed += len as u64;
        let wakers = state.take_wakers();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Ends the fill well.
    ///
    /// # Panics
    /// When bytes are missing: a fill is never silently short.
    pub(crate) fn finish(self) {
        assert_eq!(self.landed(), self.fill.range.end, "a finished fill has all its bytes");
        self.fill.end(Status::Done);
    }

    /// Ends the fill with an error for whoever waits for bytes that did not land.
    pub(crate) fn fail(self, error: E) {
        self.fill.end(Status::Failed(error));
    }
}

impl<E> Drop for FillWriter<E> {
    fn drop(&mut self) {
        self.fill.end(Status::Stopped);
    }
}

// === impl Follower ===

impl<E: Clone> Follower<E> {
    pub(crate) fn range(&self) -> Range<u64> {
        self.fill.range()
    }

    /// Whether nobody had followed the fill before: it was started for this follower.
    pub(crate) fn is_first(&self) -> bool {
        self.is_first
    }

    /// The bytes from `offset` to wherever has landed, at most to the end of `offset`'s segment.
    pub(crate) fn poll_read(
        &self,
        offset: u64,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(Bytes, Upstream), Ended<E>>> {
        let mut state = lock(&self.fill.state);
        state.followers[self.place].is_called = false;
        if offset < state.landed {
            let start = self.fill.segmentation.align_down(offset);
            let nth = (start - self.fill.range.start) / self.fill.segmentation.segment_bytes();
            let (segment, from) = &state.segments[usize::try_from(nth).expect("a run has few segments")];
            let skip = usize::try_from(offset - start).expect("a segment is at most 16 MiB");
            return Poll::Ready(Ok((segment.slice(skip..), *from)));
        }
        match &state.status {
            Status::Running => {
                let waker = &mut state.followers[self.place].waker;
                match waker {
                    Some(waker) => waker.clone_from(cx.waker()),
                    None => *waker = Some(cx.waker().clone()),
                }
                Poll::Pending
            }
            Status::Failed(error) => Poll::Ready(Err(Ended::Failed(error.clone()))),
            Status::Done | Status::Stopped => Poll::Ready(Err(Ended::Stopped)),
            Status::Released => Poll::Ready(Err(Ended::Released)),
        }
    }
}

impl<E> Drop for Follower<E> {
    fn drop(&mut self) {
        let mut state = lock(&self.fill.state);
        state.followers.remove(self.place);
        let watcher = if state.followers.is_empty() { state.watcher.take() } else { None };
        drop(state);
        watcher.into_iter().for_each(Waker::wake);
    }
}

#[cfg(all(test, feature = "shuttle"))]
mod interleavings;
#[cfg(all(test, not(feature = "shuttle")))]
mod tests;
