//! A child that settles in before it becomes another program: it leads a session of its own, has the descriptors that it is given and no
//! others, carries its bounds and its family's seal, ignores and blocks no signal and ends with whoever started it. The one file with
//! `unsafe` code.
//!
//! A copy of this process would do that as well, but leaves it its pages to be copied; this program once more would cost a whole
//! start, about as much as what it becomes. So the child borrows our memory and we wait until it has become the other program, as in
//! `posix_spawn(3)`, which cannot do half of this.
//!
//! Why it is sound: `clone(2)` with `CLONE_VM | CLONE_VFORK` stops the calling thread until the child has become another program or
//! has ended, so all that the child looks at, held by that thread's stack, stays as it is, and nobody else writes to it. The child runs
//! on a stack of its own. All signals are blocked meanwhile (but for two of the C library's own, for threads that are cancelled and users
//! that change, which do not happen here), and it unblocks them only after giving each the action it has in a fresh program, so no
//! handler of ours ever runs in it. It calls nothing but thin wrappers of system calls that may be called after a fork in a program with
//! threads (signal-safety(7)): it allocates nothing, takes no lock and cannot panic.
#![expect(unsafe_code, reason = "see above; everything else forbids it")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::{CStr, CString, OsString};
use std::io::{Error, ErrorKind, Result};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr;

use nix::errno::Errno;
use nix::libc::{self, c_char, c_int, c_uint, c_void};
use nix::sys::signal::{SigSet, SigmaskHow};
use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions};

use super::{env, family};

/// Bytes of the stack that a child has until it is another program: glibc gives its own children not more (`spawni.c`).
const STACK_BYTES: usize = 32 * 1024;
/// How the stack's end is aligned, as every machine that this runs on has it.
const STACK_UNIT: usize = size_of::<u128>();
/// The number under which a child finds what it is to keep open.
const KEPT: c_int = 3;
/// Highest descriptor that is closed one by one where the kernel does not close all at once (before 5.9).
const MOST_DESCRIPTORS: c_int = 4096;
/// Highest number of a signal (signal(7)).
const LAST_SIGNAL: c_int = 64;
/// How readily the kernel ends it, and not who watches over it, when memory runs out: from 0 to 1000.
const FIRST_TO_GO: &[u8] = b"500";
/// Exit code of one that did not become the other program.
const NOT_REACHED: c_int = 127;
/// What is left to be done when a child has settled in.
const RUN: &str = "be run";
/// What the system says of a file that is no program that runs here (execve(2)): anything else may be over the next time.
const NO_PROGRAM: [c_int; 6] =
    [libc::ENOENT, libc::EACCES, libc::EPERM, libc::ENOEXEC, libc::ENOTDIR, libc::ELOOP];
/// What is to be done in the control group, and in the directory.
const JOIN: &str = "enter this control group";
const ENTER: &str = "work in this directory";
/// Bytes of the kernel's own set of signals, and words of its description of an action (`rt_sigaction(2)`).
const SET_BYTES: usize = 8;
const ACTION_WORDS: usize = 4;

/// What to start, and as what.
#[derive(Debug)]
pub struct Program {
    /// Program and arguments; a bare name is looked for on our search path.
    pub argv: Vec<OsString>,
    /// The whole environment; of two of one name the last counts.
    pub env: Vec<(OsString, OsString)>,
    /// Where it works.
    pub cwd: PathBuf,
    /// The file that takes it into a control group.
    pub group: Option<PathBuf>,
    /// Bounds of what it and all that it starts may use up.
    pub limits: Vec<(Resource, Rlimit)>,
    /// A bound that is no more than a mark: best effort.
    pub seal: (Resource, Rlimit),
}

/// The descriptors that it gets.
#[derive(Debug)]
pub struct Given {
    /// Its standard input, output and error.
    pub standard: [OwnedFd; 3],
    /// Whether its output is a terminal, to belong to its session.
    pub is_terminal: bool,
    /// What it and all that it starts keep open, under a number that they need not know.
    pub kept: Option<OwnedFd>,
}

