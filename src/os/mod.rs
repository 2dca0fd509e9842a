//! Floor 2a: the outside world, one concern and at most one outside package a file. Nothing here knows a Numerus type.

pub mod bounds;
pub mod cgroup;
pub mod clock;
pub mod console;
pub mod digest;
pub mod disk;
pub mod env;
pub mod family;
pub mod fsx;
pub mod git;
pub mod limits;
pub mod lock;
pub mod memory;
pub mod mount;
pub mod moves;
pub mod pipe;
pub mod process;
pub mod pty;
pub mod random;
pub mod reserve;
pub mod screen;
pub mod seeded;
pub mod signals;
pub mod vitals;
pub mod watch;
pub mod writers;
