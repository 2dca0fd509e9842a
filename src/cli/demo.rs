//! `numerus demo`: two objectives dropped into a scratch root, the real daemon and workers on them, and the story told as
//! it happens. Only the model's part is played by the built-in stand-in.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::Args;

use super::follow::{Journals, Wake, Wakes};
use super::here::Here;
use super::ink::Tone;
use super::row::fit;
use super::{render, seams, story};
use crate::error::{Exit, Failure};
use crate::logic::state::JobState;
use crate::logic::words::plural;
use crate::model::event::{Event, Fact};
use crate::model::id::{JobId, TaskId};
use crate::model::root::Root;
use crate::model::status::JobPhase;
use crate::os::{env, fsx, random};
use crate::runs::{Runs, Want};

/// What the demo drops, as a person would: the file's name and its text.
const OBJECTIVES: [(&str, &str); 2] = [
    ("greeting.md", "Write a small greeting library in shell, with tests and notes.\n"),
    ("second-look.md", "Go over the greeting library once more and polish its notes.\n"),
];

/// The files of the demo's repository.
const FILES: [(&str, &str); 3] = [
    ("README.md", "# Scratch\n\nA repository for `numerus demo`. Do with it what you like.\n"),
    ("LICENSE", "Public domain.\n"),
    (".gitignore", "*.log\n"),
];

/// The words of the command.
#[derive(Debug, Args)]
pub(super) struct Demo {
    /// Make the scratch root in the user's state directory, where no clean-up of temporary files finds it
    #[arg(long)]
    keep: bool,
}

/// Where the demo plays.
struct Stage {
    dir: PathBuf,
    repo: PathBuf,
    root: Root,
}

/// What the demo promises to show.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    blocked: BTreeSet<(JobId, TaskId)>,
    went_after: usize,
}

impl Seen {
    /// Takes note of an event; true where a task gets GO that had NO GO before.
    fn note(&mut self, event: &Event) -> bool {
        let Some(task) = &event.task_id else { return false };
        let key = (event.job_id.clone(), task.clone());
        if let Fact::ClaimBlocked { .. } = event.fact {
            self.blocked.insert(key);
            return false;
        }
        let went = matches!(event.fact, Fact::ClaimApproved { .. }) && self.blocked.remove(&key);
        self.went_after += usize::from(went);
        went
    }
}

/// Plays the demo.
pub(super) fn run(here: &mut Here, asked: &Demo) -> Result<Exit, Failure> {
    let stage = set(asked.keep)?;
    here.out.line(&format!("numerus demo, in {}", stage.dir.display()))?;
    here.out.line(
        "The model's part is scripted: a built-in stand-in plays codex. Everything else is real:\n\
         the spool, the daemon, the workers, their terminals, claims, verdicts and commits.\n",
    )?;
    for (name, text) in OBJECTIVES {
        let file = stage.root.spool().join("incoming").join(name);
        fsx::put_new(&file, text.as_bytes()).map_err(|e| Failure::system("drop a file", &e))?;
        here.out.line(&format!("dropped {}: {}", file.display(), text.trim_end()))?;
    }
    here.out.line("$ numerus daemon --once\n")?;
    let mut wakes = Wakes::new();
    wakes.catch_signals()?;
    let log = stage.dir.join("daemon.log");
    wakes.collect(seams::spawn_self(&stage.root, &["daemon", "--once"], &log)?);
    let mut journals = Journals::of(&stage.root, true)?;
    let mut seen = Seen::default();
    if let Some(signal) = tell(here, &mut wakes, &mut journals, &mut seen)? {
        abandon(&stage.root, &journals)?;
        return Ok(Exit::Signal(signal));
    }
    epilogue(here, &stage, &journals)?;
    verdict(here, &journals, &seen, &log)
}

