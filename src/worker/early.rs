//! The trees of the tasks that begin first, made while the agent that gives out the roles is at work: nobody waits for git then.
//!
//! Promises: each is made for one place and its first attempt, once; one that nobody came for is removed when the worker rests or ends
//! the job. What a dead worker left of them is removed by the next one, or by whoever ends the job without one
//! ([`crate::trees::clear_unused`]).
//!
//! Diagnostics: one that cannot be made is made by whoever needs it, who says what is wrong.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::oneshot::{Receiver, Sender, channel};
use tokio::task::JoinHandle;

use super::desk::{Desk, Outcome, with_trees};
use crate::bus::EventStream;
use crate::logic::lifecycle;
use crate::model::id::TaskId;
use crate::os::clock;
use crate::trees::Tree;

/// The attempt that they are made for; the number of the tree of whoever only looks, too.
pub(super) const FIRST: u32 = 1;

/// What is made or will be, by place.
pub(super) struct Early {
    trees: BTreeMap<String, Receiver<Tree>>,
    making: JoinHandle<()>,
}

/// Held while an agent is asked: when it is let go, its first word is waited for no longer.
pub(super) struct Asking {
    _held: Sender<()>,
}

/// The place of a tree, and the one who may come for it.
type Order = (String, Sender<Tree>);

/// Makes them once a session has said its first word: its start is not to wait for them.
pub(super) async fn begin(desk: &Arc<Desk>) -> Asking {
    end(desk).await;
    let first = |s: &_| lifecycle::first_tasks(s, &desk.job, clock::steady());
    let (orders, trees) = desk.book.state(first).iter().map(order).unzip();
    let (held, ended) = channel();
    let first_word = desk.book.hear("terminal.started");
    let making = tokio::spawn(make(desk.clone(), orders, first_word, ended));
    *desk.early() = Some(Early { trees, making });
    Asking { _held: held }
}

fn order(task: &TaskId) -> (Order, (String, Receiver<Tree>)) {
    let (tell, tree) = channel();
    let place = task.as_str().to_owned();
    ((place.clone(), tell), (place, tree))
}

async fn make(
    desk: Arc<Desk>,
    orders: Vec<Order>,
    mut first_word: EventStream,
    ended: Receiver<()>,
) {
    tokio::select! {
        biased;
        Some(_) = first_word.next() => {}
        _ = ended => return,
    }
    for (place, tell) in orders {
        if tell.is_closed() {
            continue;
        }
        let Ok(tree) = add(&desk, &place, FIRST).await else { return };
        if let Err(unwanted) = tell.send(tree) {
            remove(&desk, unwanted).await;
        }
    }
}

/// A tree of the job's tip for an attempt at a place: the one that was made for it, or a new one.
pub(super) async fn tree(desk: &Desk, place: &str, attempt: u32) -> Outcome<Tree> {
    let making = match attempt {
        FIRST => desk.early().as_mut().and_then(|early| early.trees.remove(place)),
        _ => None,
    };
    let made = match making {
        Some(making) => making.await.ok(),
        None => None,
    };
    match made.filter(|tree| tree.base() == desk.tip()) {
        Some(tree) => Ok(tree),
        None => add(desk, place, attempt).await,
    }
}

async fn add(desk: &Desk, place: &str, attempt: u32) -> Outcome<Tree> {
    let (place, tip) = (desk.folder.place(place), desk.tip());
    with_trees(desk, move |trees| trees.add(&place, attempt, &tip)).await
}

/// Removes those that nobody came for, and makes no further ones.
pub(super) async fn end(desk: &Desk) {
    let Some(mut early) = desk.early().take() else { return };
    early.trees.values_mut().for_each(Receiver::close);
    let _made_what_was_begun = early.making.await;
    for mut made in early.trees.into_values() {
        if let Ok(tree) = made.try_recv() {
            remove(desk, tree).await;
        }
    }
}

async fn remove(desk: &Desk, tree: Tree) {
    let _gives_way_to_the_next = with_trees(desk, move |trees| trees.remove(&tree)).await;
}
