//! Pipes between our programs and us. Our reading end never waits by itself; each end has a name, so that a program that
//! inherits nothing can open it.

use std::ffi::OsString;
use std::fs::OpenOptions;
use std::io::{ErrorKind, PipeReader, PipeWriter, Read, Result};
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

/// All that is written into the pipe of that name until nobody has its writing end any more.
///
/// # Errors
/// Those of the system, with the name.
#[expect(clippy::disallowed_methods, reason = "a pipe is no file that could be lost")]
pub fn read_all(name: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut pipe = OpenOptions::new().read(true).open(name).map_err(fsx::at(name))?;
    pipe.read_to_end(&mut bytes).map_err(fsx::at(name))?;
    Ok(bytes)
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
    fn what_was_written_is_read_by_its_name_once_nobody_writes_any_more() {
        let (held, mut writer) = pair().expect("a pipe");
        writer.write_all(b"words").expect("room");
        drop(writer);
        assert_eq!(read_all(Path::new(&name_of(&held))).expect("read"), b"words");
    }
}
