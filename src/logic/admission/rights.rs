//! What a job may ask for beyond the usual: never more than the operator's settings grant.

use crate::model::job::{Enforce, Options, Sandbox};
use crate::model::plan::Role;
use crate::model::rejection::{Code, Reason};
use crate::model::settings::Settings;
use crate::model::workspace::Isolation;

/// What a job asks for beyond the usual.
pub(super) struct Rights {
    pub(super) network: Option<bool>,
    pub(super) sandbox: Option<Sandbox>,
    pub(super) amend: Option<bool>,
    pub(super) memory: Option<bool>,
    pub(super) enforce: Option<Enforce>,
    pub(super) widest_role: Option<Sandbox>,
}

impl Rights {
    pub(super) fn granted(&self, settings: &Settings) -> Result<(), Reason> {
        let refused = |message: String, key: &str| {
            let hint = format!("ask for less, or have `{key}` set in the root's numerus.toml");
            Err(Reason::new(Code::Policy, message, hint))
        };
        let asked = self.sandbox.max(self.widest_role);
        if let Some(asked) = asked.filter(|s| *s > settings.sandbox) {
            let widest = settings.sandbox.as_str();
            let message = format!("sandbox {:?} is wider than {widest:?}", asked.as_str());
            return refused(message, "sandbox");
        }
        if self.network == Some(true) && !settings.network {
            return refused("jobs may not use the network here".to_owned(), "network");
        }
        if self.amend == Some(true) && !settings.amend {
            return refused("claims are not widened here".to_owned(), "amend");
        }
        if self.memory == Some(true) && !settings.memory {
            return refused("nothing is remembered here".to_owned(), "memory");
        }
        if self.enforce.is_some_and(|asked| asked < settings.enforce) {
            return refused("claims are enforced strictly here".to_owned(), "enforce");
        }
        Ok(())
    }
}

/// Claims are enforced by the sandbox, around a tree of the task's own: without either nothing can be.
pub(super) fn can_enforce(options: &Options, settings: &Settings) -> Result<(), Reason> {
    let in_the_way = match options.sandbox_of(Role::Executor) {
        _ if options.enforce == Enforce::Audit => return Ok(()),
        Sandbox::DangerFullAccess => "`sandbox` \"danger-full-access\"",
        Sandbox::ReadOnly | Sandbox::WorkspaceWrite if options.isolation == Isolation::InPlace => {
            "`isolation` \"in-place\""
        }
        Sandbox::ReadOnly | Sandbox::WorkspaceWrite => return Ok(()),
    };
    let message = format!("`enforce` \"strict\" cannot be kept with {in_the_way}");
    let (code, hint) = match settings.enforce {
        Enforce::Strict => (
            Code::Policy,
            "leave it out, or have `enforce = \"audit\"` set in the root's numerus.toml",
        ),
        Enforce::Audit => (Code::Field, "leave one of them out"),
    };
    Err(Reason::new(code, message, hint))
}
