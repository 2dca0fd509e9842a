//! The daemon through the real program: what is dropped is carried to its end whoever dies, files are taken whole and
//! once, and an idle daemon does nothing.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write as _;
use std::time::{Duration, Instant};

use numerus::os::lock::FileLock;
use rustix::process::Signal;
use serde_json::Value;

use crate::model_server::ModelServer;
use crate::real_jobs::Team;
use crate::site::{PATIENCE, Site};
use crate::yard::{Yard, kill, names};

#[test]
fn a_file_moved_into_incoming_becomes_one_commit_a_task_through_the_real_codex() {
    let site = Site::new("dropped");
    let repo = site.git_repo();
    let team = Team::of(&[("one", &[]), ("two", &["one"])]);
    let server = ModelServer::start(move |request| team.answer(request));
    server.write_config(&site.codex_home());
    let spool = site.root().join("spool");
    let daemon = site.spawn(&mut site.numerus(["daemon"]));
    site.until("incoming/ is there", PATIENCE, || spool.join("incoming").is_dir());
    let text = format!("---\nworkspace: {}\n---\ndo it\n", repo.display());
    fs::write(spool.join("incoming/x.md.tmp"), text).unwrap();
    fs::rename(spool.join("incoming/x.md.tmp"), spool.join("incoming/x.md")).unwrap();
    site.until("the job is done", PATIENCE, || !names(&spool.join("done")).is_empty());
    let job = names(&spool.join("done"))[0].trim_end_matches(".md").to_owned();
    let run = site.root().join("runs").join(&job);
    let plan: Value = serde_json::from_slice(&fs::read(run.join("plan.json")).unwrap()).unwrap();
    for (task, id) in plan["tasks"].as_array().unwrap().iter().zip(["one", "two"]) {
        assert_eq!((&task["id"], &task["role"]), (&id.into(), &"executor".into()), "{plan}");
        for file in ["_claim.json", "/stdout.log", "/events.ndjson"] {
            let file = run.join(format!("{id}{file}"));
            assert!(file.metadata().is_ok_and(|m| m.len() > 0), "{}", file.display());
        }
    }
    let subjects = site.git(&repo, &["log", "--format=%s", &format!("main..numerus/{job}")]);
    assert_eq!(subjects, "write two\nwrite one\n");
    // The databases are only indexes: without them the answer is the same.
    let all = ["status", "--all", "--json"];
    let before = site.run(&mut site.numerus(all));
    for name in ["tasks.db", "memory.db"] {
        let db = site.root().join("store").join(name);
        assert!(db.metadata().is_ok_and(|m| m.len() > 0), "{name}");
        for ending in ["", "-wal", "-shm"] {
            let _absent = fs::remove_file(format!("{}{ending}", db.display()));
        }
    }
    let after = site.run(&mut site.numerus(all));
    assert_eq!((before.code, before.stdout.contains(&job)), (Some(0), true), "{before:?}");
    assert_eq!(after.stdout, before.stdout);
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(PATIENCE).code, Some(0));
}

#[test]
fn a_daemon_killed_mid_job_disturbs_nothing_and_the_next_one_starts_nothing_twice() {
    let yard = Yard::new("daemon-dies");
    let first = yard.daemon(&[]);
    yard.drop_job("x", "hold-x", "");
    yard.until_reached("hold-x");
    let job = yard.job("x-").unwrap();
    first.signal(Signal::KILL);
    assert_eq!(first.wait(PATIENCE).signal, Some(9));
    let second = yard.daemon(&[]);
    yard.until("the worker is found", || yard.facts("adopted").iter().any(|f| f["job"] == *job));
    yard.let_go("hold-x");
    yard.until_in("done", "x-");
    yard.until("its end is reported", || !yard.facts("ended").is_empty());
    assert_eq!(yard.count(&job, "job.worker_started"), 1);
    assert_eq!(yard.count(&job, "terminal.session_starting"), 2);
    assert_eq!(yard.facts("started").len(), 1, "the second started nothing");
    let log = fs::read_to_string(yard.site.root().join(format!("runs/{job}/t1/stdout.log")));
    assert_eq!(log.unwrap().matches("\"turn.completed\"").count(), 2, "claim and execution, whole");
    drop(second);
}

#[test]
fn a_second_daemon_stands_by_and_takes_over() {
    let yard = Yard::new("stands-by");
    let first = yard.daemon(&[]);
    let second = yard.spare(&[]);
    yard.drop_job("a", "a", "");
    yard.until_in("done", "a-");
    assert_eq!(yard.facts("daemon_started").len(), 1);
    first.signal(Signal::KILL);
    yard.until("the second leads", || {
        yard.facts("daemon_started").iter().any(|fact| fact["pid"] == second.pid())
    });
    yard.drop_job("b", "b", "");
    yard.until_in("done", "b-");
}