/// Why nothing was started.
#[derive(Debug)]
pub enum NotStarted {
    /// The program is not there, or none that runs here.
    Program(Error),
    /// The system gave no process, or did not let it settle in.
    Settling(Error),
}

impl From<Error> for NotStarted {
    fn from(error: Error) -> Self {
        Self::Settling(error)
    }
}

impl From<NotStarted> for Error {
    fn from(why: NotStarted) -> Self {
        let (NotStarted::Program(error) | NotStarted::Settling(error)) = why;
        error
    }
}

/// A child that was started, to be waited for.
#[derive(Debug)]
pub struct Child(Pid);

impl Child {
    /// Its number: its own until somebody has waited for it.
    pub fn id(&self) -> u32 {
        self.0.as_raw_nonzero().get().unsigned_abs()
    }

    /// Ends it, where nobody has waited for it yet.
    pub fn kill(&self) {
        let _has_ended = rustix::process::kill_process(self.0, Signal::KILL);
    }

    /// Waits until it has ended; its exit code, or `None` when a signal ended it.
    ///
    /// # Errors
    /// Those of the system.
    pub fn wait(&self) -> Result<Option<i32>> {
        loop {
            match rustix::process::waitpid(Some(self.0), WaitOptions::empty()) {
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
                Ok(ended) => return Ok(ended.and_then(|(_, status)| status.exit_status())),
            }
        }
    }
}

/// Starts it, from the thread whose end will interrupt it.
///
/// # Errors
/// What kept it from becoming the program; nothing of that has run then, and no child is left.
pub fn start(program: &Program, given: &Given) -> std::result::Result<Child, NotStarted> {
    let name = Path::new(program.argv.first().map_or("".as_ref(), OsString::as_os_str));
    let Some(file) = env::find_program(name) else {
        let error = Error::new(ErrorKind::NotFound, format!("{} is not there", name.display()));
        return Err(NotStarted::Program(error));
    };
    // As it was found: the child looks from another directory.
    let file = std::path::absolute(file)?;
    let plan = Plan::of(program, &file, given)?;
    let mut failed = None;
    let child = family::spawn(|| plan.carry_out(&mut failed), Child::id)?;
    let Some((what, code)) = failed else { return Ok(child) };
    child.wait()?;
    let error = Error::from_raw_os_error(code);
    let at = match what {
        ENTER => program.cwd.display(),
        JOIN => program.group.as_deref().unwrap_or(&file).display(),
        _ => file.display(),
    };
    let told = Error::new(error.kind(), format!("{at}: cannot {what}: {error}"));
    let is_program = what == RUN && NO_PROGRAM.contains(&code);
    Err(if is_program { NotStarted::Program(told) } else { NotStarted::Settling(told) })
}

/// All that the child needs, as the system calls take it.
struct Plan {
    file: CString,
    /// Each ends with a null pointer, and points into the strings beside it.
    argv: Pointers,
    env: Pointers,
    cwd: CString,
    parent: c_int,
    /// From where, to where, in this order.
    descriptors: Vec<(c_int, c_int)>,
    is_terminal: bool,
    keeps: bool,
    group: Option<CString>,
    limits: Vec<Limit>,
    seal: Limit,
}

type Limit = (c_uint, libc::rlimit);

/// Strings, and pointers to each.
struct Pointers {
    pointers: Vec<*const c_char>,
    _strings: Vec<CString>,
}

/// What a child could not do, and the system's reason.
type Failed = Option<(&'static str, i32)>;

/// What the child is told, and tells.
struct Told<'a> {
    plan: &'a Plan,
    failed: Failed,
}

