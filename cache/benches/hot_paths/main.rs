//! How long the hot paths of the cache take. One program, because each is linked like a release, and that takes its time.

mod reads;
mod redis;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    reads::bench(&mut criterion);
    redis::bench(&mut criterion);
    criterion.final_summary();
}
