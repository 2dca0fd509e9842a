//! Floor 2b: in-process fan-out of events. The journal is the truth; the bus only tells who listens right now.
//!
//! Promises: handlers run in the publisher's thread, in the order they subscribed, one event after the other for one
//! publisher; no lock is held while they run, so a handler may publish, subscribe and unsubscribe; nobody listening costs
//! next to nothing. A slow reader of a channel loses events and is told how many: it re-reads the journal from its `seq`.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::mpsc;

use crate::model::event::Event;

type Handler = dyn Fn(&Event) + Send + Sync;

struct Subscriber {
    pattern: String,
    handler: Box<Handler>,
    is_open: AtomicBool,
}

/// The present subscribers; replaced as a whole, so that a publisher goes through the list it found.
type Subscribers = Mutex<Arc<Vec<Arc<Subscriber>>>>;

/// A bus; clones are the same bus.
#[derive(Clone, Default)]
pub struct Bus {
    subscribers: Arc<Subscribers>,
}

/// Listens until it is dropped.
#[must_use = "dropping it unsubscribes"]
pub struct Subscription {
    bus: Weak<Subscribers>,
    subscriber: Weak<Subscriber>,
}

/// The reading end of [`Bus::channel`].
#[derive(Debug)]
pub struct EventStream {
    events: mpsc::Receiver<Event>,
    lost: Arc<AtomicU64>,
    _subscription: Subscription,
}

/// Whether an event's name fits a pattern: the name itself, `*`, or a beginning and `*` as in `job.*`.
pub fn pattern_matches(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => pattern == name,
    }
}

impl Bus {
    /// A bus without subscribers.
    pub fn new() -> Self {
        Self::default()
    }

    /// Tells every subscriber whose pattern fits.
    pub fn publish(&self, event: &Event) {
        let subscribers = Arc::clone(&lock(&self.subscribers));
        if subscribers.is_empty() {
            return;
        }
        let name = event.fact.name();
        for subscriber in subscribers.iter() {
            let is_open = subscriber.is_open.load(Ordering::Acquire);
            if is_open && pattern_matches(&subscriber.pattern, &name) {
                (subscriber.handler)(event);
            }
        }
    }

    /// Calls `handler` with every event that fits the pattern (see [`pattern_matches`]), in the publisher's thread; it
    /// must be quick.
    pub fn subscribe(
        &self,
        pattern: &str,
        handler: impl Fn(&Event) + Send + Sync + 'static,
    ) -> Subscription {
        let subscriber = Arc::new(Subscriber {
            pattern: pattern.to_owned(),
            handler: Box::new(handler),
            is_open: AtomicBool::new(true),
        });
        let mut list = lock(&self.subscribers);
        *list = Arc::new(list.iter().chain([&subscriber]).cloned().collect());
        Subscription {
            bus: Arc::downgrade(&self.subscribers),
            subscriber: Arc::downgrade(&subscriber),
        }
    }

    /// The events that fit the pattern, as a stream that keeps up to `capacity` (at least 1) unread ones.
    pub fn channel(&self, pattern: &str, capacity: usize) -> EventStream {
        let (sender, events) = mpsc::channel(capacity.max(1));
        let lost = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&lost);
        let subscription = self.subscribe(pattern, move |event| {
            if sender.try_send(event.clone()).is_err() {
                counter.fetch_add(1, Ordering::AcqRel);
            }
        });
        EventStream { events, lost, _subscription: subscription }
    }
}

impl EventStream {
    /// The next event; `None` when the bus is gone.
    pub async fn next(&mut self) -> Option<Event> {
        self.events.recv().await
    }

    /// The next event if there is one already.
    pub fn try_next(&mut self) -> Option<Event> {
        self.events.try_recv().ok()
    }

    /// How many events were lost since this was last asked.
    pub fn take_lost(&self) -> u64 {
        self.lost.swap(0, Ordering::AcqRel)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let (Some(bus), Some(own)) = (self.bus.upgrade(), self.subscriber.upgrade()) else {
            return;
        };
        own.is_open.store(false, Ordering::Release);
        let mut list = lock(&bus);
        *list = Arc::new(list.iter().filter(|s| !Arc::ptr_eq(s, &own)).cloned().collect());
    }
}

