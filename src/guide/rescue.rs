//! Generates a configuration that suffices to read copies, for a host on which nothing else is left.

use std::fmt::Write as _;

use crate::config::{Config, S3, Secret, SecretOrigin, StorageKind};
use crate::quote;

/// Name of the file; differs from the default, so that it replaces none.
pub(super) const FILE: &str = "rescue.toml";

/// Returns the command that writes the file. It contains only the storages and the sources of their keys, no secret.
pub(super) fn command(config: &Config) -> String {
    format!("cat > {FILE} <<'END'\n{}END", text(config))
}

fn text(config: &Config) -> String {
    let mut text = "[agent]\nstate = \"rescue-state\"\n".to_owned();
    for storage in config.storages() {
        let _ = writeln!(text, "[[storage]]\nname = {}", string(&storage.name));
        match &storage.kind {
            StorageKind::Directory(folder) => {
                let folder = string(&folder.to_string_lossy());
                let _ = writeln!(text, "directory = {folder}");
            }
            StorageKind::S3(bucket) => text.push_str(&table(bucket)),
        }
    }
    text
}

fn table(bucket: &S3) -> String {
    let prefix = bucket.prefix.trim_end_matches('/');
    let keys = [
        ("endpoint", string(&bucket.endpoint)),
        ("bucket", string(&bucket.bucket)),
        ("region", string(&bucket.region)),
        ("prefix", string(prefix)),
        (
            "access_key_id",
            from(&bucket.access_key_id, "AWS_ACCESS_KEY_ID"),
        ),
        (
            "secret_access_key",
            from(&bucket.secret_access_key, "AWS_SECRET_ACCESS_KEY"),
        ),
    ];
    let lines = keys.map(|(key, value)| format!("{key} = {value}\n"));
    format!("[storage.s3]\n{}", lines.concat())
}

/// Returns the variable from which the configuration takes a secret, or the one that other tools use.
fn from(secret: &Secret, usual: &str) -> String {
    match secret.origin() {
        SecretOrigin::Env(name) => string(&format!("env:{name}")),
        _ => string(&format!("env:{usual}")),
    }
}

/// Quotes a TOML string.
fn string(value: &str) -> String {
    quote::toml(value)
}
