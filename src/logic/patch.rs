//! Reads a patch as git writes it: which files it changes, and each line for what it is. Total: any bytes are a patch of some
//! kind, since agents name files and write what is in them.

/// What a line of a patch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PatchLine {
    /// Names a place, or says how the file changed.
    Head,
    /// `@@`: where the next lines are.
    Hunk,
    /// Was there before and is no more: its number before.
    Removed(u64),
    /// Is new: its number now.
    Added(u64),
    /// Was and is there: its number now.
    Kept(u64),
}

/// One file of a patch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PatchedFile<'a> {
    /// Its path as the patch writes it, without `a/` and `b/`; empty for what comes before the first file.
    pub path: &'a [u8],
    /// Its lines, without their ends; those of a hunk without the sign before them.
    pub lines: Vec<(PatchLine, &'a [u8])>,
    /// How many lines are new.
    pub added: usize,
    /// How many are gone.
    pub removed: usize,
}

/// How many lines of a hunk are still to come, before and after, and their numbers.
#[derive(Debug, Clone, Copy, Default)]
struct Hunk {
    old_left: u64,
    new_left: u64,
    old: u64,
    new: u64,
}

/// The files of a patch, in its order.
pub fn files(patch: &[u8]) -> Vec<PatchedFile<'_>> {
    let mut files: Vec<PatchedFile<'_>> = Vec::new();
    let mut hunk = Hunk::default();
    let lines = patch.strip_suffix(b"\n").unwrap_or(patch).split(|b| *b == b'\n');
    for line in lines.filter(|_| !patch.is_empty()) {
        let is_inside = hunk.old_left + hunk.new_left > 0;
        if !is_inside && line.starts_with(b"diff --git ") || files.is_empty() {
            hunk = Hunk::default();
            files.push(PatchedFile { path: named(line), lines: Vec::new(), added: 0, removed: 0 });
        }
        let Some(file) = files.last_mut() else { continue };
        if is_inside { inside(file, &mut hunk, line) } else { outside(file, &mut hunk, line) }
    }
    files
}

fn inside<'a>(file: &mut PatchedFile<'a>, hunk: &mut Hunk, line: &'a [u8]) {
    let text = line.get(1..).unwrap_or_default();
    let read = match line.first() {
        Some(b'+') if hunk.new_left > 0 => {
            file.added += 1;
            (PatchLine::Added(hunk.next_new()), text)
        }
        Some(b'-') if hunk.old_left > 0 => {
            file.removed += 1;
            (PatchLine::Removed(hunk.next_old()), text)
        }
        Some(b' ') | None if hunk.old_left > 0 && hunk.new_left > 0 => {
            hunk.next_old();
            (PatchLine::Kept(hunk.next_new()), text)
        }
        Some(b'\\') => (PatchLine::Head, line),
        // It says that more was to come: it is cut, or nothing that git wrote.
        _ => {
            *hunk = Hunk::default();
            return outside(file, hunk, line);
        }
    };
    file.lines.push(read);
}

fn outside<'a>(file: &mut PatchedFile<'a>, hunk: &mut Hunk, line: &'a [u8]) {
    if let Some(begun) = Hunk::read(line) {
        *hunk = begun;
        file.lines.push((PatchLine::Hunk, line));
        return;
    }
    // The name after `diff --git` cannot be told apart from the other one where both have blanks.
    for (start, skipped) in [(&b"--- a/"[..], 6), (b"+++ b/", 6), (b"rename to ", 10)] {
        if line.starts_with(start) {
            file.path = &line[skipped..];
        }
    }
    file.lines.push((PatchLine::Head, line));
}

impl Hunk {
    /// `@@ -1,2 +3,4 @@ …`
    fn read(line: &[u8]) -> Option<Self> {
        let line = std::str::from_utf8(line.get(..line.len().min(100))?)
            .or_else(|e| std::str::from_utf8(&line[..e.valid_up_to()]));
        let mut words = line.ok()?.split(' ');
        let (at, old, new) = (words.next()?, words.next()?, words.next()?);
        let (old, old_left) = range(old.strip_prefix('-')?)?;
        let (new, new_left) = range(new.strip_prefix('+')?)?;
        (at == "@@").then_some(Self { old_left, new_left, old, new })
    }

