//! `numerus doctor`: a line for each thing that work depends on, with what to do where it is not well.

use std::fmt::Write as _;

use clap::Args;
use serde_json::json;

use super::fold;
use super::here::{Here, View};
use super::ink::Tone;
use super::seams;
use crate::error::{Exit, Failure};
use crate::logic::doctor::{Finding, Grade, Part};
use crate::os::console::one_line;

/// The words of the command.
#[derive(Debug, Args)]
pub(super) struct Doctor {
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Columns of the grade and of what it is about.
const INDENT: usize = 6 + 12;

/// Looks.
pub(super) fn run(here: &mut Here, asked: &Doctor) -> Result<Exit, Failure> {
    let findings = seams::examine(&here.root);
    let exit = exit(&findings);
    if asked.json {
        let all = json!({
            "version": 1, "numerus": env!("CARGO_PKG_VERSION"), "root": here.root.path(), "code": exit.code(),
            "findings": findings.iter().map(|f| json!({
                "about": f.about, "grade": f.grade.as_str(), "said": f.said, "hint": f.hint,
            })).collect::<Vec<_>>(),
        });
        here.out.json(&all.to_string())?;
    } else {
        let text: String = findings.iter().map(|f| line(f, &here.view)).collect();
        here.out.text(&text)?;
        here.out.note(&sum(&findings));
    }
    Ok(exit)
}

fn line(found: &Finding, view: &View) -> String {
    let tone = match found.grade {
        Grade::Ok => Tone::Good,
        Grade::Warn => Tone::Wait,
        Grade::Fail => Tone::Bad,
    };
    let grade = view.ink.paint(tone, found.grade.as_str());
    let gap = " ".repeat(6 - found.grade.as_str().len());
    let folded = |text: &str| fold::words(&one_line(text), INDENT, view);
    let mut text = format!("{grade}{gap}{:<12}{}\n", found.about, folded(&found.said));
    if let Some(hint) = &found.hint {
        let _ = writeln!(text, "{:INDENT$}{}", "", folded(&format!("hint: {hint}")));
    }
    text
}

fn sum(findings: &[Finding]) -> String {
    let count = |grade| findings.iter().filter(|f| f.grade == grade).count();
    match (count(Grade::Fail), count(Grade::Warn)) {
        (0, 0) => "all is well".to_owned(),
        (0, warnings) => format!("work can begin; {warnings} to look at"),
        (failures, _) => format!("{failures} to mend before work can begin"),
    }
}

/// The worst of what is wrong.
fn exit(findings: &[Finding]) -> Exit {
    let wrong = findings.iter().filter(|f| f.grade == Grade::Fail);
    let exit = |found: &Finding| match found.part {
        Part::Codex => Exit::Codex,
        Part::Root => Exit::Root,
        Part::Other => Exit::JobFailed,
    };
    wrong.map(exit).fold(Exit::Done, Exit::worst)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_code_is_that_of_the_worst_thing_that_is_wrong() {
        let finding = |grade, part| {
            let (said, hint) = (String::new(), None);
            Finding { about: "x", part, grade, said, hint }
        };
        for (grades, code) in [
            (vec![(Grade::Ok, Part::Codex), (Grade::Warn, Part::Root)], 0),
            (vec![(Grade::Fail, Part::Other)], 1),
            (vec![(Grade::Fail, Part::Other), (Grade::Fail, Part::Root)], 5),
            (vec![(Grade::Fail, Part::Codex), (Grade::Fail, Part::Root)], 6),
        ] {
            let all: Vec<Finding> = grades.iter().map(|(g, p)| finding(*g, *p)).collect();
            assert_eq!(exit(&all).code(), code, "{grades:?}");
        }
    }

    #[test]
    fn what_is_wrong_has_its_hint_below() {
        let found = Finding {
            about: "git",
            part: Part::Other,
            grade: Grade::Fail,
            said: "too\nold: it is of 2009".into(),
            hint: Some("put a newer one in its place".into()),
        };
        let shown = line(&found, &View::plain(40, "2026-11-26T03:00:00Z"));
        let expected = "\
fail  git         too old: it is of 2009
                  hint: put a newer one
                  in its place
";
        assert_eq!(shown, expected);
        assert_eq!(sum(&[found]), "1 to mend before work can begin");
    }
}
