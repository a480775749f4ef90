//! Names of rows: UUIDs, kept as text in both engines.

use std::fmt;

use uuid::{NoContext, Timestamp, Uuid};

use crate::Error;
use crate::database::{Column, Row, Value};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident $(, $new:ident)?) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Uuid);

        impl $name {
            /// Reads what `Display` writes; `None` for anything else.
            pub fn parse(text: &str) -> Option<Self> {
                // One spelling each, so that texts can be compared.
                let id = Uuid::try_parse(text).ok().map(Self)?;
                (id.to_string() == text).then_some(id)
            }

            $(pub(crate) fn new() -> Self {
                Self(Uuid::$new())
            })?
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl From<$name> for Value {
            fn from(id: $name) -> Self {
                Self::Text(Some(id.to_string()))
            }
        }

        impl Column for $name {
            fn read(row: &Row, column: &str) -> Result<Self, Error> {
                let text = String::read(row, column)?;
                Self::parse(&text).ok_or_else(|| Error::other(format!("{column} holds no id")))
            }
        }
    };
}

id!(
    /// An account's.
    AccountId,
    now_v7
);
id!(
    /// An API key's: what it is called, not the key.
    ApiKeyId,
    now_v7
);
id!(
    /// An asset's. It sorts by the time it was made.
    AssetId
);
id!(
    /// An upload's. It cannot be guessed, because whoever knows it may append.
    UploadId,
    new_v4
);
id!(
    /// A video's. It sorts by the time it was made.
    VideoId
);
id!(
    /// An event's of the feed. It sorts by the time it was made.
    EventId,
    now_v7
);
id!(
    /// A webhook's.
    WebhookId,
    now_v7
);
id!(
    /// A job's. It sorts by the time it was made.
    JobId
);

// === impl VideoId ===

impl VideoId {
    /// A new one that sorts by the database's clock.
    pub(crate) fn at(now_ms: u64) -> Self {
        Self(at(now_ms))
    }
}

// === impl AssetId ===

impl AssetId {
    /// A new one that sorts by the database's clock.
    pub(crate) fn at(now_ms: u64) -> Self {
        Self(at(now_ms))
    }
}

// === impl JobId ===

impl JobId {
    /// A new one that sorts by the database's clock.
    pub(crate) fn at(now_ms: u64) -> Self {
        Self(at(now_ms))
    }

    /// A number of 32 bits that is another for each job and each `nth`, but the same each time.
    pub(crate) fn spread(self, nth: u64) -> i64 {
        let (_, random) = self.0.as_u64_pair();
        i64::from(((random ^ nth).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as u32)
    }
}

fn at(now_ms: u64) -> Uuid {
    let nanos = u32::try_from(now_ms % 1000 * 1_000_000).expect("less than a second");
    Uuid::new_v7(Timestamp::from_unix(NoContext, now_ms / 1000, nanos))
}
