//! What the parser of the command line has to say, in the form of every other message of this program.

use crate::error::Failure;

/// How the parser begins an error, a suggestion, the usage, and the line that points to the help.
const ERROR: &str = "error: ";
const TIP: &str = "tip: ";
const USAGE: &str = "Usage: ";
const FURTHER: &str = "For more information";

/// A refusal of the parser as a failure: the error on one line, what it suggests as hints. `command` is the one that was
/// called, if any.
pub(super) fn failure(rendered: &str, command: Option<&str>) -> Failure {
    // What the parser calls a subcommand is a command to everybody else.
    let rendered = rendered.replace("subcommand", "command");
    let mut paragraphs = rendered.split("\n\n").map(on_one_line).filter(|text| !text.is_empty());
    let error = paragraphs.next().unwrap_or_default();
    let mut failure = Failure::usage(error.strip_prefix(ERROR).unwrap_or(&error));
    for text in paragraphs {
        if let Some(usage) = text.strip_prefix(USAGE) {
            failure = failure.hint(format!("usage: {usage}"));
        } else if !text.starts_with(FURTHER) {
            let hints = text.split(TIP).map(str::trim).filter(|hint| !hint.is_empty());
            failure = hints.fold(failure, Failure::hint);
        }
    }
    let command = command.map(|name| format!(" {name}")).unwrap_or_default();
    failure.hint(format!("numerus{command} --help explains it"))
}

fn on_one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_parser_says_has_the_form_of_every_other_message() {
        for (rendered, command, shown) in [
            (
                "error: unexpected argument '--jsn' found\n\n  tip: a similar argument exists: '--json'\n\n\
                 Usage: numerus status --json [JOB]\n\nFor more information, try '--help'.\n",
                Some("status"),
                "numerus: error: unexpected argument '--jsn' found\n\nhint: a similar argument exists: '--json'\n\
                 hint: usage: numerus status --json [JOB]\nhint: numerus status --help explains it\n",
            ),
            (
                "error: invalid value 'x' for '--plan <HOW>'\n  [possible values: auto, single]\n\n\
                 For more information, try '--help'.\n",
                None,
                "numerus: error: invalid value 'x' for '--plan <HOW>' [possible values: auto, single]\n\n\
                 hint: numerus --help explains it\n",
            ),
        ] {
            assert_eq!(failure(rendered, command).render(), shown);
        }
    }
}
