//! Looks at an attempt's tree and says what of it the sandbox opens for the execution, where the job wants claims enforced.
//! The claim was made read-only, and nothing of a session before it lives: the tree holds still meanwhile.

use std::path::Path;

use serde_json::json;

use super::desk::{Desk, Outcome, aside};
use crate::logic::enforce::{self, Look, Opened};
use crate::model::claim::Claim;
use crate::model::job::{Enforce, Sandbox};
use crate::model::plan::Role;
use crate::os::fsx;
use crate::trees::{self, Tree};

/// What the execution may write; `None` where that is up to the sandbox alone.
pub(super) async fn opened(
    desk: &Desk,
    tree: Option<&Tree>,
    claim: &Claim,
) -> Outcome<Option<Opened>> {
    let options = &desk.job.options;
    let is_asked = options.enforce == Enforce::Strict
        && options.sandbox_of(Role::Executor) == Sandbox::WorkspaceWrite;
    let Some(tree) = tree.filter(|_| is_asked) else { return Ok(None) };
    let (cwd, writes) = (tree.cwd(), claim.writes.clone());
    aside(move || {
        // Codex reads patterns into the path of the tree as well, and cannot be given another one.
        if !cwd.to_str().is_some_and(enforce::can_say) {
            return Some(Opened::everything());
        }
        let look = Look {
            kind: &|path| trees::kind_below(&cwd, path),
            names: &|dir| names(&cwd.join(dir)),
        };
        Some(enforce::compile(&writes, &look))
    })
    .await
}

/// The names in a directory, without links. What cannot be read opens nothing: it only is not shut by name.
fn names(dir: &Path) -> Vec<String> {
    let mut names = fsx::list(dir).unwrap_or_default();
    names.retain(|name| dir.join(name).symlink_metadata().is_ok_and(|m| !m.is_symlink()));
    names
}

/// What the agent is told of it, as one line; `None` where everything is open.
pub(super) fn words(opened: &Opened) -> Option<String> {
    let said = || json!({ "writable": opened.writable(), "shut": opened.shut }).to_string();
    (!opened.is_everything()).then(said)
}
