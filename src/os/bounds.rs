//! Bounds of what a process and all that it starts may use up. They can only be lowered.

use rustix::process::{Resource, Rlimit};

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

    /// As limits for a process that this one starts: none above those that are there already.
    pub fn limits(self) -> Vec<(Resource, Rlimit)> {
        let bounds = self.all().into_iter().filter_map(|(resource, n)| Some((resource, n?)));
        let limit = |(resource, bound): (Resource, u64)| {
            let now = rustix::process::getrlimit(resource);
            let least = |limit: Option<u64>| Some(limit.map_or(bound, |limit| limit.min(bound)));
            (resource, Rlimit { current: least(now.current), maximum: least(now.maximum) })
        };
        bounds.map(limit).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_the_bound_or_what_is_there_if_that_is_less() {
        let now = rustix::process::getrlimit(Resource::Nofile);
        let of = |open_files| Bounds { open_files, ..Bounds::default() }.limits();
        assert_eq!(of(None), []);
        let low = Rlimit { current: Some(2), maximum: Some(2) };
        assert_eq!(of(Some(2)), [(Resource::Nofile, low)]);
        let most = |limit: Option<u64>| Some(limit.unwrap_or(u64::MAX));
        let same = Rlimit { current: most(now.current), maximum: most(now.maximum) };
        assert_eq!(of(Some(u64::MAX)), [(Resource::Nofile, same)]);
    }
}
