//! The JSON Schemas of the structured answers, generated from the Rust types and held to the subset that the real service
//! takes: every property required, `additionalProperties: false`, no `oneOf`, `format`, bounds or defaults. Codex passes
//! any schema on and checks no answer, so both are done here.

use std::any::TypeId;
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Keywords that say nothing about the shape or that the service refuses. Where one of these words names an object it is
/// a property that happens to be called so.
const DROPPED: [&str; 6] = ["$schema", "title", "format", "minimum", "maximum", "default"];
/// Most problems that a model is told at once.
const MAX_PROBLEMS: usize = 20;

/// Those that were made before.
static MADE: Mutex<BTreeMap<TypeId, Value>> = Mutex::new(BTreeMap::new());

/// The strict schema of a type; made once.
pub fn strict<T: JsonSchema + 'static>() -> Value {
    let mut made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    made.entry(TypeId::of::<T>()).or_insert_with(make::<T>).clone()
}

fn make<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|s| s.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    tighten(&mut schema);
    schema
}

fn tighten(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(tighten),
        Value::Object(object) => {
            if let Some(Value::Array(ways)) = object.remove("oneOf") {
                *object = words(&ways);
            }
            object.retain(|key, value| value.is_object() || !DROPPED.contains(&key.as_str()));
            object.values_mut().for_each(tighten);
        }
        _ => {}
    }
}

/// A choice between documented words becomes a plain list of words.
fn words(ways: &[Value]) -> Map<String, Value> {
    let words: Vec<Value> = ways.iter().filter_map(|w| w.get("const").cloned()).collect();
    let mut out = Map::new();
    out.insert("type".into(), "string".into());
    out.insert("enum".into(), Value::Array(words));
    out
}

/// Reads an answer and checks it against the schema of its type.
///
/// What says the same after it was read has every property, of the right type, and no other: mostly that is all there is to do.
/// The schema is asked for what is wrong.
///
/// # Errors
/// Every problem found, in words for the model.
pub fn read<T: Serialize + DeserializeOwned>(schema: &Value, text: &str) -> Result<T, Vec<String>> {
    let answer: Value = serde_json::from_str(text.trim())
        .map_err(|e| vec![format!("the answer is not one JSON object: {e}")])?;
    if let Ok(read) = T::deserialize(&answer)
        && serde_json::to_value(&read).is_ok_and(|said| said == answer)
    {
        return Ok(read);
    }
    let problems = problems(schema, &answer)?;
    if problems.is_empty() {
        T::deserialize(answer).map_err(|e| vec![e.to_string()])
    } else {
        Err(problems)
    }
}

/// What the schema says against an answer.
fn problems(schema: &Value, answer: &Value) -> Result<Vec<String>, Vec<String>> {
    let validator =
        jsonschema::validator_for(schema).map_err(|e| vec![format!("bad schema: {e}")])?;
    let problems = validator.iter_errors(answer).take(MAX_PROBLEMS);
    Ok(problems.map(|e| format!("at `{}`: {}", e.instance_path(), clip(&e.to_string()))).collect())
}

