//! The one door to other processes: who lives, and ending them without ever hitting a stranger.
//!
//! A signal goes through a pidfd whose process was identified after the descriptor was open (start time, or a mark of its
//! [family](super::family)), so a reused number is never hit.

use std::fs;
use std::io::{Read as _, Result};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal};

use super::clock;

/// This process.
pub fn own_pid() -> u32 {
    std::process::id()
}

/// What says how many heaps glibc gives to the threads of a process (mallopt(3)). It is for processes of ours: whoever starts a
/// program of others with our environment takes it out.
pub(super) const HEAPS: &str = "MALLOC_ARENA_MAX";

/// A call of this program, or one in its place: `PROGRAM --root ROOT WORDS…`. Its threads share a heap, since most are
/// short, and each would begin with a new one.
pub fn own_call(program: &Path, root: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.arg("--root").arg(root).args(words).env(HEAPS, "1");
    command
}

/// Leaves the session and terminal of whoever started this process; one that leads a session already stays as it is.
pub fn leave_session() {
    let _already_a_leader = rustix::process::setsid();
}

/// Stops this process and those that the shell started with it, as Ctrl-Z does where the terminal knows that key.
pub fn stop_self() {
    let _orphans_are_not_stopped = rustix::process::kill_current_process_group(Signal::TSTP);
}

/// What this process and its children write is for its user alone.
pub fn keep_private() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
}

/// No dump of the memory of this process and its children is ever written.
///
/// # Errors
/// Those of the system.
pub fn keep_no_dumps() -> Result<()> {
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    Ok(rustix::process::setrlimit(Resource::Core, none)?)
}

/// An identifier of this run of the kernel: what was started under another one is gone.
pub fn boot_id() -> String {
    // No process lives longer than that. What could not be read is read again.
    static BOOT: OnceLock<String> = OnceLock::new();
    if let Some(boot) = BOOT.get() {
        return boot.clone();
    }
    let read = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    let boot = read.trim().to_owned();
    if boot.is_empty() { boot } else { BOOT.get_or_init(|| boot).clone() }
}

/// When a process started, in clock ticks after boot; `None` if it is gone.
pub fn start_time(pid: u32) -> Option<u64> {
    Some(look(pid)?.started)
}

/// More than the line that the kernel shows of a process.
const STAT_BYTES: usize = 1024;

/// What the kernel tells of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// Whose child it is, or who took it over.
    pub parent: u32,
    /// When it started, in clock ticks after boot.
    pub started: u64,
    /// Whether it has ended, with all its threads, and nobody has waited for it.
    pub is_zombie: bool,
}

/// Looks at a process; `None` if it is gone.
pub fn look(pid: u32) -> Option<Look> {
    // The kernel gives the whole line at once: one read, since there are many processes to look at.
    let (mut stat, mut file) = ([0; STAT_BYTES], fs::File::open(format!("/proc/{pid}/stat")).ok()?);
    let read = file.read(&mut stat).ok()?;
    // Before the last bracket is its name, which it chooses itself.
    let stat = stat.get(..read)?;
    let rest = stat.get(stat.iter().rposition(|byte| *byte == b')')? + 1..)?;
    let mut fields = std::str::from_utf8(rest).ok()?.split_ascii_whitespace();
    let first_has_ended = fields.next()? == "Z";
    let parent = fields.next()?.parse().ok()?;
    let threads: u32 = fields.nth(15)?.parse().ok()?;
    let started = fields.nth(1)?.parse().ok()?;
    Some(Look { parent, started, is_zombie: first_has_ended && threads <= 1 })
}

/// The numbers of all processes.
pub fn pids() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// The children of a process, of all its threads, as far as the kernel tells at this moment: none where it was built without
/// that.
pub fn children_of(pid: u32) -> Vec<u32> {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    let of_thread = |thread: fs::DirEntry| fs::read_to_string(thread.path().join("children"));
    threads.flatten().flat_map(|thread| numbers(&of_thread(thread))).collect()
}

/// The children of this process's first thread, as far as the kernel tells: those that it started, and orphans that came to the
/// process, which go to its first living thread (`find_new_reaper` in the kernel).
pub fn children_of_first_thread() -> Vec<u32> {
    numbers(&fs::read_to_string(format!("/proc/self/task/{}/children", own_pid())))
}

