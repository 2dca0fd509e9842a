//! Any bytes: [`numerus_fuzz::front_matter::holds`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| numerus_fuzz::front_matter::holds(bytes));
