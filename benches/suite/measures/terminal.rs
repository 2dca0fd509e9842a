//! What an agent prints, on its way into the log: MB a second, against a bare reader of the same terminal, and what the readers
//! use for it; and a floor, a reader that writes what it reads into two logs, and does nothing else. How fast a
//! terminal is depends on which processor who of the two is on: all are run by turns, and the run in the middle counts.

use std::fs::File;
use std::io::{self, Error, Read as _, Write as _};

use portable_pty::{CommandBuilder, PtySize, native_pty_system};

use super::Size;
use crate::figures::{Row, millis};
use crate::marks::Kind;
use crate::ours::{Ours, PATIENCE, one_task};
use crate::used::used;

/// Bytes of a write, and what they are called.
const WRITES: [(usize, &str); 3] =
    [(64 * 1024, "64 KB lines"), (80, "80-byte lines"), (4 * 1024 * 1024, "4 MB lines")];

/// The columns of a reader.
type Figures = [(&'static str, f64); 3];

pub(super) fn run(size: Size) -> io::Result<Vec<Row>> {
    let (bytes, rounds) = (size.of(4 << 20, 128 << 20), size.of(1, 5));
    let mut rows = Vec::new();
    for (line, name) in WRITES {
        let mut runs: [Vec<Row>; 3] = Default::default();
        for _round in 0..rounds {
            let [bares, floors, all_ours] = &mut runs;
            bares.push(Row::new(&format!("bare reader, {name}"), &bare(bytes, line, false)?));
            let floor = bare(bytes, line, true)?;
            floors.push(Row::new(&format!("floor: a reader with two logs, {name}"), &floor));
            all_ours.push(Row::new(&format!("Numerus, {name}"), &ours(bytes, line)?));
        }
        rows.extend(runs.into_iter().filter_map(|runs| Row::middle(runs, "MB/s")));
    }
    Ok(rows)
}

/// What the reader of a flood did between its first and its last byte: its rate, and what it used.
fn figures(ours: &Ours, bytes: usize, reader: impl Fn() -> io::Result<u32>) -> io::Result<Figures> {
    let gone = || Error::other("the reader is gone");
    let begins = ours.scratch.marks.wait(Kind::Said, PATIENCE)?;
    let pid = reader()?;
    let before = used(pid).ok_or_else(gone)?;
    let ends = ours.scratch.marks.wait(Kind::Said, PATIENCE * 4)?;
    let after = used(pid).ok_or_else(gone)?;
    #[expect(clippy::cast_precision_loss, reason = "megabytes")]
    let megabytes = bytes as f64 / 1e6;
    Ok([
        ("MB/s", megabytes / (millis(begins.at, ends.at) / 1e3)),
        ("processor ms/MB", (after.ticks - before.ticks) * 10.0 / megabytes),
        ("MB", after.memory),
    ])
}

/// The logs of the floor: all of it as it comes, and, once more, lines as they are whole.
struct Logs {
    raw: File,
    lines: File,
    begun: Vec<u8>,
}

impl Logs {
    fn in_folder_of(ours: &Ours) -> io::Result<Self> {
        let make = |name| File::create(ours.scratch.path(name));
        Ok(Self { raw: make("raw.log")?, lines: make("lines.log")?, begun: Vec::new() })
    }

    fn write(&mut self, piece: &[u8]) -> io::Result<()> {
        self.raw.write_all(piece)?;
        let end = piece.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let (whole, begun) = piece.split_at(end);
        self.begun.extend_from_slice(whole);
        if end > 0 {
            self.lines.write_all(&self.begun)?;
            self.begun.clear();
        }
        self.begun.extend_from_slice(begun);
        Ok(())
    }
}

fn bare(bytes: usize, line: usize, keeps_logs: bool) -> io::Result<Figures> {
    let ours = Ours::new(&one_task(0), "")?;
    ours.lets_agent_flood(bytes, line)?;
    let mut logs = keeps_logs.then(|| Logs::in_folder_of(&ours)).transpose()?;
    let pair = native_pty_system().openpty(PtySize::default()).map_err(Error::other)?;
    let mut command = CommandBuilder::new(ours.scratch.marks.agent());
    command.args(["exec", "--json", "x"]);
    let mut child = pair.slave.spawn_command(command).map_err(Error::other)?;
    drop(pair.slave);
    let mut reader = pair.master.try_clone_reader().map_err(Error::other)?;
    std::thread::scope(|scope| {
        let reader = scope.spawn(move || {
            let (mut buffer, mut written) = (vec![0; 64 * 1024], io::Result::Ok(()));
            // The other side's end is an error of a terminal.
            while let Ok(size) = reader.read(&mut buffer)
                && size > 0
            {
                // Read to the end also where it cannot be written: the agent waits for it.
                if let Some(logs) = logs.as_mut().filter(|_| written.is_ok()) {
                    written = logs.write(&buffer[..size]);
                }
            }
            written
        });
        let figures = figures(&ours, bytes, || Ok(std::process::id()));
        child.wait()?;
        reader.join().map_err(|_| Error::other("the reader broke off"))??;
        figures
    })
}

fn ours(bytes: usize, line: usize) -> io::Result<Figures> {
    let mut ours = Ours::new(&one_task(0), "")?;
    ours.lets_agent_flood(bytes, line)?;
    ours.start(1)?;
    ours.drop_job("job", "plan: single")?;
    figures(&ours, bytes, || ours.worker())
}
