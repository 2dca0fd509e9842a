//! Finds jobs by any unique piece of the front of their id, wherever they are: not yet taken, live, ended or rejected.
//! Reads the names in folders, and where several jobs fit, how these stand; nothing has to be running. A whole id is looked for
//! by its own paths alone, so that it costs the same however many jobs there are.
//!
//! Promise: what fits more than one job is refused, with how each of them stands. Only [`find_live`] takes one of several to be
//! meant, and only among jobs of the same name.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::io::{ErrorKind, Result as IoResult};
use std::path::PathBuf;

use super::render::{age, word};
use super::{seams, snapshot};
use crate::error::{Exit, Failure};
use crate::model::id::{JobId, TaskId};
use crate::model::root::{Root, job_of_copy};
use crate::model::status::JobPhase;
use crate::os::console::one_line;
use crate::os::{clock, fsx};
use crate::runs::Runs;
use crate::spool::{CutOff, Kind, Place, Spool, may_be_taken};

/// Most candidates that a message names.
const MOST_NAMED: usize = 8;

/// Where a job lies.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Whereabouts {
    /// It has a run folder.
    Run,
    /// Its file waits in `incoming/`.
    Incoming(PathBuf),
    /// It has ended and its run folder is gone.
    Ended(JobPhase),
    /// It was not accepted; the path is that of the reason.
    Rejected(PathBuf),
}

/// A job that some file speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Known {
    /// The job.
    pub(super) job: JobId,
    /// Where it lies.
    pub(super) at: Whereabouts,
    /// Whether its file lies where ended jobs do.
    pub(super) has_ended: bool,
}

/// Splits `JOB` or `JOB/TASK`.
pub(super) fn target(text: &str) -> Result<(&str, Option<TaskId>), Failure> {
    match text.trim_end_matches('/').split_once('/') {
        None => Ok((text.trim_end_matches('/'), None)),
        Some((job, task)) => {
            let task = TaskId::parse(task).map_err(|e| Failure::usage(e.to_string()))?;
            Ok((job, Some(task)))
        }
    }
}

/// The names in `incoming/` that may be taken, sorted; none where there is no spool yet.
pub(super) fn incoming(root: &Root) -> Result<Vec<String>, Failure> {
    names_of(&Spool::of(root)).map_err(|e| Failure::system("read the spool", &e))
}

fn names_of(spool: &Spool) -> IoResult<Vec<String>> {
    let mut names: Vec<String> = match spool.incoming() {
        Err(e) if e.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        names => names?.filter_map(|name| name.into_string().ok()).collect(),
    };
    names.sort();
    Ok(names)
}

/// The file in `incoming/` of this very name, which is no job's yet: in the form that `submit` gives it would be found as one.
pub(super) fn dropped(root: &Root, name: &str) -> Option<PathBuf> {
    let spool = Spool::of(root);
    let is_one = may_be_taken(OsStr::new(name)) && !name.contains('/') && job_of(name).is_none();
    let stamp = spool.look(OsStr::new(name)).ok().flatten().filter(|_| is_one)?;
    (stamp.kind == Kind::Regular).then(|| spool.folder(Place::Incoming).join(name))
}

/// The same, also without its ending where only one has it: for what is only told of.
fn dropped_like(root: &Root, name: &str) -> Option<PathBuf> {
    dropped(root, name).or_else(|| {
        let names = names_of(&Spool::of(root)).ok()?;
        let mut named = names.iter().filter(|file| is_stem(name, file));
        let only = named.next().filter(|_| named.next().is_none())?;
        dropped(root, only)
    })
}

/// Whether a file is called so but for its ending.
pub(super) fn is_stem(stem: &str, file: &str) -> bool {
    file.rsplit_once('.').is_some_and(|(name, _)| name == stem)
}

