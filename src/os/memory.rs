//! Bytes of any length for a program of ours that inherits nothing: in a file that lies in memory alone and has a name as long as it
//! is held (`memfd_create(2)`).

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Result, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::MemfdFlags;

use super::{fsx, pipe};

/// Bytes that are held for others to read.
#[derive(Debug)]
pub struct Held(File);

impl Held {
    /// Puts bytes there.
    ///
    /// # Errors
    /// When the system has no more descriptors or memory to give.
    pub fn new(bytes: &[u8]) -> Result<Self> {
        let mut file = File::from(rustix::fs::memfd_create("numerus", MemfdFlags::CLOEXEC)?);
        file.write_all(bytes)?;
        Ok(Self(file))
    }

    /// The name under which programs of the same user can read them.
    pub fn name(&self) -> Vec<u8> {
        pipe::name_of(&self.0).as_bytes().to_vec()
    }
}

/// All bytes that are held under a name.
///
/// # Errors
/// Those of the system, with the name.
pub fn read_all(name: &[u8]) -> Result<Vec<u8>> {
    let name = Path::new(OsStr::from_bytes(name));
    std::fs::read(name).map_err(fsx::at(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_of_any_length_are_read_by_their_name_as_long_as_they_are_held() {
        for length in [0, 1, 65_537, 3_000_000] {
            let bytes = vec![7; length];
            let held = Held::new(&bytes).expect("memory");
            let name = held.name();
            assert_eq!(read_all(&name).expect("read").len(), length);
            drop(held);
            assert!(read_all(&name).is_err());
        }
    }
}
