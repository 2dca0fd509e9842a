//! Rounds: what no event tells of is looked at every few minutes, as long as there is anything to look at. A clock that was
//! set, an account that may be used again, a wish, a journal or a status that was changed by hand, a reserve that was given up,
//! a hook whose runner died. A daemon without open jobs makes none, and so does not wake.

use super::Daemon;
use super::workers::Live;
use crate::hooks;
use crate::logic::rescan;
use crate::os::clock;

impl Daemon {
    /// Looks at what no event tells of, if it is time to.
    pub(super) fn go_round(&mut self) {
        let now = clock::since_boot();
        let is_due = self.next_round.is_some_and(|at| at <= now);
        if is_due {
            self.next_round = None;
            self.look_round();
        }
        // What the last job has left is seen by one more round.
        let is_open = !self.jobs.is_empty() || (is_due && hooks::are_left(&self.desk.root));
        if self.next_round.is_none() && is_open {
            self.next_round = Some(now + rescan::soon(self.desk.settings.rescan));
        }
    }

    fn look_round(&mut self) {
        self.mark_changed();
        let runs = &self.desk.runs;
        let is_due =
            |job, live: &Live| live.rests_over_account() || runs.folder(job).last_told().is_none();
        let due = self.jobs.iter().filter(|(job, live)| is_due(job, live));
        self.unchecked.extend(due.map(|(job, _)| job.clone()));
        self.is_dirty = true;
        self.keep_reserves();
        // A runner that was killed left nobody who would start the next one.
        hooks::resume(&self.desk.root);
    }

