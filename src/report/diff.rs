//! What each task changed: the patches, file by file, in the colours of their languages, as far as there is room for them.

use super::html::{Html, address, cut};
use super::material::{Material, Piece};
use super::page::card;
use super::words::{sign, task_tone};
use crate::logic::patch::{self, PatchLine, PatchedFile};
use crate::logic::syntax::{self, Language, Open, Token};
use crate::logic::task::TaskState;
use crate::logic::words::{plural, size};

/// How much of the page all patches together may take.
const ALL_BYTES: usize = 2 * 1024 * 1024;
/// Most lines and files of one patch, and the longest line.
const MOST_LINES: usize = 1500;
const MOST_FILES: usize = 200;
const LINE_BYTES: usize = 1000;
/// A patch of a few lines is open from the start.
const FEW_LINES: usize = 60;

/// Writes them, where anything has landed.
pub(super) fn write(html: &mut Html, of: &Material) {
    if of.patches.is_empty() {
        return;
    }
    let beside = format!("by {}", plural(of.patches.len(), "task"));
    card(html, "changes", "Changes", &beside, |html| {
        html.block("div", "in", |html| {
            let start = html.len();
            for task in &of.state.tasks {
                let Some(piece) = of.patches.get(&task.task.id) else { continue };
                let has_room = html.len() - start < ALL_BYTES && html.has_room();
                one(html, task, piece, has_room);
            }
        });
    });
}

fn one(html: &mut Html, task: &TaskState, piece: &Piece, has_room: bool) {
    let files = patch::files(&piece.bytes);
    let lines: usize = files.iter().map(|f| f.lines.len()).sum();
    let anchor = format!("d-{}", task.task.id);
    let attributes = [("class", "patch"), ("id", anchor.as_str()), ("open", "")];
    let count = if lines <= FEW_LINES && has_room { 3 } else { 2 };
    html.within("details", &attributes[..count], |html| {
        html.within("summary", &[], |html| summary(html, task, &files, piece));
        let mut left = if has_room { MOST_LINES } else { 0 };
        for file in files.iter().take(MOST_FILES) {
            if left > 0 && html.has_room() {
                self::file(html, file, &mut left);
            }
        }
        let is_long = |file: &PatchedFile<'_>| file.lines.iter().any(|(_, l)| l.len() > LINE_BYTES);
        let is_all = lines <= MOST_LINES
            && files.len() <= MOST_FILES
            && !files.iter().any(is_long)
            && !piece.is_cut()
            && has_room;
        if !is_all {
            let to = address([task.task.id.as_str(), "diff.patch"]);
            html.block("p", "in", |html| {
                html.text("There is more than is shown here: ");
                html.leaf("a", &[("href", &to)], "see the file");
                html.text(&format!(" ({}).", size(piece.of)));
            });
        }
    });
    html.constant("\n");
}

fn summary(html: &mut Html, task: &TaskState, files: &[PatchedFile<'_>], piece: &Piece) {
    let sum = |of: fn(&PatchedFile<'_>) -> usize| files.iter().map(of).sum::<usize>();
    sign(html, task_tone(task.phase), task.phase.as_str());
    html.leaf("b", &[], task.task.id.as_str());
    html.span("dim", &plural(files.len(), "file"));
    let at_least = if piece.is_cut() { " or more" } else { "" };
    html.span("plus", &format!("+{}", sum(|f| f.added)));
    html.span("minus", &format!("\u{2212}{}{at_least}", sum(|f| f.removed)));
}

fn file(html: &mut Html, file: &PatchedFile<'_>, left: &mut usize) {
    let path = String::from_utf8_lossy(file.path);
    let language = syntax::language(&path);
    let mut open: Open = None;
    html.within("pre", &[("class", "diff")], |html| {
        if !path.is_empty() {
            html.within("div", &[("class", "h")], |html| {
                html.leaf("s", &[], "");
                html.leaf("b", &[], cut(&path, LINE_BYTES).0);
            });
        }
        for (kind, line) in &file.lines {
            if *left == 0 || !html.has_room() {
                break;
            }
            if *kind == PatchLine::Head && is_plain_head(line) {
                continue;
            }
            *left -= 1;
            self::line(html, *kind, line, language, &mut open);
        }
    });
}

/// What the heading of the file says already.
fn is_plain_head(line: &[u8]) -> bool {
    [&b"diff --git "[..], b"index ", b"--- ", b"+++ "].iter().any(|start| line.starts_with(start))
}

fn line(
    html: &mut Html,
    kind: PatchLine,
    line: &[u8],
    language: Option<&Language>,
    open: &mut Open,
) {
    let (class, number, sign) = match kind {
        PatchLine::Head => ("m", None, ""),
        PatchLine::Hunk => ("h", None, ""),
        PatchLine::Removed(number) => ("d", Some(number), "-"),
        PatchLine::Added(number) => ("a", Some(number), "+"),
        PatchLine::Kept(number) => ("k", Some(number), " "),
    };
    html.within("div", &[("class", class)], |html| {
        html.leaf("s", &[], &number.map(|n| n.to_string()).unwrap_or_default());
        html.text(sign);
        let shown = &line[..line.len().min(LINE_BYTES)];
        match (std::str::from_utf8(shown), language) {
            (Ok(text), Some(language)) if number.is_some() => coloured(html, language, text, open),
            _ => html.bytes(shown),
        }
        html.text(if shown.len() < line.len() { "…" } else { "" });
    });
    if kind == PatchLine::Hunk {
        *open = None;
    }
}

fn coloured(html: &mut Html, language: &Language, text: &str, open: &mut Open) {
    for (token, piece) in syntax::pieces(language, text, open) {
        match token {
            Token::Plain => html.text(piece),
            Token::Comment => html.span("c", piece),
            Token::Text => html.span("t", piece),
            Token::Number => html.span("u", piece),
            Token::Keyword => html.span("w", piece),
            Token::Name => html.span("f", piece),
        }
    }
}
