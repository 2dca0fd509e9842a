//! Colours for code without a grammar: comments, texts, numbers and the words of a language, told apart letter by letter.
//! A diff shows pieces of files, which no grammar could read from their middle anyway. Total and linear in the line.

/// What a piece of a line is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token {
    /// Nothing special.
    Plain,
    /// A comment.
    Comment,
    /// A text in quotes.
    Text,
    /// A number.
    Number,
    /// A word that the language keeps for itself.
    Keyword,
    /// What is called, defined or named as a key.
    Name,
}

/// How files of some languages are written.
#[derive(Debug, PartialEq, Eq)]
pub struct Language {
    /// How their names end.
    ends: &'static str,
    /// What begins a comment up to the end of the line.
    line: &'static [&'static str],
    /// What begins and ends a comment or a text of several lines.
    long: &'static [(&'static str, &'static str, Token)],
    /// What begins and ends a text in one line.
    quotes: &'static str,
    /// The words that it keeps for itself.
    words: &'static str,
}

const C_COMMENT: (&str, &str, Token) = ("/*", "*/", Token::Comment);

/// Every language that is coloured; a file of another one is shown as it is.
const LANGUAGES: &[Language] = &[
    Language {
        ends: "rs",
        line: &["//"],
        long: &[C_COMMENT],
        quotes: "\"",
        words: "as async await break const continue crate dyn else enum extern false fn for if impl in let loop match mod \
                move mut pub ref return self Self static struct super trait true type unsafe use where while",
    },
    Language {
        ends: "c h cc cpp cxx hpp cs java kt kts scala go swift dart php m mm proto zig v",
        line: &["//"],
        long: &[C_COMMENT],
        quotes: "\"'",
        words: "abstract as auto bool boolean break byte case catch chan char class const continue def default defer delete do \
                double echo else enum explicit export extends extern false final finally float fn for foreach fun func \
                function go goto guard if implements import in inline instanceof int interface internal is lateinit let long map \
                message mut namespace new nil null nullptr object override package private protected public range record \
                return select self short signed sizeof static string struct super switch template this throw throws trait true \
                try type typedef typename union unsigned use using val var virtual void volatile when where while with yield",
    },
    Language {
        ends: "js jsx mjs cjs ts tsx mts vue svelte",
        line: &["//"],
        long: &[C_COMMENT, ("`", "`", Token::Text)],
        quotes: "\"'",
        words: "as async await break case catch class const continue debugger default delete do else enum export extends false \
                finally for from function get if implements import in instanceof interface let new null of private protected \
                public readonly return set static super switch this throw true try type typeof undefined var void while yield",
    },
    Language {
        ends: "py pyi",
        line: &["#"],
        long: &[("\"\"\"", "\"\"\"", Token::Text), ("'''", "'''", Token::Text)],
        quotes: "\"'",
        words: "and as assert async await break class continue def del elif else except False finally for from global if import \
                in is lambda match None nonlocal not or pass raise return self True try while with yield",
    },
    Language {
        ends: "sh bash zsh fish bats makefile mk dockerfile containerfile cmake",
        line: &["#"],
        long: &[],
        quotes: "\"'",
        words: "break case continue do done elif else esac exit export fi for function if in local readonly return set shift then \
                trap unset until while FROM RUN COPY ADD CMD ENTRYPOINT ENV ARG WORKDIR EXPOSE USER VOLUME LABEL",
    },
    Language {
        ends: "rb ex exs pl pm r jl nim tcl",
        line: &["#"],
        long: &[],
        quotes: "\"'",
        words: "alias and begin break case class def defmodule defp do else elsif elseif end ensure false fn for function if in \
                include let local module my next nil not or our package proc raise redo require rescue return self sub super then \
                true undef unless until use var when while yield",
    },
    Language {
        ends: "toml yaml yml ini cfg conf properties env gitignore",
        line: &["#", ";"],
        long: &[],
        quotes: "\"'",
        words: "true false null yes no on off",
    },
    Language {
        ends: "json jsonc json5 ndjson lock",
        line: &["//"],
        long: &[],
        quotes: "\"",
        words: "true false null",
    },
    Language {
        ends: "sql",
        line: &["--"],
        long: &[C_COMMENT],
        quotes: "'\"",
        words: "select from where and or not null insert into values update set delete create table index view drop alter add \
                primary key references on join left right inner outer group by order having limit as distinct union all exists \
                in is like between case when then else end begin commit SELECT FROM WHERE AND OR NOT NULL INSERT INTO VALUES \
                UPDATE SET DELETE CREATE TABLE INDEX VIEW DROP ALTER ADD PRIMARY KEY REFERENCES ON JOIN LEFT RIGHT INNER OUTER \
                GROUP BY ORDER HAVING LIMIT AS DISTINCT UNION ALL EXISTS IN IS LIKE BETWEEN CASE WHEN THEN ELSE END BEGIN COMMIT",
    },
    Language {
        ends: "lua hs elm adb ads",
        line: &["--"],
        long: &[
            ("--[[", "]]", Token::Comment),
            ("{-", "-}", Token::Comment),
            ("[[", "]]", Token::Text),
        ],
        quotes: "\"",
        words: "and break case class data deriving do else elseif end false for function goto if import in instance let local \
                module newtype nil not of or repeat return then true type until where while",
    },
    Language {
        ends: "html htm xml svg xhtml xsl plist csproj",
        line: &[],
        long: &[("<!--", "-->", Token::Comment)],
        quotes: "\"",
        words: "",
    },
    Language {
        ends: "css scss sass less",
        line: &["//"],
        long: &[C_COMMENT],
        quotes: "\"'",
        words: "and from important media not only to",
    },
];

