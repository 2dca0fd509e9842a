//! Once more: ended jobs, tasks of jobs that go on, and files that were rejected.

use std::fs;

use serde_json::json;

use crate::rehearsal::{Job, Script, Stage, execute, on_calls, part, raise, wait_for};
use crate::site::{Ended, PATIENCE};
use crate::yard::{Yard, said};

/// The job that a retry has made.
fn new_job<'a>(stage: &'a Stage, ended: &Ended) -> Job<'a> {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let id = ended.stdout.trim_end().to_owned();
    assert!(!id.is_empty() && !id.contains(char::is_whitespace), "the id alone: {ended:?}");
    Job { stage, id }
}

/// A job of two tasks, of which the first landed and the second failed.
fn half_done(name: &str) -> Stage {
    let script = Script::of([part("t1"), part("t2").after(&["t1"])])
        .with(on_calls(execute("t2"), &[1]), json!([{"fail": {"message": "no", "info": "other"}}]));
    Stage::new(name, &script)
}

#[test]
fn an_ended_job_is_done_once_more_from_what_it_landed_and_stays_as_it_was() {
    let stage = half_done("retry");
    let old = stage.ends_with(1, &["--max-attempts", "1", "--label", "mine", "--key", "once"]);
    let journal = old.read("events.ndjson");
    stage.follow(&Script::of([part("t3")]));
    fs::write(stage.workspace.join("user.txt"), "a fix\n").unwrap();
    stage.git(&["add", "--all"]);
    stage.git(&["commit", "--quiet", "--message=a fix"]);
    let again = stage.call(&["retry", &old.id]);
    assert!(again.stderr.contains("done once more as"), "{again:?}");
    let new = new_job(&stage, &again);
    assert_eq!(stage.agree(&["start", &new.id]).code, Some(0));
    let options = &new.json("job.json")["options"];
    assert_eq!(options["retry_of"], json!(old.id));
    assert_eq!((&options["labels"], &options["key"]), (&json!(["mine"]), &json!(null)));
    let shown = |path: &str| stage.git(&["show", &format!("numerus/{}:{path}", new.id)]);
    assert_eq!((shown("t1.txt"), shown("user.txt")), ("t1\n".into(), "a fix\n".into()));
    assert_eq!(shown("t3.txt"), "t3\n");
    assert!(!new.read("result.patch").contains("t1.txt"), "only what is new");
    assert_eq!(old.read("events.ndjson"), journal, "an end is an end");
}

#[test]
fn from_scratch_nothing_of_the_old_job_is_built_on_and_flags_win() {
    let stage = half_done("retry-scratch");
    let old = stage.ends_with(1, &["--max-attempts", "1"]);
    stage.follow(&Script::of([part("t3")]));
    let again = stage.call(&["retry", &old.id, "--from-scratch", "--priority", "9"]);
    let new = new_job(&stage, &again);
    assert_eq!(stage.agree(&["start", &new.id]).code, Some(0));
    let options = &new.json("job.json")["options"];
    assert_eq!(options["retry_of"], json!(format!("{}:scratch", old.id)));
    assert_eq!(options["priority"], json!(9));
    let tree = stage.git(&["ls-tree", "--name-only", &format!("numerus/{}", new.id)]);
    assert_eq!(tree, "README\nsrc\nt3.txt\n");
}

#[test]
fn what_was_thrown_away_is_not_built_on_and_what_conflicts_is_said() {
    let stage = half_done("retry-discarded");
    let old = stage.ends_with(1, &["--max-attempts", "1"]);
    stage.follow(&Script::of([part("t3")]));
    stage.git(&["branch", "--copy", &format!("numerus/{}", old.id), "kept"]);
    fs::write(stage.workspace.join("t1.txt"), "the user's own\n").unwrap();
    stage.git(&["add", "--all"]);
    stage.git(&["commit", "--quiet", "--message=mine"]);
    let refused = new_job(&stage, &stage.call(&["retry", &old.id]));
    assert_eq!(stage.agree(&["start", &refused.id]).code, Some(1));
    let said = stage.call(&["status", &refused.id]).stdout;
    assert!(said.contains("conflicts with HEAD in t1.txt"), "{said}");
    for branch in ["kept", &format!("numerus/{}", old.id)] {
        stage.git(&["branch", "--quiet", "-D", branch]);
    }
    let again = stage.call(&["retry", &old.id]);
    assert!(again.stderr.contains("from HEAD: its branch was merged or deleted"), "{again:?}");
    let new = new_job(&stage, &again);
    assert_eq!(stage.agree(&["start", &new.id]).code, Some(0));
    let shown = stage.git(&["show", &format!("numerus/{}:t1.txt", new.id)]);
    assert_eq!(shown, "the user's own\n");
}

