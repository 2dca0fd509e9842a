//! Figures: what a measure has seen of each subject, and how that is said.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::measures::Measure;

/// What was seen of one subject.
#[derive(Debug, Clone)]
pub(crate) struct Row {
    /// Who: a peer, a floor, or Numerus.
    pub(crate) subject: String,
    /// The figures by their column; none where it could not be measured.
    pub(crate) figures: BTreeMap<&'static str, f64>,
    /// Why it could not be measured.
    pub(crate) not_run: Option<String>,
}

impl Row {
    /// A row of figures.
    pub(crate) fn new(subject: &str, figures: &[(&'static str, f64)]) -> Self {
        let figures = figures.iter().copied().collect();
        Self { subject: subject.to_owned(), figures, not_run: None }
    }

    /// Of an odd number of runs the one in the middle, by this column: its figures belong together, which medians do not.
    pub(crate) fn middle(mut runs: Vec<Self>, column: &str) -> Option<Self> {
        let by = |row: &Self| row.figures.get(column).copied().unwrap_or(f64::INFINITY);
        runs.sort_by(|one, other| by(one).total_cmp(&by(other)));
        let middle = runs.len() / 2;
        runs.into_iter().nth(middle)
    }

    /// A row of what could not be measured.
    pub(crate) fn not_run(subject: &str, why: &str) -> Self {
        Self {
            subject: subject.to_owned(),
            figures: BTreeMap::new(),
            not_run: Some(why.to_owned()),
        }
    }

    /// As it is kept.
    pub(crate) fn json(&self) -> Value {
        let mut object: Map<String, Value> = Map::new();
        object.insert("subject".to_owned(), self.subject.as_str().into());
        for (column, figure) in &self.figures {
            object.insert((*column).to_owned(), round(*figure).into());
        }
        if let Some(why) = &self.not_run {
            object.insert("not_run".to_owned(), why.as_str().into());
        }
        Value::Object(object)
    }
}

/// Four digits that mean something are enough.
fn round(figure: f64) -> f64 {
    let scale = match figure.abs() {
        1000.0.. => 1.0,
        100.0.. => 10.0,
        10.0.. => 100.0,
        1.0.. => 1000.0,
        _ => 10_000.0,
    };
    (figure * scale).round() / scale
}

/// A figure for people.
pub(crate) fn said(figure: f64) -> String {
    match figure.abs() {
        99.95.. => format!("{figure:.0}"),
        9.995.. => format!("{figure:.1}"),
        0.9995.. => format!("{figure:.2}"),
        _ => format!("{figure:.3}"),
    }
}

/// The value below which so much of all lies; `all` is sorted here.
pub(crate) fn percentile(all: &mut [f64], part: f64) -> f64 {
    all.sort_by(f64::total_cmp);
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        clippy::cast_precision_loss,
        reason = "a place in a short list"
    )]
    let place = ((all.len() as f64 * part).ceil() as usize).clamp(1, all.len().max(1)) - 1;
    all.get(place).copied().unwrap_or(f64::NAN)
}

/// Milliseconds between two moments.
pub(crate) fn millis(from: u64, to: u64) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "spans of minutes at most")]
    let nanos = to.saturating_sub(from) as f64;
    nanos / 1e6
}

/// Median, 95th and 99th percentile of spans in milliseconds.
pub(crate) fn spread(mut spans: Vec<f64>) -> [(&'static str, f64); 3] {
    [("p50", 0.5), ("p95", 0.95), ("p99", 0.99)]
        .map(|(name, part)| (name, percentile(&mut spans, part)))
}

/// A table for people, with what each is of Numerus in the leading column.
pub(crate) fn table(measure: &Measure, rows: &[Row]) -> String {
    let mut text = "| |".to_owned();
    for column in measure.columns {
        let _ = write!(text, " {column} |");
    }
    text.push_str("\n|---|");
    text.push_str(&"---|".repeat(measure.columns.len()));
    text.push('\n');
    for row in rows {
        let _ = write!(text, "| {} |", row.subject);
        if let Some(why) = &row.not_run {
            let _ = write!(text, " not run: {why} |");
        }
        let cell = |column: &&str| row.figures.get(*column).copied().map(said).unwrap_or_default();
        for cell in measure.columns.iter().skip(usize::from(row.not_run.is_some())).map(cell) {
            let _ = write!(text, " {cell} |");
        }
        text.push('\n');
    }
    text
}
