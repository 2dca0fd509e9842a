//! Why nobody works on a job that has not ended: in words, whom it takes, and the command that helps. Lists, pages, screens and
//! commands take them from here; in `status` and `top` a job of which the worker has gone has a [label](Idle::label), too.

use crate::model::id::JobId;
use crate::model::status::{JobPhase, PauseReason, Status};

/// Why nobody works on a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Idle {
    /// It is in the queue.
    NotBegun,
    /// Its worker has gone without an end.
    Left,
    /// It rests; `None` for a reason that only a newer program knows.
    Rests(Option<PauseReason>),
}

impl Idle {
    /// `None` for a job that has ended, or that a worker works on. One that is `held` while it waits or rests has just been
    /// taken up, or is about to be let go: until that is written down, it stands where it stood.
    pub fn of(phase: JobPhase, reason: Option<PauseReason>, held: bool) -> Option<Self> {
        match phase {
            JobPhase::Queued => Some(Self::NotBegun),
            JobPhase::Planning | JobPhase::Running => (!held).then_some(Self::Left),
            JobPhase::Paused => Some(Self::Rests(reason)),
            JobPhase::Succeeded | JobPhase::Failed | JobPhase::Killed => None,
        }
    }

    /// The same of what a status says.
    pub fn of_status(status: &Status, held: bool) -> Option<Self> {
        Self::of(status.state, status.rests_for(), held)
    }

    /// Whether a daemon goes on with it, at once or when what it waits for has come, without anybody's word on the job. What
    /// is wrong with a login is put right elsewhere.
    pub fn is_daemons(self) -> bool {
        match self {
            Self::NotBegun | Self::Left | Self::Rests(None) => true,
            Self::Rests(Some(reason)) => match reason {
                PauseReason::User | PauseReason::Approval => false,
                PauseReason::Limit
                | PauseReason::Auth
                | PauseReason::Dependency
                | PauseReason::NotBefore => true,
            },
        }
    }

    /// The command with which a person lets it go on; `None` where another job or the time has to come first.
    pub fn command(self, job: &JobId) -> Option<String> {
        let verb = match self {
            Self::Rests(Some(PauseReason::Dependency | PauseReason::NotBefore)) => return None,
            Self::Rests(Some(PauseReason::User)) => "resume",
            Self::NotBegun
            | Self::Left
            | Self::Rests(
                None | Some(PauseReason::Limit | PauseReason::Auth | PauseReason::Approval),
            ) => "start",
        };
        Some(format!("numerus {verb} {job}"))
    }

    /// What a column says beside the job's state, or for it.
    pub fn label(self) -> Option<&'static str> {
        (self == Self::Left).then_some("no worker")
    }

    /// Why, in words; what was written down about a rest says more, where it says anything.
    pub fn words(self) -> &'static str {
        match self {
            Self::NotBegun => "no worker has begun yet",
            Self::Left => "nobody works on it: its worker has gone, and the next one goes on",
            Self::Rests(None) => "it rests",
            Self::Rests(Some(PauseReason::User)) => "it rests until somebody lets it go on",
            Self::Rests(Some(PauseReason::Limit)) => "its account is over its limit",
            Self::Rests(Some(PauseReason::Auth)) => "codex is missing, or cannot log in",
            Self::Rests(Some(PauseReason::Approval)) => "the plan waits for a person",
            Self::Rests(Some(PauseReason::Dependency)) => "waits for another job",
            Self::Rests(Some(PauseReason::NotBefore)) => "waits for its time",
        }
    }

    /// Why, as it was written down, else in our words.
    pub fn told(self, message: &str) -> &str {
        if message.is_empty() || self == Self::Left { self.words() } else { message }
    }
}

/// What the journal says of a pause that somebody wished for.
pub fn of_pause(job: &JobId) -> String {
    format!("`numerus resume {job}` lets it go on")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_goes_on_with_a_job_and_how_follows_from_why_it_is_idle() {
        use JobPhase::{Failed, Killed, Paused, Planning, Queued, Running, Succeeded};
        use PauseReason::{Approval, Auth, Dependency, Limit, NotBefore, User};
        let job = JobId::parse("a-abc234").expect("id");
        for (phase, reason, expected) in [
            (Queued, None, Some((true, Some("numerus start a-abc234")))),
            (Planning, None, Some((true, Some("numerus start a-abc234")))),
            (Running, None, Some((true, Some("numerus start a-abc234")))),
            (Paused, Some(User), Some((false, Some("numerus resume a-abc234")))),
            (Paused, Some(Approval), Some((false, Some("numerus start a-abc234")))),
            (Paused, Some(Limit), Some((true, Some("numerus start a-abc234")))),
            (Paused, Some(Auth), Some((true, Some("numerus start a-abc234")))),
            (Paused, Some(Dependency), Some((true, None))),
            (Paused, Some(NotBefore), Some((true, None))),
            (Paused, None, Some((true, Some("numerus start a-abc234")))),
            (Succeeded, None, None),
            (Failed, None, None),
            (Killed, None, None),
        ] {
            let idle = Idle::of(phase, reason, false);
            let found = idle.map(|idle| (idle.is_daemons(), idle.command(&job)));
            let found = found.as_ref().map(|(daemon, command)| (*daemon, command.as_deref()));
            assert_eq!(found, expected, "{phase:?} {reason:?}");
            let is_left = idle == Some(Idle::Left);
            let held = Idle::of(phase, reason, true);
            assert_eq!(held, idle.filter(|_| !is_left), "only work that is begun is gone on with");
        }
    }

    #[test]
    fn what_was_written_down_says_more_but_of_a_worker_that_has_gone() {
        let approval = Idle::Rests(Some(PauseReason::Approval));
        assert_eq!(approval.told("read it"), "read it");
        assert_eq!(approval.told(""), "the plan waits for a person");
        assert_eq!(Idle::Left.told("of before"), Idle::Left.words());
    }
}
