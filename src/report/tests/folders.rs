//! Pages of what lies in run folders: damaged or empty ones too, written when there is something to tell and not else.

use jiff::Timestamp;

use super::{check, id, material as made};
use crate::model::root::Root;
use crate::model::status::JobPhase;
use crate::os::fsx;
use crate::report::material::{self, Material};
use crate::report::{self, overview, report as page_of};
use crate::runs::{RunFolder, Runs};

fn read_whole(folder: &RunFolder, is_held: bool) -> Material {
    let facts = material::read_facts(folder, is_held, Timestamp::UNIX_EPOCH).expect("read");
    facts.with_files(folder)
}

fn folder(root: &Root) -> RunFolder {
    fsx::make_dirs(&root.runs()).expect("runs");
    Runs::of(root).create(&id()).expect("folder")
}

#[test]
fn a_damaged_or_empty_run_folder_gives_a_page_that_says_so() {
    let dir = tempfile::tempdir().expect("scratch");
    let folder = folder(&Root::new(dir.path()));
    let page = |is_held| page_of(&read_whole(&folder, is_held));
    check(&page(true));
    fsx::put(&folder.job_file(), b"{").expect("put");
    fsx::put(&folder.journal(), b"{\"seq\": 1}\n\xff\xfe garbage\n{\"seq\":").expect("put");
    let page = page(false);
    check(&page);
    assert!(
        page.contains("journal is damaged: line 2") && page.contains("cannot be read"),
        "{page}"
    );
}

#[test]
fn a_report_is_written_once_and_again_when_there_is_more_to_tell() {
    let dir = tempfile::tempdir().expect("scratch");
    let folder = folder(&Root::new(dir.path()));
    let line = |seq: u32| {
        format!(
            "{{\"seq\":{seq},\"ts\":\"2026-01-02T03:04:05Z\",\"event\":\"job.resumed\",\"payload\":{{}},\"job_id\":\"a-abc234\",\"task_id\":null}}\n"
        )
    };
    let path = report::path(&folder);
    let write = |is_worked_on| {
        report::refresh(&folder, is_worked_on).expect("refresh");
        let page = std::fs::read_to_string(&path).expect("page");
        fsx::put(&path, page.replace("</html>", "seen</html>").as_bytes()).expect("put");
        page.contains("seen</html>")
    };
    fsx::put(&folder.journal(), line(1).as_bytes()).expect("put");
    assert_eq!([write(true), write(true)], [false, true], "fresh");
    fsx::put(&folder.journal(), (line(1) + &line(2)).as_bytes()).expect("put");
    assert_eq!(
        [write(true), write(true), write(false)],
        [false, true, false],
        "its worker has gone"
    );
    let job = made(&[], "Do it", b"").job.expect("a job");
    folder.put_job(&job).expect("job");
    fsx::put(&folder.dir().join("note-1.md"), b"Mind the gap").expect("a note");
    assert_eq!([write(false), write(false)], [false, true], "somebody told its agents something");
    let page = std::fs::read_to_string(&path).expect("page");
    assert!(page.contains("Mind the gap"));
    let mut status = crate::logic::state::JobState::default().status(&job);
    for message in ["for its time", "for another job"] {
        (status.state, status.message) = (JobPhase::Paused, message.to_owned());
        folder.write_status(&status).expect("status");
        assert_eq!([write(false), write(false)], [false, true], "it waits {message}");
    }
}

#[test]
fn the_overview_has_the_jobs_of_the_spool_even_where_one_cannot_be_read() {
    let dir = tempfile::tempdir().expect("scratch");
    let root = Root::new(dir.path());
    let folder = folder(&root);
    folder.put_job(&made(&[], "Do it", b"").job.expect("a job")).expect("put");
    fsx::make_dirs(&root.spool().join("claimed")).expect("spool");
    fsx::make_dirs(&root.store()).expect("store");
    for name in ["a-abc234.md", "gone-abc234.md"] {
        fsx::put(&root.spool().join("claimed").join(name), b"").expect("file");
    }
    let found = overview::gather(&root, Timestamp::UNIX_EPOCH).expect("jobs");
    assert_eq!((found.live.len(), found.more_live, found.ended.len()), (1, 1, 0));
    report::refresh_overview(&root).expect("written");
    let page = std::fs::read_to_string(report::overview_path(&root)).expect("page");
    check(&page);
    assert!(page.contains("./a-abc234/report.html") && page.contains("Do it"));
}
