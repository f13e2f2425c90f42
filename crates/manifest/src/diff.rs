//! A unified diff of a file before and after an edit, for people and for `git apply`.
//!
//! What lies between the common start and the common end is compared for the shortest difference, where it is not too
//! large for that. Otherwise lines are compared pairwise, since most edits keep their number; where it differs,
//! everything is shown as replaced: right, if not the shortest.

use std::fmt::Write as _;
use std::ops::Range;

/// The table for the shortest difference has at most this many cells, of four bytes each.
const MAX_CELLS: usize = 1 << 20;
/// Unchanged lines around a change.
const CONTEXT: usize = 3;

/// The unified diff of `old` and `new`, with `a/` and `b/` before the path; empty if they are equal.
///
/// Bytes that are not UTF-8 are shown as U+FFFD; so are control characters in the path.
pub fn unified(path: &str, old: &[u8], new: &[u8]) -> String {
    let (old, new) = (lines_of(old), lines_of(new));
    let changes = changes(&old, &new);
    let mut out = String::new();
    if changes.is_empty() {
        return out;
    }
    let path: String =
        path.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect();
    write!(out, "--- a/{path}\n+++ b/{path}\n").expect("writing to a String cannot fail");
    let mut rest = changes.as_slice();
    while !rest.is_empty() {
        let gap_is_wide = |pair: &[Change]| pair[1].old.start - pair[0].old.end > 2 * CONTEXT;
        let count = rest.windows(2).position(gap_is_wide).map_or(rest.len(), |last| last + 1);
        let (hunk, later) = rest.split_at(count);
        push_hunk(&mut out, &old, &new, hunk);
        rest = later;
    }
    out
}

/// Lines of the old file that are replaced by lines of the new one.
struct Change {
    old: Range<usize>,
    new: Range<usize>,
}

/// Lines with their line feed; the last may have none.
fn lines_of(bytes: &[u8]) -> Vec<&[u8]> {
    bytes.split_inclusive(|&byte| byte == b'\n').collect()
}

fn changes(old: &[&[u8]], new: &[&[u8]]) -> Vec<Change> {
    let start = old.iter().zip(new).take_while(|(old, new)| old == new).count();
    let end =
        old[start..].iter().rev().zip(new[start..].iter().rev()).take_while(|(old, new)| old == new).count();
    let (old, new) = (&old[start..old.len() - end], &new[start..new.len() - end]);
    let mut changes: Vec<Change> = Vec::new();
    for (old_line, new_line) in differing(old, new) {
        let (old_line, new_line) =
            (old_line.start + start..old_line.end + start, new_line.start + start..new_line.end + start);
        match changes.last_mut() {
            Some(last) if (last.old.end, last.new.end) == (old_line.start, new_line.start) => {
                (last.old.end, last.new.end) = (old_line.end, new_line.end);
            }
            _ => changes.push(Change { old: old_line, new: new_line }),
        }
    }
    changes
}

/// Ranges of old lines that are replaced by ranges of new ones, in order; they may touch.
fn differing(old: &[&[u8]], new: &[&[u8]]) -> Vec<(Range<usize>, Range<usize>)> {
    if (old.len() + 1).saturating_mul(new.len() + 1) <= MAX_CELLS {
        shortest(old, new)
    } else if old.len() == new.len() {
        let differing = (0..old.len()).filter(|&line| old[line] != new[line]);
        differing.map(|line| (line..line + 1, line..line + 1)).collect()
    } else {
        vec![(0..old.len(), 0..new.len())]
    }
}

/// The lines outside a longest common subsequence.
fn shortest(old: &[&[u8]], new: &[&[u8]]) -> Vec<(Range<usize>, Range<usize>)> {
    let width = new.len() + 1;
    // How many lines the rests from here have in common.
    let mut common = vec![0_u32; (old.len() + 1) * width];
    for at in (0..old.len()).rev() {
        for to in (0..new.len()).rev() {
            common[at * width + to] = if old[at] == new[to] {
                common[(at + 1) * width + to + 1] + 1
            } else {
                common[(at + 1) * width + to].max(common[at * width + to + 1])
            };
        }
    }
    let mut differing = Vec::new();
    let (mut at, mut to) = (0, 0);
    while at < old.len() || to < new.len() {
        if at < old.len() && to < new.len() && old[at] == new[to] {
            (at, to) = (at + 1, to + 1);
        } else if to == new.len()
            || at < old.len() && common[(at + 1) * width + to] >= common[at * width + to + 1]
        {
            differing.push((at..at + 1, to..to));
            at += 1;
        } else {
            differing.push((at..at, to..to + 1));
            to += 1;
        }
    }
    differing
}

