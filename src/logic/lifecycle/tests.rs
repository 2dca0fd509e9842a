//! What comes next, told as small stories.

use super::*;
use crate::model::event::{Event, Fact};
use crate::model::id::JobId;
use crate::model::job::{Options, Origin};
use crate::model::outcome::{Failure, FailureKind};
use crate::model::plan::{Role, Task};
use crate::model::workspace::{Isolation, Workspace};

fn job(options: Options) -> Job {
    Job {
        version: 1,
        id: JobId::parse("j-abc234").expect("id"),
        objective: "o".into(),
        options,
        origin: Origin { name: "o.md".into(), bytes: 1, sha256: String::new(), uid: 0 },
        created_at: Timestamp::UNIX_EPOCH,
    }
}

fn id(name: &str) -> TaskId {
    TaskId::parse(name).expect("id")
}

fn task(name: &str, on: &[&str]) -> Task {
    let dependencies = on.iter().map(|d| id(d)).collect();
    let (summary, description, notes) = ("s".into(), "d".into(), String::new());
    Task {
        id: id(name),
        summary,
        description,
        dependencies,
        resources: crate::model::claim::Resources::default(),
        role: Role::Executor,
        notes,
    }
}

struct Story {
    state: JobState,
    seq: u64,
}

impl Story {
    fn planned(tasks: &[Task]) -> Self {
        let mut story = Self { state: JobState::default(), seq: 0 };
        story.tell(None, Fact::WorkerStarted { pid: 1, start_time: 0, boot_id: "b".into() });
        story.tell(None, Fact::WorkspaceFixed { workspace: workspace() });
        story.tell(
            None,
            Fact::PlanCreated { plan: 1, objective: "o".into(), tasks: tasks.to_vec() },
        );
        story.tell(
            None,
            Fact::RolesAssigned { plan: 1, tasks: tasks.to_vec(), strategy: "s".into() },
        );
        story
    }

    fn tell(&mut self, task: Option<&str>, fact: Fact) -> &mut Self {
        self.seq += 1;
        let job_id = JobId::parse("j-abc234").expect("id");
        let event =
            Event { seq: self.seq, ts: Timestamp::UNIX_EPOCH, fact, job_id, task_id: task.map(id) };
        self.state.apply(&event);
        self
    }

    fn done(&mut self, name: &str) -> &mut Self {
        let commit = Some(format!("c-{name}"));
        self.tell(Some(name), Fact::TaskCompleted { attempt: 1, commit, summary: String::new() })
    }

    fn failed(&mut self, name: &str) -> &mut Self {
        self.tell(
            Some(name),
            Fact::TaskFailed { attempt: 1, failure: Failure::new(FailureKind::Task, "no") },
        )
    }

    fn next(&self, options: Options, busy: &[&str]) -> Step {
        let busy = busy.iter().map(|b| id(b)).collect();
        next(&self.state, &job(options), &busy, Timestamp::UNIX_EPOCH)
    }
}

fn workspace() -> Workspace {
    let base = "base".into();
    Workspace {
        isolation: Isolation::Worktree,
        top: "/w".into(),
        git_dir: "/w/.git".into(),
        prefix: String::new(),
        base,
        dirty: false,
    }
}

fn start(names: &[&str]) -> Step {
    Step::Tasks { start: names.iter().map(|n| id(n)).collect(), skip: Vec::new() }
}

#[test]
fn a_job_goes_from_workspace_to_plan_to_roles() {
    let mut story = Story { state: JobState::default(), seq: 0 };
    assert_eq!(story.next(Options::default(), &[]), Step::FixWorkspace);
    story.tell(None, Fact::WorkspaceFixed { workspace: workspace() });
    assert_eq!(story.next(Options::default(), &[]), Step::Plan);
    story.tell(
        None,
        Fact::PlanCreated { plan: 1, objective: "o".into(), tasks: vec![task("a", &[])] },
    );
    assert_eq!(story.next(Options::default(), &[]), Step::Roles);
}

#[test]
fn ready_tasks_start_at_once_up_to_the_lanes() {
    let tasks = [task("a", &[]), task("b", &[]), task("c", &["a"]), task("d", &[])];
    let mut story = Story::planned(&tasks);
    let two = || Options { max_parallel: 2, ..Options::default() };
    assert_eq!(story.next(Options::default(), &[]), start(&["a", "b", "d"]));
    assert_eq!(story.next(two(), &[]), start(&["a", "b"]));
    assert_eq!(story.next(two(), &["a", "b"]), Step::Wait(None));
    story.tell(Some("b"), Fact::ClaimBlocked { attempt: 1, conflicts: Vec::new() });
    assert_eq!(
        story.next(two(), &["a", "b"]),
        start(&["d"]),
        "who waits for a lease holds no lane"
    );
    story.done("a");
    assert_eq!(story.next(two(), &["b"]), start(&["c", "d"]));
}

#[test]
fn a_failed_task_takes_its_dependents_with_it_and_no_other() {
    let mut story =
        Story::planned(&[task("a", &[]), task("b", &["a"]), task("c", &["b"]), task("d", &[])]);
    story.failed("a");
    let skip = vec![(id("b"), id("a"))];
    assert_eq!(story.next(Options::default(), &[]), Step::Tasks { start: vec![id("d")], skip });
    story.tell(Some("b"), Fact::TaskSkipped { because: id("a") });
    story.tell(Some("c"), Fact::TaskSkipped { because: id("b") }).done("d");
    assert_eq!(story.next(Options::default(), &[]), Step::Publish, "what landed is published");
    story.tell(None, Fact::Landed { branch: "numerus/j".into(), commit: "c-d".into() });
    let Step::Finish(end) = story.next(Options::default(), &[]) else { unreachable!("the end") };
    assert_eq!((end.phase, end.reason.as_str()), (JobPhase::Failed, "task_failed"));
}

#[test]
fn a_retried_task_waits_for_its_time() {
    let mut story = Story::planned(&[task("a", &[])]);
    let due = Timestamp::from_second(5).expect("time");
    let failure = Failure::new(FailureKind::Transient, "cut");
    story.tell(Some("a"), Fact::TaskRetried { attempt: 1, failure, due });
    assert_eq!(story.next(Options::default(), &[]), Step::Wait(Some(due)));
    let later = next(&story.state, &job(Options::default()), &BTreeSet::new(), due);
    assert_eq!(later, start(&["a"]));
}

#[test]
fn verify_comes_before_the_branch_and_decides_the_end() {
    let options = || Options { verify: vec!["true".into()], ..Options::default() };
    let mut story = Story::planned(&[task("a", &[])]);
    story.done("a");
    assert_eq!(story.next(options(), &[]), Step::Verify);
    story.tell(None, Fact::Verified { passed: false, commands: Vec::new() });
    assert_eq!(story.next(options(), &[]), Step::Publish);
    story.tell(None, Fact::Landed { branch: "b".into(), commit: "c".into() });
    let Step::Finish(end) = story.next(options(), &[]) else { unreachable!("the end") };
    assert_eq!(end.reason, "verify_failed");
}

#[test]
fn nobody_executes_an_unapproved_plan() {
    let mut story = Story::planned(&[task("a", &[])]);
    let options = || Options { approve: true, ..Options::default() };
    assert_eq!(story.next(options(), &[]), Step::Park(PauseReason::Approval, None));
    story.tell(None, Fact::PlanApproved {});
    assert_eq!(story.next(options(), &[]), start(&["a"]));
}
