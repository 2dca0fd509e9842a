//! What claims that wait hear of the lease folder: one watch for all of a worker's, however many wait. Each look at the folder opens every
//! file in it, of which the kernel tells each watch: with one for each claim that waits most of a look went into that.
//!
//! A watch only wakes: hints may be lost, so a claim is judged now and then without one.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Interval, MissedTickBehavior};

use super::desk::{Outcome, Stop};
use crate::codex::ask::told_to_stop;
use crate::leases::{Leases, News, NoGo};
use crate::os::watch::Watch;

/// Time after which a waiting claim is judged again although nothing woke it.
const RESCAN: Duration = Duration::from_secs(60);
/// The same where nothing would wake it: the kernel has no watches to give, or somebody else is to bury a dead holder.
const WITHOUT_WATCH: Duration = Duration::from_secs(1);
/// Time after which it is looked again whether a holder has died that seems to have, or may have before anybody listened: the kernel tells
/// of a death before it frees the lock.
const ECHO: Duration = Duration::from_millis(10);
/// How often that is done.
const ECHOES: u32 = 3;

/// Where the claims of one worker find the watch that they share, as long as one of them waits.
#[derive(Default)]
pub(super) struct Listening(Mutex<Weak<Listener>>);

impl Listening {
    /// The watch that others listen to already, if it hears of the folder as it is now; else a new one.
    fn join(&self, leases: &Leases, rumours: &Arc<Rumours>) -> Arc<Listener> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = known.upgrade().filter(|listener| listener.hears(leases));
        let listener = heard.unwrap_or_else(|| Arc::new(Listener::begin(leases)));
        listener.audience.add(rumours);
        *known = Arc::downgrade(&listener);
        listener
    }
}

/// One watch, and who listens to it.
struct Listener {
    audience: Arc<Audience>,
    /// `None` where the kernel has none to give.
    watch: Option<Watch>,
    /// Which folder it is on.
    folder: Option<Number>,
    /// Whether something has become of that folder: its number may be another's by now.
    is_off: Arc<AtomicBool>,
}

/// A folder's device and number.
type Number = (u64, u64);

fn number_of(leases: &Leases) -> Option<Number> {
    let meta = std::fs::symlink_metadata(leases.dir()).ok()?;
    Some((meta.dev(), meta.ino()))
}

impl Listener {
    fn begin(leases: &Leases) -> Self {
        let (audience, folder) = (Arc::<Audience>::default(), number_of(leases));
        let (told, of, is_off) = (audience.clone(), leases.clone(), Arc::<AtomicBool>::default());
        let off = is_off.clone();
        let watch = Watch::new(move |hint| {
            if hint.paths.iter().any(|path| path == of.dir()) {
                off.store(true, Ordering::Release);
            }
            told.tell(&of.news(&hint));
        });
        let watch = watch.ok();
        let watch = watch.and_then(|mut watch| watch.add(leases.dir()).ok().map(|()| watch));
        // One that was replaced meanwhile is not known to be heard of.
        let folder = folder.filter(|folder| number_of(leases) == Some(*folder));
        Self { audience, watch, folder, is_off }
    }

    /// Whether it hears of a folder as that is now.
    fn hears(&self, leases: &Leases) -> bool {
        let is_there = self.folder.is_some() && self.folder == number_of(leases);
        self.watch.is_some() && is_there && !self.is_off.load(Ordering::Acquire)
    }
}

/// Who is told of news; who has gone is left out.
#[derive(Default)]
struct Audience(Mutex<Vec<Weak<Rumours>>>);

impl Audience {
    fn add(&self, rumours: &Arc<Rumours>) {
        let mut all = self.lock();
        all.retain(|one| one.strong_count() > 0);
        all.push(Arc::downgrade(rumours));
    }

