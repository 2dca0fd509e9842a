//! What a command says to somebody who is new here, and that it stays true a moment later.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use rustix::process::Signal;
use serde_json::Value;

use crate::site::{PATIENCE, Site};
use crate::yard::{Yard, said};

#[test]
fn a_job_that_waits_for_its_time_says_so_again_after_a_pause() {
    let yard = Yard::new("resumed-wait");
    let first = yard.submit(&["hold-on", "--not-before", "2999-01-01T00:00:00Z"]);
    let second = yard.submit(&["later", "--after", &first]);
    for (job, reason) in [(&first, "not_before"), (&second, "dependency")] {
        assert_eq!(yard.ask(&["pause", job]).code, Some(0));
        assert_eq!(yard.ask(&["resume", job]).code, Some(0));
        let said = yard.ask(&["status", job, "--json"]);
        let status: Value = serde_json::from_str(&said.stdout).unwrap();
        assert_eq!((&status["state"], &status["reason"]), (&"paused".into(), &reason.into()));
    }
}

#[test]
fn whoever_follows_a_job_that_is_withdrawn_before_it_is_taken_is_told_so() {
    let yard = Yard::new("follow-withdrawn");
    let job = yard.submit(&["never"]);
    let follow = |command: &str| yard.site.spawn(&mut yard.numerus(&[command, &job, "--follow"]));
    let (logs, events) = (follow("logs"), follow("events"));
    assert_eq!(yard.ask(&["kill", &job]).code, Some(0));
    let (logs, events) = (logs.wait(PATIENCE), events.wait(PATIENCE));
    assert_eq!((logs.code, events.code), (Some(0), Some(0)), "{logs:?} {events:?}");
    assert!(logs.stderr.contains(&format!("{job}: killed")), "{logs:?}");
}

#[test]
fn a_key_that_waits_in_incoming_is_refused_and_another_is_not() {
    let site = Site::new("waiting-key");
    let submit = |key: &str| site.run(site.numerus(["submit", "x", "--key", key]).current_dir("/"));
    let first = submit("weekly").stdout;
    // What others drop is told apart when it is taken.
    fs::write(site.root().join("spool/incoming/strange.json"), "{").unwrap();
    let again = submit("weekly");
    assert_eq!(again.code, Some(2), "{again:?}");
    assert!(again.stderr.contains(&format!("was used by {} already", first.trim())), "{again:?}");
    assert_eq!(submit("monthly").code, Some(0));
}

#[test]
fn where_a_job_works_is_said_of_a_folder_below_the_top_and_of_a_bare_repository() {
    let site = Site::new("where-it-works");
    let (repo, bare) = (site.git_repo(), site.path().join("bare.git"));
    site.git(&repo, &["clone", "--quiet", "--bare", ".", "../bare.git"]);
    let said = |dir| site.run(site.numerus(["submit", "x"]).current_dir(dir)).stderr;
    let below = said(repo.join("src"));
    let both = format!("works on {0}/src, in the repository {0}\n", repo.display());
    assert!(below.starts_with(&both), "{below}");
    let of_bare = said(bare);
    assert!(of_bare.starts_with("note: this directory is in a bare repository"), "{of_bare}");
}

#[test]
fn a_daemon_that_is_told_to_end_says_what_becomes_of_the_jobs() {
    for (words, says) in [
        (vec![], "1 job goes on without a daemon; numerus status shows"),
        (vec!["--stop-jobs"], "1 job is asked to stop, and goes on with the next daemon"),
    ] {
        let yard = Yard::new("daemon-leaves");
        let daemon = yard.daemon(&words);
        yard.submit(&["hold-leaving", "--plan", "single"]);
        yard.until_reached("hold-leaving");
        daemon.signal(Signal::INT);
        let ended = daemon.wait(PATIENCE);
        assert!(ended.stderr.contains(says), "{ended:?}");
        assert!(ended.stderr.contains("a script plays the agent"), "{ended:?}");
        yard.let_go("hold-leaving");
    }
}

