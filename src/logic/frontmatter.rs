//! Front matter: the options at the head of a Markdown file, as a small and boring part of YAML.
//!
//! Promises: no anchors, aliases, tags or merge keys; plain `true`, `false`, `null` and decimal whole numbers are typed,
//! everything else stays the text that was written (`no`, `1.10`, `12:30` and `0o17` included); bounded depth and size.

use saphyr_parser::{Event, Parser, ScalarStyle};
use serde_json::{Map, Value};

use crate::model::fields::quoted;

/// Deepest nesting.
const MAX_DEPTH: usize = 16;
/// Most values, keys included.
const MAX_ENTRIES: usize = 1000;

/// A text cut in its front matter and the rest.
#[derive(Debug, PartialEq, Eq)]
pub struct Parts<'a> {
    /// What stands between the `---` lines; `None` when the text does not open with one.
    pub front: Option<&'a str>,
    /// What follows, or all of it.
    pub body: &'a str,
}

/// Cuts a text behind its front matter.
///
/// # Errors
/// When it opens with `---` and no further `---` line follows.
pub fn split(text: &str) -> Result<Parts<'_>, String> {
    let mut lines = text.split_inclusive('\n');
    let Some(first) = lines.next().filter(|line| is_fence(line)) else {
        return Ok(Parts { front: None, body: text });
    };
    let start = first.len();
    let mut end = start;
    for line in lines {
        if is_fence(line) {
            let body = text.get(end + line.len()..).unwrap_or_default();
            return Ok(Parts { front: text.get(start..end), body });
        }
        end += line.len();
    }
    Err("the front matter opens with `---` and is never closed".to_owned())
}

fn is_fence(line: &str) -> bool {
    line.strip_prefix("---").is_some_and(|rest| rest.trim_end().is_empty())
}

/// Reads front matter as an object; blank front matter is an empty one.
///
/// # Errors
/// What is wrong, with the line in the file.
pub fn parse(front: &str) -> Result<Map<String, Value>, String> {
    let mut build = Build::default();
    for event in Parser::new_from_str(front) {
        // The fence is the file's first line, so the parser's line 1 is line 2 of the file.
        let (event, span) =
            event.map_err(|e| format!("line {}: {}", e.marker().line() + 1, e.info()))?;
        build.take(event).map_err(|e| format!("line {}: {e}", span.start.line() + 1))?;
    }
    match build.document {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(map)) => Ok(map),
        Some(_) => Err("the front matter must be a list of `key: value` lines".to_owned()),
    }
}

/// A collection under construction.
enum Frame {
    List(Vec<Value>),
    Object { map: Map<String, Value>, key: Option<String> },
}

#[derive(Default)]
struct Build {
    stack: Vec<Frame>,
    document: Option<Value>,
    entries: usize,
}

