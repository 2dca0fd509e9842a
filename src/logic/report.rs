//! `summary.md`: what came out of a job, for people, as the job's state and little else tells it. Pure.

use std::fmt::{self, Write as _};
use std::path::Path;

use super::state::JobState;
use super::take;
use super::task::TaskState;
use super::words::spent;
use crate::model::job::Job;
use crate::model::status::{JobPhase, TaskPhase};

/// What the state does not know.
#[derive(Debug, Clone, Copy)]
pub struct Found<'a> {
    /// The job's folder.
    pub dir: &'a Path,
    /// Whether the job has a repository of its own, in that folder.
    pub is_own: bool,
    /// Whether `result.patch` is in it.
    pub has_patch: bool,
    /// With what the result will conflict when it is merged, a line each.
    pub clashes: &'a [String],
}

/// The text, for a job that has ended. What agents said is in it as they said it.
pub fn report(state: &JobState, job: &Job, found: &Found<'_>) -> String {
    let mut out = String::new();
    // A string takes whatever is written.
    let _infallible = write(&mut out, state, job, found);
    out
}

fn write(out: &mut String, state: &JobState, job: &Job, found: &Found<'_>) -> fmt::Result {
    write!(out, "# {}\n\n{}\n\n", job.id, job.objective.trim())?;
    writeln!(out, "**{}**: {}\n", state.phase.as_str(), state.standing.message)?;
    if let Some(branch) = &state.branch {
        let retried = job.options.retry_of.as_ref().is_some_and(|retry| !retry.from_scratch);
        let patch = match found.has_patch {
            false => "",
            // The branch holds what other jobs had landed as well.
            true if retried || !state.base.taken_in.is_empty() => {
                ", what this job did of it as a patch in `result.patch`"
            }
            true => ", as a patch in `result.patch`",
        };
        writeln!(out, "The result is on the branch `{branch}`{patch}.\n")?;
        for from in &state.base.taken_in {
            writeln!(out, "It holds what job {from} had landed, too.\n")?;
        }
    }
    let top = state.workspace.as_ref().map(|w| w.top.as_str()).unwrap_or_default();
    let take = |branch: &String| take::command(&job.id, branch, top, found.is_own);
    let take = state.branch.as_ref().map(|branch| format!("To have it: `{}`.", take(branch)));
    let reason = state.standing.reason.as_deref();
    let first = if reason == Some("dependency") { "retry that job first, then " } else { "" };
    let retry = (state.phase == JobPhase::Failed)
        .then(|| format!("To do it once more: {first}`{}`.", take::again(&job.id, reason)));
    for line in [retry, take].into_iter().flatten() {
        writeln!(out, "{line}\n")?;
    }
    if state.workspace.as_ref().is_some_and(|w| w.dirty) {
        out.push_str("The checkout had uncommitted changes, which this job did not see.\n\n");
    }
    for task in &state.tasks {
        write_task(out, task)?;
    }
    write_judgements(out, state)?;
    // A job without a result may still have met others.
    let has_result = state.branch.is_some() || state.has_landed();
    write_clashes(out, if has_result { found.clashes } else { &[] })?;
    write_spent(out, state)?;
    writeln!(
        out,
        "\nThe whole story: `numerus events {}`. Everything: `{}`",
        job.id,
        found.dir.display()
    )
}

fn write_task(out: &mut String, task: &TaskState) -> fmt::Result {
    let is_done = task.phase == TaskPhase::Succeeded;
    let (id, role) = (&task.task.id, task.task.role.as_str());
    let line = format!(
        "- [{}] `{id}` ({role}, {}): {}",
        if is_done { "x" } else { " " },
        task.phase.as_str(),
        task.task.summary
    );
    writeln!(out, "{}", line.trim_end())?;
    let failure = task.failure.as_ref().filter(|_| !is_done);
    let words = failure.map_or(task.summary.as_str(), |f| f.message.as_str());
    let missed = task.measured.last().map_or(&[][..], |(_, quality)| &quality.missed);
    let missed: Vec<String> = missed.iter().map(|path| path.escape_debug().to_string()).collect();
    let missed =
        (!missed.is_empty()).then(|| format!("not claimed at first: {}", missed.join(", ")));
    let advice = task.advice.as_ref().map(|advice| format!("the queen: {advice}"));
    let more = [advice, missed].into_iter().flatten();
    for line in more.chain([words.to_owned()]).flat_map(|text| lines(&text)) {
        writeln!(out, "      {line}")?;
    }
    Ok(())
}

fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::to_owned).collect()
}

/// What was found of the result, and what had to be done anew for it.
fn write_judgements(out: &mut String, state: &JobState) -> fmt::Result {
    let mut found = Vec::new();
    match (state.verified, &state.unverified) {
        (Some(true), _) => found.push("The verify commands passed.".to_owned()),
        (Some(false), Some(bad)) => found.push(format!("`{}` did not pass.", bad.command)),
        (_, _) => {}
    }
    match state.accepted {
        Some(true) => found.push("The queen finds that it meets the objective.".to_owned()),
        Some(false) => found.push(format!("The queen misses: {}", state.missing)),
        None => {}
    }
    let rounds: u32 = state.tasks.iter().map(|t| t.rounds).sum();
    for (times, what) in [
        (state.replans, "What was left was planned anew"),
        (rounds, "A reviewer wanted changes"),
        (state.mends, "Tasks were added since the verify commands did not pass"),
        (state.appeals, "Tasks were added since the queen rejected the result"),
    ] {
        if times > 0 {
            found.push(format!("{what}, {times}x."));
        }
    }
    if found.is_empty() { Ok(()) } else { writeln!(out, "\n{}", found.join("\n")) }
}

