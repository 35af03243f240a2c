//! Classifies a service's errors and names the remedies. Invariant: no message contains a credential.

use std::error::Error;
use std::time::Duration;

use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use chrono::{DateTime, TimeDelta, Utc};

use super::super::StoreErrorKind;
use super::bucket::Bucket;
use crate::quote::foreign;

/// Upper bound for a service's text in a message, in characters.
const MOST_CHARS: usize = 300;

/// Reason that a request failed.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    /// HTTP status; `None` if there was no response.
    status: Option<u16>,
    /// Error code of the service; responses to HEAD have none.
    code: Option<String>,
    /// Meaning of the error.
    pub(super) kind: StoreErrorKind,
}

impl Refusal {
    /// Creates an error without a response of the service.
    pub(super) fn new(kind: StoreErrorKind) -> Self {
        let (status, code) = (None, None);
        Self { status, code, kind }
    }

    /// Creates an error for an unexpected response; retryable.
    pub(super) fn odd(cause: impl Into<String>) -> Self {
        Self::new(StoreErrorKind::Unavailable {
            retryable: true,
            cause: cause.into(),
        })
    }

    pub(super) fn is_retryable(&self) -> bool {
        let kind = &self.kind;
        matches!(
            kind,
            StoreErrorKind::Unavailable {
                retryable: true,
                ..
            }
        )
    }

    /// True if the service may have performed the request nevertheless.
    pub(super) fn is_lost(&self) -> bool {
        let turned_away = self.is_throttled()
            || self
                .status
                .is_some_and(|status| (400..500).contains(&status));
        self.is_retryable() && !turned_away
    }

    /// True if the service asks for slower requests; it did nothing.
    pub(super) fn is_throttled(&self) -> bool {
        self.status == Some(429) || self.code.as_deref() == Some("SlowDown")
    }

    /// True if the condition of a conditional request does not hold.
    pub(super) fn is_precondition(&self) -> bool {
        self.status == Some(412)
    }

    /// True if the object does not exist. False for a 404 to HEAD: the bucket may be missing instead.
    pub(super) fn is_no_key(&self) -> bool {
        self.code.as_deref() == Some("NoSuchKey")
    }

    /// True if the upload does not exist (any more).
    pub(super) fn is_no_upload(&self) -> bool {
        self.code.as_deref() == Some("NoSuchUpload")
    }

    /// True if the range begins after the object's end.
    pub(super) fn is_beyond(&self) -> bool {
        self.status == Some(416)
    }

    /// True if the service does not implement the request.
    pub(super) fn is_unimplemented(&self) -> bool {
        self.status == Some(501)
    }

    /// True if the response contains a status but no reason, like all responses to HEAD.
    pub(super) fn is_terse(&self) -> bool {
        let unexplained = matches!(self.code.as_deref(), None | Some("NotFound" | "Forbidden"));
        unexplained && self.status.is_some_and(|status| status < 500)
    }
}

