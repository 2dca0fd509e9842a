//! The system calls that change something, how the kernel is asked to stop at them, and what one of them is about.

use std::collections::BTreeMap;
use std::fs;
use std::io::IoSliceMut;
use std::path::{Path, PathBuf};

use nix::libc::{self, user_regs_struct};
use nix::sys::uio::{RemoteIoVec, process_vm_readv};
use nix::unistd::Pid;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// Longest beginning of what is written that is kept.
const HEAD_BYTES: usize = 400;
/// Most words of a command line that are kept.
const WORDS: u64 = 32;

/// Where a call names what it changes, by the place of its arguments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Names {
    /// A descriptor.
    Fd(usize),
    /// A path.
    Path(usize),
    /// A folder's descriptor and a path.
    At(usize, usize),
    /// Two paths.
    Paths(usize, usize),
    /// Two pairs of a folder's descriptor and a path.
    Ats([usize; 4]),
    /// A path, opened with these flags.
    Open { path: usize, flags: usize },
    /// A folder's descriptor and a path, opened with these flags.
    OpenAt { path: usize, flags: usize },
    /// A process, with the signal's place.
    Process(usize),
    /// A program.
    Program,
}

const CALLS: [(libc::c_long, &str, Names); 32] = [
    (libc::SYS_write, "write", Names::Fd(0)),
    (libc::SYS_pwrite64, "pwrite64", Names::Fd(0)),
    (libc::SYS_writev, "writev", Names::Fd(0)),
    (libc::SYS_pwritev, "pwritev", Names::Fd(0)),
    (libc::SYS_ftruncate, "ftruncate", Names::Fd(0)),
    (libc::SYS_truncate, "truncate", Names::Path(0)),
    (libc::SYS_fallocate, "fallocate", Names::Fd(0)),
    (libc::SYS_fsync, "fsync", Names::Fd(0)),
    (libc::SYS_fdatasync, "fdatasync", Names::Fd(0)),
    (libc::SYS_copy_file_range, "copy_file_range", Names::Fd(2)),
    (libc::SYS_sendfile, "sendfile", Names::Fd(0)),
    (libc::SYS_fchmod, "fchmod", Names::Fd(0)),
    (libc::SYS_chmod, "chmod", Names::Path(0)),
    (libc::SYS_fchmodat, "fchmodat", Names::At(0, 1)),
    (libc::SYS_rename, "rename", Names::Paths(0, 1)),
    (libc::SYS_renameat, "renameat", Names::Ats([0, 1, 2, 3])),
    (libc::SYS_renameat2, "renameat2", Names::Ats([0, 1, 2, 3])),
    (libc::SYS_link, "link", Names::Paths(0, 1)),
    (libc::SYS_linkat, "linkat", Names::Ats([0, 1, 2, 3])),
    (libc::SYS_symlink, "symlink", Names::Path(1)),
    (libc::SYS_symlinkat, "symlinkat", Names::At(1, 2)),
    (libc::SYS_unlink, "unlink", Names::Path(0)),
    (libc::SYS_unlinkat, "unlinkat", Names::At(0, 1)),
    (libc::SYS_mkdir, "mkdir", Names::Path(0)),
    (libc::SYS_mkdirat, "mkdirat", Names::At(0, 1)),
    (libc::SYS_rmdir, "rmdir", Names::Path(0)),
    (libc::SYS_creat, "creat", Names::Path(0)),
    (libc::SYS_open, "open", Names::Open { path: 0, flags: 1 }),
    (libc::SYS_openat, "openat", Names::OpenAt { path: 1, flags: 2 }),
    (libc::SYS_kill, "kill", Names::Process(1)),
    (libc::SYS_pidfd_send_signal, "pidfd_send_signal", Names::Process(1)),
    (libc::SYS_execve, "execve", Names::Program),
];