fn write_clashes(out: &mut String, clashes: &[String]) -> fmt::Result {
    if clashes.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nThis result will conflict, when it is merged, with\n")?;
    clashes.iter().try_for_each(|line| writeln!(out, "- {line}"))
}

fn write_spent(out: &mut String, state: &JobState) -> fmt::Result {
    write!(out, "\nTokens: {}", spent(state.tokens))?;
    let roles = state.spent.iter().map(|(role, t)| format!("{}: {}", role.as_str(), spent(*t)));
    let roles: Vec<String> = roles.collect();
    if roles.is_empty() { writeln!(out) } else { writeln!(out, " ({})", roles.join("; ")) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use serde_json::json;

    use super::*;
    use crate::model::PROTOCOL_VERSION;
    use crate::model::claim::ClaimQuality;
    use crate::model::command::CommandResult;
    use crate::model::id::JobId;
    use crate::model::job::{Options, Origin, RetryOf};
    use crate::model::outcome::Tokens;
    use crate::model::plan::Role;

    fn job() -> Job {
        Job {
            version: PROTOCOL_VERSION,
            id: JobId::parse("a-abc234").expect("id"),
            objective: " Do it.\n".into(),
            options: Options::default(),
            origin: Origin { name: "a".into(), bytes: 1, sha256: String::new(), uid: 0 },
            created_at: Timestamp::UNIX_EPOCH,
        }
    }

    #[test]
    fn of_a_retry_the_patch_is_what_it_did_itself() {
        let state = JobState { branch: Some("numerus/a".into()), ..JobState::default() };
        for (retry_of, has_patch, expected) in [
            (None, true, "`numerus/a`, as a patch in `result.patch`.\n"),
            (
                Some("old-abc234"),
                true,
                "`numerus/a`, what this job did of it as a patch in `result.patch`.\n",
            ),
            (Some("old-abc234:scratch"), true, "`numerus/a`, as a patch in `result.patch`.\n"),
            (Some("old-abc234"), false, "`numerus/a`.\n"),
        ] {
            let mut job = job();
            job.options.retry_of =
                retry_of.and_then(|text| RetryOf::try_from(text.to_owned()).ok());
            let found = Found { dir: Path::new("/r"), is_own: false, has_patch, clashes: &[] };
            let text = report(&state, &job, &found);
            assert!(text.contains(expected), "{text}");
        }
    }

    fn task() -> TaskState {
        let planned = json!({
            "id": "t1", "summary": "First.", "description": "", "role": "executor",
            "dependencies": [], "notes": "", "resources": {"reads": [], "writes": []},
        });
        let mut task = TaskState::new(serde_json::from_value(planned).expect("task"));
        task.phase = TaskPhase::Succeeded;
        task.advice = Some("the other door".into());
        let missed = vec!["b\n.txt".into()];
        task.measured.push((1, ClaimQuality { missed, ..ClaimQuality::default() }));
        task.summary = "Done,\nwell.".into();
        task
    }

    #[test]
    fn it_tells_what_came_out_what_was_found_and_what_it_cost() {
        let mut state = JobState { phase: JobPhase::Failed, ..JobState::default() };
        state.standing.message = "1 task done".into();
        state.branch = Some("numerus/a".into());
        state.base.taken_in.push(JobId::parse("b-abc234").expect("id"));
        state.tasks.push(task());
        state.verified = Some(false);
        state.unverified = Some(CommandResult { command: "false".into(), code: Some(1) });
        (state.accepted, state.missing, state.mends) = (Some(false), "all".into(), 2);
        state.tokens = Tokens { input: 7, cached: 0, output: 1 };
        state.spent = BTreeMap::from([(Role::Planner, state.tokens)]);
        let found = Found {
            dir: Path::new("/r"),
            is_own: false,
            has_patch: true,
            clashes: &["job b: x".to_owned()],
        };
        let text = report(&state, &job(), &found);
        let expected = "# a-abc234

Do it.

**failed**: 1 task done

The result is on the branch `numerus/a`, what this job did of it as a patch in `result.patch`.

It holds what job b-abc234 had landed, too.

To do it once more: `numerus retry a-abc234`.

To have it: `numerus apply a-abc234`.

- [x] `t1` (executor, succeeded): First.
      the queen: the other door
      not claimed at first: b\\n.txt
      Done,
      well.

`false` did not pass.
The queen misses: all
Tasks were added since the verify commands did not pass, 2x.

This result will conflict, when it is merged, with

- job b: x

Tokens: 7 in (0 cached), 1 out (planner: 7 in (0 cached), 1 out)

The whole story: `numerus events a-abc234`. Everything: `/r`
";
        assert_eq!(text, expected);
        let text = report(&state, &job(), &Found { has_patch: false, is_own: true, ..found });
        assert!(text.contains("The result is on the branch `numerus/a`.\n"), "{text}");
        assert!(text.contains("To have it: `git clone -b numerus/a "), "{text}");
        state.branch = None;
        let text = report(&state, &job(), &found);
        assert!(!text.contains("will conflict"), "nothing landed: {text}");
        state.standing.reason = Some("dependency".into());
        let text = report(&state, &job(), &found);
        let first =
            "To do it once more: retry that job first, then `numerus retry a-abc234 --after NEW`.";
        assert!(text.contains(first), "{text}");
    }
}
