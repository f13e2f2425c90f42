//! Tables that align, for people; machines ask for `--output json`.

use jiff::Timestamp;

/// Renders rows under a header, columns two spaces apart; the last column is as long as it is.
pub(crate) fn render<const N: usize>(
    header: &[&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut lines = vec![header.map(str::to_owned)];
    lines.extend(rows);
    let mut widths = [0; N];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for line in &lines {
        let padded = line.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(padded.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// The time from one instant to a later one, as people say it: `42s`, `3m 12s`, `2h 3m`, `5d 1h`.
pub(crate) fn span(from: Timestamp, to: Timestamp) -> String {
    let seconds = to.duration_since(from).as_secs().max(0);
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, _, _) => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

/// A text of several lines as one, for a cell. What others sent may hold what a terminal takes for a command; it is shown
/// as a mark.
pub(crate) fn one_line(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    line.replace(char::is_control, "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    #[test]
    fn spans_have_two_parts_at_most_and_are_never_negative() {
        let at = |second| Timestamp::from_second(second).unwrap();
        for (seconds, shown) in [
            (-5, "0s"),
            (0, "0s"),
            (59, "59s"),
            (60, "1m 0s"),
            (3_599, "59m 59s"),
            (7_384, "2h 3m"),
            (86_399, "23h 59m"),
            (435_600, "5d 1h"),
        ] {
            assert_eq!(super::span(at(0), at(seconds)), shown);
        }
        assert_eq!(super::one_line("a:\n  b\tc\n"), "a: b c");
        assert_eq!(super::one_line("\u{1b}[2Jdone\u{9b}"), "\u{fffd}[2Jdone\u{fffd}");
    }

    #[test]
    fn columns_align_and_lines_have_no_trailing_space() {
        let rows = [["a".to_owned(), "long message".to_owned()], ["longer".to_owned(), String::new()]];
        assert_eq!(super::render(&["K", "MESSAGE"], rows), "K       MESSAGE\na       long message\nlonger\n");
    }
}
