//! Colour, where it is wanted. It repeats what the words say already and never says anything alone.

use crate::os::{console, env};

/// What a piece of text is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tone {
    /// Nothing special.
    Plain,
    /// It went well.
    Good,
    /// It went wrong.
    Bad,
    /// It waits.
    Wait,
    /// Of little weight.
    Dim,
    /// A heading.
    Strong,
}

/// Whether colours are written at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ink {
    /// Only on a terminal, and only without `NO_COLOR`.
    pub(super) coloured: bool,
}

impl Ink {
    /// As stdout and the environment ask for.
    pub(super) fn of_terminal() -> Self {
        let terminal = console::is_terminal(&std::io::stdout());
        Self { coloured: terminal && env::var_os("NO_COLOR").is_none() }
    }

    /// The text in its tone.
    pub(super) fn paint(self, tone: Tone, text: &str) -> String {
        let code = match tone {
            Tone::Plain => return text.to_owned(),
            Tone::Good => "32",
            Tone::Bad => "31",
            Tone::Wait => "33",
            Tone::Dim => "2",
            Tone::Strong => "1",
        };
        if self.coloured && !text.is_empty() {
            format!("\x1b[{code}m{text}\x1b[0m")
        } else {
            text.to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_colour_the_words_are_all_there_is() {
        assert_eq!(Ink { coloured: false }.paint(Tone::Bad, "failed"), "failed");
        assert_eq!(Ink { coloured: true }.paint(Tone::Bad, "failed"), "\x1b[31mfailed\x1b[0m");
        assert_eq!(Ink { coloured: true }.paint(Tone::Bad, ""), "");
    }
}
