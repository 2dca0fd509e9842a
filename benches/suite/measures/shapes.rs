//! A whole job against its floor: the same sessions in the same order, with the same calls of git, run by nothing but a few threads.
//! Beside it stands the critical path of the job's sessions: plan, roles, and the longest chain of tasks by what their sessions took.
//! Sessions think for a second; lanes are enough. What goes on side by side is run several times, job and floor by turns, and the run in
//! the middle counts. Before anything is measured, git tells whether a job and its floor make the same calls.

use std::collections::BTreeMap;
use std::io::{self, Error};

use super::Size;
use crate::bare::Bare;
use crate::figures::{Row, millis};
use crate::gitcalls::Repository;
use crate::heard::Heard;
use crate::marks::{Kind, Mark, now};
use crate::ours::{Node, Ours, PATIENCE, script};

/// Where a job works.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    /// In a directory without a repository.
    Plain,
    /// In a repository of its own.
    Repository,
}

/// Calls of git, and how often each is made.
type Calls = BTreeMap<String, usize>;

/// The column that counts.
const RATIO: &str = "wall ÷ floor";
/// Sessions before any task.
const BEFORE_TASKS: [&str; 2] = ["plan", "roles"];

pub(super) fn run(size: Size) -> io::Result<Vec<Row>> {
    in_step()?;
    let think = u64::try_from(size.of(50, 1000)).unwrap_or_default();
    let shapes = [
        ("1 task", chain(1)),
        ("chain of 4", chain(4)),
        ("6 side by side", fan(6)),
        ("32 side by side", fan(32)),
        ("diamond of 6", diamond(4)),
        ("a graph of 12", graph(12)),
    ];
    // In a plain directory agents write one at a time: what has branches has no side by side there.
    let chains = shapes.iter().filter(|(_, nodes)| is_chain(nodes));
    let in_plain = chains.map(|(name, nodes)| shape(name, nodes, think, Place::Plain));
    let in_git = shapes.iter().map(|(name, nodes)| {
        let rounds = if is_chain(nodes) { 1 } else { size.of(1, 3) };
        let runs = (0..rounds).map(|_| shape(name, nodes, think, Place::Repository));
        let runs = runs.collect::<io::Result<_>>()?;
        Row::middle(runs, RATIO).ok_or_else(|| Error::other("nothing was run"))
    });
    in_plain.chain(in_git).collect()
}

fn name(at: usize) -> String {
    format!("t{at}")
}

fn chain(tasks: usize) -> Vec<Node> {
    (0..tasks).map(|at| (name(at), (at > 0).then(|| name(at - 1)).into_iter().collect())).collect()
}

/// Whether each task waits for the one before.
fn is_chain(nodes: &[Node]) -> bool {
    let follows = |(one, next): (&Node, &Node)| next.1 == [one.0.clone()];
    nodes.iter().zip(nodes.iter().skip(1)).all(follows)
}

fn fan(tasks: usize) -> Vec<Node> {
    (0..tasks).map(|at| (name(at), Vec::new())).collect()
}

/// One, then so many side by side, then one.
fn diamond(middle: usize) -> Vec<Node> {
    let mut nodes = vec![(name(0), Vec::new())];
    nodes.extend((1..=middle).map(|at| (name(at), vec![name(0)])));
    nodes.push((name(middle + 1), (1..=middle).map(name).collect()));
    nodes
}

/// Each task comes after two of those before it, chosen by a fixed rule that leaves chains of several lengths.
fn graph(tasks: usize) -> Vec<Node> {
    let after = |at: usize| {
        let mut all: Vec<usize> =
            [at / 2, at / 3].into_iter().filter(|&of| of < at && at > 2).collect();
        all.dedup();
        all.into_iter().map(name).collect()
    };
    (0..tasks).map(|at| (name(at), after(at))).collect()
}

