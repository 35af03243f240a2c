//! Reads any text as a value of D1's API.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| patina::source::fuzz_cell(text));