/// As what a command for jobs is refused that names a dropped file: it is no job before it is taken. `unknown` is what is said of
/// any other name.
pub(super) fn no_job_yet(root: &Root, name: &str, unknown: Failure) -> Failure {
    let Some(file) = dropped_like(root, name).filter(|_| unknown.kind == Exit::Unknown) else {
        return unknown;
    };
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let words = word(&name);
    Failure::new(Exit::Blocked, format!("{} waits to be taken: it is no job yet", one_line(&name)))
        .hint(format!("change {} itself, or withdraw it with numerus kill {words}", file.display()))
        .hint(format!("numerus start {words} takes it and works on it, and so does a daemon"))
}

/// The job that a dropped or rejected file's name tells, if `submit` gave it.
pub(super) fn job_of(name: &str) -> Option<JobId> {
    JobId::from_stem(name.split('.').next().unwrap_or_default())
}

/// The edits of jobs that ended between the old job and the new one.
pub(super) fn cut_off(root: &Root) -> Vec<CutOff> {
    let runs = Runs::of(root);
    Spool::of(root).cut_off(|old| runs.was_killed(old)).unwrap_or_default()
}

/// The edit of this job that was cut off, if one was.
pub(super) fn cut_off_of(root: &Root, job: &JobId) -> Option<CutOff> {
    cut_off(root).into_iter().find(|edit| edit.old == *job)
}

/// Every job of a root, in the order of their ids.
pub(super) fn all(root: &Root) -> Result<Vec<Known>, Failure> {
    starting(root, "")
}

/// The jobs whose ids start so, in the order of these.
fn starting(root: &Root, start: &str) -> Result<Vec<Known>, Failure> {
    gather(root, start).map_err(|e| Failure::system("read the root", &e))
}

/// The job of this very id, if it has a run folder.
fn exact(root: &Root, id: &str) -> Option<Known> {
    let job = JobId::parse(id).ok()?;
    let spool = Spool::of(root);
    // First where its file ends up: it travels there while we look.
    let has_ended = JobPhase::FINALS.iter().any(|phase| spool.has(Place::at_end(*phase), &job));
    let is_there = Runs::of(root).folder(&job).dir().is_dir();
    is_there.then_some(Known { job, at: Whereabouts::Run, has_ended })
}

/// Reads the folders in the direction that job files travel, so that one on its way is not missed.
fn gather(root: &Root, start: &str) -> IoResult<Vec<Known>> {
    let job_of = |name: &str| job_of(name).filter(|_| name.starts_with(start));
    let (mut known, mut ended) = (BTreeMap::new(), BTreeSet::new());
    let spool = Spool::of(root);
    for name in names_of(&spool)? {
        let Some(job) = job_of(&name) else { continue };
        known.insert(job, Whereabouts::Incoming(spool.folder(Place::Incoming).join(name)));
    }
    for (name, reason) in spool.rejections()? {
        let Some(job) = job_of(&name.to_string_lossy()) else { continue };
        ended.insert(job.clone());
        known.insert(job, Whereabouts::Rejected(reason));
    }
    for phase in JobPhase::FINALS {
        let jobs = spool.jobs_in(Place::at_end(phase))?;
        for (job, _) in jobs.into_iter().filter(|(job, _)| job.as_str().starts_with(start)) {
            ended.insert(job.clone());
            known.insert(job, Whereabouts::Ended(phase));
        }
    }
    let jobs = Runs::of(root).jobs()?;
    for job in jobs.into_iter().filter(|job| job.as_str().starts_with(start)) {
        known.insert(job, Whereabouts::Run);
    }
    let one = |(job, at)| Known { has_ended: ended.contains(&job), job, at };
    Ok(known.into_iter().map(one).collect())
}

/// The files that were not accepted, by the names under which they are kept, each with its reason's path.
pub(super) fn rejections(root: &Root) -> Vec<(String, PathBuf)> {
    let all = Spool::of(root).rejections().unwrap_or_default();
    all.into_iter().map(|(name, reason)| (name.to_string_lossy().into_owned(), reason)).collect()
}

