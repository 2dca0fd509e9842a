//! Any bytes: [`numerus_fuzz::status::holds`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| numerus_fuzz::status::holds(bytes));
