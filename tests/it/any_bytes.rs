//! What the fuzzers hold for any bytes, held here over their seeds and over mutations of them: short, and the same each time.

use std::fs;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};

#[expect(unreachable_pub, reason = "the same file is a library of its own to the fuzzers")]
#[path = "../../fuzz/src/lib.rs"]
mod properties;

use properties::{PROPERTIES, Property};

/// Mutations of the seeds of each property.
const MUTATIONS: u32 = 400;
/// Longest input, in bytes, as for the fuzzers.
const MAX_BYTES: usize = 16 * 1024;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

/// The files that a property is tried on first, smallest first.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let files = fs::read_dir(folder().join("seeds").join(name)).unwrap();
    let mut seeds: Vec<Vec<u8>> = files.map(|f| fs::read(f.unwrap().path()).unwrap()).collect();
    seeds.sort_by_key(|seed| (seed.len(), seed.clone()));
    seeds
}

/// One step away from a seed.
#[derive(Debug, Clone)]
enum Step {
    Cut(usize, usize),
    Set(usize, u8),
    Insert(usize, Vec<u8>),
    Repeat(usize, usize),
    Splice(usize, usize),
}

fn step() -> impl Strategy<Value = Step> {
    let at = || 0..MAX_BYTES;
    prop_oneof![
        (at(), 1..64usize).prop_map(|(at, n)| Step::Cut(at, n)),
        (at(), any::<u8>()).prop_map(|(at, byte)| Step::Set(at, byte)),
        (at(), prop::collection::vec(any::<u8>(), 1..8)).prop_map(|(at, b)| Step::Insert(at, b)),
        (at(), prop::sample::select(WORDS)).prop_map(|(at, word)| Step::Insert(at, word.into())),
        (at(), 1..64usize).prop_map(|(at, n)| Step::Repeat(at, n)),
        (at(), at()).prop_map(|(at, from)| Step::Splice(at, from)),
    ]
}

/// What readers stumble over.
const WORDS: &[&str] = &[
    "\n",
    "\r\n",
    "\0",
    "---\n",
    "--\n",
    "../",
    "/",
    "~",
    "*",
    "[",
    "\"",
    "\\u0000",
    "null",
    "{}",
    ": ",
    "- ",
    "&a ",
    "18446744073709551615",
    "-1",
    "1e999",
    "50d1ms",
    "\u{feff}",
    "\u{202e}",
    "\u{61c}",
    "\u{1b}[2J",
    "e\u{301}",
    "\u{130}",
];

impl Step {
    fn applied(&self, mut bytes: Vec<u8>, other: &[u8]) -> Vec<u8> {
        let within = |at: usize, len: usize| if len == 0 { 0 } else { at % len };
        match self {
            Self::Cut(at, n) => {
                let at = within(*at, bytes.len());
                bytes.drain(at..(at + n).min(bytes.len()));
            }
            Self::Set(at, byte) => {
                let at = within(*at, bytes.len());
                bytes.splice(at..(at + 1).min(bytes.len()), [*byte]);
            }
            Self::Insert(at, new) => {
                let at = within(*at, bytes.len() + 1);
                bytes.splice(at..at, new.clone());
            }
            Self::Repeat(at, n) => {
                let at = within(*at, bytes.len());
                let piece = bytes[at..(at + n).min(bytes.len())].to_vec();
                bytes.splice(at..at, piece);
            }
            Self::Splice(at, from) => {
                bytes.truncate(within(*at, bytes.len() + 1));
                bytes.extend(&other[within(*from, other.len() + 1)..]);
            }
        }
        bytes
    }
}

/// Runs a property over its seeds and over mutations that are the same each time.
fn hold(name: &str) {
    let (_, property) = *PROPERTIES.iter().find(|(known, _)| *known == name).unwrap();
    let seeds = seeds(name);
    assert!(!seeds.is_empty(), "no seeds of {name}");
    for seed in &seeds {
        property(seed);
    }
    let mutation = (any::<prop::sample::Index>(), any::<prop::sample::Index>());
    let mutation = (mutation, prop::collection::vec(step(), 1..6));
    let config = Config { cases: MUTATIONS, failure_persistence: None, ..Config::default() };
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let held = TestRunner::new_with_rng(config, rng).run(&mutation, |((one, other), steps)| {
        let (one, other) = (one.get(&seeds).clone(), other.get(&seeds));
        let mut bytes = steps.iter().fold(one, |bytes, step| step.applied(bytes, other));
        bytes.truncate(MAX_BYTES);
        is_held(property, &bytes)
    });
    held.unwrap();
}

fn is_held(property: Property, bytes: &[u8]) -> Result<(), TestCaseError> {
    let shown = || format!("broken by {:?}", String::from_utf8_lossy(bytes));
    catch_unwind(|| property(bytes)).map_err(|_| TestCaseError::fail(shown()))
}

#[test]
fn a_claimed_path_stays_inside_and_two_claims_are_judged_alike() {
    hold("claims");
}

#[test]
fn what_is_shown_moves_hides_and_reorders_nothing() {
    hold("escape");
}

#[test]
fn front_matter_is_bounded_and_cut_to_the_byte() {
    hold("front_matter");
}

#[test]
fn an_accepted_file_is_the_same_job_in_any_form() {
    hold("job");
}

#[test]
fn a_journal_goes_on_whatever_its_end() {
    hold("journal");
}

#[test]
fn accepted_settings_mean_the_same_when_written_again() {
    hold("settings");
}

#[test]
fn a_status_is_read_whole_or_not_at_all() {
    hold("status");
}

#[test]
fn codex_is_understood_alike_in_any_pieces() {
    hold("transcript");
}

#[test]
fn every_property_has_its_fuzzer_and_its_test() {
    let own = fs::read_to_string(folder().join("../tests/it/any_bytes.rs")).unwrap();
    let manifest = fs::read_to_string(folder().join("Cargo.toml")).unwrap();
    for (name, _) in PROPERTIES {
        assert!(own.contains(&format!("hold(\"{name}\");")), "{name} has no test");
        assert!(manifest.contains(&format!("path = \"fuzz_targets/{name}.rs\"")), "{name}");
        assert!(folder().join(format!("fuzz_targets/{name}.rs")).is_file(), "{name} has no fuzzer");
    }
}