/// Nothing that runs under the lock can panic half way, so a poisoned one is as good as new.
fn lock(subscribers: &Subscribers) -> MutexGuard<'_, Arc<Vec<Arc<Subscriber>>>> {
    subscribers.lock().unwrap_or_else(PoisonError::into_inner)
}

impl std::fmt::Debug for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Bus").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for Subscription {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Subscription").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::model::event::Fact;
    use crate::model::id::JobId;

    fn event(seq: u64, fact: Fact) -> Event {
        let job_id = JobId::parse("a-abc234").expect("id");
        Event { seq, ts: Timestamp::UNIX_EPOCH, fact, job_id, task_id: None }
    }

    fn heard(bus: &Bus, pattern: &str) -> (Subscription, Arc<Mutex<Vec<u64>>>) {
        let list = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&list);
        let subscription = bus.subscribe(pattern, move |e| into.lock().expect("list").push(e.seq));
        (subscription, list)
    }

    #[test]
    fn a_pattern_is_a_name_or_a_beginning() {
        for (pattern, name, expected) in [
            ("job.resumed", "job.resumed", true),
            ("job.resumed", "job.resumed2", false),
            ("job.*", "job.resumed", true),
            ("job.task_*", "job.task_failed", true),
            ("job.*", "jobs.resumed", false),
            ("job.*", "terminal.exit", false),
            ("*", "terminal.exit", true),
            ("", "job.resumed", false),
            ("job", "job.resumed", false),
        ] {
            assert_eq!(pattern_matches(pattern, name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn each_subscriber_hears_what_it_asked_for_until_it_is_dropped() {
        let bus = Bus::new();
        let (all, all_heard) = heard(&bus, "*");
        let (_jobs, jobs_heard) = heard(&bus, "job.*");
        let (_one, one_heard) = heard(&bus, "memory.bank_created");
        bus.publish(&event(1, Fact::Resumed {}));
        bus.publish(&event(2, Fact::BankCreated { bank: "b".into() }));
        drop(all);
        bus.clone().publish(&event(3, Fact::PlanApproved {}));
        for (list, expected) in
            [(all_heard, vec![1, 2]), (jobs_heard, vec![1, 3]), (one_heard, vec![2])]
        {
            assert_eq!(*list.lock().expect("list"), expected);
        }
    }

    #[test]
    fn a_handler_may_use_the_bus_itself() {
        let bus = Bus::new();
        let (inner, kept) = (bus.clone(), Mutex::new(Vec::new()));
        let (_all, all_heard) = heard(&bus, "*");
        let _outer = bus.subscribe("job.resumed", move |_| {
            kept.lock().expect("list").push(inner.subscribe("*", |_| {}));
            inner.publish(&event(2, Fact::PlanApproved {}));
        });
        bus.publish(&event(1, Fact::Resumed {}));
        assert_eq!(*all_heard.lock().expect("list"), [1, 2]);
    }

    #[test]
    fn a_full_channel_loses_the_newest_and_counts_them() {
        let bus = Bus::new();
        let mut stream = bus.channel("job.*", 2);
        for seq in 1..=5 {
            bus.publish(&event(seq, Fact::Resumed {}));
        }
        assert_eq!(stream.try_next().map(|e| e.seq), Some(1));
        assert_eq!((stream.take_lost(), stream.take_lost()), (3, 0));
        bus.publish(&event(6, Fact::Resumed {}));
        assert_eq!(stream.try_next().map(|e| e.seq), Some(2));
        assert_eq!(stream.try_next().map(|e| e.seq), Some(6));
        assert_eq!(stream.try_next(), None);
    }

    #[tokio::test]
    async fn a_stream_ends_with_its_bus() {
        let bus = Bus::new();
        let mut stream = bus.channel("*", 2);
        bus.publish(&event(1, Fact::Resumed {}));
        drop(bus);
        assert_eq!(stream.next().await.map(|e| e.seq), Some(1));
        assert_eq!(stream.next().await, None);
    }
}
