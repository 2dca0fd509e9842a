//! A person's go: it is to the plan that was shown, and whoever waits for it is not started for nothing.

use std::fs;
use std::process::Command;

use serde_json::json;

use crate::rehearsal::{Job, Script, Stage, part, processes_called, wait_for};
use crate::site::PATIENCE;
use crate::terminal::Terminal;
use crate::yard::{Yard, said};

/// `numerus start` of a new job on this stage.
fn start(stage: &Stage) -> Command {
    let mut command = stage.numerus(&["start", "do it", "--workspace"]);
    command.arg(&stage.workspace);
    command.arg(format!("--rehearse={}", stage.flag("script.json").display()));
    command
}

/// What somebody else does meanwhile: an editor that makes a plan of one task.
fn their_editor(dir: &std::path::Path) -> String {
    let task = json!({"id": "t1", "summary": "Only theirs", "description": "d"});
    let plan = json!({"objective": "theirs", "tasks": [task]});
    fs::write(dir.join("theirs.json"), plan.to_string()).unwrap();
    fs::write(dir.join("typed"), "e\n").unwrap();
    format!("cp {}/theirs.json", dir.display())
}

#[test]
fn a_yes_to_a_plan_that_somebody_has_edited_meanwhile_approves_nothing() {
    let stage = Stage::new("go-meanwhile", &Script::of([part("t1"), part("t2")]));
    let mut terminal = Terminal::start(&start(&stage), 100, 40);
    terminal.until("start it? [y]es, [e]dit, [n]o:");
    let jobs = stage.all_jobs();
    let job: &Job<'_> = &jobs[0];
    let mut theirs = stage.numerus(&["start", &job.id]);
    theirs.env("EDITOR", their_editor(stage.site.path()));
    theirs.stdin(fs::File::open(stage.flag("typed")).unwrap());
    said(&stage.site.run(&mut theirs), 4, "Only theirs");
    terminal.press("y\r");
    terminal.until("nothing was approved");
    terminal.until("Only theirs");
    assert!(job.all("job.plan_approved", "").is_empty());
    terminal.until_so("it asks again", |text| text.matches("start it?").count() == 2);
    terminal.press("y\r");
    assert_eq!(terminal.end(), 0, "{}", terminal.text());
    assert_eq!(job.all("job.plan_approved", "").len(), 1);
    assert_eq!(job.all("job.task_completed", "").len(), 1);
}

#[test]
fn an_edit_of_a_plan_that_somebody_has_edited_meanwhile_is_kept_and_replaces_nothing() {
    let stage = Stage::new("go-edits", &Script::of([part("t1"), part("t2")]));
    fs::write(stage.flag("later"), "").unwrap();
    let mut first = start(&stage);
    first.stdin(fs::File::open(stage.flag("later")).unwrap());
    said(&stage.site.run(&mut first), 4, "start it?");
    let jobs = stage.all_jobs();
    let job: &Job<'_> = &jobs[0];
    // While this editor is open, somebody else edits the plan, too.
    let dir = stage.site.path().display();
    let theirs = their_editor(stage.site.path());
    let numerus = env!("CARGO_BIN_EXE_numerus");
    let editor = format!(
        "EDITOR='{theirs}' {numerus} start {} < {dir}/typed; sed -i s/t2/mine/g \"$1\"",
        job.id
    );
    fs::write(stage.flag("editor.sh"), editor).unwrap();
    let mut mine = stage.numerus(&["start", &job.id]);
    mine.env("EDITOR", format!("sh {dir}/editor.sh"));
    mine.stdin(fs::File::open(stage.flag("typed")).unwrap());
    let ended = stage.site.run(&mut mine);
    said(&ended, 4, "has got another plan meanwhile, which stays");
    assert!(ended.stderr.contains("what you wrote is in "), "{ended:?}");
    assert_eq!(job.json("plan.json")["objective"], "theirs");
    assert_eq!(job.all("job.plan_created", "").len(), 2);
}

#[test]
fn at_the_question_every_answer_is_told_and_a_draft_that_was_left_is_opened_again() {
    let stage = Stage::new("go-answers", &Script::of([part("t1")]));
    let dir = stage.site.path().display().to_string();
    let task = json!({"id": "t1", "summary": "s", "description": "d", "dependencies": ["t9"]});
    let bad = json!({"objective": "mine", "tasks": [task]}).to_string();
    fs::write(stage.flag("bad.json"), &bad).unwrap();
    let editor = format!("cp \"$1\" {dir}/seen; cp {dir}/bad.json \"$1\"");
    fs::write(stage.flag("editor.sh"), editor).unwrap();
    fs::write(stage.flag("typed"), "\ne\nwhat\nq\ne\nq\nn\n").unwrap();
    let mut command = start(&stage);
    command.env("EDITOR", format!("sh {dir}/editor.sh"));
    let ended = stage.site.run(command.stdin(fs::File::open(stage.flag("typed")).unwrap()));
    said(&ended, 1, "y starts it, e opens the plan in your editor, n kills the job");
    said(&ended, 1, "e opens the draft again, q leaves it where it is");
    assert_eq!(fs::read_to_string(stage.flag("seen")).unwrap(), bad, "the draft that was left");
    let drafts = fs::read_dir(stage.site.root().join("spool/tmp")).unwrap().flatten();
    let drafts = drafts.filter(|e| e.file_name().to_string_lossy().starts_with("plan-"));
    assert_eq!(drafts.count(), 1);
    let job = &stage.all_jobs()[0].id;
    said(&ended, 1, &format!("numerus retry {job} plans it once more"));
}

