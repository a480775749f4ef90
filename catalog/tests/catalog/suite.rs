//! What both engines promise. One function per promise; each keeps to rows of its own.

use crate::stand::Stand;
use crate::uploads;

/// Tries every promise, in turn, so that a failure names the first one that is broken.
pub(crate) async fn conformance(stand: &Stand) {
    macro_rules! check {
        ($($promise:path),* $(,)?) => {$(
            eprintln!("checking {}", stringify!($promise));
            $promise(stand).await;
        )*};
    }
    check![
        uploads::an_upload_is_kept_as_it_was_made,
        uploads::parts_and_remainders_move_the_offset,
        uploads::only_the_newest_writer_commits,
        uploads::an_offset_that_is_not_the_committed_one_is_refused,
        uploads::part_numbers_are_never_given_twice,
        uploads::finishing_makes_a_video_once,
        uploads::a_refused_upload_says_why,
        uploads::illegal_transitions_are_errors,
        uploads::the_same_idempotency_key_makes_one_upload,
        uploads::quotas_hold_when_many_ask_at_once,
        uploads::what_was_left_behind_is_swept_once,
    ];
}
