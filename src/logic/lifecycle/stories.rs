//! Journals as short stories: what the tests of several decisions are told with.

use jiff::Timestamp;

use super::{Step, next};
use crate::logic::state::JobState;
use crate::model::advice::{Because, Comment, Decision};
use crate::model::event::{Event, Fact};
use crate::model::id::{JobId, TaskId};
use crate::model::job::{Job, Options, Origin};
use crate::model::outcome::{Failure, FailureKind};
use crate::model::plan::{Role, Task};
use crate::model::workspace::{Isolation, Workspace};

pub(crate) fn job(options: Options) -> Job {
    Job {
        version: 1,
        id: JobId::parse("j-abc234").expect("id"),
        objective: "o".into(),
        options,
        origin: Origin { name: "o.md".into(), bytes: 1, sha256: String::new(), uid: 0 },
        created_at: Timestamp::UNIX_EPOCH,
    }
}

pub(crate) fn id(name: &str) -> TaskId {
    TaskId::parse(name).expect("id")
}

pub(crate) fn task(name: &str, on: &[&str]) -> Task {
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

pub(crate) struct Story {
    pub(crate) state: JobState,
    seq: u64,
    now: Timestamp,
}

impl Story {
    pub(crate) fn new() -> Self {
        Self { state: JobState::default(), seq: 0, now: Timestamp::UNIX_EPOCH }
    }

    /// What follows happens at that time.
    pub(crate) fn at(&mut self, now: Timestamp) -> &mut Self {
        self.now = now;
        self
    }

    pub(crate) fn planned(tasks: &[Task]) -> Self {
        let mut story = Self::new();
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

    pub(crate) fn tell(&mut self, task: Option<&str>, fact: Fact) -> &mut Self {
        self.seq += 1;
        let job_id = JobId::parse("j-abc234").expect("id");
        let event = Event { seq: self.seq, ts: self.now, fact, job_id, task_id: task.map(id) };
        self.state.apply(&event);
        self
    }

    pub(crate) fn done(&mut self, name: &str) -> &mut Self {
        let commit = Some(format!("c-{name}"));
        self.tell(Some(name), Fact::TaskCompleted { attempt: 1, commit, summary: String::new() })
    }

    pub(crate) fn failed(&mut self, name: &str) -> &mut Self {
        self.tell(
            Some(name),
            Fact::TaskFailed { attempt: 1, failure: Failure::new(FailureKind::Task, "no") },
        )
    }

    pub(crate) fn exhausted(&mut self, name: &str) -> &mut Self {
        let failure = Failure::new(FailureKind::Task, "no");
        self.tell(Some(name), Fact::TaskExhausted { attempt: 1, failure })
    }

    pub(crate) fn advised(&mut self, name: &str, decision: Decision) -> &mut Self {
        self.tell(Some(name), Fact::Advised { decision, advice: "think".into() })
    }

    pub(crate) fn objected(&mut self, name: Option<&str>, round: u32) -> &mut Self {
        let comments = vec![Comment { path: String::new(), text: "more".into() }];
        self.tell(name, Fact::ReviewRejected { round, comments })
    }

    pub(crate) fn added(
        &mut self,
        name: Option<&str>,
        because: Because,
        tasks: &[Task],
    ) -> &mut Self {
        self.tell(name, Fact::TasksAdded { because, round: 1, tasks: tasks.to_vec() })
    }

    pub(crate) fn next(&self, options: Options, busy: &[&str]) -> Step {
        let busy = busy.iter().map(|b| id(b)).collect();
        next(&self.state, &job(options), &busy, Timestamp::UNIX_EPOCH)
    }
}

pub(crate) fn workspace() -> Workspace {
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