#[test]
fn ctrl_c_at_the_question_says_that_the_job_waits() {
    let stage = Stage::new("go-interrupted", &Script::of([part("t1")]));
    let mut terminal = Terminal::start(&start(&stage), 100, 40);
    terminal.until("start it? [y]es, [e]dit, [n]o:");
    terminal.press("\x03");
    assert_eq!(terminal.end(), 130, "{}", terminal.text());
    let job = &stage.all_jobs()[0].id;
    let text = terminal.text();
    let way = format!("{job} waits; numerus start {job} goes on");
    assert!(text.lines().any(|line| line.trim() == way), "{text}");
}

#[test]
fn a_go_in_top_is_to_the_plan_that_was_there_when_it_was_asked_for() {
    let yard = Yard::new("go-top");
    let _daemon = yard.daemon(&[]);
    yard.drop_job("three", "three", "approve: true\n");
    let job = yard.until_in("claimed", "three");
    let mut terminal = Terminal::start(&yard.numerus(&["top"]), 100, 24);
    terminal.until("a approve");
    terminal.press("a");
    terminal.until(&format!("approve {job}? [y/n]"));
    let mut theirs = yard.numerus(&["start", &job]);
    theirs.env("EDITOR", their_editor(yard.site.path()));
    theirs.stdin(fs::File::open(yard.path("typed")).unwrap());
    said(&yard.site.run(&mut theirs), 4, "Only theirs");
    terminal.press("y");
    terminal.until("has another plan by now: nothing was approved");
    assert_eq!(yard.count(&job, "job.plan_approved"), 0);
    terminal.press("ay");
    terminal.until(&format!("{job}: goes on"));
    yard.until_in("done", "three");
    terminal.press("q");
    assert_eq!(terminal.end(), 0);
}

#[test]
fn a_worker_that_comes_while_a_plan_waits_for_a_person_leaves_no_trace() {
    let yard = Yard::new("go-worker");
    let typed = |text: &str| {
        fs::write(yard.path("typed"), text).unwrap();
        fs::File::open(yard.path("typed")).unwrap()
    };
    let ended =
        yard.site.run(yard.numerus(&["start", "two words", "--plan", "single"]).stdin(typed("")));
    said(&ended, 4, "start it?");
    let job = yard.job("two-words-").unwrap();
    let journal = || fs::read_to_string(yard.run(&job).join("events.ndjson")).unwrap();
    let before = journal();
    assert_eq!(yard.ask(&["worker", &job]).code, Some(0));
    assert_eq!(journal(), before);
    // What somebody wishes of the job is done all the same.
    fs::write(yard.run(&job).join("want.paused"), "").unwrap();
    assert_eq!(yard.ask(&["worker", &job]).code, Some(0));
    said(
        &yard.ask(&["status", &job]),
        0,
        &format!("message    `numerus resume {job}` lets it go on"),
    );
    fs::remove_file(yard.run(&job).join("want.paused")).unwrap();
    let again = yard.site.run(yard.numerus(&["start", &job]).stdin(typed("")));
    said(&again, 4, "start it?");
    fs::write(yard.run(&job).join("want.killed"), "").unwrap();
    assert_eq!(yard.ask(&["worker", &job]).code, Some(0));
    assert_eq!(yard.end_of(&job).0, "killed");
}

#[test]
fn a_job_that_was_paused_while_its_plan_waits_is_resumed_to_wait_for_the_person() {
    let yard = Yard::new("go-paused");
    let job = yard.submit(&["two words", "--plan", "single"]);
    said(&yard.ask(&["start", &job]), 4, "start it?");
    let waits = format!("{job}: is held back no more; numerus start {job} shows its plan and asks");
    said(&yard.ask(&["pause", &job]), 0, "paused");
    said(&yard.ask(&["resume", &job]), 0, &waits);
    said(&yard.ask(&["resume", &job]), 0, &waits);
    fs::write(yard.run(&job).join("want.paused"), "").unwrap();
    said(&yard.ask(&["resume", &job]), 0, &waits);
    said(&yard.ask(&["pause", &job]), 0, "paused");
    let asked = yard.ask(&["start", &job]);
    said(&asked, 4, "is paused no more");
    assert!(asked.stderr.contains("start it?"), "{asked:?}");
    assert!(!asked.stderr.contains("goes on with it"), "{asked:?}");
    said(&yard.agree(&["start", &job]), 0, "state      succeeded");
}

