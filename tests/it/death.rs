//! Killed jobs, killed tasks, killed workers: what was asked to end ends with everything under it, and what was not goes on
//! with the next worker, as if nothing had happened.

use std::time::{Duration, Instant};

use rustix::process::{Signal, kill_process};
use serde_json::json;

use crate::rehearsal::{
    Job, OUTSIDE, Script, Stage, execute, on_calls, part, processes_called, raise,
    unmistakable_time, wait_for,
};
use crate::site::{PATIENCE, processes_with_env};

/// The work of `t1` is a tool that sleeps, and two that sleep in sessions of their own.
fn sleeping(name: &str, time: &str) -> Stage {
    let command = format!("setsid sleep {time} & : > {OUTSIDE}/asleep; sleep {time}");
    let parts = [part("t1"), part("t2").after(&["t1"]), part("t3")];
    let play =
        json!([{"spawn": format!("sleep {time}")}, {"command": command}, {"message": "done"}]);
    Stage::new(name, &Script::of(parts).with(execute("t1"), play))
}

fn until_all_tools_run(stage: &Stage, time: &str) {
    stage.until_raised("asleep");
    stage.site.until("the tools sleep", PATIENCE, || processes_called(time).len() >= 3);
}

#[test]
fn a_killed_job_takes_everything_under_it_along() {
    let time = unmistakable_time();
    let stage = sleeping("kill", &time);
    let (running, job) = stage.start(&[]);
    until_all_tools_run(&stage, &time);
    let killed = stage.call(&["kill", &job.id]);
    assert_eq!(killed.code, Some(0), "{killed:?}");
    assert_eq!(running.wait(PATIENCE).code, Some(1));
    assert_eq!(processes_called(&time), [0_u32; 0]);
    assert_eq!(job.stands().0, "killed");
    job.is_clean();
    let again = stage.call(&["kill", &job.id]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.stdout.contains("ended already"), "{again:?}");
}

#[test]
fn a_killed_task_fails_and_skips_what_needs_it_and_nothing_else() {
    let time = unmistakable_time();
    let stage = sleeping("kill-task", &time);
    let (running, job) = stage.start(&[]);
    until_all_tools_run(&stage, &time);
    job.until("job.task_completed", "t3");
    let killed = stage.call(&["kill", &format!("{}/t1", job.id)]);
    assert_eq!(killed.code, Some(0), "{killed:?}");
    assert_eq!(running.wait(PATIENCE).code, Some(1));
    assert_eq!(job.tasks(), ["t1 failed", "t2 skipped", "t3 succeeded"]);
    assert_eq!(job.landed(), ["t3"]);
    assert_eq!(processes_called(&time), [0_u32; 0]);
    job.is_clean();
}

#[test]
fn a_task_that_waits_for_its_turn_can_be_killed() {
    let script =
        Script::of([part("t1"), part("t2").after(&["t1"])]).working("t1", &[wait_for("flag")]);
    let stage = Stage::new("kill-pending", &script);
    let (running, job) = stage.start(&[]);
    job.until("job.task_started", "t1");
    let killed = stage.call(&["kill", &format!("{}/t2", job.id)]);
    assert_eq!(killed.code, Some(0), "{killed:?}");
    stage.raise("flag");
    assert_eq!(running.wait(PATIENCE).code, Some(1));
    assert_eq!(job.tasks(), ["t1 succeeded", "t2 failed"]);
    assert_eq!(job.landed(), ["t1"]);
}

