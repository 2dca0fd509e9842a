//! The one door to stdout and stderr: data goes to stdout, all else to stderr. Whatever it is, no control character and no
//! trick of writing direction leaves, but for our own colours and bytes that were asked for raw. A reader that has gone ends
//! the command well, with exit 0.
//!
//! On a terminal, rows can stand below everything that is said ([`Out::stand`]): they are taken away before something else
//! is written, and drawn over when they stand anew. Nothing is asked of the terminal and no mode of it is changed, so there
//! is nothing to put right after an end of any kind.

use std::io::{self, ErrorKind, Write};

use super::ink::{Colour, Ink};
use crate::error::{Exit, Failure};
use crate::os::console;

/// Where a command writes.
pub(super) struct Out {
    data: Box<dyn Write>,
    notes: Box<dyn Write>,
    /// Whether colours are wanted; else one that comes here is somebody else's.
    coloured: Ink,
    coloured_notes: Ink,
    /// How many rows stand.
    standing: usize,
}

impl Out {
    /// The process's own streams.
    pub(super) fn standard(asked: Colour) -> Self {
        let (coloured, coloured_notes) =
            (Ink::on(&io::stdout(), asked), Ink::on(&io::stderr(), asked));
        let (data, notes) = (Box::new(io::stdout()), Box::new(io::stderr()));
        Self { data, notes, coloured, coloured_notes, standing: 0 }
    }

    #[cfg(test)]
    fn to(data: impl Write + 'static, notes: impl Write + 'static) -> Self {
        let ink = Ink { coloured: false };
        let (data, notes) = (Box::new(data), Box::new(notes));
        Self { data, notes, coloured: ink, coloured_notes: ink, standing: 0 }
    }

    /// The colours of what goes to stderr.
    pub(super) fn ink_of_notes(&self) -> Ink {
        self.coloured_notes
    }

    /// Writes data as it is.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.lift();
        self.data.write_all(bytes).and_then(|()| self.data.flush()).map_err(|e| lost(&e))
    }

    /// Writes a text that brings its own newlines.
    pub(super) fn text(&mut self, text: &str) -> Result<(), Failure> {
        let shown = console::edge(text, self.coloured.coloured);
        self.bytes(shown.as_bytes())
    }

    /// Writes a line of JSON, which means the same afterwards.
    pub(super) fn json(&mut self, line: &str) -> Result<(), Failure> {
        self.bytes(format!("{}\n", console::neutral_json(line)).as_bytes())
    }

    /// Writes one line.
    pub(super) fn line(&mut self, line: &str) -> Result<(), Failure> {
        self.text(&format!("{line}\n"))
    }

    /// Says a line on stderr; nobody depends on it, so an error is let go.
    pub(super) fn note(&mut self, line: &str) {
        self.note_text(&format!("{line}\n"));
    }

    /// Says a text on stderr as it is, such as a question or a failure.
    pub(super) fn note_text(&mut self, text: &str) {
        self.lift();
        let shown = console::edge(text, self.coloured_notes.coloured);
        drop(self.notes.write_all(shown.as_bytes()).and_then(|()| self.notes.flush()));
    }

    /// Lets rows stand below what was said, in place of those that do. Each must be narrower than the terminal, and all of
    /// them fewer than it has.
    pub(super) fn stand(&mut self, rows: &[String]) {
        let mut text = self.to_first_row();
        for (n, row) in rows.iter().enumerate() {
            let end = if n + 1 < rows.len() { "\r\n" } else { "" };
            let row = console::edge(row, self.coloured_notes.coloured);
            text.extend([&*row, "\x1b[K", end]);
        }
        text.push_str("\x1b[J");
        self.standing = rows.len();
        drop(self.notes.write_all(text.as_bytes()).and_then(|()| self.notes.flush()));
    }

    /// Whether anything stands.
    pub(super) fn is_standing(&self) -> bool {
        self.standing > 0
    }

    /// Takes away what stands.
    pub(super) fn lift(&mut self) {
        if self.standing > 0 {
            let text = format!("{}\x1b[J", self.to_first_row());
            self.standing = 0;
            drop(self.notes.write_all(text.as_bytes()).and_then(|()| self.notes.flush()));
        }
    }

    /// The person has ended a line below what stands.
    pub(super) fn typed(&mut self) {
        self.standing += usize::from(self.standing > 0);
    }

    /// Somebody else has written: what stood is part of the past.
    pub(super) fn forget(&mut self) {
        self.standing = 0;
    }

    fn to_first_row(&self) -> String {
        match self.standing {
            0 | 1 => "\r".to_owned(),
            n => format!("\r\x1b[{}A", n - 1),
        }
    }
}

impl Drop for Out {
    /// However the command ends, its terminal is left as it was found.
    fn drop(&mut self) {
        self.lift();
    }
}

fn lost(error: &io::Error) -> Failure {
    if error.kind() == ErrorKind::BrokenPipe {
        return Failure::reader_gone();
    }
    Failure::new(Exit::Root, format!("cannot write the output: {error}"))
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use super::*;

    /// Keeps what a command says.
    #[derive(Clone, Default)]
    struct Paper(Rc<RefCell<Vec<u8>>>);

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    struct Refusing(ErrorKind);

    impl Write for Refusing {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_has_gone_is_a_good_end_and_a_full_disk_is_not() {
        let end =
            |kind| Out::to(Refusing(kind), io::sink()).line("x").expect_err("refused").kind.code();
        assert_eq!(end(ErrorKind::BrokenPipe), 0);
        assert_eq!(end(ErrorKind::StorageFull), 5);
    }

    #[test]
    fn what_stands_makes_way_for_what_is_said_and_leaves_nothing_behind() {
        let paper = Paper::default();
        let mut out = Out::to(paper.clone(), paper.clone());
        let size = |n| std::num::NonZero::<u16>::new(n).expect("some");
        let screen = |rows: &[&str]| {
            let mut screen = vt100::Parser::new(size(6), size(20), 0);
            screen.process(&paper.0.borrow().iter().fold(Vec::new(), |mut all, b| {
                // As a terminal does it with a newline that a program writes.
                if *b == b'\n' {
                    all.push(b'\r');
                }
                all.push(*b);
                all
            }));
            assert_eq!(screen.screen().contents().trim_end(), rows.join("\n"));
        };
        let rows = |rows: &[&str]| rows.iter().map(|r| (*r).to_owned()).collect::<Vec<_>>();
        out.stand(&rows(&["one", "two", "three"]));
        out.note("said");
        screen(&["said"]);
        out.stand(&rows(&["one", "two\x1b[2J"]));
        screen(&["said", "one", "two\\x1b[2J"]);
        out.stand(&rows(&["1"]));
        screen(&["said", "1"]);
        out.line("data").expect("written");
        for n in 0..6 {
            out.stand(&rows(&["a", "b"]));
            out.note(&n.to_string());
        }
        out.stand(&rows(&["a", "b"]));
        screen(&["2", "3", "4", "5", "a", "b"]);
        drop(paper.clone().write(b"\r\n"));
        out.typed();
        out.stand(&rows(&["c"]));
        screen(&["3", "4", "5", "c"]);
        out.lift();
        out.forget();
        screen(&["3", "4", "5"]);
    }
}
