//! The one door to other processes: who lives, and ending them without ever hitting a stranger.
//!
//! A signal goes through a pidfd whose process was identified after the descriptor was open (start time, or a marker in
//! its environment), so a reused number is never hit.

use std::fs;
use std::io::Result;
use std::os::fd::OwnedFd;
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal};

use super::clock;

/// Rounds that [`sweep`] makes before it gives up on what will not die.
const SWEEP_ROUNDS: u32 = 100;
/// Rest between two rounds.
const SWEEP_REST: Duration = Duration::from_millis(10);

/// Looks at a process whose environment is empty.
const BIRTH_LOOKS: u32 = 5;
/// Rest between two of them.
const BIRTH_REST: Duration = Duration::from_millis(1);

/// This process.
pub fn own_pid() -> u32 {
    std::process::id()
}

/// Makes this process the one that inherits its descendants' orphans, and dies with nobody: a worker.
///
/// # Errors
/// Those of the system.
pub fn become_subreaper() -> Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// Leaves the session and terminal of whoever started this process; one that leads a session already stays as it is.
pub fn leave_session() {
    let _already_a_leader = rustix::process::setsid();
}

/// Asks the kernel to interrupt this process when the thread that spawned it ends.
///
/// # Errors
/// Those of the system.
pub fn interrupt_with_parent() -> Result<()> {
    Ok(rustix::process::set_parent_process_death_signal(Some(Signal::INT))?)
}

/// An identifier of this run of the kernel: what was started under another one is gone.
pub fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// When a process started, in clock ticks after boot; `None` if it is gone.
pub fn start_time(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
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

    /// Asks it to end: `SIGTERM`.
    pub fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    /// Interrupts it: `SIGINT`.
    pub fn interrupt(&self) {
        self.signal(Signal::INT);
    }

    /// Makes it look around: `SIGHUP`.
    pub fn hang_up(&self) {
        self.signal(Signal::HUP);
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

/// Whether a process carries all of these variables in its environment.
pub fn carries(pid: u32, marks: &[(&str, &str)]) -> bool {
    let Some(environment) = environment(pid) else { return false };
    let has = |name: &str, value: &str| {
        environment.split(|b| *b == 0).any(|entry| {
            entry.strip_prefix(name.as_bytes()).and_then(|rest| rest.strip_prefix(b"="))
                == Some(value.as_bytes())
        })
    };
    marks.iter().all(|(name, value)| has(name, value))
}

/// A process's environment. One that is just becoming another program shows none for a moment, and is looked at again.
fn environment(pid: u32) -> Option<Vec<u8>> {
    let is_program = || fs::read_link(format!("/proc/{pid}/exe")).is_ok();
    for _look in 0..BIRTH_LOOKS {
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        if !environment.is_empty() || !is_program() {
            return Some(environment);
        }
        clock::pause(BIRTH_REST);
    }
    Some(Vec::new())
}

/// The processes, other than this one, that carry all of these variables. Zombies carry nothing.
pub fn carriers(marks: &[(&str, &str)]) -> Vec<u32> {
    let own = own_pid();
    pids().into_iter().filter(|pid| *pid != own && carries(*pid, marks)).collect()
}

fn pids() -> Vec<u32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Ends every process that carries all of these variables, again and again until none is left; gives back what would not
/// die within a bound.
pub fn sweep(marks: &[(&str, &str)]) -> Vec<u32> {
    for _ in 0..SWEEP_ROUNDS {
        let left = carriers(marks);
        if left.is_empty() {
            return left;
        }
        for pid in left {
            if let Some(target) = Target::open(pid, |pid| carries(pid, marks)) {
                target.kill();
            }
        }
        reap_orphans();
        clock::pause(SWEEP_REST);
    }
    carriers(marks)
}

/// Takes the exit status of orphans that came to this process, so that no zombie stays. Children that someone waits for
/// by their own number are left to their waiters: only those in other sessions' process groups come here, one by one.
fn reap_orphans() {
    for pid in strays_dead() {
        if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
            let _reaped_already =
                rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::NOHANG);
        }
    }
}

/// Zombie children that were not spawned here: their parent is this process, but they lead no session of ours.
fn strays_dead() -> Vec<u32> {
    let own = own_pid();
    let is_orphan = |pid: &u32| {
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
        let Some((_, rest)) = stat.rsplit_once(')') else { return false };
        let mut fields = rest.split_whitespace();
        let state = fields.next();
        let parent = fields.next().and_then(|p| p.parse::<u32>().ok());
        let group = fields.next().and_then(|g| g.parse::<u32>().ok());
        state == Some("Z") && parent == Some(own) && group != Some(*pid)
    };
    pids().into_iter().filter(is_orphan).collect()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_sweep_ends_carriers_and_nobody_else() {
        let mark = format!("sweep-{}", own_pid());
        let mut marked = Command::new("sleep")
            .arg("1000")
            .env("NUMERUS_JOB", &mark)
            .process_group_of_its_own()
            .spawn()
            .expect("a");
        let mut other = Command::new("sleep").arg("1000").spawn().expect("b");
        assert_eq!(carriers(&[("NUMERUS_JOB", &mark)]), [marked.id()]);
        assert!(carriers(&[("NUMERUS_JOB", &mark), ("NUMERUS_TASK", "t1")]).is_empty());
        assert!(sweep(&[("NUMERUS_JOB", &mark)]).is_empty());
        assert!(!marked.wait().expect("ended").success());
        assert!(other.try_wait().expect("alive").is_none());
        other.kill().expect("end it");
        other.wait().expect("ended");
    }

    trait OwnGroup {
        fn process_group_of_its_own(&mut self) -> &mut Self;
    }

    impl OwnGroup for Command {
        fn process_group_of_its_own(&mut self) -> &mut Self {
            std::os::unix::process::CommandExt::process_group(self, 0)
        }
    }

    #[test]
    fn a_target_is_opened_only_if_it_is_the_right_process() {
        let started = start_time(own_pid()).expect("we live");
        assert!(Target::open(own_pid(), |pid| start_time(pid) == Some(started)).is_some());
        assert!(Target::open(own_pid(), |pid| start_time(pid) == Some(started + 1)).is_none());
    }
}
