//! `top`'s screen as rows: one row each for its head, counts and foot, the jobs or one of them, and the log below. Pure.

use ratatui::buffer::Buffer;

use super::state::{Mode, Page, Screen};
use crate::cli::board::Board;
use crate::cli::board::rows::{self, lane};
use crate::cli::here::View;
use crate::cli::ink::Tone;
use crate::cli::render::{age, count, job_tone};
use crate::cli::row::{Row, width};
use crate::logic::idle::Idle;
use crate::model::status::TaskPhase;

/// Most tasks of one job in the list of jobs.
const MOST_LANES: usize = 6;
/// With fewer columns than this, what is in the list is shortened.
const ROOMY: usize = 72;

/// The keys, as the help shows them.
const HELP: &[(&str, &str)] = &[
    ("↑ ↓ j k", "select a job, or a task of an open job"),
    ("g G", "the first, the last"),
    ("Enter", "open the job; Escape goes back"),
    ("l", "the log alone, and back"),
    ("PgUp PgDn", "scroll the log"),
    ("K", "kill the job, or the selected task (asks)"),
    ("p", "let the job rest, or go on if somebody let it rest"),
    ("r", "retry an ended job, or the selected task (asks)"),
    ("a", "approve the plan of a job that waits for that (asks); Enter shows its tasks"),
    ("o", "open the job's report in a browser"),
    ("/", "show only jobs that hold a text"),
    ("Ctrl-L", "draw everything anew"),
    ("q", "quit; nothing ends by that"),
];

/// Draws the screen.
pub(super) fn draw(buffer: &mut Buffer, screen: &Screen, view: &View) {
    let area = buffer.area;
    let (columns, height) = (usize::from(area.width), usize::from(area.height));
    let view = View { width: columns, ..view.clone() };
    for (y, row) in (area.top()..area.bottom()).zip(all(screen, &view, height)) {
        buffer.set_line(area.x, y, &row.cut(columns).line(view.ink), area.width);
    }
}

/// The whole screen, exactly so many rows.
fn all(screen: &Screen, view: &View, height: usize) -> Vec<Row> {
    let mut rows = top_of_page(screen, view);
    let foot = foot(screen, view);
    let room = height.saturating_sub(rows.len() + 1);
    let body = match (&screen.mode, screen.page, screen.log_only) {
        (Mode::Help, ..) => help(),
        (_, _, true) => log(screen, view, room),
        (_, page, false) => {
            let upper = (room * 3 / 5).max(room.min(4));
            let mut body = match page {
                Page::Jobs => jobs(screen, view, upper),
                Page::Job => job(screen, view, upper),
            };
            body.resize(upper, Row::default());
            body.extend(log(screen, view, room - upper));
            body
        }
    };
    rows.extend(body);
    rows.truncate(height.saturating_sub(1));
    rows.resize(height.saturating_sub(1), Row::default());
    rows.push(foot);
    rows
}

fn top_of_page(screen: &Screen, view: &View) -> Vec<Row> {
    let overview = &screen.overview;
    let (tone, daemon) =
        if overview.daemon { (Tone::Good, "daemon active") } else { (Tone::Wait, "no daemon") };
    let title = format!("numerus {}", overview.root);
    let room = view.width.saturating_sub(width(daemon) + 2);
    let head = Row::default().column(Tone::Strong, &title, room).and(tone, daemon);
    let counts: Vec<String> =
        overview.counts.iter().map(|(n, word)| format!("{n} {word}")).collect();
    let mut rows = vec![head, Row::of(Tone::Dim, &counts.join(" · "))];
    rows.extend(overview.troubles.iter().take(2).map(|line| Row::of(Tone::Bad, line)));
    rows
}

