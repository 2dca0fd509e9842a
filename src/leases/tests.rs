//! One process, many handles: places in the queue, the dead, garbage. Many processes are in `tests/leases.rs`.

use super::*;
use crate::model::claim::{ClaimPath, Mode};
use crate::model::id::{JobId, TaskId};
use crate::os::watch::Watch;

fn holder(task: &str) -> Holder {
    Holder { job: JobId::parse("job-abc234").expect("id"), task: TaskId::parse(task).expect("id") }
}

fn writes(paths: &[&str]) -> Claim {
    let path = |p: &&str| ClaimPath::file(*p);
    Claim { reads: Vec::new(), writes: paths.iter().map(path).collect() }
}

/// A judge for whom only equal paths of other tasks conflict: held ones, and waiting ones that are older.
fn plain(claim: &LeaseFile, others: &[LeaseFile]) -> Vec<Conflict> {
    let counts = |o: &&LeaseFile| o.state == LeaseState::Held || o.ticket < claim.ticket;
    let clash = |o: &LeaseFile| {
        let shared = o.claim.writes.iter().find(|w| claim.claim.writes.contains(w))?;
        Some(Conflict { path: shared.path.clone(), mode: Mode::Write, held_by: o.holder.clone() })
    };
    others.iter().filter(counts).filter_map(clash).collect()
}

fn folder() -> (tempfile::TempDir, Leases) {
    let dir = tempfile::tempdir().expect("scratch");
    let leases = Leases::open(&dir.path().join("a/leases")).expect("open");
    (dir, leases)
}

fn ask(leases: &Leases, task: &str, paths: &[&str]) -> Pending {
    leases.request(holder(task), 1, writes(paths), "/root").expect("request")
}

fn go(pending: &mut Pending) -> Lease {
    match pending.judge(&plain).expect("judge") {
        Judgement::Go(lease) => lease,
        Judgement::NoGo(no_go) => panic!("{no_go:?}"),
    }
}

fn no_go(pending: &mut Pending) -> NoGo {
    match pending.judge(&plain).expect("judge") {
        Judgement::Go(lease) => panic!("{lease:?}"),
        Judgement::NoGo(no_go) => no_go,
    }
}

fn in_way(why: &NoGo) -> Vec<PathBuf> {
    why.doubtful().map(Path::to_owned).collect()
}

/// A lease file as a dead process leaves it: there, and locked by nobody.
fn leave_dead(leases: &Leases, task: &str, state: LeaseState, paths: &[&str]) -> LeaseFile {
    let file = LeaseFile {
        version: 1,
        holder: holder(task),
        attempt: 1,
        ticket: 1,
        state,
        claim: writes(paths),
        root: String::new(),
    };
    let path = leases.path_of(&file.holder, 1);
    fsx::put_new(&path, &serde_json::to_vec(&file).expect("json")).expect("put");
    file
}

#[test]
fn a_claim_waits_for_a_lease_and_gets_it_when_that_is_released() {
    let (_dir, leases) = folder();
    let mut first = ask(&leases, "t1", &["a"]);
    let mut second = ask(&leases, "t2", &["a", "b"]);
    let lease = go(&mut first);
    assert_eq!((lease.file().state, lease.file().ticket), (LeaseState::Held, 1));
    let why = no_go(&mut second);
    assert_eq!(why.conflicts[0].held_by, holder("t1"));
    assert_eq!(in_way(&why), [leases.dir().join("job-abc234.t1.1.json")]);
    assert_eq!(why.dead, []);
    lease.release().expect("release");
    assert_eq!(go(&mut second).file().ticket, 2);
    assert!(leases.survey().expect("survey").seen.is_empty(), "a dropped lease is released");
}

#[test]
fn a_younger_claim_does_not_overtake_and_a_withdrawn_one_does_not_block() {
    let (_dir, leases) = folder();
    let _held = go(&mut ask(&leases, "t1", &["a"]));
    let mut older = ask(&leases, "t2", &["a", "b"]);
    let mut younger = ask(&leases, "t3", &["b"]);
    no_go(&mut older);
    assert_eq!(no_go(&mut younger).conflicts[0].held_by, holder("t2"));
    drop(older);
    go(&mut younger);
}

#[test]
fn a_granted_claim_is_not_judged_again_and_a_living_one_not_asked_twice() {
    let (_dir, leases) = folder();
    let mut pending = ask(&leases, "t1", &["a"]);
    let twice = leases.request(holder("t1"), 1, writes(&["z"]), "/root");
    assert!(matches!(twice, Err(LeaseError::Taken { .. })), "{twice:?}");
    let lease = go(&mut pending);
    assert!(matches!(pending.judge(&plain), Err(LeaseError::NotWaiting(_))));
    drop(pending);
    assert!(lease.standing.lock.is_current(), "the lease outlives the claim it came from");
}

