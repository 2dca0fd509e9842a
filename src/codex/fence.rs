//! The fence: proves that nothing of an ended or abandoned session lives, before anything else may happen in its place.
//!
//! In order, all that exist: another boot means nothing lives; the control group is ended; every process of the
//! [family] is ended, by its marks, by its seal, or as an orphan that came to the worker; the session's
//! lock must be free.

use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::model::event::SessionStart;
use crate::model::id::JobId;
use crate::os::cgroup::Cgroup;
use crate::os::family::Born;
use crate::os::{clock, family, lock, process};

/// The variable that carries the job's id.
pub const JOB_MARK: &str = "NUMERUS_JOB";
/// The variable that carries the place: a task's id, `plan`, `roles`.
pub const PLACE_MARK: &str = "NUMERUS_TASK";

/// Rounds in which what a session has started meanwhile is put into its control group, too.
const ENCLOSE_ROUNDS: u32 = 10;
/// Looks for a session's lock to come free after everything that is known of was ended.
const LOCK_ROUNDS: u32 = 200;
/// Rest between two of them.
const LOCK_REST: Duration = Duration::from_millis(5);

/// A control group for the next session of a job, which is made when it is [entered](enclose).
pub fn plan_group(job: &JobId) -> Option<Cgroup> {
    static PLANNED: AtomicU32 = AtomicU32::new(0);
    let number = PLANNED.fetch_add(1, Ordering::Relaxed);
    Cgroup::planned(&format!("{}{}-{number}", group_prefix(job), process::own_pid()))
}

/// Puts a session that has just begun into its control group, with all that it has started by then. Done beside it, since the
/// kernel takes ten milliseconds and more for that, and codex starts nothing of an agent's before it has heard from a model.
/// Looked for below its first process, `leader`, and among orphans; what stays outside is of the family by its marks and its seal.
pub fn enclose(job: &JobId, place: &str, leader: u32, group: &Cgroup) {
    let marks = [(JOB_MARK, job.as_str()), (PLACE_MARK, place)];
    for _round in 0..ENCLOSE_ROUNDS {
        let inside = group.members();
        let mut found = family::carriers_below(&marks, leader);
        if found.is_empty() && inside.is_empty() {
            // Not every kernel tells of children.
            found = family::carriers(&marks, Born::WithUs);
        }
        let outside: Vec<u32> = found.into_iter().filter(|pid| !inside.contains(pid)).collect();
        if outside.is_empty() {
            return;
        }
        for pid in outside {
            let of_family = |pid| family::carries(pid, &marks);
            if let Some(target) = process::Target::open(pid, of_family) {
                let _stays_outside = group.take_in(&target);
            }
        }
    }
}

/// Ends all that is left of one session; gives back what would not die.
pub fn end_family(job: &JobId, place: &str, group: Option<&Cgroup>, born: Born) -> Vec<u32> {
    let mut survivors = group.map(Cgroup::kill).unwrap_or_default();
    survivors.extend(family::sweep(&[(JOB_MARK, job.as_str()), (PLACE_MARK, place)], born));
    if let Some(group) = group.filter(|_| survivors.is_empty()) {
        group.remove();
    }
    survivors
}

/// Ends all that is left of a session that has a lock, and waits for the lock; gives back what would not die, as process 0
/// whoever holds the lock without carrying the mark.
pub fn end_session(
    job: &JobId,
    place: &str,
    group: Option<&Cgroup>,
    session_lock: &Path,
    born: Born,
) -> Vec<u32> {
    let is_free = || !lock::is_held(session_lock).unwrap_or(true);
    let mut survivors = end_family(job, place, group, born);
    if survivors.is_empty() && matches!(born, Born::Below(_)) && !is_free() {
        // Somebody of it is where nobody has looked, such as a sibling of its first process (`CLONE_PARENT`).
        survivors = end_family(job, place, None, Born::WithUs);
    }
    if !survivors.is_empty() {
        return survivors;
    }
    for _round in 0..LOCK_ROUNDS {
        if is_free() {
            return Vec::new();
        }
        clock::pause(LOCK_REST);
    }
    vec![0]
}

