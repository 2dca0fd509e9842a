//! The removal of jobs that have ended: only what was asked for, never what is wanted, and always with a copy.

use std::fs;
use std::path::Path;

use serde_json::json;

use crate::rehearsal::{Job, Script, Stage, execute, part};
use crate::terminal::Terminal;
use crate::yard::{Yard, names, said};

fn copy(root: &Path, job: &str) -> std::path::PathBuf {
    root.join("store/pruned").join(job)
}

fn refs(stage: &Stage, job: &Job<'_>) -> String {
    stage.git(&["for-each-ref", "--format=%(refname)", &format!("refs/numerus/{}/", job.id)])
}

#[test]
fn what_goes_is_shown_and_asked_for_and_a_copy_of_what_matters_stays() {
    let stage = Stage::new("prune", &Script::of([part("t1")]));
    let good = stage.ends_with(0, &[]);
    let leave = json!([{"write": {"path": "t1.txt", "text": "half\n"}}, {"fail": {"message": "no", "info": "other"}}]);
    stage.follow(&Script::of([part("t1")]).with(execute("t1"), leave));
    let bad = stage.ends_with(1, &["--max-attempts", "1"]);
    assert_eq!(stage.call(&["apply", &good.id]).code, Some(0));
    assert_eq!(stage.git(&["worktree", "list"]).lines().count(), 2, "the failed attempt's is kept");
    said(&stage.call(&["prune"]), 2, "nothing says which jobs");
    let shown = stage.call(&["prune", "--keep", "0", "--dry-run"]);
    for words in [&good.id, &bad.id, "merged", "2 jobs, "] {
        said(&shown, 0, words);
    }
    said(&stage.call(&["prune", "--keep", "0"]), 2, "nobody is there to be asked");
    said(&stage.call(&["prune", "--older-than", "30d", "--yes"]), 0, "there is nothing to remove");
    assert!(good.dir().exists() && bad.dir().exists());
    let journal = good.read("events.ndjson");
    let attempt = bad.read("t1/attempt-1.patch");
    said(&stage.call(&["prune", "--keep", "0", "--yes"]), 0, "removed 2 jobs, ");
    let front = good.id.split_at(good.id.len() - 1).0;
    for command in ["status", "logs", "apply"] {
        let words = format!("{} was removed; what is left of it is in ", good.id);
        said(&stage.call(&[command, front]), 3, &words);
    }
    said(&stage.call(&["memory", "show", front]), 0, &good.id);
    let root = stage.site.root();
    for (job, place) in [(&good, "done"), (&bad, "failed")] {
        assert!(!job.dir().exists());
        assert_eq!(names(&root.join("spool").join(place)), [""; 0]);
        let kept = names(&copy(&root, &job.id));
        for name in ["events.ndjson", "job.json", "summary.md", "report.html", "objective.md"] {
            assert!(kept.iter().any(|k| k == name), "{name}: {kept:?}");
        }
        assert!(kept.contains(&format!("{}.json", job.id)), "its file: {kept:?}");
        assert_eq!(refs(&stage, job), "");
        assert_eq!(stage.call(&["status", &job.id]).code, Some(3));
    }
    let kept =
        |job: &Job<'_>, name: &str| fs::read_to_string(copy(&root, &job.id).join(name)).unwrap();
    assert_eq!(kept(&good, "events.ndjson"), journal);
    assert!(kept(&good, "result.patch").contains("t1.txt"));
    assert_eq!(kept(&bad, "t1/attempt-1.patch"), attempt);
    assert_eq!(stage.git(&["worktree", "list"]).lines().count(), 1);
    assert_eq!(
        stage.git(&["branch", "--list", "numerus/*"]).lines().count(),
        1,
        "a branch is the user's"
    );
    assert!(!stage.call(&["status", "--all"]).stdout.contains(&good.id));
    let left = names(&root.join("runs"));
    assert!(left.iter().all(|name| name == "index.html"), "{left:?}");
}

