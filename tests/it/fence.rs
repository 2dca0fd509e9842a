//! Whatever an agent's processes do to hide, nothing of them lives when their session has ended or the next one begins; and
//! a number that now belongs to somebody else is never signalled.

use std::process::{Child, Command};
use std::time::{Duration, Instant};

use numerus::os::process::{Target, start_time};
use serde_json::{Value, json};

use crate::rehearsal::{
    Script, Stage, execute, on_calls, part, processes_called, unmistakable_time, wait_for,
};
use crate::site::{PATIENCE, processes_with_env};

/// Forced reuses of a process number.
const REUSES: u32 = 100;

/// Shell text that starts a sleep which nothing ties to its session: a session of its own, no parent, no environment, no
/// descriptor, and no control group, where it can leave one. `first` is done before.
fn hides(time: &str, first: &str) -> String {
    let hidden = hidden(&format!("{first} exec sleep {time}"));
    format!("{hidden}; until pgrep -f \"^sleep {time}\" >/dev/null; do :; done")
}

/// Shell text that has that done by such a process.
fn hidden(what: &str) -> String {
    let deserts = "me=$BASHPID; for g in /sys/fs/cgroup/cgroup.procs /sys/fs/cgroup/unified/cgroup.procs; do \
                   (echo $me > $g) 2>/dev/null; done";
    let closes = "for f in 3 4 5 6 7 8 9 10 11 12; do eval \"exec $f>&-\"; done";
    let inner = format!("trap \"\" HUP INT TERM; {deserts}; {closes}; {what}");
    format!(
        "(setsid env -i PATH=$PATH bash -c '({inner}) </dev/null >/dev/null 2>&1 &' &) </dev/null >/dev/null 2>&1"
    )
}

/// A program that locks a file by a second thread, whose first thread then ends.
const HEADLESS: &str = r"
#include <fcntl.h>
#include <pthread.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>
static void *hold(void *path) {
    flock(open(path, O_RDWR | O_CREAT, 0600), LOCK_EX);
    alarm(600);
    pause();
    return 0;
}
int main(int count, char **words) {
    pthread_t thread;
    pthread_create(&thread, 0, hold, words[count - 1]);
    return syscall(SYS_exit, 0);
}
";

/// Shell text that says whether such a sleep is there.
fn overlap(time: &str) -> String {
    format!(
        "if pgrep -f \"^sleep {time}\" >/dev/null; then echo yes; else echo no; fi > overlap.txt"
    )
}

/// A way to hide.
const DEEPER: [(&str, &str); 2] =
    [("hides", ""), ("breaks-its-seal", "prlimit --pid $me --locks=7:7; ")];

