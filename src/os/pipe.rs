//! Pipes between our programs and us. Our reading end never waits by itself.

use std::io::{ErrorKind, PipeReader, PipeWriter, Read, Result};

use rustix::event::{PollFd, PollFlags, poll};

/// A new pipe; neither end is inherited.
///
/// # Errors
/// When the system has no more descriptors to give.
pub fn pair() -> Result<(PipeReader, PipeWriter)> {
    let (reader, writer) = std::io::pipe()?;
    rustix::io::ioctl_fionbio(&reader, true)?;
    Ok((reader, writer))
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
