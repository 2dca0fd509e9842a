//! The words that codex is called with. A pure function: the measured behaviour of codex-cli 0.169.0 is in them.

use std::ffi::OsString;
use std::path::Path;

use crate::logic::enforce::Opened;
use crate::model::job::Sandbox;

/// What the permission profile of an enforced claim is called; the user's own ones are laid below it by name.
const PROFILE: &str = "numerus_claim";
/// What codex would mount below a single file that is opened; it fails unless it is told that they may be written.
const BELOW_A_FILE: [&str; 4] = [".git", ".agents", ".codex", ".aws"];

/// What alone may be written, by absolute paths.
#[derive(Debug, Clone, Copy)]
pub struct Bounds<'a> {
    /// The directory that the agent works in, without links on the way.
    pub cwd: &'a Path,
    /// What of it is open.
    pub opened: &'a Opened,
}

/// What a call of codex depends on.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// What it may write.
    pub sandbox: Sandbox,
    /// What alone it may write instead.
    pub bounds: Option<Bounds<'a>>,
    /// Whether its tools may use the network.
    pub network: bool,
    /// The model, if one is named.
    pub model: Option<&'a str>,
    /// The profile, if one is named.
    pub profile: Option<&'a str>,
    /// A fresh file for the last message.
    pub last_message: &'a Path,
    /// The schema of the answer, if it is structured.
    pub schema: Option<&'a Path>,
    /// The thread to go on with.
    pub resume: Option<&'a str>,
    /// Marks that its tools carry in their environment.
    pub marks: &'a [(&'static str, String)],
    /// The folder for the temporary files of tools that may write; nobody else uses it.
    pub temp: Option<&'a Path>,
}

/// The arguments after the program. The prompt comes on standard input.
pub fn arguments(call: &Call<'_>) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec!["exec".into()];
    let mut say = |texts: &[&str]| words.extend(texts.iter().map(OsString::from));
    // These two are refused after the word `resume`. With a permission profile there is no sandbox to name: it would win.
    if call.bounds.is_none() {
        say(&["-s", call.sandbox.as_str()]);
    }
    if let Some(profile) = call.profile {
        say(&["-p", profile]);
    }
    if call.resume.is_some() {
        say(&["resume"]);
    }
    say(&["--json", "--skip-git-repo-check"]);
    if let Some(model) = call.model {
        say(&["-m", model]);
    }
    for feature in ["unbounded_connection_retries", "plugins", "shell_snapshot"] {
        say(&["--disable", feature]);
    }
    for setting in settings(call) {
        say(&["-c", &setting]);
    }
    words.extend(["-o".into(), call.last_message.into()]);
    if let Some(schema) = call.schema {
        words.extend(["--output-schema".into(), schema.into()]);
    }
    words.extend(call.resume.map(OsString::from));
    words.push("-".into());
    words
}

/// A resumed thread remembers neither sandbox nor anything else: everything is said every time.
fn settings(call: &Call<'_>) -> Vec<String> {
    let mut settings = vec![
        "agents.enabled=false".to_owned(),
        "analytics.enabled=false".into(),
        "allow_login_shell=false".into(),
    ];
    settings.extend(confinement(call.network, call.marks, call.temp));
    settings.extend(call.bounds.iter().flat_map(|bounds| permissions(bounds, call)));
    settings
}

/// An enforced claim as a permission profile; the longest path that contains a file decides.
fn permissions(bounds: &Bounds<'_>, call: &Call<'_>) -> [String; 2] {
    let Opened { files, dirs, shut } = bounds.opened;
    let at =
        |path: &String| if path.is_empty() { bounds.cwd.into() } else { bounds.cwd.join(path) };
    let mut rules = vec!["\":root\"=\"read\"".to_owned()];
    let mut rule = |path: &Path, access: &str| {
        // A text of JSON is one of TOML, on one line, as a key has to be.
        let path = serde_json::Value::from(path.to_string_lossy());
        rules.push(format!("{path}=\"{access}\""));
    };
    for path in shut {
        rule(&at(path), "read");
    }
    let below = |file: &String| BELOW_A_FILE.map(|name| at(file).join(name));
    let opened = dirs.iter().chain(files).map(at).chain(files.iter().flat_map(below));
    for path in opened.chain(call.temp.map(Path::to_owned)) {
        rule(&path, "write");
    }
    let (rules, network) = (rules.join(","), call.network);
    [
        format!("default_permissions=\"{PROFILE}\""),
        format!("permissions.{PROFILE}={{filesystem={{{rules}}},network={{enabled={network}}}}}"),
    ]
}

