//! Random operations against the simplest model there is: a byte is a function of version and offset.
//!
//! Readers open, read, pause and leave; the object is replaced; bodies break. Whatever happens, every byte
//! delivered is the opened version's byte at that place, a body is never silently short, only a replaced
//! object is reported as changed, and in the end nothing runs and no budget is held.

use std::time::Duration;

use crate::store::{Fault, TestStore, byte, cache_of, key};
use proptest::prelude::*;
use seekway_cache::{Cache, Error, Reader};
use tokio::time::sleep;

const SIZE: u64 = 3_000_000;

#[derive(Debug, Clone)]
enum Operation {
    Open {
        start: u64,
        len: u64,
    },
    /// Reads up to so many chunks with one of the open readers.
    Read {
        reader: usize,
        chunks: usize,
    },
    Leave {
        reader: usize,
    },
    Replace {
        size: u64,
    },
    Break {
        after: u64,
    },
    Wait {
        ms: u64,
    },
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        4 => (0..SIZE + 10, prop_oneof![1..20_000_u64, 1..SIZE])
            .prop_map(|(start, len)| Operation::Open { start, len }),
        8 => (any::<usize>(), 1..200_usize).prop_map(|(reader, chunks)| Operation::Read { reader, chunks }),
        2 => any::<usize>().prop_map(|reader| Operation::Leave { reader }),
        1 => (0..SIZE).prop_map(|size| Operation::Replace { size }),
        1 => (0..100_000_u64).prop_map(|after| Operation::Break { after }),
        1 => prop_oneof![0..50_u64, 0..20_000_u64].prop_map(|ms| Operation::Wait { ms }),
    ]
}

/// A reader and what the model says of it.
struct Open {
    reader: Reader,
    version: u64,
    offset: u64,
    end: u64,
}

async fn open(cache: &Cache, start: u64, len: u64) -> Option<Open> {
    let (object, _) = match cache.open(&key(), Some(start..start + len)).await {
        Err(Error::Busy) => return None,
        opened => opened.expect("the store never fails for long"),
    };
    let version = object.object.version.etag.trim_matches('"').parse().expect("a number");
    let size = object.object.size;
    (start < size).then(|| {
        let end = (start + len).min(size);
        Open { reader: cache.read(object, start..end), version, offset: start, end }
    })
}

/// Says whether the reader goes on.
async fn read(open: &mut Open, chunks: usize, current: u64) -> bool {
    for _ in 0..chunks {
        match open.reader.next().await {
            None => {
                assert_eq!(open.offset, open.end, "silently short");
                return false;
            }
            Some(Ok(bytes)) => {
                assert!(!bytes.is_empty() && open.offset + bytes.len() as u64 <= open.end);
                for got in bytes {
                    assert_eq!(got, byte(open.version, open.offset), "{}@{}", open.offset, open.version);
                    open.offset += 1;
                }
            }
            Some(Err(error)) => {
                // Readers that nobody polls hold memory, so that another may find none.
                if matches!(error, Error::Busy) {
                    return false;
                }
                assert!(error.version_changed(), "{error:?}");
                assert_ne!(open.version, current, "the current version was called changed");
                return false;
            }
        }
    }
    true
}

async fn run(operations: Vec<Operation>, memory_bytes: usize, budget_segments: usize, segment_bytes: u64) {
    let mut version = 1;
    let store = TestStore::new(version, SIZE);
    store.state().bytes_per_second = Some(20_000_000);
    let budget_bytes = budget_segments * usize::try_from(segment_bytes).expect("small");
    let cache = cache_of(&store, memory_bytes, budget_bytes, segment_bytes);
    let mut readers: Vec<Open> = Vec::new();
    for operation in operations {
        match operation {
            Operation::Open { start, len } => readers.extend(open(&cache, start, len).await),
            Operation::Read { reader, chunks } if !readers.is_empty() => {
                let nth = reader % readers.len();
                if !read(&mut readers[nth], chunks, version).await {
                    readers.swap_remove(nth);
                }
            }
            Operation::Leave { reader } if !readers.is_empty() => {
                let nth = reader % readers.len();
                readers.swap_remove(nth);
            }
            Operation::Read { .. } | Operation::Leave { .. } => {}
            Operation::Replace { size } => {
                version += 1;
                store.state().object = Some((version, size));
            }
            Operation::Break { after } => store.state().faults.push_back(Fault::BreakAfter(after)),
            Operation::Wait { ms } => sleep(Duration::from_millis(ms)).await,
        }
    }
    store.state().faults.clear();
    for mut open in readers {
        while read(&mut open, 1000, version).await {}
    }
    // An abandoned fill may still bring its last segment, and a segment may be all of the object.
    sleep(Duration::from_secs(20)).await;
    let stats = cache.stats();
    assert_eq!((stats.fills_running, store.state().running), (0, 0), "orphans");
    // The memory tier drops what it evicts a little late.
    let late_bytes = 128 * segment_bytes;
    assert!(stats.budget_in_use_bytes <= stats.memory_bytes + late_bytes, "{stats:?}");
    if memory_bytes == 0 {
        assert_eq!(stats.budget_in_use_bytes, 0, "leaked budget");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]
    #[test]
    fn every_byte_is_right_and_nothing_leaks(
        operations in prop::collection::vec(operation(), 1..60),
        memory_bytes in prop_oneof![Just(0_usize), Just(200_000), Just(64 << 20)],
        budget_segments in prop_oneof![Just(16_usize), Just(100), Just(16_384)],
        segment_bytes in prop_oneof![3 => Just(4096_u64), 1 => Just(1 << 16), 1 => Just(1 << 20), 1 => Just(1 << 24)],
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        runtime.expect("a runtime").block_on(run(operations, memory_bytes, budget_segments, segment_bytes));
    }
}
