//! Process families: everything that descends from one program, whatever it does to hide.
//!
//! A family is told by its *marks*, variables in the environment of its first process, outermost first. Who clears the
//! environment still carries the *seal*: a number made of the marks, in the hard limit for file locks, which no kernel since
//! 2.4.24 looks at and which every child inherits; no program touches it by accident. Who loses that as well becomes a
//! child of whoever [adopts](adopt_orphans) orphans, and is told there by not being one that was [spawned](spawn).
//!
//! Diagnostics: where a limit cannot be set or seen, the marks alone count.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Result;
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, WaitOptions};

use super::process::{
    Look, Target, children_of, children_of_first_thread, look, own_pid, pids, start_time,
    tells_of_children,
};
use super::{clock, digest};

/// Rounds that [`sweep`] makes before it gives up on what will not die.
const SWEEP_ROUNDS: u32 = 100;
/// Rest between two rounds.
const SWEEP_REST: Duration = Duration::from_millis(10);
/// Looks for orphans that come one after the other, and how many of them without one are enough.
const CHASE_LOOKS: u32 = 2000;
const CHASE_QUIET: u32 = 3;
/// Looks at a process whose environment is empty.
const BIRTH_LOOKS: u32 = 5;
/// Rest between two of them.
const BIRTH_REST: Duration = Duration::from_millis(1);

/// Most processes that a look from parent to child takes in.
const MOST_BELOW: usize = 10_000;
/// Children with which those are forgotten that have ended.
const MOST_KNOWN: usize = 1024;

/// The bit that every seal has, above all others.
const SEALED: u64 = 1 << 62;
/// Where the outer mark's part of a seal begins; below it is the inner one's.
const INNER_BITS: u32 = 32;
/// The line of `/proc/PID/limits` that shows the seal.
const LIMIT_LINE: &str = "Max file locks";

/// The mark of the family whose orphans come to this process.
static ADOPTED: OnceLock<String> = OnceLock::new();
/// Children that this process spawned itself, with when they started: what has that number later is somebody else.
static CHILDREN: Mutex<BTreeMap<u32, u64>> = Mutex::new(BTreeMap::new());

/// Makes this process the one that inherits its descendants' orphans; all of them are of the family with this outer mark.
///
/// # Errors
/// Those of the system.
pub fn adopt_orphans(outer: &str) -> Result<()> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    let _the_same_one = ADOPTED.set(outer.to_owned());
    Ok(())
}

/// Whether orphans of the family with these marks come to this process.
fn is_adopted(marks: &[(&str, &str)]) -> bool {
    let is_outer = |outer: &String| marks.first().is_some_and(|(_, value)| value == outer);
    ADOPTED.get().is_some_and(is_outer)
}

/// Starts a child of this process's own, which is never taken for an orphan. `pid` tells its number.
///
/// # Errors
/// Those of the start.
pub fn spawn<T>(start: impl FnOnce() -> Result<T>, pid: impl Fn(&T) -> u32) -> Result<T> {
    // Held over the start: nobody looks for orphans while a child is there and not known yet.
    let mut known = children();
    if known.len() >= MOST_KNOWN {
        known.retain(|pid, started| start_time(*pid) == Some(*started));
    }
    let child = start()?;
    let number = pid(&child);
    if let Some(started) = start_time(number) {
        known.insert(number, started);
    }
    Ok(child)
}

fn children() -> MutexGuard<'static, BTreeMap<u32, u64>> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The number that stands for these marks, outermost first.
fn seal_of(marks: &[(&str, &str)]) -> u64 {
    let number = |value: &str| {
        let hex = digest::sha256_hex(value.as_bytes());
        hex.get(..8).and_then(|hex| u64::from_str_radix(hex, 16).ok()).unwrap_or(0)
    };
    let part = |n: usize| marks.get(n).map_or(0, |(_, value)| number(value));
    SEALED | ((part(0) >> 2) << INNER_BITS) | part(1)
}

