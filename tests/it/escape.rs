//! Agents that try to get out of their claim: nothing of it lands, and the user's checkout never changes.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use crate::model_server::{Answer, ModelRequest, ModelServer};
use crate::site::Site;

fn only_job(site: &Site) -> String {
    let runs = fs::read_dir(site.root().join("runs")).unwrap();
    let mut jobs =
        runs.map(|e| e.unwrap().file_name().into_string().unwrap()).filter(|n| !n.starts_with('.'));
    jobs.next().expect("a job")
}

/// A model that plans the given tasks, claims what is said for each, and runs one command to execute it.
fn model(
    tasks: Vec<(String, Vec<String>)>,
    command: impl Fn(&str) -> String + Send + Sync + 'static,
) -> impl Fn(&ModelRequest) -> Answer + Send + Sync + 'static {
    let planned = |(id, writes): &(String, Vec<String>)| {
        json!({"id": id, "summary": format!("try {id}"), "description": "x", "dependencies": [],
               "resources": {"reads": [], "writes": writes}})
    };
    let role = |(id, _): &(String, Vec<String>)| json!({"id": id, "role": "executor", "notes": ""});
    let plan = json!({"objective": "o", "tasks": tasks.iter().map(planned).collect::<Vec<_>>()});
    let roles =
        json!({"roles": tasks.iter().map(role).collect::<Vec<_>>(), "strategy": "each its own"});
    move |request| {
        let task = request.fact("TASK_ID").unwrap_or_default();
        let writes = tasks.iter().find(|(id, _)| *id == task).map(|(_, writes)| writes);
        match request.marker().split(' ').next().unwrap_or_default() {
            "NUMERUS_PLAN" => Answer::json(&plan),
            "NUMERUS_ROLES" => Answer::json(&roles),
            "NUMERUS_CLAIM" => {
                Answer::json(&json!({"task_id": task, "resources": {"reads": [], "writes": writes},
                                                     "execution": {"commands": []}}))
            }
            "NUMERUS_EXECUTE" if request.tool_outputs().is_empty() => Answer::exec(&command(&task)),
            "NUMERUS_EXECUTE" => Answer::say(request.tool_outputs().concat()),
            "NUMERUS_QUEEN" => Answer::json(&json!({"decision": "skip", "advice": ""})),
            other => panic!("nobody plays {other:?}"),
        }
    }
}

/// The shell text that writes down, for each folder, whether a file could be made in it.
fn probe(folders: &[PathBuf], into: &str) -> String {
    let list: Vec<String> = folders.iter().map(|f| format!("'{}'", f.display())).collect();
    format!(
        "for f in {} \"$TMPDIR\"; do if (: > \"$f/probe\") 2>&-; then echo \"yes $f\"; else echo \"no $f\"; fi; done > {into}",
        list.join(" ")
    )
}

#[test]
fn a_task_and_a_command_write_in_their_tree_and_their_own_temporary_folder_alone() {
    let site = Site::new("box");
    let repo = site.git_repo();
    let tasks = ["one", "two"].map(|t| (t.to_owned(), vec![format!("{t}.txt")])).to_vec();
    let shared = ["/tmp", "/var/tmp"].map(PathBuf::from);
    let ours = ["", "codex", "home", "root/runs", "root/store", "root/spool", "repo", "repo/.git"]
        .map(|name| site.path().join(name));
    let closed = [&shared[..], &ours[..]].concat();
    let run = "$(dirname \"$(dirname \"$PWD\")\")";
    let text = probe(&closed, "$T.txt");
    let near = format!(
        "for f in {run} {run}/one {run}/two {run}/one/tree-1 {run}/two/tree-1; do (: > $f/beside) 2>&- && \
         echo \"near $f\" >> $T.txt; done"
    );
    let server = ModelServer::start(model(tasks, move |task| {
        format!(
            "T={task}; {text}; {near}; echo mine > $TMPDIR/kept; mv beside gone 2>&-; unlink gone; echo here=$PWD >> $T.txt"
        )
    }));
    server.write_config(&site.codex_home());
    let check = probe(&closed, "probed");
    let passes = format!(
        "{check}; cat probed; test -z \"$CODEX_API_KEY\" && test \"$(grep -c ^yes probed)\" = 1 && mktemp"
    );
    let words = ["run", "do it", "--workspace", repo.to_str().unwrap(), "--verify", &passes];
    let setup = ["--setup", "echo x > $TMPDIR/x && test \"$NUMERUS_TASK\" != ''"];
    let mut command = site.numerus(words.into_iter().chain(setup));
    let ended = site.run(command.env("CODEX_API_KEY", "secret"));
    assert_eq!(ended.code, Some(0), "{ended:?}\n{}", site.dump());
    let job = only_job(&site);
    let folder = site.root().join("runs").join(&job);
    for task in ["one", "two"] {
        let told = site.git(&repo, &["show", &format!("numerus/{job}:{task}.txt")]);
        let temp = folder.join(task).join("tmp-1");
        let open: Vec<&str> = told.lines().filter_map(|l| l.strip_prefix("yes ")).collect();
        assert_eq!(open, [temp.to_str().unwrap()], "{told}");
        let near: Vec<&str> = told.lines().filter_map(|l| l.strip_prefix("near ")).collect();
        assert_eq!(near, [folder.join(task).join("tree-1").to_str().unwrap()], "{told}");
        assert!(!temp.exists(), "it goes with the attempt");
    }
    let left: Vec<_> = walkdir::WalkDir::new(&folder).into_iter().flatten().collect();
    let temps = left.iter().filter(|e| e.file_name().to_string_lossy().starts_with("tmp-"));
    assert_eq!(temps.map(|e| e.path().to_owned()).collect::<Vec<_>>(), Vec::<PathBuf>::new());
    assert!(!Path::new("/tmp/probe").exists());
}
