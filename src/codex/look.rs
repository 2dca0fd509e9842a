//! Looks at codex that need no session: a call of it that has a bound, and leaves nothing behind when it takes longer.

use std::io::Result;
use std::process::{Child, Command, ExitStatus};
use std::time::Duration;

use crate::os::{clock, family, random};

/// Told of a look that took too long.
pub(super) const ENDED: &str = "it was ended, with all that it had started";

/// By this variable all that a look has started is found.
const MARK: &str = "NUMERUS_LOOK";
/// Rest between two looks for its end.
const REST: Duration = Duration::from_millis(5);

/// Makes a call; `None` where it took longer, and was ended with all that it had started.
pub(super) fn run(command: &mut Command, patience: Duration) -> Result<Option<ExitStatus>> {
    let deadline = clock::since_boot() + patience;
    run_until(command, || clock::since_boot() > deadline)
}

fn run_until(command: &mut Command, is_late: impl FnMut() -> bool) -> Result<Option<ExitStatus>> {
    let mark = random::base32(16)?;
    command.env(MARK, &mark);
    let mut child = family::spawn(|| command.spawn(), Child::id)?;
    let ended = end_of(&mut child, is_late);
    if !matches!(ended, Ok(Some(_))) {
        // One that cannot be killed is not waited for.
        let _status = child.kill().and_then(|()| child.wait());
        // What will not die even then is the kernel's.
        let _left = family::sweep(&[(MARK, &mark)]);
    }
    ended
}

/// How it ends; `None` where it does not before it is late.
fn end_of(child: &mut Child, mut is_late: impl FnMut() -> bool) -> Result<Option<ExitStatus>> {
    loop {
        let ended = child.try_wait()?;
        if ended.is_some() || is_late() {
            return Ok(ended);
        }
        clock::pause(REST);
    }
}

#[cfg(test)]
mod tests {
    use std::process::Stdio;

    use super::*;
    use crate::os::process;

    #[test]
    fn a_call_that_takes_too_long_is_ended_with_what_it_started() {
        let own = ("LOOK_TEST", format!("look-{}", process::own_pid()));
        let left = || family::carriers(&[(own.0, &own.1)]);
        let dir = tempfile::tempdir().expect("scratch");
        let begun = dir.path().join("begun");
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & echo $! > \"$1\"; wait", "sh"]).arg(&begun);
        command.env(own.0, &own.1).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        // Late as soon as it has started something.
        let late = run_until(&mut command, || begun.exists()).expect("started");
        assert_eq!((late, left()), (None, vec![]));
        let ended = run(&mut Command::new("true"), Duration::from_secs(60)).expect("started");
        assert!(ended.is_some_and(|status| status.success()));
    }
}