/// The rejected file that is called so, also without its ending if it is the only one.
pub(super) fn rejected_like(root: &Root, name: &str) -> Option<String> {
    let mut all: Vec<String> = rejections(root).into_iter().map(|(name, _)| name).collect();
    if all.iter().any(|file| file == name) {
        return Some(name.to_owned());
    }
    all.retain(|file| is_stem(name, file));
    all.pop().filter(|_| all.is_empty())
}

fn was_rejected(file: &str) -> Failure {
    let words = word(file);
    Failure::new(Exit::Unknown, format!("{} was rejected: it is no job", one_line(file)))
        .hint(format!("numerus status {words} says why; once mended, numerus retry {words}"))
}

/// The rejected file whose name is most like a text, if any is like it at all.
pub(super) fn nearest_name<'a>(names: &'a [(String, PathBuf)], text: &str) -> Option<&'a str> {
    let stem = |name: &'a str| name.split('.').next().unwrap_or(name);
    let distance = |name: &'a str| {
        let whole = strsim::damerau_levenshtein(name, text);
        strsim::damerau_levenshtein(stem(name), text).min(whole)
    };
    let near = names.iter().map(|(name, _)| (distance(name), name.as_str())).min()?;
    (near.0 <= 2 && near.0 < text.chars().count()).then_some(near.1)
}

/// The one job that a prefix names.
///
/// # Errors
/// None of that name (with the nearest one), or several.
pub(super) fn find(root: &Root, prefix: &str) -> Result<Known, Failure> {
    search(root, prefix, |_| None)
}

/// As [`find`], for what is only done to jobs that go on, or only looked at: of several of the same name, such as one and its
/// retry, the one that has not ended is meant if there is just one of these.
pub(super) fn find_live(root: &Root, prefix: &str) -> Result<Known, Failure> {
    search(root, prefix, the_live_one)
}

/// As [`find_live`], for commands that do nothing with a file that was dropped and is no job yet: it is told as such.
pub(super) fn find_job(root: &Root, prefix: &str) -> Result<Known, Failure> {
    find_live(root, prefix).map_err(|e| no_job_yet(root, prefix, e))
}

fn the_live_one<'a>(several: &[&'a Known]) -> Option<&'a Known> {
    let name = several.first()?.job.slug();
    let mut live = several.iter().filter(|known| !known.has_ended);
    let only = live.next().filter(|_| live.next().is_none())?;
    several.iter().all(|known| known.job.slug() == name).then_some(only)
}

/// The job that a prefix, or the name of its file, names; `which` may tell which one is meant where it fits several.
fn search(
    root: &Root,
    named: &str,
    which: impl for<'a> Fn(&[&'a Known]) -> Option<&'a Known>,
) -> Result<Known, Failure> {
    if let Some(no_root) = no_root(root) {
        return Err(Failure::new(Exit::Unknown, format!("no job is called {named:?}: {no_root}"))
            .hint("is --root right, or NUMERUS_ROOT, or the current directory?"));
    }
    // No id has a dot in it: who names a job's file, as lists do, means the job.
    let of_file = job_of(named).filter(|_| named.contains('.'));
    let prefix = of_file.as_ref().map_or(named, JobId::as_str);
    if let Some(known) = exact(root, prefix) {
        return Ok(known);
    }
    let mut known = starting(root, prefix)?;
    if known.is_empty() {
        // So that the nearest id can be named.
        known = all(root)?;
    }
    let ids: Vec<&JobId> = known.iter().map(|k| &k.job).collect();
    let fitting = match fitting(&ids, prefix) {
        Err(none) if none.kind == Exit::Unknown => {
            if let Some(edit) = cut_off(root).iter().find(|e| e.new.as_str().starts_with(prefix)) {
                let (said, hint) = edit.told();
                return Err(Failure::new(Exit::Unknown, said).hint(hint));
            }
            if let Some(job) = removed(root, prefix) {
                return Err(was_removed(root, &job));
            }
            // One that was dropped again is told of as what it is now.
            let is_dropped = dropped_like(root, named).is_some();
            let rejected = rejected_like(root, named).filter(|_| !is_dropped);
            return Err(rejected.map_or(none, |file| was_rejected(&file)));
        }
        fitting => fitting?,
    };
    let fitting: BTreeSet<&JobId> = fitting.into_iter().collect();
    let several: Vec<&Known> = known.iter().filter(|k| fitting.contains(&k.job)).collect();
    match several.as_slice() {
        [one] => Ok((*one).clone()),
        several => which(several).cloned().ok_or_else(|| ambiguous(root, prefix, several)),
    }
}

