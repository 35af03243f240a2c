//! Reads the module and its options out of any text.

#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|sql: &str| patina::source::fuzz_module(sql));
