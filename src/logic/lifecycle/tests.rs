//! What comes next, told as small stories.

use super::stories::{Story, id, job, task, workspace};
use super::*;
use crate::logic::state::Standing;
use crate::model::advice::Decision;
use crate::model::event::{CommandResult, Fact};
use crate::model::job::Options;
use crate::model::outcome::{Failure, FailureKind};

fn mend(because: Because) -> Step {
    Step::Alone(Alone::Mend(because))
}

fn start(names: &[&str]) -> Step {
    Step::Tasks { start: names.iter().map(|n| id(n)).collect(), skip: Vec::new() }
}

#[test]
fn a_job_goes_from_workspace_to_plan_to_roles() {
    let mut story = Story::new();
    assert_eq!(story.next(Options::default(), &[]), Step::Alone(Alone::FixWorkspace));
    story.tell(None, Fact::WorkspaceFixed { workspace: workspace() });
    assert_eq!(story.next(Options::default(), &[]), Step::Alone(Alone::Plan));
    story.tell(
        None,
        Fact::PlanCreated { plan: 1, objective: "o".into(), tasks: vec![task("a", &[])] },
    );
    assert_eq!(story.next(Options::default(), &[]), Step::Alone(Alone::Roles));
}

#[test]
fn what_failed_before_there_were_tasks_is_tried_again_when_that_is_due() {
    let due = Timestamp::from_second(5).expect("time");
    let again = |story: &mut Story, step: Alone| {
        let failure = Failure::new(FailureKind::Transient, "it did not work");
        story.tell(None, Fact::PlanningRetried { failure, due });
        assert_eq!(story.next(Options::default(), &[]), Step::Wait(Some(due)), "{step:?}");
        let then = next(&story.state, &job(Options::default()), &BTreeSet::new(), due);
        assert_eq!(then, Step::Alone(step));
    };
    let mut story = Story::new();
    again(&mut story, Alone::FixWorkspace);
    story.tell(None, Fact::WorkspaceFixed { workspace: workspace() });
    again(&mut story, Alone::Plan);
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
fn the_first_tasks_are_known_with_the_plan_where_they_get_trees_and_nobody_is_asked() {
    let tasks = vec![task("a", &[]), task("b", &["a"]), task("c", &[]), task("d", &[])];
    let first = |story: &Story, options: Options| {
        first_tasks(&story.state, &job(options), Timestamp::UNIX_EPOCH)
    };
    let mut story = Story::new();
    story.tell(None, Fact::WorkspaceFixed { workspace: workspace() });
    assert_eq!(first(&story, Options::default()), [], "there is no plan");
    story.tell(None, Fact::PlanCreated { plan: 1, objective: "o".into(), tasks });
    assert_eq!(first(&story, Options::default()), ["a", "c", "d"].map(id));
    let two = Options { max_parallel: 2, ..Options::default() };
    assert_eq!(first(&story, two), ["a", "c"].map(id), "as many as begin at once");
    let asked = Options { approve: true, ..Options::default() };
    assert_eq!(first(&story, asked), [], "a person may want another plan");
    let mut free = Options::default();
    free.roles.entry(Role::Planner).or_default().sandbox = Some(Sandbox::DangerFullAccess);
    assert_eq!(first(&story, free), [], "who gives out the roles could write there");
    story.state.workspace.as_mut().expect("fixed").isolation = Isolation::InPlace;
    assert_eq!(first(&story, Options::default()), [], "they work in the directory itself");
}

#[test]
fn trees_of_attempts_that_did_not_land_are_kept_and_no_others() {
    let names = ["new", "landed", "failed", "claims", "reads"];
    let mut story = Story::planned(&names.map(|name| task(name, &[])));
    for (name, attempt) in [("landed", 2), ("failed", 1), ("claims", 1), ("reads", 3)] {
        story.tell(Some(name), Fact::TaskStarted { attempt });
    }
    story.done("landed").failed("failed");
    story.state.tasks[4].task.role = Role::Reviewer;
    let views = [("plan", 1), ("roles", 1), ("verify", 1), ("queen", 1)];
    let of_tasks = [("new", 1), ("landed", 3), ("landed", 2), ("failed", 2), ("claims", 2)];
    let of_readers = [("reads", 4), ("reads", 1)];
    assert_eq!(unused_trees(&story.state), [&views[..], &of_tasks, &of_readers].concat());
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
    assert_eq!(
        story.next(Options::default(), &[]),
        Step::Alone(Alone::Publish),
        "what landed is published"
    );
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
fn verify_comes_before_the_branch() {
    let options = || Options { verify: vec!["true".into()], ..Options::default() };
    let mut story = Story::planned(&[task("a", &[])]);
    story.done("a");
    assert_eq!(story.next(options(), &[]), Step::Alone(Alone::Verify));
    story.tell(None, Fact::Verified { passed: true, commands: Vec::new() });
    assert_eq!(story.next(options(), &[]), Step::Alone(Alone::Publish));
    assert_eq!(end_of(&mut story, options()).1, "done");
}

#[test]
fn nobody_executes_an_unapproved_plan() {
    let mut story = Story::planned(&[task("a", &[])]);
    let options = || Options { approve: true, ..Options::default() };
    assert_eq!(story.next(options(), &[]), Step::Park(PauseReason::Approval, None));
    let reason = PauseReason::Approval;
    story.tell(None, Fact::Paused { reason, until: None, message: "the plan waits".into() });
    story.tell(None, Fact::PlanApproved {});
    assert_eq!(story.next(options(), &[]), start(&["a"]));
    let state = &story.state;
    assert_eq!(
        (state.phase, state.pause),
        (JobPhase::Running, None),
        "it waits for a worker alone"
    );
    assert_eq!(state.standing, Standing::default());
}

/// Where a job ends, once its branch is there.
fn end_of(story: &mut Story, options: Options) -> (JobPhase, String, String) {
    if story.next(options.clone(), &[]) == Step::Alone(Alone::Publish) {
        story.tell(None, Fact::Landed { branch: "b".into(), commit: "c".into() });
    }
    let Step::Finish(end) = story.next(options, &[]) else { unreachable!("the end") };
    (end.phase, end.reason, end.message)
}

#[test]
fn a_task_out_of_attempts_is_asked_about_at_once_and_takes_no_lane() {
    let mut story = Story::planned(&[task("a", &[]), task("b", &[]), task("c", &["a"])]);
    story.exhausted("a");
    let one = || Options { max_parallel: 1, ..Options::default() };
    assert_eq!(story.next(one(), &[]), start(&["a", "b"]));
    assert_eq!(story.next(one(), &["a"]), start(&["b"]));
    assert_eq!(story.next(one(), &["a", "b"]), Step::Wait(None));
}

#[test]
fn each_word_of_the_queen_has_its_consequence() {
    let told = |decision| {
        let mut story = Story::planned(&[task("a", &[]), task("b", &["a"]), task("c", &[])]);
        story.done("c").exhausted("a").advised("a", decision);
        story
    };
    assert_eq!(told(Decision::Retry).next(Options::default(), &[]), start(&["a"]));
    let mut skipped = told(Decision::Skip);
    assert_eq!(skipped.next(Options::default(), &[]), start(&["b"]), "the rest goes on without it");
    skipped.done("b");
    let (phase, reason, message) = end_of(&mut skipped, Options::default());
    assert_eq!((phase, reason.as_str()), (JobPhase::Succeeded, "done"));
    assert_eq!(message, "2 tasks done, 1 left out");
    let skip = vec![(id("b"), id("a"))];
    assert_eq!(
        told(Decision::GiveUp).next(Options::default(), &[]),
        Step::Tasks { start: Vec::new(), skip }
    );
    assert_eq!(told(Decision::Replan).next(Options::default(), &["x"]), Step::Wait(None));
    assert_eq!(told(Decision::Replan).next(Options::default(), &[]), Step::Alone(Alone::Plan));
}

#[test]
fn a_new_plan_keeps_what_landed_and_drops_the_rest() {
    let mut story = Story::planned(&[task("a", &[]), task("b", &["a"]), task("c", &["b"])]);
    story.done("a").exhausted("b").advised("b", Decision::Replan);
    let tasks = vec![task("d", &["a"])];
    story.tell(None, Fact::Replanned { plan: 2, objective: "o".into(), tasks: tasks.clone() });
    assert_eq!(story.next(Options::default(), &[]), Step::Alone(Alone::Roles));
    story.tell(None, Fact::RolesAssigned { plan: 2, tasks, strategy: "s".into() });
    assert_eq!(story.next(Options::default(), &[]), start(&["d"]));
    let planned: Vec<String> = story.state.plan().tasks.iter().map(|t| t.id.to_string()).collect();
    assert_eq!(planned, ["a", "d"]);
    story.done("d");
    let (phase, _, message) = end_of(&mut story, Options::default());
    assert_eq!((phase, message.as_str()), (JobPhase::Succeeded, "2 tasks done, 2 left out"));
}

#[test]
fn a_new_plan_needs_a_new_approval() {
    let mut story = Story::planned(&[task("a", &[]), task("b", &[])]);
    let options = || Options { approve: true, ..Options::default() };
    story.tell(None, Fact::PlanApproved {}).exhausted("a").advised("a", Decision::Replan);
    let tasks = vec![task("d", &[])];
    story.tell(None, Fact::Replanned { plan: 2, objective: "o".into(), tasks: tasks.clone() });
    story.tell(None, Fact::RolesAssigned { plan: 2, tasks, strategy: "s".into() });
    assert_eq!(story.next(options(), &[]), Step::Park(PauseReason::Approval, None));
}

#[test]
fn a_reviewer_that_objects_waits_for_what_it_wanted_and_looks_again() {
    let mut story = Story::planned(&[task("a", &[]), task("judge", &["a"]), task("b", &["judge"])]);
    story.done("a").objected(Some("judge"), 1);
    assert_eq!(story.next(Options::default(), &[]), start(&["judge"]), "its tasks are to be added");
    story.added(Some("judge"), Because::Review, &[task("a-r1", &["a"])]);
    assert_eq!(story.next(Options::default(), &[]), start(&["a-r1"]));
    assert_eq!(story.next(Options::default(), &["a-r1"]), Step::Wait(None));
    story.done("a-r1");
    assert_eq!(story.next(Options::default(), &[]), start(&["judge"]));
    story.done("judge");
    assert_eq!(story.next(Options::default(), &[]), start(&["b"]));
}

#[test]
fn a_failed_verification_is_mended_a_bounded_number_of_times() {
    let options = || Options { verify: vec!["true".into()], ..Options::default() };
    let command = || CommandResult { command: "true".into(), code: Some(1) };
    let fails = || Fact::Verified { passed: false, commands: vec![command()] };
    let mut story = Story::planned(&[task("a", &[])]);
    story.done("a");
    for round in 1..=MAX_ROUNDS {
        assert_eq!(story.next(options(), &[]), Step::Alone(Alone::Verify));
        assert_eq!(story.tell(None, fails()).next(options(), &[]), mend(Because::Verify));
        let name = format!("verify-r{round}");
        story.added(None, Because::Verify, &[task(&name, &["a"])]);
        assert_eq!(story.next(options(), &[]), start(&[&name]));
        story.done(&name);
    }
    assert_eq!(story.next(options(), &[]), Step::Alone(Alone::Verify));
    story.tell(None, fails());
    assert_eq!(end_of(&mut story, options()).1, "verify_failed");
    let mut mended = Story::planned(&[task("a", &[])]);
    mended
        .done("a")
        .tell(None, fails())
        .added(None, Because::Verify, &[task("m", &["a"])])
        .done("m");
    mended.tell(None, Fact::Verified { passed: true, commands: Vec::new() });
    assert_eq!(end_of(&mut mended, options()).1, "done");
}

#[test]
fn the_queen_judges_the_result_after_its_verification() {
    let options = || Options { review: true, verify: vec!["true".into()], ..Options::default() };
    let mut story = Story::planned(&[task("a", &[])]);
    story.done("a");
    for round in 1..=MAX_ROUNDS {
        assert_eq!(story.next(options(), &[]), Step::Alone(Alone::Verify));
        story.tell(None, Fact::Verified { passed: true, commands: Vec::new() });
        assert_eq!(story.next(options(), &[]), Step::Alone(Alone::Judge));
        assert_eq!(story.objected(None, round).next(options(), &[]), mend(Because::Queen));
        let name = format!("objective-r{round}");
        story.added(None, Because::Queen, &[task(&name, &["a"])]).done(&name);
    }
    story.tell(None, Fact::Verified { passed: true, commands: Vec::new() }).objected(None, 3);
    let (phase, reason, message) = end_of(&mut story, options());
    assert_eq!((phase, reason.as_str()), (JobPhase::Failed, "review_rejected"));
    assert!(message.contains("more"), "{message}");
}

#[test]
fn a_success_without_a_change_says_so() {
    let mut story = Story::planned(&[task("a", &[])]);
    let nothing = Fact::TaskCompleted { attempt: 1, commit: None, summary: "done".into() };
    story.tell(Some("a"), nothing);
    let (phase, _, message) = end_of(&mut story, Options::default());
    assert_eq!(
        (phase, message.as_str()),
        (JobPhase::Succeeded, "1 task done; no file was changed")
    );
}

#[test]
fn time_at_rest_is_not_spent() {
    let at = |second| Timestamp::from_second(second).expect("time");
    let mut story = Story::planned(&[task("a", &[])]);
    let pause = Fact::Paused { reason: PauseReason::Limit, until: None, message: String::new() };
    story.at(at(100)).tell(None, pause);
    story
        .at(at(1000))
        .tell(None, Fact::WorkerStarted { pid: 1, start_time: 0, boot_id: String::new() });
    let budget = crate::model::job::Budget { tokens: None, wall_seconds: Some(150) };
    let job = job(Options { budget, ..Options::default() });
    assert_eq!(over_budget(&story.state, &job, at(1049)), None);
    assert!(over_budget(&story.state, &job, at(1050)).is_some());
}

#[test]
fn a_budget_that_is_used_up_ends_only_what_would_spend_more() {
    let budget = crate::model::job::Budget { tokens: Some(0), wall_seconds: None };
    let poor = || Options { budget, ..Options::default() };
    let ends = |story: &Story| {
        let step = story.next(poor(), &[]);
        let Step::Finish(end) = step else { panic!("{step:?}") };
        end.reason
    };
    let mut story = Story::planned(&[task("a", &[]), task("b", &[])]);
    assert_eq!(ends(&story), "budget");
    assert_eq!(story.next(poor(), &["a"]), Step::Wait(None), "what is under way may land");
    story.done("a").done("b");
    assert_eq!(story.next(poor(), &[]), Step::Alone(Alone::Publish));
    story.tell(None, Fact::Landed { branch: "b".into(), commit: "c".into() });
    assert_eq!(ends(&story), "done");
}
