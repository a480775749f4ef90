//! The reader: one pass over a range of one version, from wherever its bytes are.
//!
//! For each segment: a fill it already follows, then memory, then a running fill, then a fill of its own.
//! What comes next is brought under way while this segment is read (`readahead.rs`). A reader pulls: while
//! nobody polls it, it starts nothing, so a paused client holds at most its window.

use std::collections::VecDeque;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;

use tokio::time::{Instant, Sleep, sleep};

use crate::Inner;
use crate::budget::Permit;
use crate::error::Error;
use crate::fill::{Ended, Follower, Upstream};
use crate::filler;
use crate::fills::Claim;
use crate::memory::Kept;
use crate::metadata::OpenObject;
use crate::readahead::{Appetite, Window, first_run_bytes};
use crate::segment::SegmentRef;
use crate::share::{Part, Share};

/// Once the first bytes have left, a response waits this long for memory before it is cut: longer than a
/// new one, because cutting it wastes what was sent.
const PATIENCE_MIDWAY: Duration = Duration::from_secs(30);
/// Fills in a row that may end under a reader, without a byte, before it gives up: with the pauses between
/// them, and the store's own retries, a store may be away for some seconds in mid-response.
const ENDS_MAX: u32 = 8;
/// The pause after a fill failed in mid-response; each one after it is twice as long, up to the last.
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_secs(1);

type WaitingForMemory = Pin<Box<dyn Future<Output = Result<Permit, Error>> + Send>>;

/// Yields a range of one version in order, in slices of cached segments, without copying.
pub struct Reader {
    inner: Arc<Inner>,
    object: Arc<OpenObject>,
    start: u64,
    position: u64,
    end: u64,
    window: Window,
    appetite: Appetite,
    /// What limits it beyond its window.
    part: Part,
    /// Fills under way, in order; the first may cover `position`.
    following: VecDeque<Follower<Error>>,
    /// Up to here everything is in memory or under way.
    scheduled: u64,
    waiting: Option<WaitingForMemory>,
    first_source: Option<Source>,
    /// Whether the reader has waited for the fill at `position`, so that its failure is news of now.
    waited: bool,
    /// Fills that ended since the last byte.
    ends: u32,
    pause: Option<Pin<Box<Sleep>>>,
}

/// Where bytes came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The memory tier.
    Memory,
    /// The shared tier.
    Redis,
    /// A fill that another reader had started.
    Joined,
    /// A fill of this reader's own.
    Filled,
}

// === impl Reader ===

impl Reader {
    pub(crate) fn new(inner: Arc<Inner>, object: Arc<OpenObject>, range: Range<u64>) -> Self {
        let size = object.object.size;
        assert!(range.start <= range.end && range.end <= size, "{range:?} is outside of 0..{size}");
        Self {
            inner,
            object,
            start: range.start,
            position: range.start,
            end: range.end,
            window: Window::new(),
            appetite: Appetite::new(Instant::now(), range.start),
            part: Part::alone(),
            following: VecDeque::new(),
            scheduled: range.start,
            waiting: None,
            first_source: None,
            waited: false,
            ends: 0,
            pause: None,
        }
    }

    /// Makes it one of the readers that divide `share`; before its first bytes are asked for.
    #[must_use]
    pub fn sharing(mut self, share: &Arc<Share>) -> Self {
        self.part = Part::of(share.clone());
        self
    }