#[test]
fn a_dead_holders_lease_counts_until_it_is_buried() {
    let (_dir, leases) = folder();
    let dead = leave_dead(&leases, "t1", LeaseState::Held, &["a"]);
    leave_dead(&leases, "t3", LeaseState::Waiting, &["a"]);
    let mut pending = ask(&leases, "t2", &["a"]);
    let why = no_go(&mut pending);
    assert_eq!((why.dead.as_slice(), in_way(&why).len()), ([dead.clone()].as_slice(), 0));
    assert_eq!(why.conflicts.len(), 1, "the dead one's waiting claim is swept away");
    assert!(leases.bury(&dead, &|| false).expect("bury"));
    assert!(!leases.bury(&dead, &|| false).expect("bury"), "buried once");
    let lease = go(&mut pending);
    assert!(!leases.bury(lease.file(), &|| false).expect("bury"), "the living are not buried");
    assert!(lease.standing.lock.is_current());
}

#[test]
fn what_a_dead_worker_began_is_finished_only_while_its_lease_stands() {
    let (_dir, leases) = folder();
    let dead = leave_dead(&leases, "t1", LeaseState::Held, &["a"]);
    let waiting = leave_dead(&leases, "t3", LeaseState::Waiting, &["b"]);
    let finish = |file: &LeaseFile| {
        let guarded = || {
            // Nobody buries or is granted anything meanwhile.
            assert!(lock::is_held(&leases.dir().join(".lock")).expect("lock"));
            7
        };
        leases.while_standing(&file.holder, file.attempt, guarded).expect("look")
    };
    assert_eq!(finish(&dead), Some(7));
    assert_eq!(finish(&waiting), None, "it was never granted");
    assert!(!leases.bury(&dead, &|| true).expect("bury"), "somebody has taken up that job");
    assert_eq!(finish(&dead), Some(7));
    assert!(leases.bury(&dead, &|| false).expect("bury"));
    assert_eq!(finish(&dead), None);
}

#[test]
fn a_job_that_starts_again_replaces_its_own_dead_claim() {
    let (_dir, leases) = folder();
    leave_dead(&leases, "t1", LeaseState::Held, &["a"]);
    let mut again = ask(&leases, "t1", &["b"]);
    go(&mut again);
}

#[test]
#[expect(clippy::disallowed_methods, reason = "somebody else's copy")]
fn garbage_is_set_aside_and_a_held_file_that_cannot_be_read_stops_the_judging() {
    let (_dir, leases) = folder();
    let wrong_name = leases.dir().join("other-abc234.t1.1.json");
    let real = leave_dead(&leases, "t1", LeaseState::Held, &["a"]);
    std::fs::copy(leases.path_of(&real.holder, 1), &wrong_name).expect("copy");
    for (name, bytes) in [("x.json", "{"), ("y.json", ""), ("z.json", "[1]"), ("note.txt", "hi")] {
        fsx::put_new(&leases.dir().join(name), bytes.as_bytes()).expect("put");
    }
    std::os::unix::fs::symlink("/etc/passwd", leases.dir().join("l.json")).expect("link");
    std::fs::create_dir(leases.dir().join("d.json")).expect("folder");
    let survey = leases.survey().expect("survey");
    assert_eq!((survey.seen.len(), survey.garbage.len()), (1, 6));
    assert!(survey.garbage.contains(&leases.dir().join(".bad-x.json")));
    assert!(leases.survey().expect("again").garbage.is_empty(), "reported once");

    let mut pending = ask(&leases, "t2", &["b"]);
    let held = leases.dir().join("newer.json");
    fsx::put_new(&held, b"{\"version\":99}").expect("put");
    let lock = FileLock::try_acquire(&held).expect("lock").expect("free");
    assert!(matches!(pending.judge(&plain), Err(LeaseError::Unreadable(_))));
    drop(lock);
    go(&mut pending);
}

#[test]
fn an_amendment_is_judged_against_leases_alone_and_never_waits() {
    let (_dir, leases) = folder();
    let _in_the_way = go(&mut ask(&leases, "t5", &["d"]));
    let mut older = ask(&leases, "t6", &["b", "d"]);
    no_go(&mut older);
    let mut lease = go(&mut ask(&leases, "t1", &["a"]));
    let other = go(&mut ask(&leases, "t2", &["c"]));
    let mut waiting = ask(&leases, "t3", &["a", "b"]);
    no_go(&mut waiting);
    assert!(lease.amend(writes(&["c"]), &plain).expect("amend").is_some());
    assert_eq!(lease.file().claim, writes(&["a"]));
    assert_eq!(lease.amend(writes(&["b"]), &plain).expect("amend"), None);
    assert_eq!(lease.file().claim, writes(&["a", "b"]));
    let mut late = ask(&leases, "t4", &["b"]);
    assert!(no_go(&mut late).conflicts.iter().any(|c| c.held_by == holder("t1")));
    drop(other);
}

