//! The options at the head of a Markdown file: bounded, of few types, and cut off to the byte.

use numerus::logic::frontmatter::{parse, split};
use serde_json::{Map, Value};

use super::job::written;

/// Deepest nesting and most values, as the reader promises.
const MAX_DEPTH: usize = 16;
const MAX_ENTRIES: usize = 1000;

/// A text is cut without losing a byte; what is read is within the bounds and reads the same when it is written again;
/// what is refused names a line of the file.
pub fn holds(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let front = match split(text) {
        Ok(parts) => {
            assert!(text.ends_with(parts.body), "the body is the end of the text");
            assert!(parts.front.is_some() || parts.body == text, "without a head all is body");
            parts.front.inspect(|front| cut_to_the_byte(text, front, parts.body))
        }
        Err(why) => return assert!(text.starts_with("---") && !why.is_empty()),
    };
    // A text without a head is read as one as well: the parser meets more that way.
    let front = front.unwrap_or(text);
    match parse(front) {
        Ok(object) => reads_the_same(object),
        Err(why) => names_a_line(&why, front),
    }
}

fn cut_to_the_byte(text: &str, front: &str, body: &str) {
    let fences = text.len() - front.len() - body.len();
    assert!(fences >= 6, "{text:?}");
    let first = text.split_inclusive('\n').next().unwrap_or_default();
    assert!(text[first.len()..].starts_with(front), "{text:?}");
    let last = &text[first.len() + front.len()..text.len() - body.len()];
    assert_eq!((first.trim_end(), last.trim_end()), ("---", "---"));
}

fn reads_the_same(object: Map<String, Value>) {
    let (depth, entries) = size_of(&Value::Object(object.clone()));
    assert!(depth <= MAX_DEPTH && entries <= MAX_ENTRIES + 1, "{depth} deep, {entries} values");
    let object = Value::Object(object);
    let again = parse(&written(&object)).map(Value::Object);
    assert_eq!(again.as_ref(), Ok(&object), "{}", written(&object));
}

fn size_of(value: &Value) -> (usize, usize) {
    let inside: Vec<&Value> = match value {
        Value::Array(list) => list.iter().collect(),
        Value::Object(map) => map.values().collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return (0, 1),
    };
    let sizes = inside.into_iter().map(size_of);
    sizes.fold((1, 1), |(depth, entries), (d, n)| (depth.max(d + 1), entries + n))
}

fn names_a_line(why: &str, front: &str) {
    if let Some(line) = why.strip_prefix("line ").and_then(|rest| rest.split(':').next()) {
        let line: usize = line.parse().expect("a number");
        // A lone carriage return ends a line of YAML, too.
        let lines = front.matches(['\n', '\r']).count() + 1;
        assert!((1..=lines + 2).contains(&line), "{why}");
    }
}
