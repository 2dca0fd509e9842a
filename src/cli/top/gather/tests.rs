//! What is read, from files laid out by hand.

use super::*;
use crate::model::event::Fact;
use crate::model::job::{Options, Origin};
use crate::os::fsx;
use crate::runs::Journal;

fn lay_out(root: &Root, id: &str, place: &str, facts: &[Fact]) -> RunFolder {
    let id = JobId::parse(id).expect("id");
    let folder = Runs::of(root).create(&id).expect("folder");
    let origin = Origin { name: "x".into(), bytes: 1, sha256: String::new(), uid: 0 };
    let created_at = "2026-03-04T05:06:07Z".parse().expect("time");
    let (objective, options) = ("o".to_owned(), Options::default());
    let job = Job { version: 1, id: id.clone(), objective, options, origin, created_at };
    folder.put_job(&job).expect("job");
    let (mut journal, _) = Journal::open(&folder.journal(), &id).expect("journal");
    for fact in facts {
        journal.append(fact.clone(), None, created_at).expect("append");
    }
    fsx::put_new(&root.spool().join(place).join(format!("{id}.md")), b"").expect("file");
    folder
}

fn started() -> [Fact; 2] {
    let boot_id = "b".to_owned();
    [Fact::Claimed { file: "x".into() }, Fact::WorkerStarted { pid: 1, start_time: 1, boot_id }]
}

fn finished() -> Fact {
    Fact::Finished { state: JobPhase::Failed, reason: "r".into(), message: "it broke".into() }
}

#[test]
fn live_jobs_come_first_and_ended_ones_are_counted_when_one_more_has_ended() {
    let dir = tempfile::tempdir().expect("scratch");
    let root = Root::new(dir.path());
    Spool::of(&root).create().expect("spool");
    fsx::make_dirs(&root.runs()).expect("runs");
    fsx::make_dirs(&root.store()).expect("store");
    lay_out(&root, "old-abc234", "failed", &[started().to_vec(), vec![finished()]].concat());
    lay_out(&root, "later-abc234", "claimed", &started()[..1]);
    let busy = lay_out(&root, "busy-abc234", "claimed", &started());
    let lock = busy.try_lock().expect("lock").expect("free");
    let (mut wakes, mut screen) = (Wakes::new(), Screen::default());
    let mut gatherer = Gatherer::new(&root, View::plain(80, "2026-03-04T05:06:17Z"));
    let mut look = |screen: &mut Screen| {
        let overview = gatherer.look(&mut wakes, screen).expect("look");
        screen.read(overview);
        let jobs = screen.overview.jobs.iter();
        jobs.map(|b| format!("{} {}", b.status.job_id, b.doing.1)).collect::<Vec<_>>()
    };
    assert_eq!(
        look(&mut screen),
        [
            "busy-abc234 looks at the workspace",
            "later-abc234 no worker has begun yet",
            "old-abc234 it broke"
        ]
    );
    assert!(!screen.overview.daemon);
    let counts = vec![(1, "running"), (1, "queued"), (1, "failed")];
    assert_eq!(screen.overview.counts, counts);
    look(&mut screen);
    assert_eq!(screen.overview.log[0].1, "05:06:07  taken from the spool");

    drop(lock);
    let (mut journal, _) = Journal::open(&busy.journal(), busy.job()).expect("journal");
    journal.append(finished(), None, "2026-03-04T05:06:09Z".parse().expect("time")).expect("end");
    let (from, to) = (root.spool().join("claimed"), root.spool().join("failed"));
    fsx::move_to(&from.join("busy-abc234.md"), &to.join("busy-abc234.md")).expect("moved");
    let status = snapshot::derived(&busy).expect("read").expect("a job");
    Index::open(&root.store()).and_then(|mut index| index.record(&status)).expect("index");
    assert_eq!(
        look(&mut screen).first().map(String::as_str),
        Some("later-abc234 no worker has begun yet")
    );
    assert_eq!(screen.overview.counts, [(0, "running"), (1, "queued"), (2, "failed")]);
}

#[test]
fn what_waits_or_has_ended_takes_no_watch() {
    let dir = tempfile::tempdir().expect("scratch");
    let root = Root::new(dir.path());
    Spool::of(&root).create().expect("spool");
    fsx::make_dirs(&root.runs()).expect("runs");
    fsx::make_dirs(&root.store()).expect("store");
    for n in 100..130 {
        lay_out(&root, &format!("later-{n}-abc234"), "claimed", &started()[..1]);
    }
    let busy = lay_out(&root, "busy-abc234", "claimed", &started());
    let _lock = busy.try_lock().expect("lock").expect("free");
    let (mut wakes, mut screen) = (Wakes::new(), Screen::default());
    let mut gatherer = Gatherer::new(&root, View::plain(80, "2026-03-04T05:06:17Z"));
    let mut watched_runs = || {
        let overview = gatherer.look(&mut wakes, &screen).expect("look");
        screen.read(overview);
        let jobs = wakes.watched().filter(|path| path.parent() == Some(&root.runs()));
        jobs.map(Path::to_owned).collect::<Vec<_>>()
    };
    watched_runs();
    assert_eq!(watched_runs(), [busy.dir()], "the selected one, which is at work");
    fsx::move_to(
        &root.spool().join("claimed/busy-abc234.md"),
        &root.spool().join("failed/busy-abc234.md"),
    )
    .expect("moved");
    watched_runs();
    let left = watched_runs();
    assert!(left.len() <= 1 && !left.contains(&busy.dir().to_owned()), "{left:?}");
}
