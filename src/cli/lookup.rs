//! Finds jobs by any unique piece of the front of their id, wherever they are: not yet taken, live, ended or rejected.
//! Reads folders only; nothing has to be running.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Result as IoResult};
use std::path::PathBuf;

use crate::error::{Exit, Failure};
use crate::model::id::{JobId, TaskId};
use crate::model::root::Root;
use crate::model::status::JobPhase;
use crate::os::fsx;
use crate::runs::Runs;
use crate::spool::{Place, Spool};

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

/// The names in `incoming/` that may be taken, unsorted; none where there is no spool yet.
pub(super) fn incoming(spool: &Spool) -> IoResult<Vec<String>> {
    match spool.incoming() {
        Err(e) if e.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        names => Ok(names?.filter_map(|name| name.into_string().ok()).collect()),
    }
}

/// The job that a dropped or rejected file's name tells, if `submit` gave it.
fn job_of(name: &str) -> Option<JobId> {
    JobId::from_stem(name.split('.').next().unwrap_or_default())
}

/// Every job of a root, in the order of their ids.
pub(super) fn all(root: &Root) -> Result<Vec<Known>, Failure> {
    gather(root).map_err(|e| Failure::system("read the root", &e))
}

/// Reads the folders in the direction that job files travel, so that one on its way is not missed.
fn gather(root: &Root) -> IoResult<Vec<Known>> {
    let mut known = BTreeMap::new();
    let spool = Spool::of(root);
    for name in incoming(&spool)? {
        let Some(job) = job_of(&name) else { continue };
        known.insert(job, Whereabouts::Incoming(spool.folder(Place::Incoming).join(name)));
    }
    for (name, reason) in spool.rejections()? {
        let Some(job) = job_of(&name.to_string_lossy()) else { continue };
        known.insert(job, Whereabouts::Rejected(reason));
    }
    for phase in JobPhase::FINALS {
        for (job, _) in spool.jobs_in(Place::at_end(phase))? {
            known.insert(job, Whereabouts::Ended(phase));
        }
    }
    for job in Runs::of(root).jobs()? {
        known.insert(job, Whereabouts::Run);
    }
    Ok(known.into_iter().map(|(job, at)| Known { job, at }).collect())
}

/// The files that were not accepted, by the names under which they are kept, each with its reason's path.
pub(super) fn rejections(root: &Root) -> Vec<(String, PathBuf)> {
    let all = Spool::of(root).rejections().unwrap_or_default();
    all.into_iter().map(|(name, reason)| (name.to_string_lossy().into_owned(), reason)).collect()
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
    if let Some(no_root) = no_root(root) {
        return Err(Failure::new(Exit::Unknown, format!("no job is called {prefix:?}: {no_root}"))
            .hint("is --root right, or NUMERUS_ROOT, or the current directory?"));
    }
    let known = all(root)?;
    let ids: Vec<&JobId> = known.iter().map(|k| &k.job).collect();
    let chosen = match choose(&ids, prefix) {
        Err(none) if none.kind == Exit::Unknown => {
            return Err(removed(root, prefix).map_or(none, |job| was_removed(root, &job)));
        }
        chosen => chosen?.clone(),
    };
    let found = known.into_iter().find(|k| k.job == chosen);
    found.ok_or_else(|| unknown(prefix, None))
}

/// The one removed job that a prefix names.
pub(super) fn removed(root: &Root, prefix: &str) -> Option<JobId> {
    let names = fsx::list(&root.store().join("pruned")).unwrap_or_default();
    let jobs: Vec<JobId> = names.iter().filter_map(|name| JobId::parse(name).ok()).collect();
    choose(&jobs.iter().collect::<Vec<_>>(), prefix).ok().cloned()
}

fn was_removed(root: &Root, job: &JobId) -> Failure {
    let copy = root.store().join("pruned").join(job.as_str()).display().to_string();
    Failure::new(Exit::Unknown, format!("{job} was removed; what is left of it is in {copy}"))
        .hint(format!("numerus memory show {job} tells what is remembered of it"))
}

/// What there is to say where the root was never made: an empty one looks the same.
pub(super) fn no_root(root: &Root) -> Option<String> {
    let is_there = root.spool().is_dir() || root.runs().is_dir() || root.store().is_dir();
    (!is_there).then(|| format!("no root at {} yet", root.path().display()))
}

/// The one id that a prefix names; a whole id wins over longer ones.
fn choose<'a>(ids: &[&'a JobId], prefix: &str) -> Result<&'a JobId, Failure> {
    if prefix.is_empty() {
        return Err(
            Failure::usage("the job's name is empty").hint("numerus status --all lists every job")
        );
    }
    if let Some(exact) = ids.iter().find(|id| id.as_str() == prefix) {
        return Ok(exact);
    }
    let matching: Vec<&&JobId> = ids.iter().filter(|id| id.as_str().starts_with(prefix)).collect();
    match matching.as_slice() {
        [one] => Ok(one),
        [] => Err(unknown(prefix, nearest(ids, prefix))),
        several => Err(ambiguous(prefix, several)),
    }
}

fn ambiguous(prefix: &str, several: &[&&JobId]) -> Failure {
    let mut names: Vec<String> = several.iter().take(MOST_NAMED).map(ToString::to_string).collect();
    if several.len() > MOST_NAMED {
        names.push(format!("{} more", several.len() - MOST_NAMED));
    }
    Failure::usage(format!("{prefix:?} names {} jobs: {}", several.len(), names.join(", ")))
        .hint("give more of the id")
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
    }

    #[test]
    fn a_prefix_names_one_job_or_the_answer_says_which() {
        let ids: Vec<JobId> = ["fix-login-abc234", "fix-logout-abc234", "zoo-abc234"]
            .iter()
            .map(|t| JobId::parse(t).expect("id"))
            .collect();
        let ids: Vec<&JobId> = ids.iter().collect();
        assert_eq!(choose(&ids, "fix-logi").map(JobId::as_str), Ok("fix-login-abc234"));
        assert_eq!(choose(&ids, "z").map(JobId::as_str), Ok("zoo-abc234"));
        let several = choose(&ids, "fix").expect_err("two");
        assert_eq!(several.kind, Exit::Usage);
        assert!(several.message.contains("fix-login-abc234, fix-logout-abc234"), "{several:?}");
        let none = choose(&ids, "fxi-logout").expect_err("none");
        assert_eq!(none.kind, Exit::Unknown);
        assert_eq!(none.hints, ["did you mean fix-logout-abc234?"]);
        let far = choose(&ids, "quite-else").expect_err("none");
        assert_eq!(far.hints, ["numerus status --all lists every job"]);
        assert_eq!(choose(&ids, "").expect_err("empty").kind, Exit::Usage);
    }

    #[test]
    fn a_task_is_named_behind_its_job() {
        assert_eq!(target("a-b").expect("job"), ("a-b", None));
        assert_eq!(target("a-b/t1").expect("task"), ("a-b", TaskId::parse("t1").ok()));
        assert_eq!(target("a-b/").expect("job"), ("a-b", None));
        assert_eq!(target("a/../b").expect_err("path").kind, Exit::Usage);
    }
}
