//! Classifies the errors of Cloudflare's API. Invariant: no text contains the token.

use std::time::Duration;

use super::answer::Fault;
use crate::quote::foreign;

/// Upper bound for the part of an API message that is repeated, in characters.
const MOST_CHARS: usize = 200;

/// The reason that an API request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The token is invalid, was revoked, or has expired.
    #[error(
        "Cloudflare does not accept the API token: {0}\nhint: make a new one with Account > D1 > Read, and put it \
         where `[cloudflare] api_token` points"
    )]
    WrongToken(String),
    /// The token lacks the permission.
    #[error(
        "the API token may not do this: {0}\nhint: it needs the permission Account > D1 > Read for this account; \
         restoring needs Edit, and so may `method = \"export\"`"
    )]
    MissingPermission(String),
    /// The account does not exist, or the token has no access to it.
    #[error(
        "the account is unknown or closed to this API token: {0}\nhint: compare `[cloudflare] account_id` with the id \
         on the dashboard's overview page"
    )]
    WrongAccount(String),
    /// The account has no such database.
    #[error("the account has no such D1 database: {0}\nhint: `patina discover` shows those it has")]
    UnknownDatabase(String),
    /// All of the user's tokens together made too many requests.
    #[error(
        "Cloudflare asks to slow down: {message}; it takes 1,200 requests in 5 minutes from all tokens of a user"
    )]
    RateLimited {
        /// Message of the API.
        message: String,
        /// Time to wait, as requested by the API.
        retry_after: Option<Duration>,
    },
    /// The database or Cloudflare itself has a passing fault.
    #[error("D1 is overloaded or has a passing fault: {0}")]
    Overloaded(String),
    /// The query needed more memory or time than D1 allows.
    #[error("D1 gave the query up: {0}")]
    TooMuch(String),
    /// No response came in time.
    #[error("D1 did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// The connection could not be established, or broke.
    #[error("the connection to Cloudflare failed: {0}")]
    Connection(String),
    /// The response does not have the API's format.
    #[error("Cloudflare's answer cannot be read: {0}")]
    Malformed(String),
    /// The API refused the request for another reason.
    #[error("D1 refused with code {code}: {message}")]
    Refused {
        /// The API's error code.
        code: i64,
        /// Message of the API.
        message: String,
    },
    /// Cloudflare's own export ended without a file.
    #[error("D1's export failed: {0}")]
    ExportFailed(String),
    /// Cloudflare's own export took too long.
    #[error(
        "D1's export did not complete within {} s, in which the database answered no other query\nhint: `method = \"raw\"` \
         reads it without blocking it", .0.as_secs()
    )]
    ExportTimeout(Duration),
    /// The link to an export was refused.
    #[error("the link to D1's export is refused with status {0}: it is valid for an hour at most")]
    LinkExpired(u16),
    /// D1 did not accept the SQL text, and is unchanged.
    #[error("D1 did not import the copy and is as it was: {0}")]
    ImportFailed(String),
    /// D1 received the SQL text, and the outcome is unknown.
    #[error(
        "whether D1 took the copy is not known: {0}\nhint: it takes effect whole or not at all; look at the \
         database, then restore again"
    )]
    ImportUnsure(String),
    /// A private file cannot be read or written.
    #[error("a private file cannot be used: {0}")]
    Scratch(String),
    /// The HTTP client cannot be created.
    #[error("the HTTP client cannot be made: {0}")]
    Setup(String),
    /// The request was cancelled.
    #[error("the request was stopped")]
    Stopped,
}

/// Parts of D1's messages for faults that pass.
const PASSING: &[&str] = &[
    "overloaded",
    "too many requests queued",
    "network connection lost",
    "storage caused object to be reset",
    "reset because its code was updated",
    "cannot resolve d1 db due to transient issue",
    "exceeded timeout which caused object to be reset",
    "currently processing a long-running",
    "internal error",
];

/// Parts of D1's messages for queries that need too much.
const TOO_MUCH: &[&str] = &[
    "exceeded its memory limit",
    "exceeded its cpu time limit",
    "exceeded its cpu limit",
    "sqlite_nomem",
    "string or blob too big",
];

