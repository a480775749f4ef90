//! What a process does about its backend at the start, or as soon as that is reached.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::{Doorbells, Error, Finding};

const AGAIN_EVERY: Duration = Duration::from_secs(5);

/// Makes what is missing, and says in the log what is not as it should be and how to mend it; until that is done, or `stop`.
pub async fn prepare(doorbells: &dyn Doorbells, stop: &CancellationToken) {
    let preparing = async {
        let mut is_away = false;
        loop {
            let ensured = doorbells.ensure().await;
            let found = doorbells.inspect().await;
            let problem = match found {
                Ok(findings) => {
                    for Finding { what, cure } in findings {
                        warn!(cure, "the queue is not as it should be: {what}");
                    }
                    let Err(Error(why)) = ensured else { break };
                    why
                }
                Err(Error(why)) => why,
            };
            if !is_away {
                warn!(error = problem, "the queue is not ready; jobs are looked for, and it is tried again");
            }
            is_away = true;
            sleep(AGAIN_EVERY).await;
        }
        if is_away {
            info!("the queue is ready");
        }
    };
    stop.run_until_cancelled(preparing).await;
}
