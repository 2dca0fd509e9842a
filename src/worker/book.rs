//! The job's journal, its state and its `status.json`. A fact is appended, flushed if something outside follows from it, applied
//! and published. What only follows from it in here may wait for its flush until the next such fact; where none comes within a moment,
//! [`Book::scribe`] flushes it. It also writes the status, after that moment where nothing was written for a while, else when that
//! while is over. Only the holder of the job's lock has a book.

use std::io::{Error, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use crate::bus::{Bus, EventStream};
use crate::logic::state::JobState;
use crate::model::event::Fact;
use crate::model::id::TaskId;
use crate::model::job::Job;
use crate::os::lock::FileLock;
use crate::os::{clock, seeded};
use crate::runs::{Journal, RunFolder};

/// How long `status.json` may be behind the journal while fact follows fact: each new one is a file that is made and one that
/// is taken away.
const BREATH: Duration = Duration::from_millis(50);
/// How long the scribe leaves the floor to what follows a fact: mostly it is another fact, which is flushed with this one, or the
/// start of a session, which is not to wait.
const MOMENT: Duration = Duration::from_millis(5);

/// What the book keeps.
struct Pages {
    lock: Arc<FileLock>,
    journal: Journal,
    state: JobState,
    /// Since when, in boot time, the journal holds a fact that is to be flushed and was not yet.
    owed_since: Option<Duration>,
    /// Whether `status.json` is older than the state.
    is_behind: bool,
    /// When that was last written, in boot time.
    told_at: Duration,
}

/// The book of one job; clones are the same book.
#[derive(Clone)]
pub(super) struct Book {
    pages: Arc<Mutex<Pages>>,
    folder: RunFolder,
    job: Job,
    bus: Bus,
    news: Arc<Notify>,
}

/// When a fact must survive a power cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// Before anything follows from it.
    Now,
    /// Before anything that follows from it leaves this process.
    Soon,
    /// Never: it is evidence, and what it tells is found out again.
    Never,
}

impl Book {
    /// Opens the journal and replays it. One of which something is destroyed is not gone on with: nobody knows what has
    /// been done.
    pub(super) fn open(
        folder: &RunFolder,
        lock: Arc<FileLock>,
        job: &Job,
        bus: &Bus,
    ) -> Result<Self> {
        let (mut journal, mut replay) = Journal::open(&folder.journal(), &job.id)?;
        if let Some(damage) = replay.damage {
            let path = folder.journal();
            return Err(Error::other(format!(
                "{}: {damage}: the job must not run",
                path.display()
            )));
        }
        if seeded::bug("completed-again") {
            replay.events.retain(|event| !matches!(event.fact, Fact::TaskCompleted { .. }));
        }
        let state = JobState::replay(&replay.events);
        if state.claimed {
            folder.finish_taking(&lock, job, &mut journal);
        }
        // Whoever gave us the job has just written its status.
        let told_at = clock::since_boot();
        let pages = Pages { lock, journal, state, owed_since: None, is_behind: false, told_at };
        let (pages, news) = (Arc::new(Mutex::new(pages)), Arc::default());
        Ok(Self { pages, folder: folder.clone(), job: job.clone(), bus: bus.clone(), news })
    }