impl Plan {
    fn of(program: &Program, file: &Path, given: &Given) -> Result<Self> {
        let joined = |(name, value): (&OsString, &OsString)| {
            terminated(&[name.as_bytes(), b"=", value.as_bytes()].concat())
        };
        let env: BTreeMap<&OsString, &OsString> =
            program.env.iter().map(|(name, value)| (name, value)).collect();
        let kept = given.kept.iter().map(|kept| (kept.as_raw_fd(), KEPT));
        let standard = given.standard.iter().map(AsRawFd::as_raw_fd).zip(0..KEPT);
        let descriptors: Vec<_> = standard.chain(kept).collect();
        if descriptors.iter().any(|(from, _)| *from < KEPT) {
            return Err(Error::other("this process has no standard descriptors"));
        }
        Ok(Self {
            file: terminated(file.as_os_str().as_bytes())?,
            argv: Pointers::to(program.argv.iter().map(|word| terminated(word.as_bytes())))?,
            env: Pointers::to(env.into_iter().map(joined))?,
            cwd: terminated(program.cwd.as_os_str().as_bytes())?,
            parent: rustix::process::getpid().as_raw_pid(),
            descriptors,
            is_terminal: given.is_terminal,
            keeps: given.kept.is_some(),
            group: match &program.group {
                Some(path) => Some(terminated(path.as_os_str().as_bytes())?),
                None => None,
            },
            limits: program.limits.iter().map(limit).collect(),
            seal: limit(&program.seal),
        })
    }

    /// Starts the child and waits until it is the program or has failed.
    fn carry_out(&self, failed: &mut Failed) -> Result<Child> {
        let mut stack = vec![0_u128; STACK_BYTES / STACK_UNIT];
        let mut told = Told { plan: self, failed: None };
        let before = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK)?;
        let flags = libc::CLONE_VM | libc::CLONE_VFORK | libc::SIGCHLD;
        // SAFETY: the stack grows down from the end of memory that is held here, as is what the child is told; see above for the rest.
        let (pid, code) = unsafe {
            let end = stack.as_mut_ptr_range().end.cast::<c_void>();
            let pid = libc::clone(settle_and_become, end, flags, (&raw mut told).cast());
            // The child, which wrote it, is gone or another program.
            *failed = ptr::read_volatile(&raw const told.failed);
            (pid, Errno::last())
        };
        before.thread_set_mask()?;
        Ok(Child(Pid::from_raw(pid.max(0)).ok_or(code)?))
    }
}

impl Pointers {
    fn to(strings: impl Iterator<Item = Result<CString>>) -> Result<Self> {
        let strings = strings.collect::<Result<Vec<_>>>()?;
        let ends = std::iter::once(ptr::null());
        let pointers = strings.iter().map(|string| string.as_ptr()).chain(ends).collect();
        Ok(Self { pointers, _strings: strings })
    }
}

fn terminated(bytes: &[u8]) -> Result<CString> {
    Ok(CString::new(bytes)?)
}

fn limit((resource, Rlimit { current, maximum }): &(Resource, Rlimit)) -> Limit {
    let value = |limit: Option<u64>| limit.unwrap_or(libc::RLIM_INFINITY);
    let limit = libc::rlimit { rlim_cur: value(*current), rlim_max: value(*maximum) };
    (*resource as c_uint, limit)
}

/// The child's first and last function.
extern "C" fn settle_and_become(told: *mut c_void) -> c_int {
    let told = told.cast::<Told<'_>>();
    // SAFETY: the one who waits for this child holds it; nobody else knows of it.
    unsafe {
        let Err(what) = become_program((*told).plan);
        ptr::write_volatile(&raw mut (*told).failed, Some((what, Errno::last_raw())));
        libc::_exit(NOT_REACHED)
    }
}

