//! Colour, where it is wanted. It repeats what the words say already and never says anything alone.

use std::io::IsTerminal;

use clap::ValueEnum;

use crate::model::status;
use crate::os::{console, env};

/// When colours are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(super) enum Colour {
    /// On a terminal, unless `NO_COLOR` is set
    #[default]
    Auto,
    /// Wherever it goes
    Always,
    /// Nowhere
    Never,
}

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

impl From<status::Tone> for Tone {
    fn from(of: status::Tone) -> Self {
        match of {
            status::Tone::Good => Self::Good,
            status::Tone::Bad => Self::Bad,
            status::Tone::Wait => Self::Wait,
            status::Tone::Live => Self::Plain,
            status::Tone::Off => Self::Dim,
        }
    }
}

/// Whether colours are written at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ink {
    /// Whether there are any.
    pub(super) coloured: bool,
}

impl Ink {
    /// As is asked for; where nothing is, as the stream and the environment say.
    pub(super) fn on(stream: &impl IsTerminal, asked: Colour) -> Self {
        let wanted = || {
            let is_plain = env::var_os("NO_COLOR").is_some() || console::is_dumb();
            console::is_terminal(stream) && !is_plain
        };
        let coloured = match asked {
            Colour::Auto => wanted(),
            Colour::Always => true,
            Colour::Never => false,
        };
        Self { coloured }
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
    fn who_asks_for_colours_has_them_and_a_file_has_none_by_itself() {
        let file = std::fs::File::open("/dev/null").expect("open");
        for (asked, coloured) in
            [(Colour::Auto, false), (Colour::Always, true), (Colour::Never, false)]
        {
            assert_eq!(Ink::on(&file, asked), Ink { coloured }, "{asked:?}");
        }
    }

    #[test]
    fn without_colour_the_words_are_all_there_is() {
        assert_eq!(Ink { coloured: false }.paint(Tone::Bad, "failed"), "failed");
        assert_eq!(Ink { coloured: true }.paint(Tone::Bad, "failed"), "\x1b[31mfailed\x1b[0m");
        assert_eq!(Ink { coloured: true }.paint(Tone::Bad, ""), "");
    }
}
