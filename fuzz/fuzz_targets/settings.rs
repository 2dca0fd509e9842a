//! Any bytes: [`numerus_fuzz::settings::holds`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| numerus_fuzz::settings::holds(bytes));
