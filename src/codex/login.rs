//! How codex gets at a model, and which version it is: as far as can be told from its settings and by asking the program
//! itself. No model and no service is asked.

use std::io::{Read as _, Result, Seek as _};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::program::Codex;
use super::{account, look};
use crate::logic::doctor::{Login, Version};
use crate::logic::words::bound;
use crate::os::console::one_line;

/// How long it may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// How much of its answer is read, in bytes.
const ANSWER_BYTES: u64 = 400;
/// The key that sessions use before any login.
const KEY: &str = "CODEX_API_KEY";

/// How sessions with this profile get at a model.
pub fn login(codex: &Codex, profile: Option<&str>) -> Login {
    let named = account::provider(&codex.home, profile);
    if let Some(provider) = named.filter(|provider| provider != account::USUAL_PROVIDER) {
        let table = account::provider_table(&codex.home, profile, &provider).unwrap_or_default();
        let wants_login = table.get("requires_openai_auth").and_then(toml::Value::as_bool);
        let key = table.get("env_key").and_then(toml::Value::as_str);
        match (wants_login, key) {
            (Some(true), _) => {}
            (_, Some(variable)) => {
                let is_set = codex.env.iter().any(|(name, _)| name == variable);
                return Login::Key { provider, variable: variable.to_owned(), is_set };
            }
            (_, None) => return Login::NotNeeded { provider },
        }
    }
    if codex.env.iter().any(|(name, _)| name == KEY) {
        return Login::Key { provider: "openai".into(), variable: KEY.into(), is_set: true };
    }
    status(codex, PATIENCE)
}

/// What codex says of it; no answer is no "no".
fn status(codex: &Codex, patience: Duration) -> Login {
    match ask(codex, &["login", "status"], patience) {
        Ok(Some((Some(code), said))) => Login::Status { said, is_in: code == 0 },
        Ok(Some((None, _))) => Login::Unknown("it was ended before it answered".to_owned()),
        Ok(None) => Login::Unknown(format!("none within {}; {}", bound(patience), look::ENDED)),
        Err(e) => Login::Unknown(e.to_string()),
    }
}

/// What it answers to `--version`.
pub fn version(codex: &Codex) -> Version {
    version_within(codex, PATIENCE)
}

fn version_within(codex: &Codex, patience: Duration) -> Version {
    match ask(codex, &["--version"], patience) {
        Ok(Some((Some(0), said))) => Version::Said(said),
        Ok(None) => Version::Late(format!("within {}; {}", bound(patience), look::ENDED)),
        Ok(Some(_)) | Err(_) => Version::None,
    }
}

/// An exit code, unless it was ended by a signal, and the first line of what was said.
type Answer = (Option<i32>, String);

/// Asks codex something that needs no session; `None` where that took too long.
fn ask(codex: &Codex, words: &[&str], patience: Duration) -> Result<Option<Answer>> {
    let mut said = tempfile::tempfile()?;
    let mut command = Command::new(codex.program.first().cloned().unwrap_or_default());
    command.args(codex.program.iter().skip(1)).args(words);
    command.env_clear().envs(codex.env.iter().cloned()).stdin(Stdio::null());
    command.stdout(said.try_clone()?).stderr(said.try_clone()?);
    let Some(status) = look::run(&mut command, patience)? else { return Ok(None) };
    said.rewind()?;
    let mut bytes = Vec::new();
    said.take(ANSWER_BYTES).read_to_end(&mut bytes)?;
    let text = String::from_utf8_lossy(&bytes);
    Ok(Some((status.code(), one_line(text.lines().next().unwrap_or_default()))))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::os::bounds::Bounds;
    use crate::os::fsx;

    /// A codex that is a script, with what its settings say and the variables that it gets.
    fn codex(dir: &std::path::Path, config: &str, variables: &[&str]) -> Codex {
        let program = dir.join("codex");
        let script = "#!/bin/sh\ncase \"$1\" in\n  --version) echo codex-cli 9.8.7;;\n  \
                      login) echo Not logged in >&2; exit 1;;\nesac\n";
        fsx::put(&program, script.as_bytes()).expect("script");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).expect("mode");
        fsx::put(&dir.join("config.toml"), config.as_bytes()).expect("config");
        let env = variables.iter().map(|name| (name.into(), "x".into())).collect();
        let bounds = Bounds::default();
        Codex { program: vec![program.into()], home: dir.to_owned(), env, bounds }
    }

    #[test]
    fn the_provider_decides_what_is_needed_and_codex_says_the_rest() {
        let d = tempfile::tempdir().expect("scratch");
        let out = Login::Status { said: "Not logged in".into(), is_in: false };
        let key = |provider: &str, variable: &str, is_set| Login::Key {
            provider: provider.into(),
            variable: variable.into(),
            is_set,
        };
        let free = Login::NotNeeded { provider: "a".into() };
        let with_key = "model_provider = \"a\"\n[model_providers.a]\nenv_key = \"A_KEY\"\n";
        let with_login =
            "model_provider = \"a\"\n[model_providers.a]\nrequires_openai_auth = true\n";
        for (config, variables, expected) in [
            ("", vec![], out.clone()),
            ("", vec!["CODEX_API_KEY"], key("openai", "CODEX_API_KEY", true)),
            ("model_provider = \"a\"\n", vec![], free),
            (with_key, vec![], key("a", "A_KEY", false)),
            (with_key, vec!["A_KEY"], key("a", "A_KEY", true)),
            (with_login, vec![], out),
        ] {
            assert_eq!(login(&codex(d.path(), config, &variables), None), expected, "{config}");
        }
    }

    #[test]
    fn a_codex_that_gives_no_answer_does_not_say_that_it_is_not_logged_in() {
        let d = tempfile::tempdir().expect("scratch");
        let mut codex = codex(d.path(), "", &[]);
        let words = |words: &[&str]| words.iter().map(Into::into).collect::<Vec<_>>();
        for (program, patience, why) in [
            (words(&["/nonexistent/codex"]), PATIENCE, "No such file"),
            (words(&["sh", "-c", "kill -KILL $$"]), PATIENCE, "before it answered"),
            (
                words(&["sh", "-c", "exec sleep 60"]),
                Duration::ZERO,
                "none within 0s; it was ended, with all",
            ),
        ] {
            codex.program = program;
            let said = status(&codex, patience);
            assert!(matches!(&said, Login::Unknown(said) if said.contains(why)), "{said:?}");
        }
    }

    #[test]
    fn codex_says_its_version_or_nothing() {
        let d = tempfile::tempdir().expect("scratch");
        let mut codex = codex(d.path(), "", &[]);
        assert_eq!(version(&codex), Version::Said("codex-cli 9.8.7".into()));
        codex.program = vec!["false".into()];
        assert_eq!(version(&codex), Version::None);
        codex.program = ["sh", "-c", "exec sleep 60"].map(Into::into).to_vec();
        let late = version_within(&codex, Duration::ZERO);
        assert!(matches!(&late, Version::Late(why) if why.contains("within 0s")), "{late:?}");
    }
}
