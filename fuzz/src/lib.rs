//! What holds for any bytes that anybody writes: one property a reader, as a function that panics where it is broken.
//!
//! They are used twice: by the fuzzers in `fuzz_targets/`, and over the seeds and mutations of them by the program's own
//! tests (`tests/it/any_bytes.rs`), which take this file in by its path.

pub mod claims;
pub mod escape;
pub mod front_matter;
pub mod job;
pub mod journal;
mod scratch;
pub mod settings;
pub mod status;
pub mod transcript;

/// A property of bytes.
pub type Property = fn(&[u8]);

/// Every property, under the name of its fuzzer and of its folder of seeds.
pub const PROPERTIES: [(&str, Property); 8] = [
    ("claims", claims::holds),
    ("escape", escape::holds),
    ("front_matter", front_matter::holds),
    ("job", job::holds),
    ("journal", journal::holds),
    ("settings", settings::holds),
    ("status", status::holds),
    ("transcript", transcript::holds),
];