fn clip(text: &str) -> String {
    text.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::model::advice::{QueenAnswer, ReviewAnswer};
    use crate::model::claim::ClaimAnswer;
    use crate::model::plan::{PlanAnswer, RolesAnswer};

    fn offences(schema: &Value, at: &str, out: &mut Vec<String>) {
        let Value::Object(object) = schema else { return };
        for key in [
            "oneOf", "anyOf", "allOf", "format", "minimum", "maximum", "default", "minItems",
            "pattern", "$ref",
        ] {
            if object.contains_key(key) {
                out.push(format!("{at}: {key}"));
            }
        }
        if let Some(Value::Object(properties)) = object.get("properties") {
            let required: Vec<&str> = object["required"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .collect();
            if object.get("additionalProperties") != Some(&Value::Bool(false)) {
                out.push(format!("{at}: open object"));
            }
            for (name, property) in properties {
                if !required.contains(&name.as_str()) {
                    out.push(format!("{at}.{name}: not required"));
                }
                offences(property, &format!("{at}.{name}"), out);
            }
        }
        if let Some(items) = object.get("items") {
            offences(items, &format!("{at}[]"), out);
        }
    }

    #[test]
    fn every_schema_stays_in_the_strict_subset() {
        let mut found = Vec::new();
        for (name, schema) in [
            ("plan", strict::<PlanAnswer>()),
            ("roles", strict::<RolesAnswer>()),
            ("claim", strict::<ClaimAnswer>()),
        ] {
            assert_eq!(schema["type"], "object", "{schema}");
            offences(&schema, name, &mut found);
        }
        assert!(found.is_empty(), "{found:?}");
        let roles = strict::<RolesAnswer>();
        let words = &roles["properties"]["roles"]["items"]["properties"]["role"]["enum"];
        assert_eq!(words, &serde_json::json!(["planner", "executor", "reviewer", "queen"]));
    }

    #[test]
    fn the_check_of_strictness_has_teeth() {
        let mut found = Vec::new();
        let open = serde_json::json!({"type": "object", "properties": {"a": {"oneOf": []}}, "required": []});
        offences(&open, "x", &mut found);
        assert_eq!(found, ["x: open object", "x.a: not required", "x.a: oneOf"]);
    }

    #[test]
    fn an_answer_is_read_or_every_problem_is_named() {
        let schema = strict::<ClaimAnswer>();
        let good = r#" {"task_id":"t1","resources":{"reads":[],"writes":["a"]},"execution":{"commands":[]}} "#;
        assert_eq!(read::<ClaimAnswer>(&schema, good).expect("good").task_id, "t1");
        for (bad, piece) in [
            ("sure, here it is", "not one JSON object"),
            (r#"{"task_id":"t1"}"#, "required"),
            (
                r#"{"task_id":1,"resources":{"reads":[],"writes":[]},"execution":{"commands":[]}}"#,
                "/task_id",
            ),
            (
                r#"{"task_id":"t","resources":{"reads":[],"writes":[]},"execution":{"commands":[]},"x":1}"#,
                "x",
            ),
        ] {
            let problems = read::<ClaimAnswer>(&schema, bad).expect_err(bad);
            assert!(problems.iter().any(|p| p.contains(piece)), "{problems:?}");
        }
    }

    /// Whether an answer is taken, and whether its schema is content with it.
    fn verdicts<T: JsonSchema + Serialize + DeserializeOwned + 'static>(
        answer: &Value,
    ) -> (bool, bool) {
        let schema = strict::<T>();
        let taken = read::<T>(&schema, &answer.to_string()).is_ok();
        (taken, problems(&schema, answer).expect("schema").is_empty())
    }

    /// The paths of all values in it.
    fn pointers(value: &Value, at: &str, out: &mut Vec<String>) {
        out.push(at.to_owned());
        match value {
            Value::Array(items) => {
                items.iter().enumerate().for_each(|(n, v)| pointers(v, &format!("{at}/{n}"), out));
            }
            Value::Object(map) => {
                map.iter().for_each(|(k, v)| pointers(v, &format!("{at}/{k}"), out));
            }
            _ => {}
        }
    }

    /// Makes something else of a value.
    fn spoil(value: &mut Value, how: usize) {
        match (value, how) {
            (Value::Object(map), 0) => drop(map.insert("more".into(), json!(1))),
            (Value::Object(map), 1) => {
                let first = map.keys().next().cloned();
                first.map(|key| map.remove(&key));
            }
            (value @ Value::Object(_), 2) => {
                *value = json!(value.as_object().expect("one").values().collect::<Vec<_>>());
            }
            (Value::Array(items), 0) => items.push(json!("x")),
            (Value::Array(items), 1) => items.clear(),
            (Value::String(text), 0) => text.push('x'),
            (value, 3) => *value = Value::Null,
            (value, 4) => *value = json!(1),
            (value, 5) => *value = json!({}),
            (value, _) => *value = json!("x"),
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_is_what_the_schema_takes(kind in 0usize..5, at in 0usize..100, how in 0usize..7, spoilt: bool) {
            let resources = json!({"reads": ["a"], "writes": []});
            let task = json!({"id": "t1", "summary": "s", "description": "d", "dependencies": [], "resources": resources});
            let mut answer = [
                json!({"objective": "o", "tasks": [task]}),
                json!({"roles": [{"id": "t1", "role": "executor", "notes": ""}], "strategy": "s"}),
                json!({"task_id": "t1", "resources": resources, "execution": {"commands": ["c"]}}),
                json!({"decision": "retry", "advice": "a"}),
                json!({"verdict": "approve", "comments": [{"path": "p", "text": "t"}]}),
            ][kind].clone();
            let mut all = Vec::new();
            pointers(&answer, "", &mut all);
            if spoilt {
                spoil(answer.pointer_mut(&all[at % all.len()]).expect("there"), how);
            }
            let (taken, is_valid) = match kind {
                0 => verdicts::<PlanAnswer>(&answer),
                1 => verdicts::<RolesAnswer>(&answer),
                2 => verdicts::<ClaimAnswer>(&answer),
                3 => verdicts::<QueenAnswer>(&answer),
                _ => verdicts::<ReviewAnswer>(&answer),
            };
            prop_assert_eq!(taken, is_valid, "{}", answer);
            prop_assert!(spoilt || taken, "{}", answer);
        }
    }
}