    /// The next bytes; `None` after the last. Cancel-safe: a dropped call loses nothing.
    pub async fn next(&mut self) -> Option<Result<Bytes, Error>> {
        std::future::poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Where the first bytes came from, once they came.
    pub fn first_source(&self) -> Option<Source> {
        self.first_source
    }

    /// Bytes that `next` has not yet returned.
    pub fn remaining(&self) -> u64 {
        self.end - self.position
    }

    /// See [`next`](Self::next).
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, Error>>> {
        if self.position == self.end {
            return Poll::Ready(None);
        }
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            while self.following.front().is_some_and(|fill| fill.range().end <= self.position) {
                self.following.pop_front();
            }
            if let Some(fill) = self.following.front().filter(|fill| fill.range().contains(&self.position)) {
                match fill.poll_read(self.position, cx) {
                    Poll::Ready(Ok((bytes, from))) => {
                        let source = match from {
                            Upstream::Redis => Source::Redis,
                            Upstream::Store if fill.is_first() => Source::Filled,
                            Upstream::Store => Source::Joined,
                        };
                        return Poll::Ready(Some(Ok(self.deliver(bytes, source))));
                    }
                    Poll::Ready(Err(ended)) => {
                        if let Err(error) = self.survive(ended) {
                            return Poll::Ready(Some(Err(error)));
                        }
                        continue;
                    }
                    Poll::Pending => {
                        self.waited = true;
                        self.appetite.waits();
                        return Poll::Pending;
                    }
                }
            }
            if let Some(kept) = self.inner.memory.get(self.segment(self.position)) {
                return Poll::Ready(Some(Ok(self.deliver_kept(&kept))));
            }
            if self.waiting.is_none() {
                self.inner.counters.memory_misses.increment();
            }
            if let Some(fill) = self.inner.fills.join(&self.object.identity, self.position) {
                self.follow(fill);
                continue;
            }
            match ready!(self.poll_claim(cx)) {
                Ok(Claim::Memory(kept)) => return Poll::Ready(Some(Ok(self.deliver_kept(&kept)))),
                Ok(Claim::Joined(fill)) => self.follow(fill),
                Ok(Claim::Started(writer)) => {
                    let fill = filler::spawn(&self.inner, &self.object, writer);
                    self.follow(fill);
                }
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
    }

    /// Gives up the fill at `position`, which ended without it, unless the reader must give up with it.
    ///
    /// A fill that nobody followed any more is started again. One that failed is so, too: at once if it failed
    /// while this reader was elsewhere, after a pause if the reader waited for it. Only before the first byte
    /// the failure is the reader's: it can still become a status code.
    fn survive(&mut self, ended: Ended<Error>) -> Result<(), Error> {
        let waited = std::mem::take(&mut self.waited);
        self.following.pop_front();
        // A release is no failure, however often it happens.
        self.ends += u32::from(!matches!(ended, Ended::Released));
        match ended {
            Ended::Stopped if self.ends > ENDS_MAX => Err(Error::ShuttingDown),
            Ended::Released | Ended::Stopped => Ok(()),
            Ended::Failed(error) => {
                let begun = self.position > self.start;
                if !error.is_retryable() || self.ends > ENDS_MAX || (waited && !begun) {
                    return Err(error);
                }
                if waited {
                    let pause = PAUSE_MIN.saturating_mul(1 << (self.ends - 1)).min(PAUSE_MAX);
                    self.pause = Some(Box::pin(sleep(pause)));
                }
                Ok(())
            }
        }
    }

    /// The next bytes if they lie in memory, as far as their segment goes, and are at most `max`. Starts nothing for them,
    /// and waits for nothing.
    pub fn next_at_hand(&mut self, max: usize) -> Option<Bytes> {
        if self.position == self.end || self.pause.is_some() || self.waiting.is_some() {
            return None;
        }
        let segment = self.inner.segmentation.segment_bytes();
        let segment_end = self.inner.segmentation.align_down(self.position) + segment;
        if segment_end.min(self.end) - self.position > max as u64 {
            return None;
        }
        let kept = self.inner.memory.get(self.segment(self.position))?;
        Some(self.deliver_kept(&kept))
    }

    /// Claims the run that starts with the wanted segment, as long as the budget allows, but at least it.
    fn poll_claim(&mut self, cx: &mut Context<'_>) -> Poll<Result<Claim, Error>> {
        // What was scheduled beyond here may be gone with the fill that was to bring this.
        self.scheduled = self.position;
        let ahead_bytes_max = self.part.ahead_bytes_max();
        let wanted = if self.position == self.start {
            first_run_bytes(self.remaining()).min(ahead_bytes_max)
        } else {
            let appetite = self.appetite.bytes(Instant::now(), self.position);
            self.window.within(appetite.min(ahead_bytes_max)).run_bytes().min(self.remaining())
        };
        let mut run = self.inner.align(self.position..self.position + wanted, self.object.object.size);
        let permit = if let Some(waiting) = &mut self.waiting {
            let permit = ready!(waiting.as_mut().poll(cx));
            self.waiting = None;
            run = self.inner.first_segment(run);
            permit?
        } else if let Some(permit) = self.inner.try_reserve_run(&mut run) {
            permit
        } else {
            // Whoever waits for memory holds none, or two readers could wait for each other.
            self.following.clear();
            let begun = self.position > self.start;
            let inner = self.inner.clone();
            self.waiting = Some(Box::pin(async move {
                if begun {
                    inner.reserve_segment(&run, PATIENCE_MIDWAY).await
                } else {
                    inner.reserve_first(&run).await
                }
            }));
            return self.poll_claim(cx);
        };
        Poll::Ready(Ok(self.inner.fills.claim(&self.inner.memory, &self.object.identity, run, permit)))
    }

    fn follow(&mut self, fill: Follower<Error>) {
        self.waiting = None;
        if !fill.is_first() {
            self.inner.counters.fills_joined.increment();
        }
        self.scheduled = self.scheduled.max(fill.range().end);
        self.following.push_front(fill);
        self.count_ahead();
    }

    fn deliver_kept(&mut self, kept: &Kept) -> Bytes {
        // A cold object's first fill may be over before the reader comes for whom it was made.
        let source = if kept.is_first_read() { Source::Filled } else { Source::Memory };
        if source == Source::Memory
            && let Some(redis) = &self.inner.redis
        {
            redis.write_once(self.segment(self.position), kept);
        }
        let skip = self.position - self.inner.segmentation.align_down(self.position);
        self.inner.counters.memory_hits.increment();
        let bytes = kept.bytes.slice(usize::try_from(skip).expect("a segment is at most 16 MiB")..);
        self.deliver(bytes, source)
    }

    fn deliver(&mut self, mut bytes: Bytes, source: Source) -> Bytes {
        if let Ok(remaining) = usize::try_from(self.remaining()) {
            bytes.truncate(remaining);
        }
        let len = bytes.len() as u64;
        match source {
            Source::Memory => self.inner.counters.memory_hit_bytes.add(len),
            Source::Redis => self.inner.counters.redis_hit_bytes.add(len),
            Source::Joined => self.inner.counters.joined_hit_bytes.add(len),
            Source::Filled => self.inner.counters.fill_hit_bytes.add(len),
        }
        self.first_source.get_or_insert(source);
        (self.waiting, self.waited, self.ends) = (None, false, 0);
        self.position += len;
        self.window.advance(len);
        self.read_ahead();
        self.count_ahead();
        // The fill that these bytes were the reader's due of has no claim on the others any more.
        self.inner.fills.give_way(&self.inner.budget);
        bytes
    }

    /// Brings the window's missing runs under way, as far as memory lies free for it.
    fn read_ahead(&mut self) {
        let size = self.object.object.size;
        let segment_bytes = self.inner.segmentation.segment_bytes();
        let end = self.inner.segmentation.align_up(self.end).min(size);
        self.scheduled = self.inner.segmentation.align_up(self.scheduled.max(self.position));
        if self.scheduled >= end {
            return;
        }
        let appetite = self.appetite.bytes(Instant::now(), self.position);
        let window = self.window.within(appetite.min(self.part.ahead_bytes_max()));
        let horizon = end.min(self.position.saturating_add(window.bytes()));
        while self.scheduled < horizon {
            if self.inner.memory.contains(self.segment(self.scheduled)) {
                self.scheduled += segment_bytes;
                continue;
            }
            // Followed also when another reader started it, or it would stop when that one leaves.
            if let Some(fill) = self.inner.fills.join(&self.object.identity, self.scheduled) {
                self.scheduled = fill.range().end;
                self.following.push_back(fill);
                continue;
            }
            let run_end = self.inner.segmentation.align_up(self.scheduled + window.run_bytes());
            let run = self.scheduled..run_end.min(end);
            if horizon < run.end {
                return; // A short run now would cost a request; a full one fits a little later.
            }
            if self.inner.store.is_throttling() {
                return; // What is waited for comes first; this is asked for when it is.
            }
            let bytes = usize::try_from(run.end - run.start).expect("a run is at most 16 MiB");
            let Some(permit) = self.inner.budget.try_reserve_spare(bytes) else { return };
            match self.inner.fills.claim(&self.inner.memory, &self.object.identity, run, permit) {
                Claim::Started(writer) => {
                    let fill = filler::spawn(&self.inner, &self.object, writer);
                    self.scheduled = fill.range().end;
                    self.following.push_back(fill);
                }
                Claim::Joined(_) | Claim::Memory(_) => self.scheduled += segment_bytes,
            }
        }
    }

    /// Tells the share what this reader keeps under way: whole runs, since a run's memory is its fill's.
    fn count_ahead(&mut self) {
        let runs = self.following.iter().map(Follower::range);
        self.part.is_ahead(runs.map(|run| run.end - run.start).sum());
    }

    fn segment(&self, offset: u64) -> SegmentRef<'_> {
        SegmentRef { identity: &self.object.identity, index: self.inner.segmentation.containing(offset) }
    }
}
