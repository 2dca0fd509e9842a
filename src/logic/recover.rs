//! What lies where it should not, and how it is put right. The journal's end wins over the place of the file; what may
//! matter is never deleted; what is not understood is left alone.
//!
//! | run folder | job file | repair |
//! |---|---|---|
//! | held | in `killed/` | a wish to kill: its holder is told |
//! | held | anywhere else | none: its holder is at work |
//! | finished | in another folder than its end's | moved there |
//! | finished | nowhere | none |
//! | finished or claimed | a further copy elsewhere | the copy is put aside |
//! | finished or claimed | still in `incoming/` as `.claim-JOB` | it was brought over: removed there |
//! | damaged, not finished | anywhere | ended as failed, everything kept |
//! | claimed | in `killed/` | ended as killed |
//! | claimed | in `done/` or `failed/` | moved back |
//! | claimed | nowhere | written again |
//! | being taken | in `claimed/`, or in `incoming/` as `.claim-JOB` | taken again, from the reading on |
//! | neither claimed nor being taken | the same | damaged: ended as failed, everything kept |
//! | not claimed | nowhere or elsewhere | the folder is put away |
//! | none | in `claimed/` | failed: the run is lost |

use std::collections::BTreeSet;

use crate::model::status::JobPhase;

/// Where a job file may lie after it was taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lies {
    /// `claimed/`.
    Claimed,
    /// `done/`.
    Done,
    /// `failed/`.
    Failed,
    /// `killed/`.
    Killed,
    /// `incoming/`, under the name of a file that is being taken.
    Held,
}

impl Lies {
    /// Where the file of a job in this phase belongs.
    pub fn at_end(phase: JobPhase) -> Self {
        match phase {
            JobPhase::Succeeded => Self::Done,
            JobPhase::Failed => Self::Failed,
            JobPhase::Killed => Self::Killed,
            JobPhase::Queued | JobPhase::Planning | JobPhase::Running | JobPhase::Paused => {
                Self::Claimed
            }
        }
    }
}

/// What a run folder shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Run {
    /// Whether someone holds its lock.
    pub is_held: bool,
    /// Whether its journal says that the job was taken as a whole.
    pub is_claimed: bool,
    /// Whether it is marked as one whose job is being taken.
    pub is_being_taken: bool,
    /// Whether its journal or its `job.json` is destroyed.
    pub is_damaged: bool,
    /// How its journal says that the job ended.
    pub finished: Option<JobPhase>,
}

/// One thing to put right, under the job's lock unless it says otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// Move the file to where the journal's end belongs.
    MoveToEnd(JobPhase),
    /// Write the wish to kill and tell the holder, without the lock.
    TellHolder,
    /// End the job as killed.
    EndKilled,
    /// Move the file back to `claimed/`.
    MoveBack,
    /// Write the file again.
    Rewrite,
    /// Clear away in `incoming/` what was brought over.
    DropHeld,
    /// Put a further copy of the file aside.
    PutCopyAside(Lies),
    /// End the job as failed: nobody knows how far it got.
    EndDamaged,
    /// Take the job again from the reading of its claimed file on.
    TakeAgain,
    /// Put the run folder of a job that never was out of the way.
    PutAway,
    /// Make a run folder that says that the run is lost, and end the job as failed.
    RunLost,
}

impl Repair {
    /// Whether it is about what lies there besides the one file that counts.
    pub fn is_of_surplus(self) -> bool {
        matches!(self, Self::DropHeld | Self::PutCopyAside(_))
    }

    /// What was done, in words that follow the job's name.
    pub fn words(self) -> &'static str {
        match self {
            Self::MoveToEnd(_) => "its file was moved to where its end belongs",
            Self::TellHolder => "its file lies in killed/: its worker was asked to end",
            Self::EndKilled => "its file lies in killed/: ended",
            Self::MoveBack => "it has not ended: its file was moved back to claimed/",
            Self::Rewrite => "its file was gone from claimed/ and was written again",
            Self::DropHeld => "what was left of its file in incoming/ was cleared away",
            Self::PutCopyAside(_) => "a further copy of its file was put aside",
            Self::EndDamaged => "its record is damaged: ended as failed",
            Self::TakeAgain => "was taken again: whoever took it had not finished",
            Self::PutAway => "the run folder of a job that was never taken was put away",
            Self::RunLost => "its run folder is lost: ended as failed",
        }
    }
}

/// What to put right about one job: what its run folder shows, if it has one, and where its file lies.
pub fn repair(run: Option<&Run>, files: &BTreeSet<Lies>) -> Option<Repair> {
    let Some(run) = run else {
        return files.contains(&Lies::Claimed).then_some(Repair::RunLost);
    };
    let is_claimed_file = files.contains(&Lies::Claimed);
    match (run.is_held, run.finished) {
        (true, None) if run.is_claimed && !is_claimed_file && files.contains(&Lies::Killed) => {
            Some(Repair::TellHolder)
        }
        (true, _) => None,
        (false, Some(phase)) => after_the_end(phase, files),
        (false, None) if run.is_damaged => Some(Repair::EndDamaged),
        (false, None) if run.is_claimed => before_the_end(files),
        (false, None) if !is_claimed_file && !files.contains(&Lies::Held) => Some(Repair::PutAway),
        (false, None) if run.is_being_taken => Some(Repair::TakeAgain),
        (false, None) => Some(Repair::EndDamaged),
    }
}

