//! Slack's mrkdwn: escaping and the few forms that are used. Every text that is made here is at most as long as asked
//! for, in characters of the escaped text, and is never cut within an entity.

use url::Url;

/// Longer links are not made: Slack's limit on a section is 3,000 characters in all.
const MAX_URL: usize = 1500;

/// Plain text: `&`, `<` and `>` as entities (Slack, "Formatting text", "Escaping"), white space as single spaces.
pub(super) fn escape(text: &str, limit: usize) -> String {
    bounded(text.split_whitespace().flat_map(|word| std::iter::once(' ').chain(word.chars())).skip(1), limit)
}

/// A code span. A backtick would end it, and has no escape.
pub(super) fn code(text: &str, limit: usize) -> String {
    format!("`{}`", escape(&text.replace('`', "'"), limit.saturating_sub(2)))
}

/// A code block, for texts of many lines.
pub(super) fn block(text: &str, limit: usize) -> String {
    let text = text.trim().replace('`', "'");
    let text = bounded(text.chars().filter(|c| *c == '\n' || !c.is_control()), limit.saturating_sub(8));
    format!("```\n{text}\n```")
}

/// A link; `None` where the address is not one that a browser should follow.
pub(super) fn link(address: &str, text: &str) -> Option<String> {
    let url = Url::parse(address).ok().filter(|url| matches!(url.scheme(), "https" | "http"))?;
    let url = url.as_str().replace('|', "%7C").replace('<', "%3C").replace('>', "%3E").replace('&', "&amp;");
    (url.len() <= MAX_URL).then(|| format!("<{url}|{}>", escape(&text.replace('|', " "), 100)))
}

fn bounded(text: impl Iterator<Item = char>, limit: usize) -> String {
    let mut bounded = String::new();
    let mut length = 0;
    for c in text {
        let piece = match c {
            '&' => "&amp;",
            '<' => "&lt;",
            '>' => "&gt;",
            _ => "",
        };
        let wide = piece.len().max(1);
        // One character is kept for the ellipsis.
        if length + wide >= limit {
            bounded.push('…');
            break;
        }
        length += wide;
        if piece.is_empty() { bounded.push(c) } else { bounded.push_str(piece) }
    }
    bounded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn nothing_from_outside_mentions_links_or_leaves_its_span() {
        assert_eq!(escape("<!channel> & <@U1>", 100), "&lt;!channel&gt; &amp; &lt;@U1&gt;");
        assert_eq!(code("a`b\nc", 100), "`a'b c`");
        assert_eq!(block("one\n```two\u{1b}[0m", 100), "```\none\n'''two[0m\n```");
        assert_eq!(
            link("https://git.example/a|b?x=1&y=<z>", "12|34").unwrap(),
            "<https://git.example/a%7Cb?x=1&amp;y=%3Cz%3E|12 34>"
        );
        assert_eq!(link("javascript:alert(1)", "x"), None);
        assert_eq!(link("not a url", "x"), None);
    }

    #[test]
    fn a_long_text_is_cut_with_an_ellipsis_and_never_within_an_entity() {
        assert_eq!(escape("abcdef", 6), "abcde…");
        assert_eq!(escape("abcde", 6), "abcde");
        assert_eq!(escape("ab<cd", 6), "ab…");
    }

    proptest! {
        #[test]
        fn texts_stay_within_their_limit(text in "\\PC{0,200}", limit in 10usize..120) {
            for made in [escape(&text, limit), code(&text, limit), block(&text, limit)] {
                prop_assert!(made.chars().count() <= limit, "{made}");
                let inner = made.replace("&amp;", "").replace("&lt;", "").replace("&gt;", "");
                prop_assert!(!inner.contains(['<', '>', '&']), "{made}");
            }
        }
    }
}
