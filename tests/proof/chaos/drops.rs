//! What is dropped into the storm: jobs of several kinds, by every way that the protocol knows.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;

use crate::dice::Dice;
use crate::world::World;

/// How a file comes into `incoming/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Rename,
    Link,
    InPlace,
    Submit,
}

/// What the file asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One task in a fresh repository.
    Single,
    /// Two tasks, planned, in a fresh repository.
    Two,
    /// One task in the repository that several jobs share, with a file of its own.
    Shared,
    /// Nothing that can be accepted.
    Bad,
    /// One task, with a key that another job has too.
    Keyed(u64),
}

/// A job that is going to be dropped.
#[derive(Debug, Clone)]
pub(super) struct Drop {
    /// How its id begins.
    pub(super) slug: String,
    pub(super) way: Way,
    pub(super) kind: Kind,
    /// Whether somebody is going to kill it.
    pub(super) is_unwanted: bool,
}

/// The jobs of one generation.
pub(super) fn all(dice: &mut Dice, jobs: u64) -> Vec<Drop> {
    let mut drops: Vec<Drop> = Vec::new();
    let mut keys = 0;
    for number in 0..jobs {
        let kind = match dice.between(0, 100) {
            0..70 => Kind::Single,
            70..78 => Kind::Two,
            78..88 => Kind::Shared,
            88..94 => Kind::Bad,
            _ => {
                keys += 1;
                Kind::Keyed((keys - 1) / 2)
            }
        };
        let ways = [Way::Rename, Way::Link, Way::InPlace, Way::Submit];
        let way = match kind {
            Kind::Bad => Way::Rename,
            _ => *dice.pick(&ways).unwrap_or(&Way::Rename),
        };
        let is_unwanted = matches!(kind, Kind::Single | Kind::Two) && dice.percent(8);
        drops.push(Drop { slug: format!("j{number:03}"), way, kind, is_unwanted });
    }
    drops
}

impl Drop {
    /// The objective; `solo` in it makes the agent write a file of that name.
    fn objective(&self) -> String {
        let word = match self.kind {
            Kind::Two => "two",
            Kind::Shared => "solo",
            Kind::Single | Kind::Bad | Kind::Keyed(_) => "do",
        };
        format!("{} {word}", self.slug)
    }

    fn options(&self, shared: &Path) -> Vec<(&'static str, String)> {
        let plan = ("plan", "single".to_owned());
        match self.kind {
            Kind::Single => vec![plan],
            Kind::Two => Vec::new(),
            Kind::Shared => vec![plan, ("workspace", shared.display().to_string())],
            Kind::Bad => vec![("nonsense", "1".to_owned())],
            Kind::Keyed(key) => vec![plan, ("key", format!("key-{key}"))],
        }
    }

    /// The job file.
    fn text(&self, shared: &Path) -> String {
        let lines =
            self.options(shared).into_iter().map(|(key, value)| format!("{key}: {value}\n"));
        format!("---\n{}---\n{}\n", lines.collect::<String>(), self.objective())
    }

    /// Drops the file; one to be submitted is a command to run.
    pub(super) fn drop_into(&self, world: &World, shared: &Path) -> Option<Command> {
        let (name, text) = (format!("{}.md", self.slug), self.text(shared));
        let target = world.folder("incoming").join(&name);
        match self.way {
            Way::Rename => world.drop_file(&name, text),
            Way::Link => {
                let aside = world.path("linked");
                fs::write(&aside, text).unwrap();
                fs::hard_link(&aside, target).unwrap();
                fs::remove_file(aside).unwrap();
            }
            Way::InPlace => {
                let mut file = fs::File::create(target).unwrap();
                let (front, rest) = text.split_at(text.len() / 2);
                file.write_all(front.as_bytes()).unwrap();
                file.write_all(rest.as_bytes()).unwrap();
            }
            Way::Submit => {
                let objective = self.objective();
                let mut command = world.numerus(&["submit", &objective]);
                for (key, value) in self.options(shared) {
                    command.arg(format!("--{key}")).arg(value);
                }
                return Some(command);
            }
        }
        None
    }
}