#[test]
fn a_job_that_rests_is_killed_without_a_worker_and_what_had_landed_has_a_branch() {
    let limit = json!([{"fail": {"message": "usage limit", "info": "usage_limit_exceeded"}}]);
    let script = Script::of([part("t1"), part("t2").after(&["t1"])]).with(execute("t2"), limit);
    let stage = Stage::new("kill-resting", &script);
    let job = stage.ends_with(4, &[]);
    assert_eq!(stage.call(&["kill", &job.id]).code, Some(0));
    assert_eq!(job.stands().0, "killed");
    assert_eq!(
        (job.landed(), job.status()["branch"].as_str()),
        (vec!["t1".to_owned()], Some(&*job.branch()))
    );
    assert!(job.read("result.patch").contains("t1.txt"), "the summary names it");
    assert!(job.read("summary.md").contains("as a patch in `result.patch`"));
    job.is_clean();
}

/// Two tasks one after the other; the first takes long enough to be met at work.
fn two_tasks() -> Script {
    Script::of([part("t1"), part("t2").after(&["t1"])]).working("t1", &[json!({"sleep_ms": 300})])
}

/// Between two looks at the journal: a look that never rests would take the processor from the worker it watches.
const BLINK: Duration = Duration::from_millis(1);

/// Watches the journal closely, and ends the worker as soon as it has these events.
pub(crate) fn slay_once(job: &Job<'_>, met: &dyn Fn(&Job<'_>) -> bool) {
    let start = Instant::now();
    while !met(job) {
        assert!(start.elapsed() < PATIENCE, "the moment never came\n{}", job.stage.site.dump());
        std::thread::park_timeout(BLINK);
    }
    job.slay_worker();
}

