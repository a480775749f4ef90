//! Accounts, on both databases: one server of each, and for every promise a database of its own.

mod desk;
mod promises;
mod proofs;

use desk::Databases;

async fn keeps_its_promises(databases: Databases) {
    macro_rules! check {
        ($($promise:path),* $(,)?) => {$(
            eprintln!("checking {}", stringify!($promise));
            $promise(&databases.next()).await;
        )*};
    }
    check![
        promises::people_sign_up_and_log_in_and_out,
        promises::passwords_are_kept_as_argon2id,
        promises::sessions_are_opaque_and_end,
        promises::a_new_password_ends_all_sessions,
        promises::cookies_are_secure_over_tls,
        promises::errors_do_not_tell_whether_an_address_exists,
        promises::log_in_is_limited_on_all_replicas_together,
        promises::pages_of_other_sites_cannot_write,
        promises::bodies_that_make_no_sense_are_refused,
        promises::on_this_machine_playing_needs_no_account,
        promises::the_first_admin_is_made_by_a_command,
        promises::signing_up_can_be_switched_off,
        proofs::tokens_are_checked_by_the_published_keys,
        proofs::tokens_expire,
        proofs::signing_keys_rotate,
        proofs::roles_say_what_somebody_may_do,
        proofs::quotas_are_an_admins_to_set,
        proofs::machines_have_keys_that_can_be_revoked,
    ];
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_sqlite() {
    keeps_its_promises(Databases::sqlite()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_postgres() {
    keeps_its_promises(Databases::postgres()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_away_is_503_and_players_do_not_notice() {
    proofs::a_database_away().await;
}