#[test]
fn sigterm_leaves_the_workers_alone() {
    let yard = Yard::new("sigterm");
    let daemon = yard.daemon(&[]);
    yard.drop_job("x", "hold-x", "");
    yard.until_reached("hold-x");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(PATIENCE).code, Some(0));
    let job = yard.job("x-").unwrap();
    assert!(yard.processes().contains(&yard.worker(&job)));
    yard.let_go("hold-x");
    yard.until_in("done", "x-");
    assert_eq!(yard.count(&job, "job.worker_started"), 1);
}

#[test]
fn stop_jobs_stops_the_workers_and_the_job_goes_on_with_no_attempt_charged() {
    let yard = Yard::new("stop-jobs");
    let daemon = yard.daemon(&["--stop-jobs"]);
    yard.drop_job("x", "hold-x", "");
    yard.until_reached("hold-x");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(PATIENCE).code, Some(0));
    assert_eq!(yard.processes(), [0_u32; 0], "the worker has ended before the daemon");
    let job = yard.job("x-").unwrap();
    assert_eq!(yard.names("claimed"), [format!("{job}.md")]);
    yard.let_go("hold-x");
    let ended = yard.ask(&["daemon", "--once"]);
    assert_eq!(ended.code, Some(0), "one attempt was all it had: {ended:?}");
    assert_eq!(yard.names("done"), [format!("{job}.md")]);
    assert_eq!(yard.count(&job, "job.worker_started"), 2);
}

#[test]
fn a_killed_worker_is_followed_by_a_new_one_and_nothing_lands_twice() {
    let yard = Yard::new("worker-dies");
    let _daemon = yard.daemon(&[]);
    yard.drop_job("x", "hold-x", "");
    yard.until_reached("hold-x");
    let job = yard.job("x-").unwrap();
    fs::remove_file(yard.path("ready-hold-x")).unwrap();
    kill(yard.worker(&job));
    yard.until_reached("hold-x");
    yard.let_go("hold-x");
    yard.until_in("done", "x-");
    assert_eq!(yard.count(&job, "job.worker_started"), 2);
    assert_eq!(yard.count(&job, "job.task_completed"), 1);
    let repo = yard.site.root().join(format!("runs/{job}/workspace"));
    let landed = yard.site.git(&repo, &["rev-list", "--count", &format!("HEAD..numerus/{job}")]);
    assert_eq!(landed, "1\n");
}

#[test]
fn a_worker_that_ends_at_once_three_times_fails_its_job() {
    let yard = Yard::new("crashes");
    let _daemon = yard.daemon(&[]);
    yard.drop_job("x", "hold-x", "");
    yard.until_reached("hold-x");
    let job = yard.job("x-").unwrap();
    // No worker can look at the leases of this job from now on, which is the first thing that a worker does.
    let leases = yard.site.root().join(format!("runs/{job}/workspace/.git/numerus/leases"));
    fs::rename(&leases, yard.path("leases")).unwrap();
    fs::write(&leases, "").unwrap();
    kill(yard.worker(&job));
    yard.until_in("failed", "x-");
    assert_eq!(yard.end_of(&job).0, "worker_crashed");
    let started = yard.facts("started").iter().filter(|fact| fact["job"] == *job).count();
    assert_eq!(
        started,
        1 + 1 + 3,
        "the killed one, the one that told of its death, and three idle ones"
    );
    yard.drop_job("z", "z", "");
    yard.until_in("done", "z-");
}

#[test]
fn settings_that_are_broken_for_a_while_fail_no_job() {
    let yard = Yard::new("settings");
    let _daemon = yard.daemon(&[]);
    let settings = fs::read_to_string(yard.site.root().join("numerus.toml")).unwrap();
    yard.set_settings("max_jobs = ");
    yard.drop_job("x", "x", "");
    yard.until("it is told", || {
        yard.facts("trouble").iter().any(|f| f["message"].to_string().contains("numerus.toml"))
    });
    let job = yard.job("x-").unwrap();
    assert_eq!(yard.count(&job, "job.worker_started"), 0);
    yard.set_settings(&settings);
    yard.until_in("done", "x-");
}