/// What tools may reach beside the directory that they work in, and what their environment says. The folders for
/// temporary files that everybody shares are closed: through them one task could reach another, or a later one. Codex's own
/// `TMPDIR` is another matter; its home must not lie below that.
pub fn confinement(
    network: bool,
    marks: &[(&'static str, String)],
    temp: Option<&Path>,
) -> Vec<String> {
    let temp = temp.and_then(Path::to_str);
    let mut set: Vec<String> =
        marks.iter().map(|(name, value)| format!("{name}={}", quoted(value))).collect();
    set.extend(temp.map(|dir| format!("TMPDIR={}", quoted(dir))));
    let roots = temp.map(quoted).unwrap_or_default();
    vec![
        format!("sandbox_workspace_write.network_access={network}"),
        "sandbox_workspace_write.exclude_slash_tmp=true".into(),
        "sandbox_workspace_write.exclude_tmpdir_env_var=true".into(),
        format!("sandbox_workspace_write.writable_roots=[{roots}]"),
        // Keys, tokens and secrets are for codex, not for its tools.
        "shell_environment_policy.ignore_default_excludes=false".into(),
        format!("shell_environment_policy.set={{{}}}", set.join(",")),
    ]
}

/// A text as a string of TOML: what codex reads its settings as.
fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resumed_call_says_its_sandbox_before_the_word_and_its_thread_at_the_end() {
        let marks = [("NUMERUS_JOB", "j-abc234".to_owned())];
        let call = Call {
            sandbox: Sandbox::WorkspaceWrite,
            bounds: None,
            network: false,
            model: Some("m"),
            profile: Some("p"),
            last_message: Path::new("/r/last"),
            schema: None,
            resume: Some("thread"),
            marks: &marks,
            temp: Some(Path::new("/r/t \"1\"/tmp-1")),
        };
        let words: Vec<String> =
            arguments(&call).into_iter().map(|w| w.into_string().expect("text")).collect();
        let position = |word: &str| words.iter().position(|w| w == word).expect(word);
        assert!(position("-s") < position("resume") && position("-p") < position("resume"));
        assert!(position("resume") < position("--json"));
        assert_eq!(words[words.len() - 2..], ["thread", "-"]);
    }

    #[test]
    fn an_enforced_claim_names_no_sandbox_and_lists_what_may_be_written() {
        let list = |texts: &[&str]| texts.iter().map(|&text| text.to_owned()).collect();
        let opened =
            Opened { files: list(&["src/ä.rs"]), dirs: list(&["", "d d"]), shut: list(&["src"]) };
        let call = Call {
            sandbox: Sandbox::WorkspaceWrite,
            bounds: Some(Bounds { cwd: Path::new("/r/w"), opened: &opened }),
            network: true,
            model: None,
            profile: None,
            last_message: Path::new("/r/last"),
            schema: None,
            resume: Some("thread"),
            marks: &[],
            temp: Some(Path::new("/r/it's/tmp-1")),
        };
        let words: Vec<String> =
            arguments(&call).into_iter().map(|w| w.into_string().expect("text")).collect();
        assert!(!words.contains(&"-s".to_owned()), "it would win: {words:?}");
        let said: Vec<&str> =
            words.windows(2).filter(|w| w[0] == "-c").map(|w| w[1].as_str()).collect();
        let table: toml::Table = said.join("\n").parse().expect("TOML");
        let profile = table["default_permissions"].as_str().expect("a name");
        let permissions = &table["permissions"][profile];
        assert_eq!(permissions["network"]["enabled"].as_bool(), Some(true));
        let rules = permissions["filesystem"].as_table().expect("rules");
        let rules: Vec<String> =
            rules.iter().map(|(path, access)| format!("{path} {access}")).collect();
        let mut want = vec![
            r#"/r/it's/tmp-1 "write""#,
            r#"/r/w "write""#,
            r#"/r/w/d d "write""#,
            r#"/r/w/src "read""#,
            r#"/r/w/src/ä.rs "write""#,
            r#"/r/w/src/ä.rs/.agents "write""#,
            r#"/r/w/src/ä.rs/.aws "write""#,
            r#"/r/w/src/ä.rs/.codex "write""#,
            r#"/r/w/src/ä.rs/.git "write""#,
            r#":root "read""#,
        ];
        want.sort_unstable();
        let mut rules: Vec<&str> = rules.iter().map(String::as_str).collect();
        rules.sort_unstable();
        assert_eq!(rules, want);
    }

    #[test]
    fn tools_have_one_folder_for_temporary_files_and_no_other() {
        let marks = [("NUMERUS_JOB", "j-abc234".to_owned())];
        let said = |temp: Option<&Path>| -> toml::Table {
            let lines = confinement(false, &marks, temp).join("\n");
            lines.parse().expect("TOML")
        };
        let odd = "/r/it's \"1\"/\u{1}ä";
        let table = said(Some(Path::new(odd)));
        let folders = &table["sandbox_workspace_write"];
        assert_eq!(folders["writable_roots"].as_array().expect("list")[..], [odd.into()]);
        assert_eq!(folders["exclude_slash_tmp"].as_bool(), Some(true));
        assert_eq!(folders["exclude_tmpdir_env_var"].as_bool(), Some(true));
        let set = &table["shell_environment_policy"]["set"];
        assert_eq!(set["TMPDIR"].as_str(), Some(odd));
        assert_eq!(set["NUMERUS_JOB"].as_str(), Some("j-abc234"));
        let without = said(None);
        let roots = without["sandbox_workspace_write"]["writable_roots"].as_array();
        assert_eq!(roots.map(Vec::len), Some(0), "the user's own ones do not count either");
    }
}
