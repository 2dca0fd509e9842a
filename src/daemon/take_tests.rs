//! Taking, on a scratch root.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use jiff::Timestamp;
use rustix::fs::{CWD, FileType, mknodat};

use super::*;
use crate::ending::Held;
use crate::model::rejection::Code;
use crate::os::digest;
use crate::runs::Want;

fn desk() -> (tempfile::TempDir, Desk) {
    let d = tempfile::tempdir().expect("scratch");
    let root = Root::new(d.path());
    let desk = Desk::new(&root, Settings::default());
    desk.spool.create().expect("spool");
    fsx::make_dirs(desk.runs.dir()).expect("runs");
    (d, desk)
}

fn incoming(desk: &Desk, name: impl AsRef<OsStr>) -> PathBuf {
    desk.spool.folder(Place::Incoming).join(name.as_ref())
}

fn drop_file(desk: &Desk, name: &str, bytes: &[u8]) -> Taken {
    fsx::put_new(&incoming(desk, name), bytes).expect("drop");
    desk.take(OsStr::new(name), &mut nobody).expect("take")
}

fn accepted(taken: Taken) -> Job {
    match taken {
        Taken::Job(fresh) => fresh.job,
        other => unreachable!("{other:?}"),
    }
}

fn code(taken: &Taken) -> Option<Code> {
    match taken {
        Taken::Rejected { reason, .. } => Some(reason.code),
        Taken::Job(_) | Taken::Gone | Taken::Later(_) => None,
    }
}

#[test]
fn the_job_is_foretold_as_it_will_be_and_a_file_that_becomes_none_is_not() {
    let (_d, desk) = desk();
    let told = |name: &str, content: &[u8]| {
        fsx::put_new(&incoming(&desk, name), content).expect("drop");
        let mut told = Vec::new();
        let mut hear = |job: &Job| {
            assert!(
                desk.runs.folder(&job.id).read_job().expect("read").is_none(),
                "before it is one"
            );
            told.push(job.clone());
        };
        let taken = desk.take(OsStr::new(name), &mut hear).expect("take");
        (told, taken)
    };
    let (told_of, Taken::Job(fresh)) = told("a.md", b"x") else { panic!("no job") };
    assert_eq!(told_of.as_slice(), std::slice::from_ref(&fresh.job));
    assert_eq!(fresh.folder.read_job().expect("read"), Some(fresh.job));
    let (told_of, taken) = told("b.json", b"{");
    assert!(told_of.is_empty() && matches!(taken, Taken::Rejected { .. }));
}

#[test]
fn a_good_file_becomes_a_claimed_job() {
    let (_d, desk) = desk();
    let text = b"---\npriority: 3\n---\nFix it\n";
    let job = accepted(drop_file(&desk, "Fix The Login.md", text));
    assert!(job.id.as_str().starts_with("fix-the-login-"), "{}", job.id);
    assert_eq!((job.options.priority, job.objective.as_str()), (3, "Fix it\n"));
    assert_eq!(job.origin.sha256, digest::sha256_hex(text));
    let (place, path) = desk.spool.find(&job.id).expect("file");
    assert_eq!((place, std::fs::read(path).expect("bytes")), (Place::Claimed, text.to_vec()));
    let folder = desk.runs.folder(&job.id);
    assert_eq!(folder.read_job().expect("job.json"), Some(job.clone()));
    assert_eq!(folder.read_status().expect("status").state, JobPhase::Queued);
    assert!(!folder.is_held().expect("probe"), "the lock is free again");
    let (_, replay) = Journal::open(&folder.journal(), &job.id).expect("journal");
    let names: Vec<String> = replay.events.iter().map(|e| e.fact.name()).collect();
    assert_eq!(names, ["job.submitted", "job.claimed"]);
    assert!(desk.spool.incoming().expect("scan").next().is_none());
}

