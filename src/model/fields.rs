//! Reads the keys of an object that a person or a program wrote: every key is known and typed, or it is a problem that
//! says what to do. Nothing is silently ignored. Serves job files and `numerus.toml` alike.

use std::ops::RangeInclusive;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::duration;

/// Longest piece of a wrong input that a message repeats, in bytes, escaped.
pub const SHOWN_BYTES: usize = 80;
/// Most problems that are told; of more, how many they are.
const MAX_PROBLEMS: usize = 20;

/// An object whose keys are taken one by one; what is left at the end is unknown.
#[derive(Debug)]
pub struct Fields {
    left: Map<String, Value>,
    known: Vec<&'static str>,
    problems: Vec<String>,
    within: String,
}

impl Fields {
    /// Starts on an object; `within` is put before each key in messages (`""`, or `"codex."`).
    pub fn new(object: Map<String, Value>, within: &str) -> Self {
        Self { left: object, known: Vec::new(), problems: Vec::new(), within: within.to_owned() }
    }

    fn take(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.left.remove(key).filter(|v| !v.is_null())
    }

    fn typed<T>(
        &mut self,
        key: &'static str,
        wants: &str,
        read: impl Fn(&Value) -> Option<T>,
    ) -> Option<T> {
        let value = self.take(key)?;
        let read = read(&value);
        if read.is_none() {
            self.problems.push(format!(
                "`{}{key}` must be {wants}, not {}",
                self.within,
                shown(&value)
            ));
        }
        read
    }

    /// A text of at most `max_bytes` bytes, not blank.
    pub fn text(&mut self, key: &'static str, max_bytes: usize) -> Option<String> {
        self.typed(key, &format!("a text of at most {max_bytes} bytes"), |v| {
            v.as_str().filter(|t| t.len() <= max_bytes && !t.trim().is_empty()).map(str::to_owned)
        })
    }

    /// A name that becomes an argument of another program: a short text that does not look like a flag.
    pub fn word(&mut self, key: &'static str) -> Option<String> {
        self.typed(key, "a text of at most 128 bytes that does not start with a dash", |v| {
            let fits = |t: &&str| t.len() <= 128 && !t.trim().is_empty() && !t.starts_with('-');
            v.as_str().filter(fits).map(str::to_owned)
        })
    }

    /// `true` or `false`.
    pub fn flag(&mut self, key: &'static str) -> Option<bool> {
        self.typed(key, "true or false", Value::as_bool)
    }

    /// A whole number in a range.
    pub fn number(&mut self, key: &'static str, range: RangeInclusive<i64>) -> Option<i64> {
        let wants = format!("a whole number from {} to {}", range.start(), range.end());
        self.typed(key, &wants, |v| v.as_i64().filter(|n| range.contains(n)))
    }

    /// A list of texts, at most `max` of them; a single text counts as a list of one.
    pub fn texts(&mut self, key: &'static str, max: usize) -> Option<Vec<String>> {
        let full = |text: &str| (!text.trim().is_empty()).then(|| text.to_owned());
        self.typed(
            key,
            &format!("a list of at most {max} texts, none of them empty"),
            |v| match v {
                Value::String(one) => Some(vec![full(one)?]),
                Value::Array(many) if many.len() <= max => {
                    many.iter().map(|t| t.as_str().and_then(full)).collect()
                }
                _ => None,
            },
        )
    }

    /// A list of at most `max` numbers of users.
    pub fn uids(&mut self, key: &'static str, max: usize) -> Option<Vec<u32>> {
        self.typed(key, &format!("a list of at most {max} numbers of users"), |v| {
            let list = v.as_array().filter(|list| list.len() <= max)?;
            list.iter().map(|n| n.as_u64().and_then(|n| u32::try_from(n).ok())).collect()
        })
    }

    /// A duration above zero, such as `"90s"`.
    pub fn duration(&mut self, key: &'static str) -> Option<Duration> {
        self.typed(key, "a duration such as \"90s\", \"10m\" or \"2h\"", |v| {
            v.as_str().and_then(duration::parse).filter(|d| !d.is_zero())
        })
    }

