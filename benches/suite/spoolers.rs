//! What people would pick instead, and the floors, each as it comes: how it is started, and how a job is given to it.

mod called;
mod watched;

use std::io;

use crate::scratch::{Scratch, find};

/// Something that runs what it is given.
pub(crate) trait Spooler {
    /// Gives it the job of this number; the answer is the moment before.
    fn offer(&mut self, number: usize) -> io::Result<u64>;
}

/// One of those that are measured beside Numerus.
pub(crate) struct Peer {
    /// What it is called in tables.
    pub(crate) name: &'static str,
    /// Programs that it needs.
    needs: &'static [&'static str],
    /// Whether it only works as root.
    needs_root: bool,
    /// Whether each file or call becomes a job of its own, also of many at once.
    pub(crate) is_queue: bool,
    start: fn(&Scratch, usize) -> io::Result<Box<dyn Spooler>>,
}

impl Peer {
    /// Starts it with so many jobs at a time.
    pub(crate) fn start(&self, scratch: &Scratch, jobs: usize) -> io::Result<Box<dyn Spooler>> {
        (self.start)(scratch, jobs)
    }

    /// Why it cannot be measured here, if it cannot.
    pub(crate) fn lacks(&self) -> Option<String> {
        let missing = self.needs.iter().find(|name| find(name).is_none());
        let is_root = rustix::process::geteuid().is_root();
        match missing {
            Some(name) => Some(format!("needs {name} (benches/install-peers installs it)")),
            None if self.needs_root && !is_root => Some("needs to be root".to_owned()),
            None => None,
        }
    }
}

/// All of them, the floors first.
pub(crate) const PEERS: &[Peer] = &[
    peer("floor", &[], watched::floor),
    peer("floor with fsync", &[], watched::floor_with_sync),
    peer("task-spooler", &["tsp"], called::task_spooler),
    peer("nq", &["nq"], called::nq),
    peer("inotifywait, xargs", &["inotifywait", "xargs"], watched::inotifywait),
    Peer { needs_root: true, ..peer("incron", &["incrond"], watched::incron) },
    Peer { needs_root: true, ..peer("at", &["at", "atd"], called::at) },
    peer("GNU parallel", &["parallel"], watched::parallel),
    Peer { is_queue: false, ..peer("watchexec", &["watchexec"], watched::watchexec) },
    peer("pueue --immediate", &["pueue", "pueued"], called::pueue_immediate),
    peer("pueue", &["pueue", "pueued"], called::pueue),
];

const fn peer(
    name: &'static str,
    needs: &'static [&'static str],
    start: fn(&Scratch, usize) -> io::Result<Box<dyn Spooler>>,
) -> Peer {
    Peer { name, needs, needs_root: false, is_queue: true, start }
}