    /// Lets the next rescan come in good time: something is left to be tried again.
    pub(super) fn come_back_soon(&mut self) {
        let soon = clock::since_boot() + rescan::soon(self.desk.settings.rescan);
        self.next_rescan = self.next_rescan.min(soon);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::ffi::OsStr;
    use std::io::Error;
    use std::time::Duration;

    use tokio::sync::mpsc::unbounded_channel;

    use super::*;
    use crate::daemon::take::Desk;
    use crate::daemon::{Input, Options, watching};
    use crate::logic::rescan::{Ears, RARE, SOON};
    use crate::logic::schedule::Waiting;
    use crate::logic::state::JobState;
    use crate::model::id::JobId;
    use crate::model::job::{Job, Options as Asked, Origin};
    use crate::model::root::Root;
    use crate::model::settings::Settings;
    use crate::os::lock::FileLock;
    use crate::os::mount;
    use crate::os::watch::Change;

    /// A daemon that watches a root, as it does from its start on, and that has looked at everything.
    pub(in crate::daemon) fn daemon(dir: &std::path::Path) -> Daemon {
        let root = Root::new(dir.canonicalize().expect("real").join("root"));
        crate::root::open(&root, true).expect("root");
        let desk = Desk::new(&root, Settings::default());
        desk.spool.create().expect("spool");
        let (inputs, heard) = unbounded_channel();
        // Nobody hears: the test asks.
        drop(heard);
        let watch = watching::open(&inputs);
        let mut daemon = Daemon::new(desk, Options::default(), watch, inputs).expect("daemon");
        daemon.watch_folders();
        daemon.rescan();
        daemon
    }

    fn from_now(at: Duration) -> Duration {
        at.saturating_sub(clock::since_boot())
    }

    fn is_about(time: Duration, expected: Duration) -> bool {
        time <= expected && time + Duration::from_secs(60) > expected
    }

    fn resting() -> Live {
        let job = Job {
            version: 1,
            id: JobId::parse("a-abcdef").expect("id"),
            objective: String::new(),
            options: Asked::default(),
            origin: Origin { name: String::new(), bytes: 0, sha256: String::new(), uid: 0 },
            created_at: jiff::Timestamp::UNIX_EPOCH,
        };
        Live::new(Waiting::of(&job, &JobState::default()))
    }

    #[test]
    fn a_daemon_that_hears_all_and_has_nothing_open_sleeps_for_an_hour_and_trouble_wakes_it_sooner()
    {
        let d = tempfile::tempdir().expect("scratch");
        let mut daemon = daemon(d.path());
        let hears = mount::tells_all(d.path());
        assert_eq!(daemon.ears(), if hears { Ears::All } else { Ears::Partly });
        let expected = if hears { RARE } else { SOON };
        daemon.metrics = crate::daemon::Metrics::default();
        daemon.go_round();
        daemon.check_marked();
        daemon.schedule();
        assert_eq!(daemon.next_round, None);
        assert!(is_about(daemon.patience(), expected), "{:?}", daemon.patience());
        daemon.next_rescan = clock::since_boot() + RARE;
        daemon.trouble("cannot do something", &Error::other("whatever"));
        assert!(is_about(from_now(daemon.next_rescan), SOON));
    }

    #[test]
    fn what_cannot_be_heard_is_looked_for_more_often() {
        let d = tempfile::tempdir().expect("scratch");
        let mut daemon = daemon(d.path());
        daemon.moves = None;
        assert_eq!(daemon.ears(), Ears::Partly, "whoever moves the root is not heard");
        daemon.watch = None;
        assert_eq!(daemon.ears(), Ears::Deaf);
    }

    #[test]
    fn what_takes_the_place_of_the_ground_is_listened_to_and_looked_at_as_often_as_it_is_heard() {
        let d = tempfile::tempdir().expect("scratch");
        let (top, aside) = (d.path().join("top"), d.path().join("aside"));
        crate::os::fsx::make_dirs(&top).expect("folder");
        let mut daemon = daemon(&top);
        let mut after_a_move = || {
            daemon.moves = None;
            daemon.next_rescan = clock::since_boot() + 2 * RARE;
            daemon.hear(Input::Moved);
            daemon.check_ground_if_doubted();
            assert!(daemon.ground.is_open());
            (daemon.moves.is_some(), from_now(daemon.next_rescan))
        };
        let (is_heard, rest) = after_a_move();
        let expected = if mount::tells_all(&top) { RARE } else { SOON };
        assert!(is_heard && is_about(rest, expected), "{rest:?}");
        crate::os::fsx::move_to(&top, &aside).expect("moved");
        std::os::unix::fs::symlink(&aside, &top).expect("link");
        let (is_heard, rest) = after_a_move();
        assert!(!is_heard && is_about(rest, SOON), "over a link not all is heard: {rest:?}");
    }

    #[test]
    fn a_lock_that_went_with_its_root_is_not_another_ones() {
        let d = tempfile::tempdir().expect("scratch");
        let mut daemon = daemon(d.path());
        let root = daemon.desk.root.path().to_owned();
        let away = root.with_file_name("away");
        let path = root.join("spool/.lock");
        let lock = FileLock::try_acquire(&path).expect("lock").expect("free");
        assert!(daemon.still_leads(&lock));
        crate::os::fsx::move_to(&root, &away).expect("moved");
        assert!(daemon.still_leads(&lock), "nothing is done until it is back");
        assert!(!daemon.ground.is_firm());
        crate::os::fsx::move_to(&away, &root).expect("back");
        daemon.check_ground();
        assert!(daemon.still_leads(&lock) && daemon.ground.is_firm());
        crate::os::fsx::remove(&path).expect("removed");
        drop(FileLock::try_acquire(&path).expect("another"));
        assert!(!daemon.still_leads(&lock) && daemon.ground.is_firm());
    }

    #[test]
    fn who_hears_of_no_more_moves_looks_more_often_and_tries_to_hear_again() {
        let d = tempfile::tempdir().expect("scratch");
        let mut daemon = daemon(d.path());
        daemon.next_rescan = clock::since_boot() + RARE;
        daemon.hear(Input::MovesUnheard);
        assert!(daemon.moves.is_none() && daemon.watch.is_some());
        assert!(is_about(from_now(daemon.next_rescan), SOON));
        daemon.rescan();
        assert!(daemon.moves.is_some());
    }

    #[test]
    fn a_look_at_everything_is_the_round_that_would_follow() {
        let d = tempfile::tempdir().expect("scratch");
        let mut daemon = daemon(d.path());
        daemon.jobs.insert(JobId::parse("a-abcdef").expect("id"), resting());
        daemon.is_dirty = false;
        daemon.next_round = Some(clock::since_boot() + Duration::from_secs(1));
        daemon.rescan();
        daemon.go_round();
        assert!(daemon.is_dirty, "what no event tells of was looked at");
        assert!(daemon.next_round.is_some_and(|at| is_about(from_now(at), SOON)), "and once");
    }

    #[test]
    fn rounds_are_made_while_a_job_is_open_and_once_more() {
        let d = tempfile::tempdir().expect("scratch");
        let mut daemon = daemon(d.path());
        let job = JobId::parse("a-abcdef").expect("id");
        daemon.jobs.insert(job.clone(), resting());
        daemon.go_round();
        let is_soon =
            |daemon: &Daemon| daemon.next_round.is_some_and(|at| is_about(from_now(at), SOON));
        assert!(is_soon(&daemon));
        let folder = daemon.desk.runs.create(&job).expect("folder");
        let status = folder.dir().join("status.json");
        let mut looks_at_it = || {
            daemon.unchecked.clear();
            daemon.is_dirty = false;
            daemon.next_round = Some(Duration::ZERO);
            daemon.go_round();
            assert!(daemon.is_dirty, "a clock may have been set");
            assert!(is_soon(&daemon));
            daemon.unchecked.contains(&job)
        };
        assert!(looks_at_it(), "its status is gone");
        crate::os::fsx::put_new(&status, b"{}").expect("status");
        assert!(!looks_at_it(), "nothing is new");
        folder.wish(crate::runs::Want::Paused).expect("by hand");
        assert!(looks_at_it(), "a wish that nobody told of is seen");
        daemon.jobs.clear();
        daemon.go_round();
        assert!(is_soon(&daemon), "one more");
        daemon.next_round = Some(Duration::ZERO);
        daemon.go_round();
        assert_eq!(daemon.next_round, None);
    }

    #[test]
    fn a_file_that_something_is_wrong_with_is_tried_again_within_minutes() {
        let d = tempfile::tempdir().expect("scratch");
        let mut daemon = daemon(d.path());
        let name = OsStr::new("x.md");
        daemon.looks.tell(name, Change::Renamed, clock::since_boot());
        daemon.next_rescan = clock::since_boot() + RARE;
        daemon.leave_for(name, "its user has too many jobs".to_owned());
        let due = daemon.looks.next_due().expect("due");
        assert!(is_about(from_now(due), SOON), "{due:?}");
    }
}