/// Scripts in which a session that may not write, or one that may, hides something, and the next execution looks for it: what that
/// writes into `overlap.txt` comes before its own name, which is told, too.
fn scripts(hides: &Value, looks: &Value) -> [(&'static str, Script); 2] {
    let (hides, looks) = (std::slice::from_ref(hides), std::slice::from_ref(looks));
    let looking = |id: &str| part(id).writes(&[&format!("{id}.txt"), "overlap.txt"]);
    let planning = Script::of([looking("t1")]).working("t1", looks).planning(hides);
    let working = Script::of([part("t1"), looking("t2").after(&["t1"])]);
    [("t1", planning), ("t2", working.working("t1", hides).working("t2", looks))]
}

#[test]
fn what_hides_from_its_session_ends_with_it() {
    for (name, first) in DEEPER {
        let time = unmistakable_time();
        let command = json!({"command": hides(&time, first)});
        let check = json!({"command": overlap(&time)});
        for (next, script) in scripts(&command, &check) {
            let stage = Stage::new(&format!("{name}-{next}"), &script);
            let job = stage.ends_with(0, &[]);
            let seen = format!("no\n{next}\n");
            assert_eq!(job.on_branch("overlap.txt"), Some(seen), "{name} before {next}");
            assert_eq!(processes_called(&time), [0_u32; 0], "{name} before {next}");
            job.is_clean();
        }
    }
}

#[test]
fn a_process_whose_first_thread_has_ended_ends_with_its_session() {
    let dir = tempfile::tempdir().unwrap();
    let [held, program, source] = ["held", "program", "source.c"].map(|n| dir.path().join(n));
    std::fs::write(&source, HEADLESS).unwrap();
    std::fs::write(&held, "").unwrap();
    let mut compiler = Command::new("cc");
    compiler.args(["-pthread", "-o"]).args([&program, &source]);
    assert!(compiler.status().unwrap().success());
    let path = held.display();
    let begins = hidden(&format!("exec {} {path}", program.display()));
    let hides = json!({"command": format!("{begins}; while flock -n {path} true; do :; done")});
    let looks = format!("if flock -n {path} true; then echo no; else echo yes; fi > overlap.txt");
    for (next, script) in scripts(&hides, &json!({"command": looks})) {
        let stage = Stage::new(&format!("headless-{next}"), &script);
        let job = stage.ends_with(0, &[]);
        let seen = format!("no\n{next}\n");
        assert_eq!(job.on_branch("overlap.txt"), Some(seen), "before {next}");
        assert!(!numerus::os::lock::is_held(&held).unwrap(), "before {next}");
        job.is_clean();
    }
}

#[test]
fn what_hides_when_its_worker_is_killed_is_gone_before_the_work_begins_anew() {
    let time = unmistakable_time();
    let command = json!({"command": hides(&time, "")});
    let parts = || Script::of([part("t1").writes(&["t1.txt", "overlap.txt"])]);
    let play = json!([command, wait_for("never"), {"message": "?"}]);
    let stage = Stage::new("hides-dead", &parts().with(on_calls(execute("t1"), &[1]), play));
    let (running, job) = stage.start(&[]);
    stage.site.until("it hides", PATIENCE, || processes_called(&time).len() == 1);
    job.slay_worker();
    assert_eq!(running.wait(PATIENCE).code, Some(1));
    stage.follow(&parts().working("t1", &[json!({"command": overlap(&time)})]));
    assert_eq!(job.go_on().code, Some(0));
    assert_eq!(job.on_branch("overlap.txt").as_deref(), Some("no\nt1\n"));
    assert_eq!(processes_called(&time), [0_u32; 0]);
    job.is_clean();
}

#[test]
fn a_command_of_the_job_file_that_leaves_something_behind_leaves_nothing() {
    let time = unmistakable_time();
    let stage = Stage::new("hides-verify", &Script::of([part("t1")]));
    let job = stage.ends_with(0, &["--verify", &hides(&time, "")]);
    assert_eq!(processes_called(&time), [0_u32; 0]);
    job.is_clean();
}

#[test]
fn a_session_inherits_its_lock_and_no_other_descriptor_of_ours() {
    let time = unmistakable_time();
    let command = json!({"command": format!("sleep {time}")});
    let stage = Stage::new("descriptors", &Script::of([part("t1")]).working("t1", &[command]));
    let (running, job) = stage.start(&[]);
    stage.site.until("it works", PATIENCE, || processes_called(&time).len() >= 2);
    let root = stage.site.root().canonicalize().unwrap();
    let mut locks = 0;
    for pid in processes_with_env("NUMERUS_TASK", "t1") {
        let Ok(descriptors) = std::fs::read_dir(format!("/proc/{pid}/fd")) else { continue };
        for link in descriptors.filter_map(|fd| std::fs::read_link(fd.unwrap().path()).ok()) {
            let Ok(inside) = link.strip_prefix(&root) else { continue };
            let name = inside.display().to_string();
            locks += usize::from(name.ends_with("t1/session.lock"));
            let is_its_own = name.contains("/t1/") || name.starts_with("store/rehearsal/");
            assert!(is_its_own, "{pid} holds {name}");
        }
    }
    assert!(locks > 0, "somebody holds the lock");
    job.slay_worker();
    drop(running);
    assert_eq!(stage.call(&["kill", &job.id]).code, Some(0));
    assert_eq!(processes_called(&time), [0_u32; 0]);
}

/// The session that a process belongs to, and its terminal, 0 for none.
fn session_and_terminal(pid: u32) -> Option<(u32, u32)> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').skip(3).map_while(|n| n.parse().ok());
    Some((fields.next()?, fields.next()?))
}

/// The signals that a process ignores (`SigIgn`) or blocks (`SigBlk`), the first one in the lowest bit.
fn signals(pid: u32, which: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix(which)?.strip_prefix(':'));
    u64::from_str_radix(mask.unwrap_or("0").trim(), 16).unwrap()
}