/// The same of a session that nothing is left of, as a few looks tell that wait for nobody: mostly an agent ends with all that it started.
/// Whether it was so; if not, nothing was done.
pub fn has_ended(job: &JobId, group: Option<&Cgroup>, session_lock: &Path, leader: u32) -> bool {
    let is_empty = group.is_none_or(|group| group.members().is_empty());
    let is_gone = || family::is_gone(job.as_str(), leader);
    let has_ended = is_empty && is_gone() && !lock::is_held(session_lock).unwrap_or(true);
    if let Some(group) = group.filter(|_| has_ended) {
        group.remove();
    }
    has_ended
}

/// Fences a session of a worker that died; gives back what would not die.
pub fn fence(job: &JobId, start: &SessionStart, session_lock: &Path) -> Vec<u32> {
    if start.boot_id != process::boot_id() {
        return Vec::new();
    }
    let group = start.cgroup.as_deref().and_then(Cgroup::recorded);
    end_session(job, &start.place, group.as_ref(), session_lock, Born::Whenever)
}

/// How the names of a job's control groups begin; no id has a dot.
pub fn group_prefix(job: &JobId) -> String {
    format!("{job}.")
}

/// Fences a whole job, whatever its journal says: every process with its mark, or in one of its control groups.
pub fn fence_job(job: &JobId) -> Vec<u32> {
    end_all(job, Born::Whenever)
}

/// The same for whoever fenced the job when it began: what is left can only be what it started itself.
pub fn fence_own(job: &JobId) -> Vec<u32> {
    end_all(job, Born::WithUs)
}

fn end_all(job: &JobId, born: Born) -> Vec<u32> {
    let groups = Cgroup::named(&group_prefix(job));
    let mut survivors: Vec<u32> = groups.iter().flat_map(Cgroup::kill).collect();
    survivors.extend(family::sweep(&[(JOB_MARK, job.as_str())], born));
    groups.iter().for_each(Cgroup::remove);
    survivors
}

#[cfg(test)]
mod tests {
    use std::io::{BufRead, BufReader};
    use std::process::{Child, Command, Stdio};

    use super::*;
    use crate::os::env;

    /// A process that has started another one when this comes back; both sleep.
    fn sleepers(job: &JobId, place: &str) -> (Child, u32) {
        let mut shell = Command::new("sh");
        let shell = shell.args(["-c", "sleep 60 >/dev/null & echo $!; exec sleep 60 >/dev/null"]);
        let shell = shell.env(JOB_MARK, job.as_str()).env(PLACE_MARK, place);
        let mut shell = shell.stdout(Stdio::piped()).spawn().expect("sh");
        let mut said = String::new();
        let mut lines = BufReader::new(shell.stdout.take().expect("pipe"));
        lines.read_line(&mut said).expect("it says whom");
        (shell, said.trim().parse().expect("a number"))
    }

    #[test]
    fn a_session_is_enclosed_with_all_that_it_has_started_and_nobody_else() {
        let job = JobId::parse(&format!("enclose{}-abc234", process::own_pid())).expect("id");
        let Some(group) = Cgroup::create(&format!("{}1", group_prefix(&job))) else {
            // Most users may make none: then there is nothing to be put into.
            return env::not_run("a control group (version 2) that may be written");
        };
        let (mut first, second) = sleepers(&job, "t1");
        let (mut other, others) = sleepers(&job, "t2");
        let targets = [second, others].map(|pid| process::Target::open(pid, |_| true));
        let [second_lives, others_live] = targets.map(|target| target.expect("it sleeps"));
        enclose(&job, "t1", first.id(), &group);
        let mut inside = group.members();
        inside.sort_unstable();
        let mut expected = [first.id(), second];
        expected.sort_unstable();
        assert_eq!(inside, expected);
        assert_eq!(end_family(&job, "t1", Some(&group), Born::WithUs), [0_u32; 0]);
        assert!(!first.wait().expect("ended").success());
        assert!(!second_lives.lives_beyond(Duration::from_secs(60)) && others_live.lives());
        assert!(other.try_wait().expect("lives").is_none());
        assert_eq!(end_family(&job, "t2", None, Born::WithUs), [0_u32; 0]);
        other.wait().expect("ended");
        assert!(!group.path().exists(), "an empty group goes");
        Cgroup::create(&format!("{}2", group_prefix(&job))).expect("as the first one");
        assert_eq!(fence_own(&job), [0_u32; 0]);
        assert!(Cgroup::named(&group_prefix(&job)).is_empty(), "also one that nobody used");
    }
}
