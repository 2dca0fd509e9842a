//! What arbitration means, and the dice that make histories. Nothing of the code under test is used here.

use std::sync::OnceLock;

/// Tasks that may be about at a time.
pub(super) const TASKS: usize = 6;

/// A small tree: each node's parent, and spellings of its path that are the same place.
pub(super) const NODES: [(usize, [&str; 2]); 8] = [
    (0, ["", ""]),
    (0, ["a", "A"]),
    (1, ["a/b", "A/B"]),
    (2, ["a/b/k", "a/b/\u{212a}"]),
    (1, ["a/bc", "a/BC"]),
    (0, ["ab", "Ab"]),
    (5, ["ab/c", "AB/C"]),
    (0, ["b", "B"]),
];

/// Nodes read and nodes written, as sets of bits.
pub(super) type Wish = (u8, u8);

/// Numbers from one seed (splitmix64).
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % sides
    }

    pub(super) fn task(&mut self) -> usize {
        usize::try_from(self.roll(TASKS as u64)).expect("small")
    }

    /// One or two nodes, the whole tree seldom; sometimes none.
    pub(super) fn nodes(&mut self) -> u8 {
        let mut one = || match self.roll(8) {
            0 if self.roll(4) > 0 => 0,
            node => 1 << node,
        };
        one() | if self.roll(3) == 0 { self.nodes() } else { 0 }
    }

    pub(super) fn wish(&mut self) -> Wish {
        match self.roll(4) {
            0 => (self.nodes(), 0),
            1 => (self.nodes(), self.nodes()),
            _ => (0, self.nodes()),
        }
    }
}

/// A claim's place in the world, as the model sees it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) task: usize,
    pub(super) wish: Wish,
    pub(super) is_held: bool,
    pub(super) is_alive: bool,
}

/// What arbitration means, in terms of nodes: entries in the order of their arrival.
#[derive(Debug, Default)]
pub(super) struct Model(pub(super) Vec<Entry>);

impl Model {
    /// All nodes that lie in one of a set.
    fn below(set: u8) -> u8 {
        static BELOW: OnceLock<[u8; 256]> = OnceLock::new();
        let within = |set: usize, mut node: usize| loop {
            if set & (1 << node) != 0 {
                return true;
            }
            if node == 0 {
                return false;
            }
            node = NODES[node].0;
        };
        let all = |set| (0..NODES.len()).filter(|n| within(set, *n)).fold(0, |all, n| all | 1 << n);
        BELOW.get_or_init(|| std::array::from_fn(all))[usize::from(set)]
    }

    pub(super) fn clash(a: Wish, b: Wish) -> bool {
        let touch = |x: u8, y: u8| Self::below(x) & Self::below(y) != 0;
        touch(a.1, b.1) || touch(a.1, b.0) || touch(a.0, b.1)
    }

    pub(super) fn place(&self, task: usize) -> Option<usize> {
        self.0.iter().position(|e| e.task == task)
    }

    /// The tasks that stand in the way of a waiting one, as a set of bits.
    pub(super) fn in_way_of(&self, task: usize) -> u8 {
        let Some(place) = self.place(task) else { return 0 };
        let stands = |(n, e): &(usize, &Entry)| e.is_held || (*n < place && e.is_alive);
        let others = self.0.iter().enumerate().filter(|(n, _)| *n != place).filter(stands);
        let clashing = others.filter(|(_, e)| Self::clash(e.wish, self.0[place].wish));
        clashing.fold(0, |all, (_, e)| all | 1 << e.task)
    }

    pub(super) fn is_waiting(&self, task: usize) -> bool {
        self.place(task).is_some_and(|n| !self.0[n].is_held && self.0[n].is_alive)
    }

    pub(super) fn is_lease(&self, task: usize) -> bool {
        self.place(task).is_some_and(|n| self.0[n].is_held)
    }
}
