//! One fill's way through its run: what Redis has, what is this replica's to fetch, and what another one brings.

use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::{Instant, sleep};

use super::{Look, MIDWAY_FACTOR, Names, Redis, SEGMENTS_PER_SLOT, envelope};
use crate::segment::{Identity, SegmentIndex};

/// The most that one look brings: a seek's first byte waits for little, and a large answer for nobody.
const FIRST_LOOK_BYTES: u64 = 128 * 1024;
pub(super) const LOOK_BYTES: u64 = 256 * 1024;
/// A replica that lives takes what it is asked out of its list within a millisecond or a few. One that has not after this
/// time has died, or has lost its Redis: there is nothing to wait for, however slow the store is.
const HEARD_WITHIN: Duration = Duration::from_millis(100);
/// Replicas that one fill waits for in vain, one after the other: the first may have died, and another taken over.
const WAITS_MAX: u32 = 2;
/// So often a wait begins anew because a lease has changed hands.
const HOLDERS_MAX: u32 = 3;
/// Pauses between looks while waiting; each is half as long again as the one before.
pub(super) const LOOK_PAUSE_MIN: Duration = Duration::from_millis(2);
pub(super) const LOOK_PAUSE_MAX: Duration = Duration::from_millis(8);

/// One fill's way through its run.
pub(crate) struct Pass<'a> {
    redis: &'a Redis,
    names: Names,
    has_found: bool,
    asked: Option<Asked>,
    wait_until: Option<Instant>,
    waits_in_vain: u32,
    /// How often the lease was found in other hands.
    holders: u32,
}

/// What another replica was asked for.
struct Asked {
    replica: String,
    upto: u64,
    /// As it lies in its list, until it is known to be read.
    request: Option<Vec<u8>>,
    at: Instant,
}

/// What a fill does next.
pub(crate) enum Next {
    /// Lands these whole segments.
    Land(Vec<Bytes>),
    /// Fetches from the store, up to this offset.
    Fetch(u64),
}

// === impl Redis ===

impl Redis {
    /// A fill's way through a run of `identity`.
    pub(crate) fn pass(&self, identity: &Arc<Identity>) -> Pass<'_> {
        Pass {
            redis: self,
            names: self.names(identity),
            has_found: false,
            asked: None,
            wait_until: None,
            waits_in_vain: 0,
            holders: 0,
        }
    }
}

// === impl Pass ===

impl Pass<'_> {
    /// How the next bytes of `range` come. `range` starts at a segment's start.
    pub(crate) async fn next(&mut self, range: Range<u64>) -> Next {
        let redis = self.redis;
        let mut pause = LOOK_PAUSE_MIN;
        let mut disregarded = None;
        loop {
            let (bytes, limit) = if self.has_found || self.wait_until.is_some() {
                (LOOK_BYTES, redis.config.read_limit * MIDWAY_FACTOR)
            } else {
                (FIRST_LOOK_BYTES, redis.config.read_limit)
            };
            let wanted = (bytes / redis.segmentation.segment_bytes()).max(1);
            match redis.look(&self.names, range.clone(), wanted, disregarded.as_deref(), limit).await {
                None => return Next::Fetch(range.end),
                Some(Look::Found(values)) => match self.verified(range.start, values) {
                    Some(segments) => {
                        if self.wait_until.take().is_some() {
                            redis.counters.redis_waits_served.increment();
                        }
                        self.has_found = true;
                        return Next::Land(segments);
                    }
                    None => return Next::Fetch(range.end),
                },
                Some(Look::Mine(count)) => {
                    redis.counters.redis_misses.increment();
                    self.wait_until = None;
                    return Next::Fetch(self.all_of_mine(redis.after(range.start, count), range.end).await);
                }
                Some(Look::Theirs(..)) if self.waits_in_vain >= WAITS_MAX => return Next::Fetch(range.end),
                Some(Look::Theirs(replica, count)) => {
                    if redis.suspects(&replica) {
                        disregarded = Some(replica);
                        continue;
                    }
                    let now = Instant::now();
                    let until = *self.wait_until.get_or_insert_with(|| now + redis.wait_limit());
                    if now >= until || self.is_unheard().await {
                        redis.counters.redis_waits_vain.increment();
                        redis.suspect(replica.clone());
                        disregarded = Some(replica);
                        (self.wait_until, self.waits_in_vain) = (None, self.waits_in_vain + 1);
                        continue;
                    }
                    let is_who = |asked: &Asked| asked.replica == replica;
                    let asked = self.asked.as_ref();
                    if !asked.is_some_and(|asked| is_who(asked) && range.start < asked.upto) {
                        // Whoever has just taken over begins only now.
                        let is_new = asked.is_some_and(|asked| !is_who(asked));
                        if is_new && self.holders < HOLDERS_MAX {
                            (self.wait_until, self.holders) =
                                (Some(now + redis.wait_limit()), self.holders + 1);
                        }
                        let upto = redis.after(range.start, count).min(range.end);
                        let request = redis.ask(&replica, &self.names, range.start..upto).await;
                        self.asked = Some(Asked { replica, upto, request: Some(request), at: now });
                    }
                    sleep(pause).await;
                    pause = (pause * 3 / 2).min(LOOK_PAUSE_MAX);
                }
            }
        }
    }

    /// Whether the replica that was asked does not read what it is asked. Looks once.
    async fn is_unheard(&mut self) -> bool {
        let Some(asked) = self.asked.as_mut().filter(|asked| asked.at.elapsed() > HEARD_WITHIN) else {
            return false;
        };
        match asked.request.take() {
            Some(request) => self.redis.take_back(&asked.replica, &request).await,
            None => false,
        }
    }

    /// Where the stretch that is this replica's to fetch ends: it may go on in the next hash slot.
    async fn all_of_mine(&self, mut from: u64, end: u64) -> u64 {
        let stretch = SEGMENTS_PER_SLOT * self.redis.segmentation.segment_bytes();
        while from < end && from.is_multiple_of(stretch) {
            let limit = self.redis.config.read_limit;
            match self.redis.look(&self.names, from..end, 1, None, limit).await {
                Some(Look::Mine(count)) => from = self.redis.after(from, count),
                _ => break,
            }
        }
        from.min(end)
    }

    /// The values' segments, up to the first that is not what its key says.
    fn verified(&self, offset: u64, values: Vec<Vec<u8>>) -> Option<Vec<Bytes>> {
        let cut = self.redis.segmentation;
        let first = cut.containing(offset).get();
        let mut segments = Vec::with_capacity(values.len());
        for (index, value) in (first..).zip(values) {
            let range = cut.range(SegmentIndex::new(index), self.names.identity.size());
            let segment = envelope::open(self.names.segment_name(index).as_bytes(), &value.into())
                .filter(|segment| segment.len() as u64 == range.end - range.start);
            let Some(segment) = segment else {
                self.redis.counters.redis_corrupt.increment();
                break;
            };
            segments.push(segment);
        }
        Some(segments).filter(|segments| !segments.is_empty())
    }
}
