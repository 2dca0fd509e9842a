//! Patterns in claims: `*` and `?` within one part of a path, `[..]` for one letter of a set, `**` for any number of whole
//! parts. Everything else, braces included, stands for itself.
//!
//! Promises: nothing but `**` ever matches a `/`; a letter is a Unicode scalar value, whatever it takes in bytes; a match
//! takes at most the product of both lengths, so no pattern can stall the judge.

/// Whether a part of a path is a pattern at all.
pub fn is_pattern(part: &str) -> bool {
    part.contains(['*', '?', '['])
}

/// What is wrong with one part of a pattern, in words that follow the path.
pub fn flaw(part: &str) -> Option<&'static str> {
    if part.contains("**") && part != "**" {
        return Some("has ** beside other letters: it stands for whole parts, as in a/**/b");
    }
    let mut letters = part.chars();
    while let Some(letter) = letters.next() {
        if letter == '[' && take_set(&mut letters).is_none() {
            return Some("has a [ that begins no set of letters: name the directory instead");
        }
    }
    None
}

/// Whether a path matches a pattern. A pattern that [`flaw`] refuses matches what it can.
pub fn matches(pattern: &str, path: &str) -> bool {
    let mut parts: Vec<&str> = pattern.split('/').collect();
    if parts.last() == Some(&"**") {
        // All that lies inside; the directory itself does not.
        parts.push("*");
    }
    let path: Vec<&str> = path.split('/').collect();
    wild(&parts, &path, |part| *part == "**", |part, name| part_matches(part, name))
}

/// Whether something in a directory can match a pattern.
pub fn leads_into(pattern: &str, dir: &str) -> bool {
    let mut parts = pattern.split('/');
    for name in dir.split('/') {
        match parts.next() {
            Some("**") => return true,
            Some(part) if part_matches(part, name) => {}
            Some(_) | None => return false,
        }
    }
    parts.next().is_some()
}

fn part_matches(part: &str, name: &str) -> bool {
    let (tokens, letters): (Vec<Token>, Vec<char>) = (tokens(part), name.chars().collect());
    wild(&tokens, &letters, |token| *token == Token::Many, |token, letter| token.fits(*letter))
}

/// Matches a sequence against one with stars, each for any number of elements. Only the last star is ever tried again:
/// what an earlier one took can be given to the later one as well.
fn wild<P, T>(
    pattern: &[P],
    text: &[T],
    is_star: impl Fn(&P) -> bool,
    fits: impl Fn(&P, &T) -> bool,
) -> bool {
    let (mut at, mut read, mut again) = (0, 0, None);
    while read < text.len() {
        let want = pattern.get(at);
        if want.is_some_and(&is_star) {
            at += 1;
            again = Some((at, read));
        } else if want.is_some_and(|want| fits(want, &text[read])) {
            (at, read) = (at + 1, read + 1);
        } else if let Some((after, from)) = again {
            (at, read) = (after, from + 1);
            again = Some((after, from + 1));
        } else {
            return false;
        }
    }
    pattern[at..].iter().all(is_star)
}

#[derive(Debug, PartialEq, Eq)]
enum Token {
    Many,
    One,
    Letter(char),
    Set(Set),
}

/// Letters of which one is meant; `but` turns it into all others.
#[derive(Debug, PartialEq, Eq)]
struct Set {
    but: bool,
    ranges: Vec<(char, char)>,
}

impl Token {
    fn fits(&self, letter: char) -> bool {
        match self {
            Self::Many | Self::One => true,
            Self::Letter(own) => *own == letter,
            Self::Set(set) => {
                let within = |(from, to): &(char, char)| (*from..=*to).contains(&letter);
                set.but != set.ranges.iter().any(within)
            }
        }
    }
}

fn tokens(part: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut letters = part.chars();
    while let Some(letter) = letters.next() {
        let mut ahead = letters.clone();
        let set = if letter == '[' { take_set(&mut ahead) } else { None };
        tokens.push(match letter {
            '*' => Token::Many,
            '?' => Token::One,
            _ => set.map_or(Token::Letter(letter), |set| {
                letters = ahead;
                Token::Set(set)
            }),
        });
    }
    tokens
}

