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
    let mark = random::base32(16)?;
    command.env(MARK, &mark);
    let mut child = family::spawn(|| command.spawn(), Child::id)?;
    let deadline = clock::since_boot() + patience;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if clock::since_boot() > deadline {
            break;
        }
        clock::pause(REST);
    }
    child.kill()?;
    child.wait()?;
    // What will not die even then is the kernel's.
    let _left = family::sweep(&[(MARK, &mark)]);
    Ok(None)
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
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 60 & sleep 60"]).env(own.0, &own.1);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let late = run(&mut command, Duration::from_millis(500)).expect("started");
        assert_eq!((late, left()), (None, vec![]));
        let ended = run(&mut Command::new("true"), Duration::from_secs(60)).expect("started");
        assert!(ended.is_some_and(|status| status.success()));
    }
}
