//! Says what a store refused and the way out. Invariant: every error names store, operation and key.

use std::fmt;

use crate::types::ObjectKey;

use super::Digest;

/// Why a store did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoreError {
    /// The storage's name in the configuration.
    pub store: Box<str>,
    /// What was asked.
    pub operation: Operation,
    /// The object it was about; `None` for the store as a whole.
    pub key: Option<Box<ObjectKey>>,
    /// Why not.
    pub kind: StoreErrorKind,
}

impl StoreError {
    /// An error of `store` while it did `operation` on `key`.
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

    /// Whether the same call may succeed later without anyone doing anything.
    pub fn is_retryable(&self) -> bool {
        matches!(
            self.kind,
            StoreErrorKind::Unavailable {
                retryable: true,
                ..
            }
        )
    }

    /// Whether the key was taken already.
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

/// What a store was asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// To be set up.
    Prepare,
    /// To create an object.
    Create,
    /// To read an object.
    Read,
    /// To look at an object.
    Stat,
    /// To list all objects.
    List,
    /// To remove an object.
    Remove,
    /// To keep a probe.
    Probe,
    /// To give a probe back.
    ReadProbe,
    /// To keep a probe that is sent as large objects are.
    ProbeParts,
    /// To remove a probe.
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

/// The reasons a store has to refuse.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StoreErrorKind {
    /// The key is taken; what it holds is untouched.
    #[error("the key is taken")]
    Exists,
    /// The store does not answer, or not now.
    #[error("{cause}")]
    Unavailable {
        /// Whether it may answer later.
        retryable: bool,
        /// What it or the system said.
        cause: String,
    },
    /// The disk or the quota is full; nothing was stored.
    #[error("no space left in `{place}`")]
    NoSpace {
        /// The directory or bucket that is full.
        place: String,
    },
    /// The store does not let us.
    #[error("permission denied in `{place}`: {cause}")]
    Denied {
        /// The directory.
        place: String,
        /// What it or the system said.
        cause: String,
    },
    /// A service turns us away until somebody changes a setting, there or here.
    #[error("{cause}")]
    Refused {
        /// What it means.
        cause: String,
        /// What to change.
        hint: String,
    },
    /// The bytes are not the expected ones; where they were to be stored, nothing was.
    #[error("the bytes are not the expected ones: {found}, not {expected}")]
    Mismatch {
        /// What was promised.
        expected: Digest,
        /// What was found.
        found: Digest,
    },
    /// Anything else.
    #[error("{cause}")]
    Other {
        /// What the store or the system said.
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