#[test]
fn half_written_files_are_cleared_away_at_the_next_opening() {
    let (_dir, leases) = folder();
    fsx::put_new(&leases.dir().join(".abc.tmp"), b"{").expect("put");
    Leases::open(leases.dir()).expect("open again");
    assert_eq!(fsx::list(leases.dir()).expect("list"), [".lock"]);
}

#[test]
fn what_goes_or_dies_is_news_for_who_waits_and_what_comes_is_none() {
    let (_dir, leases) = folder();
    let (here, gone) = ("a-abc234.t1.1.json", "a-abc234.t2.1.json");
    fsx::put_new(&leases.dir().join(here), b"{").expect("put");
    let others: &[&str] = &[".lock", ".abc.tmp", ".bad-a.t1.1.json", "note.txt", "json"];
    for (names, change, expected) in [
        (&[][..], Change::Other, News::Lost),
        (&[""], Change::Other, News::Lost),
        (others, Change::Closed, News::None),
        (others, Change::Other, News::None),
        (&[".lock", here], Change::Closed, News::Closed(leases.dir().join(here))),
        (&[here], Change::Renamed, News::None),
        (&[".abc.tmp", here], Change::Other, News::None),
        (&[here, gone], Change::Other, News::None),
        (&[gone], Change::Closed, News::Closed(leases.dir().join(gone))),
        (&[gone], Change::Removed, News::Release),
        (&[here], Change::Removed, News::Release),
        (others, Change::Removed, News::None),
    ] {
        let paths = names.iter().map(|name| leases.dir().join(name)).collect();
        assert_eq!(leases.news(&Hint { paths, change }), expected, "{names:?} {change:?}");
    }
}

#[test]
fn only_exactly_the_dead_file_is_buried() {
    let (_dir, leases) = folder();
    let dead = leave_dead(&leases, "t1", LeaseState::Held, &["a"]);
    let earlier = LeaseFile { ticket: 0, ..dead.clone() };
    assert!(!leases.bury(&earlier, &|| false).expect("bury"), "another claim of the same attempt");
    let lock =
        FileLock::try_acquire(&leases.path_of(&dead.holder, 1)).expect("lock").expect("free");
    assert!(!leases.bury(&dead, &|| false).expect("bury"), "it lives after all");
    assert!(leases.survey().expect("survey").seen.iter().all(|seen| seen.is_alive));
    drop(lock);
    assert!(leases.bury(&dead, &|| false).expect("bury"));
    assert_eq!(leases.survey().expect("survey").seen, []);
}

#[test]
fn a_claim_stands_behind_all_that_are_there_and_is_withdrawn_when_dropped() {
    let (_dir, leases) = folder();
    let tasks = ["t3", "t1", "t2"];
    let mut all: Vec<Pending> = tasks.iter().map(|task| ask(&leases, task, &["a"])).collect();
    let seen = leases.survey().expect("survey").seen;
    let order: Vec<_> = seen.iter().map(|s| (s.file.holder.clone(), s.file.ticket)).collect();
    assert_eq!(order, [(holder("t3"), 1), (holder("t1"), 2), (holder("t2"), 3)]);
    assert_eq!(all[1].file().map(|f| (f.ticket, f.state)), Some((2, LeaseState::Waiting)));
    let why = no_go(&mut all[2]);
    let paths = ["t3", "t1"].map(|task| leases.path_of(&holder(task), 1));
    assert_eq!((in_way(&why).as_slice(), why.dead.len()), (&paths[..], 0));
    let lease = go(&mut all[0]);
    assert_eq!((lease.file().state, lease.file().ticket), (LeaseState::Held, 1));
    assert!(lease.is_current() && all[0].file().is_none());
    drop(all);
    assert_eq!(leases.survey().expect("survey").seen.len(), 1, "the lease alone is left");
    lease.release().expect("release");
    assert!(!lease.is_current());
    assert_eq!(leases.survey().expect("survey").seen, []);
}