/// One call that was stopped at.
#[derive(Debug, Clone, Default)]
pub(crate) struct Call {
    /// Which one it was, counted from 1.
    pub(crate) number: u64,
    /// The process.
    pub(crate) process: i32,
    pub(crate) name: &'static str,
    /// What it changes.
    pub(crate) path: PathBuf,
    /// The new name, of a rename or link.
    pub(crate) onto: Option<PathBuf>,
    /// The beginning of what is written, or the first words of a program's command line.
    pub(crate) head: String,
    /// Whether an opened file was there before.
    pub(crate) existed: bool,
    /// What it gave back, where that was waited for; less than nothing is an error.
    pub(crate) result: Option<i64>,
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}", self.name, self.path.display())?;
        self.onto.iter().try_for_each(|onto| write!(f, " -> {}", onto.display()))
    }
}

/// The filter that stops a program at every call that may change something; with `all_opens` also where a file is only read.
pub(crate) fn filter(all_opens: bool) -> BpfProgram {
    let holds = |index: usize, op: SeccompCmpOp, value: i32| {
        let value = u64::from(value.unsigned_abs());
        let index = u8::try_from(index).unwrap();
        let condition = SeccompCondition::new(index, SeccompCmpArgLen::Dword, op, value).unwrap();
        SeccompRule::new(vec![condition]).unwrap()
    };
    let has = |index: usize, flag: i32| {
        holds(index, SeccompCmpOp::MaskedEq(u64::from(flag.unsigned_abs())), flag)
    };
    let rules: BTreeMap<i64, Vec<SeccompRule>> = CALLS
        .iter()
        .map(|(number, _, names)| {
            let rules = match names {
                Names::Open { flags, .. } | Names::OpenAt { flags, .. } if !all_opens => {
                    vec![has(*flags, libc::O_CREAT), has(*flags, libc::O_TRUNC)]
                }
                Names::Process(signal) => vec![holds(*signal, SeccompCmpOp::Ne, 0)],
                _ => Vec::new(),
            };
            (*number, rules)
        })
        .collect();
    let arch = std::env::consts::ARCH.try_into().unwrap();
    SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Trace(0), arch)
        .and_then(TryInto::try_into)
        .unwrap()
}

/// The call that a stopped thread is about to make; `None` if it concerns nothing below `root`.
pub(crate) fn read(thread: Pid, regs: &user_regs_struct, root: &Path) -> Option<Call> {
    let number = i64::try_from(regs.orig_rax).ok()?;
    let (_, name, names) = CALLS.iter().find(|(known, ..)| *known == number)?;
    let args = [regs.rdi, regs.rsi, regs.rdx, regs.r10, regs.r8, regs.r9];
    let at = |dir: usize, path: usize| path_at(thread, Some(args[dir]), args[path]);
    let here = |path: usize| path_at(thread, None, args[path]);
    let mut call = Call { name, ..Call::default() };
    let is_counted = |path: &Path| path.starts_with(root);
    match *names {
        Names::Fd(fd) => call.path = link(thread, args[fd])?,
        Names::Path(path) | Names::Open { path, .. } => call.path = here(path)?,
        Names::At(dir, path) => call.path = at(dir, path)?,
        Names::Paths(from, onto) => (call.path, call.onto) = (here(from)?, here(onto)),
        Names::Ats([from_dir, from, onto_dir, onto]) => {
            (call.path, call.onto) = (at(from_dir, from)?, at(onto_dir, onto));
        }
        Names::OpenAt { path, .. } => call.path = at(0, path)?,
        Names::Process(signal) => {
            call.path = PathBuf::from(format!("signal {}", args[signal]));
            return Some(call);
        }
        Names::Program => {
            call.path = here(0)?;
            call.head = words(thread, args[1]).join(" ");
            return call.path.exists().then_some(call);
        }
    }
    if !is_counted(&call.path) && !call.onto.as_deref().is_some_and(is_counted) {
        return None;
    }
    call.existed = call.opens() && call.path.symlink_metadata().is_ok();
    if call.is_write() {
        call.head = text(thread, args[1], usize::try_from(args[2]).ok()?.min(HEAD_BYTES));
    }
    Some(call)
}

