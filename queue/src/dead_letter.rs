//! What lies in a backend's place for what came to nothing: what a dead job says of itself, a ring that nobody answered, or
//! garbage.

use async_trait::async_trait;
use seekway_catalog::JobId;
use serde_json::{Value, json};

use crate::Error;

/// Something that came to nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// Which job it is about; what is about none was never ours.
    pub job: Option<JobId>,
    /// All that it says.
    pub text: String,
}

/// Who goes through dead letters.
#[async_trait]
pub trait Sieve: Send {
    /// Whether it may be deleted; otherwise it is kept.
    ///
    /// # Errors
    /// It is kept, and no more are looked at.
    async fn is_done(&mut self, letter: &DeadLetter) -> Result<bool, Error>;
}

// === impl DeadLetter ===

impl DeadLetter {
    /// Reads what [`write`] wrote, and rings as they are.
    pub(crate) fn read(text: String) -> Self {
        let said: Option<Value> = serde_json::from_str(&text).ok();
        let named = said.as_ref().and_then(|said| said.get("job")?.as_str());
        Self { job: JobId::parse(named.unwrap_or(&text)), text }
    }
}

/// What a dead job says of itself.
pub(crate) fn write(job: JobId, problem: &str) -> String {
    json!({ "job": job.to_string(), "problem": problem }).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: &str = "01890a5d-ac96-774b-bcce-b302099a8057";

    #[test]
    fn letters_are_about_the_job_that_they_name() {
        let job = JobId::parse(JOB).expect("an id");
        assert_eq!(DeadLetter::read(write(job, "a \"reason\"")).job, Some(job));
        assert_eq!(DeadLetter::read(JOB.to_owned()).job, Some(job));
        for other in ["", "what ever", "{}", "[1]", "{\"job\":1}", "{\"job\":\"x\"}"] {
            assert_eq!(DeadLetter::read(other.to_owned()).job, None, "{other}");
        }
    }
}
