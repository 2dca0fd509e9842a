//! `codex exec`: everything between the flags and the scene.
//!
//! Checks in the order of the real program, with its words: what a supervisor gets wrong fails
//! here, before or after `thread.started`, as it would there.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use super::args::ExecArgs;
use super::change::Ground;
use super::output::{Output, complain, lost_reader};
use super::play::Stage;
use super::policy::{self, Policy};
use super::rollout::{Rollout, RolloutError, is_id};
use super::scene::{self, Cue};
use super::script::{self, Fail, Script, Step};
use super::signals::Ear;
use super::turn::Turn;
use super::{calls, door};

/// The longest prompt, in characters.
const MAX_PROMPT: usize = 1_048_576;

/// What went wrong before the turn; the words for stderr.
type Prepared<T> = Result<T, String>;

/// What is settled before the thread is opened.
struct Call {
    home: PathBuf,
    cwd: PathBuf,
    prompt: String,
    script: Script,
    answer: Option<File>,
    ear: Ear,
}

/// Plays one `exec`; the exit code.
pub(super) fn run(args: &ExecArgs) -> u8 {
    let played = prepare(args).and_then(|call| perform(args, call));
    played.unwrap_or_else(|message| {
        complain(&message);
        1
    })
}

fn prepare(args: &ExecArgs) -> Prepared<Call> {
    let ear = Ear::open().map_err(|error| format!("cannot listen for signals: {error}"))?;
    let home = find_home()?;
    let script = door::variable("NUMERUS_STANDIN_SCRIPT").map(PathBuf::from);
    let script = script::load(script.as_deref())
        .map_err(|error| format!("numerus stand-in: cannot {error}"))?;
    let cwd = find_cwd(args)?;
    check_schema(args)?;
    let prompt = match &args.prompt {
        Some(prompt) => prompt.clone(),
        None => read_prompt(&mut io::stdin().lock())?,
    };
    check_trust(args, &cwd)?;
    let answer = args.last_message.as_deref().map(open_answer).transpose()?;
    Ok(Call { home, cwd, prompt, script, answer, ear })
}

/// The folder of transcripts. The real one falls back to the user's own; the stand-in does not put
/// played transcripts among real ones.
fn find_home() -> Prepared<PathBuf> {
    let home =
        door::variable("CODEX_HOME").ok_or("Error finding codex home: CODEX_HOME is not set")?;
    let home = PathBuf::from(home);
    if home.is_dir() {
        return Ok(home);
    }
    Err(format!(
        "Error finding codex home: CODEX_HOME points to \"{}\", but that path does not exist",
        home.display()
    ))
}

fn find_cwd(args: &ExecArgs) -> Prepared<PathBuf> {
    let cwd = args.cd.clone().unwrap_or_else(|| PathBuf::from("."));
    cwd.canonicalize().map_err(|error| {
        format!("Error: cannot use {} as working directory: {error}", cwd.display())
    })
}

/// The schema is read and must be JSON; answers are never held against it.
fn check_schema(args: &ExecArgs) -> Prepared<()> {
    let Some(path) = &args.schema else { return Ok(()) };
    let text = std::fs::read_to_string(path).map_err(|error| {
        format!("Failed to read output schema file {}: {error}", path.display())
    })?;
    match serde_json::from_str::<serde_json::Value>(&text) {
        Ok(_) => Ok(()),
        Err(error) => {
            Err(format!("Output schema file {} is not valid JSON: {error}", path.display()))
        }
    }
}

fn read_prompt(input: &mut impl io::Read) -> Prepared<String> {
    let mut bytes = Vec::new();
    input
        .read_to_end(&mut bytes)
        .map_err(|error| format!("Failed to read prompt from stdin: {error}"))?;
    let prompt = String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        format!("Failed to read prompt from stdin: input is not valid UTF-8 (invalid byte at offset {at}).")
    })?;
    if prompt.trim().is_empty() {
        return Err("No prompt provided via stdin.".to_owned());
    }
    Ok(prompt)
}

fn check_trust(args: &ExecArgs, cwd: &Path) -> Prepared<()> {
    if args.skip_git_check
        || args.bypass
        || cwd.ancestors().any(|folder| folder.join(".git").exists())
    {
        return Ok(());
    }
    Err("Not inside a trusted directory and --skip-git-repo-check was not specified.".to_owned())
}

