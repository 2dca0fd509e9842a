//! Tables, and random histories against a small model of what arbitration means.

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;
use crate::model::claim::Holder;
use crate::model::id::{JobId, TaskId};

fn paths(texts: &[&str]) -> Vec<ClaimPath> {
    texts.iter().map(|t| ClaimPath::file(*t)).collect()
}

fn lease(task: &str, ticket: u64, state: LeaseState, claim: Claim) -> LeaseFile {
    LeaseFile {
        version: 1,
        holder: Holder {
            job: JobId::parse("job-abc234").expect("id"),
            task: TaskId::parse(task).expect("id"),
        },
        attempt: 1,
        ticket,
        state,
        claim,
        root: String::new(),
    }
}

fn claim(reads: &[&str], writes: &[&str]) -> Claim {
    Claim { reads: paths(reads), writes: paths(writes) }
}

#[test]
fn a_write_excludes_and_reads_share() {
    for (mine, theirs, expected) in [
        (claim(&["a"], &[]), claim(&["a"], &[]), vec![]),
        (claim(&["a"], &[]), claim(&[], &["a"]), vec![("a", Mode::Read)]),
        (claim(&[], &["a"]), claim(&["a"], &[]), vec![("a", Mode::Write)]),
        (claim(&[], &["a"]), claim(&[], &["A/b"]), vec![("a", Mode::Write)]),
        (
            claim(&[], &["b", "a/x"]),
            claim(&[], &["", "a"]),
            vec![("a/x", Mode::Write), ("b", Mode::Write)],
        ),
        (claim(&["a"], &["b"]), claim(&["a"], &["c"]), vec![]),
        (claim(&[], &[]), claim(&[], &[""]), vec![]),
    ] {
        let other = lease("other", 9, LeaseState::Held, theirs);
        let found = judge(&lease("me", 1, LeaseState::Waiting, mine), &[other.clone(), other]);
        let found: Vec<_> = found.iter().map(|c| (c.path.as_str(), c.mode)).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn only_older_waiting_claims_stand_in_the_way_and_never_ones_own() {
    let mine = lease("me", 5, LeaseState::Waiting, claim(&[], &["a"]));
    for (task, ticket, state, blocks) in [
        ("other", 4, LeaseState::Waiting, true),
        ("other", 6, LeaseState::Waiting, false),
        ("other", 6, LeaseState::Held, true),
        ("me", 4, LeaseState::Waiting, false),
        ("me", 4, LeaseState::Held, false),
    ] {
        let other = lease(task, ticket, state, claim(&[], &["a"]));
        let conflicts = judge(&mine, &[other]);
        assert_eq!(conflicts.is_empty(), !blocks, "{task} {ticket} {state:?}");
        assert_eq!(verdict(&conflicts), if blocks { Verdict::NoGo } else { Verdict::Go });
    }
}

/// A small tree: each node's parent, and its path in two spellings that are the same place.
const NODES: [(usize, [&str; 2]); 8] = [
    (0, ["", ""]),
    (0, ["a", "A"]),
    (1, ["a/b", "A/B"]),
    (2, ["a/b/\u{e9}", "a/b/e\u{301}"]),
    (1, ["a/bc", "a/BC"]),
    (0, ["ab", "Ab"]),
    (5, ["ab/c", "AB/C"]),
    (0, ["b", "B"]),
];
const TASKS: usize = 6;

/// Nodes read and nodes written, as sets of bits.
type Wish = (u8, u8);

/// What arbitration means, in terms of nodes: nothing of the code under test is used here.
#[derive(Default)]
struct Model {
    held: Vec<(usize, Wish)>,
    queue: Vec<(usize, Wish)>,
}

impl Model {
    fn below(set: u8) -> u8 {
        let within = |mut node: usize| loop {
            if set & (1 << node) != 0 {
                return true;
            }
            if node == 0 {
                return false;
            }
            node = NODES[node].0;
        };
        (0..NODES.len()).filter(|n| within(*n)).fold(0, |all, n| all | 1 << n)
    }

    fn clash(a: Wish, b: Wish) -> bool {
        let touch = |x: u8, y: u8| Self::below(x) & Self::below(y) != 0;
        touch(a.1, b.1) || touch(a.1, b.0) || touch(a.0, b.1)
    }

    fn may_go(&self, task: usize) -> bool {
        let Some(place) = self.queue.iter().position(|q| q.0 == task) else { return false };
        let before = self.held.iter().chain(&self.queue[..place]);
        before.filter(|b| b.0 != task).all(|b| !Self::clash(b.1, self.queue[place].1))
    }

    fn grant(&mut self, task: usize) {
        if let Some(place) = self.queue.iter().position(|q| q.0 == task) {
            self.held.push(self.queue.remove(place));
        }
    }

    fn forget(&mut self, task: usize) {
        self.held.retain(|h| h.0 != task);
        self.queue.retain(|q| q.0 != task);
    }
}

/// The folder as it would lie on disk, judged by the code under test.
#[derive(Default)]
struct Folder {
    files: Vec<LeaseFile>,
}

impl Folder {
    fn request(&mut self, task: usize, wish: Wish, spelling: usize) {
        let named = |set: u8| {
            let nodes = (0..NODES.len()).filter(|n| set & (1 << n) != 0);
            paths(&nodes.map(|n| NODES[n].1[(n + spelling) % 2]).collect::<Vec<_>>())
        };
        let ticket = self.files.iter().map(|f| f.ticket).max().unwrap_or(0) + 1;
        let claim = Claim { reads: named(wish.0), writes: named(wish.1) };
        self.files.push(lease(&format!("t{task}"), ticket, LeaseState::Waiting, claim));
    }

    fn place(&self, task: usize) -> Option<usize> {
        self.files.iter().position(|f| f.holder.task.as_str() == format!("t{task}"))
    }

    fn try_grant(&mut self, task: usize) -> bool {
        let Some(place) = self.place(task) else { return false };
        let file = self.files[place].clone();
        let others: Vec<_> = self.files.iter().filter(|f| **f != file).cloned().collect();
        let goes = file.state == LeaseState::Waiting && judge(&file, &others).is_empty();
        if goes {
            self.files[place].state = LeaseState::Held;
        }
        goes
    }

    fn forget(&mut self, task: usize) {
        if let Some(place) = self.place(task) {
            self.files.remove(place);
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Request {
        task: Index,
        wish: Wish,
        spelling: usize,
    },
    Judge {
        task: Index,
    },
    /// A release, a withdrawal or the burial of a dead one: the file goes.
    End {
        task: Index,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let sparse = || {
        prop_oneof![Just(0u8), (0..8u8).prop_map(|n| 1 << n), any::<u8>().prop_map(|b| b & 0x54)]
    };
    let step = prop_oneof![
        3 => (any::<Index>(), sparse(), sparse(), 0..2usize)
            .prop_map(|(task, r, w, spelling)| Step::Request { task, wish: (r, w), spelling }),
        2 => any::<Index>().prop_map(|task| Step::Judge { task }),
        2 => any::<Index>().prop_map(|task| Step::End { task }),
    ];
    prop::collection::vec(step, 1..24)
}

/// Judges one task on both sides: same verdict, and no two leases that the model calls a clash.
fn judge_both(folder: &mut Folder, model: &mut Model, task: usize) -> Result<(), TestCaseError> {
    let expected = model.may_go(task);
    prop_assert_eq!(folder.try_grant(task), expected, "task {}", task);
    if expected {
        model.grant(task);
    }
    for (n, a) in model.held.iter().enumerate() {
        prop_assert!(model.held[..n].iter().all(|b| !Model::clash(a.1, b.1)), "{:?}", model.held);
    }
    Ok(())
}

fn play(history: &[Step]) -> Result<(), TestCaseError> {
    let (mut folder, mut model) = (Folder::default(), Model::default());
    for step in history {
        match step {
            Step::Request { task, wish, spelling } => {
                let task = task.index(TASKS);
                if folder.place(task).is_none() {
                    folder.request(task, *wish, *spelling);
                    model.queue.push((task, *wish));
                }
                judge_both(&mut folder, &mut model, task)?;
            }
            Step::Judge { task } => judge_both(&mut folder, &mut model, task.index(TASKS))?,
            Step::End { task } => {
                folder.forget(task.index(TASKS));
                model.forget(task.index(TASKS));
                for waiter in 0..TASKS {
                    judge_both(&mut folder, &mut model, waiter)?;
                }
            }
        }
    }
    drain(&mut folder, &mut model)
}

/// Whoever waits is served: each round of releases lets at least the oldest go, whoever else is about.
fn drain(folder: &mut Folder, model: &mut Model) -> Result<(), TestCaseError> {
    for _ in 0..=TASKS {
        let oldest = model.queue.first().map(|q| q.0);
        for (task, _) in model.held.clone() {
            folder.forget(task);
            model.forget(task);
        }
        for waiter in (0..TASKS).rev() {
            judge_both(folder, model, waiter)?;
        }
        prop_assert!(
            oldest.is_none_or(|o| model.held.iter().any(|h| h.0 == o)),
            "{:?} starves",
            oldest
        );
    }
    prop_assert!(model.queue.is_empty() && model.held.is_empty());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_history_grants_a_clash_or_starves_a_claim(history in steps()) {
        play(&history)?;
    }
}