#[test]
fn of_a_crowd_that_wants_the_same_only_those_whose_turn_is_near_are_judged_again() {
    const CROWD: usize = 30;
    let (_dir, leases) = folder();
    let names: Vec<String> = (0..CROWD).map(|n| format!("t{n}")).collect();
    let mut all: Vec<Pending> = names.iter().map(|task| ask(&leases, task, &["a"])).collect();
    let held = go(&mut all[0]);
    let mut whys: Vec<NoGo> = all[1..].iter_mut().map(no_go).collect();
    assert!(whys.iter().all(|why| !why.may_have_changed()), "nobody has gone");
    held.release().expect("release");
    let may = |whys: &[NoGo]| whys.iter().take_while(|why| why.may_have_changed()).count();
    let after = |whys: &[NoGo]| whys.iter().skip(may(whys)).any(NoGo::may_have_changed);
    assert_eq!((may(&whys), after(&whys)), (9, false), "who has eight or fewer left in the way");
    // However long the others were not judged, each one's turn comes.
    for (n, (claim, why)) in all[1..].iter_mut().zip(&mut whys).enumerate() {
        assert!(why.may_have_changed(), "claim {n}");
        go(claim).release().expect("release");
    }
}

#[test]
fn a_burial_by_somebody_else_is_a_change() {
    let (_dir, leases) = folder();
    let dead = leave_dead(&leases, "t1", LeaseState::Held, &["a", "b"]);
    let mut pending = ask(&leases, "t2", &["b"]);
    let why = no_go(&mut pending);
    assert!(!why.may_have_changed());
    assert!(leases.bury(&dead, &|| false).expect("bury"));
    assert!(why.may_have_changed());
    go(&mut pending);
}

#[test]
fn a_lease_that_went_and_waits_again_with_the_same_ticket_is_another() {
    let (_dir, leases) = folder();
    let _held = go(&mut ask(&leases, "t0", &["c"]));
    let mut waiting = ask(&leases, "t2", &["a", "c"]);
    let mut late = go(&mut ask(&leases, "t1", &["b"]));
    assert_eq!(late.amend(writes(&["a"]), &plain).expect("amend"), None);
    let ticket = late.file().ticket;
    let why = no_go(&mut waiting);
    assert_eq!(in_way(&why).len(), 2);
    drop(late);
    let again = ask(&leases, "t1", &["a"]);
    assert_eq!(again.file().expect("waits").ticket, ticket);
    assert!(why.may_have_changed());
}

#[test]
fn who_asks_again_over_its_own_dead_claim_is_heard_of_as_one_that_has_gone() {
    let (_dir, leases) = folder();
    leave_dead(&leases, "t1", LeaseState::Waiting, &["a"]);
    let (tell, heard) = std::sync::mpsc::channel();
    let of = leases.clone();
    let mut watch = Watch::new(move |hint| drop(tell.send(of.news(&hint)))).expect("a watch");
    watch.add(leases.dir()).expect("watched");
    let _again = ask(&leases, "t1", &["a"]);
    let news = || heard.recv_timeout(std::time::Duration::from_secs(20)).expect("news");
    while news() != News::Release {}
}

#[test]
fn what_was_released_is_not_taken_for_what_died() {
    let (_dir, leases) = folder();
    let held = go(&mut ask(&leases, "t1", &["a"]));
    let path = leases.path_of(&holder("t1"), 1);
    assert!(!Leases::is_free(&path), "it lives");
    drop(held);
    assert!(!Leases::is_free(&path), "it is gone");
    leave_dead(&leases, "t1", LeaseState::Held, &["a"]);
    assert!(Leases::is_free(&path), "it has died");
}

#[test]
fn a_claim_whose_own_file_was_taken_away_is_judged() {
    let (_dir, leases) = folder();
    let _older = ask(&leases, "t1", &["a"]);
    let mut younger = ask(&leases, "t2", &["a"]);
    let why = no_go(&mut younger);
    fsx::remove(&leases.path_of(&holder("t2"), 1)).expect("remove");
    assert!(why.may_have_changed());
    assert!(matches!(younger.judge(&plain), Err(LeaseError::NotWaiting(_))));
}

#[test]
fn one_in_the_way_that_comes_again_under_its_name_is_another() {
    let (_dir, leases) = folder();
    let older = ask(&leases, "t1", &["a"]);
    let mut younger = ask(&leases, "t2", &["a"]);
    let why = no_go(&mut younger);
    assert!(!why.may_have_changed());
    drop(older);
    let _behind = ask(&leases, "t1", &["a"]);
    assert!(why.may_have_changed());
}

#[test]
fn a_file_that_was_put_in_a_leases_place_is_not_taken_away_with_it() {
    let (_dir, leases) = folder();
    let lease = go(&mut ask(&leases, "t1", &["a"]));
    let path = leases.path_of(&holder("t1"), 1);
    fsx::put(&path, b"somebody else's").expect("put");
    lease.release().expect("release");
    drop(lease);
    assert!(path.exists());
}
