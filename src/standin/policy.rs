//! Where the sandbox lets an agent write, told from the flags alone.
//!
//! A judgement on names, not a sandbox: the stand-in asks before it writes, and its commands are
//! not held by it.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::args::ExecArgs;
use super::door;

/// Folders of a workspace that no sandboxed agent may write.
const GUARDED: [&str; 4] = [".git", ".codex", ".agents", ".aws"];

/// Who may write where.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Policy {
    /// Nowhere.
    ReadOnly,
    /// Below these folders.
    Folders(Vec<PathBuf>),
    /// By the longest listed path that contains the file.
    Listed(Vec<(PathBuf, bool)>),
    /// Everywhere.
    Full,
}

impl Policy {
    /// The policy of a call that runs in `cwd` with these settings.
    pub(super) fn of(args: &ExecArgs, settings: &Table, cwd: &Path) -> Self {
        if args.bypass {
            return Self::Full;
        }
        let said = |key: &str| settings.get(key).and_then(Value::as_str);
        if args.sandbox.is_none()
            && let Some(profile) = said("default_permissions")
        {
            return Self::of_profile(profile, settings, args, cwd);
        }
        let mode = args.sandbox.as_deref().or_else(|| said("sandbox_mode"));
        Self::of_mode(mode.unwrap_or("read-only"), settings, args, cwd)
    }

    fn of_mode(mode: &str, settings: &Table, args: &ExecArgs, cwd: &Path) -> Self {
        match mode {
            "danger-full-access" => Self::Full,
            "workspace-write" => Self::Folders(writable_folders(settings, args, cwd)),
            _ => Self::ReadOnly,
        }
    }

    fn of_profile(profile: &str, settings: &Table, args: &ExecArgs, cwd: &Path) -> Self {
        match profile {
            ":danger-full-access" => {
                return Self::of_mode("danger-full-access", settings, args, cwd);
            }
            ":workspace" => return Self::of_mode("workspace-write", settings, args, cwd),
            _ => {}
        }
        let listed =
            lookup(settings, &["permissions", profile, "filesystem"]).and_then(Value::as_table);
        let Some(listed) = listed else { return Self::ReadOnly };
        let rules = listed.iter().filter_map(|(path, access)| {
            let path = if path == ":root" { Path::new("/") } else { Path::new(path) };
            access.as_str().map(|access| (path.to_owned(), access == "write"))
        });
        Self::Listed(rules.collect())
    }

    /// Whether the file at this absolute path may be written.
    pub(super) fn may_write(&self, path: &Path) -> bool {
        match self {
            Self::ReadOnly => false,
            Self::Full => true,
            Self::Folders(folders) => {
                folders.iter().any(|folder| path.starts_with(folder) && !is_guarded(folder, path))
            }
            Self::Listed(rules) => rules
                .iter()
                .filter(|(rule, _)| path.starts_with(rule))
                .max_by_key(|(rule, _)| rule.components().count())
                .is_some_and(|(rule, write)| *write && !is_guarded(rule, path)),
        }
    }

    /// Whether the file at this absolute path may be removed or replaced: what is listed itself stays where it is.
    pub(super) fn may_replace(&self, path: &Path) -> bool {
        let is_listed = match self {
            Self::Listed(rules) => rules.iter().any(|(rule, _)| rule.starts_with(path)),
            Self::ReadOnly | Self::Folders(_) | Self::Full => false,
        };
        self.may_write(path) && !is_listed
    }
}

/// Whether a path lies in a folder that is shut inside a writable one.
fn is_guarded(folder: &Path, path: &Path) -> bool {
    path.strip_prefix(folder)
        .is_ok_and(|inside| GUARDED.iter().any(|name| inside.starts_with(name)))
}

/// What `workspace-write` opens.
fn writable_folders(settings: &Table, args: &ExecArgs, cwd: &Path) -> Vec<PathBuf> {
    let setting = |key| lookup(settings, &["sandbox_workspace_write", key]);
    let excluded = |key| setting(key).and_then(Value::as_bool).unwrap_or(false);
    let mut folders = vec![cwd.to_owned()];
    folders.extend(args.add_dirs.iter().map(|folder| cwd.join(folder)));
    let roots = setting("writable_roots").and_then(Value::as_array);
    folders.extend(roots.into_iter().flatten().filter_map(Value::as_str).map(PathBuf::from));
    if !excluded("exclude_slash_tmp") {
        folders.push(PathBuf::from("/tmp"));
    }
    if !excluded("exclude_tmpdir_env_var") {
        folders.extend(door::variable("TMPDIR").map(PathBuf::from));
    }
    folders
}

