//! A root with a watched spool in which a script plays the agent: files are dropped, daemons come and go, folders tell.
//!
//! Every objective claims `out.txt` and writes it. One whose text holds `hold-` says that it was reached (`ready-TEXT`)
//! and rests until it is let go (`go-TEXT`); one that holds `bad-` fails. Nothing outlives the yard.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

pub(crate) use crate::site::not_run;
use crate::site::{Ended, PATIENCE, Running, Site, processes_with_env};

/// The watched root; see the head of this file.
pub(crate) struct Yard {
    pub(crate) site: Site,
}

impl Yard {
    /// Makes a root where nothing runs yet.
    pub(crate) fn new(name: &str) -> Self {
        let yard = Self { site: Site::new(name) };
        let (script, settings) = (yard.path("script.json"), yard.site.root().join("numerus.toml"));
        fs::write(&script, yard.script().to_string()).unwrap();
        fs::write(
            settings,
            format!("rehearse = \"{}\"\nrehearsal_commands = true\n", script.display()),
        )
        .unwrap();
        fs::create_dir_all(yard.incoming()).unwrap();
        yard
    }

    /// Submits, and tells the job's id.
    pub(crate) fn submit(&self, words: &[&str]) -> String {
        let ended = self.site.run(self.numerus(&["submit"]).args(words));
        assert_eq!(ended.code, Some(0), "{ended:?}");
        ended.stdout.trim_end().to_owned()
    }

    /// As [`Yard::ask`], with an editor.
    pub(crate) fn ask_editing(&self, editor: &str, words: &[&str]) -> Ended {
        self.site.run(self.numerus(words).env("EDITOR", editor))
    }

    fn script(&self) -> Value {
        let claim = json!({"task_id": "{{task}}", "execution": {"commands": []},
                           "resources": {"reads": [], "writes": ["out.txt"]}});
        let (ready, go) = (self.path("ready-{{objective}}"), self.path("go-{{objective}}"));
        let write = json!({"write": {"path": "out.txt", "text": "{{objective}}\n"}});
        let reached = json!({"touch_ready": {"path": ready}});
        let rest = json!({"wait_for": {"path": go, "deadline_ms": 60_000}});
        let failing = json!({"fail": {"message": "no", "info": "other"}});
        json!({"version": 1, "scenes": [
            {"when": {"marker": "NUMERUS_CLAIM"}, "play": [{"message": claim}]},
            {"when": {"marker": "NUMERUS_EXECUTE", "contains": "bad-"}, "play": [failing]},
            {"when": {"marker": "NUMERUS_EXECUTE", "contains": "hold-"},
             "play": [reached, rest, write, {"message": "done"}]},
            {"when": {"marker": "NUMERUS_EXECUTE"}, "play": [write, {"message": "done"}]},
            {"when": {"marker": "NUMERUS_QUEEN"},
             "play": [{"message": {"decision": "give_up", "advice": "no"}}]},
        ]})
    }

