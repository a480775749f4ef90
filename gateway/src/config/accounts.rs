//! Settings about who may have an account, and what proves it.

use std::time::Duration;

use clap::ValueEnum;
use seekway_catalog::Role;

use super::Listing;
use super::delivery::ListingMode;
use super::values::{limit, number};

pub(super) const ACCOUNTS: &str = "Accounts";

/// Who may have an account, and what proves it.
#[derive(Debug, Clone, clap::Args)]
pub struct AccountSettings {
    /// Whether people can log in; auto: only from this machine itself, as localhost or 127.0.0.1
    #[arg(long, env = "SEEKWAY_ACCOUNTS", value_name = "WHEN", default_value = "auto", help_heading = ACCOUNTS)]
    accounts: ListingMode,

    /// Whether people can make accounts by themselves; auto: only from this machine itself
    #[arg(long, env = "SEEKWAY_SIGN_UP", value_name = "WHEN", default_value = "auto", help_heading = ACCOUNTS)]
    sign_up: ListingMode,

    /// What somebody may do who has signed up
    #[arg(long, env = "SEEKWAY_SIGN_UP_ROLE", value_name = "ROLE", default_value = "creator", help_heading = ACCOUNTS)]
    sign_up_role: SignUpRole,

    /// How long a log-in lasts
    #[arg(long, env = "SEEKWAY_SESSION_LIFETIME", value_name = "TIME", default_value = "30days")]
    #[arg(value_parser = limit, help_heading = ACCOUNTS)]
    session_lifetime: humantime::Duration,

    /// How long a token is valid; nobody can revoke it
    #[arg(long, env = "SEEKWAY_TOKEN_LIFETIME", value_name = "TIME", default_value = "10m")]
    #[arg(value_parser = limit, help_heading = ACCOUNTS)]
    pub(crate) token_lifetime: humantime::Duration,

    /// How long one key signs tokens before another does
    #[arg(long, env = "SEEKWAY_TOKEN_KEY_LIFETIME", value_name = "TIME", default_value = "24h")]
    #[arg(value_parser = limit, help_heading = ACCOUNTS)]
    pub(crate) token_key_lifetime: humantime::Duration,

    /// Attempts of one client to log in at one address within the time below; ten times as many of one client at all
    /// addresses, and at one address from everywhere
    #[arg(long, env = "SEEKWAY_LOG_IN_ATTEMPTS", value_name = "COUNT", default_value = "10")]
    #[arg(value_parser = |text: &str| number(text, 1..=1_000_000u64), help_heading = ACCOUNTS)]
    pub(crate) log_in_attempts: u64,

    /// The time in which attempts are counted
    #[arg(long, env = "SEEKWAY_LOG_IN_WINDOW", value_name = "TIME", default_value = "15m")]
    #[arg(value_parser = limit, help_heading = ACCOUNTS)]
    log_in_window: humantime::Duration,
}

/// A role that somebody can have who has asked nobody.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SignUpRole {
    Viewer,
    Creator,
}

// === impl AccountSettings ===

impl AccountSettings {
    /// Who may log in, where only this machine can connect (`is_private`) or others can.
    pub(super) fn open_to(&self, is_private: bool) -> Listing {
        self.accounts.resolve(is_private)
    }

    /// Who may sign up.
    pub(super) fn sign_up(&self, is_private: bool) -> Listing {
        self.sign_up.resolve(is_private)
    }

    /// What somebody may do who has signed up.
    pub(crate) fn sign_up_role(&self) -> Role {
        match self.sign_up_role {
            SignUpRole::Viewer => Role::Viewer,
            SignUpRole::Creator => Role::Creator,
        }
    }

    /// How long a log-in lasts.
    pub(crate) fn session_lifetime(&self) -> Duration {
        *self.session_lifetime
    }

    /// The time in which attempts are counted.
    pub(crate) fn log_in_window_ms(&self) -> i64 {
        i64::try_from(self.log_in_window.as_millis()).unwrap_or(i64::MAX)
    }
}
