//! The shapes of items in the JSON lines, as the real program prints them.

use std::path::Path;

use serde_json::{Value, json};

/// A message of the agent.
pub(super) fn message(id: &str, text: &str) -> Value {
    json!({"id": id, "type": "agent_message", "text": text})
}

/// A thought of the agent.
pub(super) fn reasoning(id: &str, text: &str) -> Value {
    json!({"id": id, "type": "reasoning", "text": text})
}

/// One change of one file; `kind` is `add`, `update` or `delete`.
pub(super) fn file_change(id: &str, path: &Path, kind: &str, status: &str) -> Value {
    let changes = json!([{"path": path.to_string_lossy(), "kind": kind}]);
    json!({"id": id, "type": "file_change", "changes": changes, "status": status})
}

/// A command with what has come of it so far.
pub(super) fn command(
    id: &str,
    command: &str,
    output: &str,
    code: Option<i32>,
    status: &str,
) -> Value {
    json!({
        "id": id,
        "type": "command_execution",
        "command": command,
        "aggregated_output": output,
        "exit_code": code,
        "status": status,
    })
}

/// The completed command whose `item.completed` line has `bytes` bytes, its newline not counted,
/// or the shortest such line where that is longer.
pub(super) fn flood(id: &str, bytes: usize) -> Value {
    let bare = command(id, "flood", "", Some(0), "completed");
    let frame = json!({"type": "item.completed", "item": bare}).to_string().len();
    command(id, "flood", &"x".repeat(bytes.saturating_sub(frame)), Some(0), "completed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_one_line_of_the_wished_length() {
        for (bytes, want) in [(4096, 4096), (1_000_000, 1_000_000)] {
            let line =
                json!({"type": "item.completed", "item": flood("item_3", bytes)}).to_string();
            assert_eq!(line.len(), want);
        }
    }
}
