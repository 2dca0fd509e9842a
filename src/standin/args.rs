//! The command line of `codex`, as far as a supervisor uses it.
//!
//! Refuses what the real one refuses, with its first line and its exit code: a supervisor that
//! gets a flag wrong must find out here.

use std::ffi::OsString;
use std::path::PathBuf;

/// One call, understood.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Call {
    /// `--version`
    Version,
    /// `login status`
    LoginStatus,
    /// `exec …`
    Exec(Box<ExecArgs>),
    /// `sandbox … -- command`
    Sandbox(SandboxArgs),
}

/// What `exec` was told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct ExecArgs {
    /// `--json`
    pub(super) json: bool,
    /// `-o`
    pub(super) last_message: Option<PathBuf>,
    /// `--output-schema`
    pub(super) schema: Option<PathBuf>,
    /// `-s`
    pub(super) sandbox: Option<String>,
    /// `-C`
    pub(super) cd: Option<PathBuf>,
    /// `-c`, in order
    pub(super) settings: Vec<String>,
    /// `--add-dir`, in order
    pub(super) add_dirs: Vec<PathBuf>,
    /// `-m`
    pub(super) model: Option<String>,
    /// `--skip-git-repo-check`
    pub(super) skip_git_check: bool,
    /// `--dangerously-bypass-approvals-and-sandbox`
    pub(super) bypass: bool,
    /// The thread named after `resume`
    pub(super) resume: Option<String>,
    /// The prompt argument; `None` and `-` both mean stdin
    pub(super) prompt: Option<String>,
}

/// What `sandbox` was told.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SandboxArgs {
    /// `-C`
    pub(super) cd: Option<PathBuf>,
    /// The command and its arguments
    pub(super) command: Vec<OsString>,
}

/// Why a call is not played: what to say, and the exit code.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    /// For stderr
    pub(super) message: String,
    /// 2 for wrong usage, else 1
    pub(super) code: u8,
}

/// Shorthand for an answer or a refusal.
pub(super) type Parsed<T> = Result<T, Refusal>;

/// Understands the words after the program's name.
///
/// # Errors
/// A [`Refusal`] with the words and the code of the real program.
pub(super) fn parse(args: Vec<OsString>) -> Parsed<Call> {
    let mut words = Words { rest: args.into_iter().collect() };
    let Some(first) = words.next() else {
        return Err(usage("error: a subcommand is needed: exec, login status or sandbox"));
    };
    match first.to_str() {
        Some("--version" | "-V") => Ok(Call::Version),
        Some("exec") => parse_exec(&mut words).map(|exec| Call::Exec(Box::new(exec))),
        Some("sandbox") => parse_sandbox(&mut words).map(Call::Sandbox),
        Some("login") if words.rest.front().is_some_and(|word| word == "status") => {
            Ok(Call::LoginStatus)
        }
        _ => Err(usage(&format!("error: unrecognized subcommand '{}'", first.to_string_lossy()))),
    }
}

fn parse_exec(words: &mut Words) -> Parsed<ExecArgs> {
    let mut exec = ExecArgs::default();
    let mut resuming = false;
    let mut plain = Vec::new();
    while let Some(word) = words.flag_or_word()? {
        match word {
            Word::Flag(flag) => exec_flag(&mut exec, &flag, words, resuming)?,
            Word::Plain(text) if text == "resume" && plain.is_empty() && !resuming => {
                resuming = true;
            }
            Word::Plain(text) => plain.push(text),
        }
    }
    let mut plain = plain.into_iter();
    if resuming {
        exec.resume = Some(
            plain.next().ok_or_else(|| usage("error: a session id is needed after 'resume'"))?,
        );
    }
    exec.prompt = plain.next().filter(|text| text != "-");
    match plain.next() {
        Some(extra) => Err(unexpected(&extra)),
        None => Ok(exec),
    }
}

