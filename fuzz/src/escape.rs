//! What reaches a terminal: nothing that moves, rings, recolours, reorders or hides.

use numerus::os::console::{neutral, one_line};

/// Whatever was said is shown without a raw control character, says itself once it is harmless, and can be shown in pieces.
pub fn holds(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let shown = neutral(&text);
    assert_eq!(
        shown.chars().find(|c| is_trick(*c) && !['\n', '\t'].contains(c)),
        None,
        "{shown:?}"
    );
    assert_eq!(neutral(&shown), shown, "what is harmless stays as it is");
    if text.chars().all(|c| !is_trick(c)) {
        assert_eq!(shown, text, "nothing harmless is touched");
    }
    let cut = (0..=text.len() / 2).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
    let (head, tail) = text.split_at(cut);
    assert_eq!(neutral(head) + &neutral(tail), shown, "pieces and the whole are shown alike");

    let line = one_line(&text);
    assert_eq!(line.chars().find(|c| is_trick(*c)), None, "{line:?}");
    assert_eq!(one_line(&line), line);
    assert!(line.len() <= 10 * text.len(), "{} bytes became {}", text.len(), line.len());
}

/// Controls, and what Unicode calls formatting: direction, joining, width, annotations, tags.
fn is_trick(c: char) -> bool {
    let of_direction = ['\u{61c}', '\u{200e}', '\u{200f}'].contains(&c)
        || ('\u{202a}'..='\u{202e}').contains(&c)
        || ('\u{2066}'..='\u{2069}').contains(&c);
    let of_no_width = ['\u{ad}', '\u{180e}', '\u{feff}'].contains(&c)
        || ('\u{200b}'..='\u{200d}').contains(&c)
        || ('\u{2060}'..='\u{2065}').contains(&c)
        || ('\u{206a}'..='\u{206f}').contains(&c)
        || ('\u{fff9}'..='\u{fffb}').contains(&c)
        || ('\u{e0000}'..='\u{e007f}').contains(&c);
    let of_lines = ['\u{2028}', '\u{2029}'].contains(&c);
    c.is_control() || of_direction || of_no_width || of_lines
}