    fn pages(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes a fact down. When it comes back, one that something outside follows from is durable, with all before it. Nothing
    /// is written, and so nothing begins, once the lock is another file or gone with its folder: somebody else may work on the
    /// job.
    pub(super) fn record(&self, task: Option<&TaskId>, fact: Fact) -> Result<()> {
        let due = if is_found_again(&fact, &self.job) { Due::Soon } else { due(&fact) };
        let event = {
            let mut pages = self.pages();
            if !pages.lock.is_current() {
                let path = pages.lock.path().display();
                let message = format!("{path} was removed or replaced: this worker must not go on");
                return Err(Error::other(message));
            }
            let event = pages.journal.append(fact, task, clock::steady())?;
            if due != Due::Never {
                pages.owed_since.get_or_insert_with(clock::since_boot);
            }
            if due == Due::Now {
                pages.flush()?;
            }
            pages.state.apply(&event);
            pages.is_behind = true;
            event
        };
        self.news.notify_one();
        self.bus.publish(&event);
        Ok(())
    }

    /// Hears the next fact whose name fits the pattern.
    pub(super) fn hear(&self, pattern: &str) -> EventStream {
        self.bus.channel(pattern, 1)
    }

    /// Flushes what is owed a moment after it was written, two at most, and keeps the status no further behind than a breath and a
    /// moment. Never comes back.
    pub(super) async fn scribe(self) {
        loop {
            let has_news = match self.keep_up() {
                None => {
                    self.news.notified().await;
                    true
                }
                Some(rest) => tokio::time::timeout(rest, self.news.notified()).await.is_ok(),
            };
            if has_news {
                tokio::time::sleep(MOMENT).await;
            }
        }
    }

    /// Flushes what has been owed for long enough, and writes the status if it is time; else says how long that may wait.
    fn keep_up(&self) -> Option<Duration> {
        let mut pages = self.pages();
        let now = clock::since_boot();
        let owed = pages.owed_since.map(|since| (since + MOMENT).saturating_sub(now));
        if owed.is_some_and(|rest| rest.is_zero()) {
            // A journal that cannot be flushed fails whoever writes the next fact.
            let _told_then = pages.flush();
        }
        let rest = rest(pages.told_at, now);
        if pages.is_behind && rest.is_zero() {
            self.tell(&mut pages);
        }
        let behind = pages.is_behind.then_some(rest);
        owed.into_iter().chain(behind).filter(|rest| !rest.is_zero()).min()
    }

    /// Flushes what is owed and writes the status, if anything has happened since: the last that a worker does.
    ///
    /// # Errors
    /// When the journal cannot be flushed.
    pub(super) fn catch_up(&self) -> Result<()> {
        let mut pages = self.pages();
        let flushed = pages.flush();
        if pages.is_behind {
            self.tell(&mut pages);
        }
        flushed
    }

    /// Writes the status, where the job is still ours.
    fn tell(&self, pages: &mut Pages) {
        (pages.is_behind, pages.told_at) = (false, clock::since_boot());
        if pages.lock.is_current() {
            // Derived: who finds it missing or old looks into the journal.
            let _derived = self.folder.write_status(&pages.state.status(&self.job));
        }
    }

    /// Lets somebody write the last status, by the state, and whatever follows from it: nothing is written over it here, nor beside
    /// it once the job is put away.
    pub(super) fn tell_last<T>(&self, tell: impl FnOnce(&JobState) -> T) -> T {
        let mut pages = self.pages();
        pages.is_behind = false;
        tell(&pages.state)
    }

    /// Looks at the state.
    pub(super) fn state<T>(&self, look: impl FnOnce(&JobState) -> T) -> T {
        look(&self.pages().state)
    }
}

impl Pages {
    /// One that failed is owed on, so that everybody who asks hears of it.
    fn flush(&mut self) -> Result<()> {
        if self.owed_since.is_some() {
            self.journal.flush()?;
            self.owed_since = None;
        }
        Ok(())
    }
}

/// How long a status that was last written then may still be behind.
fn rest(told_at: Duration, now: Duration) -> Duration {
    (told_at + BREATH).saturating_sub(now)
}

/// Whether a fact tells of a workspace that the next worker would find as it is. In a repository that is not the job's own it may not:
/// what is made there next belongs to the commit that was found.
fn is_found_again(fact: &Fact, job: &Job) -> bool {
    match fact {
        Fact::WorkspaceFixed { workspace } => {
            job.options.workspace.is_none() || workspace.git_dir.is_empty()
        }
        _ => false,
    }
}

/// What follows from the first ones is another fact, a lease, which means nothing after a power cut, or files of a failed attempt
/// being put back, which is done again.
fn due(fact: &Fact) -> Due {
    match fact {
        Fact::SessionEnded(_)
        | Fact::PlanCreated { .. }
        | Fact::RolesAssigned { .. }
        | Fact::ClaimRecorded { .. } => Due::Soon,
        Fact::WorkerStarted { .. }
        | Fact::ClaimBlocked { .. }
        | Fact::ClaimUnblocked { .. }
        | Fact::ClaimApproved { .. }
        | Fact::LocksReleased { .. }
        | Fact::ClaimMeasured { .. }
        | Fact::BaseDiverged(_)
        | Fact::TaskStarted { .. }
        | Fact::SessionOpened { .. }
        | Fact::SessionConfirmed { .. }
        | Fact::SessionExited(_)
        | Fact::SessionTimedOut(_)
        | Fact::SessionKilled(_)
        | Fact::EntryAdded { .. }
        | Fact::BankCreated { .. } => Due::Never,
        _ => Due::Now,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::event::{SessionEnd, SessionKind};
    use crate::model::id::JobId;
    use crate::model::job::{Options, Origin};
    use crate::model::outcome::Tokens;
    use crate::model::root::Root;
    use crate::os::fsx;
    use crate::runs::Runs;

    fn book(dir: &tempfile::TempDir) -> Book {
        let root = Root::new(dir.path());
        fsx::make_dirs(&root.runs()).expect("runs");
        let id = JobId::parse("a-abc234").expect("id");
        let folder = Runs::of(&root).create(&id).expect("folder");
        let lock = Arc::new(folder.try_lock().expect("lock").expect("free"));
        let origin = Origin { name: "a.md".into(), bytes: 1, sha256: "0".repeat(64), uid: 0 };
        let job = Job {
            version: 1,
            id,
            objective: "x".into(),
            options: Options::default(),
            origin,
            created_at: jiff::Timestamp::UNIX_EPOCH,
        };
        Book::open(&folder, lock, &job, &Bus::new()).expect("book")
    }

    fn ended() -> Fact {
        Fact::SessionEnded(SessionEnd {
            place: "plan".into(),
            number: 1,
            kind: SessionKind::Plan,
            attempt: 1,
            failure: None,
            thread_id: None,
            tokens: Tokens::default(),
            thread_tokens: Tokens::default(),
        })
    }

    fn is_in_step(book: &Book) -> bool {
        let pages = book.pages();
        pages.owed_since.is_none() && !pages.is_behind
    }

    #[test]
    fn a_status_is_written_at_once_or_a_breath_after_the_last() {
        let ms = Duration::from_millis;
        for (told_at, now, expected) in
            [(0, 0, 50), (0, 20, 30), (0, 50, 0), (0, 9000, 0), (9, 8, 51)]
        {
            assert_eq!(rest(ms(told_at), ms(now)), ms(expected), "{told_at} {now}");
        }
    }

    /// Waits until it is so.
    async fn soon(is_so: impl Fn() -> bool) {
        let looking = async {
            while !is_so() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(20), looking).await.expect("it is so");
    }

    #[test]
    fn what_is_owed_is_flushed_when_nothing_follows_for_a_moment_and_told_within_a_breath() {
        let dir = tempfile::tempdir().expect("scratch");
        let book = book(&dir);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
        runtime.expect("runtime").block_on(async {
            // A breath so long that it cannot be over before it is looked at.
            let (now, hour) = (clock::since_boot(), Duration::from_secs(3600));
            book.pages().told_at = now + hour;
            let scribe = tokio::spawn(book.clone().scribe());
            // It waits by then.
            tokio::task::yield_now().await;
            for _ in 0..3 {
                book.record(None, ended()).expect("record");
                tokio::task::yield_now().await;
                assert!(book.pages().owed_since.is_some(), "something may follow");
                soon(|| book.pages().owed_since.is_none()).await;
            }
            assert!(book.folder.read_status().is_none(), "one has just been written");
            scribe.abort();
            book.pages().told_at = now;
            tokio::spawn(book.clone().scribe());
            // Nothing more happens, and it is told all the same.
            soon(|| is_in_step(&book)).await;
        });
        assert!(book.folder.read_status().is_some());
    }

    #[test]
    fn what_has_just_been_written_is_not_flushed_because_something_else_was_written_before() {
        let dir = tempfile::tempdir().expect("scratch");
        let book = book(&dir);
        book.pages().told_at = clock::since_boot() + Duration::from_secs(3600);
        let hour = Duration::from_secs(3600);
        for (since, is_flushed) in [(hour, false), (Duration::ZERO, true)] {
            book.record(None, ended()).expect("record");
            let then = (clock::since_boot() + since).saturating_sub(MOMENT);
            book.pages().owed_since = Some(then);
            let rest = book.keep_up().expect("the status waits");
            assert_eq!(book.pages().owed_since.is_none(), is_flushed);
            assert!(rest > MOMENT, "nothing is left to do in a moment");
        }
    }

    #[test]
    fn a_workspace_that_would_be_found_again_waits_for_the_session_that_follows() {
        use crate::model::workspace::{Isolation, Workspace};
        for (named, git_dir, is_owed) in
            [(None, "/r/.git", true), (Some("/w"), "/w/.git", false), (Some("/w"), "", true)]
        {
            let dir = tempfile::tempdir().expect("scratch");
            let mut book = book(&dir);
            book.job.options.workspace = named.map(Into::into);
            let workspace = Workspace {
                isolation: Isolation::Worktree,
                git_dir: git_dir.into(),
                top: "/w".into(),
                prefix: String::new(),
                base: String::new(),
                dirty: false,
            };
            book.record(None, Fact::WorkspaceFixed { workspace }).expect("record");
            assert_eq!(book.pages().owed_since.is_some(), is_owed, "{named:?} {git_dir:?}");
        }
    }

    #[test]
    fn the_last_that_a_worker_does_is_to_tell_whenever_it_told_before() {
        let dir = tempfile::tempdir().expect("scratch");
        let book = book(&dir);
        book.record(None, ended()).expect("record");
        book.catch_up().expect("flush");
        assert!(is_in_step(&book) && book.folder.read_status().is_some());
    }

    #[test]
    fn nothing_is_written_once_the_last_status_is_told() {
        let dir = tempfile::tempdir().expect("scratch");
        let book = book(&dir);
        book.record(None, ended()).expect("record");
        book.pages().flush().expect("flush");
        let waits = book.clone();
        // Whoever waits for the book meanwhile finds nothing to write.
        let waiting = book.tell_last(|_| std::thread::spawn(move || waits.keep_up()));
        assert_eq!(waiting.join().expect("looked"), None);
        book.catch_up().expect("flush");
        assert!(book.folder.read_status().is_none());
    }

    #[test]
    fn a_fact_that_something_follows_from_takes_all_before_it_along() {
        let dir = tempfile::tempdir().expect("scratch");
        let book = book(&dir);
        book.record(None, ended()).expect("record");
        book.record(None, Fact::Resumed {}).expect("record");
        assert!(book.pages().owed_since.is_none());
        book.record(None, ended()).expect("record");
        book.catch_up().expect("the last that a worker does");
        assert!(is_in_step(&book));
    }
}