/// One flag of `exec`; some are refused after `resume`, as the real one refuses them.
fn exec_flag(exec: &mut ExecArgs, flag: &str, words: &mut Words, resuming: bool) -> Parsed<()> {
    const NOT_AFTER_RESUME: [&str; 8] =
        ["-s", "--sandbox", "-C", "--cd", "--add-dir", "-p", "--profile", "--color"];
    if resuming && NOT_AFTER_RESUME.contains(&flag) {
        return Err(unexpected(flag));
    }
    match flag {
        "--json" => exec.json = true,
        "--skip-git-repo-check" => exec.skip_git_check = true,
        "--dangerously-bypass-approvals-and-sandbox" => exec.bypass = true,
        "-m" | "--model" => exec.model = Some(words.text("--model <MODEL>")?),
        "-o" | "--output-last-message" => {
            exec.last_message = Some(words.path("--output-last-message <FILE>")?);
        }
        "--output-schema" => exec.schema = Some(words.path("--output-schema <FILE>")?),
        "-s" | "--sandbox" => {
            exec.sandbox = Some(sandbox_mode(words.text("--sandbox <SANDBOX_MODE>")?)?);
        }
        "-C" | "--cd" => exec.cd = Some(words.path("--cd <DIR>")?),
        "--add-dir" => exec.add_dirs.push(words.path("--add-dir <DIR>")?),
        "-c" | "--config" => exec.settings.push(setting(words.text("--config <key=value>")?)?),
        "-p" | "--profile" => drop(words.text("--profile <CONFIG_PROFILE>")?),
        "--disable" | "--enable" => drop(words.text(&format!("{flag} <FEATURE>"))?),
        "--color" => drop(words.text("--color <COLOR>")?),
        _ => return Err(unexpected(flag)),
    }
    Ok(())
}

fn parse_sandbox(words: &mut Words) -> Parsed<SandboxArgs> {
    let mut sandbox = SandboxArgs::default();
    let mut profile = false;
    while words.rest.front().is_some_and(|word| word != "--" && is_flag(word)) {
        let Some(Word::Flag(flag)) = words.flag_or_word()? else { break };
        match flag.as_str() {
            "-C" | "--cd" => sandbox.cd = Some(words.path("--cd <DIR>")?),
            "-c" | "--config" => drop(setting(words.text("--config <key=value>")?)?),
            "-P" | "--permission-profile" => {
                profile = true;
                drop(words.text("--permission-profile <NAME>")?);
            }
            "--disable" | "--enable" => drop(words.text(&format!("{flag} <FEATURE>"))?),
            _ => return Err(unexpected(&flag)),
        }
    }
    if words.rest.front().is_some_and(|word| word == "--") {
        words.next();
    }
    sandbox.command = words.rest.drain(..).collect();
    if sandbox.cd.is_some() && !profile {
        let message = "error: the following required arguments were not provided:\n  --permission-profile <NAME>";
        return Err(usage(message));
    }
    if sandbox.command.is_empty() {
        return Err(Refusal { message: "Error: No command specified".to_owned(), code: 1 });
    }
    Ok(sandbox)
}

fn sandbox_mode(mode: String) -> Parsed<String> {
    if ["read-only", "workspace-write", "danger-full-access"].contains(&mode.as_str()) {
        return Ok(mode);
    }
    Err(usage(&format!(
        "error: invalid value '{mode}' for '--sandbox <SANDBOX_MODE>'\n  [possible values: read-only, workspace-write, danger-full-access]"
    )))
}

fn setting(text: String) -> Parsed<String> {
    if text.contains('=') {
        return Ok(text);
    }
    let message = format!("Error parsing -c overrides: Invalid override (missing '='): {text}");
    Err(Refusal { message, code: 1 })
}

fn usage(message: &str) -> Refusal {
    Refusal { message: format!("{message}\n\nFor more information, try '--help'."), code: 2 }
}

fn unexpected(flag: &str) -> Refusal {
    usage(&format!("error: unexpected argument '{flag}' found"))
}

fn is_flag(word: &OsString) -> bool {
    word.as_encoded_bytes().starts_with(b"-") && word != "-"
}

/// A word with its meaning.
enum Word {
    Flag(String),
    Plain(String),
}

/// The words not yet understood.
struct Words {
    rest: std::collections::VecDeque<OsString>,
}

impl Words {
    fn next(&mut self) -> Option<OsString> {
        self.rest.pop_front()
    }

    /// The next flag, its attached value put back as a word of its own, or the next plain word.
    fn flag_or_word(&mut self) -> Parsed<Option<Word>> {
        let Some(word) = self.next() else { return Ok(None) };
        if word == "--" {
            let word = self.next().map(into_text).transpose()?;
            return Ok(word.map(Word::Plain));
        }
        let flagged = is_flag(&word);
        let text = into_text(word)?;
        if !flagged {
            return Ok(Some(Word::Plain(text)));
        }
        Ok(Some(Word::Flag(self.split_value(text))))
    }

    /// `--flag=value` and `-fvalue` are two words written as one.
    fn split_value(&mut self, flag: String) -> String {
        let cut = if flag.starts_with("--") {
            flag.find('=').map(|at| (at, at + 1))
        } else {
            short_cut(&flag)
        };
        match cut {
            Some((end, start)) => {
                self.rest.push_front(OsString::from(&flag[start..]));
                flag[..end].to_owned()
            }
            None => flag,
        }
    }

