//! What each role has spent.

use super::html::Html;
use super::material::Material;
use super::page::card;
use crate::logic::words::{number, short};
use crate::model::plan::Role;

/// Writes it, once something was spent.
pub(super) fn write(html: &mut Html, of: &Material) {
    let all = of.state.tokens;
    if all.total() == 0 {
        return;
    }
    card(html, "tokens", "Tokens", &format!("{} in all", short(all.total())), |html| {
        html.block("div", "in", |html| {
            html.block("div", "share", |html| {
                for (role, spent) in &of.state.spent {
                    #[expect(clippy::cast_precision_loss, reason = "a width in percent")]
                    let share = spent.total() as f64 * 100.0 / all.total() as f64;
                    let style = format!("width:{share:.2}%");
                    let says = role.as_str();
                    html.shape("i", &[("class", class(*role)), ("style", &style), ("title", says)]);
                }
            });
            html.within("table", &[], |html| {
                row(
                    html,
                    "th",
                    None,
                    &["role", "input", "of it cached", "output"].map(str::to_owned),
                );
                for (role, t) in &of.state.spent {
                    let cells = [
                        role.as_str().to_owned(),
                        number(t.input),
                        number(t.cached),
                        number(t.output),
                    ];
                    row(html, "td", Some(*role), &cells);
                }
                let sum = [
                    "together".to_owned(),
                    number(all.input),
                    number(all.cached),
                    number(all.output),
                ];
                row(html, "td", None, &sum);
            });
        });
    });
}

fn class(role: Role) -> &'static str {
    match role {
        Role::Planner => "k-plan",
        Role::Executor => "k-execute",
        Role::Reviewer => "k-review",
        Role::Queen => "k-queen",
    }
}

fn row(html: &mut Html, cell: &'static str, role: Option<Role>, cells: &[String; 4]) {
    html.within("tr", &[], |html| {
        for (at, text) in cells.iter().enumerate() {
            let class = if at == 0 { "" } else { "n" };
            html.within(cell, &[("class", class)], |html| {
                if let Some(role) = role.filter(|_| at == 0) {
                    html.within("span", &[("class", "key dot")], |html| {
                        html.shape("i", &[("class", self::class(role))]);
                    });
                }
                html.text(text);
            });
        }
    });
}
