//! Words that every message counts with.

/// A number of things: the word stands in the plural unless there is one.
pub fn plural(count: usize, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_no_plural() {
        let said = [0, 1, 2].map(|n| plural(n, "task"));
        assert_eq!(said, ["0 tasks", "1 task", "2 tasks"]);
    }
}
