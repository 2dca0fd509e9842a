//! Hostile moments: writers that are slow, die or go on, files that come and go, daemons that stop or are two, clocks that are
//! set.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;
use std::time::Duration;

use rustix::fs::FlockOperation;
use rustix::process::Signal;
use serde_json::Value;

use crate::hostile::control;
use crate::site::{PATIENCE, Running};
use crate::yard::{Yard, kill};

const LATER: &str = "---\nnot_before: 2999-01-01T00:00:00Z\n---\n";

#[test]
fn what_a_writer_changes_after_the_taking_changes_no_job() {
    let yard = Yard::new("goes-on");
    let mut daemon = yard.daemon(&[]);
    let path = yard.incoming().join("kept.md");
    let mut writer = fs::File::create(&path).unwrap();
    writer.write_all(format!("{LATER}before").as_bytes()).unwrap();
    // A rename tells that the file is whole; its writer does not keep to that.
    fs::rename(&path, yard.path("aside")).unwrap();
    fs::rename(yard.path("aside"), &path).unwrap();
    let job = yard.until_in("claimed", "kept-");
    yard.until("it is taken", || yard.facts("taken").len() == 1);
    writer.write_all(b" and after").unwrap();
    drop(writer);
    control(&yard, &mut daemon);
    let run = yard.site.root().join("runs").join(job);
    assert_eq!(fs::read_to_string(run.join("objective.md")).unwrap(), "before");
    let accepted: Value = serde_json::from_slice(&fs::read(run.join("job.json")).unwrap()).unwrap();
    assert_eq!(accepted["origin"]["bytes"], format!("{LATER}before").len());
}

#[test]
fn a_file_is_taken_as_a_dead_writer_left_it_and_one_byte_at_a_time_only_when_it_is_closed() {
    let yard = Yard::new("slow");
    let mut daemon = yard.daemon(&[]);
    // From here on it surely hears of what happens there.
    yard.drop_file("first.md", format!("{LATER}x"));
    yard.until_in("claimed", "first-");
    let slow = yard.incoming().join("slow.md");
    let mut writer = fs::File::create(&slow).unwrap();
    let text = format!("{LATER}slowly");
    for byte in text.as_bytes() {
        writer.write_all(&[*byte]).unwrap();
    }
    // Others are served meanwhile, and it is not taken, however long it rests.
    let line = format!("printf %b '{}half' > dead.md; kill -9 $$", LATER.replace('\n', "\\n"));
    let mut dropper = yard.site.command("sh");
    let ended = yard.site.run(dropper.args(["-c", &line]).current_dir(yard.incoming()));
    assert_eq!(ended.signal, Some(9));
    let dead = yard.until_in("claimed", "dead-");
    control(&yard, &mut daemon);
    assert!(slow.exists() && yard.job("slow-").is_none(), "its writer has it open");
    drop(writer);
    let job = yard.until_in("claimed", "slow-");
    for (job, objective) in [(dead, "half"), (job, "slowly")] {
        yard.until("it is taken", || yard.count(&job, "job.claimed") == 1);
        let path = yard.site.root().join("runs").join(job).join("objective.md");
        assert_eq!(fs::read_to_string(path).unwrap(), objective);
    }
}

#[test]
fn a_file_that_vanishes_before_it_is_taken_is_no_job_and_no_error() {
    let yard = Yard::new("vanishing");
    let mut daemon = yard.daemon(&[]);
    for number in 0..500 {
        let path = yard.incoming().join(format!("{number}.md"));
        fs::write(&path, "x").unwrap();
        fs::remove_file(&path).unwrap();
    }
    control(&yard, &mut daemon);
    assert_eq!(yard.facts("taken").len(), 1, "the control alone");
    assert_eq!(yard.facts("ignored").len() + yard.facts("rejected").len(), 0);
    assert_eq!(yard.site.jobs().len(), 1);
}

#[test]
fn a_linked_file_is_taken_while_it_has_two_names() {
    let yard = Yard::new("linked");
    let mut daemon = yard.daemon(&[]);
    let (aside, target) = (yard.path("aside.md"), yard.incoming().join("linked.md"));
    fs::write(&aside, format!("{LATER}linked")).unwrap();
    fs::hard_link(&aside, target).unwrap();
    let job = yard.until_in("claimed", "linked-");
    yard.until("it is taken", || yard.count(&job, "job.claimed") == 1);
    control(&yard, &mut daemon);
    assert!(aside.exists(), "the other name is its dropper's");
}

#[test]
fn a_daemon_that_was_stopped_finds_what_came_meanwhile() {
    let yard = Yard::new("stopped");
    let mut daemon = yard.daemon(&[]);
    daemon.signal(Signal::STOP);
    let stat = format!("/proc/{}/stat", daemon.pid());
    yard.until("it is stopped", || fs::read_to_string(&stat).unwrap().contains(") T "));
    for number in 0..100 {
        fs::write(yard.incoming().join(format!("in-place{number}.md")), format!("{LATER}x"))
            .unwrap();
        yard.drop_file(&format!("renamed{number}.md"), format!("{LATER}x"));
    }
    daemon.signal(Signal::CONT);
    yard.until("all are taken", || yard.facts("taken").len() == 200);
    control(&yard, &mut daemon);
    assert_eq!(yard.names("claimed").len(), 200, "each once");
}

