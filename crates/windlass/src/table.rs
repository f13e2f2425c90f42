//! Tables that align, for people; machines ask for `--output json`.

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

#[cfg(test)]
mod tests {
    #[test]
    fn columns_align_and_lines_have_no_trailing_space() {
        let rows = [["a".to_owned(), "long message".to_owned()], ["longer".to_owned(), String::new()]];
        assert_eq!(super::render(&["K", "MESSAGE"], rows), "K       MESSAGE\na       long message\nlonger\n");
    }
}
