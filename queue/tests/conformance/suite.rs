//! What every backend promises. One function per promise; each leaves no job and no ring behind.

use crate::promises;
use crate::stand::Stand;

/// Tries every promise, in turn, so that a failure names the first one that is broken.
pub(crate) async fn conformance(mut stand: Stand) {
    macro_rules! check {
        ($($promise:path),* $(,)?) => {$(
            eprintln!("checking {}", stringify!($promise));
            $promise(&mut stand).await;
        )*};
    }
    check![
        promises::a_ring_is_heard,
        promises::a_ring_while_nobody_listens_is_heard_later,
        promises::an_unanswered_ring_is_heard_again,
        promises::needless_rings_do_no_harm,
        promises::hearing_may_be_dropped_at_any_moment,
        promises::each_job_is_claimed_once_whatever_becomes_of_a_relay,
        promises::a_relay_tries_again_until_the_bell_works,
        promises::a_job_that_waits_is_claimed_when_it_is_due,
        promises::everything_arrives_when_the_server_is_back,
        promises::whoever_listens_hears_that_the_bells_are_closed,
    ];
}