/// The numbers in a list of the kernel's.
fn numbers(list: &Result<String>) -> Vec<u32> {
    let words = list.iter().flat_map(|list| list.split_whitespace());
    words.filter_map(|word| word.parse().ok()).collect()
}

/// Whether the kernel tells of children.
pub fn tells_of_children() -> bool {
    Path::new("/proc/thread-self/children").exists()
}

/// A process that was identified: signals reach it and no other.
#[derive(Debug)]
pub struct Target {
    pid: u32,
    handle: OwnedFd,
}

impl Target {
    /// Opens a process and then asks whether it is the right one; `None` if it is gone or another.
    pub fn open(pid: u32, is_it: impl Fn(u32) -> bool) -> Option<Self> {
        let number = Pid::from_raw(i32::try_from(pid).ok()?)?;
        let handle = rustix::process::pidfd_open(number, PidfdFlags::empty()).ok()?;
        is_it(pid).then_some(Self { pid, handle })
    }

    /// Its number, for messages.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Whether it has not ended: as long as that is so, its number is nobody else's.
    pub fn lives(&self) -> bool {
        self.lives_beyond(Duration::ZERO)
    }

    /// Waits until it has ended, for at most that long; whether it has not.
    pub fn lives_beyond(&self, patience: Duration) -> bool {
        let deadline = clock::since_boot().saturating_add(patience);
        loop {
            let left = deadline.saturating_sub(clock::since_boot());
            let left = Timespec::try_from(left).unwrap_or_default();
            let mut ended = [PollFd::new(&self.handle, PollFlags::IN)];
            match rustix::event::poll(&mut ended, Some(&left)) {
                Err(rustix::io::Errno::INTR) => {}
                looked => return looked.is_ok_and(|ready| ready == 0),
            }
        }
    }

    /// Asks it to end: `SIGTERM`. One that was stopped goes on, so that it hears of it.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
        self.signal(Signal::CONT);
    }

    /// Interrupts it: `SIGINT`.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Makes it look around: `SIGHUP`. One that was stopped goes on, so that it does.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
        self.signal(Signal::CONT);
    }

    /// Ends it: `SIGKILL`.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// A signal to a process that is gone is no error: that is what was wanted.
    fn signal(&self, signal: Signal) {
        let _already_gone = rustix::process::pidfd_send_signal(&self.handle, signal);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;

    #[test]
    fn the_threads_of_a_process_of_ours_share_a_heap() {
        let call = own_call(Path::new("numerus"), Path::new("/r"), &[]);
        assert!(call.get_envs().any(|set| set == (HEAPS.as_ref(), Some("1".as_ref()))));
    }

    #[test]
    fn a_target_is_opened_only_if_it_is_the_right_process() {
        let started = start_time(own_pid()).expect("we live");
        assert!(Target::open(own_pid(), |pid| start_time(pid) == Some(started)).is_some());
        assert!(Target::open(own_pid(), |pid| start_time(pid) == Some(started + 1)).is_none());
    }

    #[test]
    fn one_that_was_stopped_hears_that_it_is_to_end() {
        // Who does not listen to it ends by it in any case.
        let listens = "trap 'exit 0' TERM; echo; read line";
        let mut child = Command::new("sh");
        let child = child.args(["-c", listens]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = child.spawn().expect("sh");
        let mut said = [0];
        child.stdout.take().expect("pipe").read_exact(&mut said).expect("it listens");
        let target = Target::open(child.id(), |_| true).expect("opened");
        target.signal(Signal::STOP);
        target.terminate();
        assert!(!target.lives_beyond(Duration::from_secs(60)));
        child.wait().expect("ended");
    }

    #[test]
    fn a_target_lives_until_it_has_ended() {
        let mut child = Command::new("sleep").arg("1000").spawn().expect("sleep");
        let target = Target::open(child.id(), |_| true).expect("opened");
        assert!(target.lives() && target.lives_beyond(Duration::from_millis(1)));
        target.kill();
        assert!(!target.lives_beyond(Duration::from_secs(60)), "before anybody has collected it");
        child.wait().expect("ended");
        assert!(!target.lives());
    }
}
