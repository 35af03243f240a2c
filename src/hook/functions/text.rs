//! Provides functions for text, bytes and digests.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rhai::{Blob, Dynamic, Engine, EvalAltResult};
use ring::hmac;

use super::raised;
use crate::types::{ByteCount, Sha256};

type Made<T> = Result<T, Box<EvalAltResult>>;

pub(super) fn register(engine: &mut Engine) {
    engine.register_fn("json_encode", |value: Dynamic| -> Made<String> {
        serde_json::to_string(&value).map_err(|error| raised(format!("this is no JSON: {error}")))
    });
    engine.register_fn("json_parse", |text: &str| -> Made<Dynamic> {
        let value: serde_json::Value = serde_json::from_str(text)
            .map_err(|error| raised(format!("the text is no JSON: {error}")))?;
        rhai::serde::to_dynamic(value)
    });
    engine.register_fn("base64_encode", |text: &str| STANDARD.encode(text));
    engine.register_fn("base64_encode", |bytes: Blob| STANDARD.encode(bytes));
    engine.register_fn("base64_url_encode", |text: &str| {
        URL_SAFE_NO_PAD.encode(text)
    });
    engine.register_fn("base64_decode", |text: &str| -> Made<String> {
        let bytes = STANDARD
            .decode(text)
            .map_err(|error| raised(format!("this is no base64: {error}")))?;
        String::from_utf8(bytes).map_err(|_| raised("what base64 stands for is no text"))
    });
    engine.register_fn("url_encode", |text: &str| {
        urlencoding::encode(text).into_owned()
    });
    engine.register_fn("hex", |text: &str| hex::encode(text));
    engine.register_fn("hex", |bytes: Blob| hex::encode(bytes));
    engine.register_fn("sha256", |text: &str| {
        Sha256::of(text.as_bytes()).to_string()
    });
    engine.register_fn("hmac_sha256", |key: &str, text: &str| {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes());
        hex::encode(hmac::sign(&key, text.as_bytes()))
    });
    engine.register_fn("human_size", |bytes: i64| {
        ByteCount(u64::try_from(bytes).unwrap_or(0)).to_string()
    });
    engine.register_fn("human_duration", |milliseconds: i64| {
        let duration = Duration::from_millis(u64::try_from(milliseconds).unwrap_or(0));
        humantime::format_duration(duration).to_string()
    });
}