/// The language of a file by its name; `None` for one that is not coloured.
pub fn language(path: &str) -> Option<&'static Language> {
    let name = path.rsplit('/').next().unwrap_or(path);
    let end = name.rsplit('.').next().unwrap_or(name).to_ascii_lowercase();
    LANGUAGES.iter().find(|language| language.ends.split(' ').any(|known| known == end))
}

/// What a line begins in the middle of: the end that it waits for.
pub type Open = Option<(&'static str, Token)>;

/// The pieces of a line, in order and nothing left out; `open` is what the line before has left open, and is then what this
/// one does.
pub fn pieces<'a>(language: &Language, line: &'a str, open: &mut Open) -> Vec<(Token, &'a str)> {
    let mut pieces: Vec<(Token, &str)> = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let (token, length) = next(language, rest, open, &pieces);
        let (piece, after) = rest.split_at(length);
        match pieces.last_mut() {
            // Both are parts of this line, side by side.
            Some((last, before)) if *last == token => {
                let start = line.len() - rest.len() - before.len();
                *before = &line[start..start + before.len() + piece.len()];
            }
            _ => pieces.push((token, piece)),
        }
        rest = after;
    }
    pieces
}

/// What comes next, and its length in bytes: at least one letter.
fn next(
    language: &Language,
    rest: &str,
    open: &mut Open,
    before: &[(Token, &str)],
) -> (Token, usize) {
    if let Some((end, token)) = *open {
        let found = rest.find(end);
        if found.is_some() {
            *open = None;
        }
        return (token, found.map_or(rest.len(), |at| at + end.len()));
    }
    for (start, end, token) in language.long {
        if rest.starts_with(start) {
            *open = Some((end, *token));
            return (*token, start.len());
        }
    }
    let is_apart = before
        .last()
        .is_none_or(|(_, text)| text.ends_with(|c: char| c.is_whitespace() || c == ';'));
    // A `#` or `;` in the middle of a word is no comment; `//` is one anywhere but in an address.
    let begins = |start: &&&str| {
        rest.starts_with(**start) && (is_apart || start.len() > 1 && !ends_in_colon(before))
    };
    if language.line.iter().any(|start| begins(&start)) {
        return (Token::Comment, rest.len());
    }
    let Some(first) = rest.chars().next() else { return (Token::Plain, rest.len()) };
    if language.quotes.contains(first) {
        return (Token::Text, quoted(rest, first));
    }
    if first.is_ascii_digit() {
        return (Token::Number, span(rest, |c| c.is_ascii_alphanumeric() || c == '.' || c == '_'));
    }
    if first.is_alphabetic() || first == '_' {
        return word(language, rest);
    }
    (Token::Plain, first.len_utf8())
}

fn ends_in_colon(before: &[(Token, &str)]) -> bool {
    before.last().is_some_and(|(_, text)| text.ends_with(':'))
}

fn word(language: &Language, rest: &str) -> (Token, usize) {
    let length = span(rest, |c| c.is_alphanumeric() || c == '_');
    let (word, after) = rest.split_at(length);
    let token = if language.words.split(' ').any(|known| known == word) {
        Token::Keyword
    } else if after.starts_with('(') || after.starts_with("!(") {
        Token::Name
    } else {
        Token::Plain
    };
    (token, length)
}

/// The length of a text in quotes with both of them; up to the end of the line where it does not end.
fn quoted(rest: &str, quote: char) -> usize {
    let mut is_escaped = false;
    for (at, letter) in rest.char_indices().skip(1) {
        if !is_escaped && letter == quote {
            return at + letter.len_utf8();
        }
        is_escaped = !is_escaped && letter == '\\';
    }
    rest.len()
}

fn span(rest: &str, is_part: impl Fn(char) -> bool) -> usize {
    rest.find(|c| !is_part(c)).unwrap_or(rest.len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(path: &str, line: &str) -> Vec<(Token, String)> {
        let read = pieces(language(path).expect("known"), line, &mut None);
        read.into_iter()
            .filter(|(t, _)| *t != Token::Plain)
            .map(|(t, s)| (t, s.to_owned()))
            .collect()
    }

    #[test]
    fn words_texts_numbers_and_comments_are_told_apart() {
        let expected = [
            (Token::Keyword, "let"),
            (Token::Name, "call"),
            (Token::Text, "\"a // \\\" b\""),
            (Token::Number, "0x1f"),
            (Token::Comment, "// end"),
        ];
        let line = "let x = call(\"a // \\\" b\", 0x1f); // end";
        assert_eq!(told("src/a.rs", line), expected.map(|(t, s)| (t, s.to_owned())));
        assert_eq!(told("a.py", "x#y # z"), [(Token::Comment, "# z".to_owned())]);
        assert_eq!(told("a.yml", "at: http://x"), []);
        assert_eq!(told("Dockerfile", "FROM x"), [(Token::Keyword, "FROM".to_owned())]);
        assert!(language("a.unknown").is_none() && language("").is_none());
    }

    #[test]
    fn what_goes_over_several_lines_stays_open() {
        let (rust, mut open) = (language("a.rs").expect("known"), None);
        assert_eq!(pieces(rust, "a /* b", &mut open).last(), Some(&(Token::Comment, "/* b")));
        assert_eq!(pieces(rust, "c */ d", &mut open)[0], (Token::Comment, "c */"));
        assert_eq!(open, None);
    }

    proptest! {
        #[test]
        fn any_line_is_the_sum_of_its_pieces(line in "\\PC{0,40}|[\"'`/*#\\\\a0 é-]{0,40}") {
            for language in LANGUAGES {
                let mut open = None;
                for _twice in 0..2 {
                    let read = pieces(language, &line, &mut open);
                    let whole: String = read.iter().map(|(_, piece)| *piece).collect();
                    prop_assert_eq!(&whole, &line);
                }
            }
        }
    }
}