impl Build {
    fn take(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::DocumentStart(_) if self.document.is_some() => {
                Err("there is a second document in the front matter".to_owned())
            }
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
            Event::Alias(_) => Err("aliases (`*name`) are not supported".to_owned()),
            Event::Scalar(text, style, anchor, tag) => {
                plain(anchor, tag.is_some())?;
                self.scalar(&text, style)
            }
            Event::SequenceStart(anchor, tag) => {
                plain(anchor, tag.is_some())?;
                self.open(Frame::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                plain(anchor, tag.is_some())?;
                self.open(Frame::Object { map: Map::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(),
        }
    }

    fn open(&mut self, frame: Frame) -> Result<(), String> {
        if self.stack.len() >= MAX_DEPTH {
            return Err(format!("nested more than {MAX_DEPTH} deep"));
        }
        if matches!(self.stack.last(), Some(Frame::Object { key: None, .. })) {
            return Err("a key must be a plain text".to_owned());
        }
        self.stack.push(frame);
        Ok(())
    }

    fn close(&mut self) -> Result<(), String> {
        match self.stack.pop() {
            Some(Frame::List(list)) => self.put(Value::Array(list)),
            Some(Frame::Object { map, .. }) => self.put(Value::Object(map)),
            None => Err("an end without a beginning".to_owned()),
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle) -> Result<(), String> {
        if let Some(Frame::Object { map, key: key @ None }) = self.stack.last_mut() {
            if text == "<<" {
                return Err("merge keys (`<<`) are not supported".to_owned());
            }
            if map.contains_key(text) {
                return Err(format!("the key {} is there twice", quoted(text)));
            }
            *key = Some(text.to_owned());
            return Ok(());
        }
        self.put(typed(text, style))
    }

    fn put(&mut self, value: Value) -> Result<(), String> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(format!("more than {MAX_ENTRIES} values"));
        }
        match self.stack.last_mut() {
            Some(Frame::List(list)) => list.push(value),
            Some(Frame::Object { map, key }) => {
                map.insert(key.take().unwrap_or_default(), value);
            }
            None => self.document = Some(value),
        }
        Ok(())
    }
}

fn plain(anchor: usize, is_tagged: bool) -> Result<(), String> {
    if anchor != 0 {
        return Err("anchors (`&name`) are not supported".to_owned());
    }
    if is_tagged { Err("tags (`!name`) are not supported".to_owned()) } else { Ok(()) }
}

/// The type of a scalar: only what nobody can mistake is anything but a text.
fn typed(text: &str, style: ScalarStyle) -> Value {
    if style != ScalarStyle::Plain {
        return Value::String(text.to_owned());
    }
    match text {
        "true" => Value::Bool(true),
        "false" => Value::Bool(false),
        "" | "null" | "~" => Value::Null,
        _ => match text.parse::<i64>() {
            Ok(number) if number.to_string() == text => Value::from(number),
            _ => Value::String(text.to_owned()),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn front_matter_is_cut_off_and_the_body_kept_to_the_byte() {
        for (text, front, body) in [
            ("---\na: 1\n---\nDo it\n", Some("a: 1\n"), "Do it\n"),
            ("---\r\na: 1\r\n--- \r\nDo\r\nit", Some("a: 1\r\n"), "Do\r\nit"),
            ("---\n---\n", Some(""), ""),
            ("----\nno\n", None, "----\nno\n"),
            ("Do it\n---\nnow", None, "Do it\n---\nnow"),
            ("", None, ""),
        ] {
            assert_eq!(split(text), Ok(Parts { front, body }), "{text:?}");
        }
        assert!(split("---\na: 1\n").is_err());
    }

    #[test]
    fn only_what_nobody_can_mistake_is_typed() {
        let yaml = "a: true\nb: -7\nc: null\nd: no\ne: 1.10\nf: 12:30\ng: 0o17\nh: '7'\ni: +7\n\
                    j: [x, 2]\nk: {l: m}\nn: True\no: 007\np:\n  - q\n";
        let expected = json!({
            "a": true, "b": -7, "c": null, "d": "no", "e": "1.10", "f": "12:30", "g": "0o17",
            "h": "7", "i": "+7", "j": ["x", 2], "k": {"l": "m"}, "n": "True", "o": "007", "p": ["q"]
        });
        assert_eq!(parse(yaml).map(Value::Object), Ok(expected));
        assert_eq!(parse("# nothing\n"), Ok(Map::new()));
    }

    #[test]
    fn the_dangerous_part_of_yaml_is_refused() {
        for (yaml, says) in [
            ("a: &x [1]\nb: *x", "anchors"),
            ("b: *x", "line 2"),
            ("a: !!python/object x", "tags"),
            ("<<: {a: 1}", "merge keys"),
            ("a: 1\na: 2", "twice"),
            ("[a]: 1", "key"),
            ("- a", "key: value"),
            ("a: 1\n...\n---\nb: 2", "second document"),
            ("a: [", "line"),
            ("a: \"x", "line"),
        ] {
            let problem = parse(yaml).expect_err(yaml);
            assert!(problem.contains(says), "{yaml:?}: {problem}");
        }
    }

    #[test]
    fn deep_and_long_front_matter_is_refused() {
        assert!(parse(&format!("a: {}", "[".repeat(200_000))).is_err());
        let deep = format!("a: {}{}", "[".repeat(15), "]".repeat(15));
        assert!(parse(&deep).is_ok());
        let deep = format!("a: {}{}", "[".repeat(16), "]".repeat(16));
        assert!(parse(&deep).expect_err("too deep").contains("deep"));
        let long = "- x\n".repeat(1001);
        assert!(parse(&format!("a:\n{long}")).expect_err("too many").contains("1000"));
    }
}
