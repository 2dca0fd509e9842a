//! A person's editor: jobs that have not begun, and plans that wait for a word.

use std::fs;

use serde_json::{Value, json};

use crate::rehearsal::{Script, Stage, part};
use crate::site::{Ended, PATIENCE};
use crate::yard::{Yard, said};

fn id_of(ended: &Ended) -> String {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    ended.stdout.trim_end().to_owned()
}

#[test]
fn a_job_that_nobody_has_taken_is_withdrawn_and_the_edited_one_takes_its_place() {
    let yard = Yard::new("edit-incoming");
    let words = ["first words", "--plan", "single", "--label", "mine", "--key", "once"];
    let old = yard.submit(&words);
    let unchanged = yard.ask_editing("true", &["edit", &old]);
    assert_eq!((unchanged.code, unchanged.stdout.as_str()), (Some(0), ""), "{unchanged:?}");
    let by_flag = yard.ask(&["edit", &old, "--priority", "7"]);
    let second = id_of(&by_flag);
    assert!(by_flag.stderr.contains(&format!("{old}: withdrawn; {second} takes its place")));
    let third = id_of(&yard.ask_editing("sed -i s/first/other/", &["edit", &second]));
    assert_eq!(yard.names("incoming"), [format!("{third}.json")]);
    let mut gone = vec![format!("{old}.json"), format!("{second}.json")];
    gone.sort();
    assert_eq!(yard.names("killed"), gone);
    said(&yard.ask(&["status", &old]), 0, &format!("{second} takes its place"));
    for command in ["edit", "pause"] {
        let refused = yard.ask(&[command, &old]);
        said(&refused, 4, &format!("it was edited, and {second} took its place"));
        assert!(!refused.stderr.contains("retry"), "{refused:?}");
    }
    let file = fs::read(yard.incoming().join(format!("{third}.json"))).unwrap();
    let file: Value = serde_json::from_slice(&file).unwrap();
    let expected = json!({"objective": "other words", "plan": "single", "labels": ["mine"],
                          "key": "once", "priority": 7});
    assert_eq!(file, expected, "nothing else has changed");
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(0));
    assert_eq!(yard.names("done").len(), 1, "it ran once");
}

