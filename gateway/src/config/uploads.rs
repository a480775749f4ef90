//! Settings about what may be uploaded, by whom, and how much.

use std::time::Duration;

use bytesize::ByteSize;
use seekway_catalog::{Purpose, Quota};

use super::Listing;
use super::delivery::ListingMode;
use super::values::{in_memory, limit, number, size, size_in};
use crate::upload::Container;
use crate::upload::parts::{PART_BYTES, part_bytes_max};
use seekway_settings::{Settings, Stop};

pub(super) const UPLOADS: &str = "Uploads";

/// What S3 takes at most (5 TiB).
const OBJECT_BYTES_MAX: u64 = 5 << 40;

/// What may be uploaded, by whom, and how much.
#[derive(Debug, Clone, clap::Args)]
pub struct UploadSettings {
    /// Whether videos can be uploaded; auto: by creators, and without an account only from this machine itself, as localhost
    /// or 127.0.0.1; on: by everybody
    #[arg(long, env = "SEEKWAY_UPLOADS", value_name = "WHEN", default_value = "auto", help_heading = UPLOADS)]
    uploads: ListingMode,

    /// The longest video that is taken, up to 5TiB
    #[arg(long, env = "SEEKWAY_UPLOAD_BYTES_MAX", value_name = "SIZE", default_value = "64GiB")]
    #[arg(value_parser = |text: &str| size_in(text, 1..=OBJECT_BYTES_MAX), help_heading = UPLOADS)]
    upload_bytes_max: u64,

    /// The longest watermark, intro or outro that is taken
    #[arg(long, env = "SEEKWAY_UPLOAD_ASSET_BYTES_MAX", value_name = "SIZE", default_value = "1GiB")]
    #[arg(value_parser = |text: &str| size_in(text, 1..=OBJECT_BYTES_MAX), help_heading = UPLOADS)]
    upload_asset_bytes_max: u64,

    /// Containers that are taken, by the first bytes, whatever a file is called; pictures only as watermarks
    #[arg(long, env = "SEEKWAY_UPLOAD_TYPES", value_name = "TYPES", value_delimiter = ',')]
    #[arg(default_value = "mp4,mov,3gp,mkv,webm,ts,avi,flv,ogg,mxf,asf,png,jpeg,webp", help_heading = UPLOADS)]
    upload_types: Vec<Container>,

    /// Memory for parts on their way into the store, besides the memory budget. Each upload has two parts at most, of
    /// 8 MiB or more; further ones take turns. Half as much again is for what HTTP/2 clients send ahead
    #[arg(long, env = "SEEKWAY_UPLOAD_MEMORY_BYTES", value_name = "SIZE", default_value = "128MiB")]
    #[arg(value_parser = |text: &str| size_in(text, 2 * PART_BYTES..=4 << 30), help_heading = UPLOADS)]
    upload_memory_bytes: u64,

    /// Uploads that one account may have under way
    #[arg(long, env = "SEEKWAY_UPLOADS_MAX", value_name = "COUNT", default_value = "1000")]
    #[arg(value_parser = |text: &str| number(text, 1..=1_000_000u64), help_heading = UPLOADS)]
    uploads_max: u64,

    /// Bytes that one account may store, with what its uploads under way have announced. All that comes without an account
    /// shares one. An admin gives an account more or less. Without it, as many as there is room for
    #[arg(long, env = "SEEKWAY_QUOTA_BYTES", value_name = "SIZE", value_parser = size, help_heading = UPLOADS)]
    quota_bytes: Option<u64>,

    /// How long an upload is kept after its last bytes came
    #[arg(long, env = "SEEKWAY_UPLOAD_EXPIRY", value_name = "TIME", default_value = "24h")]
    #[arg(value_parser = limit, help_heading = UPLOADS)]
    upload_expiry: humantime::Duration,

    /// How long a client may send nothing in the middle of a request; what it sent is kept
    #[arg(long, env = "SEEKWAY_UPLOAD_STALL_TIMEOUT", value_name = "TIME", default_value = "60s")]
    #[arg(value_parser = limit, help_heading = UPLOADS)]
    upload_stall_timeout: humantime::Duration,
}

// === impl UploadSettings ===

impl UploadSettings {
    /// Whether anybody may upload.
    pub(super) fn are_on(&self) -> bool {
        self.uploads != ListingMode::Off
    }

    /// Who may upload without an account, where only this machine can connect (`is_private`) or others can.
    pub(super) fn open_to(&self, is_private: bool) -> Listing {
        self.uploads.resolve(is_private)
    }

    /// The longest file that is taken.
    pub(crate) fn bytes_max(&self, purpose: Purpose) -> u64 {
        if purpose == Purpose::Video { self.upload_bytes_max } else { self.upload_asset_bytes_max }
    }

    /// Whether a file of this container is taken.
    pub(crate) fn takes(&self, container: Container, purpose: Purpose) -> bool {
        self.upload_types.contains(&container) && container.is_image() == (purpose == Purpose::Watermark)
    }

    /// The containers that are taken, for people.
    pub(crate) fn types_of(&self, purpose: Purpose) -> String {
        let types = self.upload_types.iter().filter(|container| self.takes(**container, purpose));
        types.map(|container| container.name()).collect::<Vec<_>>().join(", ")
    }

    /// Memory for parts.
    pub(crate) fn memory_bytes(&self) -> usize {
        in_memory(self.upload_memory_bytes)
    }

    /// What an account may have that has no quota of its own.
    pub(crate) fn quota(&self) -> Quota {
        Quota { bytes: self.quota_bytes, uploads: Some(self.uploads_max) }
    }

    /// How long an upload is kept.
    pub(crate) fn expiry(&self) -> Duration {
        *self.upload_expiry
    }

    /// How long a client may send nothing.
    pub(crate) fn stall_timeout(&self) -> Duration {
        *self.upload_stall_timeout
    }

    /// Two of the longest parts have room, or the numbers of parts would not suffice for the longest upload.
    pub(super) fn check(&self, settings: &Settings) -> Result<(), Stop> {
        let longest = self.upload_bytes_max.max(self.upload_asset_bytes_max);
        let least = 2 * part_bytes_max(longest);
        if self.upload_memory_bytes < least {
            let (least, longest) = (ByteSize(least), ByteSize(longest));
            let allowed = format!("at least {least}, two parts of an upload of {longest}");
            return Err(settings.wrong("upload_memory_bytes", allowed));
        }
        Ok(())
    }
}
