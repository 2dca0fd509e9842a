//! What a person sees while a job is followed on a terminal: its tasks as they stand, below the facts that scroll by; and what
//! Ctrl-C means there. Without a terminal the facts alone are told.

use std::time::Duration;

use super::activity::Activities;
use super::board::{Board, rows};
use super::follow::{End, JournalTail, Onlooker, Wake, Wakes};
use super::here::{Here, View};
use super::ink::Tone;
use super::row::Row;
use super::run;
use crate::logic::state::JobState;
use crate::model::event::Event;
use crate::model::job::Job;
use crate::os::signals::INTERRUPT;
use crate::os::{clock, console};

/// How often times that pass are drawn anew.
const TICK: Duration = Duration::from_secs(1);
/// Shortest time between two drawings: nobody reads faster, and agents say a lot.
const LULL: Duration = Duration::from_millis(100);

/// The question, for wide terminals and for narrow ones.
const QUESTIONS: [&str; 2] =
    ["[d]etach (the work goes on), [k]ill, or go on? ", "[d]etach, [k]ill, or go on? "];

/// How one fact is told.
pub(super) type Tell = fn(&mut Here, &Event, &JobState);

/// What a person sees of a job.
pub(super) struct Live {
    on_screen: bool,
    /// How facts are told, where they are.
    tell: Option<Tell>,
    /// Whether Ctrl-C is a question.
    asks: bool,
    /// Whether the question is open.
    asked: bool,
    /// What happened while a question was open, and the state after it: one for all, since a state is large and a question
    /// may stand for days.
    untold: Vec<Event>,
    after: JobState,
    words: Activities,
    job: Option<Job>,
    drawn: Option<Duration>,
}

impl Live {
    fn new(tell: Option<Tell>, asks: bool) -> Self {
        let (stdin, stdout) = (std::io::stdin(), std::io::stdout());
        let on_terminal = console::is_terminal(&stdout) && console::is_terminal(&std::io::stderr());
        Self {
            on_screen: on_terminal && !console::is_dumb(),
            tell,
            asks: asks && on_terminal && console::is_terminal(&stdin),
            asked: false,
            untold: Vec::new(),
            after: JobState::default(),
            words: Activities::default(),
            job: None,
            drawn: None,
        }
    }

    /// Of a job that the command itself works on: the facts are told in any case, and Ctrl-C asks.
    pub(super) fn of_work(tell: Tell) -> Self {
        Self::new(Some(tell), true)
    }

    /// Of a job that somebody else works on: nothing is told without a terminal.
    pub(super) fn of_waiting() -> Self {
        let live = Self::new(Some(run::tell), false);
        Self { tell: live.tell.filter(|_| live.on_screen), ..live }
    }

    /// Below something else that is shown, such as logs.
    pub(super) fn below() -> Self {
        Self::new(None, false)
    }

    /// Whether anything stands on a screen.
    pub(super) fn is_on_screen(&self) -> bool {
        self.on_screen
    }

    fn board(&mut self, tail: &JournalTail, held: bool) -> Option<Board> {
        if self.job.is_none() {
            self.job = tail.folder().read_job().ok().flatten();
        }
        let (job, words) = (self.job.as_ref()?, &mut self.words);
        let mut words = |place: &str, session| words.of(tail.folder(), place, session);
        Some(Board::of(tail.state(), tail.timeline(), (job, held), &mut words, clock::now()))
    }

    fn ask(&mut self, here: &mut Here, wakes: &mut Wakes) {
        let (view, _) = view(here);
        let fits = |question: &&&str| question.len() < view.width;
        let question = QUESTIONS.iter().find(fits).unwrap_or(&QUESTIONS[1]);
        if self.on_screen {
            // With nothing behind the blank: the answer is typed there.
            let text = Row::of(Tone::Strong, question.trim_end()).painted(view.ink);
            here.out.stand(&[format!("{text} ")]);
        } else {
            here.out.note_text(&format!("\n{question}"));
        }
        wakes.read_line();
        self.asked = true;
    }

