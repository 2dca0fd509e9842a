//! Trees that are made before their tasks begin, and commits that are made before their turn: nothing of either lands, or stays, by
//! itself.

use std::fs;
use std::os::unix::fs::MetadataExt;

use serde_json::json;

use crate::rehearsal::{Job, Script, Stage, part, raise, wait_for};
use crate::site::PATIENCE;

/// The agent that gives out the roles says that it is asked, and waits to be let go on.
fn giving_roles(script: Script, roles: &[(&str, &str)]) -> Script {
    let role = |(id, role): &(&str, &str)| json!({"id": id, "role": role, "notes": ""});
    let roles: Vec<_> = roles.iter().map(role).collect();
    let answer = json!({"message": {"roles": roles, "strategy": "in order"}});
    script.with(json!({"marker": "NUMERUS_ROLES"}), json!([raise("asked"), wait_for("go"), answer]))
}

/// The number of the tree of a task's first attempt, if it is there as a whole.
fn tree(job: &Job<'_>, task: &str) -> Option<u64> {
    let dir = job.dir().join(task);
    // The index is kept as soon as git is done with the tree.
    dir.join("tree-1.index").metadata().ok()?;
    dir.join("tree-1").metadata().ok().map(|meta| meta.ino())
}

/// The trees that git knows of beside the user's own.
fn registered(stage: &Stage) -> usize {
    stage.git(&["worktree", "list", "--porcelain"]).matches("worktree ").count() - 1
}

#[test]
fn the_first_tasks_find_their_trees_made_while_roles_were_given_out() {
    let parts = [part("t1"), part("t2"), part("t3").after(&["t1"])];
    let script = Script::of(parts).working("t1", &[raise("t1-works"), wait_for("t1-may")]);
    let roles = [("t1", "executor"), ("t2", "executor"), ("t3", "executor")];
    let stage = Stage::new("early", &giving_roles(script, &roles));
    let (running, job) = stage.start(&[]);
    stage.until_raised("asked");
    stage.site.until("both trees", PATIENCE, || tree(&job, "t2").is_some());
    let made = tree(&job, "t1");
    assert!(made.is_some());
    assert_eq!(tree(&job, "t3"), None, "it begins later");
    stage.raise("go");
    stage.until_raised("t1-works");
    assert_eq!(tree(&job, "t1"), made, "it works in the one that was made");
    stage.raise("t1-may");
    assert_eq!(running.wait(PATIENCE).code, Some(0));
    assert_eq!(job.landed().len(), 3);
    assert_eq!(registered(&stage), 0);
    job.is_clean();
}

#[test]
fn a_tree_that_nobody_came_for_goes_with_the_worker() {
    let stage = Stage::new("unwanted", &giving_roles(Script::of([part("t1"), part("t2")]), &[]));
    let (running, job) = stage.start(&[]);
    stage.until_raised("asked");
    stage.site.until("both trees", PATIENCE, || tree(&job, "t2").is_some());
    assert_eq!(stage.call(&["kill", &job.id]).code, Some(0));
    running.wait(PATIENCE);
    assert_eq!(job.stands().0, "killed");
    for task in ["t1", "t2"] {
        assert!(!job.dir().join(task).join("tree-1").exists(), "{task}");
    }
    assert_eq!(registered(&stage), 0);
}

#[test]
fn what_a_dead_worker_made_early_gives_way_to_a_new_tree() {
    let script = giving_roles(Script::of([part("t1")]), &[("t1", "executor")]);
    let stage = Stage::new("dead-early", &script);
    let (running, job) = stage.start(&[]);
    stage.until_raised("asked");
    stage.site.until("the tree", PATIENCE, || tree(&job, "t1").is_some());
    let made = tree(&job, "t1");
    job.slay_worker();
    running.wait(PATIENCE);
    fs::write(job.dir().join("t1/tree-1/of-nobody.txt"), "x\n").unwrap();
    stage.raise("go");
    assert_eq!(job.go_on().code, Some(0));
    assert_eq!(job.landed(), ["t1"]);
    assert_eq!(job.charged("t1"), 0, "what lay there is nobody's: {made:?}");
    assert_eq!(registered(&stage), 0);
    job.is_clean();
}

