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

/// Local file systems on which the kernel tells of every change, whoever makes it: ext2 to ext4, XFS, Btrfs, F2FS, ZFS,
/// bcachefs, JFS, NILFS, `ReiserFS`, those in memory, and a container's own layer.
const TELLING: [u32; 12] = [
    0x0000_ef53,
    0x5846_5342,
    0x9123_683e,
    0xf2f5_2010,
    0x2fc1_2fc1,
    0xca45_1a4e,
    0x3153_464a,
    0x0000_3434,
    0x5265_4973,
    0x0102_1994,
    0x8584_58f6,
    0x794c_7630,
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
    Ok(number(dir)?.map_or(Ground::Local, of_number))
}

/// Whether the kernel tells of every change in a folder: not where others reach it without this kernel, as over a network,
/// and not where that is not known.
pub fn tells_all(dir: &Path) -> bool {
    number(dir).ok().flatten().is_some_and(|number| TELLING.contains(&number))
}

fn number(dir: &Path) -> Result<Option<u32>> {
    let told = rustix::fs::statfs(dir).map_err(|e| fsx::at(dir)(e.into()))?;
    // The kernel's numbers have 32 bits, whatever the field has.
    Ok(u32::try_from(told.f_type.cast_unsigned() & u64::from(u32::MAX)).ok())
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

    #[test]
    fn the_kernel_tells_of_every_change_where_nobody_else_writes() {
        for (name, number, tells) in [
            ("ext4", 0xef53, true),
            ("XFS", 0x5846_5342, true),
            ("Btrfs", 0x9123_683e, true),
            ("tmpfs", 0x0102_1994, true),
            ("overlayfs", 0x794c_7630, true),
            ("NFS", 0x6969, false),
            ("SMB", 0xfe53_4d42, false),
            ("9p", 0x0102_1997, false),
            ("FUSE or virtiofs", 0x6573_5546, false),
            ("GFS2, which several machines write", 0x0116_1970, false),
            ("OCFS2, likewise", 0x7461_636f, false),
            ("one that nobody knows", 0x1234_5678, false),
        ] {
            assert_eq!(TELLING.contains(&number), tells, "{name}");
        }
        let is_foreign = |number: &u32| matches!(of_number(*number), Ground::Foreign(_));
        assert!(!TELLING.iter().any(is_foreign));
        assert!(tells_all(Path::new("/dev/shm")) && !tells_all(Path::new("/nonexistent")));
        assert!(!tells_all(Path::new("/proc")), "it changes without a word");
    }
}
