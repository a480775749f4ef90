//! How often somebody may try: counted in the catalog, so that replicas do not multiply it.

use std::net::IpAddr;

use seekway_catalog::Catalog;

use super::Refusal;
use crate::clients::limits::network;
use crate::respond::Problem;

/// Attempts at one address from everywhere, and of one client at all addresses, for each that one client may make at
/// one address: a family behind one router forgets more passwords than one person, and somebody who guesses elsewhere
/// should not lock the owner out.
const WIDER: u64 = 10;

/// What an attempt is counted for.
pub(super) struct Attempt {
    /// One client at one address, or one that signs up: forgotten when a log-in succeeds.
    pub(super) pair: String,
    /// In the order in which they are counted, with what is allowed of each; the first that is over is the last that
    /// counts. So a client that has had its turns adds no rows for addresses that it makes up, and does not use up an
    /// owner's turns.
    subjects: Vec<(String, u64)>,
}

// === impl Attempt ===

impl Attempt {
    /// To log in at `address`.
    pub(super) fn log_in(client: IpAddr, address: &str, allowed: u64) -> Self {
        let (client, address) = (network(client), address.to_lowercase());
        let pair = format!("log-in {client} {address}");
        let wider = allowed.saturating_mul(WIDER);
        let subjects = vec![
            (format!("log-in from {client}"), wider),
            (pair.clone(), allowed),
            (format!("log-in to {address}"), wider),
        ];
        Self { pair, subjects }
    }

    /// To sign up.
    pub(super) fn sign_up(client: IpAddr, allowed: u64) -> Self {
        let pair = format!("sign-up from {}", network(client));
        Self { subjects: vec![(pair.clone(), allowed)], pair }
    }

    /// Counts it. It counts whether it succeeds or not, before anybody knows.
    pub(super) async fn count(&self, catalog: &Catalog, window_ms: i64) -> Result<(), Problem> {
        for (subject, allowed) in &self.subjects {
            let counted = catalog.login_attempts().count(subject, window_ms).await;
            let (count, ends_in_ms) = counted.map_err(Problem::Catalog)?;
            if count > *allowed {
                let retry_after_secs = u64::try_from(ends_in_ms).unwrap_or(0).div_ceil(1000).max(1);
                return Err(Refusal::TooManyAttempts { retry_after_secs }.into());
            }
        }
        Ok(())
    }
}