/// Does what is planned; comes back only with what could not be done.
///
/// # Safety
/// In a child that has its memory on loan, with all signals blocked.
unsafe fn become_program(plan: &Plan) -> std::result::Result<Infallible, &'static str> {
    let done = |what, result: c_int| if result == -1 { Err(what) } else { Ok(()) };
    // SAFETY: each pointer leads to what the plan holds, or to the stack.
    unsafe {
        done("lead a session", libc::setsid())?;
        libc::setrlimit(plan.seal.0, &raw const plan.seal.1);
        for (from, to) in &plan.descriptors {
            done("set up its descriptors", libc::dup2(*from, *to))?;
        }
        if plan.is_terminal {
            done("have its terminal", libc::ioctl(1, libc::TIOCSCTTY, 0))?;
        }
        if plan.keeps {
            // Where it had that number before, nothing has changed.
            done("keep what it is to keep", libc::fcntl(KEPT, libc::F_SETFD, 0))?;
        }
        close_from(KEPT + c_int::from(plan.keeps));
        done("end with its parent", libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGINT))?;
        if libc::getppid() != plan.parent {
            // It has ended before that, and nobody is told of anything.
            libc::_exit(NOT_REACHED);
        }
        libc::umask(0o077);
        if let Some(group) = &plan.group {
            done(JOIN, say(group, b"0"))?;
        }
        // Best effort: a kernel without it ends whom it likes.
        say(c"/proc/self/oom_score_adj", FIRST_TO_GO);
        for (resource, limit) in &plan.limits {
            done("be bound", libc::setrlimit(*resource, limit))?;
        }
        done(ENTER, libc::chdir(plan.cwd.as_ptr()))?;
        forget_signals();
        let (argv, env) = (plan.argv.pointers.as_ptr(), plan.env.pointers.as_ptr());
        libc::execve(plan.file.as_ptr(), argv, env);
    }
    Err(RUN)
}

/// Closes all descriptors from this one on.
///
/// # Safety
/// In a child whose descriptors are its own.
unsafe fn close_from(first: c_int) {
    // SAFETY: what our memory speaks of stays open in the one who waits.
    unsafe {
        if libc::syscall(libc::SYS_close_range, first, c_uint::MAX, 0) == -1 {
            for descriptor in first..MOST_DESCRIPTORS {
                libc::close(descriptor);
            }
        }
    }
}

/// Writes a few bytes into a file of the kernel's; -1 when that is not done.
///
/// # Safety
/// In a child whose descriptors are its own.
unsafe fn say(path: &CStr, bytes: &[u8]) -> c_int {
    // SAFETY: path and bytes are on loan for the time of the call.
    unsafe {
        let file = libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC);
        if file == -1 || libc::write(file, bytes.as_ptr().cast(), bytes.len()) == -1 {
            // Left open, if it is: the child has failed, or becomes a program that does not inherit it.
            return -1;
        }
        libc::close(file)
    }
}

/// Gives each signal the action that it has in a fresh program, and blocks none.
///
/// # Safety
/// In a child whose actions and mask are its own.
unsafe fn forget_signals() {
    // All zero is the default action, and an empty set. Of the kernel and not of the C library, which guards some actions with a lock.
    let (default, none) = ([0_u64; ACTION_WORDS], [0_u8; SET_BYTES]);
    let (default, old) = (default.as_ptr(), ptr::null_mut::<c_void>());
    // SAFETY: both lie on this stack, and nothing is written back.
    unsafe {
        for signal in 1..=LAST_SIGNAL {
            libc::syscall(libc::SYS_rt_sigaction, signal, default, old, SET_BYTES);
        }
        let set = libc::SIG_SETMASK;
        libc::syscall(libc::SYS_rt_sigprocmask, set, none.as_ptr(), old, SET_BYTES);
    }
}