/// The set behind a `[` that was read: a first `!` or `^` negates, a first `]` and a `-` at either end are letters.
fn take_set(letters: &mut std::str::Chars<'_>) -> Option<Set> {
    let (inside, rest) = closed(letters.as_str())?;
    *letters = rest.chars();
    let but = inside.starts_with(['!', '^']);
    let inside: Vec<char> = inside.chars().skip(usize::from(but)).collect();
    let (mut ranges, mut at) = (Vec::new(), 0);
    while at < inside.len() {
        let is_range = at + 2 < inside.len() && inside[at + 1] == '-';
        let (from, to) = (inside[at], inside[if is_range { at + 2 } else { at }]);
        if from > to {
            return None;
        }
        ranges.push((from, to));
        at += if is_range { 3 } else { 1 };
    }
    Some(Set { but, ranges })
}

/// The inside of a set and what follows its `]`; `None` when it is never closed.
fn closed(text: &str) -> Option<(&str, &str)> {
    let negation = usize::from(text.starts_with(['!', '^']));
    let own = usize::from(text[negation..].starts_with(']'));
    let end = text[negation + own..].find(']')? + negation + own;
    Some((&text[..end], &text[end + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_matches_part_by_part() {
        for (pattern, path, expected) in [
            ("*.rs", "a.rs", true),
            ("*.rs", ".rs", true),
            ("*.rs", "a/b.rs", false),
            ("*", "a", true),
            ("*", "a/b", false),
            ("a*c*e", "abcde", true),
            ("a*c*e", "abcdf", false),
            ("?", "a", true),
            ("?", "\u{e9}", true),
            ("?", "", false),
            ("a?b", "a/b", false),
            ("**", "a/b/c", true),
            ("**/x", "x", true),
            ("**/x", "a/b/x", true),
            ("**/x", "a/xx", false),
            ("a/**", "a/b", true),
            ("a/**", "a/b/c", true),
            ("a/**", "a", false),
            ("a/**/b", "a/b", true),
            ("a/**/b", "a/x/y/b", true),
            ("a/**/b", "a/x/y/c", false),
            ("**/a/**/b", "x/a/b/a/y/b", true),
            ("*/mod.rs", "a/mod.rs", true),
            ("*/mod.rs", "mod.rs", false),
            ("{a,b}", "a", false),
            ("{a,b}", "{a,b}", true),
            ("*.RS", "a.rs", false),
            (".*", ".gitignore", true),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_set_is_one_letter_and_never_a_slash() {
        for (pattern, path, expected) in [
            ("[ab]", "a", true),
            ("[ab]", "c", false),
            ("[a-c]x", "bx", true),
            ("[!a]", "b", true),
            ("[^a]", "a", false),
            ("x[!a]y", "x/y", false),
            ("[]a]", "]", true),
            ("[a-]", "-", true),
            ("[\u{e0}-\u{ff}]", "\u{e9}", true),
            ("[!\u{e9}]", "\u{e9}", false),
            ("[*]", "*", true),
            ("[*]", "a", false),
        ] {
            assert_eq!(matches(pattern, path), expected, "{pattern} {path}");
        }
    }

    #[test]
    fn a_directory_is_entered_only_where_something_in_it_can_match() {
        for (pattern, dir, expected) in [
            ("*.log", "a", false),
            ("*/x", "a", true),
            ("*/x", "a/b", false),
            ("a/*/x", "b", false),
            ("**/x", "a/b/c", true),
            ("a/**", "a", true),
            ("a/**", "b", false),
        ] {
            assert_eq!(leads_into(pattern, dir), expected, "{pattern} {dir}");
        }
    }

    #[test]
    fn a_part_that_is_no_pattern_is_said_to_be_none() {
        for (part, is_bad) in [
            ("*", false),
            ("**", false),
            ("a**", true),
            ("***", true),
            ("[a", true),
            ("[]", true),
            ("[!]", true),
            ("[z-a]", true),
            ("[a-z]*?", false),
        ] {
            assert_eq!(flaw(part).is_some(), is_bad, "{part}");
        }
    }

    #[test]
    fn a_pattern_that_invites_backtracking_is_answered_at_once() {
        let (pattern, path) = ("a*".repeat(400) + "b", "a".repeat(2000));
        assert!(!matches(&pattern, &path));
        let (pattern, path) = ("**/a/".repeat(200) + "b", "a/".repeat(600));
        assert!(!matches(&pattern, &path));
    }
}
