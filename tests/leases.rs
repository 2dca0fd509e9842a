//! Many processes on one lease folder: nobody holds what conflicts, the dead are buried, those who wait go on.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use numerus::leases::{Judgement, Lease, Leases, News, Pending};
use numerus::logic::arbiter;
use numerus::model::claim::{Claim, ClaimPath, Holder, LeaseFile, LeaseState};
use numerus::model::id::{JobId, TaskId};
use numerus::os::{clock, env, fsx, watch::Watch};

/// What a child is to do: `hammer` or `hold`, its name, the scratch folder.
const PART: &str = "NUMERUS_TEST_LEASES";
/// The test that a child enters by.
const CHILDREN: &str = "many_processes_never_hold_what_conflicts_and_go_on_when_one_is_killed";
const ROUNDS: u32 = 10;
const NAMES: [&str; 8] = ["ann", "bob", "cleo", "dan", "eve", "finn", "gus", "hal"];
/// Longer than any test may take: only hints wake.
const NEVER: Duration = Duration::from_secs(290);

/// Claims that conflict in many ways: reads and writes of a folder, a file in it, the whole, something apart.
const CLAIMS: [(&[&str], &[&str]); 7] = [
    (&[], &["a"]),
    (&["A/x"], &[]),
    (&["a"], &["b"]),
    (&[], &["a/x", "c"]),
    (&["b", "c"], &[]),
    (&["c"], &["B/y"]),
    (&[], &[""]),
];

fn claim((reads, writes): (&[&str], &[&str])) -> Claim {
    let path = |p: &&str| ClaimPath::dir(*p);
    Claim { reads: reads.iter().map(path).collect(), writes: writes.iter().map(path).collect() }
}

fn holder(name: &str, round: u32) -> Holder {
    let job = JobId::parse(&format!("{name}-abc234")).unwrap();
    Holder { job, task: TaskId::parse(&format!("t{round}")).unwrap() }
}

/// One line of the shared log; appended in one call, so lines of many processes stay whole and in order.
fn log(scratch: &Path, word: &str, file: &LeaseFile) {
    let mut log = fsx::open_append(&scratch.join("log")).unwrap();
    log.write_all(format!("{word} {}\n", serde_json::to_string(file).unwrap()).as_bytes()).unwrap();
}

/// Waits for GO as a worker does: watch, judge, wait for news; a dead holder is fenced (here: nothing to do) and buried.
fn acquire(scratch: &Path, leases: &Leases, mut pending: Pending) -> Lease {
    let (news, heard) = mpsc::channel();
    let of = leases.clone();
    let mut watch = Watch::new(move |hint| {
        let heard = of.news(&hint);
        if heard != News::None {
            news.send(heard).unwrap_or_default();
        }
    })
    .unwrap();
    watch.add(leases.dir()).unwrap();
    let (mut closed, mut looks) = (BTreeSet::new(), 0);
    loop {
        let no_go = match pending.judge(&arbiter::judge).unwrap() {
            Judgement::Go(lease) => return lease,
            Judgement::NoGo(no_go) => no_go,
        };
        for dead in &no_go.dead {
            log(scratch, "buried", dead);
            leases.bury(dead, &|| false).unwrap();
        }
        if !no_go.dead.is_empty() {
            continue;
        }
        loop {
            let patience = if looks > 0 { Duration::from_millis(10) } else { NEVER };
            match heard.recv_timeout(patience) {
                Ok(News::Closed(path)) => {
                    closed.insert(path);
                    looks = 3;
                }
                Ok(News::Release) if !no_go.may_have_changed() => {}
                Ok(_) => break,
                Err(_) if looks > 0 => looks -= 1,
                Err(e) => panic!("no news: {e}"),
            }
            if closed.iter().any(|path: &PathBuf| Leases::is_free(path)) {
                closed.clear();
                break;
            }
        }
    }
}

fn hammer(scratch: &Path, leases: &Leases, name: &str) {
    let offset: usize = name.bytes().map(usize::from).sum();
    for round in 0..ROUNDS {
        let wish = CLAIMS[(offset + 3 * round as usize) % CLAIMS.len()];
        let pending = leases.request(holder(name, round), 1, claim(wish), "").unwrap();
        let lease = acquire(scratch, leases, pending);
        log(scratch, "got", lease.file());
        clock::pause(Duration::from_micros(300));
        log(scratch, "let-go", lease.file());
        lease.release().unwrap();
    }
}

