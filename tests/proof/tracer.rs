//! Runs a program so that something happens to it at its k-th call that changes something, counted over all its threads and
//! all that it starts: it dies there, all of it dies there, or the call fails. The program needs no hooks for that.
//!
//! This program starts itself again, and as that child asks the kernel (seccomp) to stop it at such calls, waits to be
//! traced, and becomes the program. All of that ends with the thread that traces it.

use std::collections::{BTreeSet, HashMap};
use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use libtest_mimic::{Failed, Trial};
use nix::errno::Errno;
use nix::libc::user_regs_struct;
use nix::sys::ptrace::{self, Event, Options};
use nix::sys::signal::{Signal, kill, raise};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use crate::calls::{self, Call};
use crate::world::not_run;

/// The word by which this program becomes the traced one; see [`become_traced`].
const BECOME: &str = "--become-traced";
/// The same, and it is stopped wherever it opens a file.
const BECOME_ALL_OPENS: &str = "--become-traced-at-opens";
/// What the kernel calls a stop that is no call, no signal and no new process.
const EVENT_STOP: i32 = 128;

/// What is to happen at a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The process that makes it is killed before it is made.
    KillOne,
    /// Everything is killed before it is made.
    KillAll,
    /// The same where a file of the spool goes: processes run side by side, so that a call of a kind is not met by its number.
    #[cfg_attr(
        not(feature = "seeded-bugs"),
        expect(dead_code, reason = "struck by the teeth alone")
    )]
    KillAtRemoval,
    /// Half of what it writes is written, then everything is killed; as [`Fault::KillAll`] where nothing is written.
    Tear,
    /// It fails with this error; if it lasts, so does every later one that such an error can come from.
    Fail { errno: Errno, lasts: bool },
    /// Half of what it writes is written; if it lasts, of every later one, too.
    Shorten { lasts: bool },
}

impl Fault {
    /// Whether it can happen at this call; only such are counted.
    fn is_of(self, call: &Call) -> bool {
        let writes = matches!(call.name, "write" | "pwrite64" | "writev" | "pwritev");
        match self {
            Self::KillOne | Self::KillAll | Self::Tear => true,
            Self::KillAtRemoval => {
                call.name.starts_with("unlink") && call.path.to_string_lossy().contains("/spool/")
            }
            Self::Shorten { .. } => call.is_write(),
            // An agent that cannot write says so, and its job is worth what it did; that is tried elsewhere.
            Self::Fail { .. } if call.is_of_agent() => false,
            Self::Fail { .. } if matches!(call.name, "kill" | "pidfd_send_signal" | "execve") => {
                false
            }
            Self::Fail { errno, .. } => match errno {
                Errno::EMFILE => call.opens(),
                Errno::EINTR => call.opens() || writes || call.flushes(),
                // What takes nothing works on a full disk.
                Errno::ENOSPC => !matches!(
                    call.name,
                    "unlink" | "unlinkat" | "rmdir" | "fchmod" | "chmod" | "fchmodat"
                ),
                _ => true,
            },
        }
    }

    /// Whether later calls fail, too.
    pub(crate) fn lasts(self) -> bool {
        matches!(self, Self::Fail { lasts: true, .. } | Self::Shorten { lasts: true })
    }
}

/// How a program is to be traced.
#[derive(Debug)]
pub(crate) struct Tracing<'a> {
    /// Calls that concern nothing below it are not counted, but for signals and the start of programs.
    pub(crate) below: &'a Path,
    /// What happens, and at which call, counted from 1; nothing where it is `None`.
    pub(crate) fault: Option<(u64, Fault)>,
    /// Whether every call is written down, with what it gave back.
    pub(crate) records: bool,
    /// Whether files that are only read are counted when they are opened.
    pub(crate) all_opens: bool,
    /// After this time everything is killed.
    pub(crate) patience: Duration,
    /// A folder for what it prints.
    pub(crate) logs: PathBuf,
}