impl Call {
    /// Whether it is what a scripted agent writes in its tree, the folder included, which it makes sure of.
    pub(crate) fn is_of_agent(&self) -> bool {
        let of_tree = |part: &std::ffi::OsStr| part.to_string_lossy().starts_with("tree-");
        let is_text = self.path.extension().is_some_and(|ending| ending == "txt");
        let makes_tree = self.name == "mkdir" && self.path.file_name().is_some_and(of_tree);
        makes_tree || (is_text && self.path.iter().any(of_tree))
    }

    /// Whether it opens a file.
    pub(crate) fn opens(&self) -> bool {
        matches!(self.name, "open" | "openat" | "creat")
    }

    /// Whether it flushes a file or folder.
    pub(crate) fn flushes(&self) -> bool {
        matches!(self.name, "fsync" | "fdatasync")
    }

    /// Whether it writes bytes whose number is its third argument.
    pub(crate) fn is_write(&self) -> bool {
        matches!(self.name, "write" | "pwrite64")
    }
}

fn text(thread: Pid, address: u64, length: usize) -> String {
    let mut bytes = vec![0; length];
    let read = read_memory(thread, address, &mut bytes);
    bytes.truncate(read);
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The first words of a command line.
fn words(thread: Pid, list: u64) -> Vec<String> {
    let word = |n: u64| {
        let mut address = [0; 8];
        let read = read_memory(thread, list + 8 * n, &mut address);
        let address = u64::from_ne_bytes(address);
        (read == 8 && address != 0).then(|| text_at(thread, address)).flatten()
    };
    (0..WORDS).map_while(word).collect()
}

/// Reads another process's memory; the answer is how much of it there was.
fn read_memory(thread: Pid, address: u64, into: &mut [u8]) -> usize {
    let Ok(base) = usize::try_from(address) else { return 0 };
    let remote = [RemoteIoVec { base, len: into.len() }];
    process_vm_readv(thread, &mut [IoSliceMut::new(into)], &remote).unwrap_or(0)
}

/// The path that a text in another process's memory names, from its own folder or one that it has open.
fn path_at(thread: Pid, dir: Option<u64>, address: u64) -> Option<PathBuf> {
    let path = PathBuf::from(text_at(thread, address)?);
    if path.is_absolute() {
        return Some(path);
    }
    let folder = match dir {
        Some(fd) if descriptor(fd) != libc::AT_FDCWD => link(thread, fd)?,
        _ => fs::read_link(format!("/proc/{thread}/cwd")).ok()?,
    };
    Some(if path.as_os_str().is_empty() { folder } else { folder.join(path) })
}

/// A text in another process's memory, up to its NUL.
fn text_at(thread: Pid, address: u64) -> Option<String> {
    const PAGE: u64 = 4096;
    let mut bytes = Vec::new();
    while bytes.len() < 8192 && !bytes.contains(&0) {
        let from = address + bytes.len() as u64;
        let mut page = vec![0; usize::try_from(PAGE - from % PAGE).ok()?];
        let read = read_memory(thread, from, &mut page);
        if read == 0 {
            return None;
        }
        bytes.extend_from_slice(&page[..read]);
    }
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some(String::from_utf8_lossy(&bytes[..end]).into_owned())
}

fn link(thread: Pid, fd: u64) -> Option<PathBuf> {
    fs::read_link(format!("/proc/{thread}/fd/{}", descriptor(fd))).ok()
}

/// A descriptor as the kernel reads it: the lower half of a register.
fn descriptor(register: u64) -> i32 {
    u32::try_from(register & u64::from(u32::MAX)).map_or(-1, u32::cast_signed)
}