#[test]
fn a_rehearsal_is_taken_for_work_by_nobody() {
    let yard = Yard::new("rehearsal-told");
    let script = yard.path("script.json").display().to_string();
    let (note, fact) = (
        format!("note: a script plays the agent ({script}): no codex is asked\n"),
        "agent      a script ",
    );
    let ran = yard.ask(&["run", "first", "--plan", "single"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    assert!(ran.stderr.contains(&note), "{ran:?}");
    assert!(ran.stdout.contains(&format!("{fact}played it ({script})\n")), "{ran:?}");
    let job = yard.submit(&["second", "--plan", "single"]);
    assert_eq!(yard.ask(&["pause", &job]).code, Some(0));
    let shown = yard.ask(&["status", &job]);
    assert!(shown.stdout.contains(&format!("{fact}plays it ({script})\n")), "{shown:?}");
    assert!(yard.agree(&["start", &job]).stderr.contains(&note));
    let _daemon = yard.daemon(&[]);
    let waited = yard.ask(&["submit", "third", "--plan", "single", "--wait", "--rehearse"]);
    assert!(waited.stderr.contains("plays the agent (builtin)"), "{waited:?}");
}

#[test]
fn whoever_waits_for_a_job_that_nobody_takes_is_told_so() {
    let yard = Yard::new("nobody-takes");
    let job = yard.submit(&["lonely"]);
    let plan = format!("{job}/plan");
    for words in [vec!["wait", &job], vec!["logs", "-f", &job], vec!["attach", &plan]] {
        let waiting = yard.site.spawn(&mut yard.numerus(&words));
        yard.until("it says so", || waiting.stderr().contains("no daemon is running"));
        waiting.signal(Signal::TERM);
        waiting.wait(PATIENCE);
    }
    let watching = yard.site.spawn(&mut yard.numerus(&["attach", &plan]));
    yard.until("it looks on", || watching.stderr().contains("no daemon is running"));
    assert_eq!(yard.ask(&["kill", &job]).code, Some(0));
    let ended = watching.wait(PATIENCE);
    assert!(ended.code == Some(1) && ended.stderr.contains(&format!("{job}: killed")), "{ended:?}");
}

#[test]
fn what_cannot_be_done_names_what_can() {
    let yard = Yard::new("hints-that-fit");
    let job = yard.submit(&["bad-luck", "--plan", "single", "--max-attempts", "1"]);
    assert_eq!(yard.agree(&["start", &job]).code, Some(1));
    let again = yard.ask(&["start", &job]);
    let over = format!("{job} has ended; numerus retry {job} does it again");
    assert!(again.code == Some(1) && again.stderr.contains(&over), "{again:?}");
    let retried = yard.ask(&["retry", &job]);
    let now = format!("or work on it now with numerus start {}", retried.stdout.trim_end());
    assert!(
        retried.stderr.contains("no daemon is running") && retried.stderr.contains(&now),
        "{retried:?}"
    );
    for (words, says) in [
        (vec!["submit", "-f", "/nosuch"], "name a file that is there"),
        (vec!["submit", "-f", "/"], "is a directory"),
        (vec!["status", ""], "numerus status --all lists every job"),
        (vec!["prune", "--state", "bogus"], "use succeeded, failed, killed"),
    ] {
        let ended = yard.ask(&words);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(says), "{ended:?}");
    }
}

#[test]
fn a_dropped_file_that_waits_is_shown_withdrawn_and_worked_on_by_its_name() {
    let yard = Yard::new("dropped-file");
    yard.drop_job("waiting", "wait for me", "");
    let shown = yard.ask(&["status", "waiting.md"]);
    said(&shown, 0, "waiting.md: incoming (waits to be taken)");
    said(&shown, 0, "numerus start waiting.md");
    said(&yard.ask(&["start", "waiting.md", "--priority", "1"]), 2, "the options that it has");
    said(&yard.agree(&["start", "waiting.md"]), 0, "state      succeeded");
    assert_eq!(yard.names("incoming"), [""; 0]);
    let taken = yard.job("waiting-").expect("its name is the job's");
    assert_eq!(yard.site.jobs(), [taken]);
    yard.drop_job("again", "again", "");
    said(&yard.ask(&["kill", "again.md"]), 0, "again.md: withdrawn before anyone took it");
    assert_eq!(yard.names("incoming"), [""; 0]);
    said(&yard.ask(&["status", "again"]), 0, "killed (withdrawn before anyone took it)");
    assert_eq!(yard.ask(&["retry", "again"]).code, Some(0));
    assert_eq!(yard.names("incoming").len(), 1);
}

#[test]
fn a_rejected_file_is_no_objective() {
    let yard = Yard::new("start-rejected");
    yard.drop_file("odd one.md", "---\nplan: nonsense\n---\nx\n");
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(2));
    for name in ["odd one.md", "odd one"] {
        let refused = yard.ask(&["start", name]);
        said(&refused, 2, "odd one.md was rejected: ");
        said(&refused, 2, "then numerus retry odd one.md");
    }
    assert_eq!(yard.names("incoming"), [""; 0]);
}

#[test]
fn one_word_that_is_no_job_is_said_to_be_an_objective() {
    let yard = Yard::new("one-word");
    let note = "note: no job is called \"nosuchjob\": taken as an objective";
    said(&yard.ask(&["start", "nosuchjob", "--plan", "single"]), 4, note);
    let like = yard.submit(&["nope", "--plan", "single"]);
    let before = yard.names("incoming");
    let another = if like.ends_with('x') { 'z' } else { 'x' };
    for (word, says) in [
        ("nope-xyz1", "no job is called \"nope-xyz1\""),
        (&format!("{}{another}", &like[..like.len() - 1]), &format!("did you mean {like}?")),
    ] {
        said(&yard.ask(&["start", word]), 3, says);
    }
    assert_eq!(yard.names("incoming"), before, "no job was made of a name");
    let several = yard.ask(&["start", "no such job", "--plan", "single"]);
    assert!(!several.stderr.contains("taken as an objective"), "{several:?}");
}

