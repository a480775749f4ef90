//! States and the ways between them.

use crate::Error;
use crate::database::{Column, Row};

/// A state of something: its name in the database, and what may follow.
pub trait State: Copy + PartialEq + Sized + 'static {
    /// What has the state.
    const WHAT: &'static str;
    /// Every state there is.
    const ALL: &'static [Self];

    /// Its name.
    fn name(self) -> &'static str;

    /// Whether there is a way from here to `next`.
    fn may_become(self, next: Self) -> bool;

    /// `next`, or [`Error::IllegalTransition`].
    fn become_(self, next: Self) -> Result<Self, Error> {
        if self.may_become(next) {
            return Ok(next);
        }
        Err(Error::IllegalTransition { what: Self::WHAT, from: self.name(), to: next.name() })
    }
}

/// An enum whose values are words in the database.
macro_rules! words {
    ($(#[$doc:meta])* $type:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $type {
            $($(#[$variant_doc])* $variant,)+
        }

        impl $type {
            /// Every value there is.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its word.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }

            /// Reads what [`as_str`](Self::as_str) writes.
            pub fn parse(word: &str) -> Option<Self> {
                Self::ALL.iter().copied().find(|value| value.as_str() == word)
            }
        }

        impl From<$type> for $crate::database::Value {
            fn from(value: $type) -> Self {
                Self::from(value.as_str())
            }
        }

        impl $crate::database::Column for $type {
            fn read(row: &$crate::database::Row, column: &str) -> Result<Self, $crate::Error> {
                $crate::state::read_word(row, column, Self::parse)
            }
        }
    };
}

/// [`words!`] with ways between them.
macro_rules! states {
    (
        $(#[$doc:meta])* $type:ident, $what:literal { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }
        ways { $($from:ident => $($to:ident)|+,)+ }
    ) => {
        $crate::state::words!($(#[$doc])* $type { $($(#[$variant_doc])* $variant = $word,)+ });

        impl $crate::State for $type {
            const WHAT: &'static str = $what;
            const ALL: &'static [Self] = Self::ALL;

            fn name(self) -> &'static str {
                self.as_str()
            }

            fn may_become(self, next: Self) -> bool {
                match self {
                    $(Self::$from => matches!(next, $(Self::$to)|+),)+
                    #[allow(unreachable_patterns)]
                    _ => false,
                }
            }
        }
    };
}

pub(crate) use {states, words};

pub(crate) fn read_word<T>(row: &Row, column: &str, parse: impl Fn(&str) -> Option<T>) -> Result<T, Error> {
    let word = String::read(row, column)?;
    parse(&word).ok_or_else(|| Error::other(format!("{column} holds {word:?}, which is no word of ours")))
}

#[cfg(test)]
mod tests {
    use super::State;
    use crate::{AssetState, DeliveryState, Error, JobState, UploadState, VideoState, WebhookState};

    /// Every pair of states: the ways that are listed, and no other.
    fn check<S: State + std::fmt::Debug>(ways: &[(&str, &[&str])]) {
        for &from in S::ALL {
            for &to in S::ALL {
                let listed = ways.iter().any(|(one, next)| *one == from.name() && next.contains(&to.name()));
                match from.become_(to) {
                    Ok(next) => assert!(listed && next == to, "{from:?} -> {to:?}"),
                    Err(Error::IllegalTransition { what, from: one, to: other }) => {
                        assert!(!listed, "{from:?} -> {to:?}");
                        assert_eq!((what, one, other), (S::WHAT, from.name(), to.name()));
                    }
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    #[test]
    fn states_move_only_along_their_ways() {
        check::<UploadState>(&[
            ("open", &["completing", "aborting"]),
            ("completing", &["complete", "aborting"]),
            ("aborting", &["failed"]),
        ]);
        check::<VideoState>(&[
            ("uploaded", &["processing", "ready", "failed", "deleting"]),
            ("processing", &["uploaded", "ready", "failed", "deleting"]),
            ("ready", &["processing", "deleting"]),
            ("failed", &["processing", "deleting"]),
        ]);
        check::<JobState>(&[
            ("queued", &["leased", "cancelled"]),
            ("leased", &["running", "queued", "retry", "dead", "cancelled"]),
            ("running", &["waiting", "succeeded", "queued", "retry", "dead", "cancelled"]),
            ("waiting", &["queued", "dead", "cancelled"]),
            ("retry", &["leased", "cancelled"]),
            ("dead", &["queued", "waiting"]),
            ("cancelled", &["queued"]),
        ]);
        check::<AssetState>(&[("ready", &["deleting"])]);
        check::<WebhookState>(&[("enabled", &["disabled"]), ("disabled", &["enabled"])]);
        check::<DeliveryState>(&[
            ("waiting", &["delivered", "failed"]),
            ("delivered", &["waiting"]),
            ("failed", &["waiting"]),
        ]);
    }
}
