//! Any bytes: [`numerus_fuzz::claims::holds`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| numerus_fuzz::claims::holds(bytes));
