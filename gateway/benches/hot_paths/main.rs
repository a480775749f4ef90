//! How long the hot paths of the gateway take. One program, because each is linked like a release, and that takes its time.

mod delivery;
mod requests;
#[path = "../stand/mod.rs"]
mod stand;

use criterion::Criterion;

fn main() {
    let mut criterion = Criterion::default().configure_from_args();
    delivery::bench(&mut criterion);
    requests::bench(&mut criterion);
    criterion.final_summary();
}
