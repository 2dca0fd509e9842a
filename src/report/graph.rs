//! What depends on what, as a drawing.

use super::html::{Html, cut};
use super::left_out::missing;
use super::material::Material;
use super::page::card;
use super::words::task_tone;
use crate::logic::layers::{Layers, Spot, lay_out};
use crate::logic::words::plural;

/// The sizes of the drawing: a box, what lies between two, and the rim.
const BOX: (f64, f64) = (168.0, 42.0);
const GAP: (f64, f64) = (46.0, 14.0);
const RIM: f64 = 4.0;
/// Most tasks that are drawn.
const MOST_TASKS: usize = 200;
/// Most letters of a name in a box, and of what is written below it.
const NAME: usize = 20;
const UNDER: usize = 24;

/// Writes it, where there is anything to see.
pub(super) fn write(html: &mut Html, of: &Material) {
    let tasks = &of.state.tasks;
    if tasks.len() < 2 {
        return;
    }
    let beside = format!("{}, what depends on what", plural(tasks.len(), "task"));
    if tasks.len() > MOST_TASKS {
        card(html, "tasks", "Plan", &beside, |html| {
            missing(html, "p", tasks.len(), "tasks, too many to draw", &["plan.json"]);
        });
        return;
    }
    let index = |id: &crate::model::id::TaskId| tasks.iter().position(|t| t.task.id == *id);
    let before = |(to, task): (usize, &crate::logic::task::TaskState)| {
        task.task.dependencies.iter().filter_map(|d| Some((index(d)?, to))).collect::<Vec<_>>()
    };
    let edges: Vec<(usize, usize)> = tasks.iter().enumerate().flat_map(before).collect();
    let layers = lay_out(tasks.len(), &edges);
    card(html, "tasks", "Plan", &beside, |html| {
        html.block("div", "graph", |html| draw(html, of, &layers));
    });
}

#[expect(clippy::cast_precision_loss, reason = "a few hundred at most")]
fn size(layers: &Layers) -> (f64, f64) {
    let across = |count: usize, size: f64, gap: f64| {
        2.0f64.mul_add(RIM, (size + gap).mul_add(count as f64, -gap))
    };
    (across(layers.columns, BOX.0, GAP.0), across(layers.rows, BOX.1, GAP.1))
}

fn draw(html: &mut Html, of: &Material, layers: &Layers) {
    let (width, height) = size(layers);
    let (wide, high) = (format!("{width:.0}"), format!("{height:.0}"));
    let view = format!("0 0 {wide} {high}");
    let attributes = [
        ("width", wide.as_str()),
        ("height", high.as_str()),
        ("viewBox", view.as_str()),
        ("role", "img"),
        ("aria-label", "which task depends on which"),
    ];
    html.within("svg", &attributes, |html| {
        for edge in &layers.edges {
            html.shape("path", &[("class", "edge"), ("d", &line(edge))]);
        }
        for (task, spot) in of.state.tasks.iter().zip(&layers.spots) {
            node(html, task, *spot);
        }
    });
}

/// The upper left corner of a box.
#[expect(clippy::cast_precision_loss, reason = "a few hundred at most")]
fn corner(spot: Spot) -> (f64, f64) {
    (RIM + spot.column as f64 * (BOX.0 + GAP.0), RIM + spot.row * (BOX.1 + GAP.1))
}

/// From the right of the first box, straight through the columns between, to the left of the last.
fn line(edge: &[Spot]) -> String {
    let middle = |spot: Spot| {
        let (x, y) = corner(spot);
        (x, y + BOX.1 / 2.0)
    };
    let first = edge.first().map(|spot| middle(*spot)).unwrap_or_default();
    let start = format!("M{:.1} {:.1}", first.0 + BOX.0, first.1);
    let piece = |pair: &[Spot]| {
        let ((from, y0), (to, y1)) = (middle(pair[0]), middle(pair[1]));
        let from = from + BOX.0;
        let half = (to - from) / 2.0;
        let (one, two) = (from + half, to - half);
        format!("H{from:.1}C{one:.1} {y0:.1} {two:.1} {y1:.1} {to:.1} {y1:.1}")
    };
    [start].into_iter().chain(edge.windows(2).map(piece)).collect()
}

fn node(html: &mut Html, task: &crate::logic::task::TaskState, spot: Spot) {
    let (x, y) = corner(spot);
    let tone = task_tone(task.phase);
    let at = |n: f64| format!("{n:.1}");
    html.within("a", &[("href", &format!("#t-{}", task.task.id))], |html| {
        html.leaf("title", &[], cut(&task.task.summary, 400).0);
        let (left, top) = (at(x), at(y));
        let (wide, high) = (at(BOX.0), at(BOX.1));
        let place = [("x", left.as_str()), ("y", top.as_str())];
        let frame = [("width", wide.as_str()), ("height", high.as_str()), ("rx", "6")];
        html.shape("rect", &[&place[..], &frame[..]].concat());
        let stripe = format!("stripe {tone}");
        let (left, top) = (at(x + 8.0), at(y + 10.0));
        let frame = [("width", "4"), ("height", "22"), ("rx", "2"), ("class", stripe.as_str())];
        html.shape(
            "rect",
            &[&[("x", left.as_str()), ("y", top.as_str())][..], &frame[..]].concat(),
        );
        let (left, upper, lower) = (at(x + 20.0), at(y + 18.0), at(y + 33.0));
        let id = short(task.task.id.as_str(), NAME);
        html.leaf("text", &[("x", &left), ("y", &upper)], &id);
        let under = format!("{}, {}", task.task.role.as_str(), task.phase.as_str());
        let under = short(&under, UNDER);
        html.leaf("text", &[("x", &left), ("y", &lower), ("class", "sub")], &under);
    });
}

fn short(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}
