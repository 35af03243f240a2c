//! Splits any bytes into statements: every byte is handed out once and in order, or an error says where it ended.

#![no_main]

use libfuzzer_sys::fuzz_target;
use patina::dump::{SplitError, Splitter};

const MAX_BYTES: usize = 4096;

fuzz_target!(|data: &[u8]| {
    let mut splitter = Splitter::new(data, MAX_BYTES);
    let mut end = 0;
    loop {
        match splitter.next_statement() {
            Ok(Some((at_bytes, statement))) => {
                let at = usize::try_from(at_bytes).expect("an offset into memory");
                assert!(at >= end, "the statement at {at} begins before {end}");
                assert_eq!(statement, &data[at..at + statement.len()]);
                end = at + statement.len();
            }
            Ok(None) => break,
            Err(SplitError::Incomplete { at_bytes } | SplitError::TooLong { at_bytes, .. }) => {
                assert!(at_bytes <= data.len() as u64);
                break;
            }
            Err(error @ SplitError::Read { .. }) => panic!("memory cannot fail: {error}"),
        }
    }
});
