//! How long a plan takes, in sessions of one unit each: never more than any list scheduling may take (Graham's bound), and
//! as long as its longest chain when there are lanes enough.

use proptest::prelude::*;

use super::stories::{Story, task};
use super::*;
use crate::model::event::Fact;
use crate::model::job::Options;
use crate::model::outcome::{Failure, FailureKind};
use crate::model::plan::{Role, Task};

/// One task of a graph: what it depends on, by place, and how its attempts go.
#[derive(Debug, Clone)]
struct Node {
    after: Vec<usize>,
    /// An executor claims and executes; who only reads has one session.
    writes: bool,
    /// Attempts, of which all but the last fail.
    attempts: u32,
}

impl Node {
    fn sessions(&self) -> u32 {
        if self.writes { 2 } else { 1 }
    }

    fn units(&self) -> u32 {
        self.sessions() * self.attempts
    }
}

fn name(place: usize) -> String {
    format!("t{place}")
}

fn planned(place: usize, node: &Node) -> Task {
    let on: Vec<String> = node.after.iter().map(|on| name(*on)).collect();
    let on: Vec<&str> = on.iter().map(String::as_str).collect();
    let role = if node.writes { Role::Executor } else { Role::Planner };
    Task { role, ..task(&name(place), &on) }
}

/// A job whose sessions take one unit of time each.
struct Clockwork {
    story: Story,
    lanes: usize,
    /// Tasks under way, with the units that their attempt still takes.
    busy: Vec<(usize, u32)>,
    /// Attempts begun, by place.
    begun: Vec<u32>,
    most_busy: usize,
}

impl Clockwork {
    fn planned(graph: &[Node], lanes: usize) -> Self {
        let tasks: Vec<Task> = graph.iter().enumerate().map(|(n, node)| planned(n, node)).collect();
        let (story, begun) = (Story::planned(&tasks), vec![0; graph.len()]);
        Self { story, lanes, busy: Vec::new(), begun, most_busy: 0 }
    }

    /// Starts what may start; `false` when nothing is left.
    fn start(&mut self, graph: &[Node]) -> bool {
        loop {
            let busy: Vec<String> = self.busy.iter().map(|(place, _)| name(*place)).collect();
            let busy: Vec<&str> = busy.iter().map(String::as_str).collect();
            let options = Options { max_parallel: self.lanes, ..Options::default() };
            let step = self.story.next(options, &busy);
            let Step::Tasks { start, skip } = step else { return matches!(step, Step::Wait(_)) };
            assert!(skip.is_empty(), "nothing fails for good: {skip:?}");
            let place =
                |t: &TaskId| (0..graph.len()).find(|n| name(*n) == t.as_str()).expect("known");
            for place in start.iter().map(place) {
                self.begun[place] += 1;
                self.busy.push((place, graph[place].sessions()));
            }
            self.most_busy = self.most_busy.max(self.busy.len());
        }
    }

    /// One unit of time.
    fn tick(&mut self, graph: &[Node]) {
        for (_, left) in &mut self.busy {
            *left -= 1;
        }
        let ended: Vec<usize> =
            self.busy.iter().filter(|(_, left)| *left == 0).map(|b| b.0).collect();
        self.busy.retain(|(_, left)| *left > 0);
        for place in ended {
            let attempt = self.begun[place];
            let fact = if attempt == graph[place].attempts {
                Fact::TaskCompleted { attempt, commit: None, summary: String::new() }
            } else {
                let failure = Failure::new(FailureKind::Task, "no");
                Fact::TaskRetried { attempt, failure, due: Timestamp::UNIX_EPOCH }
            };
            self.story.tell(Some(&name(place)), fact);
        }
    }
}

/// The units that a graph takes on so many lanes, and the most lanes that it used at a time.
fn makespan(graph: &[Node], lanes: usize) -> (u32, usize) {
    let mut clockwork = Clockwork::planned(graph, lanes);
    let all: u32 = graph.iter().map(Node::units).sum();
    let mut time = 0;
    while clockwork.start(graph) {
        assert!(!clockwork.busy.is_empty() && time <= all, "it stands still at {time}");
        clockwork.tick(graph);
        time += 1;
    }
    assert_eq!(clockwork.story.state.done().len(), graph.len(), "every task is done");
    (time, clockwork.most_busy)
}

/// The units of the longest chain.
fn critical_path(graph: &[Node]) -> u32 {
    let mut ends: Vec<u32> = Vec::new();
    for node in graph {
        let start = node.after.iter().map(|on| ends[*on]).max().unwrap_or(0);
        ends.push(start + node.units());
    }
    ends.into_iter().max().unwrap_or(0)
}

fn graphs() -> impl Strategy<Value = Vec<Node>> {
    let node = (any::<u64>(), 1..8u32, any::<bool>(), prop_oneof![3 => Just(1u32), 1 => Just(2)]);
    prop::collection::vec(node, 1..24).prop_map(|nodes| {
        let make = |(place, (bits, sparse, writes, attempts)): (usize, (u64, u32, bool, u32))| {
            // The more bits are shifted together, the fewer dependencies.
            let on = |n: &usize| (0..sparse).all(|k| bits.rotate_right(7 * k) >> n & 1 == 1);
            Node { after: (0..place).filter(on).collect(), writes, attempts }
        };
        nodes.into_iter().enumerate().map(make).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_plan_takes_longer_than_list_scheduling_may(graph in graphs(), lanes in 1..=8usize) {
        let (time, used) = makespan(&graph, lanes);
        let (work, path) = (graph.iter().map(Node::units).sum::<u32>(), critical_path(&graph));
        let m = u32::try_from(lanes).expect("few");
        prop_assert!(used <= lanes);
        prop_assert!(m * time <= work + (m - 1) * path, "{} on {} lanes: work {}, path {}", time, m, work, path);
        prop_assert!(time >= path && m * time >= work, "the bounds are those of this graph");
    }

    #[test]
    fn with_lanes_enough_a_plan_takes_as_long_as_its_longest_chain(graph in graphs()) {
        let path = critical_path(&graph);
        let (time, used) = makespan(&graph, 64);
        prop_assert_eq!(time, path);
        prop_assert_eq!(makespan(&graph, used).0, path, "{} lanes are enough", used);
    }
}

#[test]
fn retries_and_roles_count_in_units() {
    let node = |after: &[usize], writes, attempts| Node { after: after.to_vec(), writes, attempts };
    let graph = [node(&[], true, 2), node(&[], false, 1), node(&[0, 1], true, 1)];
    assert_eq!((critical_path(&graph), makespan(&graph, 2)), (6, (6, 2)));
    assert_eq!(makespan(&graph, 1), (7, 1));
}