#[test]
fn a_program_that_is_replaced_while_it_runs_goes_on_as_it_was() {
    let yard = Yard::new("upgrade");
    let program = yard.path("numerus");
    fs::hard_link(env!("CARGO_BIN_EXE_numerus"), &program).unwrap();
    let mut command = yard.site.command(&program);
    let command = command.env("NUMERUS_ROOT", yard.site.root()).arg("daemon");
    let _daemon = yard.site.spawn(command);
    yard.until("the daemon leads", || !yard.facts("daemon_started").is_empty());
    yard.drop_job("x", "hold-x", "");
    yard.until_reached("hold-x");
    fs::write(yard.path("new"), "another program").unwrap();
    fs::rename(yard.path("new"), &program).unwrap();
    yard.let_go("hold-x");
    yard.until_in("done", "x-");
    yard.drop_job("y", "y", "");
    yard.until_in("done", "y-");
}

#[test]
fn once_drains_files_that_are_still_settling_and_tells_how_it_went() {
    let yard = Yard::new("once");
    fs::write(yard.incoming().join("a.json"), r#"{"objective": "a", "plan": "single"}"#).unwrap();
    yard.drop_job("b", "b", "");
    let ended = yard.ask(&["daemon", "--once"]);
    assert_eq!((ended.code, yard.names("done").len()), (Some(0), 2), "{ended:?}");
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(0), "there is nothing to do");
    yard.drop_job("later", "later", "not_before: 2999-01-01T00:00:00Z\n");
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(4), "only a resting job is left");
    yard.drop_job("c", "bad-c", "");
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(1), "a job failed");
    let later = yard.job("later-").unwrap();
    assert_eq!(yard.names("claimed"), [format!("{later}.md")]);
    assert_eq!(yard.count(&later, "job.worker_started"), 0);
}

#[test]
fn without_a_codex_once_leaves_the_files_and_a_job_that_rests_for_it_is_tried_by_the_next_daemon() {
    let yard = Yard::new("no-codex");
    let script = fs::read_to_string(yard.site.root().join("numerus.toml")).unwrap();
    yard.set_settings("codex_bin = \"/not/there/codex\"\n");
    yard.drop_job("y", "y", "");
    let ended = yard.ask(&["daemon", "--once"]);
    assert_eq!((ended.code, names(&yard.incoming()).len()), (Some(6), 1), "{ended:?}");
    // One that goes missing while the daemon runs.
    let waits = yard.path("y.md");
    fs::rename(yard.incoming().join("y.md"), &waits).unwrap();
    let codex = yard.path("codex-program");
    fs::hard_link(env!("CARGO_BIN_EXE_numerus"), &codex).unwrap();
    // It has no sandbox that could be tried.
    let free = "sandbox = \"danger-full-access\"";
    yard.set_settings(&format!("codex_bin = \"{}\"\n{free}\n", codex.display()));
    let daemon = yard.daemon(&[]);
    fs::remove_file(&codex).unwrap();
    fs::rename(waits, yard.incoming().join("y.md")).unwrap();
    let job = yard.until_in("claimed", "y-");
    yard.until("it rests", || yard.count(&job, "job.paused") == 1);
    // `status.json` follows the journal.
    yard.until("its status names the program", || {
        yard.ask(&["status", &job]).stdout.contains("codex-program")
    });
    drop(daemon);
    yard.set_settings(&script);
    let ended = yard.ask(&["daemon", "--once"]);
    assert_eq!((ended.code, yard.names("done").len()), (Some(0), 1), "{ended:?}");
}

#[test]
fn jobs_start_by_priority_then_age_and_after_what_they_wait_for() {
    let yard = Yard::new("order");
    for (stem, objective, further) in [
        ("first-abcdef", "a", "after: [low-abcdef]\npriority: 100\n"),
        ("low-abcdef", "b", "priority: -5\n"),
        ("mid-abcdef", "c", ""),
        ("later-abcdef", "d", ""),
        ("high-abcdef", "e", "priority: 5\n"),
        ("bad-abcdef", "bad-f", "priority: 50\n"),
        ("never-abcdef", "g", "after: [bad-abcdef]\n"),
        ("nor-abcdef", "h", "after: [never-abcdef]\n"),
        ("any-abcdef", "i", "after: ['bad-abcdef:any']\npriority: 90\n"),
        ("typo-abcdef", "j", "after: [nobody]\n"),
    ] {
        yard.drop_job(stem, objective, further);
    }
    assert_eq!(yard.ask(&["daemon", "--once", "--max-jobs", "1"]).code, Some(1));
    let order: Vec<String> = yard.facts("started").iter().map(start_of).collect();
    let at = |stem: &str| {
        order.iter().position(|s| s == stem).unwrap_or_else(|| panic!("{stem} in {order:?}"))
    };
    assert!(at("bad") < at("any") && at("any") < at("high"), "{order:?}");
    assert!(at("high") < at("mid").min(at("later")), "{order:?}");
    assert!(at("mid").max(at("later")) < at("low") && at("low") < at("first"), "{order:?}");
    assert_eq!(order.len(), 7, "{order:?}");
    for job in ["never-abcdef", "nor-abcdef"] {
        assert_eq!(yard.end_of(job).0, "dependency");
    }
    assert_eq!(yard.names("rejected"), ["typo-abcdef.md", "typo-abcdef.md.reason.json"]);
    assert_eq!(yard.facts("rejected")[0]["code"], "E_AFTER");
}