    /// A path beside the root.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.site.path().join(name)
    }

    /// `spool/incoming`.
    pub(crate) fn incoming(&self) -> PathBuf {
        self.folder("incoming")
    }

    /// A folder of the spool.
    pub(crate) fn folder(&self, place: &str) -> PathBuf {
        self.site.root().join("spool").join(place)
    }

    /// The program under test, in a place where no repository lies above; there is no codex here.
    pub(crate) fn numerus(&self, words: &[&str]) -> std::process::Command {
        let mut command = self.site.command(env!("CARGO_BIN_EXE_numerus"));
        command.env("NUMERUS_ROOT", self.site.root()).current_dir("/").args(words);
        command
    }

    /// Runs a command to its end.
    pub(crate) fn ask(&self, words: &[&str]) -> Ended {
        self.site.run(&mut self.numerus(words))
    }

    /// As [`Yard::ask`], with a yes for whoever asks.
    pub(crate) fn agree(&self, words: &[&str]) -> Ended {
        self.site.run_typing("y\n", &mut self.numerus(words))
    }

    /// Breaks the settings of a running daemon, or mends them.
    pub(crate) fn set_settings(&self, text: &str) {
        fs::write(self.site.root().join("numerus.toml"), text).unwrap();
    }

    /// Starts a daemon and waits until it leads.
    pub(crate) fn daemon(&self, words: &[&str]) -> Running {
        let running = self.spare(words);
        let pid = running.pid();
        self.until("the daemon leads", || {
            self.facts("daemon_started").iter().any(|fact| fact["pid"] == pid)
        });
        running
    }

    /// Starts a daemon that may have to stand by.
    pub(crate) fn spare(&self, words: &[&str]) -> Running {
        let mut command = self.numerus(&["daemon"]);
        self.site.spawn(command.args(words))
    }

    /// Looks until it is so.
    pub(crate) fn until(&self, what: &str, condition: impl FnMut() -> bool) {
        self.site.until(what, PATIENCE, condition);
    }

    /// Drops a whole file: written elsewhere, then renamed.
    pub(crate) fn drop_file(&self, name: &str, content: impl AsRef<[u8]>) {
        let aside = self.path("aside");
        fs::write(&aside, content).unwrap();
        fs::rename(aside, self.incoming().join(name)).unwrap();
    }

    /// Drops a job that plans nothing, with further lines of front matter.
    pub(crate) fn drop_job(&self, stem: &str, objective: &str, further: &str) {
        let text = format!("---\nplan: single\nmax_attempts: 1\n{further}---\n{objective}\n");
        self.drop_file(&format!("{stem}.md"), text);
    }

    /// The names in a folder of the spool, in order.
    pub(crate) fn names(&self, place: &str) -> Vec<String> {
        names(&self.folder(place))
    }

    /// The one job whose id starts so, once there is one.
    pub(crate) fn job(&self, start: &str) -> Option<String> {
        self.site.jobs().into_iter().find(|name| name.starts_with(start))
    }

    /// Waits until the job that starts so lies in that folder, and tells its id.
    pub(crate) fn until_in(&self, place: &str, start: &str) -> String {
        self.until(&format!("{start} lies in {place}"), || {
            self.names(place).iter().any(|name| name.starts_with(start))
                && self.job(start).is_some()
        });
        self.job(start).expect("seen just now")
    }

    /// Drops a job that rests, waits until it is taken, and tells its id.
    pub(crate) fn resting(&self, stem: &str) -> String {
        let before = self.facts("taken").len();
        self.drop_job(stem, stem, "not_before: 2999-01-01T00:00:00Z\n");
        self.until("it is taken", || self.facts("taken").len() > before);
        self.job(&format!("{stem}-")).unwrap()
    }

    /// A job's run folder.
    pub(crate) fn run(&self, job: &str) -> PathBuf {
        self.site.root().join("runs").join(job)
    }

    /// Waits until the held execution of this objective has begun.
    pub(crate) fn until_reached(&self, objective: &str) {
        let ready = self.path(&format!("ready-{objective}"));
        self.until(&format!("{objective} is reached"), || ready.exists());
    }

    /// Lets the held execution of this objective go on.
    pub(crate) fn let_go(&self, objective: &str) {
        fs::write(self.path(&format!("go-{objective}")), "").unwrap();
    }

    /// What the daemons have recorded under this name.
    pub(crate) fn facts(&self, event: &str) -> Vec<Value> {
        let text = fs::read_to_string(self.site.root().join("store/daemon.ndjson"));
        let text = text.unwrap_or_default();
        let lines = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["event"] == event).map(|mut line| line["payload"].take()).collect()
    }

    /// Looks until the daemon has told of trouble in these words; whoever does something else in that moment may tell of its own.
    pub(crate) fn until_told(&self, words: &str) {
        let tells =
            |fact: &Value| fact["message"].as_str().is_some_and(|said| said.contains(words));
        self.until(&format!("\"{words}\" is told"), || self.facts("trouble").iter().any(tells));
    }

    /// How often an event stands in a job's journal.
    pub(crate) fn count(&self, job: &str, event: &str) -> usize {
        self.site.journal(job).iter().filter(|line| line["event"] == event).count()
    }

    /// The reason and the message of a job's end.
    pub(crate) fn end_of(&self, job: &str) -> (String, String) {
        let journal = self.site.journal(job);
        let end = journal.iter().find(|line| line["event"] == "job.finished").expect("an end");
        let text = |key: &str| end["payload"][key].as_str().unwrap_or_default().to_owned();
        (text("reason"), text("message"))
    }

    /// The process that was started last for a job.
    pub(crate) fn worker(&self, job: &str) -> u32 {
        let started: Vec<Value> = self.facts("started");
        let of_job = started.iter().rev().find(|fact| fact["job"] == job).expect("a start");
        u32::try_from(of_job["pid"].as_u64().unwrap()).unwrap()
    }

    /// The processes of this yard that live.
    pub(crate) fn processes(&self) -> Vec<u32> {
        processes_with_env("NUMERUS_ROOT", self.site.root().to_str().unwrap())
    }
}

impl Drop for Yard {
    fn drop(&mut self) {
        for pid in self.processes() {
            kill(pid);
        }
    }
}

/// Kills a process that this test has started; one that is gone is fine.
pub(crate) fn kill(pid: u32) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    let _gone_already = kill_process(pid, Signal::KILL);
}

/// The names in a folder, in order, but for hidden ones.
pub(crate) fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let name = |entry: fs::DirEntry| entry.file_name().to_string_lossy().into_owned();
    let mut names: Vec<String> = entries.map(name).filter(|name| !name.starts_with('.')).collect();
    names.sort();
    names
}

/// A command ended so, and said that.
pub(crate) fn said(ended: &Ended, code: i32, words: &str) {
    assert_eq!(ended.code, Some(code), "{ended:?}");
    let all = format!("{}{}", ended.stdout, ended.stderr);
    assert!(all.contains(words), "{words}: {ended:?}");
}
