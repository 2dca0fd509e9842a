//! `numerus submit`: an objective into the spool, its id onto stdout.

use std::io::{ErrorKind, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::here::Here;
use super::jobfile::{Draft, Flags, compose};
use super::live::Live;
use super::{idle, rehearsal, seams, wait};
use crate::error::{Exit, Failure};
use crate::logic::words::plural;
use crate::model::id::{JobId, TAIL_CHARS};
use crate::os::{fsx, random, seeded};

/// The words of the command.
#[derive(Debug, Args)]
pub(super) struct Submit {
    /// What is to be done; `-` reads it from stdin
    #[arg(value_name = "TEXT", conflicts_with = "file")]
    text: Option<String>,
    /// Take the objective from a file: text, Markdown with front matter, or JSON
    #[arg(short = 'f', long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Wait until the job has ended, and end with its code
    #[arg(long)]
    wait: bool,
    /// Print JSON instead of the bare id
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flags: Flags,
}

/// Submits.
pub(super) fn run(here: &mut Here, asked: &Submit) -> Result<Exit, Failure> {
    let limit = seams::open(&here.root)?.max_objective_bytes;
    let draft = match (&asked.file, asked.text.as_deref()) {
        (Some(file), _) => of_file(file, limit)?,
        (None, None) => return Err(nothing_to_submit()),
        (None, Some(text)) => said(text, limit)?,
    };
    let Submitted { job, script } = submit(here, draft, &asked.flags, false)?;
    if asked.json {
        here.out.json(&json!({"job_id": job, "root": here.root.path()}).to_string())?;
    } else {
        here.out.line(job.as_str())?;
    }
    idle::tell_untaken(here, &job);
    if !asked.wait {
        return Ok(Exit::Done);
    }
    rehearsal::tell(here, seams::script_of(&here.root, script.as_deref()).as_deref());
    wait::for_jobs(here, &[job], &mut Live::of_waiting())
}

/// A job that lies in the spool.
pub(super) struct Submitted {
    /// Its id.
    pub(super) job: JobId,
    /// The script that its file names.
    script: Option<String>,
}

/// Puts a draft into the spool: the way of `submit`, `run` and `start`. `approve` makes the job rest once it is planned.
pub(super) fn submit(
    here: &mut Here,
    mut draft: Draft,
    flags: &Flags,
    approve: bool,
) -> Result<Submitted, Failure> {
    if draft.objective.trim().is_empty() {
        return Err(
            Failure::usage("the objective is empty").hint("say in a sentence what is to be done")
        );
    }
    if approve {
        draft.options.insert("approve".into(), json!(true));
    }
    let is_named = draft.options.contains_key("workspace");
    let is_default = flags.workspace.is_none() && !is_named;
    let flags = resolved(flags, is_named)?;
    let job = compose(&draft, &flags);
    let text = |key| job.get(key).and_then(|value| value.as_str());
    let no_chance = |e: std::io::Error| Failure::system("make an id", &e);
    let id = draft.id(&random::base32(TAIL_CHARS).map_err(no_chance)?);
    if seeded::bug("acknowledged-early") {
        here.out.line(id.as_str())?;
    }
    seams::is_first_of_key(&here.root, text("key"))?;
    let [workspace, script] = ["workspace", "rehearse"].map(|key| text(key).map(str::to_owned));
    seams::submit(&here.root, &id, job)?;
    tell_where(here, workspace.as_deref(), is_default);
    Ok(Submitted { job: id, script })
}

/// Says where the job works, where nobody has said so, and what it does not see.
fn tell_where(here: &mut Here, workspace: Option<&str>, is_default: bool) {
    if let Some(found) = workspace.filter(|_| is_default) {
        here.out.note(&match top_of(Path::new(found)) {
            Some(top) if top != Path::new(found) => {
                format!("works on {found}, in the repository {}", top.display())
            }
            _ => format!("works on {found}, the repository of this directory"),
        });
    }
    if workspace.is_none() && !seams::names_workspace(&here.root) {
        let is_bare = std::env::current_dir().is_ok_and(|dir| dir.ancestors().any(is_bare));
        here.out.note(if is_bare {
            "note: this directory is in a bare repository, which has no files to work on, so the job gets \
             an empty one of its own; --workspace DIR names a checkout"
        } else {
            "note: this directory is in no repository, so the job gets an empty one of its own; \
             --workspace DIR names another"
        });
    }
    warn_of_changes(here, workspace);
}

/// The flags with their paths made absolute, and the workspace where none was named.
pub(super) fn resolved(flags: &Flags, file_names_one: bool) -> Result<Flags, Failure> {
    let here =
        std::env::current_dir().map_err(|e| Failure::system("read the current directory", &e))?;
    let mut flags = flags.clone();
    flags.workspace = match &flags.workspace {
        Some(dir) => Some(text_of(&absolute(&here, dir)?)?),
        None if file_names_one => None,
        None => repository(&here).map(text_of).transpose()?,
    };
    if let Some(script) = flags.rehearse.as_mut().filter(|s| *s != "builtin") {
        *script = text_of(&absolute(&here, script)?)?;
    }
    Ok(flags)
}

fn absolute(here: &Path, path: &str) -> Result<PathBuf, Failure> {
    let path = here.join(path);
    path.canonicalize().map_err(|e| match e.kind() {
        ErrorKind::NotFound => Failure::usage(format!("{} is not there", path.display()))
            .hint("name a path that is, or leave the option out"),
        _ => Failure::usage(format!("cannot use {}: {e}", path.display())),
    })
}

fn text_of(path: impl AsRef<Path>) -> Result<String, Failure> {
    let path = path.as_ref();
    let text = path.to_str().map(str::to_owned);
    text.ok_or_else(|| Failure::usage(format!("{} is not UTF-8", path.display())))
}

/// The directory itself if it lies in a repository, so that a job started below a top level works there.
fn repository(here: &Path) -> Option<&Path> {
    top_of(here).map(|_| here)
}

/// The top level of the repository that a directory lies in.
fn top_of(dir: &Path) -> Option<&Path> {
    // An empty `.git` is no repository: a sandbox may have left it as a mount point.
    let is_top = |dir: &&Path| dir.join(".git").is_file() || dir.join(".git/HEAD").exists();
    // Nor does a repository around a bare one count.
    dir.ancestors().take_while(|dir| !is_bare(dir)).find(is_top)
}

/// Whether a directory looks like a repository without a checkout.
fn is_bare(dir: &Path) -> bool {
    dir.join("HEAD").is_file() && dir.join("objects").is_dir() && dir.join("refs").is_dir()
}

fn warn_of_changes(here: &mut Here, workspace: Option<&str>) {
    let Some(dir) = workspace.map(Path::new) else { return };
    let status = seams::git(dir, &["status", "--porcelain", "--untracked-files=normal", "--", "."]);
    let changed = status.map_or(0, |s| s.lines().count());
    if changed > 0 {
        here.out.note(&format!(
            "note: the job starts from the last commit; it does not see {} in {}",
            plural(changed, "uncommitted change"),
            dir.display()
        ));
    }
}

/// A draft from what is said on the command line, where `-` is what is said on stdin.
pub(super) fn said(text: &str, limit: u64) -> Result<Draft, Failure> {
    Ok(if text == "-" { Draft::of_text(&stdin(limit)?) } else { Draft::of_text(text) })
}

/// A draft from a file, read as the ending of its name says.
fn of_file(path: &Path, limit: u64) -> Result<Draft, Failure> {
    let refused = |e: std::io::Error| Failure::usage(format!("cannot read the objective: {e}"));
    let path = path.canonicalize().map_err(|e| match e.kind() {
        ErrorKind::NotFound => {
            Failure::usage(format!("cannot read the objective: {} is not there", path.display()))
                .hint("name a file that is there, or say the objective itself: numerus submit TEXT")
        }
        _ => refused(fsx::at(path)(e)),
    })?;
    if path.is_dir() {
        return Err(Failure::usage(format!(
            "cannot read the objective: {} is a directory",
            path.display()
        ))
        .hint("name a file in it, or say --workspace DIR for where the job is to work"));
    }
    let bytes = fsx::read_bounded(&path, limit).map_err(refused)?;
    of_bytes(&path, bytes.ok_or_else(|| too_large(&path.display().to_string(), limit))?)
}

/// A draft from what a file of that name holds.
pub(super) fn of_bytes(path: &Path, bytes: Vec<u8>) -> Result<Draft, Failure> {
    let text = decoded(bytes)?;
    let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or("job");
    match path.extension().and_then(|e| e.to_str()) {
        Some("json") => Draft::of_json(&text, stem),
        Some("md") => {
            let (options, objective) = seams::front_matter(&text)?;
            Ok(Draft { objective, options, stem: stem.to_owned() })
        }
        _ => Ok(Draft { stem: stem.to_owned(), ..Draft::of_text(&text) }),
    }
}

fn stdin(limit: u64) -> Result<String, Failure> {
    let mut bytes = Vec::new();
    std::io::stdin()
        .take(limit + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| Failure::usage(format!("cannot read stdin: {e}")))?;
    if bytes.len() as u64 > limit {
        return Err(too_large("stdin", limit));
    }
    decoded(bytes)
}

fn nothing_to_submit() -> Failure {
    Failure::usage("nothing to submit")
        .hint("say in a sentence what is to be done: numerus submit \"Fix the login\"")
        .hint("or name a file: numerus submit --file fix-login.md; `-` reads stdin")
}

fn too_large(what: &str, limit: u64) -> Failure {
    Failure::usage(format!("{what} is too large for an objective: at most {limit} bytes"))
        .hint("say less and put the rest into a file of the repository, or raise `max_objective` in numerus.toml")
}

fn decoded(bytes: Vec<u8>) -> Result<String, Failure> {
    String::from_utf8(bytes)
        .map_err(|_| Failure::usage("the objective is not UTF-8").hint("save it as UTF-8"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, bytes: &[u8]) -> Result<Draft, Failure> {
        let dir = tempfile::tempdir().expect("scratch");
        let path = dir.path().join(name);
        fsx::put_new(&path, bytes).expect("file");
        of_file(&path, 1024)
    }

    #[test]
    fn a_file_is_read_as_its_ending_says() {
        let draft = file("Fix login.json", br#"{"objective": "o", "priority": 3}"#).expect("json");
        assert_eq!((draft.objective.as_str(), draft.stem.as_str()), ("o", "Fix login"));
        assert_eq!(draft.options.get("priority"), Some(&json!(3)));
        let draft = file("task", b"{\"objective\": 1}").expect("text");
        assert_eq!(draft.objective, "{\"objective\": 1}");
        assert_eq!(file("x.md", b"# Title\n").expect("md").objective, "# Title\n");
    }

    #[test]
    fn a_file_that_cannot_be_an_objective_is_bad_input() {
        for bytes in [&b"\xff\xfe"[..], &vec![b'x'; 1025]] {
            assert_eq!(file("x.txt", bytes).expect_err("refused").kind, Exit::Usage);
        }
        assert_eq!(of_file(Path::new("/nonexistent"), 1024).expect_err("absent").kind, Exit::Usage);
    }

    #[test]
    fn only_a_directory_in_a_repository_is_a_workspace_by_itself() {
        let dir = tempfile::tempdir().expect("scratch");
        let below = dir.path().join("repo/src");
        fsx::make_dirs(&below).expect("dirs");
        fsx::make_dirs(&dir.path().join("repo/.git"))
            .expect("an empty folder, as a sandbox leaves it");
        assert_eq!(repository(&below), None);
        fsx::put_new(&dir.path().join("repo/.git/HEAD"), b"ref: refs/heads/main")
            .expect("a repository");
        assert_eq!(repository(&below), Some(below.as_path()));
    }
}
