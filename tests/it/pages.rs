//! The pages for people: a report of every job, written while it runs and when it has ended, an overview of all of them, and
//! the command that shows them. What the pages promise of texts is tested beside their code.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use numerus::os::lock::FileLock;
use rustix::process::Signal;
use serde_json::json;

use crate::rehearsal::{Job, Script, Stage, claim, claims, part, raise, wait_for};
use crate::site::{Ended, PATIENCE};
use crate::yard::Yard;

fn page_of(job: &Job<'_>) -> String {
    fs::read_to_string(job.dir().join("report.html")).unwrap_or_default()
}

/// The one line that a command printed, which it did well.
fn printed(ended: &Ended) -> PathBuf {
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert_eq!(ended.stdout.lines().count(), 1, "{ended:?}");
    PathBuf::from(ended.stdout.trim_end())
}

/// It loads nothing from anywhere, and its tags are nested.
fn is_sound(page: &str) {
    for way in ["http:", "https:", "src=", "@import", "url(", "<script", "<link"] {
        assert!(!page.contains(way), "{way}");
    }
    let mut open = Vec::new();
    for tag in page.split('<').skip(1).filter_map(|piece| piece.split('>').next()) {
        let name = tag.split(' ').next().unwrap();
        match name.strip_prefix('/') {
            Some(closed) => assert_eq!(open.pop(), Some(closed)),
            None if ["!DOCTYPE", "meta"].contains(&name) => {}
            None => open.push(name),
        }
    }
    assert_eq!(open, [""; 0]);
}

#[test]
fn a_job_that_has_ended_has_a_report_that_names_every_task_and_the_overview_leads_to_it() {
    let parts = [part("first"), part("second").after(&["first"])];
    let hostile = json!([{"message": "<script>alert(1)</script>\u{202e}"}, {"message": claims(&["first.txt"])["message"]}]);
    let stage = Stage::new("pages-ended", &Script::of(parts).with(claim("first"), hostile));
    let job = stage.ends_with(0, &["--verify", "echo '<img src=x>'"]);
    let page = page_of(&job);
    is_sound(&page.replace("&lt;img src=x&gt;", ""));
    for told in [
        "<b>first</b>",
        "<b>second</b>",
        "succeeded",
        "+first",
        "GO",
        "&lt;img src=x&gt;",
        "./first/diff.patch",
    ] {
        assert!(page.contains(told), "{told}");
    }
    let overview = fs::read_to_string(stage.site.root().join("runs/index.html")).unwrap();
    is_sound(&overview);
    assert!(
        overview.contains(&format!("./{}/report.html", job.id)) && overview.contains("succeeded")
    );
    assert_eq!(printed(&stage.call(&["open", &job.id, "--print"])), job.dir().join("report.html"));
    assert_eq!(page_of(&job), page, "it was fresh");
    assert_eq!(job.read("worker.log"), "");
}

#[test]
fn a_job_that_runs_has_a_report_too() {
    let script = Script::of([part("t1"), part("t2").after(&["t1"])])
        .working("t1", &[raise("there"), wait_for("go")]);
    let stage = Stage::new("pages-running", &script);
    let (running, job) = stage.start(&[]);
    stage.until_raised("there");
    stage.site.until("the report shows it", PATIENCE, || page_of(&job).contains("executing"));
    let page = page_of(&job);
    is_sound(&page);
    assert!(page.contains("<b>t2</b>") && page.contains(">running<"), "{page}");
    let overview =
        || fs::read_to_string(stage.site.root().join("runs/index.html")).unwrap_or_default();
    stage.site.until("the overview shows it", PATIENCE, || overview().contains(">running<"));
    assert_eq!(printed(&stage.call(&["open", &job.id, "--print"])), job.dir().join("report.html"));
    stage.raise("go");
    assert_eq!(running.wait(PATIENCE).code, Some(0));
    assert!(page_of(&job).contains(">succeeded<") && !page_of(&job).contains(">running<"));
    assert!(!overview().contains(">running<"));
}

