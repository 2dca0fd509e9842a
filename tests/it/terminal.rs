//! A terminal that a program runs on: what is written on it is seen as a person would see it. It answers no question that
//! a program may ask of it, as some real ones do not.

use std::io::{Read as _, Write};
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use portable_pty::{Child, CommandBuilder, MasterPty, PtySize, native_pty_system};
use rustix::process::{Pid, Signal, kill_process};

use crate::site::PATIENCE;

/// The terminal; whoever runs on it ends with it.
pub(crate) struct Terminal {
    seen: Arc<Mutex<Seen>>,
    input: Box<dyn Write + Send>,
    master: Option<Box<dyn MasterPty + Send>>,
    child: Box<dyn Child + Send + Sync>,
}

struct Seen {
    screen: vt100::Parser,
    raw: Vec<u8>,
}

fn size(columns: u16, rows: u16) -> PtySize {
    PtySize { rows, cols: columns, pixel_width: 0, pixel_height: 0 }
}

impl Terminal {
    /// Starts a command on a terminal of that size, with `TERM` set unless the command sets it.
    pub(crate) fn start(command: &Command, columns: u16, rows: u16) -> Self {
        let pair = native_pty_system().openpty(size(columns, rows)).unwrap();
        let mut builder = CommandBuilder::new(command.get_program());
        builder.args(command.get_args());
        builder.env_clear();
        builder.env("TERM", "xterm-256color");
        for (name, value) in command.get_envs() {
            builder.env(name, value.unwrap_or_default());
        }
        builder.cwd(command.get_current_dir().unwrap());
        let child = pair.slave.spawn_command(builder).unwrap();
        let (mut output, input) =
            (pair.master.try_clone_reader().unwrap(), pair.master.take_writer().unwrap());
        let screen = vt100::Parser::new(rows.try_into().unwrap(), columns.try_into().unwrap(), 0);
        let seen = Arc::new(Mutex::new(Seen { screen, raw: Vec::new() }));
        let eye = seen.clone();
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(n @ 1..) = output.read(&mut bytes) {
                let mut seen = eye.lock().unwrap();
                seen.screen.process(&bytes[..n]);
                seen.raw.extend(&bytes[..n]);
            }
        });
        Self { seen, input, master: Some(pair.master), child }
    }

    /// What stands on it now.
    pub(crate) fn text(&self) -> String {
        self.seen.lock().unwrap().screen.screen().contents()
    }

    /// Everything that was written on it.
    pub(crate) fn raw(&self) -> String {
        String::from_utf8_lossy(&self.seen.lock().unwrap().raw).into_owned()
    }

    /// Whether it is as a shell wants it: the usual screen, with a cursor.
    pub(crate) fn is_sane(&self) -> bool {
        let seen = self.seen.lock().unwrap();
        !seen.screen.screen().alternate_screen() && !seen.screen.screen().hide_cursor()
    }

    /// Waits until that stands on it.
    pub(crate) fn until(&self, what: &str) {
        self.until_so(what, |text| text.contains(what));
    }

    /// Waits until it looks so.
    pub(crate) fn until_so(&self, what: &str, is_so: impl Fn(&str) -> bool) {
        let start = Instant::now();
        while !is_so(&self.text()) {
            assert!(start.elapsed() < PATIENCE, "{what}: not so on\n{}", self.text());
            thread::park_timeout(Duration::from_millis(10));
        }
    }

    /// Types.
    pub(crate) fn press(&mut self, keys: &str) {
        self.input.write_all(keys.as_bytes()).unwrap();
        self.input.flush().unwrap();
    }

    /// Types the same again and again until something is seen.
    pub(crate) fn press_until(&mut self, keys: &str, what: &str) {
        let start = Instant::now();
        while !self.text().contains(what) {
            assert!(start.elapsed() < PATIENCE, "{what}: not so on\n{}", self.text());
            // The screen stays readable when the program has ended, and what is typed then is nobody's.
            let _ended = self.input.write_all(keys.as_bytes());
            thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// Gives it another size.
    pub(crate) fn resize(&self, columns: u16, rows: u16) {
        let (across, down) = (columns.try_into().unwrap(), rows.try_into().unwrap());
        self.seen.lock().unwrap().screen.screen_mut().set_size(down, across);
        self.master.as_ref().unwrap().resize(size(columns, rows)).unwrap();
    }

    /// Sends a signal to the program.
    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.child.process_id().and_then(|pid| Pid::from_raw(pid.cast_signed()));
        kill_process(pid.unwrap(), signal).unwrap();
    }

    /// Closes it, as somebody does who goes away.
    pub(crate) fn hang_up(&mut self) {
        self.master = None;
    }

    /// Waits for the end of the program; its exit code.
    pub(crate) fn end(&mut self) -> u32 {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.exit_code();
            }
            assert!(start.elapsed() < PATIENCE, "it does not end:\n{}", self.text());
            thread::park_timeout(Duration::from_millis(10));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|status| status.is_none()) {
            drop(self.child.kill());
        }
    }
}
