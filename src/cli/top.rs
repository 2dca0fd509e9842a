//! `numerus top`: the spool on a whole screen, as it changes. A reader of files like `status`; what a key does to a job is done
//! by the same functions as by the commands.

mod draw;
mod gather;
mod state;

use std::time::Duration;

use clap::Args;

use super::board::Board;
use super::follow::{Wake, Wakes};
use super::here::{Here, View};
use super::jobfile::Flags;
use super::{kill, open, pause, resume, retry, seams, start};
use crate::error::{Exit, Failure};
use crate::model::root::Root;
use crate::os::screen;
use crate::os::{clock, console, process};
use gather::Gatherer;
use state::{Act, Screen, Wish};

/// How often times that pass are drawn anew while something runs.
const TICK: Duration = Duration::from_secs(1);
/// Shortest time between two looks that nobody pressed a key for.
const LULL: Duration = Duration::from_millis(100);

/// The words of the command.
#[derive(Debug, Args)]
pub(super) struct Top {}

/// Shows the spool until the person has seen enough.
pub(super) fn run(here: &mut Here, _asked: &Top) -> Result<Exit, Failure> {
    let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
    if !console::is_terminal(&stdin) || !console::is_terminal(&stdout) || console::is_dumb() {
        return Err(Failure::usage("top needs a terminal on which a cursor can be moved")
            .hint("numerus status prints the same once"));
    }
    let cannot = |e: std::io::Error| Failure::system("use the terminal", &e);
    let mut wakes = Wakes::new();
    wakes.catch_signals()?;
    let mut screen = screen::Screen::take().map_err(cannot)?;
    wakes.catch_keys()?;
    let mut top = Loop {
        gatherer: Gatherer::new(&here.root, here.view.clone()),
        root: here.root.clone(),
        view: here.view.clone(),
        state: Screen::default(),
        is_stopped: false,
    };
    top.run(&mut wakes, &mut screen)
}

struct Loop {
    gatherer: Gatherer,
    root: Root,
    view: View,
    state: Screen,
    is_stopped: bool,
}

impl Loop {
    fn run(&mut self, wakes: &mut Wakes, screen: &mut screen::Screen) -> Result<Exit, Failure> {
        let cannot = |e: std::io::Error| Failure::system("use the terminal", &e);
        let (mut is_due, mut is_late, mut looked) = (true, false, clock::since_boot());
        loop {
            if is_due {
                self.look(wakes)?;
                looked = clock::since_boot();
            }
            self.view.now = clock::now();
            screen.draw(|buffer| draw::draw(buffer, &self.state, &self.view)).map_err(cannot)?;
            let wake = wakes.next_within(if is_late { LULL } else { self.patience() });
            (is_due, is_late) = (true, false);
            match wake {
                Wake::Key(None) => return Ok(Exit::Done),
                Wake::Signal(number) => return Ok(Exit::Signal(number)),
                Wake::Key(Some(key)) => match self.state.press(key) {
                    Wish::Quit => return Ok(Exit::Done),
                    wish => is_due = self.grant(wish, wakes, screen),
                },
                Wake::Said(text) => self.state.said = text,
                Wake::Continued => screen.retake().map_err(cannot)?,
                Wake::Look | Wake::Child | Wake::Answer(_) => {
                    if std::mem::take(&mut self.is_stopped) {
                        screen.retake().map_err(cannot)?;
                    }
                    is_due = looked + LULL <= clock::since_boot();
                    is_late = !is_due;
                }
            }
        }
    }

    /// Reads what has changed, and once more if something else is selected by that.
    fn look(&mut self, wakes: &mut Wakes) -> Result<(), Failure> {
        for _ in 0..2 {
            self.gatherer.set_now(clock::now());
            let before = (self.state.job.clone(), self.state.task.clone());
            self.state.read(self.gatherer.look(wakes, &self.state)?);
            if before == (self.state.job.clone(), self.state.task.clone()) {
                break;
            }
        }
        Ok(())
    }

    /// How long the screen is true if nothing changes.
    fn patience(&self) -> Duration {
        let is_moving = self.state.overview.jobs.iter().any(Board::is_at_work);
        if is_moving || self.is_stopped { TICK } else { Duration::MAX }
    }

    /// Does what a key asked for; whether there is something to read now.
    fn grant(&mut self, wish: Wish, wakes: &Wakes, screen: &mut screen::Screen) -> bool {
        match wish {
            Wish::Draw | Wish::Quit => return false,
            Wish::Look => {}
            Wish::Redraw => screen.forget(),
            Wish::Stop => {
                screen.give_back();
                self.is_stopped = true;
                process::stop_self();
            }
            Wish::Do(act, target) => {
                let root = self.root.clone();
                wakes.hear(move || done(&root, act, &target));
            }
        }
        true
    }
}

/// Does something as the command does it, and tells what that said, in a line.
fn done(root: &Root, act: Act, target: &str) -> String {
    let done = match act {
        Act::Kill => kill::one(root, target),
        Act::Pause => pause::job(root, target),
        Act::Resume => resume::job(root, target),
        Act::Approve(seen) => start::approve(root, target, seen),
        Act::Open => open::aside(root, target),
        Act::Retry => {
            retry::one(root, target, false, &Flags::default()).map(|retried| retried.message)
        }
    };
    seams::see_to_overview(root);
    console::one_line(&done.unwrap_or_else(|failure| failure.message))
}