#[test]
fn a_job_whose_worker_died_says_that_nobody_works_on_it() {
    let script = Script::of([part("t1")]).working("t1", &[raise("there"), wait_for("go")]);
    let stage = Stage::new("pages-died", &script);
    let (running, job) = stage.start(&[]);
    stage.until_raised("there");
    job.slay_worker();
    running.wait(PATIENCE);
    printed(&stage.call(&["open", &job.id, "--print"]));
    assert!(page_of(&job).contains("its worker has gone"));
    stage.raise("go");
    assert_eq!(job.go_on().code, Some(0));
    assert!(page_of(&job).contains(">succeeded<"));
}

#[test]
fn a_report_that_cannot_be_written_is_noted_and_costs_the_job_nothing() {
    let script = Script::of([part("t1")]).working("t1", &[raise("there"), wait_for("go")]);
    let stage = Stage::new("pages-stuck", &script);
    let (running, job) = stage.start(&[]);
    fs::create_dir_all(job.dir().join("report.html/full")).unwrap();
    stage.site.until("it is noted", PATIENCE, || {
        let log = fs::read_to_string(job.dir().join("worker.log")).unwrap_or_default();
        log.contains("cannot write the report")
    });
    stage.raise("go");
    assert_eq!(running.wait(PATIENCE).code, Some(0));
    assert_eq!(job.read("worker.log").lines().count(), 1, "once");
    let refused = stage.call(&["open", &job.id, "--print"]);
    assert_eq!(refused.code, Some(5), "{refused:?}");
    assert!(refused.stderr.contains("cannot write the page"), "{refused:?}");
    job.is_clean();
}

#[test]
fn a_damaged_record_still_gives_a_report_which_says_so() {
    let stage = Stage::new("pages-damaged", &Script::of([part("t1")]));
    let job = stage.ends_with(0, &[]);
    let journal = job.dir().join("events.ndjson");
    let text = fs::read_to_string(&journal).unwrap();
    fs::write(&journal, text.replacen("\"seq\":3,", "\"seq\":\"<b>\",", 1)).unwrap();
    fs::remove_file(job.dir().join("job.json")).unwrap();
    fs::remove_file(job.dir().join("report.html")).unwrap();
    printed(&stage.call(&["open", &job.id, "--print"]));
    let page = page_of(&job);
    is_sound(&page);
    assert!(page.contains("The journal is damaged: line 3 cannot be read"), "{page}");
}

#[test]
fn a_job_that_nobody_has_begun_has_a_report_when_it_is_asked_for_and_when_it_is_ended() {
    let yard = Yard::new("pages-queued");
    let daemon = yard.daemon(&[]);
    let job = yard.resting("waits");
    let path = yard.run(&job).join("report.html");
    assert!(!path.exists());
    assert_eq!(printed(&yard.ask(&["open", "waits", "--print"])), path);
    assert!(
        fs::read_to_string(&path)
            .unwrap()
            .contains("no worker has begun yet: waits for its time (until 2999-01-01")
    );
    assert_eq!(yard.ask(&["kill", "waits"]).code, Some(0));
    assert!(fs::read_to_string(&path).unwrap().contains(">killed<"));
    drop(daemon);
    let overview = printed(&yard.ask(&["open", "--print"]));
    assert!(fs::read_to_string(overview).unwrap().contains(">killed<"));
}

#[test]
fn a_daemon_keeps_the_overview_of_its_jobs_and_ends_with_it_as_things_stand() {
    let yard = Yard::new("pages-led");
    let daemon = yard.daemon(&[]);
    let path = yard.site.root().join("runs/index.html");
    let overview = || fs::read_to_string(&path).unwrap_or_default();
    yard.drop_job("x", "hold-x", "");
    yard.until_reached("hold-x");
    yard.until("the overview shows it at work", || overview().contains(">running<"));
    yard.let_go("hold-x");
    yard.until("the overview shows its end", || overview().contains(">succeeded<"));
    let job = yard.resting("waits");
    daemon.signal(Signal::TERM);
    assert_eq!(daemon.wait(PATIENCE).code, Some(0));
    assert!(overview().contains(&job), "what came last, too");
    is_sound(&overview());
}

