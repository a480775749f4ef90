//! What there is under `/api/auth/`. Pure.

use http::Method;
use seekway_catalog::{AccountId, ApiKeyId};

/// What is asked of `/api/auth/…`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// `POST sign-up`
    SignUp,
    /// `POST log-in`
    LogIn,
    /// `POST log-out`
    LogOut,
    /// `POST log-out-everywhere`
    LogOutEverywhere,
    /// `POST password`
    Password,
    /// `GET me`
    Me,
    /// `POST tokens`
    Tokens,
    /// `GET jwks.json`
    Jwks,
    /// `GET keys`, `POST keys`
    Keys,
    /// `DELETE keys/{id}`
    Key(ApiKeyId),
    /// `GET accounts`
    Accounts,
    /// `PATCH accounts/{id}`
    Account(AccountId),
}

// === impl Action ===

impl Action {
    /// Decodes what follows `/api/auth/`.
    pub fn decode(path: &str) -> Option<Self> {
        Some(match path {
            "sign-up" => Self::SignUp,
            "log-in" => Self::LogIn,
            "log-out" => Self::LogOut,
            "log-out-everywhere" => Self::LogOutEverywhere,
            "password" => Self::Password,
            "me" => Self::Me,
            "tokens" => Self::Tokens,
            "jwks.json" => Self::Jwks,
            "keys" => Self::Keys,
            "accounts" => Self::Accounts,
            _ => {
                let (kind, id) = path.split_once('/')?;
                match kind {
                    "keys" => Self::Key(ApiKeyId::parse(id)?),
                    "accounts" => Self::Account(AccountId::parse(id)?),
                    _ => return None,
                }
            }
        })
    }

    /// The methods that it answers.
    pub fn methods(self) -> &'static [Method] {
        static READ: [Method; 2] = [Method::GET, Method::HEAD];
        static WRITE: [Method; 1] = [Method::POST];
        static BOTH: [Method; 3] = [Method::GET, Method::HEAD, Method::POST];
        static REMOVE: [Method; 1] = [Method::DELETE];
        static CHANGE: [Method; 1] = [Method::PATCH];
        match self {
            Self::SignUp
            | Self::LogIn
            | Self::LogOut
            | Self::LogOutEverywhere
            | Self::Password
            | Self::Tokens => &WRITE,
            Self::Me | Self::Jwks | Self::Accounts => &READ,
            Self::Keys => &BOTH,
            Self::Key(_) => &REMOVE,
            Self::Account(_) => &CHANGE,
        }
    }
}
