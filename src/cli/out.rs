//! The one door to stdout and stderr: data goes to stdout, all else to stderr. Whatever it is, no control character and no
//! trick of writing direction leaves, but for our own colours and bytes that were asked for raw. A reader that has gone ends
//! the command well, with exit 0.

use std::io::{self, ErrorKind, Write};

use super::ink::Ink;
use crate::error::{Exit, Failure};
use crate::os::console;

/// Where a command writes.
pub(super) struct Out {
    data: Box<dyn Write>,
    notes: Box<dyn Write>,
    /// Whether colours are wanted; else one that comes here is somebody else's.
    coloured: bool,
}

impl Out {
    /// The process's own streams.
    pub(super) fn standard() -> Self {
        let (data, notes) = (Box::new(io::stdout()), Box::new(io::stderr()));
        Self { data, notes, coloured: Ink::of_terminal().coloured }
    }

    #[cfg(test)]
    fn to(data: impl Write + 'static) -> Self {
        Self { data: Box::new(data), notes: Box::new(io::sink()), coloured: false }
    }

    /// Writes data as it is.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.data.write_all(bytes).and_then(|()| self.data.flush()).map_err(|e| lost(&e))
    }

    /// Writes a text that brings its own newlines.
    pub(super) fn text(&mut self, text: &str) -> Result<(), Failure> {
        let shown = console::edge(text, self.coloured);
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
        drop(writeln!(self.notes, "{}", console::edge(line, self.coloured)));
    }

    /// Says a text on stderr as it is, such as a question or a failure.
    pub(super) fn note_text(&mut self, text: &str) {
        let shown = console::edge(text, self.coloured);
        drop(self.notes.write_all(shown.as_bytes()).and_then(|()| self.notes.flush()));
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
    use super::*;

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
        let end = |kind| Out::to(Refusing(kind)).line("x").expect_err("refused").kind.code();
        assert_eq!(end(ErrorKind::BrokenPipe), 0);
        assert_eq!(end(ErrorKind::StorageFull), 5);
    }
}
