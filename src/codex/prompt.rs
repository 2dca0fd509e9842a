//! The prompts: Markdown templates, built in, each overridable by a file of the same name in the root's `prompts/`.
//!
//! Every prompt opens with its marker line and then one fact a line, so that a log can be read by program. What comes
//! from outside is inserted as text, never read as a template.

use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Serde, Value as Facts};
use minijinja::{Environment, UndefinedBehavior};
use serde_json::Value;

use crate::os::fsx;

/// The built-in templates.
const TEMPLATES: [(&str, &str); 8] = [
    ("plan", include_str!("../prompts/plan.md")),
    ("roles", include_str!("../prompts/roles.md")),
    ("claim", include_str!("../prompts/claim.md")),
    ("execute", include_str!("../prompts/execute.md")),
    ("continue", include_str!("../prompts/continue.md")),
    ("review", include_str!("../prompts/review.md")),
    ("queen", include_str!("../prompts/queen.md")),
    ("repair", include_str!("../prompts/repair.md")),
];

/// What all templates are rendered by; made once.
static ENVIRONMENT: LazyLock<Result<Environment<'static>, String>> = LazyLock::new(|| {
    let mut environment = Environment::new();
    environment.set_undefined_behavior(UndefinedBehavior::Lenient);
    let syntax = SyntaxConfig::builder().trim_blocks(true).build();
    environment.set_syntax(syntax.map_err(|e| e.to_string())?);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    Ok(environment)
});

/// Makes ready what the first prompt of a process would have to wait for.
pub(super) fn get_ready() {
    let _used_later = LazyLock::force(&ENVIRONMENT);
}

/// Renders prompts for one root.
#[derive(Debug, Clone)]
pub struct Prompts {
    overrides: PathBuf,
}

impl Prompts {
    /// Prompts with the overrides of a folder, which need not exist.
    pub fn new(overrides: &Path) -> Self {
        Self { overrides: overrides.to_owned() }
    }

    /// Renders a prompt.
    ///
    /// # Errors
    /// When an override cannot be read or is no valid template; the message names it.
    pub fn render(&self, name: &str, facts: &Value) -> Result<String, String> {
        let path = self.overrides.join(format!("{name}.md"));
        let own = fsx::read_optional(&path).map_err(|e| format!("cannot read the prompt: {e}"))?;
        let builtin =
            TEMPLATES.iter().find(|(n, _)| *n == name).map(|(_, text)| (*text).to_owned());
        let template =
            own.or(builtin).ok_or_else(|| format!("there is no prompt called {name}"))?;
        let environment = ENVIRONMENT.as_ref().map_err(Clone::clone)?;
        let rendered = environment.render_str(&template, Facts::from(Serde(facts)));
        rendered.map_err(|e| format!("the prompt {} is no valid template: {e}", path.display()))
    }
}

/// The first line of a text that says anything, cut: a fact must fit on its line.
pub fn first_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|l| !l.is_empty()).unwrap_or_default();
    line.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_prompt_opens_with_its_marker_and_a_fact_is_never_a_template() {
        let prompts = Prompts::new(Path::new("/nonexistent"));
        let facts = json!({"objective": "{{ 7*7 }} <b>", "objective_line": "x", "task_id": "t1", "description": "d"});
        for (name, marker) in [
            ("plan", "NUMERUS_PLAN V1\n"),
            ("roles", "NUMERUS_ROLES V1\n"),
            ("claim", "NUMERUS_CLAIM V1\nTASK_ID: t1\n"),
            ("execute", "NUMERUS_EXECUTE V1\nTASK_ID: t1\n"),
            ("continue", "NUMERUS_EXECUTE V1\nTASK_ID: t1\n"),
            ("review", "NUMERUS_REVIEW V1\nTASK_ID: t1\n"),
        ] {
            let text = prompts.render(name, &facts).expect(name);
            assert!(text.starts_with(marker), "{name}: {text}");
        }
        let plan = prompts.render("plan", &facts).expect("plan");
        assert!(plan.contains("{{ 7*7 }} <b>"), "{plan}");
    }

    #[test]
    fn an_override_is_used_and_a_broken_one_is_named() {
        let d = tempfile::tempdir().expect("scratch");
        fsx::put_new(&d.path().join("plan.md"), b"NUMERUS_PLAN V1\nmine {{ objective }}")
            .expect("override");
        fsx::put_new(&d.path().join("roles.md"), b"{% if %}").expect("override");
        let prompts = Prompts::new(d.path());
        let facts = json!({"objective": "o"});
        assert_eq!(prompts.render("plan", &facts).expect("mine"), "NUMERUS_PLAN V1\nmine o");
        assert!(prompts.render("roles", &facts).expect_err("broken").contains("roles.md"));
    }
}
