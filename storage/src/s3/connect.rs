//! From a configuration to a client.

use std::time::Duration;

use aws_config::BehaviorVersion;
use aws_config::environment::region::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Builder, Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation,
    StalledStreamProtectionConfig,
};
use aws_smithy_http_client::tls::{self, rustls_provider::CryptoMode};

use super::{S3Config, S3Store, StaticCredentials};

/// What servers that are not AWS accept when nobody says otherwise.
const REGION_DEFAULT: &str = "us-east-1";
/// A write is tried again after up to this, then up to twice this, and so on: a client is waiting, so the
/// SDK's second is too long. A throttling store still sees its clients back off.
const BACKOFF_INITIAL: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(5);
/// Added to the read timeout where a request sends a part first (8 MiB at 64 KiB/s), or asks the server to
/// assemble one (S3 may take minutes for it).
const UPLOAD_EXTRA: Duration = Duration::from_secs(128);

pub(super) async fn connect(config: S3Config) -> S3Store {
    let http_client = aws_smithy_http_client::Builder::new()
        .pool_max_idle_per_host(config.idle_connections_max)
        .tls_provider(tls::Provider::Rustls(CryptoMode::Ring))
        .build_https();
    // The credential providers (instance metadata, container, web identity) use the same HTTP client.
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .http_client(http_client)
        .region(region(&config))
        .timeout_config(timeouts(&config, Duration::ZERO))
        .retry_config(
            RetryConfig::standard()
                .with_max_attempts(config.attempts_max.max(1))
                .with_initial_backoff(BACKOFF_INITIAL)
                .with_max_backoff(BACKOFF_MAX),
        )
        // Bodies have a limit of our own, which tells a stalled store from a reader that does not read.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // S3 has checksums for whole objects and parts, hardly ever for the range that was asked for.
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
    if let Some(endpoint) = &config.endpoint {
        // Many relatives of S3 do not know the newer checksum headers and refuse or store them as content.
        loader = loader
            .endpoint_url(endpoint)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired);
    }
    if let Some(keys) = &config.credentials {
        loader = loader.credentials_provider(credentials(keys));
    }
    let shared = loader.load().await;
    let client_config = Builder::from(&shared).force_path_style(config.force_path_style);
    let mut signer_config = client_config.clone();
    if let Some(endpoint) = &config.public_endpoint {
        signer_config = signer_config.endpoint_url(endpoint);
    }
    tracing::debug!(
        bucket = config.bucket,
        endpoint = config.endpoint,
        region = shared.region().map(AsRef::as_ref),
        "S3 client ready"
    );
    S3Store {
        bucket: config.bucket.as_str().into(),
        client: Client::from_conf(client_config.build()),
        signer: Client::from_conf(signer_config.build()),
        idle_timeout: config.read_timeout,
        read_config: Builder::new().retry_config(RetryConfig::disabled()),
        upload_config: Builder::new().timeout_config(timeouts(&config, UPLOAD_EXTRA)),
    }
}

/// With an endpoint, instance metadata is not asked: outside AWS that is a wait for nobody.
fn region(config: &S3Config) -> RegionProviderChain {
    let given = RegionProviderChain::first_try(config.region.clone().map(Region::new));
    if config.endpoint.is_none() {
        return given.or_default_provider();
    }
    given
        .or_else(EnvironmentVariableRegionProvider::new())
        .or_else(ProfileFileRegionProvider::new())
        .or_else(Region::new(REGION_DEFAULT))
}

fn timeouts(config: &S3Config, extra: Duration) -> TimeoutConfig {
    TimeoutConfig::builder()
        .connect_timeout(config.connect_timeout)
        .read_timeout(config.read_timeout + extra)
        .build()
}

fn credentials(keys: &StaticCredentials) -> Credentials {
    let token = keys.session_token.clone();
    Credentials::new(&keys.access_key_id, &keys.secret_access_key, token, None, "seekway")
}
