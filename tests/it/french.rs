//! The French README keeps step with the English one: the same sections in the same order, and the same commands.

/// The ranks of the headings, in order.
fn ranks(text: &str) -> Vec<usize> {
    let mut in_block = false;
    let mut ranks = Vec::new();
    for line in text.lines() {
        in_block ^= line.starts_with("```");
        if !in_block && line.starts_with('#') {
            ranks.push(line.len() - line.trim_start_matches('#').len());
        }
    }
    ranks
}

/// What the blocks for a shell say, without their comments.
fn commands(text: &str) -> Vec<String> {
    let blocks = text.split("```").skip(1).step_by(2).filter_map(|b| b.strip_prefix("sh\n"));
    let bare = |line: &str| {
        let line = if line.starts_with('#') { "" } else { line };
        line.split(" # ").next().unwrap_or_default().trim_end().to_owned()
    };
    blocks.flat_map(str::lines).map(bare).filter(|line| !line.is_empty()).collect()
}

/// The numbers of rows of the tables, but for that of the settings, which is not told twice.
fn tables(text: &str) -> Vec<usize> {
    let groups = text.split("\n\n").filter(|group| group.starts_with('|'));
    let others = groups.filter(|group| !group.contains("NUMERUS_MAX_JOBS"));
    others.map(|group| group.lines().count()).collect()
}

#[test]
fn the_french_readme_has_the_sections_commands_and_tables_of_the_english_one() {
    let (english, french) =
        (include_str!("../../README.md"), include_str!("../../docs/README.fr.md"));
    assert!(ranks(english).len() > 10 && commands(english).len() > 20, "they are read");
    assert_eq!(ranks(french), ranks(english), "headings");
    assert_eq!(commands(french), commands(english), "commands");
    assert_eq!(tables(french), tables(english), "tables");
}