    fn next_old(&mut self) -> u64 {
        self.old_left = self.old_left.saturating_sub(1);
        self.old = self.old.saturating_add(1);
        self.old - 1
    }

    fn next_new(&mut self) -> u64 {
        self.new_left = self.new_left.saturating_sub(1);
        self.new = self.new.saturating_add(1);
        self.new - 1
    }
}

/// `12,3` or `12`; counts are held in bounds, so that two of them can be added.
fn range(text: &str) -> Option<(u64, u64)> {
    let (first, count) = text.split_once(',').unwrap_or((text, "1"));
    let bound = |n: u64| n.min(u64::from(u32::MAX));
    Some((first.parse().map(bound).ok()?, count.parse().map(bound).ok()?))
}

/// The second name of `diff --git a/NAME b/NAME`.
fn named(line: &[u8]) -> &[u8] {
    let Some(names) = line.strip_prefix(b"diff --git ") else { return b"" };
    let half = names.get(names.len() / 2 + 1..).unwrap_or_default();
    half.strip_prefix(b"b/").unwrap_or(half)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PATCH: &str = "diff --git a/x y.rs b/x y.rs
index 1..2 100644
--- a/x y.rs
+++ b/x y.rs
@@ -3,3 +3,3 @@ fn f() {
 kept
--- a/gone
+++ b/new
 kept too
\\ No newline at end of file
diff --git a/gone b/gone
deleted file mode 100644
--- a/gone
+++ /dev/null
@@ -1 +0,0 @@
-all
";

    #[test]
    fn lines_are_what_their_hunk_says_and_not_what_they_look_like() {
        let files = files(PATCH.as_bytes());
        let paths: Vec<&[u8]> = files.iter().map(|f| f.path).collect();
        assert_eq!(paths, [&b"x y.rs"[..], b"gone"]);
        let lines = &files[0].lines[4..];
        let expected: [(PatchLine, &[u8]); 6] = [
            (PatchLine::Hunk, b"@@ -3,3 +3,3 @@ fn f() {"),
            (PatchLine::Kept(3), b"kept"),
            (PatchLine::Removed(4), b"-- a/gone"),
            (PatchLine::Added(4), b"++ b/new"),
            (PatchLine::Kept(5), b"kept too"),
            (PatchLine::Head, b"\\ No newline at end of file"),
        ];
        assert_eq!(lines, expected);
        assert_eq!((files[0].added, files[0].removed), (1, 1));
        assert_eq!((files[1].added, files[1].removed), (0, 1));
    }

    #[test]
    fn what_is_no_patch_is_kept_as_it_is() {
        for (text, count) in [("", 0), ("numerus: a note\n", 1), ("\n", 1)] {
            let files = files(text.as_bytes());
            assert_eq!(files.iter().map(|f| f.lines.len()).sum::<usize>(), count, "{text:?}");
        }
        let cut = files(b"@@ -1,9 +1,9 @@\n a\n?\n");
        assert_eq!(cut[0].lines[2], (PatchLine::Head, &b"?"[..]));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_and_no_line_is_lost(
            lines in prop::collection::vec(prop_oneof![
                Just("@@ -1,2 +3,4 @@"), Just("@@ -99999999999999999999 +1 @@"), Just("@@ -18446744073709551615,1 +1 @@ x"),
                Just("+a"), Just("-b"), Just(" c"), Just(""), Just("diff --git a/x b/x"), Just("\\ x"), Just("é"),
            ], 0..40),
        ) {
            let patch = lines.join("\n") + "\n";
            let read: usize = files(patch.as_bytes()).iter().map(|f| f.lines.len()).sum();
            prop_assert_eq!(read, lines.len().max(1));
        }
    }
}
