//! The `numerus` program.

fn main() {}