    fn value(&mut self, what: &str) -> Parsed<OsString> {
        self.next().ok_or_else(|| {
            usage(&format!("error: a value is required for '{what}' but none was supplied"))
        })
    }

    fn path(&mut self, what: &str) -> Parsed<PathBuf> {
        self.value(what).map(PathBuf::from)
    }

    fn text(&mut self, what: &str) -> Parsed<String> {
        self.value(what).and_then(into_text)
    }
}

/// Where the value attached to a short flag begins.
fn short_cut(flag: &str) -> Option<(usize, usize)> {
    let end = flag.char_indices().nth(2).map(|(at, _)| at)?;
    "cmopsCP".contains(flag.get(1..end)?).then_some((end, end))
}

fn into_text(word: OsString) -> Parsed<String> {
    word.into_string()
        .map_err(|word| usage(&format!("error: invalid UTF-8 in '{}'", word.to_string_lossy())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(line: &str) -> Parsed<Call> {
        parse(line.split_whitespace().map(OsString::from).collect())
    }

    fn exec(line: &str) -> ExecArgs {
        match call(line) {
            Ok(Call::Exec(exec)) => *exec,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn every_flag_a_supervisor_uses_is_understood() {
        let got = exec(
            "exec --json -m m1 -p prof -o /o --output-schema /s -s read-only -C /w -c a=1 --config=b=2 -cc=3 --disable x --enable y --skip-git-repo-check --add-dir /d -",
        );
        let want = ExecArgs {
            json: true,
            last_message: Some("/o".into()),
            schema: Some("/s".into()),
            sandbox: Some("read-only".into()),
            cd: Some("/w".into()),
            settings: vec!["a=1".into(), "b=2".into(), "c=3".into()],
            add_dirs: vec!["/d".into()],
            model: Some("m1".into()),
            skip_git_check: true,
            ..ExecArgs::default()
        };
        assert_eq!(got, want);
    }

    #[test]
    fn resume_takes_a_thread_and_keeps_the_flags_before_it() {
        let got = exec("exec -s workspace-write resume --json -o /o T1 -");
        assert_eq!(got.resume.as_deref(), Some("T1"));
        assert_eq!(got.sandbox.as_deref(), Some("workspace-write"));
        assert!(got.json && got.prompt.is_none());
    }

    #[test]
    fn wrong_usage_is_refused_as_the_real_one_refuses_it() {
        let cases = [
            ("exec -x -", 2, "error: unexpected argument '-x' found"),
            ("exec --bogus", 2, "error: unexpected argument '--bogus' found"),
            ("exec resume -s read-only T -", 2, "error: unexpected argument '-s' found"),
            ("exec resume T -C /w -", 2, "error: unexpected argument '-C' found"),
            ("exec resume --add-dir /w T -", 2, "error: unexpected argument '--add-dir' found"),
            ("exec resume -p prof T -", 2, "error: unexpected argument '-p' found"),
            ("exec -s bogus -", 2, "error: invalid value 'bogus' for '--sandbox <SANDBOX_MODE>'"),
            (
                "exec -m",
                2,
                "error: a value is required for '--model <MODEL>' but none was supplied",
            ),
            ("exec -c foo -", 1, "Error parsing -c overrides: Invalid override (missing '='): foo"),
            ("exec - - -", 2, "error: unexpected argument '-' found"),
            (
                "sandbox -C /w -- true",
                2,
                "error: the following required arguments were not provided:",
            ),
            ("bogus", 2, "error: unrecognized subcommand 'bogus'"),
        ];
        for (line, code, first) in cases {
            let refusal = call(line).unwrap_err();
            assert_eq!(
                (refusal.code, refusal.message.lines().next()),
                (code, Some(first)),
                "{line}"
            );
        }
    }

    #[test]
    fn the_other_calls_are_understood() {
        assert_eq!(call("--version"), Ok(Call::Version));
        assert_eq!(call("login status"), Ok(Call::LoginStatus));
        let want = SandboxArgs {
            cd: Some("/w".into()),
            command: vec!["sh".into(), "-c".into(), "x".into()],
        };
        assert_eq!(call("sandbox -c a=b -P p -C /w -- sh -c x"), Ok(Call::Sandbox(want)));
    }

    #[test]
    fn a_prompt_may_be_an_argument() {
        assert_eq!(exec("exec hello").prompt.as_deref(), Some("hello"));
        assert_eq!(exec("exec -- -hello").prompt.as_deref(), Some("-hello"));
    }
}
