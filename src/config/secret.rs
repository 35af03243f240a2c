//! Holds secrets. Invariant: a secret cannot be printed; reading it takes a call of `expose`.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};

/// Origin of a secret, as the file names it; safe to show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretOrigin {
    /// `env:NAME`.
    Env(String),
    /// `file:/path`.
    File(String),
    /// `cred:NAME`: a file in `$CREDENTIALS_DIRECTORY`.
    Cred(String),
    /// Written into the configuration itself.
    Inline,
}

impl fmt::Display for SecretOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "env:{name}"),
            Self::File(path) => write!(f, "file:{path}"),
            Self::Cred(name) => write!(f, "cred:{name}"),
            Self::Inline => f.write_str("inline"),
        }
    }
}

/// Secret value. It has no `Display`, and `Debug` shows only its origin.
#[derive(Clone)]
pub struct Secret {
    value: SecretString,
    origin: SecretOrigin,
}

impl Secret {
    /// Creates a secret with its origin.
    pub fn new(value: String, origin: SecretOrigin) -> Self {
        Self {
            value: value.into(),
            origin,
        }
    }

    /// Returns the value, for the one call that needs it.
    pub fn expose(&self) -> &str {
        self.value.expose_secret()
    }

    /// Returns its origin.
    pub fn origin(&self) -> &SecretOrigin {
        &self.origin
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({})", self.origin)
    }
}

impl PartialEq for Secret {
    /// True if value and origin are equal; only for comparing two configurations.
    fn eq(&self, other: &Self) -> bool {
        self.origin == other.origin && self.expose() == other.expose()
    }
}