#[test]
fn what_a_job_had_only_taken_in_is_not_built_on_and_its_own_forerunner_is() {
    let stage = half_done("retry-taken-in");
    let other = stage.ends_with(1, &["--max-attempts", "1"]);
    // It takes in what the other one has landed in t1.txt, and lands nothing.
    let fails = json!([{"fail": {"message": "no", "info": "other"}}]);
    let failing = || Script::of([part("t1")]).with(execute("t1"), fails.clone());
    stage.follow(&failing());
    let old = stage.ends_with(1, &["--max-attempts", "1"]);
    assert_eq!(old.all("job.base_advanced", "").len(), 1, "{}", old.read("events.ndjson"));
    fs::write(stage.workspace.join("t1.txt"), "the user's own\n").unwrap();
    stage.git(&["add", "--all"]);
    stage.git(&["commit", "--quiet", "--message=mine"]);
    stage.follow(&Script::of([part("t3")]));
    let again = stage.call(&["retry", &old.id]);
    assert!(!again.stderr.contains(" landed"), "{again:?}");
    let new = new_job(&stage, &again);
    assert_eq!(stage.agree(&["start", &new.id]).code, Some(0), "{again:?}");
    stage.git(&["reset", "--quiet", "--hard", "HEAD~1"]);
    stage.follow(&failing());
    let middle = new_job(&stage, &stage.call(&["retry", &other.id]));
    assert_eq!(stage.agree(&["start", &middle.id]).code, Some(1));
    let last = stage.call(&["retry", &middle.id]);
    assert!(last.stderr.contains(&format!("on what {} landed", other.id)), "{last:?}");
}

#[test]
fn a_job_without_a_workspace_begins_from_what_the_old_one_left_in_its_own() {
    let yard = Yard::new("retry-own");
    yard.set_settings(&format!(
        "rehearse = \"{}\"\nrehearsal_commands = true\nverify_unsandboxed = true\n",
        yard.path("script.json").display()
    ));
    let marker = yard.path("mended");
    yard.drop_job("own", "own", &format!("verify: [\"test -e {}\"]\n", marker.display()));
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(1));
    let old = yard.job("own-").unwrap();
    fs::write(marker, "").unwrap();
    let again = yard.ask(&["retry", &old]);
    assert_eq!(again.code, Some(0), "{again:?}");
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(0));
    let new = again.stdout.trim_end();
    let base = yard.site.journal(new).into_iter().find(|e| e["event"] == "job.workspace_fixed");
    let base = base.unwrap()["payload"]["workspace"]["base"].as_str().unwrap().to_owned();
    let own = yard.run(new).join("workspace");
    assert_eq!(yard.site.git(&own, &["show", &format!("{base}:out.txt")]), "own\n");
}

