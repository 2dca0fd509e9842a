//! The examples for services, CI and containers: each is well formed, says what it must not miss, and calls the program in a
//! way that it takes.

use std::fs;
use std::path::{Path, PathBuf};

use saphyr_parser::{Event, Parser};

use crate::docs::{help, wrong_calls};
use crate::yard::{Yard, not_run};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/deploy")
}

fn text(name: &str) -> String {
    fs::read_to_string(folder().join(name)).unwrap()
}

/// The scalars of a YAML text, in order; panics where it is none.
fn scalars(text: &str) -> Vec<String> {
    let scalar = |event| match event {
        Event::Scalar(value, ..) => Some(value.into_owned()),
        _ => None,
    };
    Parser::new_from_str(text).filter_map(|next| scalar(next.expect("YAML").0)).collect()
}

#[test]
fn every_example_is_listed_and_has_a_check() {
    let readme = text("README.md");
    let mut names = crate::yard::names(&folder());
    names.retain(|name| name != "README.md");
    let checked = [
        "compose.yaml",
        "crontab",
        "github-actions.yml",
        "gitlab-ci.yml",
        "numerus.service",
        "numerus.user.service",
    ];
    assert_eq!(names, checked);
    for name in names {
        assert!(readme.contains(&format!("]({name})")), "{name} is listed");
    }
}

#[test]
fn systemd_takes_the_units_and_they_leave_workers_alone() {
    let yard = Yard::new("units");
    for (name, installed, scope) in [
        ("numerus.service", "/usr/local/bin/numerus", "--system"),
        ("numerus.user.service", "%h/.cargo/bin/numerus", "--user"),
    ] {
        let unit = text(name);
        for line in ["KillMode=process", "OOMPolicy=continue", "Restart=on-failure", "Delegate=yes"]
        {
            assert!(unit.lines().any(|l| l == line), "{name}: {line}");
        }
        let forbidden =
            ["RestrictNamespaces", "PrivateUsers", "PrivateTmp", "ProtectProc", "ProtectKernel"];
        let sets = |word: &&&str| unit.lines().any(|line| line.starts_with(**word));
        assert_eq!(forbidden.iter().find(sets), None, "{name}");
        // The program and its user are there where it is installed, not here.
        let here = unit.replace(installed, env!("CARGO_BIN_EXE_numerus"));
        let here = here.replace("User=numerus", "User=root").replace("Group=numerus", "Group=root");
        let copy = yard.path("numerus.service");
        fs::write(&copy, here).unwrap();
        let mut verify = yard.site.command("systemd-analyze");
        verify.env("XDG_RUNTIME_DIR", yard.path("tmp")).args([scope, "--man=no", "verify"]);
        if !Path::new("/usr/bin/systemd-analyze").exists() {
            not_run("systemd-analyze");
            continue;
        }
        let ended = yard.site.run(verify.arg(&copy));
        // What it says of other units of the machine is not about this one.
        let said: Vec<&str> = ended.stderr.lines().filter(|l| l.contains("numerus")).collect();
        assert!(said.is_empty(), "{name}: {ended:?}");
        fs::write(&copy, unit.replace("KillMode=process", "KilMode=process")).unwrap();
        let mut verify = yard.site.command("systemd-analyze");
        verify.env("XDG_RUNTIME_DIR", yard.path("tmp")).args([scope, "--man=no", "verify"]);
        let ended = yard.site.run(verify.arg(&copy));
        assert!(ended.stderr.contains("KilMode"), "a wrong line is seen: {ended:?}");
    }
}

#[test]
fn pipelines_and_compose_are_yaml_with_what_they_need_and_hold_no_secret() {
    let compose = scalars(&text("compose.yaml"));
    for needed in
        ["spool:/numerus/spool", "runs:/numerus/runs", "store:/numerus/store", "seccomp=unconfined"]
    {
        assert!(compose.iter().any(|s| s == needed), "{needed}");
    }
    let actions = scalars(&text("github-actions.yml"));
    assert!(actions.iter().any(|s| s == "${{ secrets.CODEX_API_KEY }}"));
    // What somebody types never becomes part of a script.
    let scripts = actions.iter().filter(|s| s.contains("numerus ") || s.contains("gh pr"));
    assert!(scripts.clone().count() > 2);
    assert_eq!(scripts.filter(|s| s.contains("${{")).count(), 0);
    assert!(scalars(&text("gitlab-ci.yml")).iter().any(|s| s == "danger-full-access"));
    for name in crate::yard::names(&folder()) {
        assert!(!text(&name).contains("sk-"), "{name}");
    }
}

#[test]
fn every_call_in_the_examples_is_one_that_the_program_takes() {
    let mut calls = 0;
    for name in crate::yard::names(&folder()) {
        let text = text(&name);
        let lines = text.lines().filter_map(|line| {
            let at = line.find("numerus numerus ").map(|at| at + 8);
            let at = at.or_else(|| line.find(" numerus ").map(|at| at + 1))?;
            let call = line[at..].trim_end_matches('`');
            // Words of a sentence, or of another program, are no call.
            let is_call = call
                .split(' ')
                .nth(1)
                .is_some_and(|w| w.starts_with("--root") || help(Some(w)).is_some());
            is_call.then(|| call.to_owned())
        });
        let lines: Vec<String> = lines.collect();
        calls += lines.len();
        let wrong = wrong_calls(&format!("```sh\n{}\n```\n", lines.join("\n")), &help);
        assert_eq!(wrong, [""; 0], "{name}");
    }
    assert!(calls > 8, "{calls} calls found");
}

#[test]
fn the_program_is_one_file_that_needs_no_other_of_its_own() {
    let yard = Yard::new("one-file");
    let (own, elsewhere) = (Path::new(env!("CARGO_MANIFEST_DIR")), tempfile::tempdir().unwrap());
    let copy = elsewhere.path().join("numerus");
    fs::copy(env!("CARGO_BIN_EXE_numerus"), &copy).unwrap();
    // In a mount namespace in which nothing of the source is there.
    let script = "mount -t tmpfs none \"$1\" && cd \"$2\" && export HOME=\"$2\" TMPDIR=\"$2\" && ./numerus demo && \
                  ./numerus man > page && ./numerus completions zsh > script && ./numerus init root && ls root";
    let mut command = yard.site.command("unshare");
    command.current_dir("/").args(["--mount", "--map-root-user", "sh", "-c", script, "sh"]);
    let ended = yard.site.run(command.arg(own).arg(elsewhere.path()));
    if ended.stderr.contains("unshare:") || ended.stderr.contains("mount:") {
        return not_run("a mount namespace of its own (user namespaces or root)");
    }
    assert_eq!(ended.code, Some(0), "{ended:?}");
    assert!(ended.stdout.ends_with("numerus.toml\nruns\nspool\nstore\n"), "{ended:?}");
}
