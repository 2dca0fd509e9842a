//! What of the paths that a task wrote beside its claim the claim may be widened by, before the arbiter is asked.
//!
//! Promise: an amendment only ever adds or changes plain files of the job's own directory. What was there and was not
//! claimed does not vanish, and no file that steers git, codex or an account gets in unannounced.

use super::audit::{Audit, Change};
use super::paths;
use crate::model::claim::ClaimPath;

/// Most paths that a claim may be widened by: an agent that strays further has not understood its task.
pub const MAX_PATHS: usize = 20;
/// Names of folders that steer an agent or hold an account, lower case.
const CONTROL: [&str; 3] = [".agents", ".aws", ".codex"];
/// The mode of a symbolic link, as git writes it.
const LINK: &str = "120000";

/// What was written beside the claim, as files to be claimed: relative to the repository's top. The job works in the directory
/// `prefix` of the repository.
///
/// # Errors
/// Why the paths beside the claim cannot be had, whoever holds them, fit to follow "wrote what was not claimed: PATHS;".
pub fn wish(audit: &Audit, prefix: &str) -> Result<Vec<ClaimPath>, String> {
    let outside = &audit.outside;
    if outside.len() > MAX_PATHS {
        return Err(format!("{} paths, at most {MAX_PATHS} can be added", outside.len()));
    }
    if let Some(why) = outside.iter().find_map(|change| flaw(change, prefix)) {
        return Err(why);
    }
    let path = |c: &Change| ClaimPath::file(c.path.clone());
    Ok(outside.iter().map(path).collect())
}

/// Why a change can never be added to a claim.
fn flaw(change: &Change, prefix: &str) -> Option<String> {
    let path = &change.path;
    match &change.new {
        None => Some(format!("{path} was removed, and only what was claimed may go")),
        Some(_) if path.split('/').any(is_control) => {
            Some(format!("{path} steers git or an agent, and has to be claimed"))
        }
        Some((mode, _)) if mode == LINK => {
            Some(format!("{path} is a symbolic link, and has to be claimed"))
        }
        Some(_) if paths::below(prefix, path).is_none() => {
            Some(format!("{path} lies outside the directory of the job"))
        }
        Some(_) => None,
    }
}

fn is_control(part: &str) -> bool {
    let part = part.to_lowercase();
    part.starts_with(".git") || CONTROL.contains(&part.as_str())
}

/// Paths from the repository's top as seen from the job's directory `prefix`; those that lie elsewhere are left out.
pub fn below(writes: &[ClaimPath], prefix: &str) -> Vec<ClaimPath> {
    let lower = |path: &ClaimPath| {
        let rest = paths::below(prefix, &path.path)?.to_owned();
        Some(ClaimPath { path: rest, ..path.clone() })
    };
    writes.iter().filter_map(lower).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn audit(outside: Vec<Change>) -> Audit {
        Audit { landing: Vec::new(), outside }
    }

    fn written(path: &str) -> Change {
        let entry = |mode: &str| Some((mode.to_owned(), "0".repeat(40)));
        Change { path: path.to_owned(), old: None, new: entry("100644") }
    }

    fn paths(writes: &[ClaimPath]) -> Vec<&str> {
        writes.iter().map(|w| w.path.as_str()).collect()
    }

    #[test]
    fn what_was_written_beside_a_claim_may_be_asked_for() {
        let outside = audit(["sub/a", "sub/b/.env", "sub/gitter"].map(written).to_vec());
        let wish = wish(&outside, "sub").expect("fine");
        assert_eq!(paths(&wish), ["sub/a", "sub/b/.env", "sub/gitter"]);
        assert_eq!(paths(&below(&wish, "sub")), ["a", "b/.env", "gitter"]);
        assert_eq!(paths(&below(&wish, "")), ["sub/a", "sub/b/.env", "sub/gitter"]);
        assert_eq!(below(&[ClaimPath::file("subs/x")], "sub"), []);
    }

    #[test]
    fn nothing_unclaimed_vanishes_and_nothing_that_steers_gets_in() {
        let gone = Change { new: None, ..written("a") };
        let link = Change { new: Some(("120000".to_owned(), "0".repeat(40))), ..written("l") };
        for (change, prefix, why) in [
            (gone, "", "a was removed"),
            (link, "", "symbolic link"),
            (written(".gitignore"), "", "steers"),
            (written("x/.GITHUB/y"), "", "steers"),
            (written("x/.gitattributes"), "", "steers"),
            (written(".codex/config.toml"), "", "steers"),
            (written("a/.Agents"), "", "steers"),
            (written(".aws/credentials"), "", "steers"),
            (written("other/a"), "sub", "outside the directory"),
            (written("subs"), "sub", "outside the directory"),
            (written("sub"), "sub", "outside the directory"),
        ] {
            let path = change.path.clone();
            let refused = wish(&audit(vec![written("sub/x"), change]), prefix);
            let refused = refused.expect_err(&path);
            assert!(refused.contains(why), "{path}: {refused}");
        }
    }

    #[test]
    fn there_is_a_bound() {
        let many = |n: usize| (0..n).map(|i| written(&format!("f{i}"))).collect::<Vec<_>>();
        assert_eq!(wish(&audit(many(MAX_PATHS)), "").map(|w| w.len()), Ok(MAX_PATHS));
        assert!(wish(&audit(many(MAX_PATHS + 1)), "").is_err());
    }
}
