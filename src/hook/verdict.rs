//! Says what each hook may return. Invariant: what passes `check` can be read as the hook's own type.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::HookName;
use crate::config::did_you_mean;

/// What `before_job` and `before_backup` return.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Before {
    /// What to do.
    pub action: Action,
    /// Why, in a person's words; empty where nobody said.
    #[serde(default)]
    pub reason: String,
}

/// What to do with a job or a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Back up.
    Continue,
    /// Leave it out this time.
    Skip,
}

/// What `check_size` returns.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Size {
    /// What it makes of the size.
    pub verdict: Verdict,
    /// Why, in a person's words; empty where nobody said.
    #[serde(default)]
    pub reason: String,
}

/// What a hook makes of a size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// All is well.
    Ok,
    /// Somebody should look.
    Warn,
    /// Somebody must look.
    Alert,
    /// The copy does not count.
    Fail,
}

/// What `after_backup` returns.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct After {
    /// What is kept with the result.
    #[serde(default)]
    pub labels: BTreeMap<String, Label>,
}

/// The value of a label.
#[derive(Debug, Clone, PartialEq, Deserialize, serde::Serialize)]
#[serde(untagged)]
pub enum Label {
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Yes or no.
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

/// Reads what [`super::Hooks::call`] gave.
///
/// # Errors
/// Where it does not fit; a call that goes through a child process was checked before.
pub fn read<T: DeserializeOwned>(value: Value) -> Result<T, String> {
    serde_json::from_value(value).map_err(|error| error.to_string())
}

/// Why a value is not what the hook returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Misfit {
    /// The key that is wrong, where one is.
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

/// Whether a value is what the hook returns; `null` always is.
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
