//! What a process that stands by is told when its session begins: where it works, with which environment, and the words
//! of [`launch`](super::launch). A pure function both ways; pieces end with a NUL, which none of them can contain. The first piece says how
//! many bytes follow, so that nothing that was cut off is obeyed.

use std::ffi::OsString;
use std::io::{Error, ErrorKind, Result};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// What stands between the environment and the words: no variable, which has a `=`.
const DASHES: &[u8] = b"--";

/// What to become, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Orders {
    /// Where to work.
    pub(super) cwd: PathBuf,
    /// The whole environment.
    pub(super) env: Vec<(OsString, OsString)>,
    /// The words of `numerus __session`.
    pub(super) words: Vec<OsString>,
}

impl Orders {
    /// As bytes.
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut say = |pieces: &[&[u8]]| {
            bytes.extend(pieces.concat());
            bytes.push(0);
        };
        say(&[self.cwd.as_os_str().as_bytes()]);
        for (name, value) in &self.env {
            say(&[name.as_bytes(), b"=", value.as_bytes()]);
        }
        say(&[DASHES]);
        for word in &self.words {
            say(&[word.as_bytes()]);
        }
        let length = format!("{}\0", bytes.len());
        [length.into_bytes(), bytes].concat()
    }

    /// From those bytes.
    ///
    /// # Errors
    /// When they are not whole.
    pub(super) fn of_bytes(bytes: &[u8]) -> Result<Self> {
        let broken = || Error::new(ErrorKind::InvalidData, "the orders are cut off");
        let start = bytes.iter().position(|byte| *byte == 0).ok_or_else(broken)?;
        let (length, rest) = bytes.split_at(start);
        let rest = rest.get(1..).unwrap_or_default();
        if length != rest.len().to_string().as_bytes() {
            return Err(broken());
        }
        let mut pieces = rest.strip_suffix(b"\0").ok_or_else(broken)?.split(|byte| *byte == 0);
        let text = |piece: &[u8]| OsString::from_vec(piece.to_vec());
        let cwd = text(pieces.next().ok_or_else(broken)?).into();
        let mut env = Vec::new();
        for piece in pieces.by_ref().take_while(|piece| *piece != DASHES) {
            let equals = piece.iter().position(|byte| *byte == b'=').ok_or_else(broken)?;
            let (name, value) = piece.split_at(equals);
            env.push((text(name), text(value.get(1..).unwrap_or_default())));
        }
        Ok(Self { cwd, env, words: pieces.map(text).collect() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders_arrive_as_they_were_given_or_not_at_all() {
        let text = |word: &str| OsString::from(word);
        let odd = OsString::from_vec(vec![b'a', 0xff, b'\n', b'=']);
        let orders = Orders {
            cwd: "/a b".into(),
            env: vec![(text("A"), text("")), (text("B"), text("x=y")), (text("C"), odd.clone())],
            words: vec![text("-"), text("--"), text("program"), text(""), odd],
        };
        let bytes = orders.to_bytes();
        assert_eq!(Orders::of_bytes(&bytes).expect("whole"), orders);
        for length in 0..bytes.len() {
            let cut = bytes.get(..length).unwrap_or_default();
            assert!(Orders::of_bytes(cut).is_err(), "cut after {length} of {} bytes", bytes.len());
        }
    }
}