/// A job whose worker dies at that moment is carried on by the next worker as if nothing had happened.
fn survives(name: &str, met: &dyn Fn(&Job<'_>) -> bool) {
    let stage = Stage::new(name, &two_tasks());
    let (running, job) = stage.start(&["--max-attempts", "1"]);
    slay_once(&job, met);
    drop(running.wait(PATIENCE));
    let ended = job.go_on();
    assert_eq!(ended.code, Some(0), "{name}: {ended:?}\n{}", stage.site.dump());
    assert_eq!(job.stands(), ("succeeded".to_owned(), "done".to_owned()), "{name}");
    assert_eq!(job.landed(), ["t1", "t2"], "{name}");
    assert_eq!(job.on_branch("t1.txt").as_deref(), Some("t1\n"), "{name}");
    assert_eq!((job.charged("t1"), job.charged("t2"), job.charged("")), (0, 0, 0), "{name}");
    for task in ["t1", "t2"] {
        assert_eq!(job.all("job.task_completed", task).len(), 1, "{name}");
        assert!(job.read(&format!("{task}/diff.patch")).contains(&format!("{task}.txt")), "{name}");
    }
    assert_eq!(job.all("job.finished", "").len(), 1, "{name}");
    job.is_clean();
}

fn survives_death_at(event: &str, task: &str) {
    survives(&format!("death-{}", event.replace('.', "-")), &|job| {
        !job.all(event, task).is_empty()
    });
}

#[test]
fn a_worker_may_die_while_the_job_is_planned() {
    for event in [
        "job.worker_started",
        "job.workspace_fixed",
        "terminal.session_starting",
        "job.plan_created",
    ] {
        survives_death_at(event, "");
    }
}

#[test]
fn a_worker_may_die_while_a_task_claims() {
    for (event, task) in [
        ("job.roles_assigned", ""),
        ("terminal.session_starting", "t1"),
        ("job.claim_recorded", "t1"),
    ] {
        survives_death_at(event, task);
    }
}

#[test]
fn a_worker_may_die_while_a_task_works() {
    for event in ["job.claim_approved", "job.task_started"] {
        survives_death_at(event, "t1");
    }
    survives("death-executing", &|job| {
        job.all("terminal.started", "t1").iter().any(|e| e["payload"]["number"] == 2)
    });
}

#[test]
fn the_patch_of_what_landed_is_written_by_the_next_worker_if_the_last_one_died_before_it() {
    let script = Script::of([part("t1"), part("t2").after(&["t1"])]);
    let stage = Stage::new("death-patch", &script.working("t2", &[wait_for("flag")]));
    let (running, job) = stage.start(&[]);
    job.until("job.task_started", "t2");
    stage.site.until("the patch", PATIENCE, || job.dir().join("t1/diff.patch").exists());
    job.slay_worker();
    drop(running.wait(PATIENCE));
    let patch = job.read("t1/diff.patch");
    std::fs::remove_file(job.dir().join("t1/diff.patch")).expect("removed");
    stage.raise("flag");
    assert_eq!(job.go_on().code, Some(0), "{}", stage.site.dump());
    assert!(patch.contains("t1.txt"), "{patch}");
    assert_eq!(job.read("t1/diff.patch"), patch);
}

#[test]
fn a_worker_may_die_while_a_task_lands() {
    for event in ["job.task_landing", "job.task_completed", "job.locks_released"] {
        survives_death_at(event, "t1");
    }
}

/// Two jobs on one file; the second takes in what the first has landed.
fn second_on_one_file(name: &str) -> Stage {
    let on_file = |task: &str| Script::of([part(task).writes(&["shared.txt"])]);
    let stage = Stage::new(name, &on_file("t0"));
    stage.ends_with(0, &[]);
    stage.follow(&on_file("t1"));
    stage
}

#[test]
fn a_worker_may_die_while_it_takes_in_another_jobs_work() {
    for event in ["job.base_advancing", "job.base_advanced"] {
        let stage = second_on_one_file(&format!("death-{}", event.replace('.', "-")));
        let (running, job) = stage.start(&["--max-attempts", "1"]);
        slay_once(&job, &|job| !job.all(event, "").is_empty());
        drop(running.wait(PATIENCE));
        assert_eq!(job.go_on().code, Some(0), "{event}\n{}", stage.site.dump());
        assert_eq!((job.charged("t1"), job.landed()), (0, vec!["t1".to_owned()]), "{event}");
        assert_eq!(job.on_branch("shared.txt").as_deref(), Some("t0\nt1\n"), "{event}");
        assert_eq!(job.all("job.base_advanced", "").len(), 1, "{event}");
        let merges = stage.git(&["rev-list", "--count", "--merges", &job.branch()]);
        assert_eq!(merges, "1\n", "{event}: taken in once");
        job.is_clean();
    }
}

/// A job whose worker died with its commit made and its tip not yet moved.
fn dead_before_landing(stage: &Stage) -> Job<'_> {
    for _try in 0..20 {
        let (running, job) = stage.start(&["--max-attempts", "1"]);
        slay_once(&job, &|job| !job.all("job.task_landing", "t1").is_empty());
        drop(running.wait(PATIENCE));
        let landing = job.all("job.task_landing", "t1")[0]["payload"].clone();
        let text = |key: &str| landing[key].as_str().unwrap().to_owned();
        if job.all("job.task_completed", "t1").is_empty() {
            // It may have died a moment after it moved the tip: that moment is taken back.
            let tip = format!("refs/numerus/{}/tip", job.id);
            stage.git(&["update-ref", &tip, &text("parent")]);
            return job;
        }
        assert_eq!(job.go_on().code, Some(0));
        stage.git(&["branch", "-D", &job.branch()]);
    }
    panic!("the worker always was too quick");
}

#[test]
fn a_landing_is_finished_only_while_its_lease_stands() {
    let stage = Stage::new("late-landing", &Script::of([part("t1")]));
    let job = dead_before_landing(&stage);
    let other = stage.ends_with(0, &[]);
    assert_eq!(other.on_branch("t1.txt").as_deref(), Some("t1\n"));
    assert_eq!(job.leases(), [""; 0], "the other job buried the lease");
    assert_eq!(job.go_on().code, Some(0));
    let completed = job.all("job.task_completed", "t1");
    assert_eq!(completed.len(), 1);
    assert_eq!(completed[0]["payload"]["attempt"], 2, "the first may not land any more");
    assert_eq!((job.charged("t1"), job.landed()), (0, vec!["t1".to_owned()]));
    assert_eq!(job.on_branch("t1.txt").as_deref(), Some("t1\nt1\n"), "it built on the other");
    job.is_clean();
}