/// The list of jobs, scrolled so that the selected one is seen with its tasks.
fn jobs(screen: &Screen, view: &View, height: usize) -> Vec<Row> {
    let jobs = screen.jobs();
    if jobs.is_empty() {
        let why = if screen.filter.is_empty() { "no jobs" } else { "no job holds that" };
        return vec![Row::of(Tone::Dim, &format!("  {why}"))];
    }
    let name = jobs.iter().map(|b| width(b.status.job_id.as_str())).max().unwrap_or(0);
    let name = name.min(if view.width < ROOMY { 16 } else { 32 });
    let (mut rows, mut chosen) = (Vec::new(), 0..0);
    for board in jobs {
        let first = rows.len();
        let is_chosen = Some(&board.status.job_id) == screen.job.as_ref();
        rows.push(of_job(board, name, is_chosen, view));
        rows.extend(busy_lanes(board, view));
        if is_chosen {
            chosen = first..rows.len();
        }
    }
    let room = height.saturating_sub(1);
    let from = scrolled(&chosen, rows.len(), room);
    let heading = heading(name, view);
    std::iter::once(heading).chain(rows.into_iter().skip(from).take(room)).collect()
}

fn heading(name: usize, view: &View) -> Row {
    let row = Row::of(Tone::Dim, "  ").column(Tone::Dim, "JOB", name).column(Tone::Dim, "STATE", 9);
    let row = if view.width < ROOMY {
        row
    } else {
        row.column(Tone::Dim, "DONE", 5).column(Tone::Dim, "TOKENS", 6).column(Tone::Dim, "AGE", 4)
    };
    row.and(Tone::Dim, "WHAT")
}

fn of_job(board: &Board, name: usize, is_chosen: bool, view: &View) -> Row {
    let status = &board.status;
    let label = Idle::of_status(status, board.held).and_then(Idle::label);
    let (tone, words) =
        label.map_or((job_tone(status.state), status.state.as_str()), |label| (Tone::Bad, label));
    let mut row = Row::of(Tone::Plain, if is_chosen { "> " } else { "  " })
        .column(Tone::Strong, status.job_id.as_str(), name)
        .column(tone, words, 9);
    if view.width >= ROOMY {
        let (done, all) = board.done();
        let done = if all == 0 { String::new() } else { format!("{done}/{all}") };
        let moved = if status.state.is_final() { status.updated_at } else { status.created_at };
        row = row
            .column(Tone::Plain, &done, 5)
            .column(Tone::Plain, &count(status.tokens.total()), 6)
            .column(Tone::Plain, &age(moved, view.now), 4);
    }
    if let Some(until) = status.until {
        row = row.and(Tone::Wait, &format!("until {} ", view.moment(until)));
    }
    let what = if board.doing.1.is_empty() { &status.objective } else { &board.doing.1 };
    let row = row.and(board.doing.0, what);
    if is_chosen { row.chosen() } else { row }
}

/// The tasks that somebody works on, or that wait for a lease.
fn busy_lanes(board: &Board, view: &View) -> Vec<Row> {
    let is_busy = |phase: TaskPhase| phase.is_active() || phase == TaskPhase::Blocked;
    let busy: Vec<_> = board.lanes.iter().filter(|l| is_busy(l.status.state)).collect();
    let name = busy.iter().map(|l| width(l.status.id.as_str())).max().unwrap_or(0).min(16);
    let shown = busy.iter().take(MOST_LANES);
    let mut rows: Vec<Row> =
        shown.map(|l| Row::of(Tone::Plain, "  ").then(lane(l, name, view))).collect();
    if let Some(more) = busy.len().checked_sub(MOST_LANES).filter(|more| *more > 0) {
        rows.push(Row::of(Tone::Dim, &format!("    and {more} more")));
    }
    rows
}

/// The first row that is shown, so that what is chosen is among the others.
fn scrolled(chosen: &std::ops::Range<usize>, all: usize, room: usize) -> usize {
    if all <= room || chosen.end <= room {
        return 0;
    }
    (chosen.end - room).min(chosen.start)
}

