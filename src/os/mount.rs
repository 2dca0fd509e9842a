//! What a folder lies on, and who can change it.

use std::io::Result;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::fsx;

/// What kind of file system a folder lies on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// A local one, as far as is known.
    Local,
    /// In memory: it goes with the power, or sooner.
    Memory,
    /// A container's own layer: it goes with the container.
    Overlay,
    /// One whose locks, renames or flushes may not be what they seem; its name.
    Foreign(&'static str),
}

/// File systems that are no local disk, by the numbers that the kernel gives them.
const KNOWN: [(u32, Ground); 13] = [
    (0x0102_1994, Ground::Memory),
    (0x8584_58f6, Ground::Memory),
    (0x794c_7630, Ground::Overlay),
    (0x0000_6969, Ground::Foreign("NFS")),
    (0x0000_517b, Ground::Foreign("SMB")),
    (0xff53_4d42, Ground::Foreign("CIFS")),
    (0xfe53_4d42, Ground::Foreign("SMB")),
    (0x0102_1997, Ground::Foreign("9p")),
    (0x6573_5546, Ground::Foreign("FUSE or virtiofs")),
    (0x0000_4d44, Ground::Foreign("FAT")),
    (0x2011_bab0, Ground::Foreign("exFAT")),
    (0x00c3_6400, Ground::Foreign("Ceph")),
    (0x5346_414f, Ground::Foreign("AFS")),
];

/// Which mount a path lies on: renames do not go from one to another, even if both show the same disk. `None` where the
/// kernel does not say.
pub fn id(path: &Path) -> Option<u64> {
    use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
    let told = statx(CWD, path, AtFlags::empty(), StatxFlags::MNT_ID).ok()?;
    (told.stx_mask & StatxFlags::MNT_ID.bits() != 0).then_some(told.stx_mnt_id)
}

/// What a folder lies on.
///
/// # Errors
/// Those of the system, with the path.
pub fn ground(dir: &Path) -> Result<Ground> {
    let told = rustix::fs::statfs(dir).map_err(|e| fsx::at(dir)(e.into()))?;
    // The kernel's numbers have 32 bits, whatever the field has.
    let number = told.f_type.cast_unsigned() & u64::from(u32::MAX);
    Ok(u32::try_from(number).map_or(Ground::Local, of_number))
}

fn of_number(number: u32) -> Ground {
    KNOWN.iter().find(|(known, _)| *known == number).map_or(Ground::Local, |(_, ground)| *ground)
}

/// Who owns something, and what others may do with it; links are not followed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rights {
    /// Its owner.
    pub uid: u32,
    /// Its group.
    pub gid: u32,
    /// Its permission bits.
    pub mode: u32,
    /// Whether it is a folder, and no link to one.
    pub is_folder: bool,
}

impl Rights {
    /// Looks at what has this name.
    ///
    /// # Errors
    /// Those of the system, with the path.
    pub fn of(path: &Path) -> Result<Self> {
        let meta = path.symlink_metadata().map_err(fsx::at(path))?;
        let (uid, gid, mode) = (meta.uid(), meta.gid(), meta.mode() & 0o7777);
        Ok(Self { uid, gid, mode, is_folder: meta.is_dir() })
    }

    /// Whether the group may write.
    pub fn group_writes(self) -> bool {
        self.mode & 0o020 != 0
    }

    /// Whether everybody may write.
    pub fn all_write(self) -> bool {
        self.mode & 0o002 != 0
    }
}

/// The nearest folder above where anybody may rename what lies in it, with what is on the way.
pub fn open_ancestor(dir: &Path) -> Option<PathBuf> {
    const STICKY: u32 = 0o1000;
    let is_open = |dir: &&Path| {
        Rights::of(dir).is_ok_and(|r| r.is_folder && r.all_write() && r.mode & STICKY == 0)
    };
    dir.ancestors().skip(1).find(is_open).map(Path::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_systems_are_told_by_their_numbers() {
        assert_eq!(ground(Path::new("/dev/shm")).expect("there"), Ground::Memory);
        assert_eq!(of_number(0x6969), Ground::Foreign("NFS"));
        assert_eq!(of_number(0xef53), Ground::Local, "ext4");
        assert!(ground(Path::new("/nonexistent")).is_err());
    }
}