#[test]
fn a_landing_is_finished_by_the_next_worker_if_nobody_was_in_between() {
    let stage = Stage::new("own-landing", &Script::of([part("t1")]));
    let job = dead_before_landing(&stage);
    assert_eq!(job.go_on().code, Some(0));
    let completed = job.all("job.task_completed", "t1");
    assert_eq!(completed[0]["payload"]["attempt"], 1);
    assert_eq!(job.landed(), ["t1"]);
    job.is_clean();
}

#[test]
fn a_landing_whose_commit_was_collected_is_done_again() {
    let stage = Stage::new("collected-landing", &Script::of([part("t1")]));
    let job = dead_before_landing(&stage);
    stage.git(&["gc", "--quiet", "--prune=now"]);
    assert_eq!(job.go_on().code, Some(0), "{}", stage.site.dump());
    assert_eq!(job.all("job.task_completed", "t1")[0]["payload"]["attempt"], 2);
    assert_eq!((job.charged("t1"), job.landed()), (0, vec!["t1".to_owned()]));
    assert_eq!(stage.git(&["fsck", "--connectivity-only", "--no-dangling"]), "");
    job.is_clean();
}

#[test]
fn a_worker_may_die_while_the_job_ends() {
    for (event, task) in [
        ("job.task_completed", "t2"),
        ("job.landed", ""),
        ("memory.entry_added", ""),
        ("job.finished", ""),
    ] {
        survives_death_at(event, task);
    }
}

#[test]
fn a_dead_workers_agents_are_ended_before_the_next_one_starts() {
    let time = unmistakable_time();
    let stage = sleeping("orphans", &time);
    let (running, job) = stage.start(&[]);
    until_all_tools_run(&stage, &time);
    job.slay_worker();
    assert_eq!(running.wait(PATIENCE).code, Some(1));
    stage.follow(&Script::of([part("t1"), part("t2"), part("t3")]));
    assert_eq!(job.go_on().code, Some(0));
    assert_eq!(processes_called(&time), [0_u32; 0]);
    assert_eq!(job.landed().len(), 3);
    job.is_clean();
}

#[test]
fn of_two_workers_of_one_job_one_leaves() {
    let script = Script::of([part("t1")]).working("t1", &[wait_for("flag")]);
    let stage = Stage::new("two-workers", &script);
    let (running, job) = stage.start(&[]);
    job.until("job.task_started", "t1");
    assert_eq!(job.go_on().code, Some(4));
    assert_eq!(job.all("job.worker_started", "").len(), 1);
    stage.raise("flag");
    assert_eq!(running.wait(PATIENCE).code, Some(0));
    job.is_clean();
}

#[test]
fn a_worker_that_is_asked_to_leave_charges_nothing() {
    let script = Script::of([part("t1")]).with(
        on_calls(execute("t1"), &[1]),
        json!([raise("flag"), wait_for("never"), {"message": "?"}]),
    );
    let stage = Stage::new("leave", &script);
    let (running, job) = stage.start(&["--max-attempts", "1"]);
    stage.until_raised("flag");
    kill_process(job.worker(), Signal::TERM).unwrap();
    assert_eq!(running.wait(PATIENCE).code, Some(1));
    assert_eq!(processes_with_env("NUMERUS_JOB", &job.id), [0_u32; 0]);
    assert_eq!(job.leases(), [""; 0]);
    assert_eq!(job.go_on().code, Some(0));
    assert_eq!((job.charged("t1"), job.landed()), (0, vec!["t1".to_owned()]));
    assert_eq!(job.all("job.task_retried", "t1").len(), 1);
    job.is_clean();
}