/// The one removed job that a prefix names.
pub(super) fn removed(root: &Root, prefix: &str) -> Option<JobId> {
    let copies = copies(root);
    match fitting(&copies.keys().collect::<Vec<_>>(), prefix).ok()?.as_slice() {
        [one] => Some((*one).clone()),
        _ => None,
    }
}

/// The copies of removed jobs, of each by their names.
fn copies(root: &Root) -> BTreeMap<JobId, Vec<String>> {
    let mut copies: BTreeMap<JobId, Vec<String>> = BTreeMap::new();
    for name in fsx::list(&root.pruned()).unwrap_or_default() {
        if let Some(job) = job_of_copy(&name) {
            copies.entry(job).or_default().push(name);
        }
    }
    copies
}

fn was_removed(root: &Root, job: &JobId) -> Failure {
    let mut names = copies(root).remove(job).unwrap_or_default();
    names.sort();
    let paths = names.iter().map(|name| root.pruned().join(name).display().to_string());
    let paths = paths.collect::<Vec<_>>().join(", ");
    let failure =
        Failure::new(Exit::Unknown, format!("{job} was removed; what is left of it is in {paths}"));
    // A memory that cannot be read is said to be so by the command that is named.
    let entry = seams::memory(root, |memory| memory.find(job));
    if entry.map_or(true, |entry| entry.is_some()) {
        failure.hint(format!("numerus memory show {job} tells what is remembered of it"))
    } else {
        failure.hint("nothing else is known of it: look there")
    }
}

/// What there is to say where the root was never made: an empty one looks the same.
pub(super) fn no_root(root: &Root) -> Option<String> {
    let is_there = root.spool().is_dir() || root.runs().is_dir() || root.store().is_dir();
    (!is_there).then(|| format!("no root at {} yet", root.path().display()))
}

/// The ids that a prefix fits, one at least; a whole id wins over longer ones.
fn fitting<'a>(ids: &[&'a JobId], prefix: &str) -> Result<Vec<&'a JobId>, Failure> {
    if prefix.is_empty() {
        return Err(
            Failure::usage("the job's name is empty").hint("numerus status --all lists every job")
        );
    }
    if let Some(exact) = ids.iter().find(|id| id.as_str() == prefix) {
        return Ok(vec![exact]);
    }
    let fitting: Vec<&JobId> =
        ids.iter().copied().filter(|id| id.as_str().starts_with(prefix)).collect();
    if fitting.is_empty() { Err(unknown(prefix, nearest(ids, prefix))) } else { Ok(fitting) }
}

/// Which jobs a prefix fits, and how each stands, so that one can be told from the other.
fn ambiguous(root: &Root, prefix: &str, several: &[&Known]) -> Failure {
    let named = |known: &&Known| format!("{} ({})", known.job, standing(root, known));
    let mut names: Vec<String> = several.iter().take(MOST_NAMED).map(named).collect();
    if several.len() > MOST_NAMED {
        names.push(format!("{} more", several.len() - MOST_NAMED));
    }
    Failure::usage(format!("{prefix:?} names {} jobs: {}", several.len(), names.join(", ")))
        .hint("give more of the id")
}