/// One job with all of its tasks.
fn job(screen: &Screen, view: &View, height: usize) -> Vec<Row> {
    let Some(board) = screen.board() else { return vec![Row::of(Tone::Dim, "  no job")] };
    let narrow = View { width: view.width.saturating_sub(2), ..view.clone() };
    let mark = |is_chosen: bool, row: Row| {
        let row = Row::of(Tone::Plain, if is_chosen { "> " } else { "  " }).then(row);
        if is_chosen { row.chosen() } else { row }
    };
    let name = board.lanes.iter().map(|l| width(l.status.id.as_str())).max().unwrap_or(0).min(24);
    let head = rows::summary(board, &narrow);
    let objective = Row::of(Tone::Dim, &format!("    {}", board.status.objective));
    let mut fixed: Vec<Row> = head
        .into_iter()
        .enumerate()
        .map(|(n, row)| mark(n == 0 && screen.task.is_none(), row))
        .collect();
    fixed.push(objective);
    let lanes: Vec<Row> = board
        .lanes
        .iter()
        .map(|l| mark(Some(&l.status.id) == screen.task.as_ref(), lane(l, name, &narrow)))
        .collect();
    let at = board.lanes.iter().position(|l| Some(&l.status.id) == screen.task.as_ref());
    let room = height.saturating_sub(fixed.len());
    let chosen = at.map_or(0..0, |n| n..n + 1);
    let from = scrolled(&chosen, lanes.len(), room);
    fixed.extend(lanes.into_iter().skip(from).take(room));
    fixed
}

/// What is said about the selected job or task.
fn log(screen: &Screen, view: &View, height: usize) -> Vec<Row> {
    let job = screen.job.as_ref().map(ToString::to_string).unwrap_or_default();
    let of = screen.task.as_ref().map(|task| format!("/{task}")).unwrap_or_default();
    let title = if job.is_empty() { String::new() } else { format!(" {job}{of} ") };
    let rule = "─".repeat(view.width.saturating_sub(width(&title) + 2));
    let mut rows = vec![Row::of(Tone::Dim, "──").and(Tone::Plain, &title).and(Tone::Dim, &rule)];
    let room = height.saturating_sub(1);
    let all = &screen.overview.log;
    let end = all.len().saturating_sub(screen.back).max(room.min(all.len()));
    let shown = all.iter().take(end).skip(end.saturating_sub(room));
    rows.extend(shown.map(|(tone, line)| Row::of(*tone, line)));
    rows.truncate(height);
    rows
}

fn help() -> Vec<Row> {
    let key = |(key, does): &(&str, &str)| {
        Row::of(Tone::Plain, "  ").column(Tone::Strong, key, 10).and(Tone::Plain, does)
    };
    std::iter::once(Row::default()).chain(HELP.iter().map(key)).collect()
}

fn foot(screen: &Screen, view: &View) -> Row {
    match &screen.mode {
        Mode::Help => Row::of(Tone::Dim, "any key closes this"),
        Mode::Filter => {
            Row::of(Tone::Strong, "/").and(Tone::Plain, &screen.filter).and(Tone::Plain, "_")
        }
        Mode::Sure(act, target) => {
            Row::of(Tone::Strong, &format!("{} {target}? [y/n]", act.as_str()))
        }
        Mode::Plain if !screen.said.is_empty() => Row::of(Tone::Plain, &screen.said),
        Mode::Plain => {
            let filter = match screen.filter.as_str() {
                "" => String::new(),
                text => format!("/{text} (Escape: all)  "),
            };
            let keys = match (view.width < ROOMY, screen.unapproved().is_some()) {
                (true, false) => "Enter open  K kill  ? help  q quit",
                (true, true) => "a approve  Enter open  ? help  q quit",
                (false, false) => {
                    "↑↓ select  Enter open  l log  K kill  p pause  r retry  / find  ? help  q quit"
                }
                (false, true) => {
                    "↑↓ select  Enter open  a approve  l log  K kill  p pause  / find  ? help  q quit"
                }
            };
            Row::of(Tone::Wait, &filter).and(Tone::Dim, keys)
        }
    }
}

#[cfg(test)]
mod tests;
