//! `numerus man`: pages for `man`, of the program, of each command, and of `numerus.toml`.

use std::path::PathBuf;

use clap::{Args, Command};
use clap_mangen::Man as Page;
use clap_mangen::roff::{Roff, roman};

use super::here::Here;
use super::seams;
use crate::error::{CODES, Exit, Failure};
use crate::root::TEMPLATE;

/// The words of the command.
#[derive(Debug, Args)]
pub(super) struct Man {
    /// Write every page into man1 or man5 of this directory, instead of the program's page to stdout
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Prints or writes the pages.
pub(super) fn run(here: &mut Here, asked: &Man, command: Command) -> Result<Exit, Failure> {
    let pages = pages(command).map_err(|e| Failure::system("write the page", &e))?;
    let Some(dir) = &asked.out else {
        let first = pages.first().map(|(_, page)| page.as_str()).unwrap_or_default();
        here.out.text(first)?;
        return Ok(Exit::Done);
    };
    for (name, page) in pages {
        let path = dir.join(name);
        seams::write_page(&path, &page)?;
        here.out.line(&path.display().to_string())?;
    }
    Ok(Exit::Done)
}

/// Every page with its file, in the folder of its section, where `man` looks for it; the program's first.
fn pages(mut program: Command) -> std::io::Result<Vec<(String, String)>> {
    program = program.disable_help_subcommand(true);
    program.build();
    let mut pages = vec![("man1/numerus.1".to_owned(), page(&program)?)];
    for command in program.get_subcommands().filter(|c| !c.is_hide_set()) {
        let file = format!("man1/numerus-{}.1", command.get_name());
        pages.push((file, page(command)?));
    }
    pages.push(("man5/numerus.toml.5".to_owned(), page_of_settings()));
    Ok(pages)
}

fn page(command: &Command) -> std::io::Result<String> {
    let name = command.get_display_name().unwrap_or(command.get_name()).to_owned();
    let examples = command.get_after_help().map(ToString::to_string).unwrap_or_default();
    let page = Page::new(command.clone().version(env!("CARGO_PKG_VERSION")));
    let mut bytes = title(&name, 1).into_bytes();
    page.render_name_section(&mut bytes)?;
    page.render_synopsis_section(&mut bytes)?;
    page.render_description_section(&mut bytes)?;
    page.render_options_section(&mut bytes)?;
    if command.get_subcommands().any(|c| !c.is_hide_set()) {
        page.render_subcommands_section(&mut bytes)?;
    }
    bytes.extend(listing("EXAMPLES", examples.lines().skip(1)).into_bytes());
    let codes = CODES.map(|(code, meaning)| format!("{code:<9} {meaning}"));
    bytes.extend(listing("EXIT STATUS", codes.iter().map(String::as_str)).into_bytes());
    bytes.extend(paragraph("SEE ALSO", "numerus(1), numerus.toml(5)").into_bytes());
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

fn page_of_settings() -> String {
    let what = "A file in a root, in TOML; every key is optional, and an unknown one is an error. Below is the file as numerus init \
                writes it, with every setting and its default.";
    let sections = [
        title("numerus.toml", 5),
        paragraph("NAME", "numerus.toml - settings of a Numerus root"),
        paragraph("DESCRIPTION", what),
        listing("FILE", TEMPLATE.lines()),
        paragraph("SEE ALSO", "numerus(1), numerus-init(1), numerus-doctor(1)"),
    ];
    sections.concat()
}

/// There is no date in it: the version tells the age.
fn title(name: &str, section: u8) -> String {
    format!(".TH {name} {section} \"\" \"numerus {}\" \"Numerus\"\n", env!("CARGO_PKG_VERSION"))
}

fn paragraph(head: &str, text: &str) -> String {
    let mut roff = Roff::new();
    roff.control("SH", [head]).text([roman(text)]);
    roff.render()
}

/// Lines that stay as they are; nothing where there are none.
fn listing<'a>(head: &str, lines: impl Iterator<Item = &'a str>) -> String {
    let mut lines = lines.peekable();
    if lines.peek().is_none() {
        return String::new();
    }
    let mut roff = Roff::new();
    roff.control("SH", [head]).control("nf", []);
    for line in lines {
        roff.text([roman(line)]);
    }
    roff.control("fi", []);
    roff.render()
}