/// The seal of the family with these marks, as a limit for its first process. Where a kernel does not set it the marks alone count.
pub fn seal(marks: &[(&str, &str)]) -> (Resource, Rlimit) {
    let seal = Some(seal_of(marks));
    (Resource::Locks, Rlimit { current: seal, maximum: seal })
}

/// The seal that a process carries.
fn sealed(pid: u32) -> Option<u64> {
    let limits = fs::read_to_string(format!("/proc/{pid}/limits")).ok()?;
    let line = limits.lines().find_map(|line| line.strip_prefix(LIMIT_LINE))?;
    let hard: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    (hard & SEALED == SEALED).then_some(hard)
}

/// Whether a process carries all of these marks, or their seal.
pub fn carries(pid: u32, marks: &[(&str, &str)]) -> bool {
    // Who has no environment is looked at for longer.
    sealed(pid).is_some_and(|seal| is_seal_of(seal, marks)) || has_variables(pid, marks)
}

fn is_seal_of(seal: u64, marks: &[(&str, &str)]) -> bool {
    let inner = if marks.len() > 1 { 0 } else { INNER_BITS };
    seal >> inner == seal_of(marks) >> inner
}

fn has_variables(pid: u32, marks: &[(&str, &str)]) -> bool {
    let Some(environment) = environment(pid) else { return false };
    let has = |name: &str, value: &str| {
        environment.split(|b| *b == 0).any(|entry| {
            entry.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"="))
                == Some(value.as_bytes())
        })
    };
    marks.iter().all(|(name, value)| has(name, value))
}

/// A process's environment. One that is just becoming another program shows none for a moment, and is looked at again.
fn environment(pid: u32) -> Option<Vec<u8>> {
    let is_program = || fs::read_link(format!("/proc/{pid}/exe")).is_ok();
    for _look in 0..BIRTH_LOOKS {
        let own = fs::read(format!("/proc/{pid}/environ"));
        let environment = own.ok().or_else(|| environment_of_threads(pid))?;
        if !environment.is_empty() || !is_program() {
            return Some(environment);
        }
        clock::pause(BIRTH_REST);
    }
    Some(Vec::new())
}

/// The same by a thread that still lives, where the first one has ended.
fn environment_of_threads(pid: u32) -> Option<Vec<u8>> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?;
    threads.flatten().find_map(|thread| fs::read(thread.path().join("environ")).ok())
}

/// Which processes can be of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Born {
    /// All.
    Whenever,
    /// Those that are no older than this process, which started the family itself: most of a machine is older, and need not be
    /// looked at any closer.
    WithUs,
    /// This child of ours, the family's first one, and what is below it, and [orphans that came to us](adopt_orphans): a few looks,
    /// whatever else runs on the machine, and below us. Who was started by somebody else on the family's behalf is not among them.
    Below(u32),
}

/// All processes as they were seen, and which of them are alive, not this one, and carry the marks or their seal.
#[derive(Default)]
struct Census {
    all: BTreeMap<u32, Look>,
    carriers: Vec<u32>,
    /// Whether it is of the whole machine, and not of the family's first one, what is below it, and orphans alone.
    is_whole: bool,
}

fn census(marks: &[(&str, &str)], born: Born) -> Census {
    if let Born::Below(first) = born
        && is_adopted(marks)
        && tells_of_children()
    {
        let below = census_below(marks, first);
        if below.all.len() < MOST_BELOW {
            return below;
        }
    }
    let own = own_pid();
    let oldest = match born {
        Born::Whenever => 0,
        Born::WithUs | Born::Below(_) => start_time(own).unwrap_or(0),
    };
    let mut seen = Census { is_whole: true, ..Census::default() };
    for pid in pids() {
        let Some(look) = look(pid) else { continue };
        seen.all.insert(pid, look);
        if pid != own && !look.is_zombie && look.started >= oldest && carries(pid, marks) {
            seen.carriers.push(pid);
        }
    }
    seen
}