fn start_of(fact: &Value) -> String {
    fact["job"].as_str().unwrap().split('-').next().unwrap().to_owned()
}

#[test]
fn never_more_workers_than_asked_for() {
    let yard = Yard::new("max-jobs");
    for number in 0..6 {
        yard.drop_job(&format!("job{number}"), &format!("{number}"), "");
    }
    assert_eq!(yard.ask(&["daemon", "--once", "--max-jobs", "2"]).code, Some(0));
    let mut spans: Vec<(jiff::Timestamp, i32)> = Vec::new();
    for name in yard.names("done") {
        let journal = yard.site.journal(name.trim_end_matches(".md"));
        for line in journal {
            let at = line["ts"].as_str().unwrap().parse().unwrap();
            match line["event"].as_str() {
                Some("job.worker_started") => spans.push((at, 1)),
                Some("job.finished") => spans.push((at, -1)),
                _ => {}
            }
        }
    }
    assert_eq!(spans.len(), 12);
    // An end before a start of the same moment.
    spans.sort();
    let mut now = 0;
    let counts = spans.iter().map(|(_, step)| {
        now += step;
        now
    });
    assert_eq!(counts.max(), Some(2), "{spans:?}");
}

#[test]
fn a_file_written_in_place_is_taken_once_and_whole() {
    let yard = Yard::new("in-place");
    let _daemon = yard.daemon(&[]);
    let mut file = fs::File::create(yard.incoming().join("slow.txt")).unwrap();
    for piece in ["one\n", "two\n", "three\n"] {
        file.write_all(piece.as_bytes()).unwrap();
        file.sync_all().unwrap();
        // Another file goes all the way meanwhile: longer than the quiet time.
        yard.drop_job(
            &format!("quick-{}", piece.trim()),
            "q",
            "not_before: 2999-01-01T00:00:00Z\n",
        );
        yard.until_in("claimed", &format!("quick-{}", piece.trim()));
        let since = Instant::now();
        yard.until("the quiet time is over", || since.elapsed() > Duration::from_millis(150));
    }
    assert!(yard.job("slow-").is_none(), "not before it is closed");
    drop(file);
    yard.until("it is taken", || yard.job("slow-").is_some());
    let job = yard.job("slow-").unwrap();
    yard.until("it is claimed", || yard.count(&job, "job.claimed") == 1);
    let objective = fs::read_to_string(yard.site.root().join(format!("runs/{job}/objective.md")));
    assert_eq!(objective.unwrap(), "one\ntwo\nthree\n");
    assert_eq!(names(&yard.incoming()), [""; 0]);
}

#[test]
fn names_of_unfinished_files_and_locked_files_are_left_alone_and_links_are_taken() {
    let yard = Yard::new("left-alone");
    let unfinished = ["a.tmp", "a.part", "a.swp", "a.crdownload", "a~", ".a"];
    let daemon = yard.daemon(&[]);
    for name in unfinished {
        yard.drop_file(name, "not yet");
    }
    let lock = FileLock::try_acquire(&yard.path("locked")).unwrap().unwrap();
    fs::write(yard.path("locked"), "---\nnot_before: 2999-01-01T00:00:00Z\n---\nx\n").unwrap();
    fs::rename(yard.path("locked"), yard.incoming().join("locked.md")).unwrap();
    fs::write(yard.path("linked"), "---\nnot_before: 2999-01-01T00:00:00Z\n---\nx\n").unwrap();
    fs::hard_link(yard.path("linked"), yard.incoming().join("linked.md")).unwrap();
    yard.until_in("claimed", "linked-");
    assert!(yard.incoming().join("locked.md").exists());
    drop(lock);
    yard.until_in("claimed", "locked-");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(PATIENCE).code, Some(0));
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(4));
    for name in unfinished {
        assert!(yard.incoming().join(name).exists(), "{name}");
    }
    assert_eq!(yard.facts("taken").len(), 2);
}