fn after_the_end(phase: JobPhase, files: &BTreeSet<Lies>) -> Option<Repair> {
    let home = Lies::at_end(phase);
    let is_elsewhere = files.iter().any(|lies| *lies != Lies::Held) && !files.contains(&home);
    if is_elsewhere { Some(Repair::MoveToEnd(phase)) } else { surplus(home, files) }
}

fn before_the_end(files: &BTreeSet<Lies>) -> Option<Repair> {
    if files.contains(&Lies::Claimed) {
        surplus(Lies::Claimed, files)
    } else if files.contains(&Lies::Killed) {
        Some(Repair::EndKilled)
    } else if files.iter().all(|lies| *lies == Lies::Held) {
        Some(Repair::Rewrite)
    } else {
        Some(Repair::MoveBack)
    }
}

/// What lies about besides the one file that counts.
fn surplus(home: Lies, files: &BTreeSet<Lies>) -> Option<Repair> {
    files.iter().find(|lies| **lies != home).map(|lies| match lies {
        Lies::Held => Repair::DropHeld,
        Lies::Claimed | Lies::Done | Lies::Failed | Lies::Killed => Repair::PutCopyAside(*lies),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH: Run = Run {
        is_held: false,
        is_claimed: false,
        is_being_taken: true,
        is_damaged: false,
        finished: None,
    };
    const CLAIMED: Run = Run { is_claimed: true, ..FRESH };
    const HELD: Run = Run { is_held: true, ..CLAIMED };
    const DONE: Run = Run { finished: Some(JobPhase::Succeeded), ..CLAIMED };
    const KILLED: Run = Run { finished: Some(JobPhase::Killed), ..CLAIMED };

    #[test]
    fn each_row_of_the_table() {
        use Lies::{Claimed, Done, Failed, Held, Killed};
        use Repair::{DropHeld, EndDamaged, PutCopyAside};
        let damaged = Run { is_damaged: true, ..CLAIMED };
        let unclear = Run { is_damaged: true, ..FRESH };
        let emptied = Run { is_being_taken: false, ..FRESH };
        for (run, files, expected) in [
            (Some(HELD), vec![Killed], Some(Repair::TellHolder)),
            (Some(HELD), vec![Claimed], None),
            (Some(HELD), vec![], None),
            (Some(HELD), vec![Done], None),
            (Some(Run { is_claimed: false, ..HELD }), vec![Killed], None),
            (Some(Run { is_held: true, ..DONE }), vec![Claimed], None),
            (Some(DONE), vec![Claimed], Some(Repair::MoveToEnd(JobPhase::Succeeded))),
            (Some(DONE), vec![Killed], Some(Repair::MoveToEnd(JobPhase::Succeeded))),
            (Some(KILLED), vec![Claimed], Some(Repair::MoveToEnd(JobPhase::Killed))),
            (Some(DONE), vec![Done], None),
            (Some(DONE), vec![Claimed, Done], Some(PutCopyAside(Claimed))),
            (Some(DONE), vec![Done, Failed], Some(PutCopyAside(Failed))),
            (Some(DONE), vec![Done, Held], Some(DropHeld)),
            (Some(DONE), vec![Held], Some(DropHeld)),
            (Some(Run { is_damaged: true, ..DONE }), vec![Done], None),
            (Some(damaged), vec![Claimed], Some(EndDamaged)),
            (Some(damaged), vec![], Some(EndDamaged)),
            (Some(unclear), vec![Claimed], Some(EndDamaged)),
            (Some(Run { is_damaged: true, ..HELD }), vec![Claimed], None),
            (Some(DONE), vec![], None),
            (Some(CLAIMED), vec![Claimed], None),
            (Some(CLAIMED), vec![Claimed, Killed], Some(PutCopyAside(Killed))),
            (Some(CLAIMED), vec![Claimed, Held], Some(DropHeld)),
            (Some(CLAIMED), vec![Held], Some(Repair::Rewrite)),
            (Some(CLAIMED), vec![Done, Held], Some(Repair::MoveBack)),
            (Some(FRESH), vec![Held], Some(Repair::TakeAgain)),
            (Some(FRESH), vec![Claimed, Held], Some(Repair::TakeAgain)),
            (None, vec![Held], None),
            (Some(CLAIMED), vec![Killed], Some(Repair::EndKilled)),
            (Some(CLAIMED), vec![Done], Some(Repair::MoveBack)),
            (Some(CLAIMED), vec![Failed], Some(Repair::MoveBack)),
            (Some(CLAIMED), vec![], Some(Repair::Rewrite)),
            (Some(FRESH), vec![Claimed], Some(Repair::TakeAgain)),
            (Some(emptied), vec![Claimed], Some(Repair::EndDamaged)),
            (Some(emptied), vec![Held], Some(Repair::EndDamaged)),
            (Some(emptied), vec![], Some(Repair::PutAway)),
            (Some(FRESH), vec![], Some(Repair::PutAway)),
            (Some(FRESH), vec![Done], Some(Repair::PutAway)),
            (None, vec![Claimed], Some(Repair::RunLost)),
            (None, vec![Done], None),
        ] {
            let files: BTreeSet<Lies> = files.into_iter().collect();
            assert_eq!(repair(run.as_ref(), &files), expected, "{run:?} {files:?}");
        }
    }
}
