//! The structured answers of agents, as a short sentence for people. Pure. A text that is no such answer has none.

use serde_json::Value;

use super::story::listed;
use crate::logic::words::plural;

/// What an answer says in a sentence; `None` for a text that is not one JSON object of a known form.
pub(super) fn in_words(text: &str) -> Option<String> {
    let text = text.trim();
    if !text.starts_with('{') {
        return None;
    }
    let answer: Value = serde_json::from_str(text).ok()?;
    let list = |key: &str| answer.get(key).and_then(Value::as_array);
    if let Some(verdict) = answer.get("verdict").and_then(Value::as_str) {
        let comments = list("comments").map_or(0, Vec::len);
        return Some(format!("verdict: {verdict}, {}", plural(comments, "comment")));
    }
    if let Some(decision) = answer.get("decision").and_then(Value::as_str) {
        let advice = answer.get("advice").and_then(Value::as_str).unwrap_or_default().trim();
        let colon = if advice.is_empty() { "" } else { ": " };
        return Some(format!("decision: {}{colon}{advice}", decision.replace('_', " ")));
    }
    if let Some(tasks) = list("tasks") {
        return Some(format!("plan: {}", plural(tasks.len(), "task")));
    }
    if let Some(roles) = list("roles") {
        return Some(format!("roles: {}", plural(roles.len(), "task")));
    }
    let writes = answer.get("resources")?.get("writes")?.as_array()?;
    let writes: Vec<String> = writes.iter().filter_map(Value::as_str).map(str::to_owned).collect();
    Some(format!("claim: writes {}", listed(&writes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_a_sentence_and_other_texts_stay_as_they_are() {
        for (text, words) in [
            (r#"{"verdict":"approve","comments":[]}"#, Some("verdict: approve, 0 comments")),
            (r#" {"verdict":"revise","comments":["a"]} "#, Some("verdict: revise, 1 comment")),
            (r#"{"objective":"o","tasks":[{},{}]}"#, Some("plan: 2 tasks")),
            (r#"{"roles":[{}],"strategy":"s"}"#, Some("roles: 1 task")),
            (
                r#"{"task_id":"t","resources":{"reads":[],"writes":["a","b/"]}}"#,
                Some("claim: writes a, b/"),
            ),
            (r#"{"resources":{"writes":[]}}"#, Some("claim: writes nothing")),
            (r#"{"decision":"give_up","advice":"no way"}"#, Some("decision: give up: no way")),
            (r#"{"decision":"accept","advice":""}"#, Some("decision: accept")),
            (r#"{"other":1}"#, None),
            (r#"{"verdict":"#, None),
            ("All done.", None),
            ("", None),
        ] {
            assert_eq!(in_words(text).as_deref(), words, "{text}");
        }
    }
}