/// Lays out the scratch root and its repository.
fn set(keep: bool) -> Result<Stage, Failure> {
    let cannot = |e: std::io::Error| Failure::system("lay out the demo", &e);
    let parent =
        if keep { crate::root::state_dir() } else { None }.unwrap_or_else(std::env::temp_dir);
    let tail = random::base32(6).map_err(cannot)?;
    let dir = parent.join(format!("numerus-demo-{tail}"));
    let (repo, root) = (dir.join("repo"), Root::new(dir.join("root")));
    fsx::make_dirs(&repo).map_err(cannot)?;
    fsx::make_dirs(&root.spool().join("incoming")).map_err(cannot)?;
    for (name, text) in FILES {
        fsx::put_new(&repo.join(name), text.as_bytes()).map_err(cannot)?;
    }
    seams::git_write(&repo, &["init", "-q", "-b", "main"])?;
    seams::git_write(&repo, &["config", "user.name", "Numerus demo"])?;
    seams::git_write(&repo, &["config", "user.email", "numerus@localhost"])?;
    seams::git_write(&repo, &["add", "-A"])?;
    seams::git_write(&repo, &["-c", "commit.gpgsign=false", "commit", "-q", "-m", "Start"])?;
    let workspace = toml::Value::from(repo.to_string_lossy().into_owned());
    let settings = format!("rehearse = \"builtin\"\nworkspace = {workspace}\n");
    fsx::put_new(&root.settings_file(), settings.as_bytes()).map_err(cannot)?;
    Ok(Stage { dir, repo, root })
}

/// Tells what happens until the daemon has ended; the signal if one came first.
fn tell(
    here: &mut Here,
    wakes: &mut Wakes,
    journals: &mut Journals,
    seen: &mut Seen,
) -> Result<Option<u8>, Failure> {
    let mut over = false;
    loop {
        for event in journals.read(wakes)? {
            tell_one(here, &event, seen)?;
        }
        if over {
            return Ok(None);
        }
        match wakes.next() {
            Wake::Child => over = true,
            Wake::Signal(signal) => return Ok(Some(signal)),
            _ => {}
        }
    }
}

fn tell_one(here: &mut Here, event: &Event, seen: &mut Seen) -> Result<(), Failure> {
    if seen.note(event) {
        let mut line = story::line(event, true, &here.view);
        line.push_str(", after NO GO");
        return here.out.line(&line);
    }
    if !story::tell(&event.fact).minor {
        let line = story::line(event, true, &here.view);
        here.out.line(&line)?;
    }
    if let Fact::RolesAssigned { tasks, .. } = &event.fact {
        let table = render::plan_tasks(tasks, &here.view);
        here.out.text(&format!("\n{table}\n"))?;
    }
    Ok(())
}

/// Asks every job to end; the daemon ends after them.
fn abandon(root: &Root, journals: &Journals) -> Result<(), Failure> {
    for (job, state) in journals.states().filter(|(_, s)| !s.phase.is_final()) {
        let folder = Runs::of(root).folder(job);
        seams::wish(&folder, Want::Killed)?;
        if state.pid.is_some() {
            seams::terminate_worker(&folder)?;
        }
    }
    Ok(())
}

/// What came out and where it lies.
fn epilogue(here: &mut Here, stage: &Stage, journals: &Journals) -> Result<(), Failure> {
    let strong = |text: &str| here.view.ink.paint(Tone::Strong, text);
    let mut text = String::new();
    let mut next = String::new();
    for (job, state) in journals.states() {
        if let Some(branch) = &state.branch {
            let log = seams::git(&stage.repo, &["log", "--oneline", branch])?;
            let _ = write!(text, "\n{}\n{log}", strong(&format!("$ git log --oneline {branch}")));
        }
        next.push_str(&commands(&stage.root, job, state));
    }
    if let Some((job, _)) = journals.states().next() {
        let dir = stage.root.run(job);
        let heading = strong(&format!("$ ls -R {}", dir.display()));
        let _ = write!(text, "\n{heading}\n{}", tree(&files(&dir), here.view.width));
    }
    let log = format!("  git -C {} log --oneline --graph --all\n", stage.repo.display());
    let gone =
        format!("{}\n  rm -r {}\n", strong("and when you have seen enough:"), stage.dir.display());
    here.out.text(&format!("{text}\n{}\n{next}{log}{gone}", strong("look further:")))
}

fn commands(root: &Root, job: &JobId, state: &JobState) -> String {
    // The demo is mostly run before the program is on anybody's search path.
    let installed = env::find_program(Path::new("numerus"));
    let own = env::own_binary().ok().filter(|_| installed.is_none());
    let program = own.map_or_else(|| "numerus".to_owned(), |path| path.display().to_string());
    let numerus = format!("  {program} --root {}", root.path().display());
    let task = state.tasks.first().map(|t| format!("/{}", t.task.id)).unwrap_or_default();
    format!("{numerus} status {job}\n{numerus} logs {job}{task}\n{numerus} open {job}\n")
}

