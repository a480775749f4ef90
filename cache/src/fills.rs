//! The register of fills: how a reader finds the one that already brings its segment, and how whoever waits for
//! memory finds those that hold some for readers who do not read.

use std::collections::{HashMap, VecDeque};
use std::ops::Range;
use std::sync::{Arc, Mutex, Weak};

use crate::budget::{Budget, Permit};
use crate::error::Error;
use crate::fill::{Fill, FillWriter, Follower};
use crate::memory::{Kept, Memory};
use crate::segment::{Identity, SegmentRef, Segmentation};

type SharedFill = Arc<Fill<Error>>;

/// Running fills by version, consulted on memory misses only; and ended ones that are still followed.
pub(crate) struct Fills {
    segmentation: Segmentation,
    running: Mutex<HashMap<Arc<Identity>, Vec<SharedFill>>>,
    ended: Mutex<Ended>,
}

/// Oldest first.
#[derive(Default)]
struct Ended {
    fills: VecDeque<Weak<Fill<Error>>>,
    /// At this length those are forgotten that nobody follows any more.
    swept_at: usize,
}

/// Of ended fills that nobody follows so many are remembered, or as many as there are others.
const ENDED_SPARE: usize = 64;

/// How a wanted byte will come.
pub(crate) enum Claim {
    /// It came into memory in the meantime.
    Memory(Kept),
    /// A running fill brings it.
    Joined(Follower<Error>),
    /// This is a new fill, which nobody follows yet: the caller drives the writer.
    Started(FillWriter<Error>),
}

// === impl Fills ===

impl Fills {
    pub(crate) fn new(segmentation: Segmentation) -> Self {
        Self { segmentation, running: Mutex::default(), ended: Mutex::default() }
    }

    /// Joins the running fill that covers `offset`, if there is one.
    pub(crate) fn join(&self, identity: &Arc<Identity>, offset: u64) -> Option<Follower<Error>> {
        let running = self.running.lock().expect("no code panics under this lock");
        attach(running.get(identity)?, offset)
    }

    /// Whether `offset` is in memory or on its way.
    pub(crate) fn provides(&self, memory: &Memory, identity: &Arc<Identity>, offset: u64) -> bool {
        memory.contains(self.key(identity, offset)) || {
            let running = self.running.lock().expect("no code panics under this lock");
            running.get(identity).is_some_and(|fills| covering(fills, offset).next().is_some())
        }
    }

    /// Starts a fill of `run`, cut short before the first segment that is in memory or on its way, unless
    /// its first byte is. `permit` pays for all of `run`; what is not needed of it is returned.
    pub(crate) fn claim(
        &self,
        memory: &Memory,
        identity: &Arc<Identity>,
        mut run: Range<u64>,
        mut permit: Permit,
    ) -> Claim {
        let whole = |offset| offset == identity.size() || offset == self.segmentation.align_down(offset);
        assert!(whole(run.start) && whole(run.end), "{run:?} is not made of whole segments");
        let mut running = self.running.lock().expect("no code panics under this lock");
        let fills = running.entry(identity.clone()).or_default();
        if let Some(follower) = attach(fills, run.start) {
            return Claim::Joined(follower);
        }
        // Looked up under the lock: a fill leaves the register only after its segments went to memory.
        if let Some(segment) = memory.get(self.key(identity, run.start)) {
            remove_if_empty(&mut running, identity);
            return Claim::Memory(segment);
        }
        let mut next = self.segmentation.align_up(run.start + 1);
        while next < run.end {
            if covering(fills, next).next().is_some() || memory.contains(self.key(identity, next)) {
                run.end = next;
            }
            next += self.segmentation.segment_bytes();
        }
        permit.shrink_to(usize::try_from(run.end - run.start).unwrap_or(usize::MAX));
        let writer = Fill::start(run, self.segmentation, permit);
        fills.push(writer.fill().clone());
        Claim::Started(writer)
    }

    /// Has the running fills that touch `range` give their segments to the shared tier; says whether there are any.
    pub(crate) fn share(&self, identity: &Arc<Identity>, range: &Range<u64>) -> bool {
        let running = self.running.lock().expect("no code panics under this lock");
        let fills = running.get(identity).map_or(&[][..], Vec::as_slice);
        let touching = fills.iter().filter(|fill| {
            fill.is_joinable() && fill.range().start < range.end && range.start < fill.range().end
        });
        touching.map(|fill| fill.share()).count() > 0
    }

    /// Has ended fills let go of what their readers have not taken, oldest first, as long as somebody waits for
    /// memory and none is free.
    pub(crate) fn give_way(&self, budget: &Budget) {
        self.release_while(|| budget.is_wanted());
    }

    /// The same until `attempt` succeeds.
    pub(crate) fn give_way_to<T>(&self, mut attempt: impl FnMut() -> Option<T>) -> Option<T> {
        let mut done = attempt();
        self.release_while(|| {
            if done.is_none() {
                done = attempt();
            }
            done.is_none()
        });
        done
    }

    fn release_while(&self, mut is_wanted: impl FnMut() -> bool) {
        let mut left = None;
        while is_wanted() {
            let mut ended = self.ended.lock().expect("no code panics under this lock");
            let left = left.get_or_insert(ended.fills.len());
            if *left == 0 {
                return;
            }
            *left -= 1;
            let Some(weak) = ended.fills.pop_front() else { return };
            drop(ended);
            if weak.upgrade().is_some_and(|fill| !fill.release()) {
                self.ended.lock().expect("no code panics under this lock").fills.push_back(weak);
            }
        }
    }

    /// Forgets an ended fill, but for its memory.
    pub(crate) fn remove(&self, identity: &Arc<Identity>, fill: &SharedFill) {
        let mut running = self.running.lock().expect("no code panics under this lock");
        if let Some(fills) = running.get_mut(identity) {
            fills.retain(|other| !Arc::ptr_eq(other, fill));
        }
        remove_if_empty(&mut running, identity);
        drop(running);
        let mut ended = self.ended.lock().expect("no code panics under this lock");
        if ended.fills.len() >= ended.swept_at {
            ended.fills.retain(|fill| fill.strong_count() > 0);
            ended.swept_at = 2 * ended.fills.len() + ENDED_SPARE;
        }
        ended.fills.push_back(Arc::downgrade(fill));
    }

    /// How many fills run.
    pub(crate) fn count(&self) -> usize {
        self.running.lock().expect("no code panics under this lock").values().map(Vec::len).sum()
    }

    fn key<'a>(&self, identity: &'a Arc<Identity>, offset: u64) -> SegmentRef<'a> {
        SegmentRef { identity, index: self.segmentation.containing(offset) }
    }
}

/// The fills that bring `offset`; an ended one stays in the register for a moment, but brings nothing.
fn covering(fills: &[SharedFill], offset: u64) -> impl Iterator<Item = &SharedFill> {
    fills.iter().filter(move |fill| fill.range().contains(&offset) && fill.is_joinable())
}

fn attach(fills: &[SharedFill], offset: u64) -> Option<Follower<Error>> {
    covering(fills, offset).find_map(Fill::attach)
}

fn remove_if_empty(running: &mut HashMap<Arc<Identity>, Vec<SharedFill>>, identity: &Arc<Identity>) {
    if running.get(identity).is_some_and(Vec::is_empty) {
        running.remove(identity);
    }
}
