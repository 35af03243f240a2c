//! Builds the S3 client. Invariant: it never searches for credentials, and every request has a time limit.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::interceptors::InterceptorContext;
use aws_sdk_s3::config::retry::{ClassifyRetry, RetryAction, RetryConfig};
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Credentials, Region, RequestChecksumCalculation, ResponseChecksumValidation, SharedAsyncSleep,
    SharedHttpClient, StalledStreamProtectionConfig,
};
use aws_smithy_async::rt::sleep::TokioSleep;
use aws_smithy_async::time::TimeSource;
use aws_smithy_http_client::tls::rustls_provider::CryptoMode;
use aws_smithy_http_client::tls::{Provider, TlsContext, TrustStore};

use crate::clock::Clock;
use crate::config;
use crate::net::install_tls;

use super::super::StoreErrorKind;

const TOO_MANY_REQUESTS: u16 = 429;

/// Timeouts and retry limits for a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct S3Patience {
    /// Time limit for connecting.
    pub connect: Duration,
    /// Time limit for the response to one request, including sending its body.
    pub attempt: Duration,
    /// Time limit for the next bytes of an object being read.
    pub idle: Duration,
    /// Maximum number of times that one request is sent.
    pub attempts: u32,
    /// Maximum number of times that reading one object is resumed.
    pub resumes: u32,
    /// Longest delay before a request is first repeated; it doubles each time.
    pub first_delay: Duration,
}

impl Default for S3Patience {
    /// Sufficient for 16 MiB over a line of 1.2 Mbit/s. [`super::super::Retry`] repeats whole operations.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            attempt: Duration::from_secs(120),
            idle: Duration::from_secs(60),
            attempts: 3,
            resumes: 5,
            first_delay: Duration::from_secs(1),
        }
    }
}

impl S3Patience {
    /// Delay after attempt number `attempt` (from 0).
    pub(super) fn delay(&self, attempt: u32) -> Duration {
        self.first_delay
            .saturating_mul(2u32.saturating_pow(attempt))
    }
}

pub(super) fn build(
    settings: &config::S3,
    clock: &Arc<dyn Clock>,
    patience: S3Patience,
) -> Result<Client, StoreErrorKind> {
    install_tls();
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(patience.connect)
        .operation_attempt_timeout(patience.attempt)
        .build();
    let retries = RetryConfig::standard()
        .with_max_attempts(patience.attempts.max(1))
        .with_initial_backoff(patience.first_delay);
    let credentials = Credentials::new(
        settings.access_key_id.expose(),
        settings.secret_access_key.expose(),
        None,
        None,
        "patina.toml",
    );
    let config = aws_sdk_s3::Config::builder()
        .endpoint_url(&settings.endpoint)
        .force_path_style(true)
        .region(Region::new(settings.region.clone()))
        .credentials_provider(credentials)
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        // It measures wall time; the limits of the attempt and of the reader cover the same.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
        // A clock that is so wrong would also misdate copies: it is reported, not worked around.
        .disable_clock_skew_correction(true)
        .timeout_config(timeouts)
        .retry_config(retries)
        .retry_classifier(TooManyRequests)
        .sleep_impl(SharedAsyncSleep::new(TokioSleep::new()))
        .time_source(WallTime(Arc::clone(clock)))
        .http_client(http(&settings.endpoint)?)
        .build();
    Ok(Client::from_conf(config))
}

fn http(endpoint: &str) -> Result<SharedHttpClient, StoreErrorKind> {
    // Without TLS no certificates are loaded: a bare container has none.
    let trust = match endpoint.starts_with("https://") {
        true => TrustStore::default(),
        false => TrustStore::empty(),
    };
    let context = TlsContext::builder().with_trust_store(trust).build();
    let context = context.map_err(|error| StoreErrorKind::Other {
        cause: format!("TLS cannot be set up: {error}"),
    })?;
    Ok(aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .tls_context(context)
        .build_https())
}

/// Retries responses with status 429, which the SDK does not: R2 sends it for too many requests.
#[derive(Debug)]
struct TooManyRequests;

impl ClassifyRetry for TooManyRequests {
    fn classify_retry(&self, context: &InterceptorContext) -> RetryAction {
        let status = context.response().map(|response| response.status());
        match status.map(|status| status.as_u16()) {
            Some(TOO_MANY_REQUESTS) => RetryAction::throttling_error(),
            _ => RetryAction::NoActionIndicated,
        }
    }

    fn name(&self) -> &'static str {
        "too many requests"
    }
}

struct WallTime(Arc<dyn Clock>);

impl fmt::Debug for WallTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WallTime")
    }
}

impl TimeSource for WallTime {
    fn now(&self) -> SystemTime {
        self.0.now().into()
    }
}
