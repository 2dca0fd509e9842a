//! Whether a task can be tried again because a person wants that, and what the job's state becomes.

use super::state::JobState;
use super::task::TaskState;
use crate::model::id::TaskId;
use crate::model::status::TaskPhase;

/// How a task is tried again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Again {
    /// Its failure, or the time that it waits for, is over: `job.task_reopened`.
    Reopened,
    /// Its session is not waited for any longer.
    Hurried,
}

/// Decides whether a task can be tried again now.
///
/// # Errors
/// Why not, in words that follow its name.
pub fn judge(state: &JobState, id: &TaskId) -> Result<Again, String> {
    let Some(task) = state.task(id) else { return Err("is no task of the job".to_owned()) };
    if state.phase.is_final() || state.branch.is_some() {
        return Err("belongs to a job that has its result".to_owned());
    }
    if state.replan.is_some() {
        return Err("belongs to a plan that is being made anew".to_owned());
    }
    if task.left_out {
        return Err("was left out: the job goes on without it".to_owned());
    }
    match task.phase {
        TaskPhase::Failed => Ok(Again::Reopened),
        TaskPhase::Skipped => Err(skipped(state, task)),
        TaskPhase::Succeeded => Err("has ended well".to_owned()),
        _ if task.is_in_question() => {
            Err("is before the queen, whose answer comes first".to_owned())
        }
        TaskPhase::Pending if task.due.is_some() => Ok(Again::Reopened),
        _ if state.parked.is_put_off(id.as_str())
            && !state.open_sessions.contains_key(id.as_str()) =>
        {
            Ok(Again::Hurried)
        }
        TaskPhase::Pending => Err("waits for its turn, and for no time".to_owned()),
        TaskPhase::Claiming
        | TaskPhase::Blocked
        | TaskPhase::Executing
        | TaskPhase::Landing
        | TaskPhase::Reviewing => Err("is being worked on".to_owned()),
    }
}

/// The failed task that a skipped one waits for in vain.
fn skipped(state: &JobState, task: &TaskState) -> String {
    let mut ahead: Vec<&TaskId> = task.task.dependencies.iter().collect();
    let mut seen = 0;
    while let Some(id) = ahead.get(seen).copied() {
        seen += 1;
        let Some(task) = state.task(id).filter(|t| !t.is_out_of_the_way()) else { continue };
        if task.phase == TaskPhase::Failed {
            return format!("was skipped since {id} failed: that is the one to try again");
        }
        let further = task.task.dependencies.iter().filter(|d| !ahead.contains(d));
        let further: Vec<&TaskId> = further.collect();
        ahead.extend(further);
    }
    "was skipped".to_owned()
}

impl JobState {
    /// What was skipped because of a task, or of one that was, waits for it again; what was found of the result is void.
    pub(super) fn reopen_after(&mut self, id: &TaskId) {
        (self.verified, self.accepted) = (None, None);
        let mut back = vec![id.clone()];
        while let Some(ahead) = back.pop() {
            let is_behind = |t: &&mut TaskState| {
                t.phase == TaskPhase::Skipped && !t.left_out && t.task.dependencies.contains(&ahead)
            };
            for task in self.tasks.iter_mut().filter(is_behind) {
                task.reopen();
                back.push(task.task.id.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::logic::lifecycle::Step;
    use crate::logic::lifecycle::stories::{Story, id, task};
    use crate::model::advice::Decision;
    use crate::model::event::Fact;
    use crate::model::job::Options;

    /// Tasks a, b after a, c after b, and d.
    fn failed() -> Story {
        let tasks = [task("a", &[]), task("b", &["a"]), task("c", &["b"]), task("d", &[])];
        let mut story = Story::planned(&tasks);
        story.failed("a").tell(Some("b"), Fact::TaskSkipped { because: id("a") });
        story.tell(Some("c"), Fact::TaskSkipped { because: id("b") });
        story
    }

    #[test]
    fn a_failed_task_is_reopened_with_all_that_waited_for_it() {
        let mut story = failed();
        assert_eq!(judge(&story.state, &id("a")), Ok(Again::Reopened));
        story.tell(Some("a"), Fact::TaskReopened {});
        let phases: Vec<TaskPhase> = story.state.tasks.iter().map(|t| t.phase).collect();
        assert_eq!(phases, [TaskPhase::Pending; 4]);
        assert_eq!(story.state.tasks[0].tries.charged, 0);
        let step = story.next(Options::default(), &["d"]);
        assert_eq!(step, Step::Tasks { start: vec![id("a")], skip: Vec::new() });
        story.tell(Some("a"), Fact::TaskReopened {});
        assert_eq!(story.state.tasks[0].phase, TaskPhase::Pending, "twice is once");
    }

    #[test]
    fn what_cannot_be_tried_again_says_why() {
        let story = failed();
        for (name, why) in [
            ("c", "was skipped since a failed: that is the one to try again"),
            ("d", "waits for its turn, and for no time"),
            ("e", "is no task of the job"),
        ] {
            assert_eq!(judge(&story.state, &id(name)), Err(why.to_owned()), "{name}");
        }
        let mut skipped = Story::planned(&[task("a", &[]), task("b", &[])]);
        skipped.exhausted("a").advised("a", Decision::Skip);
        assert!(judge(&skipped.state, &id("a")).is_err_and(|why| why.contains("left out")));
        let mut published = failed();
        published.done("d");
        published.tell(None, Fact::Landed { branch: "b".into(), commit: "c".into() });
        let why = judge(&published.state, &id("a"));
        assert!(why.is_err_and(|why| why.contains("has its result")), "its branch is made");
        let mut replanned = failed();
        replanned.exhausted("d").advised("d", Decision::Replan);
        assert!(judge(&replanned.state, &id("a")).is_err());
    }
}