/// Opens the file for the last message without touching what it holds.
#[expect(clippy::disallowed_methods, reason = "codex's write, not ours")]
fn open_answer(path: &Path) -> Prepared<File> {
    OpenOptions::new().create(true).write(true).truncate(false).open(path).map_err(|error| {
        format!("Error: Failed to open last message file \"{}\": {error}", path.display())
    })
}

fn perform(args: &ExecArgs, call: Call) -> Prepared<u8> {
    let rollout = open_thread(args, &call)?;
    let resumed = args.resume.as_deref().is_some_and(is_id);
    let cue = Cue::new(call.prompt, resumed);
    let settings = policy::settings(&args.settings);
    let policy = Policy::of(args, &settings, &call.cwd);
    let gate = door::variable("NUMERUS_STANDIN_COMMANDS").is_some_and(|value| value == "1");
    let filling = cue.filling(&call.cwd);
    let turn = match Turn::open(Output::new(args.json), rollout) {
        Ok(turn) => turn,
        Err(error) => return Ok(lost_reader(&error)),
    };
    if cue.length() > MAX_PROMPT {
        let limit = format!("Input exceeds the maximum length of {MAX_PROMPT} characters.");
        return Err(format!("Error: turn/start: turn/start failed: {limit}"));
    }
    let steps = choose(&call.script, &cue, &call.home)?;
    let ground = Ground { cwd: call.cwd, policy, gate };
    let mut stage = Stage { turn, ground, settings, filling, ear: call.ear, ran: Vec::new() };
    let (code, completed) = stage.play(&steps);
    if let (Some(answer), true) = (call.answer, completed) {
        give_answer(answer, args, stage.turn.last_message.as_deref())?;
    }
    Ok(code)
}

/// A word that has not the form of an id silently starts a new thread, as in the real one.
fn open_thread(args: &ExecArgs, call: &Call) -> Prepared<Rollout> {
    let opened = match args.resume.as_deref().filter(|thread| is_id(thread)) {
        Some(thread) => Rollout::resume(&call.home, thread),
        None => Rollout::begin(&call.home, &call.cwd),
    };
    opened.map_err(|error| match error {
        RolloutError::Io { .. } => format!("Error: cannot {error}"),
        _ => format!("Error: thread/resume: thread/resume failed: {error}"),
    })
}

/// The steps to play; a prompt that no scene answers fails its turn.
fn choose(script: &Script, cue: &Cue, home: &Path) -> Prepared<Vec<Step>> {
    let chosen = scene::choose(&script.scenes, cue, |index| calls::take_number(home, index));
    match chosen
        .map_err(|error| format!("numerus stand-in: cannot count the calls of a scene: {error}"))?
    {
        Some(scene) => Ok(scene.play.clone()),
        None => Ok(vec![unanswered(cue)]),
    }
}

fn unanswered(cue: &Cue) -> Step {
    let (marker, task) = (cue.marker(), cue.fact("TASK_ID").unwrap_or("none"));
    let message = format!(
        "the stand-in's script has no scene for the marker `{marker}` and the task `{task}`"
    );
    Step::Fail(Fail { message, info: None, resets_at: None, status: None })
}

fn give_answer(mut answer: File, args: &ExecArgs, message: Option<&str>) -> Prepared<()> {
    if message.is_none() {
        let path = args.last_message.as_deref().unwrap_or(Path::new("-"));
        complain(&format!(
            "Warning: no last agent message; wrote empty content to {}",
            path.display()
        ));
    }
    let written = answer
        .set_len(0)
        .and_then(|()| answer.rewind())
        .and_then(|()| answer.write_all(message.unwrap_or_default().as_bytes()));
    written.map_err(|error| format!("Error: Failed to write the last message: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prompt_is_text_and_not_empty() {
        let cases: [(&[u8], Result<&str, &str>); 4] = [
            (b"hi\n", Ok("hi\n")),
            (b"", Err("No prompt provided via stdin.")),
            (b" \n", Err("No prompt provided via stdin.")),
            (b"ab\xffc", Err("(invalid byte at offset 2).")),
        ];
        for (bytes, want) in cases {
            match (read_prompt(&mut &*bytes), want) {
                (Ok(got), Ok(want)) => assert_eq!(got, want),
                (Err(got), Err(want)) => assert!(got.ends_with(want), "{got}"),
                (got, _) => panic!("{bytes:?}: {got:?}"),
            }
        }
    }
}
