//! Hints of the SQL backend: nobody here would look within the hour by itself.

use futures_util::future::join_all;
use futures_util::poll;
use tokio::time::timeout;

use crate::stand::{HANGS_AFTER, HOUR, Process, Stand};

const MANY: usize = 64;

/// One ring, and all of many who wait hear it.
async fn all_hear(ringing: &Process, listening: &Process) {
    let mut all = Box::pin(join_all((0..MANY).map(|_| listening.doorbells.heard())));
    // From now on they wait.
    assert!(poll!(&mut all).is_pending(), "nobody has rung");
    ringing.doorbells.ring(&[]).await.expect("rings");
    let heard = timeout(HANGS_AFTER, all).await.expect("all hear it");
    assert!(heard.into_iter().all(|ring| ring.is_ok()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_notify_wakes_every_process_also_after_the_server_was_away() {
    let mut stand = Stand::postgres();
    let (here, there) = (stand.process_that_looks(HOUR).await, stand.process_that_looks(HOUR).await);
    for _ in 0..2 {
        // That it listens (again) is a reason to look.
        there.hear().await;
        all_hear(&here, &there).await;
        stand.away_while(async {}).await;
        // The connection that rings may be one that is gone.
        while here.catalog.ping().await.is_err() {}
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn within_a_process_no_server_is_needed() {
    for stand in [Stand::sqlite(), Stand::pooled()] {
        let here = stand.process_that_looks(HOUR).await;
        all_hear(&here, &here).await;
        all_hear(&here, &here).await;
    }
}