#[test]
fn three_hundred_files_at_once_are_each_taken_once_though_daemons_are_killed_meanwhile() {
    let yard = Yard::new("flood");
    for number in 0..300 {
        yard.drop_job(&format!("n{number}"), "x", "not_before: 2999-01-01T00:00:00Z\n");
    }
    for enough in [50, 120] {
        let daemon = yard.daemon(&[]);
        yard.until("some are taken", || yard.facts("taken").len() >= enough);
        daemon.signal(Signal::KILL);
        assert_eq!(daemon.wait(PATIENCE).signal, Some(9));
    }
    let mut last = yard.daemon(&[]);
    yard.until("all are taken", || {
        names(&yard.incoming()).is_empty() && yard.names("claimed").len() == 300
    });
    drop_and_finish(&yard);
    let jobs = yard.site.jobs();
    let claimed: BTreeSet<String> = jobs.iter().map(|job| source_of(&yard, job)).collect();
    assert_eq!((jobs.len(), claimed.len()), (301, 301), "one run folder a file, and one file each");
    assert!(last.ends_within(Duration::ZERO).is_none(), "the daemon stays up");
}

/// A job dropped behind all the others is done: everything before it was seen to.
fn drop_and_finish(yard: &Yard) {
    yard.drop_job("control", "control", "");
    yard.until_in("done", "control-");
}

/// The name in `incoming/` that a job was taken from, by its journal, where it stands once.
fn source_of(yard: &Yard, job: &str) -> String {
    let journal = yard.site.journal(job);
    let mut taken = journal.iter().filter(|line| line["event"] == "job.submitted");
    let first = taken.next().unwrap_or_else(|| panic!("{job}: {journal:?}"));
    assert!(taken.next().is_none(), "{job}: {journal:?}");
    first["payload"]["origin"]["name"].as_str().unwrap().to_owned()
}

#[test]
fn an_idle_daemon_does_nothing() {
    let yard = Yard::new("idle");
    let daemon = yard.daemon(&[]);
    yard.drop_job("x", "x", "");
    yard.drop_job("later", "x", "not_before: 2999-01-01T00:00:00Z\n");
    yard.until_in("claimed", "later-");
    yard.until_in("done", "x-");
    yard.until("its end is reported", || !yard.facts("ended").is_empty());
    // Three seconds on end without a wake-up.
    let mut rest = wake_ups(daemon.pid());
    let mut since = Instant::now();
    yard.until("it rests", || {
        let now = wake_ups(daemon.pid());
        if now != rest {
            (rest, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_secs(3)
    });
    eprintln!("idle daemon: {} kB resident", status_field(daemon.pid(), "VmRSS"));
}

/// How often the threads of a process have gone to sleep so far.
fn wake_ups(pid: u32) -> u64 {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    tasks.map(|task| field(&task.path().join("status"), "voluntary_ctxt_switches")).sum()
}

fn status_field(pid: u32, name: &str) -> u64 {
    field(format!("/proc/{pid}/status").as_ref(), name)
}

fn field(status: &std::path::Path, name: &str) -> u64 {
    let text = fs::read_to_string(status).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}

#[test]
fn what_a_dead_worker_left_is_ended_before_its_job_is() {
    let yard = Yard::new("orphans");
    let mut daemon = yard.daemon(&[]);
    for (stem, by_hand) in [("wished", false), ("moved", true)] {
        yard.drop_job(stem, stem, "not_before: 2999-01-01T00:00:00Z\n");
        let job = yard.until_in("claimed", stem);
        yard.until("it is known", || yard.facts("taken").iter().any(|fact| fact["job"] == *job));
        let mut orphan = std::process::Command::new("sleep");
        orphan.arg("1000").env("NUMERUS_JOB", &job).env("NUMERUS_ROOT", yard.site.root());
        let mut orphan = orphan.spawn().unwrap();
        // Between its birth and its program's start a process has no environment to be seen.
        yard.until("the orphan is there", || {
            crate::site::processes_with_env("NUMERUS_JOB", &job).contains(&orphan.id())
        });
        let file = format!("{job}.md");
        if by_hand {
            let from = yard.folder("claimed").join(&file);
            fs::rename(from, yard.folder("killed").join(&file)).unwrap();
        } else {
            fs::write(yard.site.root().join("runs").join(&job).join("want.killed"), "").unwrap();
            fs::write(yard.folder("tmp").join("wake"), "").unwrap();
        }
        yard.until("it has ended", || yard.count(&job, "job.finished") == 1);
        // It carries no mark any more a moment before its parent can see its end.
        yard.until("the orphan has ended", || orphan.try_wait().unwrap().is_some());
    }
    assert!(daemon.ends_within(Duration::ZERO).is_none(), "the daemon stays up");
}
