//! What `top` shows, and what a key changes in it. Pure: a state and a key give a state and a wish, which the loop carries out.

use crate::cli::board::Board;
use crate::cli::ink::Tone;
use crate::model::id::{JobId, TaskId};
use crate::model::status::PauseReason;
use crate::os::screen::Key;

/// The spool as it was read last.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Overview {
    /// The root's folder.
    pub(super) root: String,
    /// Whether a daemon is active.
    pub(super) daemon: bool,
    /// What keeps new work from beginning, and which accounts are held: a line each.
    pub(super) troubles: Vec<String>,
    /// Live jobs by state, and what else there is to count: each a number and a word.
    pub(super) counts: Vec<(u64, &'static str)>,
    /// The jobs that have not ended, those that are worked on first; then the ones that ended last.
    pub(super) jobs: Vec<Board>,
    /// What is said about the selected job or task, the newest last.
    pub(super) log: Vec<(Tone, String)>,
}

/// What is on the screen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum Page {
    /// All jobs.
    #[default]
    Jobs,
    /// One job with its tasks.
    Job,
}

/// What the keys mean.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) enum Mode {
    /// What the help says.
    #[default]
    Plain,
    /// Any key closes the help.
    Help,
    /// Letters go into the filter.
    Filter,
    /// `y` does it, any other key does not.
    Sure(Act, String),
}

/// What can be done to a job, or to one of its tasks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    /// End it.
    Kill,
    /// Let it rest.
    Pause,
    /// Let it go on.
    Resume,
    /// Do it once more.
    Retry,
    /// Say go to its plan of that number: what somebody else makes of it meanwhile, nobody has seen.
    Approve(u32),
    /// Show its report.
    Open,
}

/// What the loop is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wish {
    /// Nothing but drawing.
    Draw,
    /// Read again: something else is selected.
    Look,
    /// Draw everything anew.
    Redraw,
    /// End.
    Quit,
    /// Stop until the shell lets it go on.
    Stop,
    /// Do it to `JOB` or `JOB/TASK`, and show what it says.
    Do(Act, String),
}

/// All of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Screen {
    /// What was read.
    pub(super) overview: Overview,
    /// The page.
    pub(super) page: Page,
    /// The selected job.
    pub(super) job: Option<JobId>,
    /// The selected task of an opened job; `None` is the job as a whole.
    pub(super) task: Option<TaskId>,
    /// What keys mean.
    pub(super) mode: Mode,
    /// Only jobs whose line holds this are shown.
    pub(super) filter: String,
    /// Whether the log takes the whole page.
    pub(super) log_only: bool,
    /// How many lines the log is scrolled back.
    pub(super) back: usize,
    /// What was said last.
    pub(super) said: String,
}

impl Screen {
    /// The jobs that the filter lets through.
    pub(super) fn jobs(&self) -> Vec<&Board> {
        let filter = self.filter.to_lowercase();
        let fits = |board: &&Board| {
            let s = &board.status;
            let text =
                format!("{} {} {} {}", s.job_id, s.state.as_str(), s.objective, board.doing.1);
            text.to_lowercase().contains(&filter)
        };
        self.overview.jobs.iter().filter(fits).collect()
    }

    /// The selected job, if there is any.
    pub(super) fn board(&self) -> Option<&Board> {
        self.jobs().into_iter().find(|b| Some(&b.status.job_id) == self.job.as_ref())
    }

    /// Takes in what was read; what was selected stays selected as long as it is there.
    pub(super) fn read(&mut self, overview: Overview) {
        self.overview = overview;
        self.keep_selection();
    }

    fn keep_selection(&mut self) {
        if self.board().is_none() {
            self.job = self.jobs().first().map(|b| b.status.job_id.clone());
            (self.task, self.page, self.back) = (None, Page::Jobs, 0);
        }
        let tasks = self.board().map(|b| b.lanes.as_slice()).unwrap_or_default();
        if !tasks.iter().any(|lane| Some(&lane.status.id) == self.task.as_ref()) {
            self.task = None;
        }
    }

    /// Takes in a key.
    pub(super) fn press(&mut self, key: Key) -> Wish {
        match (key, std::mem::take(&mut self.mode)) {
            (Key::Redraw, mode) => {
                self.mode = mode;
                Wish::Redraw
            }
            (Key::Stop, mode) => {
                self.mode = mode;
                Wish::Stop
            }
            (Key::Interrupt, _) => Wish::Quit,
            (_, Mode::Help) => Wish::Draw,
            (Key::Char('y' | 'Y'), Mode::Sure(act, target)) => self.wish(act, target),
            (_, Mode::Sure(..)) => {
                self.said = String::from("nothing was done");
                Wish::Draw
            }
            (key, Mode::Filter) => self.narrow(key),
            (key, Mode::Plain) => self.press_plain(key),
        }
    }