/// The same from parent to child, beginning with the first one of the family and with the orphans that came to this process. Below each:
/// one that is just ending shows no marks any more, but still its children. From [`MOST_BELOW`] on it is not whole.
fn census_below(marks: &[(&str, &str)], first: u32) -> Census {
    let (mut seen, own) = (Census::default(), own_pid());
    let mut next = children_of_first_thread();
    next.push(first);
    while let Some(pid) = next.pop().filter(|_| seen.all.len() < MOST_BELOW) {
        let Some(look) = look(pid) else { continue };
        let is_of_others =
            pid != first && look.parent == own && is_known(&children(), pid, look.started);
        if is_of_others || seen.all.insert(pid, look).is_some() {
            continue;
        }
        next.extend(children_of(pid));
        if !look.is_zombie && carries(pid, marks) {
            seen.carriers.push(pid);
        }
    }
    seen
}

/// Whether a process is a child that this one spawned itself.
fn is_known(known: &BTreeMap<u32, u64>, pid: u32, started: u64) -> bool {
    known.get(&pid) == Some(&started)
}

/// The living processes, other than this one, that carry these marks or their seal.
pub fn carriers(marks: &[(&str, &str)], born: Born) -> Vec<u32> {
    census(marks, born).carriers
}

/// Those that carry these marks or their seal among this child of ours, what is below it and orphans that came to us, found from parent
/// to child: most of a family at the price of a few looks, as far as the kernel tells of children. All of it is found by [`carriers`].
pub fn carriers_below(marks: &[(&str, &str)], first: u32) -> Vec<u32> {
    census_below(marks, first).carriers
}

/// Whether nothing is left of a family with this outer mark, whose first process was our child: two looks, which wait for nobody (a list
/// of children may lack one, hardly twice in a row), find that one gone, so what it started came to us, and only our own children here.
pub fn is_gone(outer: &str, first: u32) -> bool {
    is_adopted(&[("", outer)])
        && tells_of_children()
        && nobody_came(first, children_of_first_thread)
}

fn nobody_came(first: u32, who_is_here: impl Fn() -> Vec<u32>) -> bool {
    // Whoever starts a child now is not waited for.
    let (Ok(known), own) = (CHILDREN.try_lock(), own_pid()) else { return false };
    let ours = |pid| look(pid).is_none_or(|l| l.parent == own && is_known(&known, pid, l.started));
    let is_clear = || look(first).is_none() && who_is_here().into_iter().all(ours);
    is_clear() && is_clear()
}

/// Ends every process of a family, again and again until none is left; gives back what would not die within a bound, as process 0
/// who was not caught.
pub fn sweep(marks: &[(&str, &str)], born: Born) -> Vec<u32> {
    let (mut is_clear, mut has_come) = (false, false);
    for _ in 0..SWEEP_ROUNDS {
        let seen = census(marks, born);
        has_come = reap_orphans(&seen.all);
        let strays = strays(marks, &seen.all);
        if seen.carriers.is_empty() && strays.is_empty() {
            // A list of children may lack one while another one ends (proc_tid_children(5)), hardly twice in a row; and who forks and
            // ends all the time is not seen, but for the orphans that it leaves.
            if !has_come && (seen.is_whole || is_clear) {
                return Vec::new();
            }
            is_clear = !has_come;
            if has_come {
                chase(marks);
            }
            continue;
        }
        is_clear = false;
        for pid in seen.carriers {
            end(pid, |pid| carries(pid, marks));
        }
        for (pid, started) in strays {
            end(pid, |pid| start_time(pid) == Some(started));
        }
        chase(marks);
        clock::pause(SWEEP_REST);
    }
    let seen = census(marks, born);
    let mut left = seen.carriers;
    left.extend(strays(marks, &seen.all).into_keys());
    if left.is_empty() && has_come { vec![0] } else { left }
}

