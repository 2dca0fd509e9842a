//! Any bytes: [`numerus_fuzz::job::holds`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| numerus_fuzz::job::holds(bytes));