#[test]
fn ctrl_c_at_the_question_removes_nothing_and_is_told_by_the_code() {
    let yard = Yard::new("prune-ctrl-c");
    yard.drop_job("bad-c", "bad-c", "");
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(1));
    for (answer, code) in [("\u{3}", 130), ("n\r", 0)] {
        let mut terminal = Terminal::start(&yard.numerus(&["prune", "--keep", "0"]), 100, 20);
        terminal.until("remove 1 job? [y]es, [n]o:");
        terminal.press(answer);
        assert_eq!(terminal.end(), code, "{answer:?}: {}", terminal.text());
        terminal.until("nothing was removed");
        assert!(yard.job("bad-c-").is_some());
    }
}

#[test]
fn a_result_that_nobody_took_over_keeps_its_job_unless_that_is_said() {
    let stage = Stage::new("prune-unmerged", &Script::of([part("t1")]));
    let job = stage.ends_with(0, &[]);
    said(&stage.call(&["prune", "--keep", "0", "--yes"]), 0, &format!("but their own: {}", job.id));
    assert!(job.dir().exists());
    let tip = stage.git(&["rev-parse", &format!("refs/numerus/{}/tip", job.id)]);
    said(&stage.call(&["prune", "--keep", "0", "--unmerged", "--yes"]), 0, "not merged");
    assert!(!job.dir().exists());
    assert_eq!(stage.git(&["rev-parse", &format!("refs/numerus/{}/tip", job.id)]), tip);
    assert_eq!(stage.git(&["rev-parse", &format!("numerus/{}", job.id)]), tip);
    stage.follow(&Script::of([part("t2")]));
    let thrown_away = stage.ends_with(0, &[]);
    stage.git(&["branch", "--quiet", "-D", &format!("numerus/{}", thrown_away.id)]);
    said(&stage.call(&["prune", "--keep", "0", "--yes"]), 0, "discarded");
    assert_eq!(refs(&stage, &thrown_away), "");
}

#[test]
fn a_result_that_only_another_jobs_branch_holds_is_said_to_be_there() {
    let on_shared = |task: &str| Script::of([part(task).writes(&["shared.txt"])]);
    let stage = Stage::new("prune-in-job", &on_shared("t1"));
    let first = stage.ends_with(0, &[]);
    stage.follow(&on_shared("t2"));
    let second = stage.ends_with(0, &[]);
    let shown = stage.call(&["prune", "--keep", "0", "--dry-run"]);
    said(&shown, 0, &format!("in numerus/{}", second.id));
    assert!(!shown.stdout.contains("merged"), "{shown:?}");
    fs::remove_dir_all(first.dir()).unwrap();
    let along = format!("\n  brings 1 commit of {} (not in this root)", first.id);
    said(&stage.call(&["apply", &second.id, "--check"]), 0, &along);
    assert_eq!(stage.call(&["apply", &second.id]).code, Some(0));
    said(&stage.call(&["prune", "--keep", "0", "--dry-run"]), 0, "merged");
}

#[test]
fn a_repository_in_the_run_folder_is_kept_as_a_bundle() {
    let yard = Yard::new("prune-own");
    yard.drop_job("own", "own", "");
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(0));
    let job = yard.job("own-").unwrap();
    said(&yard.ask(&["prune", "--state", "done", "--yes"]), 0, "(1); git clone these, or say");
    assert!(yard.run(&job).exists());
    said(&yard.ask(&["prune", "--state", "done", "--unmerged", "--yes"]), 0, "in the run folder");
    let bundle = copy(&yard.site.root(), &job).join("workspace.bundle");
    let (branch, to) = (format!("numerus/{job}"), yard.path("again"));
    let words =
        ["clone", "--quiet", "--branch", &branch, bundle.to_str().unwrap(), to.to_str().unwrap()];
    yard.site.git(yard.site.path(), &words);
    assert_eq!(fs::read_to_string(to.join("out.txt")).unwrap(), "own\n");
}

