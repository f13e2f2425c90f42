//! How a file is laid out around a byte: lines, their ends, columns, and where a list's dashes stand.

use memchr::memrchr2;

use crate::tree::Node;

/// Wider gaps after a dash are taken for alignment with something, not for the file's habit.
const MAX_GAP: usize = 8;

/// Where a block list's items stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dash {
    /// Counted from 0.
    pub(crate) column: usize,
    /// The spaces between the dash and what follows.
    pub(crate) gap: usize,
}

/// The start of the line in which this byte lies, after a byte order mark.
pub(crate) fn line_start(text: &str, at: usize) -> usize {
    let start = memrchr2(b'\n', b'\r', &text.as_bytes()[..at]).map_or(0, |found| found + 1);
    if text[start..at].starts_with('\u{feff}') { start + '\u{feff}'.len_utf8() } else { start }
}

/// The start of the line after the one in which this byte lies; absent in a last line without a line end.
pub(crate) fn next_line(text: &str, at: usize) -> Option<usize> {
    let end = at + memchr::memchr2(b'\n', b'\r', &text.as_bytes()[at..])?;
    Some(end + if text[end..].starts_with("\r\n") { 2 } else { 1 })
}

/// The line end of the line in which this byte lies; of the file's first line where it has none.
pub(crate) fn line_end_at(text: &str, at: usize) -> &str {
    let of_line = |from| {
        let next = next_line(text, from)?;
        Some(if text[..next].ends_with("\r\n") { "\r\n" } else { &text[next - 1..next] })
    };
    of_line(at).or_else(|| of_line(0)).unwrap_or("\n")
}

/// How many lines end in a text.
pub(crate) fn count_lines(text: &str) -> usize {
    std::iter::successors(next_line(text, 0), |&at| next_line(text, at)).count()
}

/// The column of a byte, counted from 0 in characters.
pub(crate) fn column(text: &str, at: usize) -> usize {
    text[line_start(text, at)..at].chars().count()
}

/// The dash of the last item that stands on its dash's line.
pub(crate) fn dash(text: &str, items: &[Node<'_>]) -> Option<Dash> {
    items.iter().rev().find_map(|item| {
        let prefix = &text[line_start(text, item.span.start)..item.span.start];
        let run = prefix.len() - prefix.trim_start_matches([' ', '-']).len();
        let column = prefix[..run].rfind('-')?;
        let after = &prefix[column + 1..];
        let gap = after.len() - after.trim_start_matches(' ').len();
        Some(Dash { column, gap: gap.clamp(1, MAX_GAP) })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_end_where_the_parser_says() {
        let text = "\u{feff}a\r\nb\rc\nd";
        assert_eq!(line_start(text, 4), 3);
        assert_eq!(column(text, 3), 0);
        assert_eq!(
            (next_line(text, 3), next_line(text, 6), next_line(text, 8)),
            (Some(6), Some(8), Some(10))
        );
        assert_eq!(next_line(text, 10), None);
        assert_eq!([3, 6, 8, 10].map(|at| line_end_at(text, at)), ["\r\n", "\r", "\n", "\r\n"]);
        assert_eq!((line_end_at("a", 1), line_end_at("a\n\nb", 0)), ("\n", "\n"));
    }
}
