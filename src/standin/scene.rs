//! Chooses the scene: what a prompt says of itself, and which scene that matches.

use std::collections::BTreeMap;
use std::path::Path;

use super::script::{Filling, Scene, When};

/// What is known of the call to answer.
#[derive(Debug)]
pub(super) struct Cue {
    prompt: String,
    resumed: bool,
}

impl Cue {
    /// The call with this prompt.
    pub(super) fn new(prompt: String, resumed: bool) -> Self {
        Self { prompt, resumed }
    }

    /// The prompt's length in characters.
    pub(super) fn length(&self) -> usize {
        self.prompt.chars().count()
    }

    /// The first line.
    pub(super) fn marker(&self) -> &str {
        self.prompt.lines().next().unwrap_or_default().trim_end()
    }

    /// The value of the first line `NAME: value`.
    pub(super) fn fact(&self, name: &str) -> Option<&str> {
        let value = |line: &'_ str| -> Option<usize> {
            line.strip_prefix(name)?.strip_prefix(':').map(|rest| line.len() - rest.len())
        };
        self.prompt.lines().find_map(|line| value(line).map(|at| line[at..].trim()))
    }

    /// What stands for `{{names}}` in the answer.
    pub(super) fn filling(&self, cwd: &Path) -> Filling {
        let fact = |name, otherwise: &str| self.fact(name).unwrap_or(otherwise).to_owned();
        Filling(BTreeMap::from([
            ("task", fact("TASK_ID", "")),
            ("objective", fact("OBJECTIVE", "")),
            ("resources", fact("RESOURCES", "{}")),
            ("cwd", cwd.display().to_string()),
        ]))
    }

    fn fits(&self, when: &When) -> bool {
        when.marker.as_ref().is_none_or(|marker| self.marker().starts_with(marker.as_str()))
            && when.task.as_ref().is_none_or(|task| self.fact("TASK_ID") == Some(task.as_str()))
            && when.contains.as_ref().is_none_or(|text| self.prompt.contains(text.as_str()))
            && when.resumed.is_none_or(|resumed| resumed == self.resumed)
    }
}

/// The first scene that answers `cue`. A scene with `calls` is counted, by `take_number` of its
/// index, each time all its other conditions hold.
///
/// # Errors
/// Whatever `take_number` could not do.
pub(super) fn choose<'s, E>(
    scenes: &'s [Scene],
    cue: &Cue,
    mut take_number: impl FnMut(usize) -> Result<u32, E>,
) -> Result<Option<&'s Scene>, E> {
    for (index, scene) in scenes.iter().enumerate() {
        if !cue.fits(&scene.when) {
            continue;
        }
        let Some(calls) = &scene.when.calls else { return Ok(Some(scene)) };
        if calls.contains(&take_number(index)?) {
            return Ok(Some(scene));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;
    use crate::standin::script::{self, Step};

    fn chosen(when: &str, prompt: &str, resumed: bool) -> bool {
        let text = format!(r#"{{"version":1,"scenes":[{{"when":{when},"play":[{{"exit":0}}]}}]}}"#);
        let script = script::parse("test", &text).unwrap();
        let cue = Cue::new(prompt.to_owned(), resumed);
        choose(&script.scenes, &cue, |_| Ok::<_, Infallible>(1)).unwrap().is_some()
    }

    #[test]
    fn all_given_conditions_must_hold() {
        let prompt = "NUMERUS_CLAIM V1\nTASK_ID: t1\nOBJECTIVE: build\n\nclaim it";
        let cases = [
            ("{}", false, true),
            (r#"{"marker":"NUMERUS_CLAIM"}"#, false, true),
            (r#"{"marker":"NUMERUS_PLAN"}"#, false, false),
            (r#"{"marker":"TASK_ID"}"#, false, false),
            (r#"{"task":"t1"}"#, false, true),
            (r#"{"task":"t"}"#, false, false),
            (r#"{"contains":"claim it"}"#, false, true),
            (r#"{"contains":"nothing"}"#, false, false),
            (r#"{"resumed":true}"#, true, true),
            (r#"{"resumed":true}"#, false, false),
            (r#"{"resumed":false}"#, true, false),
            (r#"{"marker":"NUMERUS_CLAIM","task":"t2"}"#, false, false),
            (r#"{"calls":[1]}"#, false, true),
            (r#"{"calls":[2]}"#, false, false),
        ];
        for (when, resumed, want) in cases {
            assert_eq!(chosen(when, prompt, resumed), want, "{when} resumed={resumed}");
        }
    }

    #[test]
    fn a_scene_is_counted_only_when_everything_else_holds() {
        let text = r#"{"version":1,"scenes":[
            {"when":{"task":"t2","calls":[1]},"play":[{"exit":1}]},
            {"when":{"task":"t1","calls":[2]},"play":[{"exit":2}]},
            {"play":[{"exit":3}]}]}"#;
        let script = script::parse("test", text).unwrap();
        let cue = Cue::new("M\nTASK_ID: t1".to_owned(), false);
        let mut counts = [0; 3];
        let mut play = || {
            let count = |index: usize| {
                counts[index] += 1;
                Ok::<u32, Infallible>(counts[index])
            };
            choose(&script.scenes, &cue, count).unwrap().unwrap().play[0].clone()
        };
        assert_eq!([play(), play(), play()], [Step::Exit(3), Step::Exit(2), Step::Exit(3)]);
        assert_eq!(counts, [0, 3, 0]);
    }

    #[test]
    fn facts_are_lines_of_the_prompt() {
        let cue = Cue::new(
            "M V1\nTASK_ID:  t1 \nOBJECTIVE:x: y\nRESOURCES: {\"writes\":[]}".to_owned(),
            false,
        );
        assert_eq!(cue.fact("TASK_ID"), Some("t1"));
        assert_eq!(cue.fact("OBJECTIVE"), Some("x: y"));
        assert_eq!(cue.fact("TASK"), None);
        assert_eq!(
            cue.filling(Path::new("/w")).text("{{cwd}} {{resources}}"),
            "/w {\"writes\":[]}"
        );
    }
}