#[test]
fn what_a_dead_worker_made_early_goes_with_its_job() {
    let parts = [part("t1"), part("t2")];
    let stage = Stage::new("dead-killed", &giving_roles(Script::of(parts), &[]));
    let (running, job) = stage.start(&[]);
    stage.until_raised("asked");
    stage.site.until("both trees", PATIENCE, || tree(&job, "t2").is_some());
    job.slay_worker();
    running.wait(PATIENCE);
    // That of the agent who was asked, and both of the tasks.
    assert_eq!(registered(&stage), 3);
    assert_eq!(stage.call(&["kill", &job.id]).code, Some(0));
    assert_eq!(job.stands().0, "killed");
    assert_eq!(registered(&stage), 0);
    for task in ["t1", "t2"] {
        assert!(!job.dir().join(task).join("tree-1").exists(), "{task}");
    }
}

#[test]
fn a_tree_of_a_task_that_was_killed_before_it_began_goes_with_the_next_worker() {
    let parts = [part("t1"), part("t2")];
    let script = Script::of(parts).working("t1", &[raise("t1-works"), wait_for("t1-may")]);
    let roles = [("t1", "executor"), ("t2", "executor")];
    let stage = Stage::new("dead-task", &giving_roles(script, &roles));
    let (running, job) = stage.start(&[]);
    stage.until_raised("asked");
    stage.site.until("both trees", PATIENCE, || tree(&job, "t2").is_some());
    assert_eq!(stage.call(&["kill", &format!("{}/t2", job.id)]).code, Some(0));
    stage.raise("go");
    stage.until_raised("t1-works");
    job.slay_worker();
    running.wait(PATIENCE);
    stage.raise("t1-may");
    job.go_on();
    assert_eq!(job.landed(), ["t1"]);
    assert!(!job.dir().join("t2/tree-1").exists());
}

#[test]
fn a_task_that_turns_out_to_read_looks_at_the_tree_that_was_made_for_it() {
    let script = Script::of([part("look").role("planner"), part("t1")]);
    let stage =
        Stage::new("reads", &giving_roles(script, &[("look", "planner"), ("t1", "executor")]));
    let (running, job) = stage.start(&[]);
    stage.until_raised("asked");
    stage.raise("go");
    assert_eq!(running.wait(PATIENCE).code, Some(0));
    assert_eq!(job.landed(), ["t1"]);
    assert_eq!(registered(&stage), 0);
    job.is_clean();
}

#[test]
fn nothing_lands_with_a_commit_that_was_laid_over_one_that_did_not_land() {
    let names = ["t1", "t2", "t3", "t4", "t5", "t6"];
    let mut script = Script::of(names.map(part));
    for name in names {
        script = script.working(name, &[raise(&format!("{name}-works")), wait_for("all-may")]);
    }
    let stage = Stage::new("laid-early", &script);
    let (running, job) = stage.start(&["--max-parallel", "6"]);
    for name in names {
        stage.until_raised(&format!("{name}-works"));
    }
    for name in ["t1", "t3", "t5"] {
        let held = job.leases().into_iter().find(|lease| lease.contains(&format!(".{name}.")));
        let lease = held.unwrap_or_else(|| panic!("no lease of {name}: {:?}", job.leases()));
        fs::remove_file(stage.workspace.join(".git/numerus/leases").join(lease)).unwrap();
    }
    stage.raise("all-may");
    assert_eq!(running.wait(PATIENCE).code, Some(0), "{}", stage.site.dump());
    let mut landed = job.landed();
    landed.sort();
    assert_eq!(landed, names);
    let landings = job.all("job.task_landing", "");
    for two in landings.windows(2) {
        assert_eq!(two[1]["payload"]["parent"], two[0]["payload"]["commit"]);
    }
    job.is_clean();
}