    /// A moment in RFC 3339.
    pub fn timestamp(&mut self, key: &'static str) -> Option<Timestamp> {
        self.typed(key, "a time such as \"2031-05-01T08:00:00Z\"", |v| {
            v.as_str().and_then(|t| t.parse().ok())
        })
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&mut self, key: &'static str, words: &[(&str, T)]) -> Option<T> {
        let list = words.iter().map(|(w, _)| format!("{w:?}")).collect::<Vec<_>>().join(", ");
        self.typed(key, &format!("one of {list}"), |v| {
            let word = v.as_str()?;
            words.iter().find(|(w, _)| *w == word).map(|(_, t)| *t)
        })
    }

    /// A nested object, as fields of its own; give it back to [`Fields::merge`] when done.
    pub fn object(&mut self, key: &'static str) -> Option<Fields> {
        let object = self.typed(key, "an object", |v| v.as_object().cloned())?;
        Some(Fields::new(object, &format!("{}{key}.", self.within)))
    }

    /// Takes over the problems of a nested object.
    pub fn merge(&mut self, nested: Fields) {
        if let Err(problems) = nested.finish() {
            self.problems.extend(problems);
        }
    }

    /// Adds a problem found by the caller.
    pub fn problem(&mut self, text: impl Into<String>) {
        self.problems.push(text.into());
    }

    /// Ends the reading.
    ///
    /// # Errors
    /// The problems found, unknown keys with the nearest known one included; of very many, the first.
    pub fn finish(mut self) -> Result<(), Vec<String>> {
        let count = self.problems.len() + self.left.len();
        let room = MAX_PROBLEMS.saturating_sub(self.problems.len());
        for key in self.left.keys().take(room) {
            self.problems.push(unknown(&self.within, key, &self.known));
        }
        if count > MAX_PROBLEMS {
            self.problems.truncate(MAX_PROBLEMS);
            self.problems.push(format!("and {} more problems", count - MAX_PROBLEMS));
        }
        if self.problems.is_empty() { Ok(()) } else { Err(self.problems) }
    }
}