fn push_hunk(out: &mut String, old: &[&[u8]], new: &[&[u8]], changes: &[Change]) {
    let (Some(first), Some(last)) = (changes.first(), changes.last()) else { return };
    let before = first.old.start.min(CONTEXT);
    let after = (old.len() - last.old.end).min(CONTEXT);
    let old_range = first.old.start - before..last.old.end + after;
    let new_range = first.new.start - before..last.new.end + after;
    writeln!(out, "@@ -{} +{} @@", position(&old_range), position(&new_range))
        .expect("writing to a String cannot fail");
    let mut at = old_range.start;
    for change in changes {
        push_lines(out, ' ', &old[at..change.old.start]);
        push_lines(out, '-', &old[change.old.clone()]);
        push_lines(out, '+', &new[change.new.clone()]);
        at = change.old.end;
    }
    push_lines(out, ' ', &old[at..old_range.end]);
}

/// `line,count`; an empty range names the line before it.
fn position(range: &Range<usize>) -> String {
    match range.len() {
        0 => format!("{},0", range.start),
        1 => format!("{}", range.start + 1),
        count => format!("{},{count}", range.start + 1),
    }
}

fn push_lines(out: &mut String, sign: char, lines: &[&[u8]]) {
    for line in lines {
        out.push(sign);
        out.push_str(&String::from_utf8_lossy(line));
        if !line.ends_with(b"\n") {
            out.push_str("\n\\ No newline at end of file\n");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_changes_share_a_hunk_and_distant_ones_do_not() {
        let old = (1..=20).map(|line| format!("{line}\n")).collect::<Vec<_>>().concat();
        let new = old.replace("2\n3\n", "2\nx\n").replace("\n10\n", "\ny\n").replace("\n18\n", "\nz\n");
        let expected = "--- a/f.yaml\n+++ b/f.yaml\n\
            @@ -1,13 +1,13 @@\n 1\n 2\n-3\n+x\n 4\n 5\n 6\n 7\n 8\n 9\n-10\n+y\n 11\n 12\n 13\n\
            @@ -15,6 +15,6 @@\n 15\n 16\n 17\n-18\n+z\n 19\n 20\n";
        assert_eq!(unified("f.yaml", old.as_bytes(), new.as_bytes()), expected);
    }

    #[test]
    fn equal_files_have_no_diff() {
        assert_eq!(unified("f", b"", b""), "");
        assert_eq!(unified("f", b"a\nb", b"a\nb"), "");
    }

    #[test]
    fn a_missing_final_line_feed_is_shown() {
        assert_eq!(
            unified("f", b"a", b"b"),
            "--- a/f\n+++ b/f\n@@ -1 +1 @@\n-a\n\\ No newline at end of file\n+b\n\\ No newline at end of file\n"
        );
    }

    #[test]
    fn added_and_removed_lines_are_shown() {
        assert_eq!(unified("f", b"", b"a\n"), "--- a/f\n+++ b/f\n@@ -0,0 +1 @@\n+a\n");
        assert_eq!(unified("f", b"a\nb\n", b"a\n"), "--- a/f\n+++ b/f\n@@ -1,2 +1 @@\n a\n-b\n");
        assert_eq!(unified("f", b"a\na\n", b"a\na\na\n"), "--- a/f\n+++ b/f\n@@ -1,2 +1,3 @@\n a\n a\n+a\n");
    }

    #[test]
    fn lines_between_two_changes_stay() {
        let old = "a\nb\nc\nd\ne\nf\ng\nh\ni\nj\n";
        let new = "a\nx\nb\nc\nd\ne\nf\ng\nh\ni\ny\nz\nj\n";
        assert_eq!(
            unified("f", old.as_bytes(), new.as_bytes()),
            "--- a/f\n+++ b/f\n@@ -1,4 +1,5 @@\n a\n+x\n b\n c\n d\n@@ -7,4 +8,6 @@\n g\n h\n i\n+y\n+z\n j\n"
        );
    }

    #[test]
    fn large_differences_are_shown_pairwise_or_as_a_whole() {
        let lines =
            |from: usize, count| (from..from + count).map(|n| format!("{n}\n")).collect::<Vec<_>>().concat();
        let diff = unified("f", lines(0, 2_000).as_bytes(), lines(10_000, 2_000).as_bytes());
        assert_eq!(diff.lines().filter(|line| line.starts_with('-')).count(), 2_001);
        let diff = unified("f", lines(0, 2_000).as_bytes(), lines(10_000, 1_000).as_bytes());
        assert!(diff.contains("@@ -1,2000 +1,1000 @@"), "{}", diff.lines().nth(2).unwrap());
    }

    #[test]
    fn a_path_cannot_break_the_header() {
        assert!(unified("a\nb", b"x", b"y").starts_with("--- a/a\u{fffd}b\n+++ b/a\u{fffd}b\n"));
    }
}