#[test]
fn what_others_wait_for_stays_and_a_key_is_never_free_again() {
    let yard = Yard::new("prune-after");
    yard.drop_job("keyed", "keyed", "key: once\n");
    yard.drop_job("bad-x", "bad-x", "");
    let _ends = yard.ask(&["daemon", "--once"]);
    let keyed = yard.job("keyed-").unwrap();
    yard.drop_job("waits", "waits", &format!("after: {keyed}\nnot_before: 2999-01-01T00:00:00Z\n"));
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(4));
    let waits = yard.job("waits-").unwrap();
    let all = ["prune", "--keep", "0", "--unmerged", "--yes"];
    said(&yard.ask(&all), 0, &format!("kept: {keyed}, since {waits} needs it"));
    assert!(yard.run(&keyed).exists() && yard.job("bad-x-").is_none());
    assert_eq!(yard.ask(&["kill", &waits]).code, Some(0));
    said(&yard.ask(&all), 0, "2 jobs, ");
    fs::remove_dir_all(yard.site.root().join("spool/keys")).unwrap();
    yard.drop_job("again", "again", "key: once\n");
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(2));
    let reason = fs::read_to_string(yard.folder("rejected").join("again.md.reason.json")).unwrap();
    assert!(reason.contains("E_DUP") && reason.contains(&keyed), "{reason}");
}

#[test]
fn what_a_retry_or_a_file_that_is_not_taken_yet_needs_stays() {
    let yard = Yard::new("prune-needed");
    for name in ["bad-1", "bad-2", "bad-3", "bad-4"] {
        yard.drop_job(name, name, "");
    }
    let _ends = yard.ask(&["daemon", "--once"]);
    let [taken, after, again, free] =
        ["bad-1-", "bad-2-", "bad-3-", "bad-4-"].map(|name| yard.job(name).unwrap());
    yard.drop_job(
        "anew",
        "anew",
        &format!("retry_of: {taken}\nnot_before: 2999-01-01T00:00:00Z\n"),
    );
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(4));
    let anew = yard.job("anew-").unwrap();
    yard.drop_job("first", "first", &format!("after: {after}:any\n"));
    yard.drop_file("then.json", format!(r#"{{"objective": "x", "retry_of": "{again}"}}"#));
    yard.drop_file("odd.json", "{");
    std::os::unix::fs::symlink("/dev/zero", yard.incoming().join("zero.json")).unwrap();
    let pruned = yard.ask(&["prune", "--keep", "0", "--yes"]);
    for (job, by) in [(&taken, anew.as_str()), (&after, "first.md"), (&again, "then.json")] {
        said(&pruned, 0, &format!("kept: {job}, since {by} needs it"));
        assert!(yard.run(job).exists());
    }
    assert!(!yard.run(&free).exists());
}

#[test]
fn a_job_whose_edit_was_cut_off_stays_and_every_overview_says_what_to_do() {
    let yard = Yard::new("prune-edited");
    let (old, new) = (yard.submit(&["first words", "--plan", "single"]), "anew-abc234");
    let prepared = yard.folder("tmp").join(format!("edit-{old}.{new}.json"));
    fs::write(&prepared, r#"{"objective": "other words", "plan": "single"}"#).unwrap();
    let todo = format!("numerus edit {old} submits it, rm {} drops it", prepared.display());
    let is_told = || {
        ["status", "doctor"].map(|command| {
            let said = yard.site.run(yard.numerus(&[command]).env("COLUMNS", "1000"));
            format!("{}{}", said.stdout, said.stderr).contains(&todo)
        })
    };
    assert_eq!(is_told(), [false; 2], "the old job is still there");
    assert_eq!(yard.ask(&["kill", &old]).code, Some(0));
    assert_eq!(is_told(), [true; 2]);
    let all = ["prune", "--keep", "0", "--unmerged", "--yes"];
    let kept = format!("kept: {old}, since an edit of it that was cut off");
    said(&yard.ask(&all), 0, &kept);
    assert_eq!(yard.names("killed"), [format!("{old}.json")]);
    assert_eq!(yard.ask(&["edit", &old]).code, Some(0));
    assert_eq!(is_told(), [false; 2]);
    said(&yard.ask(&all), 0, "removed 1 job, ");
}

#[test]
fn what_was_withdrawn_goes_and_what_a_death_left_is_finished() {
    let yard = Yard::new("prune-finish");
    let withdrawn = yard.submit(&["never", "--plan", "single"]);
    assert_eq!(yard.ask(&["kill", &withdrawn]).code, Some(0));
    let all = ["prune", "--keep", "0", "--unmerged", "--yes"];
    said(&yard.ask(&all), 0, &withdrawn);
    assert_eq!(yard.names("killed"), [""; 0]);
    let gone = yard.ask(&["status", &withdrawn]);
    said(&gone, 3, &format!("store/pruned/{withdrawn}"));
    assert!(!gone.stderr.contains("memory show"), "nothing is remembered of it: {gone:?}");
    let file = copy(&yard.site.root(), &withdrawn).join(format!("{withdrawn}.json"));
    assert!(fs::read_to_string(file).unwrap().contains("never"));
    yard.drop_job("own", "own", "");
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(0));
    let job = yard.job("own-").unwrap();
    let file = yard.folder("done").join(format!("{job}.md"));
    let text = fs::read_to_string(&file).unwrap();
    assert_eq!(yard.ask(&all).code, Some(0));
    // As if it had died between the rename and what follows it.
    let aside = yard.site.root().join("runs").join(format!(".pruning-{job}"));
    fs::create_dir(&aside).unwrap();
    fs::write(aside.join("left"), "").unwrap();
    fs::write(&file, text).unwrap();
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(0));
    assert_eq!(yard.job("own-"), None, "it never runs again");
    said(&yard.ask(&all), 0, &format!("{job}: its removal had begun, and is finished"));
    assert!(!aside.exists() && !file.exists());
}

