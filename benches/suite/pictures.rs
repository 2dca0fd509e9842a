//! The report: what stands in `docs/benchmarks.md` between its marks, and a picture for each measure, both made from the
//! newest line of each in the ledger.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Error};

use plotters::prelude::*;
use plotters::style::text_anchor;
use serde_json::Value;

use crate::figures::said;
use crate::goals;
use crate::ledger::{docs, newest};
use crate::measures::{MEASURES, Measure};

/// Where the figures stand in the report.
const MARKS: [&str; 2] = ["<!-- figures -->\n", "<!-- end of figures -->\n"];
/// How wide a picture is, and how high each of its bars, in points.
const WIDTH: u32 = 860;
const BAR: u32 = 26;
/// The colours of Numerus, of a floor and of the others.
const OURS: RGBColor = RGBColor(0x2f, 0x6f, 0xb7);
const FLOOR: RGBColor = RGBColor(0x9a, 0xa5, 0xb1);
const OTHER: RGBColor = RGBColor(0xd9, 0x9a, 0x4e);

const OF_GOALS: &str = "Each figure is of the newest run of its measure, whose table is below; the original's 16.9 s are cited, from \
    another machine.";

/// Makes all of them again.
pub(crate) fn renew() -> io::Result<()> {
    let mut text = format!("### Goals\n\n{OF_GOALS}\n\n{}\n", goals::table());
    for measure in MEASURES {
        let Some(line) = newest(measure.name) else { continue };
        let rows = line["rows"].as_array().cloned().unwrap_or_default();
        let picture = format!("benchmarks/{}.svg", measure.name);
        text.push_str(&section(measure, &line, &rows));
        if draw(measure, &rows, &picture)? {
            let _ = write!(text, "![{}: {}]({picture})\n\n", measure.name, measure.what);
        }
    }
    let path = docs("benchmarks.md");
    let page = fs::read_to_string(&path)?;
    let (before, rest) = page.split_once(MARKS[0]).ok_or_else(|| Error::other("no mark"))?;
    let (_, after) = rest.split_once(MARKS[1]).ok_or_else(|| Error::other("no second mark"))?;
    fs::write(path, format!("{before}{}\n{text}{}{after}", MARKS[0], MARKS[1]))
}

fn figure(row: &Value, column: &str) -> Option<f64> {
    row[column].as_f64()
}

/// The table of a measure with, beside each subject, how much of Numerus's it is, where there is anybody else in it.
fn section(measure: &Measure, line: &Value, rows: &[Value]) -> String {
    let lead = measure.columns.first().copied().unwrap_or_default();
    let name = |row: &Value| row["subject"].as_str().unwrap_or_default().to_owned();
    let is_ours = |row: &&Value| name(row).starts_with("Numerus");
    let is_compared = rows.iter().any(|row| !is_ours(&row) || row["not_run"].is_string());
    let ours = rows.iter().find(is_ours).and_then(|row| figure(row, lead));
    let mut text = format!("### {}\n\n{}.\n\n| |", measure.name, upper(measure.what));
    for column in measure.columns {
        let _ = write!(text, " {column} |");
    }
    let (head, rule) =
        if is_compared { (format!(" {lead} ÷ Numerus |"), "---|") } else { (String::new(), "") };
    let _ = writeln!(text, "{head}\n|---|{}{rule}", "---:|".repeat(measure.columns.len()));
    for row in rows {
        let _ = write!(text, "| {} |", name(row));
        for column in measure.columns {
            let cell = figure(row, column).map(said).unwrap_or_default();
            let _ = write!(text, " {cell} |");
        }
        let ratio = figure(row, lead).zip(ours).map(|(of, ours)| said(of / ours));
        let why = row["not_run"].as_str().map(|why| format!("not run: {why}"));
        let beside = ratio.or(why).unwrap_or_default();
        let _ =
            writeln!(text, "{}", if is_compared { format!(" {beside} |") } else { String::new() });
    }
    let machine = &line["machine"];
    let _ = writeln!(
        text,
        "\n{}, commit {}: {} processors ({}), Linux {}, load {} at its end.\n",
        line["day"].as_str().unwrap_or_default(),
        line["commit"].as_str().unwrap_or_default(),
        machine["processors"],
        machine["processor"].as_str().unwrap_or_default(),
        machine["kernel"].as_str().unwrap_or_default(),
        machine["load"].as_str().unwrap_or_default(),
    );
    text
}

fn upper(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Draws the leading column as bars on a scale of powers of ten; whether there was anything to draw.
fn draw(measure: &Measure, rows: &[Value], name: &str) -> io::Result<bool> {
    let lead = measure.columns.first().copied().unwrap_or_default();
    let subject = |row: &Value| row["subject"].as_str().unwrap_or_default().to_owned();
    let bars: Vec<(String, f64)> = rows
        .iter()
        .filter_map(|row| Some((subject(row), figure(row, lead).filter(|f| *f > 0.0)?)))
        .collect();
    let least = bars.iter().map(|(_, f)| *f).fold(f64::INFINITY, f64::min);
    let most = bars.iter().map(|(_, f)| *f).fold(0.0, f64::max);
    if bars.len() < 2 {
        return Ok(false);
    }
    let path = docs(name);
    fs::create_dir_all(path.with_file_name(""))?;
    let high = BAR * u32::try_from(bars.len()).unwrap_or(u32::MAX) + 40;
    paint(&path, (WIDTH, high), &bars, least / 2.0..most * 2.0)
        .map_err(|e| Error::other(e.to_string()))?;
    Ok(true)
}

fn paint(
    path: &std::path::Path,
    size: (u32, u32),
    bars: &[(String, f64)],
    range: std::ops::Range<f64>,
) -> Result<(), Box<dyn std::error::Error>> {
    let area = SVGBackend::new(path, size).into_drawing_area();
    area.fill(&WHITE)?;
    let bottom = range.start;
    let rows = i32::try_from(bars.len())?;
    let mut chart = ChartBuilder::on(&area)
        .margin_right(60)
        .set_label_area_size(LabelAreaPosition::Left, 200)
        .set_label_area_size(LabelAreaPosition::Bottom, 30)
        .build_cartesian_2d(range.log_scale(), 0..rows)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .light_line_style(TRANSPARENT)
        .draw()?;
    let font = ("sans-serif", 13).into_font();
    for ((name, figure), place) in bars.iter().zip((0..rows).rev()) {
        let colour = match name {
            name if name.starts_with("Numerus") => OURS,
            name if name.contains("floor") => FLOOR,
            _ => OTHER,
        };
        let bar = Rectangle::new([(bottom, place), (*figure, place + 1)], colour.filled());
        let mut bar = bar;
        bar.set_margin(4, 4, 0, 0);
        chart.draw_series(std::iter::once(bar))?;
        let (x, y) = chart.backend_coord(&(*figure, place));
        let middle = y - i32::try_from(BAR / 2)? - 7;
        area.draw(&Text::new(said(*figure), (x + 6, middle), font.clone()))?;
        let end = font
            .clone()
            .color(&BLACK)
            .pos(text_anchor::Pos::new(text_anchor::HPos::Right, text_anchor::VPos::Top));
        area.draw(&Text::new(name.clone(), (192, middle), end))?;
    }
    area.present()?;
    Ok(())
}
