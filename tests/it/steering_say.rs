//! Notes to agents, and looking over their shoulder.

use std::fs;

use rustix::process::Signal;
use serde_json::json;

use crate::rehearsal::{Job, Script, Stage, execute, on_calls, part, raise, wait_for};
use crate::site::PATIENCE;
use crate::yard::{Yard, said};

/// A job whose first attempt of t1 waits to be let go, and then fails.
fn at_work(name: &str) -> Stage {
    let fails = json!({"fail": {"message": "no", "info": "other"}});
    let script = Script::of([part("t1"), part("t2").after(&["t1"])])
        .with(on_calls(execute("t1"), &[1]), json!([raise("at-work"), wait_for("go"), fails]));
    Stage::new(name, &script)
}

fn prompts(job: &Job<'_>, place: &str) -> Vec<String> {
    let names = |n: u32| job.dir().join(place).join(format!("prompt-{n}.md"));
    (1..9).filter_map(|n| fs::read_to_string(names(n)).ok()).collect()
}

#[test]
fn a_note_stands_in_every_later_prompt_of_its_task_or_job_and_in_none_before() {
    let stage = at_work("send");
    let (running, job) = stage.start(&[]);
    stage.until_raised("at-work");
    let to_task = stage.call(&["send", &format!("{}/t1", job.id), "use tabs\nTASK_ID: t9"]);
    said(
        &to_task,
        0,
        "/t1: note 1; read by every session of the task that starts from now on, not by one that runs",
    );
    fs::write(stage.flag("typed"), "for all\n").unwrap();
    let mut command = stage.numerus(&["send", &job.id, "-"]);
    command.stdin(fs::File::open(stage.flag("typed")).unwrap());
    said(&stage.site.run(&mut command), 0, ": note 1; read by every session of the job");
    let before = prompts(&job, "t1").len();
    stage.raise("go");
    let ended = running.wait(PATIENCE);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let of_t1 = prompts(&job, "t1");
    assert!(of_t1.len() > before);
    for (n, prompt) in of_t1.iter().enumerate() {
        let has = prompt.contains("To the agents of this task:\n> use tabs\n> TASK_ID: t9\n")
            && prompt.contains("To all agents of the job:\n> for all\n");
        assert_eq!(has, n >= before, "prompt {}: {prompt}", n + 1);
        assert!(has || !prompt.contains("use tabs"));
    }
    for prompt in prompts(&job, "t2") {
        assert!(prompt.contains("> for all") && !prompt.contains("use tabs"), "{prompt}");
    }
    assert_eq!(job.read("note-1.md"), "for all");
    said(&stage.call(&["send", &job.id, "too late"]), 4, "has ended already (succeeded)");
}

#[test]
fn what_is_no_note_or_has_no_reader_is_refused_and_nothing_is_written() {
    let yard = Yard::new("send-refused");
    let _daemon = yard.daemon(&[]);
    yard.drop_job("hold-n", "hold-n", "");
    yard.until_reached("hold-n");
    let job = yard.job("hold-n-").unwrap();
    let long = "x".repeat(16 * 1024 + 1);
    for (target, text, code, words) in [
        (job.as_str(), "a\u{1b}[2J", 2, "control character"),
        (&job, " ", 2, "is empty"),
        (&job, &long, 2, "at most 16384"),
        ("nobody", "x", 3, "no job is called"),
        (&format!("{job}/t9"), "x", 3, "no task is called"),
    ] {
        said(&yard.ask(&["send", target, text]), code, words);
    }
    assert!(!yard.run(&job).join("note-1.md").exists());
    for number in 1..=16 {
        said(&yard.ask(&["send", &job, "again"]), 0, &format!("note {number};"));
    }
    said(&yard.ask(&["send", &job, "again"]), 4, "16 notes already");
    yard.let_go("hold-n");
    yard.until_in("done", "hold-n-");
}

#[test]
fn who_attaches_sees_one_session_after_the_other_until_the_task_has_ended() {
    let stage = at_work("attach");
    let (running, job) = stage.start(&[]);
    stage.until_raised("at-work");
    let watching = stage.site.spawn(&mut stage.numerus(&["attach", &format!("{}/t1", job.id)]));
    let leaving = stage.site.spawn(&mut stage.numerus(&["attach", &job.id]));
    for shown in [&watching, &leaving] {
        stage
            .site
            .until("what was said before", PATIENCE, || shown.stdout().contains("── session "));
    }
    leaving.signal(Signal::INT);
    said(&leaving.wait(PATIENCE), 0, "/t1: goes on without you");
    stage.raise("go");
    let ended = watching.wait(PATIENCE);
    said(&ended, 0, "/t1: succeeded");
    for words in ["\nfailed: no\n", "t1 is done", "\ndone: "] {
        assert!(ended.stdout.contains(words), "{words}: {ended:?}");
    }
    assert!(!ended.stdout.contains("{\"type\""), "as `logs` tells it: {ended:?}");
    assert!(ended.stderr.contains("(claim) begins"), "{ended:?}");
    assert_eq!(running.wait(PATIENCE).code, Some(0));
    let input = stage.call(&["attach", &format!("{}/t1", job.id), "--input"]);
    said(&input, 2, "numerus send");
    said(&stage.call(&["attach", &format!("{}/t9", job.id)]), 3, "has no task");
    said(&stage.call(&["attach", &job.id]), 4, "no session of");
}
