//! The state machine under a scheduler that tries interleavings. A missed wake-up shows as a deadlock.

use std::future::poll_fn;

use shuttle::future::block_on;
use shuttle::rand::{Rng, thread_rng};
use shuttle::{check_pct, check_random, thread};

use super::*;

const SEGMENT_BYTES: u64 = 4096;
const START: u64 = 2 * SEGMENT_BYTES;
const END: u64 = 5 * SEGMENT_BYTES - 1000;

fn byte(offset: u64) -> u8 {
    (offset % 251) as u8
}

fn start() -> FillWriter<&'static str> {
    Fill::start(START..END, Segmentation::new(SEGMENT_BYTES), Permit::none())
}

/// Reads to the end, or to `upto`, and says how it ended.
#[allow(clippy::needless_pass_by_value)] // Dropping it is part of the reading: the follower leaves.
fn read(follower: Follower<&'static str>, from: u64, upto: u64) -> Result<(), Ended<&'static str>> {
    let mut offset = from;
    while offset < upto {
        let (bytes, _) = block_on(poll_fn(|cx| follower.poll_read(offset, cx)))?;
        assert!(!bytes.is_empty(), "a read without bytes would be made again for ever");
        assert!(offset + bytes.len() as u64 <= END);
        for got in bytes {
            assert_eq!(got, byte(offset), "at {offset}");
            offset += 1;
        }
    }
    Ok(())
}

/// Lands all bytes in pieces of odd sizes, as far as `upto`.
fn land(writer: &mut FillWriter<&'static str>, upto: u64) {
    while writer.landed() < upto {
        let landed = writer.landed();
        let len = thread_rng().gen_range(1..6000).min(upto - landed);
        let bytes: Vec<u8> = (landed..landed + len).map(byte).collect();
        for (_, segment) in writer.land(&bytes, Upstream::Store) {
            assert!(segment.len() as u64 == SEGMENT_BYTES || writer.landed() == END);
        }
    }
}

fn explore(scenario: impl Fn() + Send + Sync + Copy + 'static) {
    check_random(scenario, 2_000);
    check_pct(scenario, 2_000, 3);
}

#[test]
fn every_follower_gets_every_byte_of_a_fill_that_finishes() {
    explore(|| {
        let mut writer = start();
        let readers: Vec<_> = [START, START + 1, END - 1]
            .map(|from| {
                let follower = writer.fill().attach().expect("running");
                thread::spawn(move || read(follower, from, END))
            })
            .into();
        land(&mut writer, END);
        writer.finish();
        for reader in readers {
            reader.join().expect("no panic").expect("the fill finished");
        }
    });
}

#[test]
fn a_failure_reaches_whoever_waits_for_more_and_nobody_else() {
    explore(|| {
        let mut writer = start();
        let broke = START + SEGMENT_BYTES + 10;
        let before = writer.fill().attach().expect("running");
        let beyond = writer.fill().attach().expect("running");
        let before = thread::spawn(move || read(before, START, broke));
        let beyond = thread::spawn(move || read(beyond, START, END));
        land(&mut writer, broke);
        let fill = writer.fill().clone();
        writer.fail("broken");
        before.join().expect("no panic").expect("its bytes had landed");
        assert_eq!(beyond.join().expect("no panic"), Err(Ended::Failed("broken")));
        assert!(fill.attach().is_none());
    });
}

#[test]
fn a_dropped_writer_wakes_everybody() {
    explore(|| {
        let mut writer = start();
        let follower = writer.fill().attach().expect("running");
        let reader = thread::spawn(move || read(follower, START, END));
        land(&mut writer, START + 1);
        drop(writer);
        assert_eq!(reader.join().expect("no panic"), Err(Ended::Stopped));
    });
}

/// The race that matters: the last reader leaves, the filler stops the fill, and a new reader comes.
#[test]
fn whoever_joins_in_time_keeps_the_fill_alive_and_whoever_is_late_is_told() {
    explore(|| {
        let mut writer = start();
        let fill = writer.fill().clone();
        let leaver = fill.attach().expect("running");
        let leaving = thread::spawn(move || read(leaver, START, START + 1));
        let late_fill = fill.clone();
        let late = thread::spawn(move || late_fill.attach().map(|follower| read(follower, START, END)));
        let watching = thread::spawn(move || {
            let followers_ever = block_on(poll_fn(|cx| fill.poll_abandoned(cx)));
            fill.stop_if_abandoned(followers_ever)
        });
        for upto in [START + 10, START + SEGMENT_BYTES, END] {
            land(&mut writer, upto);
        }
        writer.finish();
        let stopped = watching.join().expect("no panic");
        leaving.join().expect("no panic").expect("its byte had landed");
        match late.join().expect("no panic") {
            Some(result) => assert_eq!((result, stopped), (Ok(()), false)),
            None => assert!(stopped),
        }
    });
}

/// Whoever waited reads on; whoever comes later is told, and nobody reads bytes that are gone.
#[test]
fn a_release_takes_nothing_from_whoever_waited() {
    explore(|| {
        let mut writer = start();
        let fill = writer.fill().clone();
        let follower = fill.attach().expect("running");
        let releasing = thread::spawn(move || fill.release());
        let reader = thread::spawn(move || read(follower, START, END));
        land(&mut writer, END);
        writer.finish();
        let released = releasing.join().expect("no panic");
        match reader.join().expect("no panic") {
            Ok(()) => {}
            Err(ended) => assert_eq!((ended, released), (Ended::Released, true)),
        }
    });
}