/// What became of a traced program.
#[derive(Debug, Default)]
pub(crate) struct Traced {
    /// `None` when a signal ended it.
    pub(crate) code: Option<i32>,
    /// How many calls were counted.
    pub(crate) count: u64,
    /// The call where it happened; `None` if it did not get that far.
    pub(crate) hit: Option<Call>,
    /// Every call, where they are written down.
    pub(crate) record: Vec<Call>,
    /// Whether it took longer than allowed, and was ended.
    pub(crate) hung: bool,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// If this program was started to become the traced one, becomes it; comes back only where it was not, or cannot.
pub(crate) fn become_traced() -> Option<ExitCode> {
    let mut words = std::env::args_os().skip(1);
    let word = words.next()?;
    let all_opens = word == BECOME_ALL_OPENS;
    if word != BECOME && !all_opens {
        return None;
    }
    raise(Signal::SIGSTOP).unwrap();
    let program = words.next().unwrap();
    seccompiler::apply_filter(&calls::filter(all_opens)).unwrap();
    let error = Command::new(&program).args(words).exec();
    eprintln!("cannot become {}: {error}", program.display());
    Some(ExitCode::from(127))
}

/// A trial for which programs have to be traced; where that is not allowed it says so, and fails where everything is to be run.
pub(crate) fn traced_trial(
    name: &'static str,
    run: impl FnOnce() -> Result<(), Failed> + Send + 'static,
) -> Trial {
    Trial::test(name, move || {
        static CAN_TRACE: OnceLock<bool> = OnceLock::new();
        if *CAN_TRACE.get_or_init(can_trace) {
            return run();
        }
        not_run("ptrace");
        Ok(())
    })
}

fn can_trace() -> bool {
    let mut command = Command::new("true");
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    let scratch = tempfile::tempdir().unwrap();
    let tracing = Tracing {
        below: scratch.path(),
        fault: None,
        records: false,
        all_opens: false,
        patience: Duration::from_secs(20),
        logs: scratch.path().to_owned(),
    };
    tracing.run(&command).code == Some(0)
}

impl Tracing<'_> {
    /// Runs a command, whose environment is what it says and no more, and all that it starts, to the end of all of it.
    pub(crate) fn run(&self, command: &Command) -> Traced {
        // Tracing belongs to a thread: what is still traced when it ends is killed with it.
        thread::scope(|scope| scope.spawn(|| self.run_here(command)).join()).unwrap()
    }

    fn run_here(&self, command: &Command) -> Traced {
        let known = Arc::new(Mutex::new(BTreeSet::new()));
        let (done, heard) = channel::<()>();
        let (pids, patience) = (Arc::clone(&known), self.patience);
        let watchdog = thread::spawn(move || {
            let mut hung = false;
            let mut rest = patience;
            while heard.recv_timeout(rest) == Err(RecvTimeoutError::Timeout) {
                (hung, rest) = (true, Duration::from_millis(50));
                pids.lock().unwrap().iter().for_each(|pid| end(*pid));
            }
            hung
        });
        let mut tracer = Tracer {
            tracing: self,
            known,
            owners: HashMap::new(),
            returning: HashMap::new(),
            has_begun: false,
            is_over: false,
            told: Traced::default(),
        };
        tracer.trace(self.start(command));
        drop(done);
        tracer.told.hung = watchdog.join().unwrap();
        tracer.told.stdout = self.printed("out");
        tracer.told.stderr = self.printed("err");
        tracer.told
    }

    fn start(&self, command: &Command) -> Pid {
        let word = if self.all_opens { BECOME_ALL_OPENS } else { BECOME };
        let mut own = Command::new(std::env::current_exe().unwrap());
        own.arg(word).arg(command.get_program()).args(command.get_args()).env_clear();
        own.envs(command.get_envs().filter_map(|(key, value)| Some((key, value?))));
        if let Some(dir) = command.get_current_dir() {
            own.current_dir(dir);
        }
        let file = |name| fs::File::create(self.logs.join(name)).unwrap();
        own.stdin(Stdio::null()).stdout(file("traced.out")).stderr(file("traced.err"));
        Pid::from_raw(own.spawn().unwrap().id().cast_signed())
    }

    fn printed(&self, name: &str) -> String {
        let bytes = fs::read(self.logs.join(format!("traced.{name}"))).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

/// What a thread was let go on for, to be looked at when its call comes back.
enum Returning {
    Die,
    Note(usize),
}

struct Tracer<'a> {
    tracing: &'a Tracing<'a>,
    /// The processes that live, for the watchdog.
    known: Arc<Mutex<BTreeSet<Pid>>>,
    /// The process of each thread.
    owners: HashMap<Pid, Pid>,
    returning: HashMap<Pid, Returning>,
    /// Whether it has become the program.
    has_begun: bool,
    /// Whether everything was killed.
    is_over: bool,
    told: Traced,
}

impl Tracer<'_> {
    /// Follows a child and all that it starts until nothing of it is left.
    fn trace(&mut self, child: Pid) {
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        self.known.lock().unwrap().insert(child);
        let stopped = waitpid(child, Some(flags | WaitPidFlag::WUNTRACED));
        let options = Options::PTRACE_O_TRACESECCOMP
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEVFORK
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEEXEC
            | Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_EXITKILL;
        if !matches!(stopped, Ok(WaitStatus::Stopped(..))) || ptrace::seize(child, options).is_err()
        {
            end(child);
        }
        let _gone_already = kill(child, Signal::SIGCONT);
        loop {
            match waitpid(None, Some(flags)) {
                Ok(status) => self.hear(child, status),
                Err(Errno::ECHILD) => return,
                // A signal without a name: who waits for it goes on without it.
                Err(Errno::EINVAL | Errno::EINTR) => {}
                Err(error) => panic!("cannot wait for what is traced: {error}"),
            }
        }
    }

    fn hear(&mut self, child: Pid, status: WaitStatus) {
        match status {
            WaitStatus::Exited(thread, code) => {
                if thread == child {
                    self.told.code = Some(code);
                }
                self.forget(thread);
            }
            WaitStatus::Signaled(thread, ..) => self.forget(thread),
            WaitStatus::PtraceEvent(thread, _, event) => self.hear_event(thread, event),
            WaitStatus::PtraceSyscall(thread) => self.hear_return(thread),
            WaitStatus::Stopped(thread, signal) => {
                let _gone_already = ptrace::cont(thread, signal);
            }
            WaitStatus::Continued(_) | WaitStatus::StillAlive => {}
        }
    }

