//! The state machine by itself; `interleavings.rs` runs it under a scheduler.

use std::task::{Context, Poll, Waker};

use super::*;
use crate::Budget;

const SEGMENT_BYTES: u64 = 4096;

fn start(budget: &Budget, range: Range<u64>) -> FillWriter<&'static str> {
    let bytes = usize::try_from(range.end - range.start).expect("small");
    Fill::start(range, Segmentation::new(SEGMENT_BYTES), budget.try_reserve(bytes).expect("free"))
}

fn poll(follower: &Follower<&'static str>, offset: u64) -> Poll<Result<Bytes, Ended<&'static str>>> {
    let polled = follower.poll_read(offset, &mut Context::from_waker(Waker::noop()));
    polled.map(|read| read.map(|(bytes, _)| bytes))
}

#[test]
fn bytes_are_readable_as_they_land_and_segments_come_whole() {
    let budget = Budget::new(1 << 20);
    let mut writer = start(&budget, 4096..10_000);
    let follower = writer.fill().attach().expect("running");
    assert!(poll(&follower, 4096).is_pending());
    assert!(writer.land(&[1; 100], Upstream::Store).is_empty());
    assert_eq!(poll(&follower, 4100), Poll::Ready(Ok(Bytes::from_static(&[1; 96]))));
    let completed = writer.land(&[2; 5804], Upstream::Store);
    let lengths: Vec<_> = completed.iter().map(|(_, segment)| segment.len()).collect();
    assert_eq!(lengths, [4096, 10_000 - 8192]);
    writer.finish();
    assert_eq!(poll(&follower, 9_999), Poll::Ready(Ok(Bytes::from_static(&[2]))));
    // The budget is held by the buffers alone, and by those who still read them.
    drop(follower);
    assert_eq!(budget.in_use(), 10_000 - 4096);
    drop(completed);
    assert_eq!(budget.in_use(), 0);
}

#[test]
fn a_stopped_fill_keeps_what_landed_and_returns_the_rest_of_its_reservation() {
    let budget = Budget::new(1 << 20);
    let mut writer = start(&budget, 0..8192);
    let completed = writer.land(&[7; 5000], Upstream::Store);
    let fill = writer.fill().clone();
    assert!(fill.stop_if_abandoned(0));
    drop(writer);
    assert!(fill.attach().is_none());
    assert_eq!(budget.in_use(), 8192, "the begun segment is still in the fill");
    drop(fill);
    assert_eq!(budget.in_use(), 4096);
    drop(completed);
    assert_eq!(budget.in_use(), 0);
}

#[test]
fn an_ended_fill_is_released_but_not_what_a_reader_has_taken_or_is_coming_for() {
    let budget = Budget::new(1 << 20);
    let mut writer = start(&budget, 0..8192);
    let (fill, follower) = (writer.fill().clone(), writer.fill().attach().expect("running"));
    assert!(poll(&follower, 0).is_pending());
    drop(writer.land(&[7; 8192], Upstream::Store));
    assert!(!fill.release(), "it runs");
    writer.finish();
    assert!(!fill.release(), "the reader was woken, and must find what it waited for");
    let Poll::Ready(Ok(taken)) = poll(&follower, 0) else { panic!("the segment has landed") };
    assert!(fill.release());
    assert_eq!((taken, budget.in_use()), (Bytes::from_static(&[7; 4096]), 4096));
    assert_eq!(poll(&follower, 4096), Poll::Ready(Err(Ended::Released)));
    assert!(fill.attach().is_none());
}

#[test]
fn a_followed_fill_cannot_be_stopped() {
    let budget = Budget::new(1 << 20);
    let writer = start(&budget, 0..8192);
    let (one, two) = (writer.fill().attach(), writer.fill().attach());
    drop(one);
    assert!(!writer.fill().stop_if_abandoned(2));
    drop(two);
    assert!(!writer.fill().stop_if_abandoned(1), "somebody came and went in the meantime");
    assert!(writer.fill().stop_if_abandoned(2));
}

#[test]
#[should_panic(expected = "all its bytes")]
fn a_short_fill_cannot_finish() {
    let mut writer = start(&Budget::new(1 << 20), 0..8192);
    writer.land(&[0; 8191], Upstream::Store);
    writer.finish();
}

#[test]
#[should_panic(expected = "more bytes landed")]
fn a_fill_cannot_be_overfilled() {
    start(&Budget::new(1 << 20), 0..100).land(&[0; 101], Upstream::Store);
}