#[test]
fn what_helps_is_named_for_jobs_that_ended_well_and_for_those_that_have_not_begun() {
    let yard = Yard::new("hints-of-ends");
    let repo = yard.site.git_repo();
    let well = yard.submit(&["well", "--plan", "single", "--workspace", repo.to_str().unwrap()]);
    assert_eq!(yard.agree(&["start", &well]).code, Some(0));
    let file = yard.folder("done").join(format!("{well}.json"));
    let again = format!(
        "numerus submit -f {} --workspace {} does it again",
        file.display(),
        repo.display()
    );
    let of_task = format!("{well}/main");
    for (words, code) in [
        (vec!["pause", &well], 4),
        (vec!["resume", &well], 4),
        (vec!["send", &well, "hello"], 4),
        (vec!["edit", &well, "--priority", "1"], 4),
        (vec!["retry", &well], 4),
        (vec!["retry", &of_task], 4),
        (vec!["start", &well], 0),
    ] {
        said(&yard.ask(&words), code, &again);
    }
    let later = yard.submit(&["later", "--not-before", "2999-01-01T00:00:00Z"]);
    said(&yard.ask(&["retry", &later]), 4, &format!("{later} has not begun yet"));
    said(&yard.ask(&["retry", &later]), 4, &format!("numerus edit {later} changes it"));
    said(&yard.ask(&["memory", "show", &later]), 3, "numerus memory search TEXT finds");
}

#[test]
fn a_script_that_is_not_there_costs_no_job() {
    let yard = Yard::new("misspelt-script");
    yard.drop_job("kept-abc234", "quick", "");
    let gone = "the script that `rehearse` names is no file: /gone.json";
    let misspelt = "`rehearse` must be \"builtin\" or an absolute path, not \"buildin\"";
    for (named, code, says) in [("/gone.json", 6, gone), ("buildin", 2, misspelt)] {
        yard.set_settings(&format!("rehearse = \"{named}\"\n"));
        for words in [vec!["daemon", "--once"], vec!["run", "quick"]] {
            let ended = yard.ask(&words);
            assert!(ended.code == Some(code) && ended.stderr.contains(says), "{ended:?}");
        }
    }
    assert!(yard.incoming().join("kept-abc234.md").exists(), "it waits");
    yard.set_settings("rehearse = \"/gone.json\"\n");
    let played = yard.ask(&["run", "quick", "--plan", "single", "--rehearse"]);
    assert_eq!(played.code, Some(0), "the script of a job needs none of the settings: {played:?}");
}

#[test]
fn what_was_dropped_before_a_daemon_came_is_taken_in_the_order_of_its_coming() {
    let yard = Yard::new("in-order");
    let names = ["d", "b", "f", "a", "c", "e"].map(|name| format!("{name}-abc234"));
    for name in &names {
        yard.drop_job(name, "quick", "");
        // File systems date by the tick of a clock.
        let dated = fs::metadata(yard.incoming().join(format!("{name}.md"))).unwrap();
        let probe = yard.path("probe");
        yard.until("the clock of the files has moved on", || {
            fs::write(&probe, "").unwrap();
            let now = fs::metadata(&probe).unwrap();
            (now.ctime(), now.ctime_nsec()) > (dated.ctime(), dated.ctime_nsec())
        });
    }
    let ended = yard.ask(&["daemon", "--once", "--max-jobs", "1"]);
    assert_eq!(ended.code, Some(0), "{ended:?}");
    let taken = ended.stderr.lines().filter_map(|line| line.strip_suffix(": succeeded"));
    assert_eq!(taken.collect::<Vec<_>>(), names);
}

#[test]
fn a_repository_is_made_ahead_and_the_next_job_takes_it() {
    let yard = Yard::new("made-ahead");
    let ready = yard.site.root().join("runs/.workspace");
    let made = || fs::metadata(&ready).map(|meta| meta.ino()).ok();
    let run = |objective: &str| {
        let ran = yard.ask(&["run", objective, "--plan", "single"]);
        assert_eq!(ran.code, Some(0), "{ran:?}");
    };
    run("first");
    let first = made().expect("made while the agent worked");
    run("second");
    let second = yard.job("second-").expect("the job");
    let workspace = yard.site.root().join("runs").join(second).join("workspace");
    assert_eq!(fs::metadata(workspace).unwrap().ino(), first);
    assert!(made().is_some_and(|third| third != first), "and one for the next");
}