    fn hear_event(&mut self, thread: Pid, event: i32) {
        let owner = self.owner(thread);
        if self.is_over {
            end(owner);
        } else if event == Event::PTRACE_EVENT_SECCOMP as i32 && self.has_begun {
            return self.hear_call(thread, owner);
        } else if event == Event::PTRACE_EVENT_EXEC as i32 {
            self.has_begun = true;
        } else if event == EVENT_STOP {
            // New, or stopped by somebody: nobody stops anything for good here.
        }
        go_on(thread);
    }

    fn owner(&mut self, thread: Pid) -> Pid {
        if let Some(owner) = self.owners.get(&thread) {
            return *owner;
        }
        let status = fs::read_to_string(format!("/proc/{thread}/status")).unwrap_or_default();
        let named = status.lines().find_map(|line| line.strip_prefix("Tgid:")?.trim().parse().ok());
        let owner = named.map_or(thread, Pid::from_raw);
        self.owners.insert(thread, owner);
        self.known.lock().unwrap().insert(owner);
        owner
    }

    fn forget(&mut self, thread: Pid) {
        self.owners.remove(&thread);
        self.returning.remove(&thread);
        self.known.lock().unwrap().remove(&thread);
    }

    fn hear_call(&mut self, thread: Pid, owner: Pid) {
        let seen = ptrace::getregs(thread).ok();
        let call = seen.as_ref().and_then(|regs| calls::read(thread, regs, self.tracing.below));
        let (Some(regs), Some(mut call)) = (seen, call) else {
            go_on(thread);
            return;
        };
        call.process = owner.as_raw();
        let fault = self.tracing.fault.filter(|(_, fault)| fault.is_of(&call));
        if fault.is_some() || self.tracing.fault.is_none() {
            self.told.count += 1;
        }
        let count = self.told.count;
        call.number = count;
        let due = fault.filter(|(at, fault)| count == *at || (fault.lasts() && count > *at));
        if let Some((at, fault)) = due {
            if count == at {
                self.told.hit = Some(call.clone());
            }
            return self.strike(thread, owner, regs, &call, fault);
        }
        if self.tracing.records {
            self.returning.insert(thread, Returning::Note(self.told.record.len()));
            self.told.record.push(call);
            until_back(thread);
        } else {
            go_on(thread);
        }
    }

    fn strike(
        &mut self,
        thread: Pid,
        owner: Pid,
        mut regs: user_regs_struct,
        call: &Call,
        fault: Fault,
    ) {
        let is_long = call.is_write() && regs.rdx > 1;
        match fault {
            Fault::KillOne => end(owner),
            Fault::Tear if is_long => {
                regs.rdx /= 2;
                set(thread, regs);
                self.returning.insert(thread, Returning::Die);
                until_back(thread);
            }
            Fault::KillAll | Fault::KillAtRemoval | Fault::Tear => self.end_all(),
            Fault::Fail { errno, .. } => {
                // A call without a number is passed over; what it gave back is what stands here.
                regs.orig_rax = u64::MAX;
                regs.rax = i64::from(-(errno as i32)).cast_unsigned();
                set(thread, regs);
                go_on(thread);
            }
            Fault::Shorten { .. } => {
                if is_long {
                    regs.rdx /= 2;
                    set(thread, regs);
                }
                go_on(thread);
            }
        }
    }

    fn hear_return(&mut self, thread: Pid) {
        match self.returning.remove(&thread) {
            Some(Returning::Die) => return self.end_all(),
            Some(Returning::Note(index)) => self.note(thread, index),
            None => {}
        }
        go_on(thread);
    }

    /// Writes down what a call gave back. A flush counts from when it is over.
    fn note(&mut self, thread: Pid, index: usize) {
        let result = ptrace::getregs(thread).map(|regs| regs.rax.cast_signed()).ok();
        let call = &mut self.told.record[index];
        call.result = result;
        if call.flushes() {
            let over = std::mem::take(call);
            self.told.record.push(over);
        }
    }

    fn end_all(&mut self) {
        self.is_over = true;
        self.known.lock().unwrap().iter().for_each(|pid| end(*pid));
    }
}

/// Lets a stopped thread go on. Any stopped one may have been killed meanwhile, here and below: then it needs nothing.
fn go_on(thread: Pid) {
    let _gone_already = ptrace::cont(thread, None);
}

/// Lets a stopped thread go on until its call comes back.
fn until_back(thread: Pid) {
    let _gone_already = ptrace::syscall(thread, None);
}

fn set(thread: Pid, regs: user_regs_struct) {
    let _gone_already = ptrace::setregs(thread, regs);
}

/// Kills a process that is traced.
fn end(pid: Pid) {
    let _gone_already = kill(pid, Signal::SIGKILL);
}