/// How a job stands, in a few words.
fn standing(root: &Root, known: &Known) -> String {
    match &known.at {
        Whereabouts::Incoming(_) => "waits to be taken".to_owned(),
        Whereabouts::Rejected(_) => "rejected".to_owned(),
        Whereabouts::Ended(phase) => phase.as_str().to_owned(),
        Whereabouts::Run => match snapshot::status(&Runs::of(root).folder(&known.job)) {
            Ok(Some(s)) if s.state.is_final() => {
                format!("{} {} ago", s.state.as_str(), age(s.updated_at, clock::now()))
            }
            Ok(Some(s)) => {
                format!("{}, taken {} ago", s.state.as_str(), age(s.created_at, clock::now()))
            }
            _ => "its record cannot be read".to_owned(),
        },
    }
}

fn unknown(prefix: &str, near: Option<&JobId>) -> Failure {
    let failure = Failure::new(Exit::Unknown, format!("no job is called {prefix:?}"));
    match near {
        Some(id) => failure.hint(format!("did you mean {id}?")),
        None => failure.hint("numerus status --all lists every job"),
    }
}

/// The id that is most like the prefix, if any is like it at all.
fn nearest<'a>(ids: &[&'a JobId], prefix: &str) -> Option<&'a JobId> {
    let distance = |id: &JobId| {
        let front: String = id.as_str().chars().take(prefix.chars().count()).collect();
        let whole = strsim::damerau_levenshtein(id.as_str(), prefix);
        strsim::damerau_levenshtein(&front, prefix).min(whole)
    };
    let near = ids.iter().map(|id| (distance(id), *id)).min()?;
    (near.0 <= 2 && near.0 < prefix.chars().count()).then_some(near.1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::fsx;

    fn root() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().expect("scratch");
        let root = Root::new(dir.path());
        for folder in ["incoming", "claimed", "done", "failed", "killed", "rejected"] {
            fsx::make_dirs(&root.spool().join(folder)).expect("spool");
        }
        (dir, root)
    }

    fn put(root: &Root, path: &str) {
        fsx::put_new(&root.path().join(path), b"").expect("file");
    }

    #[test]
    fn a_job_is_found_wherever_it_is() {
        let (_dir, root) = root();
        put(&root, "spool/incoming/new-abc234.json");
        put(&root, "spool/incoming/.hidden-abc234.json");
        put(&root, "spool/incoming/by hand.md");
        put(&root, "spool/failed/gone-abc234.md");
        put(&root, "spool/done/kept-abc234.md");
        put(&root, "spool/rejected/bad-abc234.json.reason.json");
        put(&root, "spool/rejected/bad-abc234.json");
        fsx::make_dirs(&root.runs().join("kept-abc234")).expect("run");
        let at = |prefix| find(&root, prefix).map(|k| k.at);
        let incoming = root.spool().join("incoming/new-abc234.json");
        assert_eq!(at("new"), Ok(Whereabouts::Incoming(incoming)));
        assert_eq!(at("gone-abc234"), Ok(Whereabouts::Ended(JobPhase::Failed)));
        assert_eq!(at("ke"), Ok(Whereabouts::Run));
        let reason = root.spool().join("rejected/bad-abc234.json.reason.json");
        assert_eq!(at("bad"), Ok(Whereabouts::Rejected(reason)));
        assert_eq!(all(&root).expect("all").len(), 4);
        let file = |name| dropped(&root, name);
        let (by_hand, like) =
            (root.spool().join("incoming/by hand.md"), |n| dropped_like(&root, n));
        assert_eq!(file("by hand.md"), Some(by_hand.clone()));
        assert_eq!([like("by hand.md"), like("by hand")], [Some(by_hand.clone()), Some(by_hand)]);
        put(&root, "spool/incoming/by hand.txt");
        assert_eq!([like("by hand"), like("by")], [None, None], "two have it, and none");
        for none in ["by hand", "new-abc234.json", ".hidden-abc234.json", "../done", "", "."] {
            assert_eq!(file(none), None, "{none}");
        }
    }

    #[test]
    fn a_prefix_fits_jobs_or_the_answer_says_which_is_near() {
        let ids: Vec<JobId> = ["fix-login-abc234", "fix-logout-abc234", "zoo-abc234"]
            .iter()
            .map(|t| JobId::parse(t).expect("id"))
            .collect();
        let ids: Vec<&JobId> = ids.iter().collect();
        assert_eq!(fitting(&ids, "fix-logi"), Ok(vec![ids[0]]));
        assert_eq!(fitting(&ids, "z"), Ok(vec![ids[2]]));
        assert_eq!(fitting(&ids, "fix"), Ok(vec![ids[0], ids[1]]));
        let none = fitting(&ids, "fxi-logout").expect_err("none");
        assert_eq!(none.kind, Exit::Unknown);
        assert_eq!(none.hints, ["did you mean fix-logout-abc234?"]);
        let far = fitting(&ids, "quite-else").expect_err("none");
        assert_eq!(far.hints, ["numerus status --all lists every job"]);
        assert_eq!(fitting(&ids, "").expect_err("empty").kind, Exit::Usage);
    }

    #[test]
    fn of_several_of_one_name_the_only_one_that_has_not_ended_is_meant_where_live_ones_are() {
        let (_dir, root) = root();
        put(&root, "spool/failed/fix-abc234.md");
        put(&root, "spool/killed/fix-abc235.md");
        put(&root, "spool/incoming/fix-abc236.json");
        let live = |prefix| find_live(&root, prefix).map(|k| k.job.to_string());
        assert_eq!(live("fix"), Ok("fix-abc236".to_owned()));
        assert_eq!(live("fix-abc234"), Ok("fix-abc234".to_owned()), "a whole id is that job's");
        let refused = find(&root, "fix").expect_err("what ended may be meant");
        assert_eq!(refused.kind, Exit::Usage);
        let candidates = "names 3 jobs: fix-abc234 (failed), fix-abc235 (killed), \
                          fix-abc236 (waits to be taken)";
        assert!(refused.message.contains(candidates), "{refused:?}");
        // One of another name may be meant as well.
        put(&root, "spool/done/fix-it-abc234.md");
        assert_eq!(live("fix").expect_err("two names"), find(&root, "fix").expect_err("several"));
        assert_eq!(live("fix-abc"), Ok("fix-abc236".to_owned()));
        put(&root, "spool/claimed/fix-abc237.md");
        fsx::make_dirs(&root.runs().join("fix-abc237")).expect("run");
        assert!(live("fix-abc").is_err(), "two of them live");
        fsx::make_dirs(&root.runs().join("fix-abc236")).expect("run");
        put(&root, "spool/done/fix-abc237.md");
        assert_eq!(live("fix-abc"), Ok("fix-abc236".to_owned()), "its folder stays when it ends");
    }

    #[test]
    fn a_removed_job_is_told_with_every_copy_that_is_left_of_it() {
        let (_dir, root) = root();
        for name in ["old-abc234.2", "old-abc234.3", ".old-abc235", "notes"] {
            fsx::make_dirs(&root.pruned().join(name)).expect("copy");
        }
        let told = find(&root, "old").expect_err("removed");
        let (dir, kind) = (root.pruned().display().to_string(), told.kind);
        assert_eq!(kind, Exit::Unknown);
        let expected = format!("left of it is in {dir}/old-abc234.2, {dir}/old-abc234.3");
        assert!(told.message.ends_with(&expected), "{told:?}");
    }

    #[test]
    fn a_task_is_named_behind_its_job() {
        assert_eq!(target("a-b").expect("job"), ("a-b", None));
        assert_eq!(target("a-b/t1").expect("task"), ("a-b", TaskId::parse("t1").ok()));
        assert_eq!(target("a-b/").expect("job"), ("a-b", None));
        assert_eq!(target("a/../b").expect_err("path").kind, Exit::Usage);
    }
}
