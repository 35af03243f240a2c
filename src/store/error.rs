//! Describes errors of a store and their remedies. Invariant: every error names the store, the operation and the key.

use std::fmt;

use crate::types::ObjectKey;

use super::Digest;

/// Reason that a store did not perform an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreError {
    /// The storage's name in the configuration.
    pub store: Box<str>,
    /// The requested operation.
    pub operation: Operation,
    /// The object concerned; `None` for the store as a whole.
    pub key: Option<Box<ObjectKey>>,
    /// Kind of the error.
    pub kind: StoreErrorKind,
}

impl StoreError {
    /// Creates an error of `store` during `operation` on `key`.
    pub fn new(
        store: &str,
        operation: Operation,
        key: Option<&ObjectKey>,
        kind: StoreErrorKind,
    ) -> Self {
        Self {
            store: store.into(),
            operation,
            key: key.cloned().map(Box::new),
            kind,
        }
    }

    /// True if the same call may succeed later without any intervention.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.kind,
            StoreErrorKind::Unavailable {
                retryable: true,
                ..
            }
        )
    }

    /// True if the key was already taken.
    pub fn is_exists(&self) -> bool {
        self.kind == StoreErrorKind::Exists
    }
}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "storage `{}`: cannot {}", self.store, self.operation)?;
        if let Some(key) = &self.key {
            write!(f, " `{key}`")?;
        }
        write!(f, ": {}", self.kind)?;
        match self.kind.hint() {
            Some(hint) => write!(f, "\nhint: {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for StoreError {}

/// An operation of a store.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Open the store.
    Prepare,
    /// Create an object.
    Create,
    /// Read an object.
    Read,
    /// Get an object's metadata.
    Stat,
    /// List all objects.
    List,
    /// Remove an object.
    Remove,
    /// Write a probe.
    Probe,
    /// Read a probe back.
    ReadProbe,
    /// Write a probe in parts, as large objects are sent.
    ProbeParts,
    /// Remove a probe.
    Unprobe,
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Prepare => "be opened",
            Self::Create => "create",
            Self::Read => "read",
            Self::Stat => "look at",
            Self::List => "list its objects",
            Self::Remove => "remove",
            Self::Probe => "write a probe",
            Self::ReadProbe => "read its probe back",
            Self::ProbeParts => "take a large object in parts",
            Self::Unprobe => "remove its probe",
        })
    }
}

/// Kinds of store errors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreErrorKind {
    /// The key is taken; its object is untouched.
    #[error("the key is taken")]
    Exists,
    /// The store does not answer now, or not at all.
    #[error("{cause}")]
    Unavailable {
        /// True if it may answer later.
        retryable: bool,
        /// Message of the store or the system.
        cause: String,
    },
    /// The disk or the quota is full; nothing was stored.
    #[error("no space left in `{place}`")]
    NoSpace {
        /// The directory or bucket that is full.
        place: String,
    },
    /// The store denies access.
    #[error("permission denied in `{place}`: {cause}")]
    Denied {
        /// The directory.
        place: String,
        /// Message of the store or the system.
        cause: String,
    },
    /// A service rejects requests until a setting is changed, there or here.
    #[error("{cause}")]
    Refused {
        /// Meaning of the error.
        cause: String,
        /// The setting to change.
        hint: String,
    },
    /// The bytes are not the expected ones; if they were to be stored, nothing was.
    #[error("the bytes are not the expected ones: {found}, not {expected}")]
    Mismatch {
        /// The expected digest.
        expected: Digest,
        /// The digest found.
        found: Digest,
    },
    /// Any other error.
    #[error("{cause}")]
    Other {
        /// Message of the store or the system.
        cause: String,
    },
}

impl StoreErrorKind {
    fn hint(&self) -> Option<String> {
        match self {
            Self::NoSpace { place } => Some(format!(
                "nothing was stored and older copies are untouched; free space in `{place}`"
            )),
            Self::Denied { place, .. } => Some(format!(
                "let the user who runs patina read and write `{place}`, and see that it is not \
                 mounted read-only"
            )),
            Self::Refused { hint, .. } => Some(hint.clone()),
            Self::Exists
            | Self::Unavailable { .. }
            | Self::Mismatch { .. }
            | Self::Other { .. } => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_of_a_full_disk_tells_the_way_out() {
        let key = "daily/2026-11-22/orders.sql".parse().unwrap();
        let place = "/srv/backups".to_owned();
        let kind = StoreErrorKind::NoSpace { place };
        let error = StoreError::new("nas", Operation::Create, Some(&key), kind);
        assert_eq!(
            error.to_string(),
            "storage `nas`: cannot create `daily/2026-11-22/orders.sql`: no space left in \
             `/srv/backups`\nhint: nothing was stored and older copies are untouched; free space \
             in `/srv/backups`"
        );
        assert!(!error.is_retryable());
    }
}
