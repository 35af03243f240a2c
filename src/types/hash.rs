//! Computes and formats digests.

use std::fmt;
use std::str::FromStr;

use sha2::Digest;

use super::Refused;

/// SHA-256 digest, written as 64 lower-case hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Sha256([u8; 32]);

/// BLAKE3 digest of a table's rows, written as 64 lower-case hexadecimal digits.
///
/// Rows are digested while they are read, and SHA-256 would be the slowest part there.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ContentHash([u8; 32]);

impl Sha256 {
    /// Returns the digest of bytes in memory.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::default();
        hasher.update(bytes);
        hasher.finish()
    }
}

impl From<[u8; 32]> for ContentHash {
    fn from(digest: [u8; 32]) -> Self {
        Self(digest)
    }
}

/// Formats and parses a digest as hexadecimal digits.
macro_rules! hexadecimal {
    ($type:ident, $what:literal) => {
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&hex::encode(self.0))
            }
        }

        impl fmt::Debug for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $type {
            type Err = Refused;

            fn from_str(text: &str) -> Result<Self, Refused> {
                let mut digest = [0; 32];
                hex::decode_to_slice(text, &mut digest).map_err(|_| Refused {
                    what: $what,
                    value: text.to_owned(),
                    rule: "use 64 hexadecimal digits",
                })?;
                Ok(Self(digest))
            }
        }

        super::text_serde!($type);
    };
}

hexadecimal!(Sha256, "SHA-256");
hexadecimal!(ContentHash, "content hash");

/// SHA-256 over bytes that arrive in pieces, and their count.
#[derive(Clone, Default)]
pub struct Hasher {
    state: sha2::Sha256,
    seen_bytes: u64,
}

impl Hasher {
    /// Adds the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.state.update(bytes);
        self.seen_bytes += bytes.len() as u64;
    }

    /// Number of bytes added.
    pub fn seen_bytes(&self) -> u64 {
        self.seen_bytes
    }

    /// Returns the digest of all bytes added.
    pub fn finish(self) -> Sha256 {
        Sha256(self.state.finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_abc_is_the_one_of_fips_180() {
        let digest = Sha256::of(b"abc").to_string();
        assert_eq!(
            digest,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        assert_eq!(digest.parse::<Sha256>().unwrap(), Sha256::of(b"abc"));
        assert!("ba78".parse::<Sha256>().is_err());
    }
}