#[test]
fn a_file_that_is_changed_while_it_is_in_the_editor_is_not_withdrawn_unseen() {
    let yard = Yard::new("edit-changed");
    let old = yard.submit(&["first words"]);
    let file = yard.incoming().join(format!("{old}.json"));
    let (other, new) = (yard.path("other.json"), r#"{"objective": "theirs"}"#);
    for how in ["mv", "cp"] {
        fs::write(&other, new).unwrap();
        let editor = format!("{how} {} {}; sed -i s/first/mine/", other.display(), file.display());
        fs::write(yard.path("editor.sh"), format!("{editor} \"$1\"\n")).unwrap();
        let editor = format!("sh {}", yard.path("editor.sh").display());
        let refused = yard.ask_editing(&editor, &["edit", &old]);
        said(&refused, 4, "has changed since it was read");
        let draft = refused.stderr.split("what you wrote is in ").nth(1).expect("a path").trim();
        assert!(fs::read_to_string(draft).unwrap().contains("mine words"));
        assert_eq!(fs::read_to_string(&file).unwrap(), new, "it stays");
        assert!(yard.names("killed").is_empty());
        fs::write(&file, r#"{"objective": "first words, again"}"#).unwrap();
    }
}

#[test]
fn what_came_first_while_a_job_was_in_the_editor_is_told_as_it_is() {
    let yard = Yard::new("edit-first");
    let editing = |job: &str, meanwhile: &str| {
        let numerus = env!("CARGO_BIN_EXE_numerus");
        let lines = meanwhile.replace("numerus", numerus);
        let script = format!("{lines} >&2\nsed -i 's/^rests/mine/' \"$1\"\n");
        fs::write(yard.path("editor.sh"), script).unwrap();
        let refused =
            yard.ask_editing(&format!("sh {}", yard.path("editor.sh").display()), &["edit", job]);
        assert!(refused.stderr.contains("what you wrote is in "), "{refused:?}");
        assert!(!refused.stderr.contains("has begun"), "{refused:?}");
        refused
    };
    let paused = yard.submit(&["rests"]);
    let refused = editing(&paused, &format!("numerus pause {paused}"));
    said(&refused, 4, &format!("numerus edit {paused} once more changes it"));
    assert_eq!(yard.ask(&["edit", &paused, "--priority", "7"]).code, Some(0));
    for taken in [false, true] {
        let job = || {
            let job = yard.submit(&["rests"]);
            if taken {
                assert_eq!(yard.ask(&["pause", &job]).code, Some(0));
            }
            job
        };
        let killed = job();
        let refused = editing(&killed, &format!("numerus kill {killed}"));
        said(&refused, 4, &format!("{killed} has ended already (killed)"));
        let removed = job();
        let prune = "numerus prune --state killed --yes";
        let meanwhile = format!("numerus kill {removed}\n{prune}");
        said(&editing(&removed, &meanwhile), 3, &format!("{removed} was removed"));
    }
}

#[test]
fn what_an_edit_changes_besides_is_said() {
    let yard = Yard::new("edit-drops");
    let place = yard.path("place").display().to_string();
    fs::create_dir(&place).unwrap();
    let old =
        yard.submit(&["first", "--plan", "single", "--verify", "true", "--workspace", &place]);
    let edited = yard.ask_editing("sh -c 'echo other > \"$1\"' sh", &["edit", &old]);
    for words in ["gone: plan, verify, workspace; other: objective", "names no workspace"] {
        assert!(edited.stderr.contains(words), "{words}: {edited:?}");
    }
    let edited = yard.ask(&["edit", &id_of(&edited), "--workspace", &place, "--label", "mine"]);
    for words in ["new: labels, workspace\n", &format!("works on {place}\n")] {
        assert!(edited.stderr.contains(words), "{words}: {edited:?}");
    }
    assert_eq!(id_of(&edited).lines().count(), 1, "its id alone is on stdout");
}

#[test]
fn without_a_terminal_and_an_editor_nothing_is_opened_and_what_to_do_is_said() {
    let yard = Yard::new("edit-nothing");
    let old = yard.submit(&["first words"]);
    let mut command = yard.numerus(&["edit", &old]);
    command.env_remove("VISUAL").env_remove("EDITOR");
    let refused = yard.site.run(&mut command);
    said(&refused, 2, "vi needs a terminal");
    for hint in ["set EDITOR", "--priority 20"] {
        assert!(refused.stderr.contains(hint), "{refused:?}");
    }
    assert_eq!(yard.names("tmp"), [""; 0], "no draft is left");
    said(&yard.ask_editing("rm", &["edit", &old]), 2, "the editor has left no draft");
    assert_eq!(yard.names("incoming"), [format!("{old}.json")]);
}

#[test]
fn a_taken_job_that_has_not_begun_ends_and_the_edited_one_is_taken() {
    let yard = Yard::new("edit-taken");
    let _daemon = yard.daemon(&[]);
    let old = yard.resting("rests");
    fs::write(yard.path("bad.md"), "---\npriority: 1000\n---\nrests\n").unwrap();
    let bad = yard.ask_editing(&format!("cp {}", yard.path("bad.md").display()), &["edit", &old]);
    assert_eq!(bad.code, Some(2), "{bad:?}");
    assert!(bad.stderr.contains("[e]dit again or [q]uit?"), "{bad:?}");
    let draft = bad.stderr.split("what you wrote is in ").nth(1).expect("a path").trim();
    assert_eq!(fs::read_to_string(draft).unwrap(), "---\npriority: 1000\n---\nrests\n");
    assert_eq!(yard.count(&old, "job.finished"), 0, "nothing has changed");
    let new = id_of(&yard.ask_editing("sed -i s/2999/2998/", &["edit", &old]));
    let (reason, message) = yard.end_of(&old);
    assert_eq!(reason, "killed");
    assert_eq!(message, format!("edited by a person: {new} takes its place"));
    yard.until("it is taken", || yard.count(&new, "job.claimed") == 1);
    let options: Value =
        serde_json::from_slice(&fs::read(yard.run(&new).join("job.json")).unwrap()).unwrap();
    assert_eq!(options["options"]["not_before"], json!("2998-01-01T00:00:00Z"));
    let shown = yard.ask(&["status", &new]).stdout;
    assert!(!shown.contains("numerus start"), "its time comes first: {shown}");
}

#[test]
fn what_has_begun_or_is_waited_for_is_not_edited() {
    let yard = Yard::new("edit-refused");
    let _daemon = yard.daemon(&[]);
    let first = yard.resting("first");
    yard.drop_job("second", "second", &format!("after: {first}\n"));
    yard.until("it is taken", || {
        yard.job("second-").is_some_and(|j| yard.count(&j, "job.claimed") == 1)
    });
    yard.drop_job("hold-b", "hold-b", "");
    yard.until_reached("hold-b");
    for (job, why) in [("first", "waits for first-"), ("hold-b", "has begun (running)")] {
        let refused = yard.ask(&["edit", job, "--priority", "1"]);
        assert_eq!(refused.code, Some(4), "{refused:?}");
        assert!(refused.stderr.contains(why), "{refused:?}");
    }
    assert_eq!(yard.ask(&["edit", "nobody"]).code, Some(3));
    yard.let_go("hold-b");
    yard.until_in("done", "hold-b-");
}

#[test]
fn what_a_submitted_job_waits_for_is_named_whole_and_not_edited_away() {
    let yard = Yard::new("edit-followed");
    let base = yard.submit(&["base", "--plan", "single", "--not-before", "2999-01-01T00:00:00Z"]);
    let top = yard.submit(&["top", "--plan", "single", "--after", "base"]);
    let file = fs::read(yard.incoming().join(format!("{top}.json"))).unwrap();
    let file: Value = serde_json::from_slice(&file).unwrap();
    assert_eq!(file["after"], json!([base]));
    let refused = yard.ask(&["edit", "base", "--priority", "5"]);
    said(&refused, 4, &format!("{top} waits for {base}"));
    assert!(refused.stderr.contains(&format!("numerus edit {top} --after OTHER")), "{refused:?}");
    // What names its front alone means what takes its place.
    assert_eq!(yard.ask(&["kill", &top]).code, Some(0));
    yard.drop_job("by-hand", "by hand", "after: base\n");
    let new = id_of(&yard.ask(&["edit", "base", "--priority", "5"]));
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(4));
    let by_hand = yard.job("by-hand-").unwrap();
    let job: Value =
        serde_json::from_slice(&fs::read(yard.run(&by_hand).join("job.json")).unwrap()).unwrap();
    assert_eq!(job["options"]["after"], json!([new]));
    assert_eq!(yard.names("rejected").len(), 0);
}

#[test]
fn a_key_of_another_job_is_refused_before_anything_is_withdrawn() {
    let yard = Yard::new("edit-key");
    let first = yard.submit(&["the first", "--key", "once"]);
    let old = yard.submit(&["the second"]);
    let refused = yard.ask(&["edit", &old, "--key", "once"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert!(refused.stderr.contains(&format!("was used by {first} already")), "{refused:?}");
    assert_eq!(yard.names("incoming").len(), 2, "both are as they were");
    assert_eq!(yard.ask(&["kill", &old]).code, Some(0));
    let refused = yard.ask(&["retry", &old, "--key", "once"]);
    assert_eq!(refused.code, Some(2), "{refused:?}");
    assert_eq!(yard.names("incoming"), [format!("{first}.json")]);
    assert_eq!(yard.ask(&["retry", ""]).code, Some(2), "nothing is named");
    assert_eq!(yard.names("incoming"), [format!("{first}.json")]);
}

#[test]
fn a_paused_job_is_edited_under_a_daemon_and_never_begins() {
    let yard = Yard::new("edit-paused");
    let _daemon = yard.daemon(&[]);
    let old = yard.resting("rests");
    assert_eq!(yard.ask(&["pause", &old]).code, Some(0));
    assert_eq!(yard.ask(&["send", &old, "mind the gap"]).code, Some(0));
    let new = id_of(&yard.ask(&["edit", &old, "--not-before", "2020-01-01T00:00:00Z"]));
    said(&yard.ask(&["status", &new]), 0, "state      paused");
    let note = fs::read_to_string(yard.run(&new).join("note-1.md")).unwrap();
    assert_eq!(note.trim(), "mind the gap");
    // One that is dropped now is done before the daemon thinks of anything else.
    yard.drop_job("witness", "witness", "");
    yard.until_in("done", "witness-");
    assert_eq!(yard.count(&new, "job.worker_started"), 0);
    assert_eq!(yard.ask(&["resume", &new]).code, Some(0));
    yard.until_in("done", &new);
}

#[test]
fn the_notes_of_a_job_go_with_the_one_that_takes_its_place() {
    let yard = Yard::new("edit-notes");
    let _daemon = yard.daemon(&[]);
    let old = yard.resting("rests");
    assert_eq!(yard.ask(&["send", &old, "mind the gap"]).code, Some(0));
    let new = id_of(&yard.ask(&["edit", &old, "--not-before", "2020-01-01T00:00:00Z"]));
    yard.until_in("done", &new);
    let prompts = fs::read_dir(yard.run(&new).join("t1")).unwrap().flatten();
    let texts: Vec<String> = prompts
        .filter(|e| e.file_name().to_string_lossy().starts_with("prompt-"))
        .map(|e| fs::read_to_string(e.path()).unwrap())
        .collect();
    assert!(!texts.is_empty() && texts.iter().all(|t| t.contains("> mind the gap")), "{texts:?}");
}

#[test]
fn a_paused_job_stays_at_rest_when_it_is_edited_and_no_daemon_runs() {
    let yard = Yard::new("edit-paused-alone");
    let old = yard.submit(&["rests", "--plan", "single"]);
    assert_eq!(yard.ask(&["pause", &old]).code, Some(0));
    let new = id_of(&yard.ask(&["edit", &old, "--priority", "5"]));
    said(&yard.ask(&["status", &new]), 0, "state      paused");
    assert_eq!(yard.names("incoming"), [""; 0]);
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(4), "it rests");
    assert_eq!(yard.ask(&["resume", &new]).code, Some(0));
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(0));
}

#[test]
fn start_lets_the_plan_be_edited_before_anything_of_it_begins() {
    let stage = Stage::new("start-edit", &Script::of([part("t1"), part("t2")]));
    let plan = |tasks: Value| json!({"objective": "mine", "strategy": "alone", "tasks": tasks});
    let task = |on: &str| {
        let on: Vec<&str> = Some(on).filter(|on| !on.is_empty()).into_iter().collect();
        json!({"id": "t1", "summary": "Only this", "description": "d", "dependencies": on})
    };
    fs::write(stage.flag("bad.json"), plan(json!([task("t9")])).to_string()).unwrap();
    fs::write(stage.flag("good.json"), plan(json!([task("")])).to_string()).unwrap();
    let editor = format!(
        "if [ -e {0}/once ]; then cp {0}/good.json \"$1\"; else touch {0}/once; cp {0}/bad.json \"$1\"; fi",
        stage.site.path().display()
    );
    fs::write(stage.flag("editor.sh"), editor).unwrap();
    fs::write(stage.flag("typed"), "e\ne\ny\n").unwrap();
    let mut command = stage.numerus(&["start", "do it", "--workspace"]);
    command.arg(&stage.workspace);
    command.arg(format!("--rehearse={}", stage.flag("script.json").display()));
    command.env("EDITOR", format!("sh {}", stage.flag("editor.sh").display()));
    let ended = stage.site.run(command.stdin(fs::File::open(stage.flag("typed")).unwrap()));
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stderr.contains("`t1` depends on `t9`"), "{ended:?}");
    assert_eq!(ended.stderr.matches("TASK  ROLE").count(), 2, "each plan once: {}", ended.stderr);
    let jobs = stage.all_jobs();
    let job = &jobs[0];
    assert!(ended.stderr.contains(&format!("`numerus start {}`", job.id)), "{}", ended.stderr);
    let plans: Vec<u64> = job
        .all("job.plan_created", "")
        .iter()
        .map(|e| e["payload"]["plan"].as_u64().unwrap())
        .collect();
    assert_eq!(plans, [1, 2], "nothing is replaced");
    assert_eq!(job.json("plan-1.json")["tasks"].as_array().unwrap().len(), 2);
    assert_eq!(job.json("plan-2.json")["tasks"].as_array().unwrap().len(), 1);
    assert_eq!(job.all("job.task_completed", "").len(), 1);
    let branch = stage.git(&["ls-tree", "--name-only", &format!("numerus/{}", job.id)]);
    assert_eq!(branch, "README\nsrc\nt1.txt\n");
    let drafts = fs::read_dir(stage.site.root().join("spool/tmp")).unwrap();
    let left: Vec<_> = drafts.flatten().map(|e| e.file_name()).filter(|n| n != "wake").collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_start_that_is_cancelled_is_no_success() {
    let stage = Stage::new("start-cancel", &Script::of([part("t1")]));
    fs::write(stage.flag("typed"), "n\n").unwrap();
    let mut command = stage.numerus(&["start", "do it", "--workspace"]);
    command.arg(&stage.workspace);
    command.arg(format!("--rehearse={}", stage.flag("script.json").display()));
    command.stdin(fs::File::open(stage.flag("typed")).unwrap());
    let ended = stage.site.spawn(&mut command).wait(PATIENCE);
    assert_eq!(ended.code, Some(1), "{ended:?}");
}