#[test]
fn a_copy_of_something_else_stays_beside_the_jobs_own_and_what_nobody_put_aside_stays() {
    let yard = Yard::new("prune-strange");
    yard.drop_job("bad-1", "bad-1", "");
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(1));
    let job = yard.job("bad-1-").unwrap();
    let other = copy(&yard.site.root(), &job);
    fs::create_dir_all(&other).unwrap();
    fs::write(other.join("events.ndjson"), "another\n").unwrap();
    let strange = yard.site.root().join("runs/.pruning-strange-abc234");
    fs::create_dir(&strange).unwrap();
    let journal = fs::read_to_string(yard.run(&job).join("events.ndjson")).unwrap();
    said(&yard.ask(&["prune", "--keep", "0", "--yes"]), 0, "1 job, ");
    assert!(!yard.run(&job).exists() && strange.exists());
    let second = copy(&yard.site.root(), &format!("{job}.2"));
    for (copy, text) in [(&other, "another\n"), (&second, &journal)] {
        assert_eq!(fs::read_to_string(copy.join("events.ndjson")).unwrap(), text);
    }
}

#[test]
fn a_job_dropped_again_from_its_copy_can_be_removed_again() {
    let yard = Yard::new("prune-again");
    let all = ["prune", "--keep", "0", "--unmerged", "--yes"];
    let withdrawn = yard.submit(&["never", "--plan", "single"]);
    for objective in ["bad-1", "bad-2"] {
        yard.drop_job("redo-abc234", objective, "");
        yard.until("it is taken and has ended", || {
            let _ends = yard.ask(&["daemon", "--once"]);
            yard.names("failed") == ["redo-abc234.md"]
        });
        said(&yard.ask(&all), 0, "redo-abc234");
    }
    let kept = |copy_of: &str| {
        let path = copy(&yard.site.root(), copy_of).join("objective.md");
        fs::read_to_string(path).unwrap().trim().to_owned()
    };
    assert_eq!([kept("redo-abc234"), kept("redo-abc234.2")], ["bad-1", "bad-2"]);
    assert!(copy(&yard.site.root(), &withdrawn).exists());
    said(&yard.ask(&["prune", "--older-than", "400d", "--yes"]), 0, "nothing to remove");
}

