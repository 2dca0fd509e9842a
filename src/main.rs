//! The binary: words in, an exit code out.

fn main() {}
