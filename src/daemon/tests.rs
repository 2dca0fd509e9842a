//! The loop, with a worker of a few lines of shell that does what the objective says.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::mpsc;

use super::*;
use crate::error::Exit;
use crate::model::event::{Fact as JobFact, SessionKind, SessionStart};
use crate::model::status::JobPhase;
use crate::os::process;
use crate::runs::{Journal, JournalReader, Want};
use crate::spool::Place;

/// Holds the lock as a worker does, then writes the facts that the objective asks for.
const WORKER: &str = r#"#!/bin/sh
dir="$2/runs/$4"
exec 9>>"$dir/worker.lock"
flock -x 9
fact() {
  printf '{"seq":%s,"ts":"2026-01-01T00:00:00Z","event":"%s","payload":%s,"job_id":"%s","task_id":null}\n' \
    "$(($(wc -l < "$dir/events.ndjson") + 1))" "$1" "$2" "$job" >> "$dir/events.ndjson"
}
job="$4"
started=$(cut -d' ' -f22 /proc/$$/stat)
boot=$(cat /proc/sys/kernel/random/boot_id)
fact job.worker_started '{"pid":'$$',"start_time":'$started',"boot_id":"'$boot'"}'
case "$(cat "$dir/objective.md")" in
  good*) fact job.finished '{"state":"succeeded","reason":"done","message":""}' ;;
  bad*) fact job.finished '{"state":"failed","reason":"task_failed","message":"no"}' ;;
  rest*) fact job.paused '{"reason":"limit","until":"2999-01-01T00:00:00Z","message":"full"}' ;;
  full*) exit 75 ;;
  long*) sleep 60 9>&- & wait ;;
  said*)
    fact job.finished '{"state":"succeeded","reason":"done","message":""}'
    : >> "$2/spool/claimed/$4.json"
    sleep 60 9>&- & wait ;;
  slow*)
    fact job.finished '{"state":"succeeded","reason":"done","message":""}'
    mv "$2/spool/claimed/$4.json" "$2/spool/done/"
    sleep 60 9>&- & wait ;;
  *) exit 9 ;;
esac
"#;

struct Site {
    dir: tempfile::TempDir,
    desk: Desk,
}

impl Site {
    fn new() -> Self {
        let dir = tempfile::tempdir().expect("scratch");
        let root = Root::new(dir.path().join("root"));
        crate::root::open(&root, true).expect("root");
        let settings = Settings { settle: Duration::from_millis(1), ..Settings::default() };
        let desk = Desk::new(&root, settings);
        let worker = dir.path().join("worker");
        fsx::put_new(&worker, WORKER.as_bytes()).expect("worker");
        std::fs::set_permissions(&worker, std::fs::Permissions::from_mode(0o700)).expect("mode");
        Self { dir, desk }
    }

    fn submit(&self, id: &str, text: &str) -> JobId {
        let job = JobId::parse(id).expect("id");
        self.desk.spool.submit(&job, text.as_bytes()).expect("submit");
        job
    }

    fn objective(&self, id: &str, text: &str) -> JobId {
        self.submit(id, &serde_json::json!({ "objective": text }).to_string())
    }

    fn run(&self, mut options: Options, with: UnboundedSender<Input>, heard: Heard) -> Exit {
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().expect("runtime");
        options.program = Some(self.dir.path().join("worker"));
        runtime
            .block_on(super::lead::lead(self.desk.clone(), options, with, heard))
            .expect("daemon")
    }

    fn once(&self) -> Exit {
        let (inputs, heard) = unbounded_channel();
        self.run(Options { once: true, ..Options::default() }, inputs, heard)
    }

    fn place(&self, job: &JobId) -> Option<Place> {
        self.desk.spool.find(job).map(|(place, _)| place)
    }

    fn reason(&self, job: &JobId) -> Option<String> {
        self.desk.runs.folder(job).read_status()?.reason
    }

    fn starts(&self, job: &JobId) -> usize {
        let path = self.desk.runs.folder(job).journal();
        let events = JournalReader::open(&path).expect("open").read_all().expect("read").events;
        events.iter().filter(|e| matches!(e.fact, JobFact::WorkerStarted { .. })).count()
    }
}

