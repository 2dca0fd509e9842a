//! Where a job stands, read from its files: `status.json`, and the journal where that is missing or broken.

use super::render::{Row, Wait};
use crate::error::Failure;
use crate::jobs;
use crate::logic::idle::Idle;
use crate::model::claim::Verdict;
use crate::model::root::Root;
use crate::model::status::{JobPhase, PauseReason, Status, TaskPhase};
use crate::runs::{JournalReader, Replay, RunFolder, Runs, Want};
use crate::spool::{Place, Spool};

/// A job's state, if its run folder says anything.
pub(super) fn status(folder: &RunFolder) -> Result<Option<Status>, Failure> {
    jobs::status(folder).map_err(|e| Failure::system("read the job", &e))
}

/// What the journal adds up to; `None` where there is no whole job yet.
pub(super) fn derived(folder: &RunFolder) -> Result<Option<Status>, Failure> {
    jobs::derived(folder).map_err(|e| Failure::system("read the job", &e))
}

/// The journal as it stands; an absent one is empty.
pub(super) fn replay(folder: &RunFolder) -> Result<Replay, Failure> {
    JournalReader::read_any(&folder.journal()).map_err(|e| Failure::system("read the journal", &e))
}

/// Reads where a job stands, and whether somebody holds it. The lock is asked first: what a worker wrote before it let go is not
/// missed. Where nobody held what is under way, both are done once more: a worker may have begun in between.
pub(super) fn is_held_around(
    folder: &RunFolder,
    mut read: impl FnMut() -> Result<JobPhase, Failure>,
) -> Result<bool, Failure> {
    let mut look = || {
        let held = folder.is_held();
        let phase = read()?;
        // An end stands whoever holds the job: nobody is waited for behind a lock that cannot be read.
        let held = match held {
            Err(_) if phase.is_final() => false,
            held => held.map_err(|e| Failure::system("look at the worker's lock", &e))?,
        };
        Ok((held, Idle::of(phase, None, held) == Some(Idle::Left)))
    };
    let (held, is_left) = look()?;
    if is_left { Ok(look()?.0) } else { Ok(held) }
}

/// A job as one of its files tells it, with the answer to whether someone works on it.
fn seen(
    folder: &RunFolder,
    read: impl Fn(&RunFolder) -> Result<Option<Status>, Failure>,
) -> Result<Option<Row>, Failure> {
    let mut found = None;
    let held = is_held_around(folder, || {
        found = read(folder)?;
        Ok(found.as_ref().map_or(JobPhase::Queued, |status| status.state))
    })?;
    Ok(found.map(|status| Row { status, held }))
}

/// A job as its status tells it.
pub(super) fn row(folder: &RunFolder) -> Result<Option<Row>, Failure> {
    let Some(mut row) = seen(folder, status)? else { return Ok(None) };
    if row.is_left() {
        // Its writer is gone and may have died before it wrote what the journal says.
        row.status = derived(folder)?.unwrap_or(row.status);
    }
    Ok(Some(rests_if_wished(folder, row)))
}

/// What there is to say of a job whose worker died before it could come to rest, if somebody wishes that: no daemon starts another as
/// long as the wish stands. A wish to end it is stronger.
pub(super) fn left_at_rest(folder: &RunFolder, phase: JobPhase, held: bool) -> Option<String> {
    let is_left = Idle::of(phase, None, held) == Some(Idle::Left);
    let rests = is_left && folder.wants(Want::Paused) && !folder.wants(Want::Killed);
    let lets_go_on = Idle::Rests(Some(PauseReason::User)).command(folder.job());
    lets_go_on.filter(|_| rests).map(|command| {
        format!("paused by a person after its worker had gone: {command} lets it go on")
    })
}

fn rests_if_wished(folder: &RunFolder, mut row: Row) -> Row {
    if let Some(message) = left_at_rest(folder, row.status.state, row.held) {
        let status = &mut row.status;
        status.state = JobPhase::Paused;
        status.reason = Some(PauseReason::User.as_str().to_owned());
        status.message = message;
    }
    row
}

/// A job as its journal tells it: for one that has just been followed to where it stands.
pub(super) fn told(folder: &RunFolder) -> Result<Option<Row>, Failure> {
    Ok(seen(folder, derived)?.map(|row| rests_if_wished(folder, row)))
}

/// The jobs that have not ended, oldest first: those whose files lie in `claimed/`; and a line for each that cannot be looked
/// at: the daemon mends it, and it hides no other.
pub(super) fn live(root: &Root) -> Result<(Vec<Row>, Vec<String>), Failure> {
    let claimed = Spool::of(root).jobs_in(Place::Claimed);
    let (mut rows, mut unseen) = (Vec::new(), Vec::new());
    for (job, _) in claimed.map_err(|e| Failure::system("read the spool", &e))? {
        match row(&Runs::of(root).folder(&job)) {
            Ok(row) => rows.extend(row),
            Err(failure) => unseen.push(format!("{job}: {}", failure.message)),
        }
    }
    rows.sort_by_key(|row| row.status.created_at);
    Ok((rows, unseen))
}