    fn press_plain(&mut self, key: Key) -> Wish {
        self.said.clear();
        match key {
            Key::Char('q') => return Wish::Quit,
            Key::Char('?' | 'h') => self.mode = Mode::Help,
            Key::Char('/') => (self.mode, self.page, self.task) = (Mode::Filter, Page::Jobs, None),
            Key::Char('l') => (self.log_only, self.back) = (!self.log_only, 0),
            Key::Char('K') => self.ask(Act::Kill),
            Key::Char('r') => self.ask(Act::Retry),
            Key::Char('a') => self.approve(),
            Key::Char('p') => return self.pause(),
            Key::Char('o') => return self.open(),
            Key::Up | Key::Char('k') => return self.step(-1),
            Key::Down | Key::Char('j') => return self.step(1),
            Key::Home | Key::Char('g') => return self.step(isize::MIN),
            Key::End | Key::Char('G') => return self.step(isize::MAX),
            Key::PageUp => self.back = (self.back + 10).min(self.overview.log.len()),
            Key::PageDown => self.back = self.back.saturating_sub(10),
            Key::Enter if self.page == Page::Jobs && self.job.is_some() => {
                (self.page, self.task, self.back) = (Page::Job, None, 0);
                return Wish::Look;
            }
            Key::Escape | Key::Backspace | Key::Enter => return self.close(),
            _ => {}
        }
        Wish::Draw
    }

    /// Back to where this was opened from.
    fn close(&mut self) -> Wish {
        if self.log_only {
            self.log_only = false;
        } else if self.page == Page::Job {
            (self.page, self.task, self.back) = (Page::Jobs, None, 0);
        } else {
            self.filter.clear();
        }
        Wish::Look
    }

    fn ask(&mut self, act: Act) {
        match (self.board(), self.target()) {
            (Some(board), _) if act == Act::Kill && board.status.state.is_final() => {
                self.said = format!("{} has ended already", board.status.job_id);
            }
            (_, Some(target)) => self.mode = Mode::Sure(act, target),
            (_, None) => self.said = String::from("no job is selected"),
        }
    }

    /// The selected job, if its plan waits for a person, and the number of that plan.
    pub(super) fn unapproved(&self) -> Option<(&JobId, u32)> {
        let board = self.board().filter(|b| b.status.rests_for() == Some(PauseReason::Approval))?;
        Some((&board.status.job_id, board.plan?))
    }

    fn approve(&mut self) {
        if let Some((job, plan)) = self.unapproved() {
            self.mode = Mode::Sure(Act::Approve(plan), job.to_string());
        } else if let Some(board) = self.board() {
            let job = &board.status.job_id;
            self.said = match board.status.rests_for() {
                Some(PauseReason::Approval) => {
                    format!("the plan of {job} is being read: once more")
                }
                _ => format!("{job} has no plan that waits for a person"),
            };
        }
    }

    /// What is selected, as the commands name it.
    fn target(&self) -> Option<String> {
        let job = self.board()?.status.job_id.to_string();
        Some(self.task.as_ref().map_or(job.clone(), |task| format!("{job}/{task}")))
    }

    /// Whom somebody has put to rest goes on, whoever else rests: nothing is lost by either, so nobody is asked.
    fn pause(&mut self) -> Wish {
        let Some(board) = self.board() else { return Wish::Draw };
        let status = &board.status;
        let rests = status.rests_for() == Some(PauseReason::User);
        let act = if rests { Act::Resume } else { Act::Pause };
        self.wish(act, status.job_id.to_string())
    }

    fn open(&mut self) -> Wish {
        let job = self.board().map(|board| board.status.job_id.to_string());
        job.map_or(Wish::Draw, |job| self.wish(Act::Open, job))
    }

    fn wish(&mut self, act: Act, target: String) -> Wish {
        self.said = format!("{} {target} …", act.as_str());
        Wish::Do(act, target)
    }

    /// A key of somebody who types what they look for.
    fn narrow(&mut self, key: Key) -> Wish {
        match key {
            Key::Char(letter) => self.filter.push(letter),
            Key::Backspace => drop(self.filter.pop()),
            Key::Escape => self.filter.clear(),
            Key::Enter => {}
            _ => {
                self.keep_selection();
                return self.press_plain(key);
            }
        }
        if !matches!(key, Key::Enter | Key::Escape) {
            self.mode = Mode::Filter;
        }
        self.keep_selection();
        Wish::Look
    }

    /// Selects another job, or another task of the opened one.
    fn step(&mut self, by: isize) -> Wish {
        self.back = 0;
        match self.page {
            Page::Jobs => {
                let jobs: Vec<JobId> =
                    self.jobs().iter().map(|b| b.status.job_id.clone()).collect();
                let at = jobs.iter().position(|job| Some(job) == self.job.as_ref());
                self.job =
                    moved(at.unwrap_or(0), by, jobs.len()).and_then(|n| jobs.get(n).cloned());
            }
            Page::Job => {
                let lanes = self.board().map(|b| b.lanes.as_slice()).unwrap_or_default();
                let tasks = lanes.iter().map(|lane| Some(lane.status.id.clone()));
                let all: Vec<Option<TaskId>> = std::iter::once(None).chain(tasks).collect();
                let at = all.iter().position(|task| *task == self.task).unwrap_or(0);
                self.task = moved(at, by, all.len()).and_then(|n| all.get(n).cloned()).flatten();
            }
        }
        Wish::Look
    }
}

impl Act {
    /// What it is called.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Kill => "kill",
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Retry => "retry",
            Self::Approve(_) => "approve",
            Self::Open => "open",
        }
    }
}

/// So many steps on in a list; `None` where it is empty.
fn moved(at: usize, by: isize, length: usize) -> Option<usize> {
    let last = length.checked_sub(1)?;
    Some(at.saturating_add_signed(by).min(last))
}

#[cfg(test)]
pub(super) mod tests;
