//! What both engines promise. One function per promise; each keeps to rows of its own.

use crate::stand::Stand;
use crate::{accounts, feed, jobs, parts, quotas, uploads, videos};

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
        quotas::quotas_hold_when_many_ask_at_once,
        quotas::what_is_put_together_needs_no_room_twice,
        uploads::what_was_left_behind_is_swept_once,
        videos::lists_show_what_somebody_may_see,
        videos::a_search_takes_words_as_they_are,
        videos::pages_stay_the_same_while_others_are_added,
        videos::a_video_tells_what_happened_to_it,
        videos::progress_is_of_videos_that_are_being_processed,
        videos::a_deleted_video_is_gone_when_its_objects_are,
        videos::assets_are_kept_beside_videos,
        videos::an_account_votes_once,
        videos::what_is_to_be_done_is_claimed_by_one,
        videos::the_change_feed_skips_nothing,
        jobs::a_job_goes_from_queued_to_published,
        jobs::many_who_claim_get_each_job_once,
        jobs::what_matters_more_is_claimed_first,
        jobs::only_the_newest_attempt_counts,
        jobs::a_lease_that_is_not_renewed_is_over,
        jobs::failures_are_tried_again_by_what_they_are,
        jobs::a_job_can_be_given_up_and_tried_again,
        jobs::what_was_published_stays_until_there_is_better,
        jobs::a_video_is_processed_by_one_job_at_a_time,
        jobs::what_is_published_is_told_of_with_its_video,
        parts::a_split_job_waits_for_its_parts_and_is_then_put_together,
        parts::parts_take_turns_with_other_jobs,
        parts::a_dead_part_ends_the_whole_and_what_is_made_stays,
        parts::what_is_given_up_or_made_whole_has_no_parts,
        parts::many_who_end_the_last_parts_have_the_whole_claimed_once,
        jobs::outstanding_work_is_what_jobs_of_its_kind_took,
        feed::the_feed_tells_what_happened_to_whom_it_belongs,
        feed::a_reader_of_the_feed_misses_nothing,
        feed::what_the_feed_has_lost_it_says,
        feed::webhooks_are_their_owners,
        feed::few_tests_of_a_webhook_wait,
        feed::each_webhook_is_told_of_what_it_wants,
        feed::a_delivery_is_tried_until_it_is_done,
        accounts::an_address_has_one_account,
        accounts::sessions_end,
        accounts::api_keys_can_be_revoked,
        accounts::one_replica_makes_the_next_signing_key,
        accounts::attempts_count_one_by_one,
    ];
}
