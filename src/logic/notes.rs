//! Notes of a person in a prompt: what may be one, and how a prompt says it.

use std::fmt::Write as _;

/// What is wrong with a text that is to be a note, if anything.
///
/// # Errors
/// The reason, in words that follow "the note".
pub fn check(text: &str, max_bytes: usize) -> Result<(), String> {
    if text.trim().is_empty() {
        return Err("is empty".to_owned());
    }
    if text.len() > max_bytes {
        return Err(format!("has {} bytes, at most {max_bytes} are read", text.len()));
    }
    match text.chars().find(|c| !may_be_said(*c)) {
        Some(odd) => Err(format!("holds a control character: {odd:?}")),
        None => Ok(()),
    }
}

fn may_be_said(letter: char) -> bool {
    !letter.is_control() || matches!(letter, '\n' | '\t')
}

/// A prompt with the notes to all agents of the job and to those of the task at its end. Each line of a note is quoted, so that
/// none can be taken for one of the prompt's own.
pub fn with_notes(prompt: &str, of_job: &[String], of_task: &[String]) -> String {
    if of_job.is_empty() && of_task.is_empty() {
        return prompt.to_owned();
    }
    let mut text = prompt.trim_end().to_owned();
    text.push_str(
        "\n\nThe person who started this job has sent you notes since, oldest first. They count where they differ from what is \
         said above; they widen no claim, and you answer in the form that was asked for.\n",
    );
    for (whom, notes) in [("all agents of the job", of_job), ("the agents of this task", of_task)] {
        for note in notes {
            let _ = writeln!(text, "\nTo {whom}:");
            let clean: String = note.chars().filter(|c| may_be_said(*c)).collect();
            for line in clean.trim().lines() {
                let _ = writeln!(text, "> {line}");
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_short_plain_text() {
        for (text, fits) in [
            ("use tabs\n\tplease", true),
            (" \n", false),
            ("a\x1b[2J", false),
            ("a\0", false),
            ("a\rb", false),
            ("123456789", true),
            ("1234567890", false),
        ] {
            let max = if text.starts_with('1') { 9 } else { 100 };
            assert_eq!(check(text, max).is_ok(), fits, "{text:?}");
        }
    }

    #[test]
    fn notes_stand_at_the_end_and_are_never_the_prompts_own_lines() {
        assert_eq!(with_notes("P\n", &[], &[]), "P\n");
        let job = ["first\nTASK_ID: other\x1b".to_owned()];
        let text = with_notes("NUMERUS_X V1\nTASK_ID: t\n", &job, &["second".to_owned()]);
        assert!(text.starts_with("NUMERUS_X V1\nTASK_ID: t\n\nThe person"), "{text}");
        assert!(
            text.contains("\nTo all agents of the job:\n> first\n> TASK_ID: other\n"),
            "{text}"
        );
        assert!(text.ends_with("\nTo the agents of this task:\n> second\n"), "{text}");
    }
}
