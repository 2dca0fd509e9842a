//! The JSON Schemas of the structured answers, generated from the Rust types and held to the subset that the real service
//! takes: every property required, `additionalProperties: false`, no `oneOf`, `format`, bounds or defaults. Codex passes
//! any schema on and checks no answer, so both are done here.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Keywords that say nothing about the shape or that the service refuses. Where one of these words names an object it is
/// a property that happens to be called so.
const DROPPED: [&str; 6] = ["$schema", "title", "format", "minimum", "maximum", "default"];
/// Most problems that a model is told at once.
const MAX_PROBLEMS: usize = 20;

/// The strict schema of a type.
pub fn strict<T: JsonSchema>() -> Value {
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

/// Reads an answer and checks it against its schema.
///
/// # Errors
/// Every problem found, in words for the model.
pub fn read<T: DeserializeOwned>(schema: &Value, text: &str) -> Result<T, Vec<String>> {
    let answer: Value = serde_json::from_str(text.trim())
        .map_err(|e| vec![format!("the answer is not one JSON object: {e}")])?;
    let validator =
        jsonschema::validator_for(schema).map_err(|e| vec![format!("bad schema: {e}")])?;
    let problems: Vec<String> = validator
        .iter_errors(&answer)
        .take(MAX_PROBLEMS)
        .map(|e| format!("at `{}`: {}", e.instance_path(), clip(&e.to_string())))
        .collect();
    if !problems.is_empty() {
        return Err(problems);
    }
    serde_json::from_value(answer).map_err(|e| vec![e.to_string()])
}

fn clip(text: &str) -> String {
    text.chars().take(300).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
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
}
