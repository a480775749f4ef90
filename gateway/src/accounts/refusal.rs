//! What is wrong with who asks, in words for them.

use http::StatusCode;
use seekway_catalog::Role;

use crate::respond::Problem;

/// Why somebody is refused. The texts are for clients, and none tells whether an address has an account.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It is not said who asks.
    #[error("Log in first.")]
    LogInFirst,
    /// The address or the password.
    #[error("The address or the password is wrong.")]
    WrongPassword,
    /// A bearer token or key.
    #[error("The token or API key is not valid: it is malformed, has expired or was revoked.")]
    BadToken,
    /// The account may do less.
    #[error("This needs the role {role}.", role = .0.as_str())]
    NotAllowed(Role),
    /// It needs a person.
    #[error("Only somebody who is logged in with a password may do this, not a token or an API key.")]
    NeedsSession,
    /// A cookie came along that another site's page had the browser send.
    #[error("A page of another site has sent this request.")]
    OtherSite,
    /// Too many attempts.
    #[error("There were too many attempts. Try again after what Retry-After says.")]
    TooManyAttempts {
        /// When to try again, at least 1.
        retry_after_secs: u64,
    },
    /// As many passwords as may wait are being checked.
    #[error("Too many passwords are being checked. Try again shortly.")]
    TooManyPasswords,
    /// The request makes no sense.
    #[error("{0}")]
    Bad(&'static str),
    /// What was sent is no JSON.
    #[error("The body must be JSON: Content-Type: application/json.")]
    NoJson,
    /// It is too long.
    #[error("The body is too long.")]
    TooLong,
    /// It did not come.
    #[error("The body did not come in time.")]
    TooSlow,
    /// There is no such key, or it is somebody else's.
    #[error("There is no such API key.")]
    NoKey,
    /// There is no such account.
    #[error("There is no such account.")]
    NoAccount,
    /// Nobody, or not from here.
    #[error("Signing up is not open to you here (--sign-up). Ask an admin.")]
    SignUpOff,
    /// Nobody, or not from here.
    #[error("Accounts are not open to you here (--accounts).")]
    Off,
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::Account(refusal)
    }
}

// === impl Refusal ===

impl Refusal {
    /// The status that it is answered with.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::LogInFirst | Self::WrongPassword | Self::BadToken => StatusCode::UNAUTHORIZED,
            Self::NotAllowed(_) | Self::NeedsSession | Self::OtherSite | Self::SignUpOff => {
                StatusCode::FORBIDDEN
            }
            Self::TooManyAttempts { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::TooManyPasswords => StatusCode::SERVICE_UNAVAILABLE,
            Self::Bad(_) => StatusCode::BAD_REQUEST,
            Self::NoJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::TooSlow => StatusCode::REQUEST_TIMEOUT,
            Self::NoKey | Self::NoAccount | Self::Off => StatusCode::NOT_FOUND,
        }
    }

    /// After how many seconds it may be tried again, where that is known.
    pub fn retry_after_secs(&self) -> Option<u64> {
        match self {
            Self::TooManyAttempts { retry_after_secs } => Some(*retry_after_secs),
            Self::TooManyPasswords => Some(1),
            _ => None,
        }
    }

    /// The `WWW-Authenticate` that a 401 must have (RFC 9110 §15.5.2, RFC 6750 §3).
    pub fn challenge(&self) -> Option<&'static str> {
        match self {
            Self::LogInFirst | Self::WrongPassword => Some("Bearer realm=\"seekway\""),
            Self::BadToken => Some("Bearer realm=\"seekway\", error=\"invalid_token\""),
            _ => None,
        }
    }
}
