//! A text in a person's editor, again and again until it will do or they give up. What could not be used stays where it is.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use super::follow::Wakes;
use super::here::Here;
use super::seams;
use crate::error::{Exit, Failure};
use crate::os::fsx;

/// Largest text that is taken back from an editor, in bytes.
const MAX_BYTES: u64 = 16 * 1024 * 1024;

/// What a person has made of a text.
pub(super) struct Edited<T> {
    /// As it was understood.
    pub(super) value: T,
    /// Where the text lies, until it was put to use.
    pub(super) draft: PathBuf,
}

impl<T> Edited<T> {
    /// Does something with it that may fail: then the person keeps the text, else it goes.
    pub(super) fn used<U>(self, using: impl FnOnce(T) -> Result<U, Failure>) -> Result<U, Failure> {
        let Self { value, draft } = self;
        let used = using(value).map_err(|e| e.hint(kept(&draft)))?;
        seams::drop_draft(&draft);
        Ok(used)
    }
}

/// Lets a person edit a text with an editor; `None` if they left it as it was. `left` is the draft that they left the last time, with
/// which they go on; it is theirs again if they give up.
pub(super) fn edit<T>(
    (here, wakes): (&mut Here, &mut Wakes),
    editor: &str,
    (name, text): (&str, &str),
    left: &mut Option<PathBuf>,
    read: impl Fn(&str) -> Result<T, Failure>,
) -> Result<Option<Edited<T>>, Failure> {
    let draft = match left.take().filter(|draft| draft.is_file()) {
        Some(draft) => draft,
        None => seams::draft(&here.root, name, text)?,
    };
    loop {
        seams::edit_file(editor, &draft)?;
        let written = written(&draft)?;
        if written == text {
            seams::drop_draft(&draft);
            return Ok(None);
        }
        match read(&written) {
            Ok(value) => return Ok(Some(Edited { value, draft })),
            Err(refusal) => {
                here.out.note_text(&refusal.render());
                let kind = match again(here, wakes) {
                    Ok(true) => continue,
                    Ok(false) => refusal.kind,
                    Err(signal) => {
                        here.out.note("");
                        Exit::Signal(signal)
                    }
                };
                *left = Some(draft.clone());
                return Err(Failure { kind, ..refusal }.hint(kept(&draft)));
            }
        }
    }
}

fn kept(draft: &Path) -> String {
    format!("what you wrote is in {}", draft.display())
}

fn written(draft: &Path) -> Result<String, Failure> {
    let bytes = fsx::read_bounded(draft, MAX_BYTES).map_err(|e| unread(draft, &e))?;
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| Failure::usage("the draft is not UTF-8, or too large").hint(kept(draft)))
}

/// Why what an editor has left cannot be read: it made something else of the file that it was given, or the system is at fault.
fn unread(draft: &Path, error: &std::io::Error) -> Failure {
    match draft.symlink_metadata() {
        Err(_) if error.kind() == ErrorKind::NotFound => Failure::usage(
            "the editor has left no draft",
        )
        .hint(format!("the text is to be saved as {}, where it was opened", draft.display())),
        Ok(meta) if !meta.is_file() => {
            Failure::usage("the editor has left something else than a file").hint(kept(draft))
        }
        _ => Failure::system("read the draft", error).hint(kept(draft)),
    }
}

/// Whether the person wants to edit it once more, or the signal that came instead.
fn again(here: &mut Here, wakes: &mut Wakes) -> Result<bool, u8> {
    loop {
        let line = wakes.ask(here, "[e]dit again or [q]uit? ")?;
        match line.map(|l| l.to_lowercase()).as_deref() {
            Some("e" | "edit") => return Ok(true),
            None | Some("q" | "quit") => return Ok(false),
            Some(_) => here.out.note("e opens the draft again, q leaves it where it is"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_editor_leaves_that_is_no_file_is_the_editors_and_not_the_roots() {
        let dir = tempfile::tempdir().expect("scratch");
        let at = |name: &str| dir.path().join(name);
        fsx::make_dirs(&at("folder")).expect("folder");
        fsx::put(&at("file"), b"text").expect("file");
        std::os::unix::fs::symlink(at("file"), at("link")).expect("link");
        let fifo = (rustix::fs::CWD, at("fifo"), rustix::fs::FileType::Fifo, 0o600.into());
        rustix::fs::mknodat(fifo.0, fifo.1, fifo.2, fifo.3, 0).expect("fifo");
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).expect("socket");
        assert_eq!(written(&at("file")).expect("text"), "text");
        for name in ["gone", "link", "fifo", "folder", "socket"] {
            let refused = written(&at(name)).expect_err(name);
            assert_eq!(refused.kind, Exit::Usage, "{name}: {refused:?}");
            let where_it_is = at(name).display().to_string();
            assert!(refused.hints.iter().any(|hint| hint.contains(&where_it_is)), "{refused:?}");
        }
    }
}