#[test]
fn a_failed_task_is_tried_again_while_its_job_goes_on_and_what_waited_for_it_follows() {
    let parts = [part("t1"), part("t2"), part("t3").after(&["t1"])];
    let script = Script::of(parts)
        .with(on_calls(execute("t1"), &[1]), json!([{"fail": {"message": "no", "info": "other"}}]))
        .with(
            json!({"marker": "NUMERUS_QUEEN"}),
            json!([{"message": {"decision": "give_up", "advice": "no"}}]),
        )
        .working("t2", &[raise("at-work"), wait_for("go")]);
    let stage = Stage::new("retry-task", &script);
    let (running, job) = stage.start(&["--max-attempts", "1"]);
    stage.until_raised("at-work");
    job.until("job.task_failed", "t1");
    job.until("job.task_skipped", "t3");
    for (task, code, why) in
        [("t2", 4, "is being worked on"), ("t3", 4, "since t1 failed"), ("t9", 3, "no task")]
    {
        let refused = stage.call(&["retry", &format!("{}/{task}", job.id)]);
        assert_eq!(refused.code, Some(code), "{refused:?}");
        assert!(refused.stderr.contains(why), "{refused:?}");
    }
    let again = stage.call(&["retry", &format!("{}/t1", job.id)]);
    assert_eq!((again.code, again.stdout), (Some(0), format!("{}/t1: tried again\n", job.id)));
    job.until("job.task_completed", "t3");
    stage.raise("go");
    let ended = running.wait(PATIENCE);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(job.all("job.task_reopened", "t1").len(), 1);
    let over = stage.call(&["retry", &format!("{}/t1", job.id)]);
    assert_eq!(over.code, Some(4), "{over:?}");
}

#[test]
fn a_try_that_waits_for_its_time_begins_at_once_when_somebody_is_in_a_hurry() {
    let cut = json!([{"fail": {"message": "busy", "info": "server_overloaded"}}]);
    // The seventh try is due after more than half a minute.
    let script = Script::of([part("t1")]).with(on_calls(execute("t1"), &[1, 2, 3, 4, 5, 6]), cut);
    let stage = Stage::new("retry-hurry", &script);
    let (running, job) = stage.start(&[]);
    for tries in 1..=6 {
        stage.site.until("the next try is put off", PATIENCE, || {
            job.all("terminal.session_retried", "t1").len() == tries
        });
        let hurried = stage.call(&["retry", &format!("{}/t1", job.id)]);
        // A short wait may be over before anybody looks.
        assert!(matches!(hurried.code, Some(0 | 4)), "{hurried:?}");
    }
    let began = std::time::Instant::now();
    let ended = running.wait(PATIENCE);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(began.elapsed().as_secs() < 20, "the last wait alone is 32 s: {:?}", began.elapsed());
}

#[test]
fn a_rejected_file_is_dropped_again_and_what_has_not_ended_badly_is_not_done_again() {
    let yard = Yard::new("retry-rejected");
    yard.drop_file("notes.md", "---\npriority: 1000\n---\nnotes\n");
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(2));
    assert_eq!(yard.names("rejected"), ["notes.md", "notes.md.reason.json"]);
    yard.drop_file("my-notes.md", "---\npriority: 1000\n---\nnotes\n");
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(2));
    said(&yard.ask(&["start", "my-notes"]), 2, "my-notes.md was rejected: ");
    fs::remove_file(yard.folder("rejected").join("my-notes.md")).unwrap();
    fs::remove_file(yard.folder("rejected").join("my-notes.md.reason.json")).unwrap();
    let with_flags = yard.ask(&["retry", "notes.md", "--priority", "1"]);
    assert_eq!(with_flags.code, Some(2), "{with_flags:?}");
    for name in ["notes", "notes.md"] {
        let told = "notes.md was rejected: it is no job";
        said(&yard.ask(&["wait", name]), 3, told);
        said(&yard.ask(&["logs", name]), 3, "numerus status notes.md says why");
    }
    fs::write(yard.folder("rejected").join("notes.md"), "---\nplan: single\n---\nnotes\n").unwrap();
    let again = yard.ask(&["retry", "notes"]);
    assert_eq!((again.code, &*again.stdout), (Some(0), "notes: dropped again as notes.md\n"));
    assert!(again.stderr.contains("or work on it now with numerus start notes.md"), "{again:?}");
    assert_eq!(yard.names("rejected"), [""; 0]);
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(0));
    let job = yard.until_in("done", "notes-");
    for (target, code, why) in
        [(job.as_str(), 4, "has ended well"), ("nobody", 3, "no job is called")]
    {
        let refused = yard.ask(&["retry", target]);
        assert_eq!(refused.code, Some(code), "{refused:?}");
        assert!(refused.stderr.contains(why), "{refused:?}");
    }
}
