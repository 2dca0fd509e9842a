//! The one door to a whole screen (ratatui with crossterm): the alternate screen of the terminal, drawn by differences, and
//! the keys that are pressed on it.
//!
//! Promise: however the program ends, but by SIGKILL, the terminal is as it was: the value puts it right when it is dropped,
//! and a panic does so before it speaks.

use std::io::{Result, Stdout, Write, stdout};
use std::panic;

use ratatui::backend::{Backend, ClearType, CrosstermBackend};
use ratatui::buffer::Buffer;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::layout::{Position, Rect};

/// A key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Key {
    /// A letter as it was typed.
    Char(char),
    /// Up.
    Up,
    /// Down.
    Down,
    /// A page up.
    PageUp,
    /// A page down.
    PageDown,
    /// To the first.
    Home,
    /// To the last.
    End,
    /// Enter.
    Enter,
    /// Escape.
    Escape,
    /// Backspace.
    Backspace,
    /// Ctrl-C.
    Interrupt,
    /// Ctrl-Z.
    Stop,
    /// Ctrl-L, or another size: everything is drawn anew.
    Redraw,
}

/// The whole screen, as long as it is ours. The terminal is asked nothing: an answer would come as keys, and some never give
/// one.
pub struct Screen {
    backend: CrosstermBackend<Stdout>,
    /// What is on it.
    shown: Buffer,
    is_ours: bool,
}

impl Screen {
    /// Takes the screen.
    ///
    /// # Errors
    /// When there is no terminal.
    pub fn take() -> Result<Self> {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            restore();
            before(info);
        }));
        let backend = CrosstermBackend::new(stdout());
        let mut screen = Self { backend, shown: Buffer::default(), is_ours: false };
        screen.retake()?;
        Ok(screen)
    }

    /// Gives it back for a while.
    pub fn give_back(&mut self) {
        if std::mem::take(&mut self.is_ours) {
            restore();
        }
    }

    /// Takes it again, and draws everything anew.
    ///
    /// # Errors
    /// When the terminal has gone.
    pub fn retake(&mut self) -> Result<()> {
        // Set first: what was half done is put right, too.
        self.is_ours = true;
        enable_raw_mode()?;
        execute!(stdout(), EnterAlternateScreen, Hide)?;
        self.forget();
        Ok(())
    }

    /// Draws everything anew the next time.
    pub fn forget(&mut self) {
        self.shown = Buffer::default();
    }

    /// Draws; what has not changed costs nothing.
    ///
    /// # Errors
    /// When the terminal has gone.
    pub fn draw(&mut self, draw: impl FnOnce(&mut Buffer)) -> Result<()> {
        if !self.is_ours {
            return Ok(());
        }
        let area = Rect::from((Position::ORIGIN, self.backend.size()?));
        if self.shown.area != area {
            self.backend.clear_region(ClearType::All)?;
            self.shown = Buffer::empty(area);
        }
        let mut next = Buffer::empty(area);
        draw(&mut next);
        self.backend.draw(self.shown.diff(&next).into_iter())?;
        self.shown = next;
        Backend::flush(&mut self.backend)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.give_back();
    }
}

impl std::fmt::Debug for Screen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Screen").field("is_ours", &self.is_ours).finish_non_exhaustive()
    }
}

/// Each step by itself: one that fails must not keep the others from being done.
fn restore() {
    drop(execute!(stdout(), LeaveAlternateScreen));
    drop(execute!(stdout(), Show));
    drop(stdout().flush());
    drop(disable_raw_mode());
}

/// Calls `wake` with each key, from a thread of its own, until the input ends; then with `None`.
///
/// # Errors
/// When the system has no more threads to give.
pub fn listen(wake: impl Fn(Option<Key>) + Send + 'static) -> Result<()> {
    std::thread::Builder::new().name("keys".to_owned()).spawn(move || {
        while let Ok(event) = event::read() {
            if let Some(key) = key(&event) {
                wake(Some(key));
            }
        }
        wake(None);
    })?;
    Ok(())
}

fn key(event: &Event) -> Option<Key> {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => pressed(*key),
        Event::Resize(..) => Some(Key::Redraw),
        _ => None,
    }
}

fn pressed(key: KeyEvent) -> Option<Key> {
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(match key.code {
        KeyCode::Char('c') if control => Key::Interrupt,
        KeyCode::Char('z') if control => Key::Stop,
        KeyCode::Char('l') if control => Key::Redraw,
        KeyCode::Char(letter) if !control => Key::Char(letter),
        KeyCode::Up => Key::Up,
        KeyCode::Down => Key::Down,
        KeyCode::PageUp => Key::PageUp,
        KeyCode::PageDown => Key::PageDown,
        KeyCode::Home => Key::Home,
        KeyCode::End => Key::End,
        KeyCode::Enter => Key::Enter,
        KeyCode::Esc => Key::Escape,
        KeyCode::Backspace => Key::Backspace,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_means_what_is_on_it() {
        for (code, modifiers, key) in [
            (KeyCode::Char('q'), KeyModifiers::NONE, Some(Key::Char('q'))),
            (KeyCode::Char('K'), KeyModifiers::SHIFT, Some(Key::Char('K'))),
            (KeyCode::Char('c'), KeyModifiers::CONTROL, Some(Key::Interrupt)),
            (KeyCode::Char('x'), KeyModifiers::CONTROL, None),
            (KeyCode::F(1), KeyModifiers::NONE, None),
        ] {
            assert_eq!(pressed(KeyEvent::new(code, modifiers)), key, "{code:?}");
        }
        assert_eq!(super::key(&Event::Resize(80, 24)), Some(Key::Redraw));
    }
}
