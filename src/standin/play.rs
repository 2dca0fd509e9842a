//! Plays a scene: one step after the other, until one of them ends the run.

use std::io;
use std::time::Duration;

use toml::Table;

use super::change::{self, ChangeError, Ground};
use super::command::{self, Running};
use super::output::{complain, grumble, lost_reader};
use super::rollout::Usage;
use super::script::{Fail, Filling, Step, WaitFor, Write};
use super::signals::{Ear, Event, die_by};
use super::turn::Turn;
use super::{door, item};

/// The tokens of a turn whose scene names none.
const USUAL: Usage = Usage { input: 100, output: 20 };

/// How often a file that is waited for is looked for.
const LOOK: Duration = Duration::from_millis(5);

/// What ends a run before its scene is over.
#[derive(Debug)]
enum Ending {
    /// The turn fails so.
    Failed(Fail),
    /// The process ends with this code, saying nothing more.
    Exit(u8),
    /// SIGINT.
    Interrupted,
    /// Nobody reads stdout.
    Unread(io::Error),
}

impl From<io::Error> for Ending {
    fn from(error: io::Error) -> Self {
        Self::Unread(error)
    }
}

/// Shorthand for a step that went well or ended the run.
type Played<T = ()> = Result<T, Ending>;

/// Everything a scene is played with.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) turn: Turn,
    pub(super) ground: Ground,
    pub(super) settings: Table,
    pub(super) filling: Filling,
    pub(super) ear: Ear,
    pub(super) ran: Vec<Running>,
}

impl Stage {
    /// Plays the steps and closes the turn; the exit code, and whether the turn was completed.
    pub(super) fn play(&mut self, steps: &[Step]) -> (u8, bool) {
        let played = steps.iter().try_for_each(|step| self.step(step));
        let ended = played.and_then(|()| Ok(self.turn.complete(USUAL)?));
        self.ran.iter().for_each(Running::kill);
        match ended {
            Ok(()) => (0, true),
            Err(ending) => (self.end(ending), false),
        }
    }

    fn end(&mut self, ending: Ending) -> u8 {
        match ending {
            Ending::Exit(code) => code,
            Ending::Unread(error) => lost_reader(&error),
            Ending::Interrupted => {
                self.turn.abort();
                1
            }
            Ending::Failed(fail) => match self.turn.fail(&fail) {
                Ok(()) => 1,
                Err(error) => lost_reader(&error),
            },
        }
    }

    fn step(&mut self, step: &Step) -> Played {
        let filled = |text: &String| self.filling.text(text);
        match step {
            Step::Message(message) => Ok(self.turn.say(self.filling.message(message))?),
            Step::Reasoning(text) => self.reason(&filled(text)),
            Step::NoMessage(_) => {
                self.turn.last_message = None;
                Ok(())
            }
            Step::Write(write) => self.write(write),
            Step::Delete(place) => self.change(&filled(&place.path), "delete", Ground::delete),
            Step::Rename(names) => {
                let to = filled(&names.to);
                self.change(&filled(&names.from), "update", |ground, from| ground.rename(from, &to))
            }
            Step::Command(text) => self.command(&filled(text)),
            Step::Spawn(text) => self.spawn(&filled(text)),
            Step::Stdout(text) => Ok(self.turn.raw(filled(text).as_bytes())?),
            Step::Stderr(text) => {
                grumble(&filled(text));
                Ok(())
            }
            Step::FloodBytes(bytes) => self.flood(*bytes),
            Step::Usage(tokens) => {
                self.turn
                    .respond(Usage { input: tokens.input_tokens, output: tokens.output_tokens });
                Ok(())
            }
            Step::TouchReady(place) => self.touch(&filled(&place.path)),
            Step::WaitFor(wait) => self.wait_for(wait),
            _ => self.end_or_rest(step),
        }
    }

    /// The steps that end the run, or let time pass.
    fn end_or_rest(&mut self, step: &Step) -> Played {
        match step {
            Step::SleepMs(ms) => self.rest(Duration::from_millis(*ms)),
            Step::Hang(_) => loop {
                self.rest(Duration::from_secs(3600))?;
            },
            Step::Fail(fail) => {
                let message = self.filling.text(&fail.message);
                Err(Ending::Failed(Fail { message, ..fail.clone() }))
            }
            Step::Exit(code) => Err(Ending::Exit(*code)),
            Step::DieBySignal(signal) => match die_by(*signal) {
                Ok(()) => Ok(()),
                Err(error) => Err(failed(format!("cannot die by signal {signal}: {error}"))),
            },
            Step::IgnoreSignals(_) => match self.ear.go_deaf() {
                Ok(()) => Ok(()),
                Err(error) => Err(failed(format!("cannot ignore signals: {error}"))),
            },
            _ => Ok(()),
        }
    }