#[test]
fn a_session_has_a_terminal_of_its_own_and_nothing_that_its_worker_was_started_with() {
    let time = unmistakable_time();
    let command = json!({"command": format!("sleep {time}")});
    let stage = Stage::new("heir-of-none", &Script::of([part("t1")]).working("t1", &[command]));
    let (running, job) = stage.start(&[]);
    stage.site.until("it works", PATIENCE, || processes_called(&time).len() >= 2);
    let before = processes_called(&time);
    job.slay_worker();
    drop(running);
    let held = stage.flag("held");
    std::fs::write(&held, "").unwrap();
    let worker = stage.numerus(&["worker", &job.id]);
    let mut shell = stage.site.command("sh");
    shell.envs(worker.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let shut_off = "--ignore-signal=QUIT,ALRM,CHLD --block-signal=HUP,INT";
    shell.args(["-c", &format!("exec 9<\"$0\"; exec env {shut_off} \"$@\"")]).arg(&held);
    let again = stage.site.spawn(shell.arg(worker.get_program()).args(worker.get_args()));
    stage.site.until("it works again", PATIENCE, || {
        processes_called(&time).iter().filter(|pid| !before.contains(pid)).count() >= 2
    });
    let holds = |pid: u32| {
        let open = std::fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        open.filter_map(|fd| std::fs::read_link(fd.path()).ok()).any(|link| link == held)
    };
    let quit_alarm_child = 1 << (3 - 1) | 1 << (14 - 1) | 1 << (17 - 1);
    let worker = job.worker().as_raw_nonzero().get().unsigned_abs();
    assert!(holds(worker) && signals(worker, "SigBlk") != 0);
    assert_eq!(signals(worker, "SigIgn") & quit_alarm_child, 0);
    let family = processes_with_env("NUMERUS_JOB", &job.id);
    assert!(family.len() >= 2);
    let leads = |pid: &u32| session_and_terminal(*pid).is_some_and(|(s, t)| s == *pid && t != 0);
    assert!(family.iter().any(leads), "{family:?}");
    let shut_off = |pid| signals(pid, "SigIgn") & quit_alarm_child | signals(pid, "SigBlk");
    // Whoever starts a program, be it a shell, blocks all signals until that has begun; what was inherited stays.
    stage.site.until("the session holds and shuts off nothing", PATIENCE, || {
        let mut family = processes_with_env("NUMERUS_JOB", &job.id).into_iter();
        family.all(|pid| !holds(pid) && shut_off(pid) == 0)
    });
    job.slay_worker();
    drop(again);
    assert_eq!(stage.call(&["kill", &job.id]).code, Some(0));
    assert_eq!(processes_called(&time), [0_u32; 0]);
}

#[test]
fn no_source_signals_a_number() {
    let sources = walkdir::WalkDir::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src"));
    let mut found = Vec::new();
    for entry in sources.into_iter().map(Result::unwrap).filter(|e| e.file_type().is_file()) {
        // To be stopped with one's own group names nobody, and ends nobody.
        let text = std::fs::read_to_string(entry.path()).unwrap();
        let text = text.replace("kill_current_process_group(Signal::TSTP)", "");
        let path = entry.path().display().to_string();
        // The stand-in is another program; the other two end a child, or its group, that nobody has waited for.
        let is_left_out =
            ["/standin/", "os/git.rs", "os/child.rs"].iter().any(|p| path.contains(p));
        if is_left_out {
            continue;
        }
        let kills =
            ["kill_process(", "kill_process_group(", "kill_current_process_group(", "\"kill\")"];
        found.extend(
            kills.iter().filter(|kill| text.contains(**kill)).map(|kill| format!("{path}: {kill}")),
        );
    }
    assert_eq!(found, [""; 0]);
}

/// A process with this very number; `None` where another one got it first.
fn with_number(number: u32) -> Option<Child> {
    std::fs::write("/proc/sys/kernel/ns_last_pid", (number - 1).to_string()).ok()?;
    let mut child = Command::new("sleep").arg("1000").spawn().unwrap();
    if child.id() == number {
        return Some(child);
    }
    child.kill().unwrap();
    child.wait().unwrap();
    None
}

#[test]
fn a_reused_number_is_never_signalled() {
    if std::fs::write("/proc/sys/kernel/ns_last_pid", "400").is_err() {
        crate::site::not_run("the right to choose process numbers");
        return;
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut forced = 0;
    while forced < REUSES {
        assert!(Instant::now() < deadline, "{forced} of {REUSES} reuses");
        let mut first = Command::new("sleep").arg("1000").spawn().unwrap();
        let (number, started) = (first.id(), start_time(first.id()).unwrap());
        let open = Target::open(number, |pid| start_time(pid) == Some(started)).unwrap();
        first.kill().unwrap();
        first.wait().unwrap();
        let Some(mut stranger) = with_number(number) else { continue };
        // The kernel tells times in hundredths of a second: within one, not even it knows them apart.
        if start_time(number) != Some(started) {
            open.kill();
            assert!(Target::open(number, |pid| start_time(pid) == Some(started)).is_none());
            assert!(stranger.try_wait().unwrap().is_none(), "a stranger was hit");
            forced += 1;
        }
        stranger.kill().unwrap();
        stranger.wait().unwrap();
    }
}
