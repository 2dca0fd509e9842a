//! Any bytes: [`numerus_fuzz::journal::holds`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| numerus_fuzz::journal::holds(bytes));
