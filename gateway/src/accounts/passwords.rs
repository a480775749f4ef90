//! Passwords: argon2id, on threads that serve nobody, and only a few at a time.
//!
//! Each takes 19 MiB and some tens of milliseconds of a core (the parameters are OWASP's for argon2id: m=19456 KiB,
//! t=2, p=1). So the bound is on memory as much as on work: what exceeds it waits, and what exceeds that is answered
//! 503.

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::{PasswordHasher as _, PasswordVerifier as _};
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use super::Refusal;
use crate::respond::Problem;

/// Computed at once.
const RUNNING_MAX: usize = 2;
/// Computed at once, or waiting for it: some seconds' worth.
const PLACES: usize = 64;
/// What those that are computed need.
pub(crate) const MEMORY_BYTES: u64 = RUNNING_MAX as u64 * 19 * 1024 * 1024;

/// In characters. NIST SP 800-63B §3.1.1.2 asks for 8 where something else is proved as well, and 15 where not.
const CHARS_MIN: usize = 10;
/// More is no password: it only costs.
const BYTES_MAX: usize = 1024;
const SALT_BYTES: usize = 16;

/// A hash of no password, with the parameters of all: checking it takes as long.
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$c2Vla3dheXNlZWt3YXlzcw$Y4KzzIgUErd7/K7tAmABwA2eMCXmbCD25+kvB5hRRio";

/// Who computes passwords' hashes.
pub(super) struct Passwords {
    running: Arc<Semaphore>,
    places: Arc<Semaphore>,
}

/// Refuses what is too short to be a secret.
pub(crate) fn check(password: &str) -> Result<(), Refusal> {
    if password.chars().count() < CHARS_MIN {
        return Err(Refusal::Bad("A password has 10 characters or more."));
    }
    if password.len() > BYTES_MAX {
        return Err(Refusal::Bad("A password has 1024 bytes or less."));
    }
    Ok(())
}

/// The hash of a password in the PHC string format, on this thread.
pub(crate) fn hash(password: &str) -> String {
    let mut salt = [0; SALT_BYTES];
    SystemRandom::new().fill(&mut salt).expect("the system has randomness");
    let hashed = Argon2::default().hash_password_with_salt(password.as_bytes(), &salt);
    hashed.expect("the parameters are within argon2's bounds").to_string()
}

// === impl Passwords ===

impl Default for Passwords {
    fn default() -> Self {
        let semaphore = |permits| Arc::new(Semaphore::new(permits));
        Self { running: semaphore(RUNNING_MAX), places: semaphore(PLACES) }
    }
}

impl Passwords {
    /// The hash of a password.
    pub(super) async fn hash(&self, password: String) -> Result<String, Problem> {
        self.compute(move || hash(&password)).await
    }

    /// Whether it is the password of this hash; without a hash it takes as long, and is wrong.
    pub(super) async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, Problem> {
        self.compute(move || {
            let known = hash.as_deref();
            let verified = Argon2::default().verify_password(password.as_bytes(), known.unwrap_or(NOBODYS));
            known.is_some() && verified.is_ok()
        })
        .await
    }

    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let place = self.places.clone().try_acquire_owned().map_err(|_| Refusal::TooManyPasswords)?;
        let running = self.running.clone().acquire_owned().await.expect("it is never closed");
        let computed = spawn_blocking(move || {
            // A client that leaves does not make room before the work has ended.
            let _held = (place, running);
            work()
        });
        computed.await.map_err(|_| Problem::Panicked)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_password_is_known_by_its_hash() {
        let passwords = Passwords::default();
        let hash = passwords.hash("correct horse".to_owned()).await.expect("there is room");
        assert!(hash.starts_with("$argon2id$v=19$m=19456,t=2,p=1$"), "{hash}");
        let verify = async |password: &str, hash: Option<&str>| {
            let verified = passwords.verify(password.to_owned(), hash.map(str::to_owned));
            verified.await.expect("there is room")
        };
        assert!(verify("correct horse", Some(&hash)).await);
        assert!(!verify("correct horsf", Some(&hash)).await);
        assert!(!verify("correct horse", None).await);
        assert_ne!(hash, super::hash("correct horse"), "each has its salt");
    }

    /// Otherwise an address without an account would be told by how fast it is refused.
    #[test]
    fn nobodys_hash_costs_what_others_do() {
        let parameters = |hash: &str| hash.rsplitn(3, '$').last().map(str::to_owned);
        let parsed = argon2::PasswordHash::new(NOBODYS).expect("a hash");
        assert_eq!(parsed.hash.expect("complete").len(), 32);
        assert_eq!(parameters(NOBODYS), parameters(&hash("any password")));
    }

    #[tokio::test]
    async fn more_than_can_wait_are_refused() {
        let passwords = Passwords::default();
        let _running = passwords.running.acquire_many(2).await.expect("free");
        let _waiting = passwords.places.acquire_many(64).await.expect("free");
        let refused = passwords.verify("any password".to_owned(), None).await;
        assert!(matches!(refused, Err(Problem::Account(Refusal::TooManyPasswords))), "{refused:?}");
    }
}