    fn tell(&self, news: &News) {
        if *news != News::None {
            self.lock().iter().filter_map(Weak::upgrade).for_each(|one| one.hear(news));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Weak<Rumours>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What a claim that waits hears of the lease folder.
pub(super) struct Ear {
    rumours: Arc<Rumours>,
    listener: Arc<Listener>,
    /// When what was closed is looked at.
    echo: Interval,
    /// Whether it is only beginning to listen, or may have missed something.
    is_new: bool,
}

/// What the watch has heard since it was asked last.
#[derive(Default)]
struct Rumours {
    wake: Notify,
    has_release: AtomicBool,
    is_lost: AtomicBool,
    /// Files that were closed, and how often each is still looked at: its holder has died, or goes on under another file of that name.
    closed: Mutex<BTreeMap<PathBuf, u32>>,
}

impl Rumours {
    fn hear(&self, news: &News) {
        match news {
            News::None => return,
            News::Release => self.has_release.store(true, Ordering::Release),
            News::Lost => self.is_lost.store(true, Ordering::Release),
            News::Closed(path) => drop(self.closed().insert(path.clone(), ECHOES)),
        }
        self.wake.notify_one();
    }

    fn closed(&self) -> MutexGuard<'_, BTreeMap<PathBuf, u32>> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes these for closed.
    fn doubt<'a>(&self, paths: impl Iterator<Item = &'a Path>) {
        self.closed().extend(paths.map(|path| (path.to_owned(), ECHOES)));
    }

    /// Whether what was heard may let a claim go.
    fn may_matter(&self, nogo: &NoGo) -> bool {
        self.has_release.swap(false, Ordering::AcqRel) && nogo.may_have_changed()
    }

    /// Looks at what was closed; whether a holder has died.
    fn has_death(&self) -> bool {
        let mut has_death = false;
        self.closed().retain(|path, looks| {
            let is_free = Leases::is_free(path);
            has_death |= is_free;
            *looks = looks.saturating_sub(1);
            !is_free && *looks > 0
        });
        has_death
    }
}

impl Ear {
    /// Listens from now on, to what the others of this worker listen to.
    pub(super) fn open(listening: &Listening, leases: &Leases) -> Self {
        let rumours = Arc::<Rumours>::default();
        let listener = listening.join(leases, &rumours);
        Self::at(listener, rumours)
    }

    fn at(listener: Arc<Listener>, rumours: Arc<Rumours>) -> Self {
        let mut echo = tokio::time::interval(ECHO);
        echo.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { rumours, listener, echo, is_new: true }
    }

    /// Waits until the claim may be judged otherwise.
    pub(super) async fn wait(&mut self, nogo: &NoGo, stop: &mut Stop) -> Outcome<()> {
        if std::mem::take(&mut self.is_new) {
            // A holder may have died unheard, and its lock comes free only now.
            self.rumours.doubt(nogo.doubtful());
        }
        // However much is heard meanwhile.
        let again = tokio::time::sleep(self.rescan(nogo));
        tokio::pin!(again);
        loop {
            let is_in_doubt = !self.rumours.closed().is_empty();
            tokio::select! {
                () = self.rumours.wake.notified() => {
                    self.is_new = self.rumours.is_lost.swap(false, Ordering::AcqRel);
                    if self.is_new || self.rumours.may_matter(nogo) {
                        return Ok(());
                    }
                }
                _ = self.echo.tick(), if is_in_doubt => {
                    if self.rumours.has_death() {
                        return Ok(());
                    }
                }
                () = &mut again => return Ok(()),
                failure = told_to_stop(stop) => return Err(failure),
            }
        }
    }

    /// When it is judged again although nothing was heard: soon where a dead holder could not be buried yet, of which nothing tells.
    fn rescan(&self, nogo: &NoGo) -> Duration {
        let hears = self.listener.watch.is_some() && nogo.dead.is_empty();
        if hears { RESCAN } else { WITHOUT_WATCH }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::leases::{Judgement, Pending};
    use crate::logic::arbiter;
    use crate::model::claim::{Claim, ClaimPath, Holder};
    use crate::model::id::{JobId, TaskId};
    use crate::os::fsx;

    fn ask(leases: &Leases, task: &str, path: &str) -> Pending {
        let job = JobId::parse("a-abc234").expect("id");
        let holder = Holder { job, task: TaskId::parse(task).expect("id") };
        let claim = Claim { reads: Vec::new(), writes: vec![ClaimPath::file(path)] };
        leases.request(holder, 1, claim, "/root").expect("a place")
    }

    fn no_go(pending: &mut Pending) -> NoGo {
        match pending.judge(&arbiter::judge).expect("judged") {
            Judgement::Go(lease) => panic!("{lease:?}"),
            Judgement::NoGo(nogo) => nogo,
        }
    }

    /// Whether the claim is to be judged at once.
    async fn is_woken(ear: &mut Ear, nogo: &NoGo) -> bool {
        let (_told, mut stop) = tokio::sync::watch::channel(None);
        tokio::select! {
            biased;
            woken = ear.wait(nogo, &mut stop) => woken.is_ok(),
            () = std::future::ready(()) => false,
        }
    }

    #[tokio::test]
    async fn a_claim_wakes_for_one_that_was_in_its_way_and_for_what_may_have_been_missed_alone() {
        let dir = tempfile::tempdir().expect("scratch");
        let leases = Leases::open(&dir.path().join("leases")).expect("leases");
        let (first, beside) = (ask(&leases, "t1", "a"), ask(&leases, "t2", "b"));
        let mut waiting = ask(&leases, "t3", "a");
        let nogo = no_go(&mut waiting);
        // Hints are given by hand: that the kernel gives them is the other test's.
        let audience = Arc::default();
        let listener =
            Arc::new(Listener { audience, watch: None, folder: None, is_off: Arc::default() });
        let mut ear = Ear::at(listener, Arc::default());
        drop(beside);
        ear.rumours.hear(&News::Release);
        assert!(!is_woken(&mut ear, &nogo).await, "that one was in nobody's way");
        ear.rumours.hear(&News::Lost);
        assert!(is_woken(&mut ear, &nogo).await, "anything may have happened");
        assert!(ear.is_new, "a death, too, whose lock is not free yet");
        assert!(!is_woken(&mut ear, &nogo).await, "once");
        drop(first);
        ear.rumours.hear(&News::Release);
        assert!(is_woken(&mut ear, &nogo).await);
    }

    #[tokio::test]
    async fn a_watch_on_a_folder_that_was_replaced_is_not_listened_to() {
        let dir = tempfile::tempdir().expect("scratch");
        let path = dir.path().join("leases");
        let leases = Leases::open(&path).expect("leases");
        let listening = Listening::default();
        let before = Ear::open(&listening, &leases);
        fsx::move_to(&path, &dir.path().join("old")).expect("moved");
        let leases = Leases::open(&path).expect("made anew");
        let after = Ear::open(&listening, &leases);
        assert!(!Arc::ptr_eq(&before.listener, &after.listener));
        assert!(Arc::ptr_eq(&after.listener, &Ear::open(&listening, &leases).listener));
        // A folder that is removed leaves its number to the next one, often to one of its own name.
        fsx::remove_tree(&path).expect("removed");
        let gone = tokio::time::timeout(Duration::from_secs(20), after.rumours.wake.notified());
        gone.await.expect("a hint");
        let leases = Leases::open(&path).expect("made anew");
        assert!(!Arc::ptr_eq(&after.listener, &Ear::open(&listening, &leases).listener));
    }

    async fn hears_of_a_release(ear: &Ear) {
        let heard = tokio::time::timeout(Duration::from_secs(20), ear.rumours.wake.notified());
        heard.await.expect("a hint");
        assert!(ear.rumours.has_release.swap(false, Ordering::AcqRel));
    }

    #[tokio::test]
    async fn all_claims_of_a_worker_that_wait_hear_by_one_watch_which_ends_with_the_last() {
        let dir = tempfile::tempdir().expect("scratch");
        let leases = Leases::open(&dir.path().join("leases")).expect("leases");
        let listening = Listening::default();
        let known = || listening.0.lock().expect("nobody panicked").upgrade();
        let first = Ear::open(&listening, &leases);
        let second = Ear::open(&listening, &leases);
        assert!(Arc::ptr_eq(&first.listener, &second.listener));
        let lease = leases.dir().join("a-abc234.t1.1.json");
        fsx::put(&lease, b"{}").expect("made");
        fsx::remove(&lease).expect("removed");
        hears_of_a_release(&first).await;
        hears_of_a_release(&second).await;
        drop(first);
        fsx::put(&lease, b"{}").expect("made");
        fsx::remove(&lease).expect("removed");
        hears_of_a_release(&second).await;
        drop(second);
        assert!(known().is_none(), "nobody waits any more");
        let third = Ear::open(&listening, &leases);
        assert_eq!(third.listener.audience.lock().len(), 1);
    }
}
