//! What is wrong with an upload, in words for its client.

use http::StatusCode;

use crate::respond::Problem;

/// Why bytes are not taken. The texts are for clients.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// It never was, or nobody may know of it.
    #[error("There is no such upload.")]
    Unknown,
    /// It was, and has expired or was given up.
    #[error("The upload has expired or was given up. Begin it again.")]
    Gone,
    /// It failed for good.
    #[error("The upload failed: {0}")]
    Failed(String),
    /// It is there already.
    #[error("The upload is complete; nothing can be added to it.")]
    Complete,
    /// The client would leave a gap, or write twice.
    #[error("The upload has {committed} bytes; go on from there.")]
    Offset {
        /// Bytes that are safe.
        committed: u64,
    },
    /// Another connection continues it.
    #[error("Another request continues this upload now.")]
    TakenOver,
    /// More than is allowed.
    #[error("At most {limit} bytes are allowed.")]
    TooLarge {
        /// Bytes.
        limit: u64,
    },
    /// More bytes than were announced.
    #[error("There are more bytes than the upload's length.")]
    TooLong,
    /// Another length than before, or one that cannot be.
    #[error("The upload's length was told before, is another, or is less than what is there already.")]
    Length,
    /// A file without bytes.
    #[error("An empty file is no video.")]
    Empty,
    /// Not what may be uploaded here.
    #[error("The file is not of a type that can be uploaded here: {allowed}.")]
    Type {
        /// What may be.
        allowed: String,
    },
    /// The bytes are not those that the client meant.
    #[error("The checksum does not fit the bytes; none of them were kept. Send them again.")]
    Checksum,
    /// The client sent nothing for too long.
    #[error("Nothing came for too long. What came before is kept; go on from there.")]
    Stalled,
    /// The connection ended before the body did.
    #[error("The request's body ended early. What came is kept; go on from there.")]
    Interrupted,
    /// The account has no room left.
    #[error(
        "This is more than the account's quota: {0}. Delete something or end other uploads first, or ask an admin for more."
    )]
    Quota(String),
    /// The same idempotency key, and another request.
    #[error("{0}")]
    Conflict(&'static str),
    /// The request makes no sense.
    #[error("{0}")]
    Bad(&'static str),
    /// A media type that is not understood here.
    #[error("{0}")]
    MediaType(&'static str),
    /// The protocol's version is another.
    #[error("This is tus 1.0.0: send Tus-Resumable: 1.0.0.")]
    Version,
    /// Clients cannot reach the store.
    #[error(
        "Objects are in a folder of the gateway here, not in a bucket: upload through the gateway, by tus or a form."
    )]
    NotHere,
    /// Not for this client.
    #[error("Uploading is not open to you here (--uploads).")]
    NotAllowed,
}

/// What the catalog says, for the client of an upload.
impl From<seekway_catalog::Error> for Problem {
    fn from(error: seekway_catalog::Error) -> Self {
        use seekway_catalog::Error;
        let refusal = match error {
            Error::NotFound => Refusal::Unknown,
            Error::Conflict(why) => Refusal::Conflict(why),
            Error::OffsetConflict { committed } => Refusal::Offset { committed },
            Error::Superseded => Refusal::TakenOver,
            Error::IllegalTransition { from: "complete" | "completing", .. } => Refusal::Complete,
            Error::Expired | Error::IllegalTransition { .. } => Refusal::Gone,
            Error::Quota { what, wanted, limit } => {
                Refusal::Quota(format!("{what} would be {wanted}, at most {limit} are allowed"))
            }
            error => return Self::Catalog(error),
        };
        Self::Upload(refusal)
    }
}

// === impl Refusal ===

impl Refusal {
    /// The status that it is answered with.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Unknown => StatusCode::NOT_FOUND,
            Self::Gone => StatusCode::GONE,
            Self::Offset { .. } | Self::Length | Self::Conflict(_) => StatusCode::CONFLICT,
            // tus 1.0 knows it for concurrent requests.
            Self::TakenOver => StatusCode::LOCKED,
            Self::TooLarge { .. } | Self::TooLong => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Empty | Self::Failed(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Type { .. } | Self::MediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            // tus 1.0, "Checksum". It has no name anywhere else.
            Self::Checksum => StatusCode::from_u16(460).expect("three digits"),
            Self::Stalled => StatusCode::REQUEST_TIMEOUT,
            Self::Interrupted | Self::Bad(_) => StatusCode::BAD_REQUEST,
            Self::Quota(_) | Self::Complete | Self::NotAllowed => StatusCode::FORBIDDEN,
            Self::Version => StatusCode::PRECONDITION_FAILED,
            Self::NotHere => StatusCode::NOT_IMPLEMENTED,
        }
    }
}