#[test]
fn an_overview_that_a_dead_daemon_left_behind_is_written_by_the_next_one() {
    let yard = Yard::new("pages-behind");
    let daemon = yard.daemon(&[]);
    yard.drop_job("x", "hold-x", "");
    yard.until_reached("hold-x");
    let mark = yard.site.root().join("spool/tmp/overview");
    let path = yard.site.root().join("runs/index.html");
    let overview = || fs::read_to_string(&path).unwrap_or_default();
    yard.until("the overview shows it at work", || overview().contains(">running<"));
    // Whoever would write it waits for this, and does not get it.
    let lock = FileLock::try_acquire(&path.with_file_name(".index.lock")).unwrap().unwrap();
    let job = yard.resting("waits");
    daemon.signal(Signal::KILL);
    daemon.wait(PATIENCE);
    yard.until("it is marked", || mark.exists());
    assert!(!overview().contains(&job));
    drop(lock);
    let _next = yard.daemon(&[]);
    yard.until("the overview is as things stand", || overview().contains(&job));
    yard.let_go("hold-x");
    yard.until("nothing is behind", || overview().contains(">succeeded<") && !mark.exists());
}

#[test]
fn jobs_that_commands_end_are_in_the_overview_without_a_daemon_too() {
    let yard = Yard::new("pages-killed");
    let daemon = yard.daemon(&[]);
    let jobs = [yard.resting("one"), yard.resting("two")];
    daemon.signal(Signal::TERM);
    daemon.wait(PATIENCE);
    assert_eq!(yard.ask(&["kill", &jobs[0], &jobs[1]]).code, Some(0));
    let overview = fs::read_to_string(yard.site.root().join("runs/index.html")).unwrap();
    assert_eq!(overview.matches(">killed<").count(), 2, "{overview}");
}

#[test]
fn what_has_no_report_is_refused_with_the_code_for_it() {
    let yard = Yard::new("pages-none");
    yard.drop_job("fresh-abc234", "x", "");
    let waits = yard.ask(&["open", "fresh"]);
    assert_eq!(
        (waits.code, waits.stderr.contains("waits to be taken")),
        (Some(4), true),
        "{waits:?}"
    );
    assert_eq!(yard.ask(&["open", "nobody"]).code, Some(3));
}

/// A browser that writes down what it was given, or refuses.
fn browser(at: &Path, text: &str) -> String {
    fs::write(at, text).unwrap();
    fs::set_permissions(at, fs::Permissions::from_mode(0o755)).unwrap();
    at.display().to_string()
}

#[test]
fn the_first_browser_that_takes_a_page_gets_it_and_without_one_its_path_is_printed() {
    let stage = Stage::new("pages-browser", &Script::of([part("t1")]));
    let job = stage.ends_with(0, &[]);
    let seen = stage.flag("seen");
    let says = format!("#!/bin/sh\necho \"$@\" > '{}'\n", seen.display());
    let good = browser(&stage.flag("good"), &says);
    let bad = browser(&stage.flag("bad"), "#!/bin/sh\nexit 3\n");
    let page = job.dir().join("report.html");
    let open =
        |browsers: &str| stage.site.run(stage.numerus(&["open", &job.id]).env("BROWSER", browsers));
    let opened = open(&format!("/nonexistent:{bad}:{good} --new %s --end:{bad}"));
    assert_eq!((opened.code, opened.stdout.as_str()), (Some(0), ""), "{opened:?}");
    assert_eq!(fs::read_to_string(&seen).unwrap(), format!("--new {} --end\n", page.display()));
    let without = open(&bad);
    assert_eq!(printed(&without), page);
    assert!(without.stderr.contains("no browser"), "{without:?}");
    let mut without_display = stage.numerus(&["open", &job.id]);
    for name in ["BROWSER", "DISPLAY", "WAYLAND_DISPLAY"] {
        without_display.env_remove(name);
    }
    assert_eq!(printed(&stage.site.run(&mut without_display)), page);
}
