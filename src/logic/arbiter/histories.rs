//! Random histories of a lease folder, played against the judge as workers use it and against a small model of what
//! arbitration means. Each history comes from one number, so a failing one can be played again.
//!
//! A waiter here does what a worker does: it watches the folder first, is judged from what the folder holds under its lock,
//! and sleeps until a hint raises its flag. Releases, withdrawals and deaths need no lock, so they also fall between a look
//! and its verdict. A claim that the model would let go while no flag is raised is a lost wake-up.

use std::sync::OnceLock;

use super::*;
use crate::model::claim::Holder;
use crate::model::id::{JobId, TaskId};

mod model;
mod tests;

use model::{Dice, Entry, Model, NODES, TASKS, Wish};

const STEPS: u64 = 40;

/// A judge, right or wrong.
type AnyJudge = dyn Fn(&LeaseFile, &[LeaseFile]) -> Vec<Conflict>;

/// How the world around the judge can be wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// A release raises no flag.
    SilentRelease,
    /// A death raises no flag.
    SilentDeath,
    /// A flag is lowered when the verdict is there, not before the look.
    LateLowering,
    /// A lease is widened whoever else holds what is added.
    BlindAmendment,
}

/// The folder with the real files, the model beside it, and who has a flag.
struct World<'a> {
    judge: &'a AnyJudge,
    fault: Fault,
    files: Vec<LeaseFile>,
    model: Model,
    flags: u8,
    /// Who holds the folder's lock, between its look and its verdict, with what it saw stand in the way.
    looking: Option<(usize, u8)>,
}

type Told = Result<(), String>;

fn holders() -> &'static [Holder; TASKS] {
    static HOLDERS: OnceLock<[Holder; TASKS]> = OnceLock::new();
    HOLDERS.get_or_init(|| {
        std::array::from_fn(|n| Holder {
            job: JobId::parse("job-abc234").expect("id"),
            task: TaskId::parse(&format!("t{n}")).expect("id"),
        })
    })
}

/// Each node as a file, a directory and a pattern, in either spelling.
fn spelt(node: usize, dice: &mut Dice) -> ClaimPath {
    // The spelling that is not ASCII is dear to compare.
    let second = if node == 3 { dice.roll(8) == 0 } else { dice.roll(2) == 0 };
    let path = NODES[node].1[usize::from(second)];
    match dice.roll(3) {
        0 => ClaimPath::file(path),
        1 => ClaimPath::dir(path),
        _ => ClaimPath::matching(path, "*.rs"),
    }
}

fn claimed(wish: Wish, dice: &mut Dice) -> Claim {
    let mut paths = |set: u8| -> Vec<ClaimPath> {
        let nodes = (0..NODES.len()).filter(|n| set & (1 << n) != 0);
        nodes.map(|n| spelt(n, dice)).collect()
    };
    Claim { reads: paths(wish.0), writes: paths(wish.1) }
}

