//! What calls of git were made, as git itself tells (`trace2`): those of a job, and those that are its floor.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::Value;

/// What a job asks of git to be on the safe side: its floor does without.
const SAFETY: [&str; 2] = ["--version", "config"];

/// An ear for the calls of whoever has this home.
pub(crate) struct Heard(PathBuf);

impl Heard {
    /// Hears of the calls that are made from now on.
    pub(crate) fn below(home: &Path) -> io::Result<Self> {
        let told = home.join("git-told");
        fs::create_dir_all(&told)?;
        let settings = format!("[trace2]\n\teventTarget = {}\n", told.display());
        fs::write(home.join(".gitconfig"), settings)?;
        Ok(Self(told))
    }

    /// How often each was made. What git calls by itself is a part of the call.
    pub(crate) fn calls(&self) -> io::Result<BTreeMap<String, usize>> {
        let mut calls = BTreeMap::new();
        for file in fs::read_dir(&self.0)? {
            let text = fs::read_to_string(file?.path())?;
            let events = text.lines().filter_map(|line| serde_json::from_str(line).ok());
            for name in events.filter_map(|event| called(&event)) {
                *calls.entry(name).or_default() += 1;
            }
        }
        Ok(calls)
    }
}

/// What a call says that matters: what is asked for, how refs and trees are listed, and what is flushed.
fn called(event: &Value) -> Option<String> {
    let is_own = event["sid"].as_str().is_some_and(|sid| !sid.contains('/'));
    if event["event"] != "start" || !is_own {
        return None;
    }
    let words: Vec<&str> = event["argv"].as_array()?.iter().filter_map(Value::as_str).collect();
    let (settings, words) = split(words.get(1..)?);
    let command = words.first().filter(|word| !SAFETY.contains(word))?;
    let tells = ["core.fsync=", "core.logAllRefUpdates=", "pack.writeReverseIndex="];
    let settings =
        settings.into_iter().filter(|set| tells.iter().any(|tell| set.starts_with(tell)));
    let how = ["add", "-p", "--stdin", "--index-info", "--raw", "--name-only"];
    let how = words.iter().skip(1).filter(|word| how.contains(word));
    let all: Vec<&str> = std::iter::once(command).chain(how).copied().chain(settings).collect();
    Some(all.join(" "))
}

/// The settings of a call, and its words.
fn split<'a>(words: &[&'a str]) -> (Vec<&'a str>, Vec<&'a str>) {
    let mut settings = Vec::new();
    let mut rest = words;
    while let ["-c", setting, more @ ..] = rest {
        settings.push(*setting);
        rest = more;
    }
    settings.sort_unstable();
    (settings, rest.to_vec())
}
