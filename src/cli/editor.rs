//! A text in a person's editor, again and again until it will do or they give up. What could not be used stays where it is.

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

/// Lets a person edit a text; `None` if they left it as it was.
pub(super) fn edit<T>(
    here: &mut Here,
    wakes: &mut Wakes,
    name: &str,
    text: &str,
    read: impl Fn(&str) -> Result<T, Failure>,
) -> Result<Option<Edited<T>>, Failure> {
    let draft = seams::draft(&here.root, name, text)?;
    loop {
        seams::edit_file(&draft)?;
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
                    Err(signal) => Exit::Signal(signal),
                };
                return Err(Failure { kind, ..refusal }.hint(kept(&draft)));
            }
        }
    }
}

fn kept(draft: &Path) -> String {
    format!("what you wrote is in {}", draft.display())
}

fn written(draft: &Path) -> Result<String, Failure> {
    let bytes =
        fsx::read_bounded(draft, MAX_BYTES).map_err(|e| Failure::system("read the draft", &e))?;
    let text = bytes.and_then(|bytes| String::from_utf8(bytes).ok());
    text.ok_or_else(|| Failure::usage("the draft is not UTF-8, or too large").hint(kept(draft)))
}

/// Whether the person wants to edit it once more, or the signal that came instead.
fn again(here: &mut Here, wakes: &mut Wakes) -> Result<bool, u8> {
    loop {
        let line = wakes.ask(here, "[e]dit again or [q]uit? ")?;
        match line.map(|l| l.to_lowercase()).as_deref() {
            Some("e" | "edit") => return Ok(true),
            None | Some("q" | "quit") => return Ok(false),
            Some(_) => {}
        }
    }
}