fn unknown(within: &str, key: &str, known: &[&'static str]) -> String {
    let near = nearest(key, known);
    let key = shown(&Value::String(key.to_owned()));
    let table = within.trim_end_matches('.');
    let place = if table.is_empty() { String::new() } else { format!(" in `{table}`") };
    match near {
        Some(best) => format!("unknown key {key}{place}: did you mean `{within}{best}`?"),
        None => format!("unknown key {key}{place}: known keys are {}", known.join(", ")),
    }
}

/// The known key that an unknown one was most likely meant to be: one that it begins, else the one with the fewest other
/// letters, if most are the same.
fn nearest(key: &str, known: &[&'static str]) -> Option<&'static str> {
    if key.len() > SHOWN_BYTES {
        return None;
    }
    let key = key.to_lowercase();
    let begun = known.iter().filter(|k| key.len() >= 2 && k.starts_with(&key));
    if let Some(best) = begun.min_by_key(|k| k.len()) {
        return Some(best);
    }
    let distance = |k: &&'static str| (strsim::damerau_levenshtein(k, &key), *k);
    let (distance, best) = known.iter().map(distance).min()?;
    (distance <= 3 && distance * 2 <= key.chars().count()).then_some(best)
}

/// What to say of a key that is missing: also which of those that are there was most likely meant.
pub fn missing<'a>(key: &'static str, there: impl Iterator<Item = &'a String>) -> String {
    let meant = there.filter(|k| nearest(k, &[key]).is_some()).take(1);
    let meant = meant.map(|k| format!("; {}", unknown("", k, &[key])));
    format!("`{key}` is missing{}", meant.collect::<String>())
}

/// A value as a message may repeat it: short, one line, escaped.
fn shown(value: &Value) -> String {
    cut(&value.to_string(), |c| c == '"' || c == '\\')
}

/// A text as a message may repeat it: in quotes, short, one line, escaped.
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", cut(text, |_| false))
}

/// The beginning of a text, escaped but for some characters.
fn cut(text: &str, stays: impl Fn(char) -> bool) -> String {
    let mut cut = String::new();
    for c in text.chars() {
        let piece = if stays(c) { c.to_string() } else { c.escape_default().to_string() };
        if cut.len() + piece.len() > SHOWN_BYTES {
            cut.push('…');
            break;
        }
        cut.push_str(&piece);
    }
    cut
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(text: &str) -> Fields {
        let Value::Object(map) = serde_json::from_str(text).expect("json") else {
            unreachable!("object")
        };
        Fields::new(map, "")
    }

    #[test]
    fn a_typo_names_the_nearest_key() {
        let mut f = fields(r#"{"prioritty": 3}"#);
        assert_eq!(f.number("priority", -100..=100), None);
        f.flag("review");
        assert_eq!(
            f.finish(),
            Err(vec!["unknown key \"prioritty\": did you mean `priority`?".to_owned()])
        );
    }

    #[test]
    fn a_key_that_a_table_does_not_know_is_told_with_that_table() {
        let mut f = fields(r#"{"resources": {"memry": 1, "wall": 2}}"#);
        let mut inner = f.object("resources").expect("a table");
        inner.number("memory", 0..=9);
        assert_eq!(
            inner.finish(),
            Err(vec![
                "unknown key \"memry\" in `resources`: did you mean `resources.memory`?".to_owned(),
                "unknown key \"wall\" in `resources`: known keys are memory".to_owned(),
            ])
        );
    }

    #[test]
    fn an_abbreviation_names_the_key_that_it_begins_and_what_is_far_off_names_all() {
        let known = ["plan", "priority", "profile"];
        for (key, near) in [
            ("prio", Some("priority")),
            ("PRIO", Some("priority")),
            ("pro", Some("profile")),
            ("paln", Some("plan")),
            ("pr", Some("profile")),
            ("p", None),
            ("wall", None),
            ("colour", None),
        ] {
            assert_eq!(nearest(key, &known), near, "{key}");
        }
        let there = ["x".to_owned(), "objectve".to_owned()];
        assert_eq!(
            missing("objective", there.iter()),
            "`objective` is missing; unknown key \"objectve\": did you mean `objective`?"
        );
        assert_eq!(missing("objective", there[..1].iter()), "`objective` is missing");
    }

    #[test]
    fn of_very_many_problems_the_first_are_told() {
        for (wrong, unknown, told) in
            [(0, 20, 20), (0, 21, 21), (1, 300, 21), (19, 1, 20), (30, 3, 21)]
        {
            let unknown = (0..unknown).map(|n| (format!("k{n:03}"), Value::Null));
            let mut f = Fields::new(unknown.collect(), "");
            (0..wrong).for_each(|n| f.problem(format!("wrong {n}")));
            let problems = f.finish().expect_err("problems");
            assert_eq!(problems.len(), told, "{problems:?}");
            assert_eq!(problems.last().is_some_and(|p| p.starts_with("and ")), told == 21);
        }
        let mut f = Fields::new(Map::new(), "");
        (0..25).for_each(|n| f.problem(format!("wrong {n}")));
        assert_eq!(
            f.finish().expect_err("problems").last().map(String::as_str),
            Some("and 5 more problems")
        );
    }

    #[test]
    fn a_wrong_type_says_what_is_wanted() {
        let mut f = fields(r#"{"priority": "high", "wall": "10 parsecs"}"#);
        f.number("priority", -100..=100);
        f.duration("wall");
        let problems = f.finish().expect_err("two problems");
        assert_eq!(problems[0], "`priority` must be a whole number from -100 to 100, not \"high\"");
        assert!(problems[1].starts_with("`wall` must be a duration"), "{problems:?}");
    }

    #[test]
    fn a_message_repeats_a_bounded_piece_of_the_input() {
        for c in ['x', '"', 'ä', '\u{202e}', '\n'] {
            let long = c.to_string().repeat(500);
            for said in [quoted(&long), shown(&Value::from(long.clone()))] {
                assert!(said.len() <= SHOWN_BYTES + 5, "{said}");
                assert!(said.is_ascii() || said.ends_with('…') || said.ends_with("…\""), "{said}");
            }
        }
        assert_eq!(quoted("a\u{1b}b"), r#""a\u{1b}b""#);
    }

    #[test]
    fn nested_problems_carry_the_whole_key() {
        let mut f = fields(r#"{"budget": {"tokens": -1, "x": 1}}"#);
        let mut b = f.object("budget").expect("object");
        b.number("tokens", 1..=10);
        f.merge(b);
        let problems = f.finish().expect_err("two");
        assert!(problems[0].starts_with("`budget.tokens`"), "{problems:?}");
        assert!(problems[1].contains("unknown key \"x\""), "{problems:?}");
    }
}
