//! Bounds of what a process and all that it starts may use up. They can only be lowered.

use std::io::Result;

use rustix::process::{Resource, Rlimit};

use super::fsx;

/// How readily the kernel ends a session, and not who watches over it, when memory runs out: from 0 to 1000.
const FIRST_TO_GO: &[u8] = b"500";

/// Bounds; `None` leaves one as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bounds {
    /// Processes and threads of this user; the kernel does not hold root to it.
    pub processes: Option<u64>,
    /// Bytes of memory of each process.
    pub memory: Option<u64>,
    /// Bytes of a file.
    pub file: Option<u64>,
    /// Open files of each process.
    pub open_files: Option<u64>,
}

impl Bounds {
    fn all(self) -> [(Resource, Option<u64>); 4] {
        [
            (Resource::Nproc, self.processes),
            (Resource::Data, self.memory),
            (Resource::Fsize, self.file),
            (Resource::Nofile, self.open_files),
        ]
    }

    /// As one word.
    pub fn to_word(self) -> String {
        self.all().map(|(_, bound)| bound.map_or("-".to_owned(), |n| n.to_string())).join(",")
    }

    /// From that word; what is no number is no bound.
    pub fn of_word(word: &str) -> Self {
        let mut numbers = word.split(',').map(|n| n.parse().ok());
        let mut next = || numbers.next().flatten();
        Self { processes: next(), memory: next(), file: next(), open_files: next() }
    }

    /// Binds this process, and makes it one of the first to go when memory runs out.
    ///
    /// # Errors
    /// Those of the system.
    pub fn bind(self) -> Result<()> {
        for (resource, bound) in self.all() {
            let Some(bound) = bound else { continue };
            let now = rustix::process::getrlimit(resource);
            let least = |limit: Option<u64>| Some(limit.map_or(bound, |limit| limit.min(bound)));
            let (current, maximum) = (least(now.current), least(now.maximum));
            rustix::process::setrlimit(resource, Rlimit { current, maximum })?;
        }
        // Best effort: a kernel without it ends whom it likes.
        let _whom_it_likes = fsx::tell_kernel("/proc/self/oom_score_adj".as_ref(), FIRST_TO_GO);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_are_the_same_after_being_a_word() {
        let some = Bounds { processes: Some(1), memory: None, file: Some(3), open_files: Some(4) };
        for bounds in [some, Bounds::default()] {
            assert_eq!(Bounds::of_word(&bounds.to_word()), bounds);
        }
        assert_eq!(Bounds::of_word("-"), Bounds::default());
    }
}
