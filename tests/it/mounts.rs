//! `incoming/` and the root's folders as mounts that come, go and are missing: in a mount namespace of the daemon's own, which
//! the test looks into through `/proc`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::site::Running;
use crate::yard::{Yard, names, not_run};

/// A daemon that sees mounts which nobody else sees.
struct Apart {
    daemon: Running,
}

impl Apart {
    /// Starts a daemon after `mounts`, a line of shell; `None` where this machine lets nobody mount.
    fn start(yard: &Yard, mounts: &str) -> Option<Self> {
        Self::start_with(yard, mounts, &[])
    }

    fn start_with(yard: &Yard, mounts: &str, words: &[&str]) -> Option<Self> {
        let probe = yard.site.run(apart(yard, "mount -t tmpfs none incoming").arg("true"));
        if probe.code != Some(0) {
            not_run("mount");
            return None;
        }
        let before = yard.facts("daemon_started").len();
        let mut command = apart(yard, mounts);
        command.arg(env!("CARGO_BIN_EXE_numerus")).arg("daemon").args(words);
        let daemon = yard.site.spawn(&mut command);
        yard.until("the daemon leads", || yard.facts("daemon_started").len() > before);
        Some(Self { daemon })
    }

    /// A path as the daemon sees it.
    fn sees(&self, path: &Path) -> PathBuf {
        let inside = path.strip_prefix("/").unwrap();
        Path::new("/proc").join(self.daemon.pid().to_string()).join("root").join(inside)
    }

    /// Drops a file where the daemon's `incoming/` is.
    fn drop_file(&self, yard: &Yard, name: &str, content: impl AsRef<[u8]>) {
        let incoming = self.sees(&yard.incoming());
        let aside = incoming.join(".aside.tmp");
        fs::write(&aside, content).unwrap();
        fs::rename(aside, incoming.join(name)).unwrap();
    }

    fn drop_job(&self, yard: &Yard, stem: &str, further: &str) {
        let text = format!("---\nplan: single\nmax_attempts: 1\n{further}---\n{stem}\n");
        self.drop_file(yard, &format!("{stem}.md"), text);
    }

    /// Changes what the daemon sees mounted.
    fn remount(&self, yard: &Yard, line: &str) {
        let mut command = yard.site.command("nsenter");
        command.args(["--mount", "--target"]).arg(self.daemon.pid().to_string());
        command.args(["sh", "-ec"]).arg(line).current_dir(yard.site.root().join("spool"));
        // nsenter changes to the namespace's root; the line names whole paths.
        let ended = yard.site.run(&mut command);
        assert_eq!(ended.code, Some(0), "{ended:?}");
    }
}

/// A command that runs after `mounts` in a mount namespace of its own, started in `spool/`.
fn apart(yard: &Yard, mounts: &str) -> Command {
    let mut command = yard.site.command("unshare");
    // Who is not root is so in a user namespace.
    let is_root = rustix::process::geteuid().is_root();
    command.args(if is_root { &["--mount"][..] } else { &["--mount", "--map-root-user"] });
    command.args(["sh", "-ec", &format!("{mounts}; exec \"$@\""), "sh"]);
    command.current_dir(yard.site.root().join("spool")).env("NUMERUS_ROOT", yard.site.root());
    command
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.display())
}

/// A root whose daemon looks at everything far too rarely for a test: mounts are told of.
fn yard(name: &str) -> Yard {
    let yard = Yard::new(name);
    let plain = fs::read_to_string(yard.site.root().join("numerus.toml")).unwrap();
    yard.set_settings(&format!("{plain}rescan = \"1h\"\n"));
    assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(0), "it makes the root");
    yard
}