    fn rest(&self, time: Duration) -> Played {
        if self.ear.rest(time) { Ok(()) } else { Err(Ending::Interrupted) }
    }

    fn reason(&mut self, text: &str) -> Played {
        let thought = item::reasoning(&self.turn.next_item(), text);
        Ok(self.turn.item_completed(&thought)?)
    }

    fn write(&mut self, write: &Write) -> Played {
        let path = self.filling.text(&write.path);
        let kind = if self.ground.cwd.join(&path).exists() { "update" } else { "add" };
        let text = self.filling.text(&write.text);
        let filled = Write { path: path.clone(), text, ..write.clone() };
        self.change(&path, kind, |ground, _| ground.write(&filled))
    }

    /// Makes one change; what is refused is a failed item, and the run goes on.
    fn change(
        &mut self,
        path: &str,
        kind: &str,
        make: impl FnOnce(&Ground, &str) -> Result<(), ChangeError>,
    ) -> Played {
        let (id, place) = (self.turn.next_item(), self.ground.cwd.join(path));
        self.turn.item_started(&item::file_change(&id, &place, kind, "in_progress"))?;
        let status = match make(&self.ground, path) {
            Ok(()) => "completed",
            Err(error) => {
                complain(&format!("cannot {error}"));
                "failed"
            }
        };
        Ok(self.turn.item_completed(&item::file_change(&id, &place, kind, status))?)
    }

    fn flood(&mut self, bytes: usize) -> Played {
        let id = self.turn.next_item();
        self.turn.item_started(&item::command(&id, "flood", "", None, "in_progress"))?;
        Ok(self.turn.item_completed(&item::flood(&id, bytes))?)
    }

    fn command(&mut self, text: &str) -> Played {
        let (id, shown) = (self.turn.next_item(), command::shown(text));
        self.turn.item_started(&item::command(&id, &shown, "", None, "in_progress"))?;
        let (output, code, status) = if self.ground.gate {
            let (output, code) = self.run(text, &id)?;
            (output, Some(code), if code == 0 { "completed" } else { "failed" })
        } else {
            ("commands are off: NUMERUS_STANDIN_COMMANDS is not 1".to_owned(), None, "declined")
        };
        Ok(self.turn.item_completed(&item::command(&id, &shown, &output, code, status))?)
    }

    /// Runs a command to its end, or to an interrupt.
    fn run(&mut self, text: &str, id: &str) -> Played<(String, i32)> {
        let marks = command::marks(self.turn.thread(), id, &self.settings);
        let running = match command::start(text, &self.ground.cwd, &marks, &self.ear.sender) {
            Ok(running) => running,
            Err(error) => return Ok((format!("cannot start: {error}"), 127)),
        };
        let ended = match self.ear.events.recv() {
            Ok(Event::CommandEnded(ended)) => ended,
            Ok(Event::Interrupted) | Err(_) => {
                command::kill_now(&running);
                return Err(Ending::Interrupted);
            }
        };
        let output = running.output();
        self.ran.push(running);
        Ok((output, ended.map_or(127, command::code_of)))
    }

    fn spawn(&mut self, text: &str) -> Played {
        if !self.ground.gate {
            return self.command(text);
        }
        let marks = command::marks(self.turn.thread(), "spawned", &self.settings);
        command::leave_behind(text, &self.ground.cwd, &marks)
            .map_err(|error| failed(format!("cannot start a command to leave behind: {error}")))
    }

    fn touch(&mut self, path: &str) -> Played {
        let place = self.ground.cwd.join(path);
        if !self.ground.gate {
            return Err(failed(format!("cannot touch {path}: NUMERUS_STANDIN_COMMANDS is not 1")));
        }
        change::touch(&place)
            .map_err(|error| failed(format!("cannot touch {}: {error}", place.display())))
    }

    fn wait_for(&mut self, wait: &WaitFor) -> Played {
        let place = self.ground.cwd.join(self.filling.text(&wait.path));
        let until = door::now_ms().saturating_add(wait.deadline_ms);
        while !place.exists() {
            if door::now_ms() >= until {
                let waited = wait.deadline_ms;
                return Err(failed(format!("waited {waited} ms for {} in vain", place.display())));
            }
            self.rest(LOOK)?;
        }
        Ok(())
    }
}

/// A failure of the stand-in itself.
fn failed(message: String) -> Ending {
    Ending::Failed(Fail { message, info: None, resets_at: None, status: None })
}