#[test]
fn a_no_to_a_plan_that_somebody_has_said_yes_to_meanwhile_kills_nothing() {
    let script = Script::of([part("t1")]).working("t1", &[wait_for("flag")]);
    // As it was shown, and as they have made another one of it.
    for (name, typed) in [("go-no", "y\n"), ("go-no-other", "e\ny\n")] {
        let stage = Stage::new(name, &script);
        let mut terminal = Terminal::start(&start(&stage), 100, 40);
        terminal.until("start it? [y]es, [e]dit, [n]o:");
        let jobs = stage.all_jobs();
        let job: &Job<'_> = &jobs[0];
        let mut theirs = stage.numerus(&["start", &job.id]);
        theirs.env("EDITOR", their_editor(stage.site.path()));
        fs::write(stage.flag("typed"), typed).unwrap();
        theirs.stdin(fs::File::open(stage.flag("typed")).unwrap());
        let theirs = stage.site.spawn(&mut theirs);
        job.until("job.task_started", "t1");
        terminal.press("n\r");
        assert_eq!(terminal.end(), 4, "{name}: {}", terminal.text());
        assert!(terminal.text().contains("nothing was killed"), "{name}: {}", terminal.text());
        stage.raise("flag");
        assert_eq!(theirs.wait(PATIENCE).code, Some(0), "{name}");
        assert_eq!(job.stands().0, "succeeded", "{name}");
    }
}

#[test]
fn a_start_beside_a_daemon_has_one_worker_for_the_plan_and_one_for_the_rest() {
    let yard = Yard::new("go-daemon");
    let _daemon = yard.daemon(&[]);
    let start = yard.numerus(&["start", "two words", "--plan", "single"]);
    let mut terminal = Terminal::start(&start, 100, 24);
    terminal.until("start it? [y]es, [e]dit, [n]o:");
    let job = yard.job("two-words-").unwrap();
    // Both of them have started one, and the second waited for the first.
    yard.until("no worker is left", || processes_called(&job).is_empty());
    let counted = || ["job.paused", "job.worker_started"].map(|event| yard.count(&job, event));
    assert_eq!(counted(), [1, 1], "{:?}", yard.site.journal(&job));
    terminal.press("y\r");
    assert_eq!(terminal.end(), 0, "{}", terminal.text());
    yard.until_in("done", "two-words-");
    assert_eq!(counted(), [1, 2], "{:?}", yard.site.journal(&job));
}

#[test]
fn a_start_of_a_job_without_a_plan_asks_before_anything_is_executed() {
    let yard = Yard::new("go-asks");
    let job = yard.submit(&["submitted", "--plan", "single"]);
    yard.drop_job("dropped", "dropped", "");
    for (name, start) in [(job.as_str(), "submitted-"), ("dropped.md", "dropped-")] {
        let asked = yard.ask(&["start", name]);
        said(&asked, 4, "start it? [y]es, [e]dit, [n]o:");
        let job = yard.job(start).unwrap();
        assert_eq!(yard.count(&job, "job.claim_approved"), 0, "{asked:?}");
        // A daemon asks nobody, and leaves it alone as well.
        assert_eq!(yard.ask(&["worker", &job]).code, Some(0));
        said(&yard.ask(&["status", &job]), 0, "paused (approval)");
        said(&yard.agree(&["start", &job]), 0, "state      succeeded");
    }
}

#[test]
fn a_plan_approved_where_no_daemon_is_waits_for_a_worker_and_for_nobody_else() {
    let yard = Yard::new("go-no-daemon");
    let job = yard.submit(&["two words", "--plan", "single"]);
    said(&yard.ask(&["start", &job]), 4, "start it?");
    let mut terminal = Terminal::start(&yard.numerus(&["top"]), 100, 24);
    terminal.until("a approve");
    terminal.press("ay");
    terminal.until("goes on with the next daemon, or at once by numerus start");
    terminal.until_so("nothing waits for a person", |text| !text.contains("a approve"));
    terminal.press("q");
    assert_eq!(terminal.end(), 0);
    let status = fs::read_to_string(yard.run(&job).join("status.json")).unwrap();
    assert!(status.contains("\"state\": \"running\""), "{status}");
    said(&yard.ask(&["status", &job]), 0, "worker     none: a daemon starts one");
    said(&yard.ask(&["resume", &job]), 0, "goes on with the next daemon");
    let gone = yard.ask(&["start", &job]);
    said(&gone, 0, "has its plan already, and goes on with it");
    assert!(!gone.stderr.contains("start it?"), "{gone:?}");
    assert_eq!(yard.count(&job, "job.plan_approved"), 1);
}