impl World<'_> {
    fn file_of(&self, task: usize) -> Option<usize> {
        self.files.iter().position(|f| f.holder == holders()[task])
    }

    fn hint(&mut self) {
        for task in 0..TASKS {
            if self.model.is_waiting(task) {
                self.flags |= 1 << task;
            }
        }
    }

    /// A new claim, behind all others. Its waiter judges at once: it has watched before.
    fn request(&mut self, task: usize, dice: &mut Dice) {
        let wish = dice.wish();
        let ticket = self.files.iter().map(|f| f.ticket).max().unwrap_or(0) + 1;
        self.files.push(LeaseFile {
            version: 1,
            holder: holders()[task].clone(),
            attempt: 1,
            ticket,
            state: LeaseState::Waiting,
            claim: claimed(wish, dice),
            root: String::new(),
        });
        self.model.0.push(Entry { task, wish, is_held: false, is_alive: true });
        self.flags |= 1 << task;
    }

    fn remove(&mut self, task: usize) {
        if let Some(n) = self.file_of(task) {
            self.files.swap_remove(n);
        }
        if let Some(n) = self.model.place(task) {
            self.model.0.remove(n);
        }
        self.flags &= !(1 << task);
    }

    /// Takes the folder's lock, sweeps away the waiting claims of the dead and judges from what is there.
    fn look(&mut self, task: usize) -> Told {
        if self.flags & (1 << task) == 0 || !self.model.is_waiting(task) {
            return Ok(());
        }
        if self.fault != Fault::LateLowering {
            self.flags &= !(1 << task);
        }
        let is_swept = |e: &&Entry| !e.is_alive && !e.is_held;
        for dead in self.model.0.iter().filter(is_swept).map(|e| e.task).collect::<Vec<_>>() {
            self.remove(dead);
            self.hint();
            self.flags &= !(1 << task);
        }
        let found = self.judged(task, None);
        let expected = self.model.in_way_of(task);
        if found != expected {
            return Err(format!("task {task} is stopped by {found:b}, not by {expected:b}"));
        }
        self.looking = Some((task, found));
        Ok(())
    }

    /// Who stands in the way, by the code under test; of an addition to a lease, if one is given.
    fn judged(&mut self, task: usize, added: Option<&Claim>) -> u8 {
        let n = self.file_of(task).expect("it is there");
        let mut file = self.files.swap_remove(n);
        let conflicts = match added {
            Some(claim) => {
                let wish = LeaseFile { claim: claim.clone(), ticket: 0, ..file.clone() };
                (self.judge)(&wish, &self.files)
            }
            None => (self.judge)(&file, &self.files),
        };
        if let Some(claim) = added.filter(|_| conflicts.is_empty()) {
            file.claim.reads.extend(claim.reads.iter().cloned());
            file.claim.writes.extend(claim.writes.iter().cloned());
        }
        self.files.push(file);
        let bit =
            |c: &Conflict| 1 << holders().iter().position(|h| *h == c.held_by).expect("known");
        conflicts.iter().fold(0, |all, c| all | bit(c))
    }

    /// The verdict on what was seen, and the end of the folder's lock. Some of the dead in the way are buried.
    fn conclude(&mut self, dice: &mut Dice) -> Told {
        let Some((task, in_way)) = self.looking.take() else { return Ok(()) };
        if self.fault == Fault::LateLowering {
            self.flags &= !(1 << task);
        }
        if !self.model.is_waiting(task) {
            // It was withdrawn or died meanwhile; so would the process that was about to write GO.
            return Ok(());
        }
        if in_way == 0 {
            return self.grant(task);
        }
        let is_dead = |e: &&Entry| e.is_held && !e.is_alive && in_way & (1 << e.task) != 0;
        let dead: Vec<usize> = self.model.0.iter().filter(is_dead).map(|e| e.task).collect();
        for dead in dead.into_iter().filter(|_| dice.roll(2) == 0) {
            self.bury(dead);
        }
        Ok(())
    }

    fn grant(&mut self, task: usize) -> Told {
        let (n, place) =
            (self.file_of(task).expect("file"), self.model.place(task).expect("entry"));
        let wish = self.model.0[place].wish;
        let overtaken = self.model.0[..place].iter();
        if overtaken.clone().any(|e| e.is_alive && !e.is_held && Model::clash(e.wish, wish)) {
            return Err(format!("task {task} overtakes an older one"));
        }
        self.files[n].state = LeaseState::Held;
        self.model.0[place].is_held = true;
        self.flags &= !(1 << task);
        self.exclusive()
    }

    fn exclusive(&self) -> Told {
        let held: Vec<&Entry> = self.model.0.iter().filter(|e| e.is_held).collect();
        for (n, a) in held.iter().enumerate() {
            if let Some(b) = held[..n].iter().find(|b| Model::clash(a.wish, b.wish)) {
                return Err(format!("tasks {} and {} hold what conflicts", a.task, b.task));
            }
        }
        Ok(())
    }

    /// A release of a lease, or a withdrawal of a waiting claim.
    fn end(&mut self, task: usize) {
        if self.model.place(task).is_some_and(|n| self.model.0[n].is_alive) {
            self.remove(task);
            if self.fault != Fault::SilentRelease {
                self.hint();
            }
        }
    }

    fn die(&mut self, task: usize) {
        if let Some(n) = self.model.place(task).filter(|n| self.model.0[*n].is_alive) {
            self.model.0[n].is_alive = false;
            self.flags &= !(1 << task);
            if self.fault != Fault::SilentDeath {
                self.hint();
            }
        }
    }

    /// The lease of a dead holder goes; its waiting claims are swept by whoever looks.
    fn bury(&mut self, task: usize) {
        if self
            .model
            .place(task)
            .is_some_and(|n| self.model.0[n].is_held && !self.model.0[n].is_alive)
        {
            self.remove(task);
            self.hint();
        }
    }

    fn amend(&mut self, task: usize, dice: &mut Dice) -> Told {
        let Some(n) = self.model.place(task) else { return Ok(()) };
        if !self.model.0[n].is_held || !self.model.0[n].is_alive {
            return Ok(());
        }
        let wish = (0, dice.nodes());
        let others = self.model.0.iter().filter(|e| e.is_held && e.task != task);
        let may = !others.clone().any(|e| Model::clash(e.wish, wish));
        let added = claimed(wish, dice);
        let is_granted =
            self.judged(task, Some(&added)) == 0 || self.fault == Fault::BlindAmendment;
        if is_granted {
            self.model.0[n].wish.1 |= wish.1;
            self.exclusive()?;
        }
        if is_granted == may {
            Ok(())
        } else {
            Err(format!("task {task} is widened: {is_granted}"))
        }
    }

    /// Some task of which this holds, if there is any.
    fn some(&self, dice: &mut Dice, fits: impl Fn(&Self, usize) -> bool) -> Option<usize> {
        let first = dice.task();
        (first..first + TASKS).map(|n| n % TASKS).find(|task| fits(self, *task))
    }

    fn step(&mut self, dice: &mut Dice) -> Told {
        let is_there = |w: &Self, task: usize| w.model.place(task).is_some();
        let is_lease = |w: &Self, task: usize| w.model.is_lease(task);
        let is_flagged = |w: &Self, task: usize| w.flags & (1 << task) != 0;
        let _done = match (dice.roll(20), self.looking) {
            (0, _) => self.some(dice, is_lease).map(|task| self.end(task)),
            (1, _) => self.some(dice, is_there).map(|task| self.end(task)),
            (2, _) => self.some(dice, is_there).map(|task| self.die(task)),
            (_, Some(_)) => return self.conclude(dice),
            (3..=8, None) => {
                let free = self.some(dice, |w, task| !is_there(w, task));
                free.map(|task| self.request(task, dice))
            }
            (9..=14, None) => return self.some(dice, is_flagged).map_or(Ok(()), |t| self.look(t)),
            (15, None) => self.some(dice, is_lease).map(|task| self.bury(task)),
            (16..=18, None) => {
                return self.some(dice, is_lease).map_or(Ok(()), |task| self.amend(task, dice));
            }
            (_, None) => return self.settle(dice),
        };
        Ok(())
    }

    /// Everybody with a flag judges until nobody has one: then nobody who waits may go.
    fn settle(&mut self, dice: &mut Dice) -> Told {
        self.conclude(dice)?;
        for _ in 0..10 * TASKS {
            if self.flags == 0 {
                return self.quiet();
            }
            let next = self.some(dice, |w, task| w.flags & (1 << task) != 0);
            self.look(next.unwrap_or_default())?;
            self.conclude(dice)?;
        }
        Err("the flags do not come to rest".to_owned())
    }

    fn quiet(&self) -> Told {
        let may_go = |t: &usize| self.model.is_waiting(*t) && self.model.in_way_of(*t) == 0;
        match (0..TASKS).find(may_go) {
            Some(task) => Err(format!("nobody wakes task {task}, which may go")),
            None => Ok(()),
        }
    }

    /// When every holder ends, everybody is served, the oldest in each round, woken by hints alone.
    fn drain(&mut self, dice: &mut Dice) -> Told {
        self.settle(dice)?;
        for _ in 0..=TASKS {
            let oldest = self.model.0.iter().find(|e| !e.is_held && e.is_alive).map(|e| e.task);
            for task in 0..TASKS {
                if self.model.is_lease(task) {
                    self.end(task);
                    self.bury(task);
                }
            }
            self.settle(dice)?;
            if oldest.is_some_and(|task| !self.model.is_lease(task)) {
                return Err(format!("{oldest:?} starves: {:?}", self.model));
            }
        }
        let left = self.model.0.iter().filter(|e| e.is_alive).count();
        if left == 0 { Ok(()) } else { Err(format!("{left} are never served")) }
    }
}

/// Plays the history of a number; what went wrong, if anything did.
fn play(seed: u64, judge: &AnyJudge, fault: Fault) -> Told {
    let mut dice = Dice(seed);
    let (files, model) = (Vec::new(), Model::default());
    let mut world = World { judge, fault, files, model, flags: 0, looking: None };
    for _ in 0..8 + dice.roll(STEPS) {
        world.step(&mut dice)?;
    }
    world.drain(&mut dice)
}