#[test]
fn each_bad_file_is_put_aside_with_its_reason_and_leaves_no_run() {
    let (_d, desk) = desk();
    let big = vec![b'x'; 512 * 1024 + 1];
    for (name, bytes, expected) in [
        ("empty.md", &b""[..], Code::Empty),
        ("utf8.txt", b"a\xff", Code::Utf8),
        ("nul", b"a\0b", Code::Nul),
        ("big.md", &big, Code::TooLarge),
        ("front.md", b"---\na: [\n---\nx", Code::Syntax),
        ("bad.json", b"{", Code::Syntax),
        ("key.md", b"---\nprioritty: 1\n---\nx", Code::Field),
        ("type.json", br#"{"objective": "x", "priority": "high"}"#, Code::Field),
        ("path.md", b"---\nworkspace: /etc\n---\nx", Code::Path),
        ("gone.md", b"---\nworkspace: /nonexistent/x\n---\nx", Code::Path),
        ("policy.md", b"---\nsandbox: danger-full-access\n---\nx", Code::Policy),
        ("after.md", b"---\nafter: nobody\n---\nx", Code::After),
    ] {
        let taken = drop_file(&desk, name, bytes);
        assert_eq!(code(&taken), Some(expected), "{name}: {taken:?}");
        let kept = desk.spool.folder(Place::Rejected).join(name);
        assert_eq!(std::fs::read(&kept).expect("kept"), bytes, "{name}");
        let beside = kept.with_file_name(format!("{name}.reason.json"));
        let reason = fsx::read_optional(&beside).expect("read").expect("there");
        assert!(reason.contains(expected.as_str()), "{name}: {reason}");
    }
    assert_eq!(desk.runs.jobs().expect("runs"), []);
    assert_eq!(desk.spool.jobs_in(Place::Claimed).expect("claimed"), []);
}

#[test]
fn what_is_no_file_is_moved_aside_unopened() {
    let (d, desk) = desk();
    let secret = d.path().join("secret");
    fsx::put_new(&secret, b"secret").expect("secret");
    std::os::unix::fs::symlink(&secret, incoming(&desk, "link.md")).expect("link");
    std::os::unix::fs::symlink("loop.md", incoming(&desk, "loop.md")).expect("loop");
    fsx::make_dirs(&incoming(&desk, "folder.md").join("inner")).expect("folder");
    mknodat(CWD, incoming(&desk, "fifo.md"), FileType::Fifo, 0o600.into(), 0).expect("fifo");
    let socket = std::os::unix::net::UnixListener::bind(incoming(&desk, "socket")).expect("bind");
    for name in ["link.md", "loop.md", "folder.md", "fifo.md", "socket"] {
        let taken = desk.take(OsStr::new(name), &mut nobody).expect("take");
        assert_eq!(code(&taken), Some(Code::NotRegular), "{name}");
        let kept = desk.spool.folder(Place::Rejected).join(name);
        assert!(std::fs::symlink_metadata(&kept).is_ok(), "{name} is kept");
    }
    drop(socket);
    assert!(desk.spool.folder(Place::Rejected).join("folder.md/inner").is_dir());
    assert!(desk.spool.incoming().expect("scan").next().is_none());
}

#[test]
fn odd_names_are_only_names() {
    let (_d, desk) = desk();
    for name in [&b"-rf"[..], b"--help.md", b"\xff\xfe", b"a\nb.md", b"..%2f..", &[b'x'; 255]] {
        let name = OsStr::from_bytes(name);
        fsx::put_new(&incoming(&desk, name), b"x").expect("drop");
        accepted(desk.take(name, &mut nobody).expect("take"));
    }
}

#[test]
fn a_file_that_is_gone_is_nothing() {
    let (_d, desk) = desk();
    assert!(matches!(desk.take(OsStr::new("a.md"), &mut nobody), Ok(Taken::Gone)));
    assert_eq!(desk.runs.jobs().expect("runs"), []);
}

#[test]
fn an_id_in_the_name_is_kept_unless_the_job_exists() {
    let (_d, desk) = desk();
    let first = accepted(drop_file(&desk, "fix-abc234.txt", b"x"));
    assert_eq!(first.id.as_str(), "fix-abc234");
    let moved_back = drop_file(&desk, "fix-abc234.txt", b"x");
    assert_eq!(code(&moved_back), Some(Code::Duplicate));
    let folder = desk.runs.folder(&first.id);
    let mut status = folder.read_status().expect("status");
    status.state = JobPhase::Succeeded;
    folder.write_status(&status).expect("as if it had ended");
    desk.spool.end(&first.id, JobPhase::Succeeded).expect("move");
    let second = accepted(drop_file(&desk, "fix-abc234.txt", b"x"));
    assert_ne!(second.id, first.id);
}

#[test]
fn a_lost_job_whose_file_is_dropped_again_is_a_new_job() {
    let (_d, desk) = desk();
    let id = JobId::parse("fix-abc234").expect("id");
    let folder = desk.runs.create(&id).expect("folder");
    let (mut journal, _) = Journal::open(&folder.journal(), &id).expect("journal");
    let (state, reason) = (JobPhase::Failed, "run_lost".to_owned());
    let lost = Fact::Finished { state, reason, message: String::new() };
    journal.append(lost, None, Timestamp::UNIX_EPOCH).expect("append");
    drop(journal);
    let again = accepted(drop_file(&desk, "fix-abc234.json", br#"{"objective": "x"}"#));
    assert_ne!(again.id, id, "the ended job keeps its folder");
    assert!(desk.spool.has(Place::Claimed, &again.id));
}

#[test]
fn a_name_dropped_again_does_not_disturb_the_taking_that_was_cut_short() {
    let (_d, desk) = desk();
    let id = JobId::parse("fix-abc234").expect("id");
    fsx::put_new(&incoming(&desk, "fix-abc234.md"), b"first").expect("drop");
    let folder = desk.runs.create(&id).expect("folder");
    desk.spool.take(OsStr::new("fix-abc234.md"), &id, Format::Markdown).expect("rename");
    let second = accepted(drop_file(&desk, "fix-abc234.md", b"second"));
    assert_ne!(second.id, id);
    fsx::put_new(&incoming(&desk, "fix-abc234.md"), b"third").expect("drop");
    let lock = folder.try_lock().expect("lock").expect("free");
    let first = accepted(desk.take_again(folder, lock).expect("again"));
    assert_eq!((first.id, first.objective.as_str()), (id, "first"));
}

#[test]
fn nothing_of_a_job_has_its_name_before_its_file_is_the_jobs_for_good() {
    let (_d, desk) = desk();
    let job = accepted(drop_file(&desk, "fix.md", b"x"));
    let folder = desk.runs.create(&JobId::parse("b-abc234").expect("id")).expect("folder");
    let lock = folder.try_lock().expect("lock").expect("free");
    folder.begin_taking(&lock).expect("mark");
    let written = || fsx::list(folder.dir()).expect("names");
    let cut = folder.put_job_after(&job, || {
        let names = written();
        assert!(
            names.iter().all(|name| ["taking", "worker.lock"].contains(&name.as_str())
                || fsx::is_temp(Path::new(name))),
            "{names:?}"
        );
        assert_eq!(names.len(), 3, "its bytes are there: {names:?}");
        // As a power cut leaves it.
        fsx::put(&folder.dir().join(".aaaabbbbccccdddd.tmp"), b"{").expect("left");
        Err(Error::other("it was put back"))
    });
    cut.expect_err("it is told");
    assert_eq!(written().len(), 3, "{:?}", written());
    desk.runs.put_away(&lock, folder.job()).expect("put away");
    assert!(!folder.dir().exists() && !desk.runs.dir().join(".aside").exists());
}

#[test]
fn a_folder_that_is_another_s_stays_when_it_cannot_be_used() {
    let (_d, desk) = desk();
    let id = JobId::parse("fix-abc234").expect("id");
    fsx::put_new(&desk.spool.folder(Place::Claimed).join("fix-abc234.md"), b"x").expect("file");
    for is_left in [false, true] {
        if is_left {
            desk.runs.create(&id).expect("folder");
        }
        assert!(matches!(desk.occupy(&id), Ok(Occupied::Taken)));
        assert_eq!(desk.runs.folder(&id).dir().is_dir(), is_left);
    }
}

#[test]
fn whoever_comes_to_the_lock_late_takes_nothing_from_the_one_who_was_there() {
    let (_d, desk) = desk();
    let job = accepted(drop_file(&desk, "fix-abc234.md", b"x"));
    let folder = desk.runs.folder(&job.id);
    let lock = folder.try_lock().expect("lock").expect("free");
    let late = Room { folder: folder.clone(), lock, is_new: true, is_marked: false };
    assert!(matches!(desk.judge(late), Ok(Occupied::Taken)));
    assert!(folder.dir().join("job.json").exists(), "it is a job's");
    // One that was made ahead, was put away, and is another's of that name by now.
    let folder = desk.runs.create(&JobId::parse("b-abc234").expect("id")).expect("folder");
    let lock = folder.try_lock().expect("lock").expect("free");
    let late = Room { folder: folder.clone(), lock, is_new: true, is_marked: true };
    assert!(matches!(desk.judge(late), Ok(Occupied::Ours(_))));
    assert!(folder.is_being_taken(), "it has its mark before a file moves");
}

#[test]
fn what_lies_under_the_name_of_the_mark_and_is_none_is_not_removed_with_the_folder() {
    let (_d, desk) = desk();
    for (job, file) in [("a-abc234", "taking"), ("b-abc234", "taking/thesis")] {
        let folder = desk.runs.create(&JobId::parse(job).expect("id")).expect("folder");
        let path = folder.dir().join(file);
        fsx::make_dirs(path.parent().expect("above")).expect("folder");
        fsx::put(&path, b"kept").expect("put");
        let lock = folder.try_lock().expect("lock").expect("free");
        desk.runs.put_away(&lock, folder.job()).expect("put away");
        let aside = desk.runs.dir().join(".aside");
        let there = fsx::list(&aside).expect("aside");
        let name = there.iter().find(|name| name.starts_with(job)).expect("kept there");
        assert_eq!(
            fsx::read_optional(&aside.join(name).join(file)).expect("read").as_deref(),
            Some("kept")
        );
    }
}

#[test]
fn a_key_is_accepted_once() {
    let (_d, desk) = desk();
    let text = b"---\nkey: nightly\n---\nx";
    let first = accepted(drop_file(&desk, "a.md", text));
    match drop_file(&desk, "b.md", text) {
        Taken::Rejected { reason, .. } => {
            assert_eq!(reason.code, Code::Duplicate);
            assert!(reason.message.contains(first.id.as_str()), "{}", reason.message);
        }
        other => unreachable!("{other:?}"),
    }
}

#[test]
fn a_job_that_waits_says_for_what() {
    let (_d, desk) = desk();
    let first = accepted(drop_file(&desk, "first.md", b"x"));
    let second = accepted(drop_file(&desk, "second.md", b"---\nafter: first\n---\nx"));
    assert_eq!(second.options.after[0].job, first.id.as_str());
    let status = desk.runs.folder(&second.id).read_status().expect("status");
    assert_eq!((status.state, status.reason.as_deref()), (JobPhase::Paused, Some("dependency")));
    let text = b"---\nnot_before: 2999-01-01T00:00:00Z\n---\nx";
    let third = accepted(drop_file(&desk, "third.md", text));
    let status = desk.runs.folder(&third.id).read_status().expect("status");
    assert_eq!(status.reason.as_deref(), Some("not_before"));
    assert_eq!(status.until, third.options.not_before);
}

#[test]
fn a_job_may_wait_for_one_that_was_withdrawn_since() {
    let (_d, desk) = desk();
    fsx::put_new(&desk.spool.folder(Place::Killed).join("gone-abc234.json"), b"x")
        .expect("withdrawn");
    let job = accepted(drop_file(&desk, "second.md", b"---\nafter: gone\n---\nx"));
    assert_eq!(desk.other(&job.options.after[0].job), Other::Badly);
}

#[test]
fn a_taking_that_was_cut_short_is_done_again() {
    let (_d, desk) = desk();
    fsx::put_new(&incoming(&desk, "fix-abc234.md"), b"---\nkey: k\n---\nx").expect("drop");
    let id = JobId::parse("fix-abc234").expect("id");
    let folder = desk.runs.create(&id).expect("folder");
    desk.spool.take(OsStr::new("fix-abc234.md"), &id, Format::Markdown).expect("rename");
    desk.keep_keys().expect("folder");
    assert_eq!(desk.spool.claim_key("k", &id).expect("key"), id);
    let lock = folder.try_lock().expect("lock").expect("free");
    let job = accepted(desk.take_again(folder, lock).expect("again"));
    assert_eq!(job.id, id);
}

#[test]
fn a_taking_that_was_cut_short_between_its_two_lines_is_told_of_once() {
    let (_d, desk) = desk();
    let job = accepted(drop_file(&desk, "fix-abc234.md", b"x"));
    let folder = desk.runs.folder(&job.id);
    let lock = folder.try_lock().expect("lock").expect("free");
    let journal = std::fs::read_to_string(folder.journal()).expect("two lines");
    let first = journal.lines().next().expect("one");
    fsx::put(&folder.journal(), format!("{first}\n").as_bytes()).expect("cut");
    fsx::remove(&folder.dir().join("status.json")).expect("not there yet");
    folder.begin_taking(&lock).expect("still marked");
    accepted(desk.take_again(folder.clone(), lock).expect("again"));
    let journal = std::fs::read_to_string(folder.journal()).expect("two lines");
    assert_eq!(journal.matches("job.submitted").count(), 1, "{journal}");
    assert!(journal.ends_with('\n') && journal.lines().count() == 2, "{journal}");
}

#[test]
fn a_taking_that_was_cut_short_is_seen_through_once_and_only_where_nobody_is_at_it() {
    let (_d, desk) = desk();
    fsx::put_new(&incoming(&desk, "fix-abc234.md"), b"x").expect("drop");
    let id = JobId::parse("fix-abc234").expect("id");
    let folder = desk.runs.create(&id).expect("folder");
    desk.spool.take(OsStr::new("fix-abc234.md"), &id, Format::Markdown).expect("rename");
    let through = || desk.see_through(folder.clone()).expect("looked at");
    assert!(through().is_none(), "without its mark nobody knows how far it got");
    let lock = folder.try_lock().expect("lock").expect("free");
    folder.begin_taking(&lock).expect("mark");
    assert!(through().is_none(), "somebody is at it");
    drop(lock);
    assert_eq!(accepted(through().expect("taken")).id, id);
    assert!(through().is_none(), "it is a job");
}

#[test]
fn whoever_opens_a_job_next_puts_right_what_a_death_after_its_claim_left() {
    let (_d, desk) = desk();
    let job = accepted(drop_file(&desk, "fix-abc234.md", b"mend it"));
    let folder = desk.runs.folder(&job.id);
    let open = || {
        let lock = folder.try_lock().expect("lock").expect("free");
        drop(Held::open(folder.clone(), lock).expect("opened"));
    };
    let lock = folder.try_lock().expect("lock").expect("free");
    folder.begin_taking(&lock).expect("as if it had never gone");
    drop(lock);
    fsx::put(&folder.dir().join("objective.md"), b"").expect("as a power cut leaves it");
    open();
    assert!(!folder.is_being_taken(), "the claim is on disk: no mark is needed");
    assert_eq!(folder.read_objective().as_deref(), Some("mend it"));
    fsx::remove(&folder.dir().join("objective.md")).expect("or so");
    open();
    assert_eq!(folder.read_objective().as_deref(), Some("mend it"));
}

#[test]
fn a_job_that_takes_the_folder_made_ahead_is_marked_until_it_is_one() {
    let (_d, desk) = desk();
    let ino = |path: &Path| std::fs::symlink_metadata(path).expect("there").ino();
    let first = accepted(drop_file(&desk, "first.md", b"x"));
    let provide = || {
        desk.runs.folder(&first.id).provide_next().expect("made ahead");
        ino(&desk.runs.dir().join(".next"))
    };
    let made = provide();
    let id = JobId::parse("next-abc234").expect("id");
    let Occupied::Ours(room) = desk.occupy(&id).expect("occupy") else { unreachable!() };
    assert!(room.is_marked && room.folder.is_being_taken() && ino(room.folder.dir()) == made);
    assert!(room.folder.is_held().expect("held"));
    desk.leave(&room).expect("left");
    assert!(!room.folder.dir().exists(), "nothing was in it");
    let made = provide();
    let job = accepted(drop_file(&desk, "second.md", b"x"));
    let folder = desk.runs.folder(&job.id);
    assert!(ino(folder.dir()) == made && !folder.is_being_taken(), "it is a job");
}

/// A prepared job, and what it is to have.
fn prepared(desk: &Desk) -> (PathBuf, JobId) {
    let [old, new] = ["fix-old234", "fix-new234"].map(|id| JobId::parse(id).expect("id"));
    let path = desk.spool.prepare(&old, &new, br#"{"objective": "x"}"#).expect("prepare");
    (path, new)
}

fn furnish(folder: &RunFolder) -> Result<()> {
    folder.wish(Want::Paused)?;
    folder.put_note(None, "mind the gap").map(drop)
}

#[test]
fn a_prepared_job_has_what_it_is_to_have_before_anybody_may_start_it() {
    let (_d, desk) = desk();
    let (path, new) = prepared(&desk);
    let taken = desk.take_prepared(&path, &new, |folder| {
        assert!(folder.is_held()? && folder.is_being_taken(), "nobody else may touch it");
        assert!(desk.spool.find(&new).is_none(), "and its file is not there yet");
        furnish(folder)
    });
    assert_eq!(accepted(taken.expect("taken")).id, new);
    let folder = desk.runs.folder(&new);
    assert!(folder.wants(Want::Paused) && !folder.is_being_taken());
    assert_eq!(folder.notes(None), ["mind the gap"]);
    assert_eq!(desk.spool.find(&new).expect("file").0, Place::Claimed);
    assert!(!path.exists());
}

#[test]
fn a_prepared_job_that_cannot_be_furnished_stays_where_it_was_prepared() {
    let (_d, desk) = desk();
    let (path, new) = prepared(&desk);
    let full = |folder: &RunFolder| furnish(folder).and(Err(Error::from(ErrorKind::StorageFull)));
    let refused = desk.take_prepared(&path, &new, full).expect_err("no room");
    assert_eq!(refused.kind(), ErrorKind::StorageFull);
    assert!(path.exists() && desk.spool.find(&new).is_none());
    assert_eq!(desk.runs.jobs().expect("runs"), []);
    accepted(desk.take_prepared(&path, &new, furnish).expect("later"));
}

#[test]
fn whoever_dies_over_a_prepared_job_leaves_a_file_that_is_named_or_a_taking_that_is_finished() {
    let (_d, desk) = desk();
    let (path, new) = prepared(&desk);
    let old = JobId::parse("fix-old234").expect("id");
    // Before the file moves: the folder is nobody's job, and the file is told by the old one.
    let folder = desk.runs.create(&new).expect("folder");
    let lock = folder.try_lock().expect("lock").expect("free");
    folder.begin_taking(&lock).expect("mark");
    furnish(&folder).expect("furnish");
    drop(lock);
    assert_eq!(desk.spool.prepared_for(&old), Some((new.clone(), path.clone())));
    // After that: it is taken again, with what it was to have.
    desk.spool.claim_prepared(&path, &new).expect("claim");
    assert_eq!(desk.spool.prepared_for(&old), None);
    let lock = folder.try_lock().expect("lock").expect("free");
    assert_eq!(accepted(desk.take_again(folder.clone(), lock).expect("again")).id, new);
    assert!(folder.wants(Want::Paused), "it rests");
    assert_eq!(folder.notes(None), ["mind the gap"]);
}