/// Ends orphans of the family that came to this process as fast as they come, until none has come for a few looks: one that forks
/// and ends all the time is gone before a whole [`census`] is over.
fn chase(marks: &[(&str, &str)]) {
    let mut quiet = if is_adopted(marks) { 0 } else { CHASE_QUIET };
    for _ in 0..CHASE_LOOKS {
        if quiet == CHASE_QUIET {
            return;
        }
        let seen = children_of_first_thread().into_iter();
        let seen = seen.filter_map(|pid| Some((pid, look(pid)?))).collect();
        let strays = strays(marks, &seen);
        for (pid, started) in &strays {
            end(*pid, |pid| start_time(pid) == Some(*started));
        }
        quiet = if reap_orphans(&seen) || !strays.is_empty() { 0 } else { quiet + 1 };
    }
}

/// Ends every process, but for this one, in whose environment this variable begins so; gives back what would not die within a
/// bound.
pub fn sweep_begun(name: &str, start: &str) -> Vec<u32> {
    let (own, begins) = (own_pid(), format!("{name}={start}"));
    let bears = |pid: u32| {
        let environment = environment(pid).unwrap_or_default();
        environment.split(|b| *b == 0).any(|entry| entry.starts_with(begins.as_bytes()))
    };
    let is_left =
        |pid: &u32| *pid != own && bears(*pid) && look(*pid).is_some_and(|seen| !seen.is_zombie);
    let mut left: Vec<u32> = Vec::new();
    for _ in 0..SWEEP_ROUNDS {
        left = pids().into_iter().filter(is_left).collect();
        if left.is_empty() {
            break;
        }
        for pid in &left {
            end(*pid, bears);
        }
        clock::pause(SWEEP_REST);
    }
    left
}

fn end(pid: u32, is_it: impl Fn(u32) -> bool) {
    if let Some(target) = Target::open(pid, is_it) {
        target.kill();
    }
}

/// Orphans that came to this process, and everything below them, with when they started: but for those that carry the
/// seal of another family which a child of ours still leads. Who hides goes with the first one of its outer family that
/// ends: nobody can tell any more which it belonged to.
fn strays(marks: &[(&str, &str)], seen: &BTreeMap<u32, Look>) -> BTreeMap<u32, u64> {
    if !is_adopted(marks) {
        return BTreeMap::new();
    }
    let (mut known, own) = (children(), own_pid());
    let is_orphan =
        |pid: u32, l: &Look| l.parent == own && !l.is_zombie && !is_known(&known, pid, l.started);
    let orphans = seen.iter().filter(|(pid, l)| is_orphan(**pid, l));
    let mut strays: BTreeMap<u32, u64> = orphans.map(|(pid, l)| (*pid, l.started)).collect();
    if strays.is_empty() {
        return strays;
    }
    // Once; whoever is chased is looked at again and again, and is to be caught before it is another one.
    known.retain(|pid, started| start_time(*pid) == Some(*started));
    let live = known.keys().filter(|pid| look(**pid).is_some_and(|l| !l.is_zombie));
    let others: BTreeSet<u64> =
        live.filter_map(|pid| sealed(*pid)).filter(|s| !is_seal_of(*s, marks)).collect();
    strays.retain(|pid, _| !sealed(*pid).is_some_and(|seal| others.contains(&seal)));
    loop {
        let below = seen.iter().filter(|(_, l)| strays.contains_key(&l.parent) && !l.is_zombie);
        let below: Vec<(u32, u64)> = below
            .map(|(pid, l)| (*pid, l.started))
            .filter(|(pid, _)| !strays.contains_key(pid))
            .collect();
        if below.is_empty() {
            return strays;
        }
        strays.extend(below);
    }
}

