//! Any bytes: [`numerus_fuzz::transcript::holds`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| numerus_fuzz::transcript::holds(bytes));