fn hidden(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap().flatten();
    let mut names: Vec<String> =
        entries.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

/// Both kinds of mount that a rename cannot leave: another file system, and a folder of the same one bound there.
fn kinds(yard: &Yard) -> [String; 2] {
    let bound = yard.path("bound");
    fs::create_dir_all(&bound).unwrap();
    ["mount -t tmpfs none incoming".into(), format!("mount --bind {} incoming", quoted(&bound))]
}

#[test]
fn files_are_taken_out_of_an_incoming_that_is_a_mount() {
    let yard = yard("mounted");
    for (number, mounts) in kinds(&yard).iter().enumerate() {
        let Some(apart) = Apart::start(&yard, mounts) else { return };
        let incoming = apart.sees(&yard.incoming());
        let text = "---\nplan: single\n---\nwhat to do\n";
        apart.drop_file(&yard, &format!("job{number}.md"), text);
        let job = yard.until_in("done", &format!("job{number}-"));
        let kept = fs::read_to_string(yard.folder("done").join(format!("{job}.md"))).unwrap();
        assert_eq!(kept, text);
        // Written in place, which takes the whole way of a file that settles.
        fs::write(incoming.join(format!("plain{number}.md")), text).unwrap();
        yard.until_in("done", &format!("plain{number}-"));
        assert_eq!(hidden(&incoming), [""; 0], "nothing stays there: {mounts}");
    }
}

#[test]
fn what_is_rejected_in_a_mounted_incoming_keeps_its_bytes_and_has_its_reason() {
    let yard = yard("mounted-bad");
    let Some(apart) = Apart::start(&yard, "mount -t tmpfs none incoming") else { return };
    let incoming = apart.sees(&yard.incoming());
    let large = vec![b'x'; 512 * 1024 + 1];
    apart.drop_file(&yard, "large.md", &large);
    apart.drop_file(&yard, "nul.md", "a\0b");
    std::os::unix::fs::symlink("/etc/passwd", incoming.join("link.md")).unwrap();
    fs::create_dir(incoming.join("folder.md")).unwrap();
    yard.until("all are rejected", || yard.facts("rejected").len() == 4);
    let reason = |name: &str| -> Value {
        let path = yard.folder("rejected").join(format!("{name}.reason.json"));
        serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
    };
    for (name, code) in
        [("large.md", "E_TOO_LARGE"), ("link.md", "E_NOT_REGULAR"), ("folder.md", "E_NOT_REGULAR")]
    {
        let reason = reason(name);
        assert_eq!(reason["code"], code, "{name}");
        let kept = reason["kept_as"].as_str().unwrap();
        assert_eq!(Path::new(kept), yard.incoming().join(format!(".rejected-{name}")));
        assert!(fs::symlink_metadata(apart.sees(Path::new(kept))).is_ok(), "{name} is kept");
    }
    assert_eq!(fs::read(incoming.join(".rejected-large.md")).unwrap(), large);
    assert_eq!(reason("nul.md")["code"], "E_NUL");
    assert_eq!(fs::read_to_string(yard.folder("rejected").join("nul.md")).unwrap(), "a\0b");
    assert_eq!(yard.site.jobs(), [""; 0]);
    apart.drop_job(&yard, "control", "");
    yard.until_in("done", "control-");
    assert_eq!(yard.facts("rejected").len(), 4, "each is told of once");
}

#[test]
fn a_taking_across_mounts_that_was_cut_short_anywhere_is_gone_on_with() {
    let yard = yard("mounted-cut");
    let later = "---\nnot_before: 2999-01-01T00:00:00Z\n---\nx\n";
    let runs = yard.site.root().join("runs");
    let outside = yard.path("bound");
    fs::create_dir_all(&outside).unwrap();
    // Locked and nothing else; ours and not copied; copied and not removed; copied, and changed by its writer since.
    for (job, held, claimed) in [
        ("made-abcdef", None, None),
        ("held-abcdef", Some(later), None),
        ("copied-abcdef", Some(later), Some(later)),
        ("changed-abcdef", Some("changed"), Some(later)),
    ] {
        fs::create_dir(runs.join(job)).unwrap();
        for name in ["worker.lock", "taking"] {
            fs::write(runs.join(job).join(name), "").unwrap();
        }
        let put = |folder: &Path, name: String, text: Option<&str>| {
            text.map(|text| fs::write(folder.join(name), text).unwrap())
        };
        put(&outside, format!(".claim-{job}.md"), held);
        put(&yard.folder("claimed"), format!("{job}.md"), claimed);
    }
    // Another program's file under such a name is no business of ours.
    fs::write(outside.join(".claim-strange"), "strange").unwrap();
    fs::write(outside.join(".claim-other-abcdef.md"), "other").unwrap();
    let mounts = format!("mount --bind {} incoming", quoted(&outside));
    let Some(apart) = Apart::start(&yard, &mounts) else { return };
    let claimed = ["changed-abcdef.md", "copied-abcdef.md", "held-abcdef.md"];
    yard.until("all are claimed", || {
        yard.names("claimed") == claimed
            && claimed
                .iter()
                .all(|name| yard.count(name.trim_end_matches(".md"), "job.claimed") == 1)
    });
    for name in claimed {
        assert_eq!(fs::read_to_string(yard.folder("claimed").join(name)).unwrap(), later);
    }
    let left = [".claim-other-abcdef.md", ".claim-strange", ".rejected-.claim-changed-abcdef.md"];
    yard.until("the rest is cleared away", || hidden(&outside) == left);
    assert_eq!(fs::read_to_string(outside.join(left[2])).unwrap(), "changed");
    yard.until("the empty folder is put away", || !runs.join("made-abcdef").exists());
    drop(apart);
}

#[test]
fn an_incoming_that_is_mounted_over_or_unmounted_is_watched_anew() {
    let yard = yard("remounted");
    let Some(apart) = Apart::start(&yard, "true") else { return };
    apart.drop_job(&yard, "under", "");
    yard.until_in("done", "under-");
    let incoming = quoted(&yard.incoming());
    apart.remount(&yard, &format!("mount -t tmpfs none {incoming}"));
    apart.drop_job(&yard, "over", "");
    yard.until_in("done", "over-");
    apart.remount(&yard, &format!("umount {incoming}"));
    apart.drop_job(&yard, "again", "");
    yard.until_in("done", "again-");
    let told = yard.facts("trouble").len();
    assert_eq!(told, 2, "each change is told of once: {:?}", yard.facts("trouble"));
    assert_eq!(yard.facts("daemon_started").len(), 2, "the one that made the root, and this");
}

#[test]
fn a_missing_volume_fails_no_job_and_is_said_once() {
    let yard = yard("unmounted");
    let Some(apart) = Apart::start(&yard, "true") else { return };
    let later = "not_before: 2999-01-01T00:00:00Z\n";
    apart.drop_job(&yard, "waits", later);
    let job = yard.until_in("claimed", "waits-");
    yard.until("it is taken", || yard.facts("taken").len() == 1);
    let runs = quoted(&yard.site.root().join("runs"));
    apart.remount(&yard, &format!("mount -t tmpfs none {runs}"));
    yard.until("it is said", || yard.facts("trouble").len() == 1);
    let said = yard.facts("trouble")[0]["message"].as_str().unwrap().to_owned();
    assert!(said.contains("not mounted") && said.contains("runs"), "{said}");
    apart.drop_job(&yard, "meanwhile", later);
    apart.remount(&yard, &format!("umount {runs}"));
    yard.until_in("claimed", "meanwhile-");
    assert_eq!(yard.count(&job, "job.finished"), 0, "nothing was lost");
    assert_eq!(yard.names("failed"), [""; 0]);
    assert_eq!(yard.facts("trouble").len(), 2, "{:?}", yard.facts("trouble"));
}

#[test]
fn commands_refuse_a_root_of_which_a_volume_is_missing() {
    for missing in ["spool", "runs", "store"] {
        let yard = yard(&format!("without-{missing}"));
        yard.drop_job("a", "a", "not_before: 2999-01-01T00:00:00Z\n");
        assert_eq!(yard.ask(&["daemon", "--once"]).code, Some(4));
        fs::rename(yard.site.root().join(missing), yard.path("away")).unwrap();
        fs::create_dir(yard.site.root().join(missing)).unwrap();
        for words in [&["status"][..], &["daemon", "--once"], &["submit", "x"], &["events", "a-"]] {
            let ended = yard.ask(words);
            assert_eq!(ended.code, Some(5), "{missing} {words:?}: {ended:?}");
            let named = yard.site.root().join(missing).display().to_string();
            let is_clear = ended.stderr.contains(&named) && ended.stderr.contains("not mounted");
            assert!(is_clear && ended.stderr.lines().count() <= 3, "{words:?}: {ended:?}");
        }
        assert_eq!(names(&yard.site.root().join(missing)), [""; 0], "nothing is made there");
    }
}
