//! Any bytes: [`numerus_fuzz::escape::holds`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| numerus_fuzz::escape::holds(bytes));
