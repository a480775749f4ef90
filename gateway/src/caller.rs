//! Who asks, as far as videos are concerned.

use seekway_catalog::{AccountId, Role, Viewer};

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Caller {
    /// Somebody unknown.
    Stranger,
    /// Somebody unknown who works at this very machine, where nobody else can connect: what has no owner is theirs.
    Local,
    /// Somebody known.
    Account {
        /// Who.
        account: AccountId,
        /// What they may do.
        role: Role,
    },
}

// === impl Caller ===

impl Caller {
    /// Whether they may change and see what belongs to `owner`.
    pub(crate) fn owns(self, owner: Option<AccountId>) -> bool {
        match self {
            Self::Stranger => false,
            Self::Local => owner.is_none(),
            Self::Account { role: Role::Admin, .. } => true,
            Self::Account { account, .. } => owner == Some(account),
        }
    }

    /// Whose what they make will be.
    pub(crate) fn account(self) -> Option<AccountId> {
        match self {
            Self::Account { account, .. } => Some(account),
            Self::Stranger | Self::Local => None,
        }
    }

    /// Whose lists they see.
    pub(crate) fn viewer(self) -> Viewer {
        match self {
            Self::Stranger => Viewer::Anybody,
            Self::Local => Viewer::Unowned,
            Self::Account { role: Role::Admin, .. } => Viewer::Admin,
            Self::Account { account, .. } => Viewer::Account(account),
        }
    }
}
