//! Describes every key as JSON Schema, for editors and for `shape`.

use serde_json::Value;

use super::raw::RawConfig;

/// Returns the JSON Schema of `patina.toml`: every key with its meaning, unit and default.
pub fn schema() -> Value {
    let mut schema = schemars::schema_for!(RawConfig);
    schema.insert("title".to_owned(), "patina.toml".into());
    schema.to_value()
}