/// The value at a path of keys.
pub(super) fn lookup<'t>(settings: &'t Table, keys: &[&str]) -> Option<&'t Value> {
    let (first, rest) = keys.split_first()?;
    let found = settings.get(*first)?;
    if rest.is_empty() { Some(found) } else { lookup(found.as_table()?, rest) }
}

/// Lays the `-c key=value` words over one another; a value that is not TOML is a string.
pub(super) fn settings(words: &[String]) -> Table {
    let mut settings = Table::new();
    for word in words {
        let Some((key, value)) = word.split_once('=') else { continue };
        let parsed =
            format!("v = {value}").parse::<Table>().ok().and_then(|mut table| table.remove("v"));
        let value = parsed.unwrap_or_else(|| Value::String(value.to_owned()));
        let keys: Vec<&str> = key.trim().split('.').collect();
        put(&mut settings, &keys, value);
    }
    settings
}

fn put(table: &mut Table, keys: &[&str], value: Value) {
    let Some((first, rest)) = keys.split_first() else { return };
    if rest.is_empty() {
        table.insert((*first).to_owned(), value);
        return;
    }
    let inner = table.entry(*first).or_insert_with(|| Value::Table(Table::new()));
    if let Value::Table(inner) = inner {
        put(inner, rest, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(sandbox: Option<&str>, words: &[&str]) -> Policy {
        let args = ExecArgs { sandbox: sandbox.map(str::to_owned), ..ExecArgs::default() };
        let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
        Policy::of(&args, &settings(&words), Path::new("/w"))
    }

    #[test]
    fn the_flags_decide_who_may_write_where() {
        let profile =
            r#"permissions.t={filesystem={":root"="read","/w/src"="write","/w/src/no"="read"}}"#;
        let listed = ["default_permissions=\"t\"", profile];
        let no_tmp = ["sandbox_workspace_write.exclude_slash_tmp=true"];
        let own_tmp = ["sandbox_workspace_write.writable_roots=[\"/run/t/tmp-1\"]"];
        let cases: [(Option<&str>, &[&str], &str, bool); 17] = [
            (None, &[], "/w/a", false),
            (Some("read-only"), &[], "/w/a", false),
            (Some("workspace-write"), &[], "/w/a", true),
            (Some("workspace-write"), &[], "/w/.git/config", false),
            (Some("workspace-write"), &[], "/wide/a", false),
            (Some("workspace-write"), &[], "/tmp/a", true),
            (Some("workspace-write"), &no_tmp, "/tmp/a", false),
            (Some("workspace-write"), &own_tmp, "/run/t/tmp-1/a", true),
            (Some("workspace-write"), &own_tmp, "/run/t/tmp-2/a", false),
            (Some("danger-full-access"), &[], "/etc/a", true),
            (None, &["sandbox_mode=\"workspace-write\""], "/w/a", true),
            (None, &["sandbox_mode=workspace-write"], "/w/a", true),
            (None, &listed, "/w/src/a", true),
            (None, &listed, "/w/src/no/a", false),
            (None, &listed, "/w/a", false),
            (None, &listed, "/w/src/.git/a", false),
            (Some("read-only"), &listed, "/w/src/a", false),
        ];
        for (sandbox, words, path, want) in cases {
            assert_eq!(
                policy(sandbox, words).may_write(Path::new(path)),
                want,
                "{sandbox:?} {words:?} {path}"
            );
        }
    }

    #[test]
    fn what_is_listed_itself_is_changed_in_place_only() {
        let profile = r#"permissions.t={filesystem={":root"="read","/w"="write","/w/no"="read","/w/no/f"="write"}}"#;
        let policy = policy(None, &["default_permissions=\"t\"", profile]);
        for (path, write, replace) in [
            ("/w/a", true, true),
            ("/w/no", false, false),
            ("/w/no/f", true, false),
            ("/w/no/g", false, false),
        ] {
            let path = Path::new(path);
            assert_eq!(
                (policy.may_write(path), policy.may_replace(path)),
                (write, replace),
                "{path:?}"
            );
        }
    }
}
