//! Defines the results of each hook. Invariant: a value that passes `check` can be read as the hook's own type.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::HookName;
use crate::config::did_you_mean;

/// Result of `before_job` and `before_backup`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Before {
    /// The action to take.
    pub action: Action,
    /// Reason in words; empty if none was given.
    #[serde(default)]
    pub reason: String,
}

/// Action for a job or a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Back up.
    Continue,
    /// Skip it this time.
    Skip,
}

/// Result of `check_size`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// Rating of the size.
    pub verdict: Verdict,
    /// Reason in words; empty if none was given.
    #[serde(default)]
    pub reason: String,
}

/// Rating of a size by a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The size is normal.
    Ok,
    /// Warning: worth a look.
    Warn,
    /// Alert: needs attention.
    Alert,
    /// The copy does not count.
    Fail,
}

/// Result of `after_backup`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct After {
    /// Labels stored with the result.
    #[serde(default)]
    pub labels: BTreeMap<String, Label>,
}

/// The value of a label.
#[derive(Debug, Clone, PartialEq, Deserialize, serde::Serialize)]
#[serde(untagged)]
pub enum Label {
    /// Text.
    Text(String),
    /// An integer.
    Integer(i64),
    /// A boolean.
    Flag(bool),
    /// A number.
    Number(f64),
}

impl Eq for Label {}

impl std::fmt::Display for Label {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => f.write_str(text),
            Self::Integer(number) => number.fmt(f),
            Self::Flag(flag) => flag.fmt(f),
            Self::Number(number) => number.fmt(f),
        }
    }
}

/// Reads a value that [`super::Hooks::call`] returned.
///
/// # Errors
/// If the value does not fit; a call through a child process was checked before.
pub fn read<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// Reason that a value is invalid as a hook's result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Misfit {
    /// The wrong key, if there is one.
    pub(super) key: Option<String>,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

impl Misfit {
    fn new(message: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            key: None,
            message: message.into(),
            hint: Some(hint.into()),
        }
    }
}

/// Checks that a value is a valid result of the hook; `null` always is.
pub(super) fn check(hook: HookName, value: &Value) -> Result<(), Misfit> {
    if value.is_null() {
        return Ok(());
    }
    match hook {
        HookName::BeforeJob | HookName::BeforeBackup => {
            let hint = "return `()`, `#{ action: \"continue\" }` or `#{ action: \"skip\", reason: \"…\" }`";
            map::<Before>(hook, value, hint)
        }
        HookName::CheckSize => {
            let hint = "return `()` or `#{ verdict: \"ok\", reason: \"…\" }`; a verdict is \
                        `ok`, `warn`, `alert` or `fail`";
            map::<Size>(hook, value, hint)
        }
        HookName::AfterBackup => {
            let hint = "return `()` or `#{ labels: #{ name: \"value\" } }`";
            map::<After>(hook, value, hint)
        }
        HookName::AfterJob => Err(Misfit::new(
            format!("it returns nothing, found {}", kind(value)),
            "end the function with `()`: the last statement's value is what it returns",
        )),
        HookName::FilterAlert if value.is_boolean() => Ok(()),
        HookName::FilterAlert => Err(Misfit::new(
            format!("it returns `true`, `false` or `()`, found {}", kind(value)),
            "`true` sends the alert",
        )),
        HookName::FormatAlert if value.is_object() || value.is_array() || value.is_string() => {
            Ok(())
        }
        HookName::FormatAlert => Err(Misfit::new(
            format!(
                "it returns a map, an array or a text, found {}",
                kind(value)
            ),
            "a map becomes a JSON body, a text is sent as it is, `()` means the built-in form",
        )),
    }
}

fn map<T: DeserializeOwned>(hook: HookName, value: &Value, hint: &str) -> Result<(), Misfit> {
    let Some(map) = value.as_object() else {
        return Err(Misfit::new(
            format!("it returns a map or `()`, found {}", kind(value)),
            hint,
        ));
    };
    let keys = hook.keys();
    if let Some(key) = map.keys().find(|key| !keys.contains(&key.as_str())) {
        let near = did_you_mean(key, keys.iter().copied());
        return Err(Misfit {
            key: Some(key.clone()),
            message: format!("its result has no key `{key}`"),
            hint: Some(near.unwrap_or_else(|| hint.to_owned())),
        });
    }
    match T::deserialize(value) {
        Ok(_) => Ok(()),
        Err(error) => Err(Misfit::new(
            format!("its result does not fit: {error}"),
            hint,
        )),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "`()`",
        Value::Bool(_) => "a bool",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "a map",
    }
}