/// Takes the exit status of orphans that came to this process, so that no zombie stays; whether there were any. Children of its own
/// are left to whoever waits for them.
fn reap_orphans(seen: &BTreeMap<u32, Look>) -> bool {
    if ADOPTED.get().is_none() {
        return false;
    }
    let (known, own) = (children(), own_pid());
    // Nobody else takes a status while this is held, but whoever waits for a child of ours: the number is still the orphan's.
    let is_ended = |pid: u32, l: &Look| {
        l.parent == own
            && l.is_zombie
            && !is_known(&known, pid, l.started)
            && start_time(pid) == Some(l.started)
    };
    let orphans = seen.iter().filter(|(pid, l)| is_ended(**pid, l));
    let mut has_come = false;
    for pid in orphans.filter_map(|(pid, _)| Pid::from_raw(i32::try_from(*pid).ok()?)) {
        has_come = true;
        let _reaped_already = rustix::process::waitpid(Some(pid), WaitOptions::NOHANG);
    }
    has_come
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_sweep_ends_carriers_and_nobody_else() {
        let mark = format!("sweep-{}", own_pid());
        let mut marked = Command::new("sleep");
        let mut marked = marked.arg("1000").env("NUMERUS_JOB", &mark).spawn().expect("a");
        let mut other = Command::new("sleep").arg("1000").spawn().expect("b");
        for born in [Born::Whenever, Born::WithUs] {
            assert_eq!(carriers(&[("NUMERUS_JOB", &mark)], born), [marked.id()]);
        }
        assert_eq!(carriers_below(&[("NUMERUS_JOB", &mark)], marked.id()), [marked.id()]);
        assert!(carriers_below(&[("NUMERUS_JOB", &mark)], other.id()).is_empty());
        let inner = [("NUMERUS_JOB", mark.as_str()), ("NUMERUS_TASK", "t1")];
        assert!(carriers_below(&inner, marked.id()).is_empty());
        assert!(carriers(&inner, Born::Whenever).is_empty());
        assert!(sweep(&[("NUMERUS_JOB", &mark)], Born::WithUs).is_empty());
        assert!(!marked.wait().expect("ended").success());
        assert!(other.try_wait().expect("alive").is_none());
        other.kill().expect("end it");
        other.wait().expect("ended");
    }

    #[test]
    fn a_first_process_that_has_ended_alone_is_gone_and_nobody_is_waited_for_to_know_it() {
        // Who is here is told: a thread that ends leaves its children to the first one, and so do those of other tests.
        let mut first = Command::new("sleep").arg("1000").spawn().expect("a");
        let mut stranger = Command::new("sleep").arg("1000").spawn().expect("b");
        let (first_pid, stranger_pid) = (first.id(), stranger.id());
        assert!(!nobody_came(first_pid, Vec::new), "it lives");
        first.kill().expect("end it");
        first.wait().expect("ended");
        let told = spawn(|| Ok(nobody_came(first_pid, Vec::new)), |_| own_pid()).expect("started");
        assert!(!told, "while a child is started nobody knows");
        // Other tests start children, too.
        let is_told = |here: &[u32]| {
            (0..1000).any(|_| {
                clock::pause(BIRTH_REST);
                nobody_came(first_pid, || here.to_vec())
            })
        };
        assert!(is_told(&[]) && is_told(&[first_pid]));
        assert!(!nobody_came(first_pid, || vec![stranger_pid]));
        stranger.kill().expect("end it");
        stranger.wait().expect("ended");
    }

    #[test]
    fn a_seal_tells_the_outer_family_and_the_inner_one() {
        let of = |job, task| seal_of(&[("NUMERUS_JOB", job), ("NUMERUS_TASK", task)]);
        let seal = of("a", "t1");
        assert!(is_seal_of(seal, &[("NUMERUS_JOB", "a")]));
        assert!(is_seal_of(seal, &[("NUMERUS_JOB", "a"), ("NUMERUS_TASK", "t1")]));
        for marks in [
            vec![("NUMERUS_JOB", "b")],
            vec![("NUMERUS_JOB", "a"), ("NUMERUS_TASK", "t2")],
            vec![("NUMERUS_JOB", "b"), ("NUMERUS_TASK", "t1")],
        ] {
            assert!(!is_seal_of(seal, &marks), "{marks:?}");
        }
        assert!(seal & SEALED != 0 && seal >> 63 == 0, "a limit that a kernel takes: {seal:x}");
        assert_eq!(sealed(own_pid()), None, "tests are nobody's session");
    }

    #[test]
    fn orphans_are_looked_for_by_who_adopts_them_alone() {
        let marks = [("NUMERUS_JOB", "nobody")];
        assert!(strays(&marks, &census(&marks, Born::Whenever).all).is_empty());
    }
}