/// The files of a folder and of the folders in it, without the worktrees.
fn files(dir: &Path) -> Vec<String> {
    let sorted = |dir: &Path| {
        let mut names = fsx::list(dir).unwrap_or_default();
        names.sort();
        names
    };
    let mut files = Vec::new();
    for name in sorted(dir) {
        let path = dir.join(&name);
        if path.is_dir() {
            let inside = sorted(&path).into_iter().filter(|n| path.join(n).is_file());
            files.extend(inside.map(|n| format!("{name}/{n}")));
        } else {
            files.push(name);
        }
    }
    files
}

/// Paths as a tree: a folder with its files on one line.
fn tree(files: &[String], width: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    let mut folder = None;
    for file in files {
        let (parent, name) = file.split_once('/').unzip();
        match (lines.last_mut(), name) {
            (Some(line), Some(name)) if parent == folder => {
                let _ = write!(line, "  {name}");
            }
            (_, Some(name)) => lines.push(format!("{}/  {name}", parent.unwrap_or_default())),
            (_, None) => lines.push(file.clone()),
        }
        folder = parent;
    }
    lines.iter().map(|line| fit(line, width) + "\n").collect()
}

/// Whether the demo has shown what it promises.
fn verdict(here: &mut Here, journals: &Journals, seen: &Seen, log: &Path) -> Result<Exit, Failure> {
    let well = journals.states().filter(|(_, s)| s.phase == JobPhase::Succeeded).count();
    let is_good = well == OBJECTIVES.len() && seen.went_after > 0;
    here.out.line(&format!(
        "\n{well} of {} succeeded; {} got NO GO, waited and went later.",
        plural(OBJECTIVES.len(), "job"),
        plural(seen.went_after, "task")
    ))?;
    if is_good {
        return Ok(Exit::Done);
    }
    let said = fsx::read_optional(log).ok().flatten().unwrap_or_default();
    let last = said.lines().last().unwrap_or("nothing").to_owned();
    Err(Failure::new(Exit::JobFailed, "the demo did not show what it promises")
        .hint(format!("the daemon said: {}", crate::os::console::one_line(&last))))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn event(name: &str, payload: &serde_json::Value, task: &str) -> Event {
        serde_json::from_value(json!({
            "seq": 1, "ts": "2026-03-04T05:06:07Z", "event": name, "payload": payload,
            "job_id": "a-abc234", "task_id": task,
        }))
        .expect("event")
    }

    #[test]
    fn only_a_go_after_a_no_go_counts() {
        let mut seen = Seen::default();
        let go = json!({"attempt": 1});
        assert!(!seen.note(&event("job.claim_approved", &go, "t1")));
        let no = json!({"attempt": 1, "conflicts": []});
        assert!(!seen.note(&event("job.claim_blocked", &no, "t2")));
        assert!(!seen.note(&event("job.claim_blocked", &no, "t2")));
        assert!(seen.note(&event("job.claim_approved", &go, "t2")));
        assert!(!seen.note(&event("job.claim_approved", &go, "t2")));
        assert_eq!(seen.went_after, 1);
    }

    #[test]
    fn a_folder_is_shown_as_a_tree() {
        let files: Vec<String> =
            ["job.json", "plan/stdout.log", "plan/z", "t1_claim.json"].map(str::to_owned).into();
        assert_eq!(tree(&files, 80), "job.json\nplan/  stdout.log  z\nt1_claim.json\n");
        assert_eq!(tree(&files, 12), "job.json\nplan/  stdo…\nt1_claim.js…\n");
    }

    #[test]
    fn the_stage_is_a_repository_with_three_files_and_a_rehearsing_root() {
        let stage = set(false).expect("stage");
        let files = seams::git(&stage.repo, &["ls-files"]).expect("git");
        assert_eq!(files.lines().count(), FILES.len());
        assert_eq!(seams::git(&stage.repo, &["status", "--porcelain"]).expect("git"), "");
        let text = fsx::read_optional(&stage.root.settings_file()).expect("read").expect("file");
        let table: toml::Table = text.parse().expect("toml");
        let object = serde_json::to_value(table).expect("json").as_object().cloned();
        let settings = crate::model::settings::Settings::default()
            .overlaid(object.expect("object"))
            .expect("settings");
        assert_eq!(settings.rehearse.as_deref(), Some(""));
        assert_eq!(settings.workspace, Some(stage.repo.to_string_lossy().into_owned()));
        fsx::remove_tree(&stage.dir).expect("clean up");
    }
}
