//! Pipes between our programs and us. Our reading end never waits by itself; each end has a name, so that a program that
//! inherits nothing can open it.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, ErrorKind, PipeReader, PipeWriter, Read, Result, Write};
use std::os::fd::AsRawFd;
use std::path::Path;

use rustix::event::{PollFd, PollFlags, poll};

use super::{fsx, process};

/// A new pipe; neither end is inherited.
///
/// # Errors
/// When the system has no more descriptors to give.
pub fn pair() -> Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = std::io::pipe()?;
    rustix::io::ioctl_fionbio(&reader, true)?;
    Ok((reader, writer))
}

/// The name under which programs of the same user can open an end, as long as it is held here.
pub fn name_of(end: &impl AsRawFd) -> OsString {
    format!("/proc/{}/fd/{}", process::own_pid(), end.as_raw_fd()).into()
}

/// What ends a word in a pipe.
const END: u8 = 0;

/// Says a word, which contains no NUL, to whoever reads [`Words`] at the other end.
///
/// # Errors
/// When nobody is there.
pub fn say(mut writer: &PipeWriter, word: &[u8]) -> Result<()> {
    writer.write_all(&[word, &[END]].concat())
}

/// The words that come through a pipe.
#[derive(Debug)]
pub struct Words(BufReader<File>);

impl Words {
    /// Those of the pipe of that name.
    ///
    /// # Errors
    /// Those of the system, with the name.
    #[expect(clippy::disallowed_methods, reason = "a pipe is no file that could be lost")]
    pub fn of(name: &Path) -> Result<Self> {
        let pipe = OpenOptions::new().read(true).open(name).map_err(fsx::at(name))?;
        Ok(Self(BufReader::new(pipe)))
    }

    /// Waits for the next whole one; `None` when nobody can say one any more.
    ///
    /// # Errors
    /// Those of the system.
    pub fn hear(&mut self) -> Result<Option<Vec<u8>>> {
        let mut word = Vec::new();
        self.0.read_until(END, &mut word)?;
        Ok((word.pop() == Some(END)).then_some(word))
    }
}

/// Makes the pipe of that name this program's stderr.
///
/// # Errors
/// Those of the system, with the name.
#[expect(clippy::disallowed_methods, reason = "a pipe is no file that could be lost")]
pub fn become_stderr(name: &Path) -> Result<()> {
    let pipe = OpenOptions::new().append(true).open(name).map_err(fsx::at(name))?;
    Ok(rustix::stdio::dup2_stderr(pipe)?)
}

/// Waits until there is something to read, or until nobody has the writing end any more.
pub fn wait(reader: &PipeReader) {
    let _interrupted = poll(&mut [PollFd::new(reader, PollFlags::IN)], None);
}

/// What a look into a pipe has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Look {
    /// So many bytes.
    Bytes(usize),
    /// Nothing yet.
    Empty,
    /// Nothing more comes.
    End,
}

/// Reads what is there.
pub fn read(mut reader: &PipeReader, chunk: &mut [u8]) -> Look {
    loop {
        match reader.read(chunk) {
            Ok(0) => return Look::End,
            Ok(length) => return Look::Bytes(length),
            Err(e) if e.kind() == ErrorKind::Interrupted => {}
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Look::Empty,
            Err(_) => return Look::End,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn words_come_whole_and_one_by_one_until_nobody_says_any_more() {
        let (held, mut writer) = pair().expect("a pipe");
        let mut words = Words::of(Path::new(&name_of(&held))).expect("its name");
        say(&writer, b"one").expect("room");
        say(&writer, b"").expect("room");
        assert_eq!(words.hear().expect("read"), Some(b"one".to_vec()));
        assert_eq!(words.hear().expect("read"), Some(Vec::new()));
        writer.write_all(b"cut o").expect("room");
        drop(writer);
        assert_eq!(words.hear().expect("read"), None);
    }
}
