//! Finding the next page in a `Link` header (RFC 8288; distribution-spec 1.1, "Listing tags").

use http::HeaderMap;
use http::header::LINK;

/// The target of the first link whose relation is `next`, as sent.
///
/// Quay once left the angle brackets and the quotes away, so both are optional.
pub(crate) fn next(headers: &HeaderMap) -> Option<String> {
    headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok()).find_map(next_in)
}

fn next_in(value: &str) -> Option<String> {
    let mut rest = value;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        if rest.is_empty() {
            return None;
        }
        let (target, after) = match rest.strip_prefix('<') {
            Some(bracketed) => bracketed.split_once('>')?,
            None => rest.split_at(rest.find(';').unwrap_or(rest.len())),
        };
        let (is_next, after) = parameters(after);
        if is_next && !target.trim().is_empty() {
            return Some(target.trim().to_owned());
        }
        rest = after;
    }
}

/// Whether one of the parameters is `rel=next`, and what follows the comma that ends them.
fn parameters(text: &str) -> (bool, &str) {
    let mut quoted = false;
    let end = text
        .find(|c| {
            quoted ^= c == '"';
            c == ',' && !quoted
        })
        .unwrap_or(text.len());
    let is_next = text[..end].split(';').any(|parameter| {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let relations = value.trim().trim_matches(['"', '\'']);
        name.trim().eq_ignore_ascii_case("rel")
            && relations.split_ascii_whitespace().any(|relation| relation.eq_ignore_ascii_case("next"))
    });
    (is_next, &text[end..])
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn next_is_found_in_every_spelling() {
        for value in [
            r#"</v2/a/tags/list?last=x&n=2>; rel="next""#,
            r"</v2/a/tags/list?last=x&n=2>;rel=next",
            r"/v2/a/tags/list?last=x&n=2; rel=next",
            r"</v2/a/tags/list?last=x&n=2>; REL='Next'",
            r#"</first>; rel="first", </v2/a/tags/list?last=x&n=2>; rel="next""#,
            r#"</v2/a/tags/list?last=x&n=2>; title="a, b; c"; rel="start next""#,
            r#", </v2/a/tags/list?last=x&n=2> ; rel = "next""#,
        ] {
            assert_eq!(next_in(value).as_deref(), Some("/v2/a/tags/list?last=x&n=2"), "{value}");
        }
        assert_eq!(next_in("</t?last=a,b;c>; rel=next").as_deref(), Some("/t?last=a,b;c"));
    }

    #[test]
    fn other_relations_and_broken_links_are_not_next() {
        for value in
            ["", "</x>", "</x>; rel=prev", "</x>; rel=nextish", "</x; rel=next", "<>; rel=next", "; rel=next"]
        {
            assert_eq!(next_in(value), None, "{value}");
        }
    }

    #[test]
    fn several_headers_are_searched() {
        let mut headers = HeaderMap::new();
        headers.append(LINK, "</a>; rel=prev".parse().unwrap());
        headers.append(LINK, "</b>; rel=next".parse().unwrap());
        assert_eq!(next(&headers).as_deref(), Some("/b"));
    }

    proptest! {
        #[test]
        fn nothing_panics_and_the_search_ends(value in "[ -~]{0,200}") {
            let _ = next_in(&value);
        }
    }
}
