//! Why an attempt came to nothing, in words and in the catalog's classes.

use seekway_catalog::Failure;

use crate::probe::Unusable;

/// Why an attempt came to nothing.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Problem {
    /// Whether there is another attempt.
    pub failure: Failure,
    /// One sentence for whoever uploaded it.
    pub text: String,
    /// The end of what the program wrote that failed.
    pub log: Option<String>,
}

// === impl Problem ===

impl Problem {
    /// The video cannot be processed, now or ever.
    pub fn input(text: impl Into<String>) -> Self {
        Self { failure: Failure::Input, text: text.into(), log: None }
    }

    /// Something that the work needs did not serve.
    pub fn infrastructure(text: impl Into<String>) -> Self {
        Self { failure: Failure::Infrastructure, text: text.into(), log: None }
    }

    /// With what the program wrote.
    #[must_use]
    pub fn with_log(self, log: String) -> Self {
        Self { log: Some(log).filter(|log| !log.is_empty()), ..self }
    }

    /// Said of something other than the video itself.
    #[must_use]
    pub fn about(self, what: &str) -> Self {
        Self { text: format!("{what}: {}", self.text), ..self }
    }
}

impl From<Unusable> for Problem {
    fn from(Unusable(text): Unusable) -> Self {
        Self::input(text)
    }
}

impl From<seekway_catalog::Error> for Problem {
    fn from(error: seekway_catalog::Error) -> Self {
        Self::infrastructure(format!("the database: {error}"))
    }
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Self {
        Self::infrastructure(format!("the worker's disk: {error}"))
    }
}

impl From<crate::packaging::Error> for Problem {
    fn from(error: crate::packaging::Error) -> Self {
        let text = format!("it cannot be packaged: {error}");
        if error.is_retryable() { Self::infrastructure(text) } else { Self::input(text) }
    }
}