#[test]
fn a_second_daemon_by_another_path_stands_by_and_takes_over_and_nothing_is_taken_twice() {
    let yard = Yard::new("two-paths");
    let first = yard.daemon(&[]);
    symlink(yard.site.path(), yard.path("other-path")).unwrap();
    let other = yard.path("other-path").join("root");
    let mut second = yard.numerus(&["daemon"]);
    let mut second = yard.site.spawn(second.env("NUMERUS_ROOT", &other));
    for number in 0..20 {
        yard.drop_file(&format!("a{number}.md"), format!("{LATER}x"));
    }
    yard.until("all are taken", || yard.facts("taken").len() == 20);
    assert_eq!(yard.facts("daemon_started").len(), 1, "the second stands by");
    assert!(second.ends_within(Duration::ZERO).is_none());
    kill(first.pid());
    for number in 0..20 {
        yard.drop_file(&format!("b{number}.md"), format!("{LATER}x"));
    }
    yard.until("the second goes on", || yard.facts("taken").len() == 40);
    assert_eq!(yard.facts("daemon_started").len(), 2);
    assert_eq!(yard.names("claimed").len(), 40, "each once");
    // The second was started with another path, which its end must not outlive the yard by.
    second.signal(Signal::TERM);
    assert_eq!(second.wait(PATIENCE).code, Some(0));
}

fn daemon_at(yard: &Yard, variable: &str, value: &str) -> Running {
    let before = yard.facts("daemon_started").len();
    let mut command = yard.numerus(&["daemon"]);
    let daemon = yard.site.spawn(command.env(variable, value));
    yard.until("the daemon leads", || yard.facts("daemon_started").len() > before);
    daemon
}

#[test]
fn a_clock_that_is_set_while_they_run_disturbs_neither_daemon_nor_worker() {
    let year = 365 * 24 * 3600_i64;
    // Two days back, four hundred days on, before 1970, and as far as times can be written.
    for (number, jump) in
        [-2 * 24 * 3600, 400 * 24 * 3600, -100 * year, 7_000 * year].iter().enumerate()
    {
        let yard = Yard::new("set-clock");
        let daemon = daemon_at(&yard, "NUMERUS_TEST_CLOCK_JUMP", &format!("{jump}@1"));
        let objective = format!("hold-{number}");
        yard.drop_job("job", &objective, "budget: {wall: 1h}\ntimeouts: {no_progress: 5m}\n");
        yard.until_reached(&objective);
        let log = yard.site.root().join("store/daemon.ndjson");
        // Until the daemon's own clock has been set, and the worker's with it.
        yard.until("the clock is set", || {
            yard.drop_file("tick.md", "\0");
            let text = fs::read_to_string(&log).unwrap_or_default();
            let day = |line: &str| line.split("\"ts\":\"").nth(1).map(|rest| rest[..10].to_owned());
            let days: std::collections::BTreeSet<_> = text.lines().filter_map(day).collect();
            days.len() > 1
        });
        yard.let_go(&objective);
        let job = yard.until_in("done", "job-");
        assert_eq!(yard.count(&job, "job.task_retried"), 0, "{jump}");
        assert_eq!(yard.count(&job, "terminal.timeout"), 0, "{jump}");
        daemon.signal(Signal::TERM);
        let ended = daemon.wait(PATIENCE);
        assert_eq!(ended.code, Some(0), "{jump}: {ended:?}");
        assert!(!ended.stderr.contains("panicked"), "{ended:?}");
    }
}

#[test]
fn a_clock_that_was_set_between_two_workers_ends_no_job_and_puts_off_no_try() {
    let yard = Yard::new("clock-between");
    let year = 365 * 24 * 3600_i64;
    let mut daemon = daemon_at(&yard, "NUMERUS_TEST_CLOCK_OFFSET", "0");
    yard.drop_job("job", "hold-job", "budget: {wall: 1h}\n");
    yard.until_reached("hold-job");
    let job = yard.job("job-").unwrap();
    for (round, offset) in [400 * 24 * 3600, -2 * 24 * 3600, -80 * year].iter().enumerate() {
        kill(daemon.pid());
        fs::remove_file(yard.path("ready-hold-job")).unwrap();
        kill(yard.worker(&job));
        daemon = daemon_at(&yard, "NUMERUS_TEST_CLOCK_OFFSET", &offset.to_string());
        yard.until_reached("hold-job");
        assert_eq!(yard.count(&job, "job.worker_started"), round + 2);
    }
    yard.let_go("hold-job");
    yard.until_in("done", "job-");
    drop(daemon);
}

#[test]
fn a_lock_that_a_killed_daemon_left_to_a_program_it_was_starting_is_waited_for() {
    let yard = Yard::new("heir");
    let mut gone = yard.site.command("true").spawn().unwrap();
    gone.wait().unwrap();
    yard.drop_job("x", "x", "");
    let (store, lock) = (yard.site.root().join("store"), yard.site.root().join("spool/.lock"));
    fs::create_dir_all(&store).unwrap();
    let led = format!("{{\"event\":\"daemon_started\",\"payload\":{{\"pid\":{}}}}}\n", gone.id());
    fs::write(store.join("daemon.ndjson"), led).unwrap();
    let heir = fs::File::create(&lock).unwrap();
    rustix::fs::flock(&heir, FlockOperation::LockExclusive).unwrap();
    let once = yard.site.spawn(&mut yard.numerus(&["daemon", "--once"]));
    yard.until("it waits for the lock", || {
        let fds = fs::read_dir(format!("/proc/{}/fd", once.pid())).into_iter().flatten();
        fds.flatten().any(|fd| fs::read_link(fd.path()).is_ok_and(|to| to == lock))
    });
    drop(heir);
    let once = once.wait(PATIENCE);
    assert_eq!(once.code, Some(0), "{once:?}");
    yard.until_in("done", "x-");
}