#[cfg(test)]
impl Program {
    /// A shell that does this.
    pub(super) fn shell(script: &str) -> Self {
        Program {
            argv: ["sh", "-c", script].map(OsString::from).to_vec(),
            env: vec![("PATH".into(), env::var_os("PATH").expect("a search path"))],
            cwd: "/".into(),
            group: None,
            limits: Vec::new(),
            seal: family::seal(&[("A", "child")]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io::{PipeWriter, Read};
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::os::cgroup::Cgroup;
    use crate::os::{fsx, process};

    /// A shell that does this, with this as its output.
    fn shell(script: &str, output: PipeWriter) -> (Program, Given) {
        let nothing = || File::open("/dev/null").expect("it is there").into();
        let standard = [nothing(), output.into(), nothing()];
        (Program::shell(script), Given { standard, is_terminal: false, kept: None })
    }

    /// What a shell wrote, and its exit code.
    fn played(
        script: &str,
        change: impl FnOnce(&mut Program, &mut Given),
    ) -> (String, Option<i32>) {
        let (mut reader, writer) = std::io::pipe().expect("a pipe");
        let (mut program, mut given) = shell(script, writer);
        change(&mut program, &mut given);
        let child = start(&program, &given).expect("started");
        drop(given);
        let mut said = String::new();
        reader.read_to_string(&mut said).expect("text");
        (said, child.wait().expect("ended"))
    }

    /// One that sleeps until it is ended.
    fn sleeper() -> (Program, Given) {
        shell("exec sleep 1000", std::io::pipe().expect("a pipe").1)
    }

    #[test]
    fn a_child_leads_a_session_and_ends_with_its_own_code() {
        let script = "echo $$ $(cut -d' ' -f5,6 /proc/$$/stat); exit 3";
        let (said, code) = played(script, |_, _| ());
        let numbers: Vec<&str> = said.split_whitespace().collect();
        assert_eq!((numbers.len(), code), (3, Some(3)));
        assert_eq!([numbers[1], numbers[2]], [numbers[0]; 2], "its own group and session");
        assert_eq!(played("kill -9 $$", |_, _| ()).1, None);
    }

    #[test]
    fn a_child_has_what_it_is_given_and_nothing_else() {
        let dir = tempfile::tempdir().expect("scratch");
        let cwd = dir.path().canonicalize().expect("there");
        // Inherited by whoever does not close it.
        let leak = rustix::io::dup(File::open("/dev/zero").expect("it is there")).expect("room");
        let script = "pwd; echo $B $(ulimit -n) $(umask); env | grep -c ^B=";
        let (said, _) = played(script, |program, _| {
            program.cwd.clone_from(&cwd);
            program.env.extend([("B", "old"), ("B", "new")].map(|(n, v)| (n.into(), v.into())));
            let few = Rlimit { current: Some(77), maximum: Some(77) };
            program.limits = vec![(Resource::Nofile, few)];
        });
        assert_eq!(said, format!("{}\nnew 77 0077\n1\n", cwd.display()));
        // The list is looked at by the shell itself: 3 would be the list.
        let open = "for n in 3 4 5 6 7 8 9 $LEAK; do [ -e /proc/$$/fd/$n ] && printf $n; done; :";
        let number = OsString::from(leak.as_raw_fd().to_string());
        let with_leak = |program: &mut Program| program.env.push(("LEAK".into(), number.clone()));
        assert_eq!(played(open, |program, _| with_leak(program)).0, "");
        let kept = File::open("/dev/full").expect("it is there");
        let said = played(&format!("readlink /proc/$$/fd/3; {open}"), |program, given| {
            with_leak(program);
            given.kept = Some(kept.into());
        });
        assert_eq!(said.0, "/dev/full\n3");
    }

    #[test]
    fn a_child_ignores_and_blocks_no_signal_and_is_interrupted_with_its_parent() {
        let blocked = SigSet::all().thread_swap_mask(SigmaskHow::SIG_SETMASK).expect("blocked");
        let (said, _) = played("exec grep -E '^Sig(Blk|Ign)' /proc/self/status", |_, _| ());
        blocked.thread_set_mask().expect("as before");
        // This process ignores SIGPIPE, as every one in Rust.
        let masks: Vec<&str> = said.split_whitespace().skip(1).step_by(2).collect();
        assert_eq!(masks, ["0000000000000000"; 2], "{said}");
        let (program, given) = sleeper();
        let child = std::thread::spawn(move || start(&program, &given).expect("started"));
        let child = child.join().expect("a thread that has started a child, and ends");
        assert_eq!(child.wait().expect("interrupted"), None);
    }

    #[test]
    fn a_program_that_is_being_written_is_no_broken_one() {
        let dir = tempfile::tempdir().expect("scratch");
        let path = dir.path().join("program");
        fsx::put(&path, b"#!/bin/true\n").expect("written");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("ours");
        let _written = fsx::open_append(&path).expect("open for writing");
        let (mut program, given) = sleeper();
        program.argv = vec![path.into()];
        let why = start(&program, &given).expect_err("it is busy");
        assert!(matches!(&why, NotStarted::Settling(_)), "{why:?}");
    }

    #[test]
    fn a_program_is_the_one_that_is_found_here_wherever_it_works() {
        let dir = tempfile::tempdir().expect("scratch");
        let here = std::env::current_dir().expect("a directory");
        let up: PathBuf = here.components().skip(1).map(|_| "..").collect();
        let (mut program, given) = sleeper();
        program.argv = vec![up.join("bin/true").into()];
        program.cwd = dir.path().to_owned();
        let child = start(&program, &given).expect("found from here");
        assert_eq!(child.wait().expect("ended"), Some(0));
    }

    #[test]
    fn a_child_is_in_its_group_from_the_start_and_among_the_first_to_go() {
        let (said, _) = played("cat /proc/self/oom_score_adj", |_, _| ());
        assert_eq!(said, "500\n");
        let Some(group) = Cgroup::create(&format!("child-{}", process::own_pid())) else {
            return env::not_run("a control group (version 2) that may be written");
        };
        let (said, _) = played("grep ^0:: /proc/self/cgroup", |program, _| {
            program.group = Some(group.procs());
        });
        let name = group.path().file_name().expect("a name").to_string_lossy();
        assert!(said.trim_end().ends_with(&*name), "{said}");
        group.remove();
        assert!(!group.path().exists());
    }

    #[test]
    fn the_seal_of_its_family_is_on_it_from_the_start() {
        let (program, given) = sleeper();
        let child = start(&program, &given).expect("started");
        assert!(family::carries(child.id(), &[("A", "child")]));
        process::Target::open(child.id(), |_| true).expect("it sleeps").kill();
        child.wait().expect("ended");
    }

    #[test]
    fn what_cannot_be_started_is_told_and_leaves_no_child() {
        let dir = tempfile::tempdir().expect("scratch");
        let (gone, text) = (dir.path().join("gone"), dir.path().join("text"));
        fsx::put(&text, b"no program").expect("written");
        let tried = |change: &dyn Fn(&mut Program)| {
            let (mut program, given) = sleeper();
            change(&mut program);
            start(&program, &given).expect_err("nothing to start")
        };
        for argv in [vec![], vec![gone.clone().into()], vec!["no-such-program".into()]] {
            let why = tried(&|program| program.argv.clone_from(&argv));
            assert!(matches!(&why, NotStarted::Program(_)), "{why:?}");
        }
        let why = tried(&|program| program.argv = vec![text.clone().into()]);
        let told = Error::from(why).to_string();
        assert!(told.contains("cannot be run") && told.contains("ermission"), "{told}");
        let told = |why: &str| format!("{}: cannot {why}: No such file", gone.display());
        let settling = |says: &str, change: &dyn Fn(&mut Program)| {
            let why = tried(change);
            assert!(matches!(&why, NotStarted::Settling(_)), "{why:?}");
            let told = Error::from(why).to_string();
            assert!(told.contains(says), "{told}");
        };
        settling(&told(ENTER), &|program| program.cwd.clone_from(&gone));
        settling(&told(JOIN), &|program| program.group = Some(gone.clone()));
        settling("nul byte", &|program| program.argv.push("a\0b".into()));
        if !process::tells_of_children() {
            return env::not_run("a kernel that tells of children");
        }
        let children = fs::read_to_string("/proc/thread-self/children").expect("it does");
        assert_eq!(children, "", "each was waited for");
    }
}
