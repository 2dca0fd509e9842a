//! What a person wants of a job that goes on: rest, and going on again.

use serde_json::{Value, json};

use crate::yard::{Yard, said};

fn status(yard: &Yard, job: &str) -> Value {
    serde_json::from_str(&yard.ask(&["status", job, "--json"]).stdout).unwrap()
}

#[test]
fn a_job_that_is_paused_at_work_rests_and_does_what_is_left_when_it_is_resumed() {
    let yard = Yard::new("pause");
    yard.drop_job("hold-a", "hold-a", "");
    let _daemon = yard.daemon(&[]);
    yard.until_reached("hold-a");
    let job = yard.job("hold-a-").unwrap();
    said(&yard.ask(&["pause", "hold-a"]), 0, &format!("{job}: paused; numerus resume {job}"));
    let at_rest = status(&yard, &job);
    assert_eq!((&at_rest["state"], &at_rest["reason"]), (&json!("paused"), &json!("user")));
    assert_eq!(crate::site::processes_with_env("NUMERUS_JOB", &job), [0_u32; 0]);
    said(&yard.ask(&["pause", &job]), 0, "paused");
    assert_eq!(yard.count(&job, "job.paused"), 1, "it rests already");
    yard.let_go("hold-a");
    said(&yard.ask(&["resume", &job]), 0, "goes on\n");
    yard.until_in("done", "hold-a-");
    assert_eq!(yard.count(&job, "job.task_completed"), 1);
    assert_eq!(yard.count(&job, "job.resumed"), 1);
    assert_eq!(status(&yard, &job)["tasks"][0]["attempt"], json!(2), "nothing was charged: 1 try");
}

#[test]
fn what_nobody_works_on_rests_too_and_no_daemon_starts_it() {
    let yard = Yard::new("pause-queued");
    let waits = yard.submit(&["wait", "--plan", "single"]);
    yard.drop_job("other", "other", "");
    said(&yard.ask(&["pause", &waits]), 0, "paused");
    assert_eq!(status(&yard, &waits)["reason"], json!("user"), "it was taken, to rest");
    // What rests does not keep a daemon from its end, which tells of it.
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(4));
    yard.until_in("done", "other-");
    assert_eq!(yard.count(&waits, "job.worker_started"), 0);
    said(&yard.ask(&["resume", &waits]), 0, &format!("at once by numerus start {waits}"));
    assert_eq!(status(&yard, &waits)["state"], json!("queued"));
    said(&yard.ask(&["resume", &waits]), 0, "is not paused (queued)");
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(0));
    assert_eq!(yard.names("done").len(), 2);
}

#[test]
fn of_several_jobs_each_has_its_answer_and_the_worst_code_counts() {
    let yard = Yard::new("pause-many");
    let one = yard.submit(&["one", "--plan", "single"]);
    yard.drop_job("over", "over", "");
    said(&yard.ask(&["pause", &one]), 0, "paused");
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(4));
    let ended = yard.ask(&["pause", "over", &one, "nobody"]);
    said(&ended, 4, &format!("{one}: paused"));
    for words in
        ["has ended already (succeeded)", "no job is called \"nobody\"", "numerus submit -f"]
    {
        said(&ended, 4, words);
    }
    said(&yard.ask(&["resume", "nobody"]), 3, "no job is called");
    said(&yard.ask(&["resume", "over"]), 4, "has ended already");
}

#[test]
fn of_several_that_are_to_end_each_has_its_answer() {
    let yard = Yard::new("kill-many");
    let (one, two) = (yard.submit(&["one"]), yard.submit(&["two"]));
    let ended = yard.ask(&["kill", &one, "nobody", &two]);
    for words in [
        format!("{one}: withdrawn before anyone took it\n"),
        "no job is called \"nobody\"".to_owned(),
        format!("{two}: withdrawn before anyone took it\n"),
    ] {
        said(&ended, 3, &words);
    }
    assert_eq!(yard.names("incoming"), [""; 0]);
}

#[test]
fn the_short_name_of_a_job_and_its_retry_is_that_of_the_one_which_has_not_ended() {
    let yard = Yard::new("short-names");
    yard.drop_job("bad-a", "bad-a", "");
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(1));
    let old = yard.job("bad-a-").unwrap();
    let new = yard.ask(&["retry", "bad-a"]).stdout.trim_end().to_owned();
    said(&yard.ask(&["status", "bad-a"]), 0, &new);
    said(&yard.ask(&["apply", "bad-a"]), 2, &format!("{old} (failed "));
    said(&yard.ask(&["pause", "bad-a"]), 0, &format!("{new}: paused"));
    said(&yard.ask(&["kill", "bad-a"]), 0, &format!("{new}: killed"));
    said(&yard.ask(&["kill", "bad-a"]), 2, "names 2 jobs");
}
