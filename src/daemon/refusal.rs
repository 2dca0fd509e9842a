//! The reasons for not taking a file that only whoever touches it can know.

use crate::model::id::JobId;
use crate::model::rejection::{Code, Reason};
use crate::spool::Kind;

/// It is no file.
pub(super) fn not_regular(kind: Kind) -> Reason {
    let what = match kind {
        Kind::Folder => "a folder",
        Kind::Link => "a symbolic link",
        Kind::Special | Kind::Regular => "a FIFO, socket or device",
    };
    Reason::new(
        Code::NotRegular,
        format!("it is {what}, not a regular file"),
        "drop the objective itself, as a file",
    )
}

/// Its owner is nobody whose jobs are run here.
pub(super) fn foreign_owner(uid: u32) -> Reason {
    Reason::new(
        Code::Owner,
        format!("it belongs to user {uid}, whose files are not taken here"),
        "the operator may name that user in `allowed_uids` in numerus.toml",
    )
}

/// It is a link to what belongs to someone else: reading it might tell what its owner keeps.
pub(super) fn foreign_link(uid: u32) -> Reason {
    Reason::new(
        Code::Owner,
        format!("it is a further name of a file that belongs to user {uid}"),
        "copy the file instead of linking it",
    )
}

/// We have no right to read it.
pub(super) fn unreadable(why: &str) -> Reason {
    Reason::new(
        Code::Unreadable,
        format!("it may not be read ({why})"),
        "give the daemon's user the right to read it and drop it again",
    )
}

/// It, or its key, is there already.
pub(super) fn duplicate(message: &str, first: &JobId) -> Reason {
    Reason::new(Code::Duplicate, message, format!("`numerus status {first}` shows the first one"))
}