impl Bucket {
    /// Classifies `error`.
    pub(super) fn refusal<E>(&self, error: &SdkError<E, HttpResponse>) -> Refusal
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let status = error.raw_response().map(|raw| raw.status().as_u16());
        let kind = match error {
            SdkError::ServiceError(refused) => self.served(refused.err(), refused.raw()),
            SdkError::TimeoutError(_) => retryable(format!(
                "`{}` did not answer within {}",
                self.endpoint,
                humantime::format_duration(self.patience.attempt)
            )),
            SdkError::DispatchFailure(failure) => self.unreached(failure.as_connector_error()),
            SdkError::ResponseError(_) => retryable(format!(
                "`{}` answered nothing that can be read as S3 (status {})",
                self.endpoint,
                status.unwrap_or_default()
            )),
            _ => other(format!(
                "the request cannot be built: {}",
                self.clean(&chain(error))
            )),
        };
        let code = error.code().map(str::to_owned);
        Refusal { status, code, kind }
    }

    fn unreached(&self, cause: Option<&(impl Error + 'static)>) -> StoreErrorKind {
        let text = cause.map_or_else(String::new, |cause| self.clean(&chain(cause)));
        if cause.is_some_and(|cause| is_tls(cause)) {
            return StoreErrorKind::Refused {
                cause: format!("`{}` cannot be trusted: {text}", self.endpoint),
                hint: "check `endpoint`, this machine's clock, and its CA certificates".to_owned(),
            };
        }
        retryable(format!("`{}` cannot be reached: {text}", self.endpoint))
    }

    fn served(&self, error: &dyn ProvideErrorMetadata, raw: &HttpResponse) -> StoreErrorKind {
        let status = raw.status().as_u16();
        let message = error.message().unwrap_or_default();
        let said = match error.code() {
            Some(code) => self.clean(&format!("{code} (status {status}): {message}")),
            None => format!("status {status}"),
        };
        let refused = |cause: String, hint: String| StoreErrorKind::Refused { cause, hint };
        let bucket = &self.bucket_name;
        match error.code().unwrap_or_default() {
            "InvalidAccessKeyId" => refused(
                "the service does not know the access key id".to_owned(),
                "check `access_key_id` and `endpoint`; a key belongs to one account".to_owned(),
            ),
            "SignatureDoesNotMatch" => refused(
                "the secret access key is wrong".to_owned(),
                "check `secret_access_key`: it must belong to `access_key_id`, without blanks \
                 around it"
                    .to_owned(),
            ),
            "ExpiredToken" | "InvalidToken" | "TokenRefreshRequired" => refused(
                format!("the access key is no longer valid: {said}"),
                "make a new key and name it in `access_key_id` and `secret_access_key`".to_owned(),
            ),
            "RequestTimeTooSkewed" | "RequestExpired" => refused(
                format!("the clocks differ too much{}", self.difference(raw)),
                "set this machine's clock, best with NTP".to_owned(),
            ),
            "NoSuchBucket" => refused(
                format!("there is no bucket `{bucket}`"),
                "create it, or check `bucket` and `endpoint`".to_owned(),
            ),
            "PermanentRedirect"
            | "AuthorizationHeaderMalformed"
            | "IllegalLocationConstraintException"
            | "InvalidRegionName" => refused(
                format!("the region is wrong: {said}"),
                match raw.headers().get("x-amz-bucket-region") {
                    Some(region) => format!("set `region = \"{}\"`", self.clean(region)),
                    None => "set `region` to the bucket's; it is `auto` for R2".to_owned(),
                },
            ),
            "AccessDenied" | "AllAccessDisabled" | "AccountProblem" | "Forbidden" => refused(
                format!("the service denies it: {said}"),
                format!(
                    "let the access key read, write, list and delete objects of the bucket `{bucket}`"
                ),
            ),
            "QuotaExceeded" | "XMinioStorageFull" | "InsufficientStorage" => {
                let place = format!("bucket {bucket}");
                StoreErrorKind::NoSpace { place }
            }
            "SlowDown"
            | "ServiceUnavailable"
            | "InternalError"
            | "RequestTimeout"
            | "RequestTimeoutException"
            | "TooManyRequests"
            | "Throttling"
            | "ThrottlingException"
            | "BadDigest"
            | "XAmzContentSHA256Mismatch"
            | "IncompleteBody"
            | "ConditionalRequestConflict"
            | "OperationAborted" => retryable(said),
            "NoSuchUpload" => retryable("somebody aborted the upload".to_owned()),
            _ => self.by_status(status, said),
        }
    }

    fn by_status(&self, status: u16, said: String) -> StoreErrorKind {
        match status {
            // A success whose body is an error: AWS sends that when it completes an upload.
            200..300 => retryable(format!("it said success and sent no such answer: {said}")),
            401 | 403 => StoreErrorKind::Refused {
                cause: format!("the service denies it: {said}"),
                hint: format!(
                    "check the access key, and that it may use the bucket `{}`",
                    self.bucket_name
                ),
            },
            507 => StoreErrorKind::NoSpace {
                place: format!("bucket {}", self.bucket_name),
            },
            501 => other(said),
            408 | 409 | 425 | 429 | 500.. => retryable(said),
            _ => other(said),
        }
    }

    /// Describes the difference between our clock and the service's.
    fn difference(&self, raw: &HttpResponse) -> String {
        let theirs = raw.headers().get("date");
        let theirs = theirs.and_then(|date| DateTime::parse_from_rfc2822(date).ok());
        let Some(theirs) = theirs else {
            return String::new();
        };
        let ours = self.clock.now();
        let apart = ours - theirs.with_timezone(&Utc);
        let word = match apart > TimeDelta::zero() {
            true => "ahead of",
            false => "behind",
        };
        let minutes = Duration::from_secs(60 * apart.num_minutes().unsigned_abs());
        let minutes = humantime::format_duration(minutes);
        format!(": this machine is {minutes} {word} the service")
    }

    /// Sanitizes foreign text: without our credentials and active characters, and of bounded length.
    fn clean(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for secret in [&self.secret_access_key, &self.access_key_id] {
            if !secret.expose().is_empty() {
                text = text.replace(secret.expose(), "…");
            }
        }
        foreign(&text, MOST_CHARS)
    }
}

fn retryable(cause: String) -> StoreErrorKind {
    let retryable = true;
    StoreErrorKind::Unavailable { retryable, cause }
}

fn other(cause: String) -> StoreErrorKind {
    StoreErrorKind::Other { cause }
}

/// Joins an error and its causes on one line, each text once.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        if !texts.iter().any(|other| other.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    texts.join(": ")
}

fn is_tls(error: &(dyn Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.is::<rustls::Error>() {
            return true;
        }
        // An `io::Error` returns the source of the error that it wraps, not that error.
        let wrapped = error
            .downcast_ref::<std::io::Error>()
            .and_then(std::io::Error::get_ref);
        next = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    false
}