/// Tells the daemon to end, also when the test fails.
struct Stopper(UnboundedSender<Input>);

impl Drop for Stopper {
    fn drop(&mut self) {
        drop(self.0.send(Input::Signal(15)));
    }
}

type Heard = UnboundedReceiver<Input>;

#[test]
fn once_carries_every_job_to_its_end_and_ends() {
    let site = Site::new();
    let jobs: Vec<JobId> =
        (2..8).map(|n| site.objective(&format!("good-abcde{n}"), "good")).collect();
    fsx::put_new(&site.desk.spool.folder(Place::Incoming).join("x.json"), b"{").expect("drop");
    assert_eq!(site.once(), Exit::Usage, "a file was rejected");
    for job in &jobs {
        assert_eq!(site.place(job), Some(Place::Done));
        assert_eq!(site.starts(job), 1, "nothing runs twice");
    }
    assert!(site.desk.spool.folder(Place::Rejected).join("x.json.reason.json").exists());
    assert_eq!(site.once(), Exit::Done, "there is nothing left to do");
    assert_eq!(site.starts(&jobs[0]), 1);
}

#[test]
fn a_machine_without_room_takes_nothing_and_once_does_not_wait_for_it() {
    let mut site = Site::new();
    site.desk.settings.min_free = Some(u64::MAX / 2);
    let job = site.objective("good-abcdef", "good");
    assert_eq!(site.once(), Exit::Blocked);
    assert_eq!(site.place(&job), Some(Place::Incoming));
    site.desk.settings.min_free = Some(0);
    assert_eq!(site.once(), Exit::Done);
    assert_eq!(site.place(&job), Some(Place::Done));
}

#[test]
fn a_worker_that_the_machine_keeps_from_going_on_may_be_started_any_number_of_times() {
    let site = Site::new();
    let job = site.objective("full-abcdef", "full");
    for starts in 1..6 {
        assert_eq!(site.once(), Exit::Blocked, "it is left for a better time");
        assert_eq!((site.starts(&job), site.place(&job)), (starts, Some(Place::Claimed)));
    }
}

