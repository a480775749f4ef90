//! S3 and its relatives, over the AWS SDK.
//!
//! The SDK signs, finds credentials, and retries writes. This module checks what comes back: an answer is believed
//! only if its status, range, length and entity tag are what was asked for, because a cache keeps what it
//! believes. Every wait on the network has a limit.

mod connect;
mod errors;
mod get;
mod list;
mod multipart;
mod put;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_s3::Client;
use bytes::Bytes;

use crate::{
    Attributes, ByteStream, Error, Get, Listing, Object, ObjectKey, ObjectStore, Page, Part, PartNumber,
    Parts, PresignedPart, UploadId, Uploads, Version,
};

/// Where a bucket is and how patient to be with it.
#[derive(Debug, Clone)]
pub struct S3Config {
    /// The bucket's name.
    pub bucket: String,
    /// The URL of a server that is not AWS, or a VPC endpoint; `None` for AWS itself.
    pub endpoint: Option<String>,
    /// The URL of the same server for others, whom presigned requests are for; `None` if it is the same.
    pub public_endpoint: Option<String>,
    /// `None` asks the SDK (environment, profile, instance metadata); with an endpoint it asks the first two
    /// only, and falls back to `us-east-1`, which such servers accept.
    pub region: Option<String>,
    /// `http://host/bucket/key` instead of `http://bucket.host/key`.
    pub force_path_style: bool,
    /// `None` uses the SDK's chain: environment, profile, web identity, container, instance.
    pub credentials: Option<StaticCredentials>,
    /// Time for TCP and TLS together.
    pub connect_timeout: Duration,
    /// Time to the first byte of an answer, for each attempt, and the longest pause between chunks of a body.
    pub read_timeout: Duration,
    /// How often a write is tried in all, at least once. Reads are tried once: [`Origin`](crate::origin::Origin)
    /// tries again, and sees each failure. Bodies that break off are the caller's to resume.
    pub attempts_max: u32,
    /// Connections that are kept for later while nothing uses them.
    pub idle_connections_max: usize,
}

/// A key pair that does not come from the SDK's chain.
#[derive(Clone)]
pub struct StaticCredentials {
    /// The public half.
    pub access_key_id: String,
    /// The secret half.
    pub secret_access_key: String,
    /// For temporary credentials.
    pub session_token: Option<String>,
}

/// One bucket as an object store. Cheap to clone; clones share connections.
#[derive(Debug, Clone)]
pub struct S3Store {
    bucket: Arc<str>,
    client: Client,
    /// Signs what others will send.
    signer: Client,
    /// The longest pause between two chunks of a body.
    idle_timeout: Duration,
    /// For reads, which are tried once.
    read_config: aws_sdk_s3::config::Builder,
    /// For requests that send much or make the server work: they answer late without being stuck.
    upload_config: aws_sdk_s3::config::Builder,
}

// === impl S3Config ===

impl S3Config {
    /// A bucket on AWS with the SDK's credentials, 2 s to connect, 5 s to wait and 3 attempts at a write.
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            endpoint: None,
            public_endpoint: None,
            region: None,
            force_path_style: false,
            credentials: None,
            connect_timeout: Duration::from_secs(2),
            read_timeout: Duration::from_secs(5),
            attempts_max: 3,
            idle_connections_max: 128,
        }
    }
}

// === impl StaticCredentials ===

impl fmt::Debug for StaticCredentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StaticCredentials")
            .field("access_key_id", &self.access_key_id)
            .finish_non_exhaustive()
    }
}

// === impl S3Store ===

impl S3Store {
    /// Prepares a client. Nothing is asked of the bucket yet; credentials are looked up at the first request.
    pub async fn connect(config: S3Config) -> Self {
        connect::connect(config).await
    }
}

#[async_trait]
impl ObjectStore for S3Store {
    async fn head(&self, key: &ObjectKey) -> Result<Object, Error> {
        get::head(self, key).await
    }

    async fn get(&self, key: &ObjectKey, range: Range<u64>, expected: Option<&Object>) -> Result<Get, Error> {
        get::get(self, key, range, expected).await
    }

    async fn list(&self, prefix: &str, page: Page) -> Result<Listing, Error> {
        list::list(self, prefix, page).await
    }

    async fn put(
        &self,
        key: &ObjectKey,
        attributes: &Attributes,
        body: ByteStream,
    ) -> Result<Version, Error> {
        put::put(self, key, attributes, body).await
    }

    async fn create_multipart(&self, key: &ObjectKey, attributes: &Attributes) -> Result<UploadId, Error> {
        multipart::create(self, key, attributes).await
    }

    async fn put_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: PartNumber,
        body: Bytes,
    ) -> Result<Part, Error> {
        multipart::put_part(self, key, upload, number, body).await
    }

    async fn complete_multipart(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        parts: &[Part],
    ) -> Result<Version, Error> {
        multipart::complete(self, key, upload, parts).await
    }

    async fn list_parts(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        after: Option<PartNumber>,
    ) -> Result<Parts, Error> {
        multipart::list_parts(self, key, upload, after).await
    }

    async fn list_multipart(&self, prefix: &str, page: Page) -> Result<Uploads, Error> {
        multipart::list(self, prefix, page).await
    }

    async fn presign_part(
        &self,
        key: &ObjectKey,
        upload: &UploadId,
        number: PartNumber,
        bytes: u64,
        valid_for: Duration,
    ) -> Result<PresignedPart, Error> {
        multipart::presign_part(self, key, upload, number, bytes, valid_for).await
    }

    async fn abort_multipart(&self, key: &ObjectKey, upload: &UploadId) -> Result<(), Error> {
        multipart::abort(self, key, upload).await
    }

    async fn delete(&self, key: &ObjectKey) -> Result<(), Error> {
        put::delete(self, key).await
    }

    fn head_is_cheap(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The gateway's own default is the same.
    #[test]
    fn connecting_takes_two_seconds_at_most() {
        assert_eq!(S3Config::new("bucket").connect_timeout, Duration::from_secs(2));
    }
}