impl ApiError {
    /// True if the same request may succeed a little later.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::RateLimited { .. }
            | Self::Overloaded(_)
            | Self::TooMuch(_)
            | Self::Timeout(_)
            | Self::Connection(_)
            | Self::LinkExpired(_)
            | Self::Malformed(_) => true,
            Self::WrongToken(_)
            | Self::MissingPermission(_)
            | Self::WrongAccount(_)
            | Self::UnknownDatabase(_)
            | Self::Refused { .. }
            | Self::ExportFailed(_)
            | Self::ExportTimeout(_)
            | Self::ImportFailed(_)
            | Self::ImportUnsure(_)
            | Self::Scratch(_)
            | Self::Setup(_)
            | Self::Stopped => false,
        }
    }

    /// True if a smaller request may succeed.
    pub(super) fn wants_less(&self) -> bool {
        matches!(self, Self::TooMuch(_) | Self::Timeout(_))
    }

    /// Classifies D1's message for an export that ended without a file.
    pub(super) fn of_export(message: &str) -> Self {
        let message = shortened(message);
        let lower = message.to_lowercase();
        match PASSING.iter().any(|word| lower.contains(word)) {
            true => Self::Overloaded(message),
            false => Self::ExportFailed(message),
        }
    }

    /// Classifies a response by its status and errors.
    pub(super) fn of_answer(
        status: u16,
        faults: &[Fault],
        retry_after: Option<Duration>,
        redact: impl Fn(&str) -> String,
    ) -> Self {
        let code = faults.first().map_or(0, |fault| fault.code);
        let message = match faults.first() {
            // Redacted before it is cut: a cut could leave half of a secret.
            Some(fault) => shortened(&redact(&fault.message)),
            None => format!("status {status}"),
        };
        let lower = message.to_lowercase();
        let says = |words: &[&str]| words.iter().any(|word| lower.contains(word));
        if says(TOO_MUCH) {
            return Self::TooMuch(message);
        }
        match (status, code) {
            (_, 971) => Self::RateLimited {
                message,
                retry_after,
            },
            _ if says(PASSING) => Self::Overloaded(message),
            (429, _) => Self::RateLimited {
                message,
                retry_after,
            },
            (_, 7403 | 7003) => Self::WrongAccount(message),
            (401, _) | (_, 1000 | 6003 | 6111 | 9109) => Self::WrongToken(message),
            (403, _) | (_, 10000) => Self::MissingPermission(message),
            (404, _) | (_, 7404) => Self::UnknownDatabase(message),
            (500.., _) => Self::Overloaded(message),
            _ => Self::Refused { code, message },
        }
    }
}

/// Returns the first line that is not blank, shortened, without characters that act where it is shown.
pub(super) fn shortened(text: &str) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty());
    foreign(line.unwrap_or_default().trim(), MOST_CHARS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(status: u16, code: i64, message: &str) -> ApiError {
        let fault = Fault {
            code,
            message: message.to_owned(),
        };
        ApiError::of_answer(status, &[fault], None, str::to_owned)
    }

    #[test]
    fn what_the_api_says_is_masked_before_it_is_cut_and_nothing_in_it_acts() {
        let token = "v1.0-secret-token-of-forty-characters-xyz";
        let message = format!(
            "\u{1b}[2J\u{9b}bad token {token}\u{202e}\r{}{token}",
            "x".repeat(140)
        );
        let fault = Fault {
            code: 1000,
            message,
        };
        let redact = |text: &str| text.replace(token, "…");
        let text = ApiError::of_answer(400, &[fault], None, redact).to_string();
        assert!(
            text.contains("\\u{1b}[2J\\u{9b}bad token …\\u{202e}\\r"),
            "{text:?}"
        );
        assert!(!text.contains("v1.0"), "{text:?}");
        let said = text.split("\nhint: ").next().unwrap();
        assert!(!said.contains(char::is_control), "{text:?}");
    }

    #[test]
    fn each_way_to_fail_has_its_own_name() {
        use ApiError::*;
        let is =
            |error: ApiError, wanted: fn(&ApiError) -> bool| assert!(wanted(&error), "{error:?}");
        is(of(401, 10000, "Authentication error"), |e| {
            matches!(e, WrongToken(_))
        });
        is(of(403, 10000, "Authentication error"), |e| {
            matches!(e, MissingPermission(_))
        });
        is(of(403, 7403, "The given account is not valid"), |e| {
            matches!(e, WrongAccount(_))
        });
        is(of(404, 7404, "not found"), |e| {
            matches!(e, UnknownDatabase(_))
        });
        is(of(429, 971, "Please wait"), |e| {
            matches!(e, RateLimited { .. })
        });
        is(of(429, 7500, "D1 DB is overloaded."), |e| {
            matches!(e, Overloaded(_))
        });
        is(of(500, 7500, "Network connection lost."), |e| {
            matches!(e, Overloaded(_))
        });
        is(of(503, 0, "x"), |e| matches!(e, Overloaded(_)));
        is(of(400, 7500, "no such table: t"), |e| {
            matches!(e, Refused { code: 7500, .. })
        });
        let memory = "D1 DB's isolate exceeded its memory limit and was reset.";
        is(of(500, 7500, memory), ApiError::wants_less);
        assert!(!of(401, 10000, "x").is_retryable() && of(503, 0, "x").is_retryable());
    }
}