    /// Goes on with what was held back while the question was open.
    fn answered(&mut self, here: &mut Here) {
        self.asked = false;
        self.drawn = None;
        if self.on_screen {
            here.out.typed();
        }
        self.catch_up(here);
    }

    fn tell(&self, here: &mut Here, event: &Event, state: &JobState) {
        if let Some(tell) = self.tell {
            tell(here, event, state);
        }
    }

    /// Tells what happened while the question was open.
    fn catch_up(&mut self, here: &mut Here) {
        let after = std::mem::take(&mut self.after);
        for event in std::mem::take(&mut self.untold) {
            self.tell(here, &event, &after);
        }
    }
}

/// The room on the terminal: one column is left free, since some terminals go to the next row behind the last one.
fn view(here: &Here) -> (View, usize) {
    let (columns, rows) = console::size();
    let view = View { width: columns.saturating_sub(1), now: clock::now(), ..here.aside() };
    (view, (rows * 2 / 3).min(rows.saturating_sub(1)).max(1))
}

/// What an answer ends; `None`: go on. Whose input has ended cannot say more.
fn understood(line: Option<&str>) -> Option<End> {
    match line.map(|line| line.trim().to_lowercase()).as_deref() {
        Some("kill" | "k") => Some(End::Kill),
        Some("d" | "detach") | None => Some(End::Detached),
        Some(_) => None,
    }
}

impl Onlooker for Live {
    fn event(&mut self, here: &mut Here, event: &Event, state: &JobState) {
        if self.asked {
            self.untold.push(event.clone());
            self.after.clone_from(state);
        } else {
            self.tell(here, event, state);
        }
    }

    /// Lets the job stand below what was said.
    fn looked(
        &mut self,
        here: &mut Here,
        wakes: &mut Wakes,
        tail: &JournalTail,
        held: bool,
    ) -> Option<Duration> {
        if !self.on_screen || self.asked {
            return None;
        }
        let now = clock::since_boot();
        let due = self.drawn.map_or(now, |drawn| drawn + LULL);
        // What had to make way for a fact comes back at once.
        let may_wait = |wait: &Duration| !wait.is_zero() && here.out.is_standing();
        if let Some(wait) = due.checked_sub(now).filter(may_wait) {
            return Some(wait);
        }
        for session in tail.timeline().open_sessions() {
            wakes.add(tail.folder().place(&session.place).dir());
        }
        let board = self.board(tail, held)?;
        let (view, height) = view(here);
        let rows = rows::block(&board, &view, height);
        here.out.stand(&rows.iter().map(|row| row.painted(view.ink)).collect::<Vec<_>>());
        self.drawn = Some(now);
        board.is_at_work().then_some(TICK)
    }

    fn over(&mut self, here: &mut Here) {
        here.out.lift();
        self.catch_up(here);
    }

    fn woken(&mut self, here: &mut Here, wakes: &mut Wakes, wake: Wake) -> Option<End> {
        match wake {
            Wake::Signal(number) if i32::from(number) == INTERRUPT && self.asks => {
                // A second one is an answer.
                if self.asked {
                    return Some(End::Kill);
                }
                self.ask(here, wakes);
                None
            }
            Wake::Signal(number) => Some(End::Signal(number)),
            Wake::Answer(line) if self.asked => {
                self.answered(here);
                understood(line.as_deref())
            }
            Wake::Continued => {
                here.out.forget();
                self.drawn = None;
                if self.asked {
                    self.ask(here, wakes);
                }
                None
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_word_ends_the_work_and_silence_leaves_it_alone() {
        for (line, end) in [
            (Some("k\n"), Some(End::Kill)),
            (Some(" Kill \n"), Some(End::Kill)),
            (Some("d\n"), Some(End::Detached)),
            (None, Some(End::Detached)),
            (Some("\n"), None),
            (Some("q\n"), None),
        ] {
            assert_eq!(understood(line), end, "{line:?}");
        }
    }
}
