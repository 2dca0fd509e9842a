//! A board as rows of a screen, as many and as wide as there is room for. Pure.

use super::{Board, Lane};
use crate::cli::here::View;
use crate::cli::ink::Tone;
use crate::cli::render::{count, job_tone, task_tone};
use crate::cli::row::{Row, width};
use crate::logic::words::{plural, short, span};
use crate::model::status::{JobPhase, TaskPhase};

/// Widest name of a task that is shown whole.
const MAX_NAME: usize = 24;
/// With fewer columns than this, roles and tokens are left out.
const ROOMY: usize = 72;

/// The whole board in at most `height` rows: the job, what it does, its tasks.
pub(in crate::cli) fn block(board: &Board, view: &View, height: usize) -> Vec<Row> {
    let mut rows = summary(board, view);
    rows.extend(lanes(board, view, height.saturating_sub(rows.len()).max(1)));
    rows.into_iter().take(height.max(1)).map(|row| row.cut(view.width)).collect()
}

/// The job without its tasks, in one row or two.
pub(in crate::cli) fn summary(board: &Board, view: &View) -> Vec<Row> {
    let mut rows = vec![head(board, view)];
    if !board.doing.1.is_empty() {
        let (tone, words) = &board.doing;
        rows.push(Row::of(*tone, &format!("  {words}")));
    }
    rows
}

/// The job in one row.
fn head(board: &Board, view: &View) -> Row {
    let status = &board.status;
    let state = match status.until {
        Some(until) if status.state == JobPhase::Paused => {
            format!("{} until {}", status.state.as_str(), view.moment(until))
        }
        _ => status.state.as_str().to_owned(),
    };
    let mut row = Row::of(Tone::Strong, status.job_id.as_str())
        .and(Tone::Plain, "  ")
        .and(job_tone(status.state), &state);
    let mut more = |text: String| row = std::mem::take(&mut row).and(Tone::Dim, &text);
    let (done, all) = board.done();
    if all > 0 {
        more(format!(" · {done} of {}", plural(all, "task")));
    }
    more(format!(" · {}", span(view.now.duration_since(status.created_at))));
    if status.tokens.total() > 0 {
        more(format!(" · {} tokens", short(status.tokens.total())));
    }
    row
}

/// The tasks in at most so many rows: those that somebody works on before those that wait, and these before the others.
pub(in crate::cli) fn lanes(board: &Board, view: &View, most: usize) -> Vec<Row> {
    let name = board.lanes.iter().map(|l| width(l.status.id.as_str())).max().unwrap_or(0);
    let name = name.min(if view.width < ROOMY { MAX_NAME / 2 } else { MAX_NAME });
    let (shown, left) = chosen(&board.lanes, most);
    let mut rows: Vec<Row> = shown.into_iter().map(|l| lane(l, name, view)).collect();
    if !left.is_empty() {
        rows.push(Row::of(Tone::Dim, &format!("  and {}", remainder(&left))));
    }
    rows
}

/// Those that are shown, in the plan's order, and the others.
fn chosen(lanes: &[Lane], most: usize) -> (Vec<&Lane>, Vec<&Lane>) {
    if lanes.len() <= most {
        return (lanes.iter().collect(), Vec::new());
    }
    let mut order: Vec<usize> = (0..lanes.len()).collect();
    order.sort_by_key(|n| weight(lanes[*n].status.state));
    let mut shown: Vec<usize> = order.into_iter().take(most.saturating_sub(1)).collect();
    shown.sort_unstable();
    let is_shown = |n: &usize| shown.contains(n);
    let left = (0..lanes.len()).filter(|n| !is_shown(n)).map(|n| &lanes[n]).collect();
    (shown.iter().map(|n| &lanes[*n]).collect(), left)
}

fn weight(phase: TaskPhase) -> u8 {
    match phase {
        phase if phase.is_active() => 0,
        TaskPhase::Blocked => 1,
        TaskPhase::Failed => 2,
        TaskPhase::Pending => 3,
        _ => 4,
    }
}

/// `12 more (9 succeeded, 3 pending)`.
fn remainder(left: &[&Lane]) -> String {
    let mut states: Vec<(&str, usize)> = Vec::new();
    for lane in left {
        let word = lane.status.state.as_str();
        match states.iter_mut().find(|(known, _)| *known == word) {
            Some((_, n)) => *n += 1,
            None => states.push((word, 1)),
        }
    }
    let states: Vec<String> = states.iter().map(|(word, n)| format!("{n} {word}")).collect();
    format!("{} more ({})", left.len(), states.join(", "))
}

/// One task in one row.
pub(in crate::cli) fn lane(lane: &Lane, name: usize, view: &View) -> Row {
    let task = &lane.status;
    let roomy = view.width >= ROOMY;
    let is_open = !task.state.is_final() && task.state != TaskPhase::Pending;
    let time = match (lane.since.filter(|_| is_open), task.until) {
        (Some(since), _) => span(view.now.duration_since(since)),
        (None, Some(until)) if until > view.now => {
            format!("in {}", span(until.duration_since(view.now)))
        }
        _ => String::new(),
    };
    let mut row = Row::of(Tone::Plain, "  ").column(Tone::Plain, task.id.as_str(), name);
    if roomy {
        row = row.column(Tone::Dim, task.role.as_str(), 8);
    }
    row = row.column(task_tone(task.state), task.state.as_str(), 9).column(Tone::Dim, &time, 7);
    if roomy {
        row = row.column(Tone::Dim, &count(task.tokens.total()), 6);
    }
    row.and(lane.words.0, &lane.words.1)
}