/// Takes a lease, says so, and holds on until it is killed.
fn hold(scratch: &Path, leases: &Leases, name: &str) {
    let pending = leases.request(holder(name, 0), 1, claim(CLAIMS[3]), "").unwrap();
    let lease = acquire(scratch, leases, pending);
    log(scratch, "got", lease.file());
    fsx::put_new(&scratch.join(name), b"").unwrap();
    std::io::stdin().read_line(&mut String::new()).unwrap();
}

/// What the children of a test run of it: their part, where they were given one.
fn is_part_of_a_child() -> bool {
    let Some(part) = env::var(PART) else { return false };
    let words: Vec<&str> = part.splitn(3, ' ').collect();
    let scratch = Path::new(words[2]);
    let leases = Leases::open(&scratch.join("leases")).unwrap();
    match words[0] {
        "hammer" => hammer(scratch, &leases, words[1]),
        _ => hold(scratch, &leases, words[1]),
    }
    true
}

fn child(part: &str, name: &str, scratch: &Path) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", CHILDREN, "--nocapture"])
        .env(PART, format!("{part} {name} {}", scratch.display()))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

fn child_that_holds(name: &str, scratch: &Path) -> Child {
    let (hint, heard) = mpsc::channel();
    let mut watch = Watch::new(move |h| drop(hint.send(h))).unwrap();
    watch.add(scratch).unwrap();
    let child = child("hold", name, scratch);
    while !scratch.join(name).exists() {
        heard.recv_timeout(NEVER).unwrap();
    }
    child
}

/// Reads the log and fails at the first moment at which two leases were held that exclude each other.
fn check_log(scratch: &Path) -> BTreeMap<String, usize> {
    let log = std::fs::File::open(scratch.join("log")).unwrap();
    let (mut held, mut words) = (Vec::<LeaseFile>::new(), BTreeMap::new());
    for line in BufReader::new(log).lines() {
        let line = line.unwrap();
        let (word, json) = line.split_once(' ').unwrap();
        let file: LeaseFile = serde_json::from_str(json).unwrap();
        *words.entry(word.to_owned()).or_default() += 1;
        if word == "got" {
            assert_eq!(file.state, LeaseState::Held);
            assert_eq!(arbiter::judge(&file, &held), [], "{line}");
            held.push(file);
        } else {
            let is_victim = file.holder.job.as_str().starts_with("victim");
            assert_eq!(word == "buried", is_victim, "only the killed one is buried: {line}");
            held.retain(|h| h.holder != file.holder);
        }
    }
    assert!(held.is_empty(), "{held:?}");
    words
}

#[test]
fn many_processes_never_hold_what_conflicts_and_go_on_when_one_is_killed() {
    if is_part_of_a_child() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let mut victim = child_that_holds("victim", dir.path());
    let mut hammers: Vec<Child> = NAMES.map(|n| child("hammer", n, dir.path())).into();
    // Everybody comes to wait for the victim sooner or later: the last of CLAIMS is the whole workspace.
    let leases = Leases::open(&dir.path().join("leases")).unwrap();
    let (hint, heard) = mpsc::channel();
    let mut watch = Watch::new(move |h| drop(hint.send(h))).unwrap();
    watch.add(leases.dir()).unwrap();
    let waits = |leases: &Leases| {
        let seen = leases.survey().unwrap().seen;
        seen.iter().any(|s| s.file.state == LeaseState::Waiting && s.is_alive)
    };
    while !waits(&leases) {
        heard.recv_timeout(NEVER).unwrap();
    }
    victim.kill().unwrap();
    victim.wait().unwrap();
    for hammer in &mut hammers {
        assert!(hammer.wait().unwrap().success());
    }
    let words = check_log(dir.path());
    assert_eq!(words["got"], NAMES.len() * ROUNDS as usize + 1);
    assert!(words["buried"] >= 1);
    assert!(leases.survey().unwrap().seen.is_empty());
}

#[test]
fn a_killed_holder_wakes_who_waits_by_the_watch_of_the_folder_alone() {
    let dir = tempfile::tempdir().unwrap();
    let leases = Leases::open(&dir.path().join("leases")).unwrap();
    let mut victim = child_that_holds("victim", dir.path());
    let pending = leases.request(holder("me", 0), 1, claim(CLAIMS[0]), "").unwrap();
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| acquire(dir.path(), &leases, pending));
        victim.kill().unwrap();
        victim.wait().unwrap();
        let lease = waiter.join().unwrap();
        assert_eq!(lease.file().holder, holder("me", 0));
    });
}