#[test]
fn what_a_death_left_of_a_removal_touches_no_new_job_of_the_same_id() {
    let yard = Yard::new("prune-reborn");
    yard.drop_job("redo-abc234", "redo", "not_before: 2999-01-01T00:00:00Z\n");
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(4));
    let job = "redo-abc234";
    let root = yard.site.root();
    // As if a removal had died after the file of an earlier job of that id was gone.
    let aside = root.join("runs/.pruning-redo-abc234");
    for dir in [&aside, &copy(&root, job)] {
        fs::create_dir_all(dir).unwrap();
    }
    let file = yard.folder("claimed").join("redo-abc234.md");
    let text = fs::read_to_string(&file).unwrap();
    said(&yard.ask(&["prune", "--keep", "0", "--yes"]), 0, "is finished");
    assert!(!aside.exists());
    assert_eq!(fs::read_to_string(&file).unwrap(), text);
    assert!(yard.run(job).exists());
}

#[test]
fn a_damaged_copy_of_a_removed_job_is_told_of_and_stops_nothing() {
    let yard = Yard::new("prune-damaged");
    yard.drop_job("bad-1", "bad-1", "key: once\n");
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(1));
    let job = yard.job("bad-1-").unwrap();
    said(&yard.ask(&["prune", "--keep", "0", "--yes"]), 0, "1 job, ");
    fs::write(copy(&yard.site.root(), &job).join("job.json"), "{\"version\"").unwrap();
    fs::remove_dir_all(yard.folder("keys")).unwrap();
    yard.drop_job("bad-2", "bad-2", "");
    let ended = yard.ask(&["daemon", "--once"]);
    assert_eq!((ended.code, yard.names("failed").len()), (Some(1), 1), "{ended:?}");
    let told = yard.facts("trouble");
    assert_eq!(told.iter().filter(|t| t.to_string().contains(&job)).count(), 1, "{told:?}");
}

#[test]
fn the_newest_and_the_small_stay_and_a_job_that_goes_on_is_nobodys_to_remove() {
    let yard = Yard::new("prune-keep");
    for name in ["bad-1", "bad-2", "bad-3"] {
        yard.drop_job(name, name, "");
        assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(1));
    }
    let _daemon = yard.daemon(&[]);
    yard.drop_job("hold-k", "hold-k", "");
    yard.until_reached("hold-k");
    said(&yard.ask(&["prune", "--max-size", "10G", "--yes"]), 0, "there is nothing to remove");
    said(&yard.ask(&["prune", "--keep", "2", "--yes"]), 0, "1 job, ");
    let left: Vec<bool> = ["bad-1-", "bad-2-", "bad-3-"].map(|n| yard.job(n).is_some()).to_vec();
    assert_eq!(left, [false, true, true]);
    said(&yard.ask(&["prune", "--max-size", "0", "--state", "failed", "--yes"]), 0, "2 jobs, ");
    assert!(yard.job("hold-k-").is_some());
    yard.let_go("hold-k");
    yard.until_in("done", "hold-k-");
}

#[test]
fn a_job_whose_file_was_moved_away_is_removed_like_any_other() {
    let yard = Yard::new("prune-moved");
    yard.drop_job("moved", "moved", "");
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(0));
    let job = yard.job("moved-").unwrap();
    fs::rename(yard.folder("done").join(format!("{job}.md")), yard.path("kept.md")).unwrap();
    said(&yard.ask(&["prune", "--keep", "0", "--unmerged", "--yes"]), 0, "removed 1 job, ");
    assert_eq!(yard.site.jobs(), [""; 0]);
}
