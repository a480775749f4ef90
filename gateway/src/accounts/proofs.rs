//! Sessions and API keys that were found valid a moment ago: a player's range requests ask the catalog once a second,
//! not once each.
//!
//! What ends a session or key here is heard of at once, and on other replicas within [`BELIEVED`]. While the database is
//! away, reads go on with what it said last, for at most [`BELIEVED_ALONE`].

use std::time::{Duration, Instant};

use quick_cache::sync::Cache;
use seekway_catalog::Error;

use super::Principal;

/// Without asking again.
const BELIEVED: Duration = Duration::from_secs(1);
/// When the catalog cannot be asked.
const BELIEVED_ALONE: Duration = Duration::from_mins(1);
/// It is not asked more often than this while it is away: each time is a wait.
const PAUSE: Duration = Duration::from_secs(1);
/// Proofs that are remembered, some 150 bytes each.
const PROOFS_MAX: usize = 10_000;

/// What was proved, by the hash of what proved it.
pub(super) struct Proofs(Cache<Vec<u8>, Known>);

#[derive(Clone, Copy)]
struct Known {
    principal: Principal,
    at: Instant,
    /// When the catalog last failed to say it again.
    failed: Option<Instant>,
}

// === impl Proofs ===

impl Proofs {
    pub(super) fn new() -> Self {
        Self(Cache::new(PROOFS_MAX))
    }

    /// Whom a proof is for: remembered, or as `ask` says.
    ///
    /// # Errors
    /// Those of `ask`; that it could not is none where only something is read, and it could a moment ago.
    pub(super) async fn of(
        &self,
        hash: Vec<u8>,
        is_read: bool,
        ask: impl AsyncFnOnce(&[u8]) -> Result<Principal, Error>,
    ) -> Result<Principal, Error> {
        let known = self.0.get(&hash);
        if let Some(known) = known.filter(|known| known.is_believed(is_read)) {
            return Ok(known.principal);
        }
        let at = Instant::now();
        match ask(&hash).await {
            Ok(principal) => {
                self.0.insert(hash, Known { principal, at, failed: None });
                Ok(principal)
            }
            Err(error) => {
                let alone = known.filter(|known| error.is_retryable() && known.at.elapsed() < BELIEVED_ALONE);
                match alone {
                    None => drop(self.0.remove(&hash)),
                    Some(known) => self.0.insert(hash, Known { failed: Some(Instant::now()), ..known }),
                }
                alone.filter(|_| is_read).map(|known| known.principal).ok_or(error)
            }
        }
    }

    /// One has ended.
    pub(super) fn forget(&self, hash: &[u8]) {
        self.0.remove(hash);
    }

    /// Some have ended, or their accounts are others: all are asked for again.
    pub(super) fn forget_all(&self) {
        self.0.clear();
    }
}

// === impl Known ===

impl Known {
    fn is_believed(&self, is_read: bool) -> bool {
        let age = self.at.elapsed();
        let is_away = self.failed.is_some_and(|failed| failed.elapsed() < PAUSE);
        age < BELIEVED || is_read && is_away && age < BELIEVED_ALONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::accounts::Proof;
    use seekway_catalog::{AccountId, Role};

    #[tokio::test]
    async fn a_proof_is_asked_for_once_and_reads_go_on_without_a_database() {
        let proofs = Proofs::new();
        let account = AccountId::parse("00000000-0000-7000-8000-000000000001").expect("an id");
        let principal = Principal { account, role: Role::Viewer, proof: Proof::Session };
        let known = |age: Duration| Known {
            principal,
            at: Instant::now().checked_sub(age).expect("up for longer"),
            failed: None,
        };
        let yes = async |_: &[u8]| Ok(principal);
        let away = async |_: &[u8]| Err(Error::Timeout(PAUSE));
        let ended = async |_: &[u8]| Err(Error::NotFound);
        let hash = || b"hash".to_vec();

        assert!(proofs.of(hash(), true, away).await.is_err(), "nobody has said so yet");
        assert_eq!(proofs.of(hash(), true, yes).await.ok(), Some(principal));
        assert_eq!(proofs.of(hash(), false, ended).await.ok(), Some(principal), "it is not asked again");
        proofs.forget(&hash());
        assert!(proofs.of(hash(), true, ended).await.is_err());

        proofs.0.insert(hash(), known(BELIEVED));
        assert!(proofs.of(hash(), false, away).await.is_err(), "what writes waits for the database");
        assert_eq!(proofs.of(hash(), true, ended).await.ok(), Some(principal), "it is known to be away");
        proofs.0.insert(hash(), known(BELIEVED));
        assert_eq!(proofs.of(hash(), true, away).await.ok(), Some(principal));
        proofs.0.insert(hash(), known(BELIEVED));
        assert!(proofs.of(hash(), true, ended).await.is_err(), "it has ended");
        assert!(proofs.of(hash(), true, away).await.is_err());
        proofs.0.insert(hash(), known(BELIEVED_ALONE));
        assert!(proofs.of(hash(), true, away).await.is_err(), "that is too long ago");
        proofs.of(hash(), true, yes).await.expect("valid");
        proofs.forget_all();
        assert!(proofs.of(hash(), true, away).await.is_err());
    }
}
