//! Mistakes that are made on purpose, each by its name, so that the proofs can show that they would see them. Without the
//! feature `seeded-bugs` every question here is `false` for the compiler, and nothing of it is in the program.

/// The variable that names the mistake to make.
pub const VARIABLE: &str = "NUMERUS_SEEDED_BUG";

/// Whether the mistake of this name is to be made.
pub fn bug(name: &str) -> bool {
    cfg!(feature = "seeded-bugs") && super::env::var(VARIABLE).as_deref() == Some(name)
}