#[test]
fn a_failure_fails_what_waits_for_it_and_so_on_down() {
    let site = Site::new();
    let first = site.objective("a-abcdef", "bad");
    let then = |id: &str, after: &str| {
        site.submit(id, &format!(r#"{{"objective": "good", "after": ["{after}"]}}"#))
    };
    let second = then("b-abcdef", "a-abcdef");
    let third = then("c-abcdef", "b-abcdef");
    let any = then("d-abcdef", "a-abcdef:any");
    assert_eq!(site.once(), Exit::JobFailed);
    assert_eq!(site.place(&first), Some(Place::Failed));
    for job in [&second, &third] {
        assert_eq!(site.reason(job).as_deref(), Some("dependency"));
        assert_eq!((site.place(job), site.starts(job)), (Some(Place::Failed), 0));
    }
    assert_eq!(site.place(&any), Some(Place::Done));
}

#[test]
fn a_worker_that_gets_nowhere_is_given_up_after_three_starts() {
    let site = Site::new();
    let job = site.objective("a-abcdef", "crash");
    assert_eq!(site.once(), Exit::JobFailed);
    assert_eq!(site.reason(&job).as_deref(), Some("worker_crashed"));
    assert_eq!(site.starts(&job), 3);
}

#[test]
fn once_leaves_resting_jobs_and_says_so() {
    let site = Site::new();
    let resting = site.objective("a-abcdef", "rest");
    let later = r#"{"objective": "good", "not_before": "2999-01-01T00:00:00Z"}"#;
    let later = site.submit("b-abcdef", later);
    assert_eq!(site.once(), Exit::Blocked);
    assert_eq!(site.place(&resting), Some(Place::Claimed));
    assert_eq!((site.place(&later), site.starts(&later)), (Some(Place::Claimed), 0));
    site.desk.runs.folder(&resting).wish(Want::Killed).expect("wish");
    site.desk.runs.folder(&later).wish(Want::Killed).expect("wish");
    assert_eq!(site.once(), Exit::Done);
    assert_eq!(site.place(&resting), Some(Place::Killed));
    assert_eq!(site.place(&later), Some(Place::Killed));
}

#[test]
fn a_status_that_is_not_there_is_written_again() {
    let site = Site::new();
    let jobs = [site.objective("good-abc234", "good"), site.objective("rest-abc234", "rest")];
    let phases =
        || jobs.each_ref().map(|job| site.desk.runs.folder(job).read_status().map(|s| s.state));
    assert_eq!(site.once(), Exit::Blocked);
    for job in &jobs {
        fsx::remove(&site.desk.runs.folder(job).dir().join("status.json")).expect("remove");
    }
    assert_eq!(phases(), [None; 2]);
    assert_eq!(site.once(), Exit::Blocked);
    assert_eq!(phases(), [Some(JobPhase::Succeeded), Some(JobPhase::Paused)]);
}

#[test]
fn once_does_not_wait_for_another_daemon() {
    let site = Site::new();
    let _lead = site.desk.spool.try_lead().expect("try").expect("free");
    assert_eq!(site.once(), Exit::Blocked);
}

#[test]
fn what_lies_wrong_at_the_start_is_put_right() {
    let site = Site::new();
    let spool = &site.desk.spool;
    // A file whose run folder is gone, a folder whose job never was, and a claimed file moved away by hand.
    let lost = JobId::parse("lost-abcdef").expect("id");
    spool.restore("lost-abcdef.md", b"good").expect("file");
    let empty = site.desk.runs.create(&JobId::parse("empty-abcdef").expect("id")).expect("folder");
    let vanished = site
        .submit("gone-abcdef", r#"{"objective": "good", "not_before": "2999-01-01T00:00:00Z"}"#);
    let moved = site
        .submit("moved-abcdef", r#"{"objective": "good", "not_before": "2999-01-01T00:00:00Z"}"#);
    for job in [&vanished, &moved] {
        drop(site.desk.take(format!("{job}.json").as_ref(), &mut take::nobody).expect("take"));
    }
    fsx::remove(&spool.find(&vanished).expect("file").1).expect("vanish");
    let (_, path) = spool.find(&moved).expect("file");
    fsx::move_to(&path, &spool.folder(Place::Killed).join("moved-abcdef.json")).expect("by hand");
    assert_eq!(site.once(), Exit::JobFailed);
    assert_eq!(site.place(&lost), Some(Place::Failed));
    assert_eq!(site.reason(&lost).as_deref(), Some("run_lost"));
    assert!(!empty.dir().exists());
    assert_eq!(site.place(&vanished), Some(Place::Claimed));
    assert_eq!(site.place(&moved), Some(Place::Killed));
    assert_eq!(
        site.desk.runs.folder(&moved).read_status().expect("status").state,
        JobPhase::Killed
    );
}

/// Waits until `is_so`, woken by whatever changes in a folder.
fn until(folder: &Path, is_so: impl Fn() -> bool) {
    let (tell, woken) = mpsc::channel();
    let mut watch = Watch::new(move |_| tell.send(()).unwrap_or_default()).expect("watch");
    watch.add(folder).expect("add");
    while !is_so() {
        woken.recv_timeout(Duration::from_secs(20)).expect("a change in time");
    }
}

#[test]
fn a_running_daemon_takes_what_is_dropped_and_ends_when_told() {
    let site = Site::new();
    let (inputs, heard) = unbounded_channel();
    let stop = Stopper(inputs.clone());
    let code = std::thread::scope(|scope| {
        let stop = stop;
        let daemon = scope.spawn(|| site.run(Options::default(), inputs, heard));
        let done = site.desk.spool.folder(Place::Done);
        let first = site.objective("a-abcdef", "good");
        until(&done, || site.place(&first) == Some(Place::Done));
        // Written in place, and a job that is killed while it waits for its time.
        fsx::put_new(&site.desk.spool.folder(Place::Incoming).join("b.txt"), b"good").expect("b");
        until(&done, || site.desk.spool.jobs_in(Place::Done).expect("list").len() == 2);
        let later = r#"{"objective": "x", "not_before": "2999-01-01T00:00:00Z"}"#;
        let later = site.submit("c-abcdef", later);
        let folder = site.desk.runs.folder(&later);
        until(site.desk.runs.dir(), || folder.dir().exists());
        until(folder.dir(), || folder.read_status().is_some());
        let (_, path) = site.desk.spool.find(&later).expect("file");
        let killed = site.desk.spool.folder(Place::Killed);
        fsx::move_to(&path, &killed.join("c-abcdef.json")).expect("by hand");
        let is_killed = || folder.read_status().is_some_and(|s| s.state == JobPhase::Killed);
        until(folder.dir(), is_killed);
        drop(stop);
        daemon.join().expect("daemon")
    });
    assert_eq!(code, Exit::Done);
}

#[test]
fn a_job_that_has_ended_needs_no_lane_while_its_worker_tidies_up() {
    let site = Site::new();
    let slow: Vec<JobId> =
        ["a", "b"].map(|n| site.objective(&format!("{n}-abcdef"), "slow")).into();
    let next = site.objective("c-abcdef", "good");
    let (inputs, heard) = unbounded_channel();
    let stop = Stopper(inputs.clone());
    let code = std::thread::scope(|scope| {
        let stop = stop;
        let options = Options { max_jobs: Some(1), stop_jobs: true, ..Options::default() };
        let daemon = scope.spawn(|| site.run(options, inputs, heard));
        let done = site.desk.spool.folder(Place::Done);
        let has_ended = |job: &JobId| site.place(job) == Some(Place::Done);
        let is_held = |job: &JobId| site.desk.runs.folder(job).is_held().expect("probe");
        until(&done, || slow.iter().all(has_ended));
        assert!(slow.iter().all(is_held), "both still tidy up");
        // As many tidy up as there are lanes, and one more: one of them has to go.
        let folder = site.desk.runs.folder(&slow[0]);
        folder.worker().expect("look").expect("it lives").terminate();
        until(&done, || has_ended(&next));
        drop(stop);
        daemon.join().expect("daemon")
    });
    assert_eq!(code, Exit::Done);
}

#[test]
fn a_job_that_has_ended_needs_no_lane_before_its_file_is_moved() {
    let site = Site::new();
    let said = site.objective("a-abcdef", "said");
    let then = r#"{"objective": "good", "after": ["a-abcdef"], "priority": 9}"#;
    let (other, next) = (site.objective("b-abcdef", "slow"), site.submit("c-abcdef", then));
    let (inputs, heard) = unbounded_channel();
    let stop = Stopper(inputs.clone());
    std::thread::scope(|scope| {
        let stop = stop;
        let options = Options { max_jobs: Some(1), stop_jobs: true, ..Options::default() };
        scope.spawn(|| site.run(options, inputs, heard));
        let done = site.desk.spool.folder(Place::Done);
        until(&done, || site.place(&other) == Some(Place::Done));
        assert_eq!(site.place(&next), Some(Place::Done), "what waited for it was the next one");
        assert_eq!(site.place(&said), Some(Place::Claimed), "its worker still tidies up");
        drop(stop);
    });
}

#[test]
fn a_daemon_that_takes_over_waits_for_whoever_tidies_up_and_starts_what_waited_for_that_job() {
    let site = Site::new();
    let said = site.objective("a-abcdef", "said");
    let folder = site.desk.runs.folder(&said);
    let (inputs, heard) = unbounded_channel();
    std::thread::scope(|scope| {
        let stop = Stopper(inputs.clone());
        scope.spawn(|| site.run(Options::default(), inputs, heard));
        until(site.desk.runs.dir(), || folder.dir().exists());
        until(folder.dir(), || {
            let events = JournalReader::read_any(&folder.journal()).map(|read| read.events);
            events.is_ok_and(|all| all.iter().any(|e| matches!(e.fact, JobFact::Finished { .. })))
        });
        drop(stop);
    });
    let next = site.submit("b-abcdef", r#"{"objective": "good", "after": ["a-abcdef"]}"#);
    let code = std::thread::scope(|scope| {
        let daemon = scope.spawn(|| site.once());
        until(&site.desk.spool.folder(Place::Done), || site.place(&next) == Some(Place::Done));
        assert!(!daemon.is_finished() && site.place(&said) == Some(Place::Claimed));
        folder.worker().expect("look").expect("it lives").terminate();
        daemon.join().expect("daemon")
    });
    assert_eq!((code, site.place(&said)), (Exit::Done, Some(Place::Done)));
}

#[test]
fn a_job_that_somebody_else_takes_is_begun_as_soon_as_they_let_go_of_it_or_die() {
    let site = Site::new();
    let (inputs, heard) = unbounded_channel();
    let stop = Stopper(inputs.clone());
    std::thread::scope(|scope| {
        let stop = stop;
        scope.spawn(|| site.run(Options::default(), inputs, heard));
        let (done, mut seen) = (site.desk.spool.folder(Place::Done), 0);
        let mut is_seen = || {
            // The daemon hears of things in their order: what came before this one, it has looked at.
            seen += 1;
            let witness = site.objective(&format!("w{seen}-abcdef"), "good");
            until(&done, || site.place(&witness) == Some(Place::Done));
        };
        is_seen();
        for dies in [false, true] {
            let job = JobId::parse(if dies { "b-abcdef" } else { "a-abcdef" }).expect("id");
            let folder = site.desk.runs.create(&job).expect("folder");
            let lock = folder.try_lock().expect("lock").expect("free");
            folder.begin_taking(&lock).expect("mark");
            let old = JobId::parse("o-abcdef").expect("id");
            let prepared = site.desk.spool.prepare(&old, &job, br#"{"objective": "good"}"#);
            site.desk.spool.claim_prepared(&prepared.expect("prepared"), &job).expect("claim");
            is_seen();
            if dies {
                drop(lock);
            } else {
                drop(site.desk.take_again(folder, lock).expect("taken"));
            }
            until(&done, || site.place(&job) == Some(Place::Done));
        }
        drop(stop);
    });
}

#[test]
fn a_second_daemon_takes_over_when_the_first_has_gone() {
    let site = Site::new();
    let lead = site.desk.spool.try_lead().expect("try").expect("free");
    let job = site.objective("a-abcdef", "good");
    let (inputs, heard) = unbounded_channel();
    let stop = Stopper(inputs.clone());
    std::thread::scope(|scope| {
        let stop = stop;
        scope.spawn(|| site.run(Options::default(), inputs, heard));
        assert_eq!(site.place(&job), Some(Place::Incoming));
        drop(lead);
        until(&site.desk.spool.folder(Place::Done), || site.place(&job) == Some(Place::Done));
        drop(stop);
    });
}

#[test]
fn workers_outlive_the_daemon_and_the_next_one_finds_and_stops_them() {
    let site = Site::new();
    let job = site.objective("a-abcdef", "long");
    let folder = site.desk.runs.folder(&job);
    let starts = || site.desk.runs.folder(&job).journal().exists() && site.starts(&job) == 1;
    let (inputs, heard) = unbounded_channel();
    let stop = Stopper(inputs.clone());
    std::thread::scope(|scope| {
        let stop = stop;
        scope.spawn(|| site.run(Options::default(), inputs, heard));
        until(site.desk.runs.dir(), || folder.dir().exists());
        until(folder.dir(), starts);
        drop(stop);
    });
    assert!(folder.is_held().expect("probe"), "the worker lives on");
    let (inputs, heard) = unbounded_channel();
    inputs.send(Input::Signal(15)).expect("told to end before it begins");
    let options = Options { stop_jobs: true, ..Options::default() };
    assert_eq!(site.run(options, inputs, heard), Exit::Done);
    assert!(!folder.is_held().expect("probe"), "the worker was stopped");
    assert_eq!(site.starts(&job), 1, "and not started again");
}

#[test]
fn a_running_job_whose_file_is_moved_to_killed_is_killed() {
    let site = Site::new();
    let job = site.objective("a-abcdef", "long");
    let folder = site.desk.runs.folder(&job);
    let (inputs, heard) = unbounded_channel();
    let stop = Stopper(inputs.clone());
    std::thread::scope(|scope| {
        let stop = stop;
        scope.spawn(|| site.run(Options::default(), inputs, heard));
        until(site.desk.runs.dir(), || folder.dir().exists());
        until(folder.dir(), || folder.journal().exists() && site.starts(&job) == 1);
        let (_, path) = site.desk.spool.find(&job).expect("file");
        let killed = site.desk.spool.folder(Place::Killed).join("a-abcdef.json");
        fsx::move_to(&path, &killed).expect("by hand");
        until(folder.dir(), || folder.read_status().is_some_and(|s| s.state == JobPhase::Killed));
        drop(stop);
    });
    assert!(folder.wants(Want::Killed));
    assert_eq!((site.place(&job), site.starts(&job)), (Some(Place::Killed), 1));
}

/// A job that waits for its time, as if a worker had died in a session of it.
fn abandoned(site: &Site, id: &str) -> JobId {
    let job = site.submit(id, r#"{"objective": "x", "not_before": "2999-01-01T00:00:00Z"}"#);
    drop(site.desk.take(format!("{id}.json").as_ref(), &mut take::nobody).expect("take"));
    let folder = site.desk.runs.folder(&job);
    fsx::make_dirs(folder.place("plan").session_lock().parent().expect("place")).expect("place");
    let start = SessionStart {
        place: "plan".into(),
        number: 1,
        kind: SessionKind::Plan,
        attempt: 1,
        boot_id: process::boot_id(),
        cgroup: None,
        resumes: None,
        writable: Vec::new(),
        shut: Vec::new(),
    };
    let (mut journal, _) = Journal::open(&folder.journal(), &job).expect("journal");
    journal.append(JobFact::SessionStarting(start), None, clock::now()).expect("append");
    job
}

#[test]
fn a_job_of_which_something_will_not_die_is_ended_later() {
    let site = Site::new();
    let (wished, moved) = (abandoned(&site, "a-abcdef"), abandoned(&site, "b-abcdef"));
    let folders = [&wished, &moved].map(|job| site.desk.runs.folder(job));
    folders[0].wish(Want::Killed).expect("wish");
    let (_, path) = site.desk.spool.find(&moved).expect("file");
    let killed = site.desk.spool.folder(Place::Killed).join("b-abcdef.json");
    fsx::move_to(&path, &killed).expect("by hand");
    let phases =
        || folders.each_ref().map(|folder| folder.read_status().expect("status").state.is_final());
    let locks = folders.each_ref().map(|folder| {
        let path = folder.place("plan").session_lock();
        FileLock::acquire(&path, Duration::ZERO).expect("lock").expect("free")
    });
    site.once();
    assert_eq!(phases(), [false, false]);
    let log = site.desk.root.store().join("daemon.ndjson");
    let log = fsx::read_optional(&log).expect("read").expect("there");
    assert_eq!(log.matches("still live").count(), 2, "{log}");
    drop(locks);
    assert_eq!(site.once(), Exit::Done);
    assert_eq!(phases(), [true, true]);
}

#[test]
fn a_loss_is_recorded_only_if_the_file_is_there_and_nobody_takes_it() {
    let site = Site::new();
    let (inputs, _heard) = unbounded_channel();
    let desk = &site.desk;
    fsx::make_dirs(desk.runs.dir()).expect("runs");
    let daemon = Daemon::new(desk.clone(), Options::default(), None, inputs).expect("daemon");
    let job = JobId::parse("a-abcdef").expect("id");
    assert!(!daemon.record_loss(&job).expect("gone"), "it was put aside meanwhile");
    assert!(!desk.runs.folder(&job).dir().exists());
    desk.spool.restore("a-abcdef.md", b"good").expect("file");
    let folder = desk.runs.create(&job).expect("folder");
    let taker = folder.try_lock().expect("lock").expect("free");
    assert!(!daemon.record_loss(&job).expect("held"), "it is being taken");
    assert_eq!(site.place(&job), Some(Place::Claimed));
    desk.runs.put_away(&taker, &job).expect("lose it");
    assert!(daemon.record_loss(&job).expect("lost"));
    assert_eq!(site.place(&job), Some(Place::Failed));
}
