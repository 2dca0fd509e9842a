//! The storm over a disk that fills up and is freed again. Such a world is a small file system of its own, mounted where only
//! this proof sees it: the trial starts this program once more, in a view of the mounts that ends with it.

use std::fs;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use super::{Ground, Tally};
use crate::dice::Dice;
use crate::world::{World, not_run};

/// The trial's name, by which it starts itself once more.
pub(super) const TRIAL: &str = "chaos::a_disk_that_fills_up_loses_and_doubles_nothing";
/// How large such a world is.
pub(super) const MEBIBYTES: u64 = 96;
/// Generations of a short run.
const SHORT: u64 = 1;
/// Tells the second program that it is the second.
const INSIDE: &str = "NUMERUS_PROOF_INSIDE";

/// Starts this program once more, inside, and there lets the storm rage.
pub(super) fn prove() {
    if std::env::var_os(INSIDE).is_some() {
        return super::prove("chaos-full", SHORT, Ground::Small);
    }
    let can =
        Command::new("unshare").args(["--mount", "mount", "-t", "tmpfs", "x", "/mnt"]).output();
    if !can.is_ok_and(|output| output.status.success()) {
        return not_run("mount");
    }
    let mut inside = Command::new("unshare");
    inside.arg("--mount").arg(std::env::current_exe().unwrap()).args(["--exact", TRIAL]);
    let status = inside.env(INSIDE, "1").status().unwrap();
    assert!(status.success(), "see above: {status}");
}

/// A file that takes all the room there is, now and then.
pub(super) struct Filler {
    path: PathBuf,
    until: Option<Instant>,
}

impl Filler {
    pub(super) fn of(world: &World) -> Self {
        Self { path: world.path("filler"), until: None }
    }

    /// Whether the disk is full by it.
    pub(super) fn is_there(&self) -> bool {
        self.until.is_some()
    }

    /// Fills the disk, or frees it again when its time has come.
    pub(super) fn turn(&mut self, dice: &mut Dice, tally: &mut Tally) {
        match self.until {
            None if dice.percent(20) => {
                let mut file = fs::File::create(&self.path).unwrap();
                for chunk in [65536, 4096, 1] {
                    let zeros = vec![0; chunk];
                    while file.write_all(&zeros).is_ok() {}
                }
                self.until = Some(Instant::now() + Duration::from_millis(dice.between(50, 2000)));
                tally.count("disk filled", 1);
            }
            Some(until) if until <= Instant::now() => self.free(),
            _ => {}
        }
    }

    /// Frees the disk.
    pub(super) fn free(&mut self) {
        if self.until.take().is_some() {
            fs::remove_file(&self.path).unwrap();
        }
    }
}