/// Why the blocked tasks of a job wait, from the last verdicts on their claims.
pub(super) fn waits(folder: &RunFolder, status: &Status) -> Vec<Wait> {
    let blocked = status.tasks.iter().filter(|t| t.state == TaskPhase::Blocked);
    let wait = |task: &crate::model::status::TaskStatus| {
        let record = folder.read_claim(&task.id).ok()??;
        let last = record.verdicts.last().filter(|v| v.verdict == Verdict::NoGo)?;
        Some(Wait { task: task.id.clone(), conflicts: last.conflicts.clone() })
    };
    blocked.filter_map(wait).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::ended;
    use crate::model::event::Fact;
    use crate::model::id::JobId;
    use crate::model::job::{Job, Options, Origin};
    use crate::os::fsx;
    use crate::runs::Journal;

    fn job(root: &Root, id: &str, facts: &[Fact]) -> RunFolder {
        fsx::make_dirs(&root.runs()).expect("runs");
        let id = JobId::parse(id).expect("id");
        let folder = Runs::of(root).create(&id).expect("folder");
        let origin = Origin { name: "x".into(), bytes: 1, sha256: String::new(), uid: 0 };
        let created_at = "2026-03-04T05:06:07Z".parse().expect("time");
        let options = Options::default();
        let job =
            Job { version: 1, id: id.clone(), objective: "o".into(), options, origin, created_at };
        folder.put_job(&job).expect("job");
        let (mut journal, _) = Journal::open(&folder.journal(), &id).expect("journal");
        for fact in facts {
            journal.append(fact.clone(), None, created_at).expect("append");
        }
        folder
    }

    fn finished() -> Fact {
        Fact::Finished { state: JobPhase::Killed, reason: "killed".into(), message: String::new() }
    }

    #[test]
    fn a_job_whose_worker_is_gone_rests_where_somebody_wishes_that() {
        let dir = tempfile::tempdir().expect("scratch");
        let begun = Fact::WorkerStarted { pid: 1, start_time: 1, boot_id: String::new() };
        let folder = job(&Root::new(dir.path()), "a-abc234", &[begun]);
        let idle = || row(&folder).expect("row").expect("a job").idle();
        assert_eq!(idle(), Some(Idle::Left));
        crate::cli::seams::wish(&folder, Want::Paused).expect("wish");
        assert_eq!(idle(), Some(Idle::Rests(Some(PauseReason::User))));
        let _worker = folder.try_lock().expect("lock").expect("free");
        assert_eq!(idle(), None, "whoever has it comes to rest in a moment");
    }

    #[test]
    fn a_worker_that_begins_while_its_job_is_read_has_not_gone() {
        let dir = tempfile::tempdir().expect("scratch");
        let folder = job(&Root::new(dir.path()), "a-abc234", &[]);
        let (mut worker, mut looks) = (None, 0);
        let held = is_held_around(&folder, || {
            looks += 1;
            worker = worker.take().or(folder.try_lock().expect("lock"));
            Ok(JobPhase::Planning)
        });
        assert_eq!((held, looks), (Ok(true), 2));
        drop(worker);
        assert_eq!(is_held_around(&folder, || Ok(JobPhase::Planning)), Ok(false), "it has gone");
    }

    #[test]
    fn a_lock_that_cannot_be_read_is_told_but_where_the_job_has_ended() {
        let dir = tempfile::tempdir().expect("scratch");
        let folder = job(&Root::new(dir.path()), "a-abc234", &[]);
        std::os::unix::fs::symlink("/nowhere", folder.worker_lock()).expect("a link");
        let around = |phase| is_held_around(&folder, || Ok(phase));
        assert!(around(JobPhase::Running).is_err_and(|e| e.message.contains("worker's lock")));
        assert_eq!(around(JobPhase::Failed), Ok(false));
        assert!(folder.may_be_held(), "whoever would act does not");
    }

    #[test]
    fn a_broken_status_is_derived_from_the_journal() {
        let dir = tempfile::tempdir().expect("scratch");
        let root = Root::new(dir.path());
        let folder = job(&root, "a-abc234", &[Fact::Claimed { file: "a".into() }, finished()]);
        for broken in [None, Some(""), Some("{\"version\":")] {
            if let Some(text) = broken {
                crate::os::fsx::put(&folder.dir().join("status.json"), text.as_bytes())
                    .expect("status");
            }
            let status = status(&folder).expect("read").expect("a job");
            assert_eq!(status.state, JobPhase::Killed, "{broken:?}");
        }
    }

    #[test]
    fn what_is_told_at_the_end_is_the_journals_word_and_not_a_status_behind_it() {
        let dir = tempfile::tempdir().expect("scratch");
        let folder = job(&Root::new(dir.path()), "a-abc234", &[finished()]);
        let mut behind = status(&folder).expect("read").expect("a job");
        behind.state = JobPhase::Running;
        folder.write_status(&behind).expect("status");
        let _worker = folder.try_lock().expect("lock").expect("free");
        let told = told(&folder).expect("read").expect("a job");
        assert_eq!(told.status.state, JobPhase::Killed);
    }

    #[test]
    fn live_and_ended_jobs_are_told_apart_with_nothing_running() {
        let dir = tempfile::tempdir().expect("scratch");
        let root = Root::new(dir.path());
        job(&root, "a-abc234", &[finished()]);
        job(&root, "b-abc234", &[]);
        fsx::make_dirs(&root.spool().join("killed")).expect("spool");
        fsx::make_dirs(&root.store()).expect("store");
        fsx::make_dirs(&root.spool().join("claimed")).expect("spool");
        fsx::put_new(&root.spool().join("claimed/b-abc234.md"), b"").expect("file");
        fsx::put_new(&root.spool().join("killed/a-abc234.md"), b"").expect("file");
        let ids = |rows: Vec<Row>| -> Vec<String> {
            rows.into_iter().map(|r| r.status.job_id.to_string()).collect()
        };
        assert_eq!(ids(live(&root).expect("live").0), ["b-abc234"]);
        for _with_and_without_index in 0..2 {
            let recent = |most| ended::recent(&root, most).map(|(rows, more)| (ids(rows), more));
            assert_eq!(recent(10).expect("recent"), (vec!["a-abc234".to_owned()], 0));
            assert_eq!(recent(0).expect("recent"), (Vec::new(), 1));
            assert_eq!(ids(ended::all(&root).expect("all")), ["a-abc234"]);
        }
    }
}
