//! Provides the functions with which `scripts/tests/*.rhai` test hooks.

use rhai::{Array, Dynamic, Engine, EvalAltResult};

use super::raised;
use crate::hook::sample;

pub(super) fn register(engine: &mut Engine) {
    engine.register_fn("assert_eq", |found: Dynamic, expected: Dynamic| {
        equal(&found, &expected).map_err(raised)
    });
    engine.register_fn("assert", |holds: bool| match holds {
        true => Ok(()),
        false => Err(raised("it does not hold")),
    });
    engine.register_fn("sample_alert", || dynamic(sample::alert("backup_failed")));
    engine.register_fn("sample_alert", |kind: &str| dynamic(sample::alert(kind)));
    engine.register_fn("sample_sink", || dynamic(sample::sink()));
    engine.register_fn("sample_database", || dynamic(sample::database()));
    engine.register_fn("sample_size", |bytes: i64| dynamic(sample::size(bytes)));
    engine.register_fn("sample_history", |sizes: Array| {
        let sizes = sizes
            .iter()
            .map(|size| sample::size(size.as_int().unwrap_or_default()));
        dynamic(sizes.collect())
    });
}

fn dynamic(value: serde_json::Value) -> Result<Dynamic, Box<EvalAltResult>> {
    rhai::serde::to_dynamic(value)
}

fn equal(found: &Dynamic, expected: &Dynamic) -> Result<(), String> {
    let text = |value| serde_json::to_string(value).unwrap_or_else(|error| error.to_string());
    let (found, expected) = (text(found), text(expected));
    match found == expected {
        true => Ok(()),
        false => Err(format!("found {found}, expected {expected}")),
    }
}