/// One job, and its floor.
fn shape(title: &str, nodes: &[Node], think: u64, place: Place) -> io::Result<Row> {
    // Below the project it would be a part of its repository.
    let plain = tempfile::tempdir()?;
    let lanes = "max_parallel: 64";
    let (front, name) = match place {
        Place::Plain => {
            (format!("{lanes}\nworkspace: {}", plain.path().display()), "plain directory")
        }
        Place::Repository => (lanes.to_owned(), "git"),
    };
    let mut ours = Ours::new(&script(nodes, think), "")?;
    ours.start(1)?;
    let before = ours.drop_job("job", &front)?;
    ours.wait_done(1, PATIENCE * 2)?;
    let wall = millis(before, now());
    let spent = spent(&ours.scratch.marks.drain());
    ours.stop();
    let floor = floor(nodes, think, place)?;
    let figures = [
        (RATIO, wall / floor),
        ("wall s", wall / 1e3),
        ("floor s", floor / 1e3),
        ("sessions s", critical_path(nodes, &spent) / 1e3),
    ];
    Ok(Row::new(&format!("Numerus, {name}, {title}"), &figures))
}

/// Whether a job makes the calls of git that its floor makes: in tasks one after the other, and side by side. There one that is slow
/// may see what the other has landed before it begins, and then asks for other things: a few tries are had.
fn in_step() -> io::Result<()> {
    for nodes in [chain(2), fan(2)] {
        let mut lists = both_lists(&nodes)?;
        for _again in 0..2 {
            if lists.0 != lists.1 {
                lists = both_lists(&nodes)?;
            }
        }
        let (job, floor) = lists;
        if job != floor {
            let why = "a job and its floor make other calls of git: see gitcalls.rs";
            return Err(Error::other(format!("{why}\njob: {job:#?}\nfloor: {floor:#?}")));
        }
    }
    Ok(())
}

/// How often each call of git is made by a job, and by its floor.
fn both_lists(nodes: &[Node]) -> io::Result<(Calls, Calls)> {
    let think = 200;
    let mut ours = Ours::new(&script(nodes, think), "")?;
    let heard = Heard::below(&ours.scratch.path(""))?;
    ours.start(1)?;
    ours.drop_job("job", "max_parallel: 64")?;
    ours.wait_done(1, PATIENCE)?;
    ours.stop();
    let repository = Repository::new()?;
    let floor = repository.heard()?;
    Bare::new(think)?.job(nodes, Some(&repository))?;
    Ok((heard.calls()?, floor.calls()?))
}

/// How long the same takes without Numerus, in milliseconds.
fn floor(nodes: &[Node], think: u64, place: Place) -> io::Result<f64> {
    let bare = Bare::new(think)?;
    if place == Place::Plain {
        return bare.job(nodes, None);
    }
    let repository = Repository::new()?;
    let took = bare.job(nodes, Some(&repository))?;
    match repository.landed()? {
        all if all == nodes.len() => Ok(took),
        some => Err(Error::other(format!("only {some} of the floor's files have landed"))),
    }
}

/// How long the sessions of each place took, in milliseconds.
fn spent(marks: &[Mark]) -> BTreeMap<String, f64> {
    let mut open: BTreeMap<&str, u64> = BTreeMap::new();
    let mut spent = BTreeMap::new();
    for mark in marks {
        let place = mark.name.split('/').nth(1).unwrap_or_default();
        match mark.kind {
            Kind::Start => drop(open.insert(place, mark.at)),
            Kind::End => {
                let took = open.remove(place).map_or(0.0, |start| millis(start, mark.at));
                *spent.entry(place.to_owned()).or_insert(0.0) += took;
            }
            Kind::Said => {}
        }
    }
    spent
}

fn critical_path(nodes: &[Node], spent: &BTreeMap<String, f64>) -> f64 {
    let of = |place: &str| spent.get(place).copied().unwrap_or_default();
    let mut ends: BTreeMap<&str, f64> = BTreeMap::new();
    // Nodes stand after those that they wait for.
    for (task, after) in nodes {
        let begins = after.iter().filter_map(|t| ends.get(t.as_str())).copied().fold(0.0, f64::max);
        ends.insert(task, begins + of(task));
    }
    BEFORE_TASKS.iter().map(|place| of(place)).sum::<f64>() + ends.into_values().fold(0.0, f64::max)
}
